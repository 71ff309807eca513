#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-trace -o on running programs: babeltrace2 shows the values that the program passed, and the number of lost events.
. tests/lib.sh
need babeltrace2 gcc
need_root

cat >"$T/work.c" <<'C'
#include <stdio.h>
#include <stdlib.h>

enum colour { RED, GREEN };

__attribute__((noinline)) long work(int n, const char *text, unsigned char small, void *where, enum colour colour)
{
	__asm__ volatile("" ::: "memory");
	return n * 3L + small + (text ? text[0] : 0) + (where ? 1 : 0) + colour;
}

int main(int argc, char **argv)
{
	static const char *const texts[] = { "", "plain", "two words", "quote\"", "caf\303\251" };
	long times = argc > 1 ? atol(argv[1]) : 10;

	for (long i = 0; i < times; i++) {
		int n = (int)(i * 1000003) - 5000000;
		const char *text = texts[i % 5];
		long result = work(n, text, i * 37, (void *)(i * 0x100000001), i % 2);

		if (argc == 1)
			printf("%d|%s|%d|0x%lX|%ld|%ld\n", n, text, (unsigned char)(i * 37), i * 0x100000001, i % 2, result);
	}
	return 0;
}
C
expect 0 gcc -O2 -g -fplugin="$B/lib/probepoint.so" -fplugin-arg-probepoint-functions=work "$T/work.c" -o "$T/work"

# ---- values ----

expect 0 probe-trace -q -o "$T/trace" 'work:*' -- "$T/work"
printf '%s\n' "$out" >"$T/said"
babeltrace2 --names=payload "$T/trace" >"$T/read" || fail "the trace cannot be read"
want "events" 20 "$(wc -l <"$T/read")"
# the arguments of the entries, then the results of the returns
sed -n 's/.* work:work__entry: .*{ n = //p' "$T/read" | sed -e 's/, text = "\(.*\)", small = /|\1|/' \
	-e 's/, where = /|/; s/, colour = ( "\(RED\|GREEN\)" : container = \([0-9]*\) ), _faults.*/|\2/; s/\\"/"/' >"$T/entries"
cut -d'|' -f1-5 "$T/said" | diff -u - "$T/entries" || fail "the entries differ: $(cat "$T/read")"
sed -n 's/.* work:work__return: .*{ [a-z_0-9]* = \(-*[0-9]*\), _faults.*/\1/p' "$T/read" >"$T/returns"
cut -d'|' -f6 "$T/said" | diff -u - "$T/returns" || fail "the results differ: $(cat "$T/read")"

# ---- the directory exists; its parent does not ----

expect 125 probe-trace -o "$T/trace" 'work:*' -- "$T/work"
want_like "the directory exists" "*'$T/trace' already exists*" "$out"
expect 125 probe-trace -o "$T/none/trace" 'work:*' -- "$T/work"
want_like "no parent directory" "*'$T/none/trace'*No such file or directory*" "$out"

# ---- 800,000 hits (4,000,000 with PROBEPOINT_LONG) with a reader that is stopped for a while: each is in the trace, or lost and reported ----

calls=400000
[ -z "${PROBEPOINT_LONG-}" ] || calls=2000000
probe-trace -o "$T/many" 'work:*' -- "$T/work" $calls >"$T/out" 2>&1 &
tracer=$!
wait_for 20 test -s "$T/many/stream_0"
kill -STOP $tracer
sleep 1.5
kill -CONT $tracer
wait $tracer || fail "probe-trace ended with $?: $(cat "$T/out")"
recorded=$(sed -n 's/.* \([0-9]*\) recorded.*/\1/p' "$T/out")
lost=$(sed -n 's/.* \([0-9]*\) lost.*/\1/p' "$T/out")
babeltrace2 "$T/many" 2>"$T/warnings" >"$T/events" || fail "the trace cannot be read: $(cat "$T/warnings")"
want "recorded" "$recorded" "$(wc -l <"$T/events")"
want "recorded and lost ($(cat "$T/out"))" $((2 * calls)) $((recorded + lost))
discarded=$(sed -n 's/.*Tracer discarded \([0-9]*\) event.*/\1/p' "$T/warnings" | awk '{ n += $1 } END { print n + 0 }')
want "lost, by babeltrace2" "$lost" "$discarded"
echo "$recorded recorded, $lost lost"
[ "$lost" != 0 ] || part_skipped "no event was lost although the reader was stopped"

# ---- probe-trace is killed ----

"$T/work" 1000000000 &
worker=$!
runs $worker "$T/work" # the shell's child has become the program
probe-trace -q -p $worker -o "$T/killed" 'work:*' &
tracer=$!
wait_for 20 test -s "$T/killed/stream_0"
kill -KILL $tracer
wait $tracer 2>/dev/null
kill -KILL $worker
babeltrace2 "$T/killed" 2>"$T/warnings" >"$T/events" || fail "the trace cannot be read: $(cat "$T/warnings")"
[ -s "$T/events" ] || fail "the trace is empty"

# ---- a full disk ----

mkdir "$T/small"
mount -t tmpfs -o size=500k,mode=755 tmpfs "$T/small" || skip "cannot mount a tmpfs"
at_end umount "'$T/small'"
expect 1 probe-trace -q --json -o "$T/small/trace" 'work:*' -- "$T/work" 100000
json . <<<"$out" >"$T/said"
want_like "a full disk" "*'$T/small/trace/stream_0': No space left on device*" "$(json .error "$T/said")"
babeltrace2 "$T/small/trace" >"$T/events" 2>"$T/warnings" || fail "the trace cannot be read"
[ -s "$T/events" ] || fail "the trace is empty"
want "recorded, as JSON" "$(wc -l <"$T/events")" "$(json .recorded "$T/said")"
want "lost, as JSON" "$(sed -n 's/.*Tracer discarded \([0-9]*\) event.*/\1/p' "$T/warnings")" "$(json .lost "$T/said")"
