#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bpftrace lists the probes that we list. If both arm a process at once, both see the same hits and arguments.
. tests/lib.sh
. tests/lua/lib.sh
need jq bpftrace
need_root
lua_need "${levels[@]/#/probed-}"

# interrupt_bpftrace: ends bpftrace. An interrupt that comes just before it waits has no effect (bpftrace 0.17), so another one
# is sent while it waits. An interrupt while it prints its maps would end it without them.
interrupt_bpftrace() {
	kill -INT $bpftrace
	sleep 1
	while kill -0 $bpftrace 2>/dev/null; do
		! grep -qs epoll "/proc/$bpftrace/wchan" || kill -INT $bpftrace 2>/dev/null
		sleep 1
	done
	wait $bpftrace
}

at_end "probe-disable -q -s ${S}O0 2>/dev/null; probe-disable -q -s ${S}O2 2>/dev/null"
for level in O0 O2; do # in the short form twice with -O2
	[[ " ${levels[*]} " == *" $level "* ]] && lua_own probed-$level || lua_own probed-O2
	s=$S$level
	bpftrace -l "usdt:$lua:*" >"$T/bpftrace" 2>"$T/stderr" || fail "bpftrace -l: $(cat "$T/stderr")"
	LC_ALL=C sort -u "$T/bpftrace" >"$T/theirs"
	probe-list --json "$lua" | jq -r --arg lua "$lua" '.probes[] | "usdt:\($lua):\(.provider):\(.name)"' |
		LC_ALL=C sort >"$T/ours"
	diff "$T/theirs" "$T/ours" >"$T/diff" || fail "-$level: $(head -n 10 "$T/diff")"
	echo "-$level: $(wc -l <"$T/theirs") probes"

	# One probe with many sites, one with strings, one with a result.
	lua_start lua$level "$lua" tests/lua/counted.lua
	probes=(lapi:index2value__entry lstring:luaS_new__entry lobject:luaO_str2num__return)
	bpftrace -f json -p $pid -o "$T/bpftrace" -e "
		usdt:$lua:${probes[0]} { @ints[arg1] = count(); }
		usdt:$lua:${probes[1]} { @strings[str(arg1)] = count(); }
		usdt:$lua:${probes[2]} { @results[arg0] = count(); }" >"$T/stdout" 2>"$T/stderr" &
	bpftrace=$!
	probe-list --json "$lua" -m "${probes[0]}" -m "${probes[1]}" -m "${probes[2]}" >"$T/list"
	sites=$(json '[.probes[].sites | length] | add' "$T/list")
	traps() { [ "$(text_changes $pid "$lua" | wc -l)" = "$sites" ]; }
	for _ in $(seq 1200); do
		kill -0 $bpftrace 2>/dev/null && ! traps || break
		sleep 0.05
	done
	traps || fail "bpftrace does not arm: $(cat "$T/stderr")"
	probe-enable -q --record -s $s -p $pid "${probes[@]}" || fail "arming ends with $?"
	lua_go lua$level
	wait_for 60 grep -q '^1	' "$T/lua$level.out"
	lua_waits $pid
	probe-stat --json -s $s >"$T/stat"
	want "lost" 0 "$(json '[.probes[].lost] | add' "$T/stat")"
	probe-trace -q --json -s $s -n "$(json '[.probes[].hits] | add' "$T/stat")" >"$T/events"

	# The first tool to disarm must not remove the other's traps.
	case $level in
	O0) expect 0 probe-disable -q -s $s; traps || fail "probe-disable removed bpftrace's traps" ;;
	esac
	interrupt_bpftrace
	case $level in
	O2) traps || fail "bpftrace removed our traps"; expect 0 probe-disable -q -s $s ;;
	esac
	want "changed bytes at the end" "" "$(text_changes $pid "$lua")"
	lua_end lua$level $pid

	jq -rs 'map(select(.type == "map").data) | add | to_entries[] | .key as $m | .value | to_entries[] |
		"\($m) \(.key | @json) \(.value)"' "$T/bpftrace" | LC_ALL=C sort >"$T/theirs"
	jq -r 'if .args.idx then "@ints \(.args.idx | tostring | @json)" 
		elif .args.str then "@strings \(.args.str[:63] | @json)"
		else "@results \(.args.result | tostring | @json)" end' "$T/events" | LC_ALL=C sort | uniq -c |
		awk '{ n = $1; sub(/^ *[0-9]+ /, ""); print $0, n }' | LC_ALL=C sort >"$T/ours"
	diff -u "$T/theirs" "$T/ours" || fail "-$level: bpftrace's counts differ"
	for map in ints strings results; do grep -q "^@$map" "$T/ours" || fail "no $map"; done
	echo "-$level: $sites sites, $(wc -l <"$T/events") hits, $(wc -l <"$T/ours") different values"
done
