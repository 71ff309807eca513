#!/bin/bash
# SPDX-License-Identifier: MIT
# A program records faster than probe-trace can print. After --for, the next interrupt ends the printing, and a message says how
# many records were not written: in a session of its own they are lost, in an existing one the next reader gets most of them.
. tests/lib.sh
AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
need python3
need jq
cat >"$T/fast.c" <<'E2'
#include <sys/probe.h>
int main(void)
{
	for (long i = 0;; i++)
		STAP_PROBE1(app, fast, i);
}
E2
"$CC" -O2 -Iinclude "$T/fast.c" -o "$T/fast" || fail "fast.c does not build"
# Copies its input to a file, slowly.
cat >"$T/slow.py" <<'E2'
import os, sys, time
out = open(sys.argv[1], "wb")
while data := os.read(0, 16384):
    out.write(data)
    time.sleep(0.02)
E2

# hurry ARGUMENT...: traces to a slow reader, and interrupts until probe-trace ends.
hurry() {
	rm -f "$T/pipe" "$T/lines"
	mkfifo "$T/pipe"
	python3 "$T/slow.py" "$T/lines" <"$T/pipe" & slow_reader=$!
	env --default-signal=INT probe-trace --for 500ms "$@" >"$T/pipe" 2>"$T/err" & tracer=$!
	wait_for 20 test -s "$T/lines" # an interrupt while it arms would end it
	sleep 0.5
	while kill -INT $tracer 2>/dev/null; do sleep 0.2; done
	wait $tracer
	want "the status of probe-trace: $(tail -n 1 "$T/err")" 0 $?
	wait $slow_reader
	# "N recorded, N lost (N of them not written in time)"
	read -r recorded lost dropped <<<"$(tail -n 1 "$T/err" | sed 's/^probe-trace: //; s/[^0-9]\+/ /g')"
	want "recorded" "$recorded" "$(grep -c app:fast "$T/lines")"
}

LD_PRELOAD=$AGENT "$T/fast" & pid=$!
hurry -b agent -p $pid app:fast
want_like "a session of its own" "* lost (* of them not written in time)" "$(cat "$T/err")"
[ "$dropped" -gt 0 ] && [ "$dropped" -le "$lost" ] || fail "$(cat "$T/err")"

expect 0 probe-enable -q -b agent -s $S --record -p $pid app:fast
hurry -s $S
want_like "an existing session" "* lost; the session may have more records" "$(cat "$T/err")"
kill -KILL $pid
wait $pid 2>/dev/null
read -r hits rest <<<"$(probe-stat --json -s $S | jq -r '.probes[0] | "\(.hits) \(.recorded + .lost + .idle)"')"
want "all hits" "$hits" "$rest"
trace_kept "$T/rest" -s $S -o "$T/trace"
want_like "the next reader" "*: [1-9]* recorded, 0 lost in *" "$(cat "$T/rest.err")"
expect 0 probe-disable -q -s $S
