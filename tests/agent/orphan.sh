#!/bin/bash
# SPDX-License-Identifier: MIT
# A private session's command is killed by SIGKILL: the agent notices it without another command, disarms the sites, and its thread
# ends. Another session on the same sites stays armed.
. tests/lib.sh
. tests/agent/lib.sh
. tests/kernel/lib.sh
need jq
build_hits
start a env LD_PRELOAD="$AGENT" "$T/hits"
probe-list --json "$T/hits" | jq '.probes[].sites[] | .address' | sort -n >"$T/addresses"
base=$((0x$(awk -v file="$T/hits" '$6 == file && $3 == "00000000" { sub("-.*", "", $1); print $1; exit }' /proc/$a/maps)))
at_end "probe-disable -q -s $S 2>/dev/null"

# Prints the number of sites that jump.
jumping() {
	local low=$(head -n 1 "$T/addresses") high=$(tail -n 1 "$T/addresses")
	memory $a $((base + low)) $((high - low + 2)) | od -An -v -w1 -tx1 |
		awk -v low="$low" 'NR == FNR { site[$1] = 1; next } FNR + low - 2 in site && $1 == "e9" { n++ } END { print n + 0 }' \
			"$T/addresses" -
}
jumps() { [ "$(jumping)" = "$1" ]; }
agent_threads() { cat /proc/$a/task/*/comm | grep -c '^probepoint$'; }
no_agent_thread() { [ "$(agent_threads)" = 0 ]; }
want "sites that jump at first" 0 "$(jumping)"

for command in "probe-stat -i 0.1" "probe-trace" "probe-stat --agg count() -i 0.1"; do
	$command -b agent -p $a 'k:t*' >/dev/null 2>&1 &
	killed=$!
	armed() { [ "$(jumping)" -gt 1 ]; }
	wait_for 20 armed
	tell a "run 1 3"
	kill -KILL $killed
	wait $killed
	wait_for 30 jumps 0
	wait_for 30 no_agent_thread
	tell a "run 1 3"
done

# ---- beside a session that stays ----
expect 0 probe-enable -q -b agent -s $S -p $a k:three
probe-trace -b agent -p $a 'k:t*' >/dev/null 2>&1 &
killed=$!
armed() { [ "$(jumping)" -gt 1 ]; }
wait_for 20 armed
kill -KILL $killed
wait $killed
wait_for 30 jumps 1
tell a "run 1 5"
want "hits of the session that stays" 5 "$(probe-stat --json -s $S | jq '[.probes[].hits] | add')"
want "the other command's probes" 1 "$(probe-stat --json -s $S | jq '.probes | length')"
expect 0 probe-disable -q -s $S
want "sites that jump at the end" 0 "$(jumping)"
