#!/bin/bash
# SPDX-License-Identifier: MIT
# A flight recorder keeps the newest records in memory: snapshots agree with the program's own log, also after it was killed.
. tests/lib.sh
. tests/trace/lib.sh

# ---- the command line ----

expect 2 probe-enable -s $S --flight-recorder=100K -p $$ 'x:*'
want_like "too small" "*invalid size '100K'; give at least 1M*" "$out"
expect 2 probe-enable -s $S --flight-recorder=1M --overwrite -b agent -p $$ 'x:*'
expect 2 probe-enable -s $S --flight-recorder=2G -p $$ 'x:*'
want_like "a size beyond the greatest" "*--flight-recorder: '2G' is more than 1G*" "$out"
expect 2 probe-enable -s $S --flight-recorder=1M --buffer=1M -p $$ 'x:*'
want_like "--buffer" "*--buffer and --flight-recorder cannot be combined*" "$out"
for option in --otlp "--max-size=1M -o $T/parts"; do
	expect 2 probe-trace -s $S --snapshot $option
	want_like "$option" "*${option%%=*} cannot be combined with --snapshot*" "$out"
done
expect 2 probe-enable -s $S --flight-recorder=1M --for=1s -p $$ 'x:*'
want_like "--for" "*--for and --flight-recorder cannot be combined*" "$out"
expect 2 probe-trace -s $S --trigger 'x:*'
expect 2 probe-trace -s $S --snapshot 'x:*'
expect 2 probe-trace -s $S --snapshot --for=1s
expect 1 probe-trace -s $S --snapshot

# The agent's times are converted from the CPU's counter by each command.
same() { cmp -s <(sed 's/^{"time":[^,]*,//' "$1" | sort) <(sed 's/^{"time":[^,]*,//' "$2" | sort); }

of_backend() {
	local b=$1 threads=3 n before run=$((30000 / slow))
	shift

	# ---- a program that does not hit meanwhile: all is exact ----

	begin $threads "$@"
	expect 0 probe-enable -q -s $S -b "$b" --string arg3 --flight-recorder=1M -p $pid 'recorder:*'
	say "run 10"
	snapshot "$T/few"
	whole "$b, few" "$T/few"
	want "$b: all of few records are there" 30 "$(wc -l <"$T/few")"
	tails "$b, few" "$T/few" $threads
	say "run $((run < 2000 ? 2000 : run))" # more than the memory
	accounts "$b"
	want "$b: lost" 0 "$(counted lost)"
	snapshot "$T/one"
	snapshot "$T/two"
	same "$T/one" "$T/two" || fail "$b: two snapshots differ"
	whole "$b, many" "$T/one"
	tails "$b, many" "$T/one" $threads
	n=$(wc -l <"$T/one")
	[ "$n" -gt 4000 ] && [ "$n" -lt 30000 ] || fail "$b: 1 MiB has $n records"
	want "$b: overwritten" $(($(counted recorded) - n)) "$(counted overwritten)"
	want "$b: overwritten, as a metric" "$(counted overwritten)" \
		"$(probe-stat --openmetrics -s $S | awk '/^probepoint_overwritten_hits\{/ && /recorder:hit/ { n += $NF } END { print n + 0 }')"
	before=$(probe-stat --json -s $S | jq .flight_recorder.held)
	[ "$before" -ge $((1 << 19)) ] && [ "$before" -lt $((16 << 20)) ] || fail "$b: it holds $before bytes"
	expect 0 probe-trace --snapshot -s $S -n 5
	want "$b: text, with --count" 5 "$(grep -c ' recorder:hit arg0=' <<<"$out")"
	if have babeltrace2; then
		expect 0 probe-trace --snapshot -s $S -o "$T/trace-$b"
		want_like "$b: the message" "*$n records in $T/trace-$b; in the session so far *overwritten, 0 lost*" "$out"
		babeltrace2 --names=payload "$T/trace-$b" >"$T/events" || fail "$b: the trace cannot be read"
		want "$b: events of the trace" "$n" "$(wc -l <"$T/events")"
	else
		part_skipped "the trace: no babeltrace2"
	fi
	if [ -x "$B/bin/probe-report" ] && [ -d "$T/trace-$b" ]; then
		want "$b: records of the report" "$n 0" "$(probe-report --json "$T/trace-$b" | jq -r '"\(.records) \(.lost)"')"
		want "$b: records of about/probepoint.json" "$n" "$(jq .recorded "$T/trace-$b/about/probepoint.json")"
	else
		part_skipped "the report: probe-report is not built"
	fi
	expect 1 probe-trace -s $S
	want_like "$b: a reader" "*is a flight recorder*" "$out"
	cp "$T/recorder" "$T/other"
	expect 1 probe-enable -q -s $S -b "$b" -f "$T/other" 'recorder:mark'
	want_like "$b: a request without it" "*flight recorder*" "$out"

	# ---- a program that hits all the time, and is killed in the middle ----

	say endless
	for i in 1 2; do
		snapshot "$T/live$i"
		whole "$b, live" "$T/live$i"
	done
	probe-trace --json --snapshot -s $S --trigger exit >"$T/exit" 2>"$T/exit.err" & tracer=$!
	sleep 0.2 # the result is the same if it begins after the kill
	kill -KILL $pid
	wait $pid 2>/dev/null
	exec {in}>&- {from}<&-
	wait $tracer
	want "$b: the status of --trigger exit" 0 $?
	whole "$b, exit" "$T/exit"
	tails "$b, exit" "$T/exit" $threads 1
	snapshot "$T/killed"
	whole "$b, killed" "$T/killed"
	tails "$b, killed" "$T/killed" $threads 1
	n=$(wc -l <"$T/killed")
	[ "$n" -gt 4000 ] || fail "$b: after the kill there are $n records"
	same "$T/killed" "$T/exit" || fail "$b: two snapshots after the kill differ"
	expect 0 probe-disable -q -s $S
	expect 1 probe-trace --snapshot -s $S
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
