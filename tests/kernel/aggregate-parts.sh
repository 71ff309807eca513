#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Aggregates in the kernel stay exact while points of the attachment are disarmed, by commands, in an owner process and over
# the budget. A key that two threads add at once has the hits of both. A full table counts the rest exactly. Extremes are exact if each hit has a new one.
. tests/plugin/lib.sh
. tests/kernel/lib.sh
need_kernel
build_aggregate "$T/program" -ldl
mkdir "$T/log"
[ "${PROBEPOINT_LONG-}" ] && keys=3000000 || keys=$((39200 / slow + 800)) # enough for more keys than --agg-size
at_end "probe-disable -q -s $S 2>/dev/null"
start p "$T/program" "$T/log"

# ---- parts of an attachment ----

# table PROBE: hits, the sum of all cells, other and unread of a probe
table() {
	probe-stat --json -s $S | jq -r --arg p "$1" '([.probes[] | select(.probe == $p) | .hits - .filtered] | add),
		(.aggregates[] | select(.probe == $p) | .total.values[0].count, .rest[0].other, .rest[0].unread)' | xargs
}
for how in "" "--for 1h"; do
	# shellcheck disable=SC2086 # two words
	expect 0 probe-enable -q -b kernel -s $S $how --agg 'count() by path' --if 'delta >= 0 || delta < 0' -p $p 'agg:hit__entry'
	# shellcheck disable=SC2086 # two words
	expect 0 probe-enable -q -b kernel -s $S $how --agg 'count() by tid' -p $p 'agg:keyed__*' 'agg:twice__*' 'agg:hit__return'
	tell p "keys 50"
	tell p "start 4"
	expect 0 probe-disable -q -s $S agg:keyed__return
	expect 0 probe-disable -q -s $S agg:twice__entry agg:twice__return
	wait_for 20 eval '[ "$(count $S agg:hit__return)" -gt 5000 ]'
	tell p stop
	read -r hits cells other unread <<<"$(table agg:hit__entry)"
	want "cells, other and unread during a handover, $how" "$answer $answer 0" "$hits $((cells + unread)) $other"
	[ "$unread" -gt 0 ] || fail "no path was NULL"
	want "another probe of a link that was replaced, $how" "$answer $answer 0 0" "$(table agg:hit__return)"
	want "a probe that was not hit since, $how" "50 50 0 0" "$(table agg:keyed__entry)"
	want "tables of disarmed probes, $how" '["agg:hit__entry","agg:hit__return","agg:keyed__entry"]' \
		"$(probe-stat --json -s $S | jq -c '[.aggregates[].probe] | sort')"
	expect 0 probe-disable -q -s $S
	wait_for 10 no_session $S
	gone $S
done

expect 0 probe-enable -q -b kernel -s $S --budget 3% --agg 'count() by tid' -p $p 'agg:hit__entry' 'agg:keyed__entry'
tell p "start 2"
wait_for 20 eval '[ "$(probe-stat --json -s $S 2>/dev/null | jq "[.probes[] | select(.over_budget == 1)] | length")" = 1 ]'
tell p stop
read -r hits cells other unread <<<"$(table agg:hit__entry 2>/dev/null)"
want "cells of a probe over the budget" "$hits 0" "$((cells + unread)) $other"
[ "$hits" -gt 100 ] || fail "$hits hits"
expect 0 probe-disable -q -s $S
wait_for 10 no_session $S

# ---- keys that two threads add at once ----

expect 0 probe-enable -q -b kernel -s $S --agg 'count() by key' -p $p agg:keyed__entry
tell p "meet 2000"
want "keys, other, and the hits of a key" "2000 0 [2]" "$(probe-stat --json -s $S |
	jq -r '.aggregates[0] | "\(.keys) \(.rest[0].other) \([.entries[].values[0].count] | unique)"')"
expect 0 probe-disable -q -s $S

# ---- many keys ----

expect 0 probe-enable -q -b kernel -s $S --agg 'count()' -p $p agg:keyed__entry
tell p "keys $keys"
counted=$answer
expect 0 probe-disable -q -s $S
expect 0 probe-enable -q -b kernel -s $S --agg-size 1000 --agg 'count(), sum(key) by key' -p $p agg:keyed__entry
tell p "keys $keys"
echo "a hit with a new key takes $((answer / keys)) ns, one of a table with one key $((counted / keys)) ns"
want "keys of a full table" "500 $((keys - 500)) $(((keys - 1) * keys / 2))" "$(probe-stat --json -s $S |
	jq -r '.aggregates[0] | "\(.keys) \(.rest[0].other) \(.total.values[1].sum + .rest[1].other_sum)"')"
want "each key has one hit" 1 "$(probe-stat --json -s $S | jq '[.aggregates[0].entries[].values[0].count] | max')"
expect 0 probe-disable -q -s $S

# ---- each hit of eight threads is a new maximum ----

expect 0 probe-enable -q -b kernel -s $S --agg 'min(key), max(key), min(1000000000 - key), sum(key)' -p $p agg:keyed__entry
tell p "rise 8 $((keys / 8))"
last=$((keys / 8 * 8 - 1))
want "extremes of rising numbers" "$((last + 1)) 0 $last $((1000000000 - last)) 0 $((last * (last + 1) / 2))" "$(probe-stat --json -s $S | jq -r '
	.aggregates[0] | .rest[0].other as $other | .total.values |
	"\(.[1].count) \(.[0].min) \(.[1].max) \(.[2].min) \($other) \(.[3].sum)"')"
stop p
