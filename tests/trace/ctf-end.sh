#!/bin/bash
# SPDX-License-Identifier: MIT
# However probe-trace -o ends, the program does not notice, and the trace has what the program logged:
# killed, it has all events that were older than the time between two flushes, although no packet was full;
# on a full disk, it has as many events as it says, and the others count as lost.
. tests/lib.sh
need babeltrace2
need_root

cat >"$T/step.c" <<'C'
#include <stdio.h>
#include <sys/sdt.h>

int main(void)
{
	long n, i = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (scanf("%ld", &n) == 1) {
		for (long end = i + n; i < end; i++)
			STAP_PROBE1(app, step, i);
		printf("%ld\n", i);
	}
	return 42;
}
C
"$CC" -O1 -Iinclude "$T/step.c" -o "$T/step" || fail "the target does not build"
mkfifo "$T/in" "$T/out"
# step N: lets the target hit N times. Sets $hits to all its hits, by its own count.
step() {
	echo "$1" >&"$in"
	IFS= read -r -t $patience -u "$out_fd" hits || fail "the target has ended"
}
target_start() {
	LD_PRELOAD=$B/lib/libprobepoint-agent.so "$T/step" <"$T/in" >"$T/out" &
	target=$!
	exec {in}>"$T/in" {out_fd}<"$T/out"
	step 0
}
# target_end: it still hits, and ends as it does without a tracer.
target_end() {
	step 1000
	exec {in}>&- {out_fd}<&-
	wait $target
	want "$backend: the status of the target" 42 $?
}
# events TRACE: writes the values in it to $T/events, in order.
events() { babeltrace2 --no-delta --names=payload "$1" 2>"$T/warnings" | sed -n 's/.*{ arg0 = \([0-9]*\)[, ].*/\1/p' >"$T/events"; }
has_events() { events "$1" && [ "$(wc -l <"$T/events")" -ge "$2" ]; }

for backend in kernel agent; do
	# ---- killed ----
	target_start
	probe-trace -q -b $backend -p $target -o "$T/killed" app:step 2>"$T/errors" &
	tracer=$!
	begun() { [ -s "$T/killed/about/probepoint.json" ] || ! kill -0 $tracer; }
	wait_for 20 begun
	[ -d "$T/killed" ] || fail "$backend: $(cat "$T/errors")"
	for n in 1 7 300; do # the trace gets them without a further event
		step $n
		wait_for 20 has_events "$T/killed" "$hits"
	done
	kill -KILL $tracer
	wait $tracer 2>/dev/null
	events "$T/killed"
	seq 0 $((hits - 1)) | diff -q - "$T/events" >/dev/null || fail "$backend: the trace of a killed writer differs from the program's log"
	[ ! -s "$T/warnings" ] || fail "$backend: $(cat "$T/warnings")"
	target_end
	rm -r "$T/killed"

	# ---- a full disk ----
	mkdir "$T/small"
	mount -t tmpfs -o size=500k,mode=755 tmpfs "$T/small" || skip "cannot mount a tmpfs"
	at_end umount "'$T/small'"
	target_start
	probe-trace --json -b $backend -p $target -o "$T/small/trace" app:step >"$T/said" 2>"$T/errors" &
	tracer=$!
	wait_for 20 test -s "$T/small/trace/metadata"
	fill() { step 10000 && ! kill -0 $tracer 2>/dev/null; } # the agent loses some of them, because they do not fit into its ring
	wait_for 60 fill
	wait $tracer
	want "$backend: the status on a full disk" 1 $?
	want_like "$backend: the error" "*'$T/small/trace/stream_0': No space left on device*" "$(json .error "$T/said")"
	target_end
	events "$T/small/trace"
	recorded=$(json .recorded "$T/said") lost=$(json .lost "$T/said")
	seq 0 $((recorded - 1)) | diff -q - "$T/events" >/dev/null || fail "$backend: the trace on a full disk does not begin with the $recorded events that were recorded"
	want "$backend: lost, by babeltrace2" "$lost" "$(sed -n 's/.*Tracer discarded \([0-9]*\) event.*/\1/p' "$T/warnings")"
	[ $((recorded + lost)) -le "$hits" ] || fail "$backend: $recorded recorded and $lost lost are more than $hits hits"
	umount "$T/small"
	at_end=()
	rmdir "$T/small"
done
