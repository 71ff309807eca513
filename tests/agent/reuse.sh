#!/bin/bash
# SPDX-License-Identifier: MIT
# Processes that have the same pid one after the other, in one session: the counts and records of each are kept, whichever way it
# ends. In a pid namespace, so that the pid is free.
. tests/lib.sh
. tests/agent/lib-ends.sh
need jq
if [ "${1-}" != inside ]; then
	need_root
	need unshare
	unshare --pid --fork --mount-proc true 2>/dev/null || skip "needs pid namespaces"
	unshare --pid --fork --kill-child --mount-proc "$BASH" "$0" inside
	exit
fi

build_once "$T/with-pid" $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 tests/agent/with-pid.c || fail "cannot build with-pid"
PID=4242
# again HITS HOW: a process with the pid hits so often, and ends this way
again() {
	printf 'own %s\nend %s\n' "$1" "$2" | "$T/with-pid" $PID env LD_PRELOAD="$AGENT" "$T/ends" >/dev/null
	[ $? != 126 ] || fail "the pid is taken"
}
# sums KEY...: prints the sums of the session's rows
sums() { probe-stat --json -s $S | json "[.probes | [map($(printf '.%s),map(' "$@")0)] | .[:$#][] | add]" | tr -d '[]' | tr , ' '; }
by_process() { probe-stat --json -s $S | json '[.probes[].processes[].hits] | add'; }

for how in exit _exit kill exec; do
	expect 0 probe-enable -q -b agent -s $S --record -f "$T/ends" app:end
	for n in 40 7 100; do again $n $how; done
	want "$how: hits, recorded, lost" "147 147 0" "$(sums hits recorded lost)"
	want "$how: hits of processes" 147 "$(by_process)"
	trace_kept "$T/trace" -s $S --json
	want "$how: records" 147 "$(wc -l <"$T/trace")"
	want_like "$how: account" "*: 147 recorded, 0 lost*" "$(cat "$T/trace.err")"
	want "$how: hits, recorded, lost after reading" "147 147 0" "$(sums hits recorded lost)"
	expect 0 probe-disable -q -s $S
done

# Start times have steps of 10 ms, and many of these processes begin in one.
seed=$RANDOM
echo "seed $seed"
RANDOM=$seed
ways=(exit _exit kill exec)
all=0
expect 0 probe-enable -q -b agent -s $S --record -f "$T/ends" app:end
for i in {1..40}; do
	n=$((RANDOM % 50 + 1))
	((all += n))
	again $n ${ways[RANDOM % 4]}
done
want "hits, recorded, lost of 40 processes" "$all $all 0" "$(sums hits recorded lost)"
want "hits of 40 processes" $all "$(by_process)"
trace_kept "$T/trace" -s $S -o "$T/ctf"
want_like "account of 40 processes" "*: $all recorded, 0 lost in *" "$(cat "$T/trace.err")"
want "hits, recorded, lost of 40 processes after reading" "$all $all 0" "$(sums hits recorded lost)"
