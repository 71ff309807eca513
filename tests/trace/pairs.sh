#!/bin/bash
# SPDX-License-Identifier: MIT
# Calls between two probes, by both backends, equal what the program has written down: the entry's arguments belong to the
# return, durations contain those that the program measured inside, nothing is counted twice or forgotten. With 8 threads,
# recursion, alloca, inlining, tail calls, longjmp, exceptions, the end of threads, and fork.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
need python3
[ -f "$B/lib/probepoint.so" ] || skip "needs the plugin"
"${PLUGIN_CXX:-g++}" -O2 -g -pthread -Iinclude -fplugin="$B/lib/probepoint.so" -fplugin-arg-probepoint-provider=app \
	-fplugin-arg-probepoint-functions=work,moves,deep,inlined,callee,tails,leaves tests/trace/pairs.cc -o "$T/pairs" ||
	fail "tests/trace/pairs.cc does not compile"
N=$((160 / ${PROBEPOINT_SLOW:-1}))
[ -z "${PROBEPOINT_LONG-}" ] || N=10000

# begin BACKEND: starts the program.
begin() {
	if [ "$1" = agent ]; then
		start p env LD_PRELOAD="$B/lib/libprobepoint-agent.so" PROBEPOINT_LISTEN=1 "$T/pairs" "$T/log"
	else
		start p "$T/pairs" "$T/log"
	fi
}
# measured BACKEND ORDER... -- ARGUMENT...: arms with the arguments, runs the orders, and sets $begun and $returned to what
# the program has counted. The records are in $T/records, the counts in $T/stat.
measured() {
	local b=$1 orders=() o
	shift
	while [ "$1" != -- ]; do orders+=("$1") && shift; done
	shift
	: >"$T/log"
	expect 0 probe-enable -q -b "$b" -s "$S" -p "$p" "$@"
	tracing "$T/records" --json -s "$S"
	begun=0 returned=0
	for o in "${orders[@]}"; do
		tell p "$o"
		begun=$((begun + ${answer% *})) returned=$((returned + ${answer#* }))
	done
	expect 0 probe-stat --json -s "$S"
	echo "$out" >"$T/stat"
	kill -INT "$tracer"
	wait "$tracer"
	expect 0 probe-disable -q -s "$S"
}
# sums KEY: the sum of a count over the rows
sums() { jq "[.probes[].$1] | add" "$T/stat"; }
adds_up() {
	want "$1: entries" "$begun" "$(sums entries)"
	want "$1: entries = hits + missed + in flight + abandoned" 0 \
		"$(jq '[.probes[] | .entries - .hits - .missed - .under_way - .abandoned | select(. != 0)] | length' "$T/stat")"
	want "$1: hits = filtered + idle + recorded + lost" 0 \
		"$(jq '[.probes[] | .hits - .filtered - .idle - .recorded - .lost | select(. != 0)] | length' "$T/stat")"
}

for b in kernel agent; do
	begin $b
	# Of deep recursion (400 calls of a thread) only the outer calls have room.
	measured $b "work $((N / 8)) 8" "moves $((N / 4)) 4" "deep $((N / 20)) 4" "inlined $((N / 4)) 2" "tails $((N / 4)) 4" \
		"leaves $N 2" "exits 1 8" "deeper 2 2" "signals 20 2" \
		-- --if 'duration > 0' app:{work,moves,deep,inlined,callee,tails,leaves}__return
	adds_up "$b, functions"
	[ "$(sums missed)" -gt 500 ] || fail "$b: $(sums missed) of 1600 nested calls were missed"
	want "$b: calls that returned" "$returned" $(($(sums hits) + $(sums missed)))
	want "$b: ends without a begin" 0 "$(sums unmatched)"
	python3 tests/trace/pairs.py functions "$T/log" "$T/records" || fail "$b: records of functions"

	measured $b "work $((N / 8)) 8" "fork 10" -- --min-duration 20us app:work__return
	python3 tests/trace/pairs.py slow "$T/log" "$T/records" || fail "$b: --min-duration"

	measured $b "work $((N / 8)) 8" -- --if 'us % 7 == 0 && name == "odd" && result == 3 * id + 1' \
		--agg 'count(), max(duration), sum(result) by name, us' --print 'us, name, result, duration' app:work__return
	want "$b: a filter on the entry's arguments" \
		"$(jq -nc --argjson n $((N / 8)) '[range($n) | (. % 50) as $us | select(. % 2 == 1 and $us % 7 == 0)] | 8 * length')" \
		"$(wc -l <"$T/records")"
	want "$b: an aggregate by the entry's arguments" \
		"$(jq -rs '[.[].args] | group_by([.name, .us])[] | "\(.[0].name) \(.[0].us) \(length) \([.[].duration] | max) \([.[].result] | add)"' \
			"$T/records" | LC_ALL=C sort)" \
		"$(jq -r '.aggregates[0].entries[] | "\(.key[0]) \(.key[1]) \(.values[0].count) \(.values[1].max) \(.values[2].sum)"' \
			"$T/stat" | LC_ALL=C sort)"

	measured $b "pairs $((N < 200 ? N : 200)) 8" -- --latency app:begin app:done
	adds_up "$b, pairs of a thread"
	want "$b, pairs of a thread: ends" "$returned" "$(sums hits)"
	python3 tests/trace/pairs.py pairs "$T/log" "$T/records" || fail "$b: records of pairs"
	[ "$(sums abandoned)" -gt 0 ] || fail "$b: no begin was abandoned"
	want "$b, pairs of a thread: the aggregate, pct(duration)" \
		"$(jq -rs '[.[].args.duration] | "\(length) \(add) \(min) \(max)"' "$T/records")" \
		"$(jq -r '.aggregates[0].total.values[0] | "\(.count) \(.sum) \(.min) \(.max)"' "$T/stat")"

	for key in ${PROBEPOINT_LONG:+id 'id*3+1'} name; do
		measured $b "jobs $(((N < 2400 ? N : 2400) / 8)) 8" -- --latency app:submit app:finish --on "$key"
		adds_up "$b, --on $key"
		want "$b, --on $key: ends without a begin" 0 "$(sums unmatched)"
		want "$b, --on $key: not ended" $((begun - returned)) "$(sums under_way)"
		python3 tests/trace/pairs.py jobs "$T/log" "$T/records" || fail "$b: records of --on $key"
	done
	stop p
done

# What does not fit is counted.
begin kernel
measured kernel "jobs 60 2" -- --latency app:submit app:finish --on id --maxactive 10
want "a small table: missed and ended" "true" "$(jq '.probes[0] | .missed > 0 and .entries == .hits + .missed + .under_way + .abandoned' "$T/stat")"
want "a small table: ends" "$returned" $(($(sums hits) + $(sums unmatched)))
expect 1 probe-enable -b agent -s "$S" -p "$p" --latency app:submit app:finish --maxactive 10
expect 1 probe-enable -s "$S" -p "$p" --latency app:submit app:nothing
expect 1 probe-enable -s "$S" -p "$p" --latency 'app:*' app:finish
want_like "a pattern of several probes" "*'app:\*' matches several probes, such as app:begin and app:*" "$out"
expect 1 probe-enable -s "$S" -p "$p" --latency app:finish app:finish
want_like "a probe with itself" "*are the same probe, app:finish; name two*" "$out"
expect 2 probe-enable -s "$S" -p "$p" --latency app:finish
expect 2 probe-enable -s "$S" -p "$p" --on id app:finish
want_like "--on without --latency" "*--on needs --latency BEGIN END*" "$out"
expect 2 probe-enable -s "$S" -p "$p" --latency app:submit app:finish app:done
expect 2 probe-enable -s "$S" -p "$p" --min-duration 5 app:work__return
expect 1 probe-enable -s "$S" -p "$p" --latency app:submit app:finish --on 'nothing'
want_like "an unknown key" "*unknown name 'nothing': app:submit has id, name*" "$out"
stop p
