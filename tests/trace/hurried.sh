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
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/probe.h>
int main(int argc, char **argv)
{
	volatile long *hits = mmap(NULL, sizeof(*hits), PROT_READ | PROT_WRITE, MAP_SHARED, open(argv[argc - 1], O_RDWR), 0);

	for (;; ++*hits)
		STAP_PROBE1(app, fast, *hits);
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

head -c 8 /dev/zero >"$T/hits"
LD_PRELOAD=$AGENT "$T/fast" "$T/hits" & pid=$!
hurry -b agent -p $pid app:fast
want_like "a session of its own" "* lost (* of them not written in time)" "$(cat "$T/err")"
[ "$dropped" -gt 0 ] && [ "$dropped" -le "$lost" ] || fail "$(cat "$T/err")"

before=$(od -An -t d8 "$T/hits")
expect 0 probe-enable -q -b agent -s $S --record -p $pid app:fast
after=$(od -An -t d8 "$T/hits")
hurry -s $S
want_like "an existing session" "* lost; the session may have more records" "$(cat "$T/err")"
kill -KILL $pid
wait $pid 2>/dev/null
# This reader ends when it has read all records, because the process has ended. An interrupt would give it 10 s.
expect 0 probe-trace -s $S -o "$T/trace"
want_like "the next reader" "*: [1-9]* recorded, 0 lost in *" "$out"
rest=$(sed -n 's/^probe-trace: \([0-9]*\) recorded, .*/\1/p' <<<"$out")
read -r hits written accounted <<<"$(probe-stat --json -s $S | jq -r '.probes[0] | "\(.hits) \(.recorded) \(.recorded + .lost + .idle)"')"
want "all hits" "$hits" "$accounted"
want "records of two readers" "$written" $((recorded + rest))
# The program's own count, without the hits before the probe was armed. It may be killed after a hit that it has not
# counted.
total=$(od -An -t d8 "$T/hits")
[ $hits -ge $((total - after)) ] && [ $hits -le $((total - before + 1)) ] ||
	fail "$hits hits, but the program has made $((total - after)) to $((total - before + 1))"
expect 0 probe-disable -q -s $S
