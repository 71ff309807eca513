#!/bin/bash
# SPDX-License-Identifier: MIT
# first
# Counts are exact: with threads, with a reader, and while other probes of the session come and go.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
build_hits

rounds=1 each=$((100000 / slow)) read=$((20000 / slow + 1)) step=6 threads=1
[ -z "${PROBEPOINT_LONG-}" ] || { rounds=10 each=$((1000000 / slow)) read=$((60000 / slow + 1)) step=3 threads=2; }

all_tests() {
	local traced file=$T/traced read_so_far

	# ---- 8 threads, $each hits each ----

	start a
	expect 0 probe-enable -q -s $S -p $a k:one
	tell a "run 8 $each"
	want "hits of 8 threads" $((8 * each)) "$(count $S k:one)"
	want "idle without a reader" $((8 * each)) "$(count $S k:one idle)"
	adds_up $S
	want "the program's own count" $((8 * each)) "$answer"
	expect 0 probe-disable -q -s $S
	gone $S

	# ---- the same with a reader, which gets every record ----

	expect 0 probe-enable -q -s $S -p $a k:one k:two
	tell a "run 2 1000"
	tracing "$file" --json -s $S
	tell a "run 8 $read"
	kill -INT $tracer
	wait $tracer
	tell a "run 2 1000"
	adds_up $S
	for probe in k:one k:two; do
		want "hits of $probe equal those of the other probe" "$(count $S k:one)" "$(count $S k:two)"
		[ "$(count $S $probe)" -ge $((8 * read + 3993)) ] || fail "$probe: $(count $S $probe) hits"
		[ "$(count $S $probe idle)" -ge 2000 ] || fail "$probe: $(count $S $probe idle) idle"
		want "records of $probe" "$(count $S $probe recorded)" "$(grep -c "\"probe\": *\"$probe\"" "$file")"
	done

	# ---- recording from the start: records that do not fit into the ring are lost and counted ----

	expect 0 probe-enable -q -s ${S}r --record -p $a k:two
	tell a "run 4 $((50000 / slow))"
	adds_up ${S}r
	want "recording hits" $((50000 / slow * 4)) "$(count ${S}r k:two)"
	want "idle" 0 "$(count ${S}r k:two idle)"
	# Fewer records fit into the ring.
	[ "$slow" != 1 ] || [ "$(count ${S}r k:two lost)" -gt 0 ] || fail "no hit was lost of 200,000 without a reader"
	# A later reader gets the records in the ring.
	trace_kept "$file" --json -s ${S}r
	want "records in the ring" "$(count ${S}r k:two recorded)" "$(wc -l <"$file")"
	expect 0 probe-disable -q -s ${S}r
	expect 0 probe-disable -q -s $S
	gone $S

	# ---- probes of one link are disarmed one by one, and others armed, at full speed ----

	start b
	for ((round = 0; round < rounds; round++)); do
		expect 0 probe-enable -q -s $S -p $a -p $b 'm:*'
		tell a "many $((2 * threads))"
		tell b "many $threads"
		for i in $(seq 31 -$step 12); do
			expect 0 probe-disable -q -s $S -p $a m:p$i
			expect 0 probe-disable -q -s $S -p $b m:p$((i - 1)) m:p$i
			expect 0 probe-enable -q -s $S -p $a -p $b m:p$i
			expect 0 probe-disable -q -s $S m:p$((i - 2))
		done
		tell a stop; na=$answer
		tell b stop; nb=$answer
		adds_up $S
		for i in 0 1 9; do
			want "m:p$i of two processes, round $round" "$na $nb" "$(probe-stat --json -s $S |
				jq -r --argjson a $a --argjson b $b --arg p m:p$i \
				'.probes | map(select(.probe == $p)) | [(.[] | select(.pid == $a)), (.[] | select(.pid == $b))] |
				map(.hits) | join(" ")')"
		done
		want "hits of probes that were disarmed and not armed again" 00 "$(count $S m:p11)$(count $S m:p29)"
		expect 0 probe-disable -q -s $S
		gone $S
		want "the bytes of a" "37 90" "$(site_bytes $a)"
		want "the bytes of b" "37 90" "$(site_bytes $b)"
	done
	stop a
	stop b
}

all_tests
multi_links || exit 0 # it was the other way
[ "${PROBEPOINT_LONG-}" ] || each=$((20000 / slow))
PROBEPOINT_NO_UPROBE_MULTI=1 all_tests
