#!/bin/bash
# SPDX-License-Identifier: MIT
# The records of a flight recorder survive exec(2) and belong to each process after fork(2). A trigger takes one snapshot, at a hit
# for which its condition is true, or at the end of the process. Probes can be disarmed while snapshots are taken.
. tests/lib.sh
. tests/trace/lib.sh

# waiting FILE ARGUMENT...: starts probe-trace --snapshot in the background ($tracer). Returns when it waits for its trigger.
waiting() {
	: >"$1.err"
	env --default-signal=INT probe-trace -v --json --snapshot -s $S "${@:2}" >"$1" 2>"$1.err" &
	tracer=$!
	until grep -q 'waiting for' "$1.err"; do
		kill -0 $tracer 2>/dev/null || fail "probe-trace ${*:2}: $(cat "$1" "$1.err")"
		sleep 0.02
	done
}

of_backend() {
	local b=$1 scope i
	shift

	# ---- a child and a program that replaces this one ----

	begin 2 "$@"
	expect 0 probe-enable -q -s $S -b "$b" --string arg3 --flight-recorder=1M -f "$T/recorder" 'recorder:*'
	say "run 20"
	say "fork 30"
	say "exec"
	want "$b: the program begins again" ready "$said"
	say "run 5"
	snapshot "$T/family"
	whole "$b, family" "$T/family"
	want "$b: records by process and thread" "$(printf '%s\n' "0 25" "1 25" "2 30")" \
		"$(jq -r '.args.arg0' "$T/family" | sort | uniq -c | awk '{ print $2, $1 }')"
	want "$b: processes" 2 "$(jq .pid "$T/family" | sort -u | wc -l)"
	accounts "$b, family"
	want "$b: overwritten" 0 "$(counted overwritten)"

	# ---- a trigger with a condition ----

	scope=()
	[ "$b" = kernel ] || scope=(-b agent)
	waiting "$T/trigger" --trigger recorder:mark --if 'arg0 == 7' -p $pid "${scope[@]}"
	for i in 1 2 3; do say "mark $i"; done
	say "run 100"
	sleep 0.3
	kill -0 $tracer 2>/dev/null || fail "$b: a hit that is filtered took the snapshot: $(cat "$T/trigger.err")"
	say "mark 7"
	wait $tracer
	want "$b: the status after the trigger" 0 $?
	want "$b: marks" "1 2 3 7" "$(jq -r 'select(.probe == "recorder:mark").args.arg0' "$T/trigger" | xargs)"
	want "$b: hits at the trigger" 280 "$(jq -c 'select(.probe == "recorder:hit")' "$T/trigger" | wc -l)"

	# ---- an interrupt ends the wait ----

	waiting "$T/interrupted" --trigger recorder:mark -p $pid "${scope[@]}"
	kill -INT $tracer
	wait $tracer
	want "$b: the status after an interrupt" 1 $?
	want_like "$b: an interrupt" "*no snapshot was taken*" "$(cat "$T/interrupted" "$T/interrupted.err")"

	# ---- the end of the process ----

	waiting "$T/end" --trigger recorder:mark --if 'arg0 == 8' -p $pid "${scope[@]}"
	say "run 10"
	kill -KILL $pid
	wait $tracer
	want "$b: the status after the end" 0 $?
	wait $pid 2>/dev/null
	exec {in}>&- {from}<&-
	whole "$b, end" "$T/end"
	want "$b: hits at the end" 300 "$(jq -c 'select(.probe == "recorder:hit")' "$T/end" | wc -l)"

	# ---- disarming meanwhile ----

	begin 2 "$@"
	say endless
	(
		for i in $(seq 50); do
			probe-trace --snapshot -q --json -s $S >"$T/while" 2>"$T/while.err" && continue
			[ ! -s "$T/while.err" ] || grep -q "no session\|has ended\|nothing armed\|not a flight recorder" "$T/while"* && continue
			exit 1
		done
		exit 0
	) & i=$!
	sleep 0.3
	expect 0 probe-disable -q -s $S
	wait $i || fail "$b: a snapshot while probes are disarmed: $(tail -n 1 "$T/while" "$T/while.err")"
	kill -0 $pid || fail "$b: the program has ended"
	kill -KILL $pid
	wait $pid 2>/dev/null
	exec {in}>&- {from}<&-
}

AGENT=$B/lib/libprobepoint-agent.so
if [ -e "$AGENT" ]; then
	of_backend agent env LD_PRELOAD="$AGENT"
else
	part_skipped "the agent: none was built"
fi
if [ "$(id -u)" = 0 ] && [ -d /sys/bus/event_source/devices/uprobe ]; then
	of_backend kernel
else
	part_skipped "the kernel: needs root and uprobes"
fi
exit 0
