#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Aggregates in the kernel: count, sum, min, max, histograms, percentiles and keys equal those computed from the target's own
# log, with eight threads, fork, exec, ends of threads, dlclose and returns of functions.
. tests/plugin/lib.sh
. tests/kernel/lib.sh
need_kernel
need python3
build_aggregate "$T/program" -ldl
build_aggregate "$T/library" -DLIBRARY -shared -fPIC
mkdir "$T/log"
seed=${SEED:-$RANDOM$RANDOM}
echo "SEED=$seed"
[ "${PROBEPOINT_LONG-}" ] && times=20000 || times=$((600 / slow + 20)) # enough for more keys than --agg-size
mapfile -t aggregates < <(python3 tests/kernel/aggregate.py list)
n=$((${#aggregates[@]} - 1)) # the last one is of returns
for ((i = 0; i <= n; i++)); do at_end "probe-disable -q -s $S-$i 2>/dev/null"; done

# ---- the log ----

for ((i = 0; i < n; i++)); do
	IFS=$'\t' read -r expression options <<<"${aggregates[i]}"
	# shellcheck disable=SC2086 # options are words
	expect 0 probe-enable -q -b kernel -s "$S-$i" $options --agg "$expression" -f "$T/program" -f "$T/library" 'agg:hit__entry'
done
start p "$T/program" "$T/log"
expect 0 probe-enable -q -b kernel -s "$S-$n" --agg "${aggregates[n]}" -p $p 'func:twice%return'
tell p "run 8 $times $seed"
tell p "fork 2 $times $((seed + 1))"
tell p "spawn 3 $times $((seed + 2))"
for ((round = 3; round < 6; round++)); do tell p "load $T/library $((times / 4)) $((seed + round))"; done
tell p "leave 300"
for ((i = 0; i <= n; i++)); do
	expect 0 probe-stat --json -s "$S-$i"
	if ((i < n)); then way="check $i $T/log"; else way="returns $T/log/twice"; fi
	# shellcheck disable=SC2086 # two or three words
	python3 tests/kernel/aggregate.py $way <<<"$out" || fail "aggregate $i differs from the log (SEED=$seed)"
	expect 0 probe-disable -q -s "$S-$i"
	gone "$S-$i"
done
stop p
