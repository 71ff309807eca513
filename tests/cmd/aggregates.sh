#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-stat shows aggregates as tables whose rows add up, histograms as bars, and both in JSON. With --agg it arms probes for
# itself, and disarms them when it ends.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
start p
at_end "probe-disable -q -s $S 2>/dev/null"
mask() { mask_columns; }

# ---- a sum that wraps gives no average; tables of two files say whose they are ----
for name in one two; do
	printf '#include <sys/sdt.h>\nint main(void) { for (int i = 0; i < 4; i++) STAP_PROBE2(big, it, ~0ul >> (i < 2 ? 0 : 60), i); }\n' |
		"$CC" -O1 -Iinclude -xc - -o "$T/$name" || fail "does not compile"
done
expect 0 probe-stat -q -b kernel --agg 'avg(arg0), max(arg0) by arg1 / 2' big:it -- "$T/one"
want "averages" "2 - 18446744073709551615 0|2 15 15 1|4 - 18446744073709551615 (total)" \
	"$(tail -n 3 <<<"$out" | sed 's/^ *//; s/  */ /g' | paste -sd '|')"
# A double would round these up.
expect 0 probe-stat -q --json -b kernel --agg 'pct(arg0) by arg1 / 2' big:it -- "$T/one"
want "p50 and p99.9 are at most the maximum" 2 \
	"$(grep -o '"p\(50\|99.9\)": *18446744073709551615\b' <<<"$out" | sort -u | wc -l)"
expect 0 probe-stat -q -b kernel --agg 'pct(arg0) by arg1 / 2' big:it -- "$T/one"
want "columns of percentiles beyond the doubles" "$(printf ' 18446744073709551615%.0s' 1 2 3 4 5)" \
	"$(grep -o '\( *18446744073709551615\)\{5\}' <<<"$out" | head -n 1 | sed 's/  */ /g')"
# So are those beside the counts, and the metrics.
expect 0 probe-stat -q -b kernel --percentiles --agg 'pct(arg0)' big:it -- "$T/one"
want "P99 beside the counts" "4 15 18446744073709551615" "$(sed -n 's/^ *//; s/  */ /g; 1s/^\([^ ]* [^ ]* [^ ]*\).*/\1/p' <<<"$out")"
expect 0 probe-stat -q --json -b kernel --percentiles --agg 'pct(arg0)' big:it -- "$T/one"
want "p99 of the row in JSON" '"p99":18446744073709551615' "$(grep -o '"p99": *18446744073709551615\b' <<<"$out" | tr -d ' ' | head -n 1)"
want "numbers in JSON" 0 "$(grep -c 18446744073709551616 <<<"$out")"
expect 0 probe-stat -q --openmetrics -b kernel --agg 'pct(arg0)' big:it -- "$T/one"
want "the percentile of metrics" 18446744073709551615 "$(sed -n 's/^probepoint_percentile.*percentile="99".* //p' <<<"$out")"
expect 0 probe-enable -q -s "$S-two" -f "$T/one" -f "$T/two" --agg 'count()' big:it
"$T/one"
"$T/two"
for name in one two; do want_like "the table of $name" "*big:it  count()  $T/$name*" "$(probe-stat -s "$S-two")"; done
expect 0 probe-disable -q -s "$S-two"

# ---- an existing session: app:tick has the argument 0, 1, ... ----
expect 0 probe-enable -q -s "$S" -p "$p" --agg 'count(), sum(arg0), min(arg0), max(arg0), avg(arg0) by arg0 % 3' app:tick
tell p "tick 100"
expect_text 0 probe-stat -q -s "$S" <<'E'
  100  1  app:tick  P  T/target

app:tick  count(), sum(arg0), min(arg0), max(arg0), avg(arg0) by arg0 % 3
  COUNT  sum(arg0)  min(arg0)  max(arg0)  avg(arg0)  arg0 % 3
  34  1683  0  99  49.50  0
  33  1617  1  97  49  1
  33  1650  2  98  50  2
  100  4950  0  99  49.50  (total)
E
expect_text 0 probe-stat -q -s "$S" --top 1 <<'E'
  100  1  app:tick  P  T/target

app:tick  count(), sum(arg0), min(arg0), max(arg0), avg(arg0) by arg0 % 3
  COUNT  sum(arg0)  min(arg0)  max(arg0)  avg(arg0)  arg0 % 3
  34  1683  0  99  49.50  0
  66  3267  -  -  49.50  (2 other keys)
  100  4950  0  99  49.50  (total)
E
want "JSON" '[3,[0],34,1683,100,4950,0,0]' "$(probe-stat --json -s "$S" | json '.aggregates[0] |
	[.keys, .entries[0].key[0:1], .entries[0].values[0].count, .entries[0].values[1].sum, .total.values[0].count,
	.total.values[1].sum, .rest[0].other, .rest[0].unread]')"
want "keys of JSON with --top 2" 2 "$(probe-stat --json -s "$S" --top 2 | jq '.aggregates[0].entries | length')"
expect 0 probe-disable -q -s "$S"

# Keys that find no room are a row, and the rows add up to the total.
expect 0 probe-enable -q -s "$S" -p "$p" --agg 'count(), sum(arg0) by arg0' --agg-size 50 app:tick
tell p "tick 1000"
probe-stat -q -s "$S" >"$T/out" || fail "no table"
rows() { awk '/COUNT/ { on = 1; next } on && NF { print }' "$T/out"; }
want "count and sum of the total" "1000 499500" "$(rows | awk '/total/ { print $1, $2 }')"
want "count and sum of the rows" "1000 499500" "$(rows | grep -v total | awk '{ n += $1; s += $2 } END { print n, s }')"
rows | grep -q '(no room for more keys: --agg-size)' || fail "no row for keys without room: $(rows | tail -n 3)"
expect 0 probe-disable -q -s "$S"

# Strings as keys are escaped and aligned; a string that cannot be read is a row.
expect 0 probe-enable -q -s "$S" -p "$p" --agg 'count() by text, number' target:say__entry
for text in 61 61 61 1b5b324a e697a5 e697a5; do tell p "say $text"; done
tell p fault
probe-stat -q -s "$S" >"$T/out" || fail "no table"
want "control characters of a key" 0 "$(LC_ALL=C grep -c $'[\x01-\x09\x0b-\x1f\x7f]' "$T/out")"
want "counts of keys" '3 "a" 2 "日" 1 "\x1b[2J" 1 (unread: 7 (total)' "$(rows | awk '{ print $1, $2 }' | xargs -d'\n' | tr -d '\r')"
expect 0 probe-disable -q -s "$S"

# A string that was longer in the process says so, in JSON too. A second --agg is refused, not ignored.
expect 0 probe-enable -q -s "$S" -p "$p" --agg 'count() by text, number' target:say__entry
tell p "say $(printf '61%.0s' {1..63})"
tell p "say $(printf '61%.0s' {1..64})"
want "cut keys" '[[],["text"]]' "$(probe-stat --json -s "$S" | json '[.aggregates[0].entries[] | .cut // []] | sort')"
expect 0 probe-disable -q -s "$S"
for option in --agg --if; do
	expect 2 probe-stat -p "$p" $option 'count()' $option 'count()' app:tick
	want_like "$option twice" "*$option is given twice*" "$out"
done

# Calls after the first one say what they lack: values without room, and values in memory that cannot be read.
expect 0 probe-enable -q -s "$S" -p "$p" --agg 'count(), pct(arg0)' --agg-size 11 app:tick
tell p "tick 1000"
probe-stat -q -s "$S" >"$T/out" || fail "no table"
other=$(probe-stat --json -s "$S" | jq '.aggregates[0].rest[1].other')
[ "$other" -gt 500 ] || fail "values without room: $other"
grep -qx "pct(arg0) lacks $other values that found no room: --agg-size" "$T/out" || fail "no line: $(cat "$T/out")"
expect 0 probe-disable -q -s "$S"

# ---- histograms ----
expect 0 probe-enable -q -s "$S" -p "$p" --agg 'hist(arg0 % 40 * 3), lhist(arg0 - 50, -20, 60, 20), pct(arg0)' app:tick
tell p "tick 100"
probe-stat -q -s "$S" >"$T/out" || fail "no histograms"
awk '/^  hist/ { on = 1; next } /^  lhist/ { on = 0 } on && NF { print }' "$T/out" | awk '$2 == "to" { $1 = $1 "-" $3; $2 = $4 } { printf "%s %s ", $1, $2 }' >"$T/got"
# The truth: the values counted by the same buckets.
for ((i = 0; i < 100; i++)); do echo $((i % 40 * 3)); done | awk '
	{ low = 0; if ($1) for (low = 1; 2 * low <= $1; low *= 2); n[low]++ }
	END { for (l = 0; l <= 64; l = l ? 2 * l : 1) if (l < 2) printf "%s %d ", l, n[l]; else printf "%s-%s %d ", l, 2 * l - 1, n[l] }' >"$T/wanted"
want "buckets of a histogram of powers of two" "$(cat "$T/wanted")" "$(cat "$T/got")"
want "buckets of a histogram with steps" "-20 to -1 20 0 to 19 20 20 to 39 20 40 to 59 10" \
	"$(awk '/^  lhist/ { on = 1 } on && / to / { print $1, $2, $3, $4 }' "$T/out" | tail -n 4 | xargs)"
want_like "the bucket below the first" "*up to -21*30*" "$(grep -h 'up to' "$T/out")"
longest=$(wc -L <"$T/out")
[ "$longest" -le 100 ] || fail "a bar is longer than 100 columns: $longest"
want "bars in another locale" 0 "$(LC_ALL=C probe-stat -q -s "$S" | LC_ALL=C grep -c $'[\x80-\xff]')"
expect 0 probe-disable -q -s "$S"

# ---- probe-stat that arms ----
ticks() { while tell p "tick 50"; do sleep 0.01; done 2>/dev/null; }
ticks &
ticking=$!
expect 0 probe-stat -q -p "$p" --agg 'count() by arg0 % 2' --for 1s app:tick
want "rows of a session of its own" "3 app:tick" "$(awk '/%/ && /COUNT/ { on = 1; next } on { n++ } / P*app:tick / { p = $3 } END { print n, p }' <<<"$out")"
want "total is the number of hits" "$(awk '/app:tick  *[0-9]/ { print $1 }' <<<"$out")" "$(awk '/total/ { print $1 }' <<<"$out")"
: >"$T/out"
env --default-signal=INT probe-stat --json -i 0.1 -p "$p" --agg 'max(arg0)' app:tick >"$T/out" 2>"$T/err" &
stat=$!
maxima() { jq '.aggregates[0].entries[0].values[0].max' "$T/out"; }
wait_for 20 eval '[ "$(maxima | grep -cx 49)" -ge 3 ]'
kill -INT $stat
wait $stat || fail "JSON reports of a session of its own: status $?: $(cat "$T/err")"
want "JSON reports of a session of its own, from the first whole turn on" 49 "$(maxima | sed -n '/^49$/,$p' | sort -u)"
want "sessions afterwards" "" "$(sessions)"
: >"$T/out"
: >"$T/err"
env --default-signal=INT probe-stat -v -p "$p" --agg 'count()' app:tick >"$T/out" 2>"$T/err" &
stat=$!
wait_for 20 grep -q 'counting$' "$T/err"
kill -INT $stat
wait $stat
want "status after SIGINT" 0 $?
grep -q 'app:tick  count()' "$T/out" || fail "no table after SIGINT: $(cat "$T/out" "$T/err")"
kill $ticking
wait $ticking 2>/dev/null

printf '%s\n' "say 61" "exit 7" >"$T/requests"
with_command() { probe-stat -q --agg 'count()' "$@" -- "$T/target" <"$T/requests"; }
expect 7 with_command 'target:say*'
want_like "a command's counts" "*1 1 target:say__entry*" "$(sed 's/   */ /g' <<<"$out")"
expect 125 with_command nothing
: >"$T/err" # the earlier message is not waited for
probe-stat -v -p "$p" --agg 'count()' app:tick >"$T/out" 2>"$T/err" &
stat=$!
wait_for 60 grep -q 'counting$' "$T/err"
stop p
wait $stat
want "status after the end of the process ($(cat "$T/err"))" 0 $?
for options in '-s x' '' ; do
	expect 2 probe-stat $options --agg 'count()' app:tick
done
want_like "no process" "*no process or file given*" "$out"
expect 2 probe-stat --for 1s
want_like "--for alone" "*--for needs -i, or options that arm probes*" "$out"
