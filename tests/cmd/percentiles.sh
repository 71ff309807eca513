#!/bin/bash
# SPDX-License-Identifier: MIT
# --percentiles shows P50 and P99 of a probe's pct() beside its counts, and --sort orders by them.
. tests/lib.sh
need jq
AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
build_once "$T/sampled" $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -pthread -Iinclude tests/cmd/sampled.c || fail "sampled.c does not build"
at_end "probe-disable -q -s $S 2>/dev/null"
coproc TARGET { exec env LD_PRELOAD="$AGENT" "$T/sampled"; }
pid=$TARGET_PID
exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
runs_agent "$pid" "$T/sampled"
say() { echo "$1" >&"$to"; read -t $patience -r ns <&"$from" || fail "no reply to \"$1\""; }

expect 0 probe-enable -q -b agent -s $S -p "$pid" --agg 'count(), pct(arg0)' sampled:hit
expect 0 probe-enable -q -b agent -s $S -p "$pid" sampled:twice
say "1 1000"
# The values are 0 to 999, within 1/32.
want "percentiles in JSON" '[["sampled:hit",true,true],["sampled:twice",false,false]]' "$(probe-stat --json --percentiles -s $S |
	jq -c '[.probes[] | [.probe, (.p50 // 0 | . >= 480 and . <= 520), (.p99 // 0 | . >= 955 and . <= 1024)]] | sort')"
want "no percentiles without the option" '[null,null]' "$(probe-stat --json -s $S | jq -c '[.probes[].p50]')"
expect 0 probe-stat -s $S --percentiles
want_like "titles" "*HITS *P50 *P99 *SITES*" "$out"
want_like "unknown percentiles" "*2000 *- *- *2  sampled:twice*" "$out"
expect 0 probe-stat -q -s $S --sort p99
want "the first row by p99" sampled:hit "$(head -n 1 <<<"$out" | awk '{ print $5 }')"
expect 0 probe-stat -q -s $S
want "the first row by hits" sampled:twice "$(head -n 1 <<<"$out" | awk '{ print $3 }')"
expect 0 timeout 120 probe-stat -b agent -p "$pid" --percentiles --agg 'pct(arg0)' --for 100ms --json sampled:hit
expect 2 probe-stat -b agent -p "$pid" --percentiles --agg 'count()' sampled:hit
want_like "no pct()" "*--percentiles needs pct() in --agg*" "$out"
expect 2 probe-stat --sort p12
want_like "unknown order" "*--sort: unknown order 'p12'; give hits, rate, lost, name, p50 or p99*" "$out"
