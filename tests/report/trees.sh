#!/bin/bash
# SPDX-License-Identifier: MIT
# Calls of random call trees are paired as they were made: with recursion, longjmp, tail calls, lost records, and calls in flight
# when the trace begins. No duration is wrong: the calls that cannot be known are counted as uncertain. Slices nest, the
# percentiles are within 3 %, and the folded stacks have the time of the slices.
. tests/lib.sh
need python3
[ -x "$B/bin/probe-report" ] || skip "probe-report is not built"
SEED=${SEED:-$RANDOM}
echo "SEED=$SEED"

rounds=1 unwound=
[ -z "${PROBEPOINT_LONG-}" ] || rounds=100
for ((round = 0; round < rounds; round++)); do
	for mode in flat plain,threads tail flat,unwind,threads unwind unwind,tail lost lost,threads flat,lost,unwind late,tail,threads; do
		seed=$((SEED + round))
		rm -rf "$T/trace"
		python3 tests/report/tree.py make "$T/trace" "$T/truth" $seed $mode || fail "seed $seed, $mode: no trace"
		expect 0 probe-report -q --folded --perfetto="$T/chrome" "$T/trace"
		echo "$out" | grep -v 'records were lost' >"$T/folded"
		expect 0 probe-report --json "$T/trace"
		echo "$out" >"$T/json"
		out=$(python3 tests/report/tree.py check "$T/truth" $mode "$T/chrome" "$T/json" "$T/folded" 2>&1) || fail "seed $seed, $mode: $out"
		echo "$mode: $out"
		[[ $mode != *unwind* ]] || unwound+=$out$'\n'
	done
done
# Of a single tree that is unwound, each call can be uncertain.
grep -q '{None: [1-9]' <<<"$unwound" || fail "no call of an unwound tree is certain"
