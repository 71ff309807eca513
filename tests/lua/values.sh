#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# probe-trace shows the arguments and results of Lua's functions that the script passed and got.
. tests/lib.sh
. tests/lua/lib.sh
need jq python3
need_root
lua_need "${levels[@]/#/probed-}"

# The last run arms as older kernels do.
for level in "${levels[@]}" links; do
	s=$S$level
	build=$level
	[ $level != links ] || { build=O2; export PROBEPOINT_NO_UPROBE_MULTI=1; }
	at_end "probe-disable -q -s $s 2>/dev/null"
	lua_own probed-$build
	lua_start values$level "$lua" tests/lua/passed.lua
	mapfile -t patterns < <(sed -n 's/.*know("\([^"]*\)".*/\1/p' tests/lua/passed.lua | sort -u)
	probe-enable -q --yes --json --record -s $s -p $pid "${patterns[@]}" >"$T/report" ||
		fail "arming ends with $?: $(cat "$T/report")"
	lua_go values$level
	lua_waits $pid
	probe-stat --json -s $s >"$T/stat"
	want "lost" 0 "$(json '[.probes[].lost] | add' "$T/stat")"
	hits=$(json '[.probes[].hits] | add' "$T/stat")
	: >"$T/events"
	# The next reader gets the records that the one before did not read.
	for n in 1 7 $((hits - 8)); do
		probe-trace -q --json -s $s -n $n >>"$T/events" || fail "probe-trace ends with $?"
	done
	lua_end values$level $pid
	want "whose records" "[[$pid,$pid,\"lua\"]]" "$(jq -c '[.pid, .tid, .comm]' "$T/events" | sort -u | jq -sc .)"
	python3 tests/lua/compare.py "$T/values$level.out" "$T/events" || fail "at -$level"
done
