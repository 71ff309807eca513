#!/bin/bash
# SPDX-License-Identifier: MIT
# A snapshot says since when it is complete: no hit after that is missing. The program numbers its hits, so no clock is
# compared.
. tests/lib.sh
need jq python3
rounds=1
[ -z "${PROBEPOINT_LONG-}" ] || rounds=50
build_once "$T/sequence" "$CC" -O2 -g -Iinclude -pthread tests/trace/sequence.c || fail "sequence.c does not build"

# begin FIRST THREADS [PREFIX...]: starts the program, and sets $pid. say LINE: waits for the reply.
begin() {
	rm -f "$T/in" "$T/out"
	mkfifo "$T/in" "$T/out"
	"${@:3}" "$T/sequence" "$T/log" "$1" "$2" <"$T/in" >"$T/out" &
	pid=$!
	exec {in}>"$T/in" {from}<"$T/out"
	answer ready
}
answer() {
	local said
	read -r -t $patience -u "$from" said
	want "reply of the program" "$1" "$said"
}
say() {
	echo "$1" >&"$in"
	answer "$2"
}
finish() {
	echo end >&"$in"
	exec {in}>&- {from}<&-
	wait $pid
}
now() { od -An -t u8 -N 8 "$T/log" | tr -d ' '; }
# snapshot WHAT: takes a snapshot; sets records, complete, missing, handled and early, as sequence.py prints them, lost,
# and told, its message. A hit of a signal handler is lost if its thread is making room.
snapshot() {
	local until
	until=$(now)
	probe-trace --json --snapshot -s $S >"$T/snapshot" 2>"$T/told" || fail "$1: $(cat "$T/told")"
	told=$(cat "$T/told")
	out=$(python3 tests/trace/sequence.py "$T/log" "$T/snapshot" "$until" 2>&1) || fail "$1: $out"
	read -r records complete missing handled early <<<"$out"
	lost=$(sed -n 's/.* overwritten, \([0-9]*\) lost.*/\1/p' <<<"$told")
	echo "$1: $out; $told"
}
none_missing() {
	# The kernel can refuse memory for a hit, which is then lost.
	[ "${1%%,*}" = kernel ] && [ "$missing" -le "$lost" ] ||
		want "$1: missing hits since the snapshot is complete" 0 "$missing"
	[ "$handled" -le "$lost" ] || fail "$1: $handled hits of signal handlers are missing, and $lost were lost"
}
# partly WHAT: checks a snapshot of a memory that is full.
partly() {
	snapshot "$1"
	none_missing "$1"
	# The kernel backend has one memory for all threads, from which the oldest records go first.
	[ "${1%%,*}" = kernel ] || [ "$early" != 0 ] || fail "$1: a snapshot that is complete from its first record on shows nothing"
	[ "$complete" -gt $((records / 8)) ] || fail "$1: only $complete of $records records are complete"
	[ "$complete" -lt "$records" ] || fail "$1: all records are complete"
	want_like "$1: message" "*; complete since [0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]" "$told"
}

of_backend() {
	local b=$1 i sum
	shift
	rm -f "$T/log"
	begin 0 4 "$@"
	expect 0 probe-enable -q -s $S -b "$b" --flight-recorder=1M -p $pid sequence:hit
	say "run 50 50 50 50" ran
	snapshot "$b, few"
	want "$b: few: records, complete, missing, missing after the first" "$records $records 0 0" "$records $complete $missing $early"
	[ "$records" -ge 200 ] || fail "$b: only $records records"
	want "$b: few: message" "" "$(grep -o 'complete.*' <<<"$told")"
	expect 0 probe-trace --snapshot -s $S -o "$T/few-$b"
	want "$b: few: about" 0 "$(jq .complete_since "$T/few-$b/about/probepoint.json")"
	# Threads of different rates: the first one's records are the oldest.
	say "run 20 $((40000 / slow)) $((8000 / slow)) $((40000 / slow))" ran
	partly "$b, many"
	want "$b: the time in the trace" "$(jq -s 'map(select(.complete != false))[0].time > 0' "$T/snapshot")" \
		"$(expect 0 probe-trace --snapshot -s $S -o "$T/many-$b"; jq '.complete_since > 0' "$T/many-$b/about/probepoint.json")"
	say "run 30 3 2 1" ran
	partly "$b, after a pause"
	say endless begun
	for ((i = 0; i < rounds; i++)); do
		partly_live "$b, live $i"
	done
	kill -KILL $pid
	wait $pid 2>/dev/null
	exec {in}>&- {from}<&-
	expect 0 probe-disable -q -s $S
}
# While the program hits, all that a busy thread had in memory can be overwritten until it is read.
partly_live() {
	snapshot "$1"
	[ "$missing" = none ] || none_missing "$1"
}

AGENT=$B/lib/libprobepoint-agent.so
if [ -e "$AGENT" ]; then
	of_backend agent env LD_PRELOAD="$AGENT"

	# Another session of the process uses its memory again.
	rm -f "$T/log"
	begin 0 2 env LD_PRELOAD="$AGENT"
	expect 0 probe-enable -q -s $S -b agent --flight-recorder=1M -p $pid sequence:hit
	say "run 60000 30" ran
	partly "first session"
	expect 0 probe-disable -q -s $S
	expect 0 probe-enable -q -s $S -b agent --flight-recorder=1M -p $pid sequence:hit
	say "run 10 10" ran
	snapshot "second session"
	want "second session: complete records" "$records" "$complete"
	want "second session: message" "" "$(grep -o 'complete.*' <<<"$told")"
	finish
	expect 0 probe-disable -q -s $S

	# The keeper keeps the memory of eight processes that have ended. It drops others, so the snapshot is complete
	# after they ended.
	rm -f "$T/log"
	expect 0 probe-enable -q -s $S -b agent --flight-recorder=1M -f "$T/sequence" sequence:hit
	begin 20 1 env LD_PRELOAD="$AGENT"
	say "run 10" ran
	stays=$pid stays_in=$in stays_from=$from
	for i in {0..9}; do
		begin $i 1 env LD_PRELOAD="$AGENT"
		say "run 10" ran
		finish
		kept() { [ "$(probe-stat --json -s $S | jq "[.probes[].recorded] | add")" -ge $((10 * (i + 2))) ]; }
		wait_for 20 kept
		snapshot "process $i has ended"
		none_missing "process $i has ended"
		[ $i -gt 7 ] || want "process $i has ended: complete records" "$records" "$complete"
	done
	[ "$complete" -lt "$records" ] || fail "records of 10 processes are complete"
	[ "$early" != 0 ] || fail "the keeper keeps the memory of 10 processes"
	in=$stays_in from=$stays_from pid=$stays
	finish
	expect 0 probe-disable -q -s $S

	# The keeper was killed, and a process ends: its records are gone, so it is not known since when the others are
	# complete.
	rm -f "$T/log"
	begin 0 1 env LD_PRELOAD="$AGENT"
	expect 0 probe-enable -q -s $S -b agent --flight-recorder=1M -f "$T/sequence" sequence:hit
	say "run 10" ran
	keeper_find
	kill -KILL "$keeper"
	wait_for 20 eval '[ ! -e /proc/$keeper/exe ]'
	begin 1 1 env LD_PRELOAD="$AGENT"
	say "run 10" ran
	finish
	probe-trace --json --snapshot -s $S >"$T/snapshot" 2>"$T/told" || fail "no keeper: $(cat "$T/told")"
	want_like "no keeper: message" "*; not known to be complete: *" "$(cat "$T/told")"
	want "no keeper: records that are complete" 0 "$(jq 'select(.complete != false)' "$T/snapshot" | wc -l)"
	expect 0 probe-trace --snapshot -s $S -o "$T/unkept"
	want "no keeper: about" null "$(jq .complete_since "$T/unkept/about/probepoint.json")"
	kill -KILL $(jobs -p)
	wait 2>/dev/null
	expect 0 probe-disable -q -s $S
else
	part_skipped "the agent: none was built"
fi
if [ "$(id -u)" = 0 ] && [ -d /sys/bus/event_source/devices/uprobe ]; then
	of_backend kernel
else
	part_skipped "the kernel: needs root and uprobes"
fi
exit 0
