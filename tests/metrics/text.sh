#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-stat --openmetrics obeys the specification, for names and keys of any bytes. Its series have the numbers of
# probe-stat --json, and with a bound on their number they still have the totals.
. tests/lib.sh
. tests/metrics/lib.sh
need_root
need jq python3
seed=${SEED:-$$}
echo "seed $seed"
at_end "probe-disable -q -s $S 2>/dev/null; probe-disable -q -s $S-own 2>/dev/null"

# take [OPTION]...: writes the checked samples to $T/samples.
take() {
	probe-stat -s "$S" "$@" >"$T/text" || fail "probe-stat $*"
	python3 tests/metrics/openmetrics.py $([[ " $* " != *" --prometheus "* ]] || echo --prometheus) <"$T/text" >"$T/samples" ||
		fail "probe-stat $*: the text is invalid"
}
# total JQ-SELECTION: adds up samples.
total() { jq -s "[.[] | select($1) | .value] | add" "$T/samples"; }

# ---- hostile keys and a hostile path ----
cat >"$T/keys.c" <<'E2'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sdt.h>

/* Hits app:key(bytes, number) and app:number(number) for each line of hexadecimal digits; numbers are from -20 to 19. */
int main(void)
{
	static char line[4096], bytes[2048];

	for (int i = 0; fgets(line, sizeof(line), stdin); i++) {
		size_t n = 0;

		for (unsigned byte; sscanf(line + 2 * n, "%2x", &byte) == 1; n++)
			bytes[n] = byte;
		bytes[n] = 0;
		prctl(PR_SET_NAME, i % 2 ? "a\"}\\n b\n" : "plain");
		STAP_PROBE2(app, key, bytes, i % 40 - 20);
		STAP_PROBE1(app, number, i % 40 - 20);
	}
	return 0;
}
E2
dir="$T/a\"b\\c {x=\"1\"} ü,"$'\n'"# EOF"
mkdir "$dir"
"$CC" -O1 -Iinclude "$T/keys.c" -o "$dir/keys" || fail "the target does not build"
python3 - "$seed" >"$T/keys" <<'E2'
import random, sys
r = random.Random(int(sys.argv[1]))
keys = [b"", b"other", b"\\", b"\\x01", b"\x01", b"\n", b"\\n", b'"', b'"} 1', b"# EOF", b"\xff", b"\xfe", b"\xef\xbf\xbd", b"\xc3\xbc",
        b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\xc2\x85", b"a" * 63, b"a" * 64, b"a" * 60 + "…".encode(), b"{le=\"+Inf\"}"]
keys += [bytes(r.randrange(1, 256) for _ in range(r.randrange(1, 62))) for _ in range(30)]
for key in keys + r.choices(keys, k=200):
    print(key.hex())
E2
n=$(wc -l <"$T/keys")
expect 0 probe-enable -q -b kernel -s "$S" -f "$dir/keys" \
	--agg 'count(), sum(arg1), min(arg1), max(arg1), avg(arg1), hist(arg1), lhist(arg1, -15, 15, 10), pct(arg1) by str(arg0), comm' \
	--agg-size 100000 app:key
expect 0 probe-enable -q -b kernel -s "$S" -f "$dir/keys" --agg 'count(), sum(arg0 + 20), hist(arg0 + 20), pct(arg0 + 20) by arg0, pid' app:number
"$dir/keys" <"$T/keys" || fail "the target failed"
take --openmetrics --max-series 1000000
probe-stat --json -s "$S" >"$T/json" || fail "probe-stat --json"
own() { jq -c "$1" "$T/json"; }
want "hits" "$((2 * n))" "$(total '.name == "probepoint_hits_total"')"
want "series of keys" "$(own '[.aggregates[].keys] | add')" \
	"$(jq -s '[.[] | select(.name == "probepoint_values_total" and .labels.call == "count()")] | length' "$T/samples")"
want "the path" "$(printf %s "$dir/keys" | sed 's/\\/\\\\/g')" "$(jq -rs '[.[] | select(.name == "probepoint_hits_total")][0].labels.file' "$T/samples")"
want "sum(arg0 + 20)" "$(own '[.aggregates[].total.values[] | select(.call == "sum(arg0 + 20)") | .sum] | add')" \
	"$(total '.name == "probepoint_amount_total" and .labels.call == "sum(arg0 + 20)"')"
want "sum(arg1), which is signed" "$(own '[.aggregates[].total.values[] | select(.call == "sum(arg1)") | .sum] | add')" \
	"$(total '.name == "probepoint_signed_amount" and .labels.call == "sum(arg1)"')"
for extreme in min max; do
	want "all values of $extreme()" "$(own "[.aggregates[].entries[].values[] | select(.call == \"$extreme(arg1)\") | .$extreme] | add")" \
		"$(total ".name == \"probepoint_${extreme}imum\"")"
done
want "values of hist() up to 15" \
	"$(own '[.aggregates[].entries[].values[] | select(.call == "hist(arg0 + 20)") | .buckets[] | select(.high <= 15) | .count] | add')" \
	"$(total '.name == "probepoint_distribution_bucket" and .labels.call == "hist(arg0 + 20)" and .labels.le == "15.0"')"
want "values of lhist() below -5" \
	"$(own '[.aggregates[].entries[].values[] | select(.call == "lhist(arg1, -15, 15, 10)") | .buckets[] | select(.high < -5) | .count] | add')" \
	"$(total '.name == "probepoint_linear_distribution_bucket" and .labels.le == "-6.0"')"
# Debian's package is for Debian's python3.
python=$(for python in python3 /usr/bin/python3; do "$python" -c 'import prometheus_client' 2>/dev/null && echo "$python" && break; done)
if [ "$python" ]; then
	"$python" -c '
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
print(sum(len(f.samples) for f in text_string_to_metric_families(sys.stdin.read())))' <"$T/text" >"$T/count" 2>"$T/count.err" ||
		fail "the parser of prometheus_client: $(tail -n 1 "$T/count.err")"
	want "samples by prometheus_client" "$(wc -l <"$T/samples")" "$(cat "$T/count")"
else
	part_skipped "python3-prometheus-client is not installed"
fi

# ---- with a bound, the series are few and the totals are the same ----
totals() {
	jq -sc '[("probepoint_hits_total", "probepoint_values_total", "probepoint_amount_total", "probepoint_distribution_count",
		"probepoint_linear_distribution_bucket") as $name |
		[.[] | select(.name == $name and (.labels.le // "+Inf") == "+Inf") | .value] | add]' "$T/samples"
}
all=$(totals)
for most in 1000 3000; do
	take --openmetrics --max-series $most
	[ "$(wc -l <"$T/samples")" -le $((most + 60)) ] || fail "--max-series $most: $(wc -l <"$T/samples") series"
	want_like "keys without series" '[1-9]*' "$(total '.name == "probepoint_other_members"')"
	want "the totals with --max-series $most" "$all" "$(totals)"
done
take --openmetrics --max-series 100
[ "$(wc -l <"$T/samples")" -le 160 ] || fail "--max-series 100: $(wc -l <"$T/samples") series"
want "hits with --max-series 100" "$((2 * n))" "$(total '.name == "probepoint_hits_total"')"

# ---- the older format, and promtool ----
take --prometheus
if have promtool; then
	want "promtool" "" "$(promtool check metrics <"$T/text" 2>&1)"
else
	part_skipped "promtool is not installed"
fi

# ---- probes that the command arms itself ----
expect 0 probe-stat --openmetrics -q -b kernel --agg 'count()' app:key -- "$dir/keys" <"$T/keys"
want "hits of an own session" "$n" "$(python3 tests/metrics/openmetrics.py <<<"$out" | jq -s '[.[] | select(.name == "probepoint_values_total") | .value] | add')"
want_like "the name of an own session" '*session="private"*' "$out"

# ---- options ----
for options in "--max-series 500" "--openmetrics --max-series 99" "--openmetrics -i 1" "--prometheus --json" "--openmetrics --top 3"; do
	# shellcheck disable=SC2086 # the options are words
	expect 2 probe-stat $options
done
