#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Functions of one running Lua are armed while a second, which is not armed, runs the same script. The hits are the counts
# of gcov for the same part of the script, for ten functions and then for all (about a thousand). Arming changes the
# bytes of the sites only, and none in the second process.
. tests/lib.sh
. tests/lua/lib.sh
need jq "$GCOV"
need_root
lua_need "${levels[@]/#/probed-}" gcov

# Runs a round of counted.lua in the named Lua, and waits until it is ready for the next one.
round() {
	lua_go "$1"
	wait_for 60 grep -q "^$2	" "$T/$1.out"
	lua_waits "$3"
}

# lines_count DIR TEXT: prints how often the lines of lvm.c that contain the text were run.
lines_count() {
	(cd "$T/$1" && "$GCOV" --json-format --stdout lvm.gcda 2>/dev/null) | jq --argjson in "[$(
		grep -n "$2" "$LUA/gcov/lvm.c" | cut -d: -f1 | paste -sd,)]" '[.files[] | select(.file == "lvm.c") | .lines[] |
		select(.line_number as $n | $in | index($n)) | .count] | add'
}

# Writes gcov's counts of round $1 to $T/counts.$1.
gcov_round() {
	local i name=gcov$1
	GCOV_PREFIX=$T/$name GCOV_PREFIX_STRIP=99 lua_start "$name" "$LUA/gcov/lua" tests/lua/counted.lua
	for ((i = 1; i < $1; i++)); do round "$name" "$i" $pid; done
	kill -USR1 $pid
	round "$name" "$1" $pid
	kill -USR2 $pid
	round "$name" $(($1 + 1)) $pid
	lua_end "$name" $pid
	cp "$LUA"/gcov/l*.gcno "$T/$name"
	(cd "$T/$name" && "$GCOV" --json-format --stdout l*.gcda 2>/dev/null) |
		jq -r '.files[] | (.file | sub("\\.c$"; "")) as $f | .functions[] | "\($f):\(.name)__entry \(.execution_count)"' |
		LC_ALL=C sort >"$T/counts.$1"
	# gcov counts only lines of luaV_execute, which is left by longjmp() and entered by a goto.
	executed=$(lines_count "$name" 'startfunc:') again=$(lines_count "$name" 'goto startfunc;')
	sed -i "s/^lvm:luaV_execute__entry .*/lvm:luaV_execute__entry $((executed - again))/" "$T/counts.$1"
	[ "$(wc -l <"$T/counts.$1")" -gt 1000 ] || fail "gcov counts $(wc -l <"$T/counts.$1") functions"
}
gcov_round 2
gcov_round 3

# Checks that the sites of a list of probes have a trap, and that nothing else is changed.
want_traps() {
	text_changes "$2" "$3" >"$T/changes"
	json '.probes[].sites[].offset' "$4" | LC_ALL=C sort -n | sed 's/$/ 314/' >"$T/offsets"
	diff "$T/offsets" "$T/changes" >"$T/diff" || fail "$1: other bytes are changed than the sites: $(head -n 20 "$T/diff")"
}

ten='lbaselib:luaB_tostring lstrlib:str_format ltablib:tinsert lmathlib:math_floor lapi:index2value ltablib:sort
	lbaselib:luaB_pcall lcorolib:luaB_auxwrap lobject:luaO_pushvfstring lstring:internshrstr'

for level in "${levels[@]}"; do
	lua_own probed-$level
	s=$S$level
	at_end "probe-disable -q -s $s 2>/dev/null; probe-disable -q -s ${s}all 2>/dev/null"
	lua_start armed$level "$lua" tests/lua/counted.lua
	armed=$pid
	lua_start other$level "$lua" tests/lua/counted.lua
	other=$pid
	round armed$level 1 $armed
	round other$level 1 $other

	# ---- ten functions ----
	patterns=()
	for name in $ten; do patterns+=("${name}__entry"); done
	probe-enable -q --yes --json -s $s -p $armed "${patterns[@]}" >"$T/report" ||
		fail "arming ends with $?: $(cat "$T/report")"
	want "armed" 10 "$(json '.armed | length' "$T/report")"
	want "refused, pending" '[]' "$(json '.refused + .pending' "$T/report")"
	want "verified" '[true]' "$(json '[.armed[].verified] | unique' "$T/report")"
	want "pid" "[$armed]" "$(json '[.armed[].pid] | unique' "$T/report")"
	args=()
	for p in "${patterns[@]}"; do args+=(-m "$p"); done
	probe-list --json "$lua" "${args[@]}" >"$T/list.ten"
	want_traps "ten armed" $armed "$lua" "$T/list.ten"
	want "bytes of the other" "" "$(text_changes $other "$lua")"
	round other$level 2 $other
	round armed$level 2 $armed
	for name in $ten; do grep "^${name}__entry " "$T/counts.2"; done | LC_ALL=C sort >"$T/wanted"
	! grep ' 0$' "$T/wanted" || fail "a function is never called, so its count proves nothing"
	probe-stat --json -s $s >"$T/stat"
	jq -r '.probes[] | "\(.probe) \(.hits)"' "$T/stat" | LC_ALL=C sort >"$T/got"
	diff -u "$T/wanted" "$T/got" || fail "ten functions at -$level: not what gcov counts"
	want "pids that are counted" "[$armed]" "$(json '[.probes[].pid] | unique' "$T/stat")"

	# ---- all functions, while the ten stay armed ----
	probe-enable -q --yes --json -s ${s}all -p $armed -f "$lua" '*' >"$T/report" || fail "arming ends with $?"
	want "refused, pending" '[]' "$(json '.refused + .pending' "$T/report")"
	probe-list --json "$lua" >"$T/list"
	want "armed" "$(json '.probes | length' "$T/list")" "$(json '.armed | length' "$T/report")"
	want_traps "all armed" $armed "$lua" "$T/list"
	want "bytes of the other" "" "$(text_changes $other "$lua")"
	round other$level 3 $other
	round armed$level 3 $armed
	probe-stat --json -s ${s}all >"$T/stat"
	want "hits that are not accounted for" '[]' \
		"$(json '[.probes[] | select(.hits != .filtered + .idle + .recorded + .lost)]' "$T/stat")"
	jq -r '.probes[] | "\(.probe) \(.hits)"' "$T/stat" | LC_ALL=C sort >"$T/all"
	grep '__entry ' "$T/all" | diff -u "$T/counts.3" - || fail "at -$level: not what gcov counts"
	probe-stat --json -s $s | jq -r '.probes[] | "\(.probe) \(.hits)"' | LC_ALL=C sort >"$T/got"
	LC_ALL=C join "$T/counts.2" "$T/counts.3" | awk '{ print $1, $2 + $3 }' |
		LC_ALL=C join -o 1.1,1.2 - "$T/wanted" >"$T/sum"
	diff -u "$T/sum" "$T/got" || fail "ten functions in two sessions at -$level: not what gcov counts"
	echo "-$level: $(awk '{ n += $2 } END { print n }' "$T/all") hits, of $(grep -c '__entry [1-9]' "$T/all") functions"

	# The 30 errors and 50 yields of the script are entries without a return. With optimization, a function that ends in
	# a tail call has "returned" before it.
	sed -n 's/__entry / /p' "$T/all" | LC_ALL=C sort >"$T/entries"
	sed -n 's/__return / /p' "$T/all" | LC_ALL=C sort >"$T/returns"
	LC_ALL=C join -a 1 -e 0 -o 1.1,1.2,2.2 "$T/entries" "$T/returns" | awk '$2 != $3 { print $1, $2 - $3 }' >"$T/left"
	cat >"$T/unwound" <<-'E'
	lapi:f_call 30
	lbaselib:luaB_error 30
	lcorolib:luaB_yield 50
	ldo:ccall 31
	ldo:luaD_callnoyield 30
	ldo:luaD_precall 80
	ldo:precallC 80
	ldo:resume 50
	ldo:unroll 49
	lvm:luaV_execute 50
	E
	case $level in
	O0) diff -u "$T/unwound" "$T/left" || fail "entries that did not return" ;;
	*) LC_ALL=C join -v 2 "$T/unwound" "$T/left" | diff /dev/null - || fail "entries that did not return" ;;
	esac
	! grep ' -' "$T/left" || fail "more returns than entries"

	# ---- disarmed ----
	expect 0 probe-disable -q -s ${s}all
	want_traps "ten left" $armed "$lua" "$T/list.ten"
	expect 0 probe-disable -q -s $s
	want "bytes after all" "" "$(text_changes $armed "$lua")$(text_changes $other "$lua")"
	round armed$level 4 $armed
	round other$level 4 $other
	lua_end armed$level $armed
	lua_end other$level $other
	diff -u "$T/armed$level.out" "$T/other$level.out" || fail "the armed process printed something else"
done
