#!/bin/bash
# SPDX-License-Identifier: MIT
# --every and --rate choose the hits that are recorded and aggregated, count the others as unsampled, and say so, through both
# backends.
. tests/lib.sh
need jq taskset
build_once "$T/sampled" $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -pthread -Iinclude tests/cmd/sampled.c || fail "sampled.c does not build"
AGENT=$B/lib/libprobepoint-agent.so
at_end "probe-disable -q -s $S 2>/dev/null"

# All hits of one thread are on one CPU, so that it is known which are chosen.
start() {
	coproc TARGET { exec env ${1:+LD_PRELOAD="$1"} taskset -c "$(taskset -cp $$ | sed 's/.*[ ,-]//')" "$T/sampled"; }
	pid=$TARGET_PID
	exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
	runs${1:+_agent} "$pid" "$T/sampled"
}
say() { echo "$1" >&"$to"; read -t $patience -r ns <&"$from" || fail "no reply to \"$1\""; }
counts() { probe-stat --json -s $S | jq -r ".probes[] | select(.probe == \"sampled:$1\") | \"\(.hits) \(.filtered) \(.unsampled) \(.idle + .recorded + .lost)\""; }

backend() {
	local b=$1 chosen

	# ---- which hits are recorded, after the filter ----
	tracing "$T/records" --json -b "$b" -p "$pid" --every 10 --if 'arg0 % 2 == 1' sampled:hit
	say "1 1000"
	kill -INT $tracer
	wait $tracer
	want "$b: the recorded values" "$(seq 19 20 999 | xargs)" "$(jq .args.arg0 "$T/records" | xargs)"

	# ---- counts and aggregates ----
	expect 0 probe-enable -q -b "$b" -s $S -p "$pid" --every 7 --agg 'count(), sum(arg0), max(arg0)' --if 'arg0 != 3' 'sampled:*'
	say "1 1001"
	want "$b: counts of one site" "1001 1 858 142" "$(counts hit)"
	want "$b: counts of two sites" "2002 2 1716 284" "$(counts twice)"
	# Of the 1000 that pass, the 7th, 14th, ...: 7, 14, ..., 994, as 3 is left out.
	want "$b: the aggregate" "$(seq 7 7 994 | jq -sc '[length, add, max]')" "$(probe-stat --json -s $S |
		jq -c '.aggregates[] | select(.probe == "sampled:hit") | .total.values | [.[0].count, .[1].sum, .[2].max]')"
	want "$b: the factor" '[7,null,7]' "$(probe-stat --json -s $S | jq -c '[.probes[0].every, .probes[0].rate, .aggregates[0].every]')"
	expect 0 probe-stat -s $S
	want_like "$b: the table's factor" '* UNSAMPLED *sampled:hit *  sampled 1 in 7
*sampled:hit  count(), sum(arg0), max(arg0)  sampled 1 in 7
*' "$out"
	say "4 5000"
	read -r hits filtered unsampled rest < <(counts hit)
	want "$b: hits of 4 threads" "21001 5" "$hits $filtered"
	want "$b: hits are filtered, unsampled and chosen" "$hits" $((filtered + unsampled + rest))
	[ "$((7 * rest))" -le "$((hits - filtered))" ] || fail "$b: $rest of $hits are chosen"
	want "$b: aggregated hits" "$rest" "$(probe-stat --json -s $S | jq '.aggregates[] | select(.probe == "sampled:hit") | .total.values[0].count')"
	expect 0 probe-disable -q -s $S

	# ---- a rate: at most a tenth of it at once, and those of the time that passed ----
	expect 0 probe-enable -q -b "$b" -s $S -p "$pid" --rate 500/s --agg 'count()' 'sampled:*'
	begin=${EPOCHREALTIME/[.,]/}
	for ((i = 0; i < 5; i++)); do say "2 2000"; sleep 0.05; done
	us=$((${EPOCHREALTIME/[.,]/} - begin))
	for probe in hit:1 twice:2; do
		read -r hits filtered unsampled rest < <(counts ${probe%:*})
		want "$b: hits with a rate" "$((${probe#*:} * 20000)) 0" "$hits $filtered"
		want "$b: hits of $probe are unsampled and chosen" "$hits" $((unsampled + rest))
		chosen=$((50 + us / 2000 + 2))
		[ "$rest" -ge 50 ] && [ "$rest" -le $chosen ] || fail "$b: $rest of $hits hits of $probe in $us us, at most $chosen"
	done
	want "$b: the rate" '[null,500,500]' "$(probe-stat --json -s $S | jq -c '[.probes[0].every, .probes[0].rate, .aggregates[0].rate]')"
	want_like "$b: the table's rate" '*  sampled at most 500/s*' "$(probe-stat -s $S)"
	expect 0 probe-disable -q -s $S

	# ---- a rate that is never reached, together with a factor ----
	tracing "$T/records" --json -b "$b" -p "$pid" --every 3 --rate 1000000000/s sampled:hit
	say "1 300"
	kill -INT $tracer
	wait $tracer
	want "$b: the recorded values" "$(seq 2 3 299 | xargs)" "$(jq .args.arg0 "$T/records" | xargs)"
}

if [ -e "$AGENT" ]; then
	start "$AGENT"
	backend agent
	echo end >&"$to"
	wait $pid
else
	part_skipped "the agent backend: no agent was built"
fi
if [ "$(id -u)" = 0 ]; then
	start ""
	backend kernel
else
	part_skipped "the kernel backend: needs root"
fi

# ---- errors ----
expect 2 probe-enable --every 0 -p $$ 'x:y'
want_like "invalid factor" "*--every: invalid number '0'*" "$out"
expect 2 probe-trace --rate 5/m -p $$ 'x:y'
want_like "invalid rate" "*--rate: invalid rate '5/m'; give 1/s to*" "$out"
