#!/bin/bash
# SPDX-License-Identifier: MIT
# Every way out of a function has a site: the kernel counts as many entries as returns, tail calls and unwindings.
. tests/plugin/lib.sh
need readelf jq
probed '*'
cd "$T" || exit 1
# Depth and stack as in plugin/tail.sh. An armed run is shallower, because each call causes two hits.
DEPTH=100000 STACK=800
[ -z "${PROBEPOINT_LONG-}" ] || DEPTH=3000000 STACK=8192
on_small_stack() { (ulimit -c 0 && ulimit -Ss $STACK && exec "$@"); }

# C functions: one that exceptions cannot leave, and one for each kind of call that does not return.
cat >ends.c <<'E'
#include <setjmp.h>
#include <stdlib.h>
static jmp_buf back;
__attribute__((noinline)) int jumps(int n) { if (n > 2) longjmp(back, n); return n; }
__attribute__((noinline)) int aborts(int n) { if (n == -1) abort(); return n; }
__attribute__((noinline)) int checks(int n) { if (n < 0) __builtin_unreachable(); return n; }
__attribute__((noinline)) int traps(int n) { if (n < 0) __builtin_trap(); return n; }
int main(int argc, char **argv) { (void)argv; if (!setjmp(back)) return jumps(argc + 7); return aborts(checks(traps(argc))) == 1 ? 0 : 1; }
E
for flags in -O0 -O2; do
	$GCC $flags "${with[@]}" ends.c -o ends && ./ends || fail "$flags ends.c: $?"
	# flags of sites (type 2): 4, noreturn
	want "$flags: sites before calls that do not return" 2 "$(ppn ends 2 | grep -c '04000000$')"
	want "$flags: no unwinding in C" "" "$(names ends | grep unwind)"
done
echo 'int other(void); int calls(void) { return other() + 1; }' >calls.c
$GCC -O2 -fexceptions "${with[@]}" -c calls.c -o calls.o && names calls.o | grep -q 'calls:calls__unwind' || fail "C with -fexceptions"

option_sets <<E
-O2
-O0
-O1 -g -foptimize-sibling-calls $COMPARE
-O2 -flto
-O2 -g -fnon-call-exceptions
long -O1
long $DISTRIBUTION
long -O3
long -Os
long -O2 -fno-inline
long -O2 -fPIC -ffunction-sections
long -O1 -fsanitize=address
E
for flags in "${sets[@]}"; do
	depth=$DEPTH
	[[ $flags = *-O0* || $flags = "-O1"* && $flags != *sibling* ]] && depth=2000
	# The output depends neither on the options nor on the depth.
	[ -s plain.out ] && [ -z "${PROBEPOINT_LONG-}" ] || {
		$GXX -w $flags -DDEPTH=$depth "$SOURCES/unwind.cc" -o plain && on_small_stack ./plain >plain.out
	} || fail "$flags: fails without the plugin too"
	$GXX -w $flags -DDEPTH=$depth "${with[@]}" "$SOURCES/unwind.cc" -o unwind || fail "$flags: does not build"
	on_small_stack ./unwind >out || fail "$flags: ended with $?"
	cmp plain.out out || fail "$flags: other results"
	want "$flags: functions that throw nothing have no unwind probe" "" "$(names unwind | grep -E '(nothrow_|quits)__unwind')"
	[ "$(id -u)" = 0 ] || continue
	probe-enable -q -s $S -b kernel -f ./unwind 'unwind:*' -- ./unwind >out 2>log || { cat log; fail "$flags: cannot be armed"; }
	probe-stat -s $S --json >stat.json
	probe-disable -q -s $S "*"
	jq -r '.probes[] | "\(.probe) \(.hits) \(.lost)"' stat.json | sed 's/^[^:]*://' | awk -v flags="$flags" '
		{ split($1, part, /__[a-z]*$/); kind = substr($1, length(part[1]) + 3); hits[part[1]] = 1; n[part[1], kind] += $2 }
		END {
			for (f in hits) {
				functions++
				out = n[f, "return"] + n[f, "unwind"]
				# quits() exits, so main is not left
				if (n[f, "entry"] != out && !(f == "main" && n[f, "entry"] == 1)) {
					print flags ": " f ": " n[f, "entry"] " in, " n[f, "return"] " + " n[f, "unwind"] " out"
					bad = 1
				}
			}
			if (functions < 18 || n["passes", "unwind"] != 16 || n["passes", "return"] != 32 || n["thrower", "unwind"] != 41) {
				print flags ": " functions " functions, passes " n["passes", "unwind"] ", thrower " n["thrower", "unwind"]
				bad = 1
			}
			exit bad
		}' || fail "$flags: the sums are wrong"
done
[ "$(id -u)" = 0 ] || part_skipped "nothing is counted: not root"

# A cancelled thread leaves its functions by unwinding too.
cat >thread.cc <<'E'
#include <pthread.h>
#include <unistd.h>
__attribute__((noinline)) static int waits(int n) { pause(); return n; }
static void *work(void *) { return (void *)(long)(waits(3) + 1); }
int main()
{
	pthread_t t;
	void *result;
	pthread_create(&t, 0, work, 0);
	usleep(50000);
	pthread_cancel(t);
	pthread_join(t, &result);
	return result != PTHREAD_CANCELED;
}
E
$GXX -O1 -pthread "${with[@]}" thread.cc -o thread && ./thread || fail "thread.cc: $?"
if [ "$(id -u)" = 0 ]; then
	probe-enable -q -s $S -b kernel -f ./thread 'thread:*' -- ./thread || fail "thread"
	want "unwound by cancellation" "1 1" "$(probe-stat -s $S --json | jq -r '[.probes[] | select(.probe | endswith("waits__unwind") or endswith("work__unwind")) | .hits] | join(" ")')"
	probe-disable -q -s $S "*"
fi

# A call ends its block even if debug statements follow.
for flags in "-O1 -g -fchecking" "-O2 -g -fchecking $COMPARE" "-O2 -g -fnon-call-exceptions"; do
	$GXX -w $flags "${with[@]}" -c "$SOURCES/debug.cc" -o debug.o >log 2>&1 || { head -n 20 log; fail "$flags debug.cc: does not compile"; }
done
