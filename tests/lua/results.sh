#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# first
# Lua with a probe at every function behaves as without: scripts print the same, unarmed and with everything armed.
# probe-list lists the functions that gcov knows.
. tests/lib.sh
. tests/lua/lib.sh
need jq "$GCOV"
lua_need "${levels[@]/#/plain-}" "${levels[@]/#/probed-}" gcov

for level in "${levels[@]}"; do
	want "what the compiler says at -$level" "" "$(cat "$LUA/probed-$level/log")"
	for script in calls values; do
		"$LUA/plain-$level/lua" tests/lua/$script.lua >"$T/plain" 2>&1 || fail "$script ends with $?: $(cat "$T/plain")"
		want "last line of $script" "done" "$(tail -n 1 "$T/plain")"
		"$LUA/probed-$level/lua" tests/lua/$script.lua >"$T/probed" 2>&1
		want "$script at -$level, status" 0 $?
		diff -u "$T/plain" "$T/probed" || fail "$script at -$level prints something else"
	done
done

# ---- exactly the functions of Lua have probes ----

(cd "$LUA/gcov" && "$GCOV" --json-format --stdout l*.gcno 2>/dev/null) |
	jq -r '.files[] | (.file | sub("\\.c$"; "")) + ":" + .functions[].name' | LC_ALL=C sort -u >"$T/functions"
for level in "${levels[@]}"; do
	probe-list --json "$LUA/probed-$level/lua" >"$T/list.$level" || fail "probe-list ends with $?"
	jq -r '.probes[] | select(.name | endswith("__entry")) | .provider + ":" + (.name | sub("__entry$"; ""))' \
		"$T/list.$level" | LC_ALL=C sort >"$T/entries"
	diff -u "$T/functions" "$T/entries" || fail "the functions at -$level are not those of gcov"
	sites=$(json '[.probes[].sites | length] | add' "$T/list.$level")
	echo "-$level: $(wc -l <"$T/entries") functions, $sites sites"
	[ "$sites" -gt 2000 ] || fail "only $sites sites"
	want "probes without a signature" '[]' "$(json '[.probes[] | select(.signature == null) | .name]' "$T/list.$level")"
	want "sites at one offset" 0 "$(json '[.probes[].sites[].offset] | length - (unique | length)' "$T/list.$level")"
done
# Signatures are as in the source.
signature() { json ".probes[] | select(.name == \"$1\") | .signature" "$T/list.O2"; }
want "signature" '"(lua_State *L, const char *s, size_t len)"' "$(signature lua_pushlstring__entry)"
want "signature" '"(const char *result)"' "$(signature lua_pushlstring__return)"
want "signature" '"(lua_State *L, lua_Number m, lua_Number n)"' "$(signature luaV_modf__entry)"
want "signature" '"(lua_Number result)"' "$(signature luaV_modf__return)"
want "signature" '"(lua_State *L, int arg, const char *def, const char *const *lst)"' \
	"$(signature luaL_checkoption__entry)"

# ---- with everything armed ----

[ "$(id -u)" = 0 ] || { part_skipped "arming needs root"; exit 0; }
at_end "probe-disable -q -s $S 2>/dev/null"
for level in "${levels[@]}"; do
	lua_own probed-$level
	"$LUA/plain-$level/lua" tests/lua/values.lua >"$T/plain" 2>&1
	probe-enable -q --yes --json -s $S -f "$lua" '*' >"$T/armed" || fail "arming ends with $?"
	want "refused" '[]' "$(json .refused "$T/armed")"
	want "probes" "$(json '.probes | length' "$T/list.$level")" "$(json '.armed + .pending | length' "$T/armed")"
	"$lua" tests/lua/values.lua >"$T/probed" 2>&1
	want "status with everything armed" 0 $?
	diff -u "$T/plain" "$T/probed" || fail "at -$level the script does something else when everything is armed"
	probe-stat --json -s $S >"$T/stat" || fail "probe-stat ends with $?"
	want "sites that count" "$(json '[.probes[].sites | length] | add' "$T/list.$level")" \
		"$(json '[.probes[].sites] | add' "$T/stat")"
	json '[.probes[].hits] | add > 1000000' "$T/stat" >/dev/null || fail "hits: $(json '[.probes[].hits] | add' "$T/stat")"
	want "hits that are not accounted for" '[]' \
		"$(json '[.probes[] | select(.hits != .filtered + .idle + .recorded + .lost)]' "$T/stat")"
	echo "-$level: $(json '[.probes[].hits] | add' "$T/stat") hits"
	expect 0 probe-disable -q -s $S
done
