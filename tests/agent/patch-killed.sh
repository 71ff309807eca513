#!/bin/bash
# SPDX-License-Identifier: MIT
# A target that is killed at any moment: a reader that holds its region reads complete records, and not more than were
# counted.
. tests/lib.sh
. tests/agent/lib.sh

times=8
[ "${PROBEPOINT_LONG-}" ] && times=200
agent_build storm -O1 tests/agent/storm-asm.c
total=0
for ((i = 0; i < times; i++)); do
	target "$T/storm" 4
	poke arm $S 1 -r -p $pid "$T/storm" 'app:*' || fail "cannot arm"
	rescan >/dev/null
	reads 400 quiet
	say go
	sleep 0.$((RANDOM % 3))$((RANDOM % 10))
	kill -KILL $pid
	wait $reader || fail "a torn record: $(tail -1 "$T/records")"
	wait $pid 2>/dev/null
	total=$((total + $(field end "$(tail -1 "$T/records") ")))
	exec {to}>&- {from}<&-
	rm -rf "$XDG_RUNTIME_DIR/probepoint"
done
[ $total -gt $((times * 1000)) ] || fail "only $total records"
echo "$total records"
