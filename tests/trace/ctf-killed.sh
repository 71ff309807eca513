#!/bin/bash
# SPDX-License-Identifier: MIT
# A writer that is killed leaves a complete trace: babeltrace2 reads the events from the first one on, without a gap.
. tests/lib.sh
need babeltrace2

rounds=12
[ "${PROBEPOINT_LONG-}" ] && rounds=150
# A write that is killed is usually cut off on tmpfs, but rarely on other file systems.
memory=
if [ "$(stat -f -c %T /dev/shm 2>/dev/null)" = tmpfs ] && memory=$(mktemp -d /dev/shm/probepoint-test.XXXXXX); then
	at_end rm -rf "$memory"
else
	part_skipped "/dev/shm is not a tmpfs"
fi
half=0
for ((round = 0; round < rounds; round++)); do
	dir=$T/trace
	[ "$memory" ] && ((round % 3)) && dir=$memory/trace
	mkfifo "$T/begun"
	"$B/tests/unit/ctf" endless "$dir" >"$T/begun" &
	writer=$!
	read -r _ <"$T/begun"
	sleep "0.0$((RANDOM % 10))$((RANDOM % 10))"
	kill -KILL $writer
	wait $writer 2>/dev/null
	rm "$T/begun"
	for file in "$dir"/stream_*; do
		[ -f "$file" ] || continue
		[ $(($(stat -c %s "$file") % 4096)) = 0 ] || fail "round $round: $file ends in the middle of a packet"
	done
	rm -f "$dir"/stream_[1-9]* # the first stream has all events in order
	babeltrace2 --clock-cycles --no-delta --names=payload "$dir" >"$T/events" 2>"$T/errors" ||
		fail "round $round: $(cat "$T/errors")"
	[ -s "$T/errors" ] && fail "round $round: $(cat "$T/errors")"
	awk '{ sub(/^\[0*/, "", $1); sub(/\]$/, "", $1); if ($1 + 0 != NR - 1) { print NR ": " $0; exit 1 } }' "$T/events" ||
		fail "round $round: events are missing"
	[ -s "$T/events" ] && half=$((half + 1))
	rm -rf "$dir"
done
[ $half -gt 0 ] || fail "no round wrote an event before it was killed"
