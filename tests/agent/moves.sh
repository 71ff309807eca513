#!/bin/bash
# SPDX-License-Identifier: MIT
# Counts and aggregates of the agent are exact if its regions move while the keeper looks for them.
. tests/lib.sh
AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
need jq
need_root # setns(2)
build_once "$T/moves" $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -Iinclude tests/agent/moves.c || fail "cannot build"
moves=40
[ -z "${PROBEPOINT_LONG-}" ] || moves=1000

coproc TARGET { exec env LD_PRELOAD="$AGENT" "$T/moves" 15000; }
pid=$TARGET_PID
exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
wait_for 10 grep -q libprobepoint-agent "/proc/$pid/maps"
at_end 'probe-disable -q -s "$S" 2>/dev/null'
expect 0 probe-enable -q -b agent -s "$S" -p "$pid" --agg 'count() by who' moves:hit
echo $moves >&"$to"
read -t $patience -r _ <&"$from" || fail "no reply"
probe-stat --json -s "$S" >"$T/json" || fail "probe-stat fails"
want "hits" $((10 * moves)) "$(jq '.probes[0].hits' "$T/json")"
want "keys and the counts that they have" "10 [$moves]" \
	"$(jq -c '.aggregates[0].entries | map(.values[0].count) | length, unique' "$T/json" | paste -sd ' ')"
kill "$pid"
wait "$pid" 2>/dev/null
want "hits of the process that has ended" $((10 * moves)) "$(probe-stat --json -s "$S" | jq '.probes[0].hits')"
