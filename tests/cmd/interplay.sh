#!/bin/bash
# SPDX-License-Identifier: MIT
# Commands at the same time: on one session they wait for each other, on one point they do not disturb each other.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
know_sites
at_end "probe-disable -q -s $S 2>/dev/null"

# ---- eight at once into one session: none is lost, none is refused ----
for i in {1..8}; do start "p$i"; done
for i in {1..8}; do
	pid=p$i
	probe-enable -s "$S" -p "${!pid}" '*:*' >"$T/out.$i" 2>&1 &
	jobs[i]=$!
done
for i in {1..8}; do
	wait "${jobs[i]}" || fail "number $i: $(cat "$T/out.$i")"
	want "lines of number $i" 3 "$(grep -c '^armed ' "$T/out.$i")"
done
# options of such a request either take effect or are said to have none
already="armed in this session already"
for option in "--if=pid == 1|--if has no effect on it: disarm it first" "--for=1h|the time or budget of this request has no effect *"; do
	expect 0 probe-enable --json -s "$S" -p "$p1" "${option%%|*}" app:tick
	want_like "${option%%|*}" "$already; ${option#*|}" "$(jq -r '.armed[0].reason' <<<"$out")"
done
# what is asked for all processes is refused while it is armed for one alone
expect 1 probe-enable --json -s "$S" -f "$T/target" app:tick
want_like "for all" "*armed in this session for pid * only: disarm that first, or use another session (-s)" \
	"$(jq -r '.refused[0].reason' <<<"$out")"
want "rows" "24 24" "$(probe-stat --json -s "$S" | jq -r '"\(.probes|length) \([.probes[].sites]|add)"')"
for i in {1..8}; do tell "p$i" "tick $((i * 100))"; done
for i in {1..8}; do
	pid=p$i
	want "hits of number $i" $((i * 100)) \
		"$(probe-stat --json -s "$S" | jq ".probes[] | select(.pid == ${!pid} and .probe == \"app:tick\") | .hits")"
done

# ---- once more: nothing is armed twice, and what stands is read back again ----
expect 0 probe-enable --json -s "$S" -p "$p1" '*:*'
want "again" "3 true armed in this session already" \
	"$(jq -r '"\(.armed | length) \([.armed[].verified] | all) \(.armed[0].reason)"' <<<"$out")"
want "rows" "24 24" "$(probe-stat --json -s "$S" | jq -r '"\(.probes|length) \([.probes[].sites]|add)"')"

# ---- a reader sees what is added while it reads ----
probe-trace -s "$S" >"$T/trace" 2>"$T/err" &
tracer=$!
reading() { tell p1 "tick 1"; [ -s "$T/trace" ]; }
wait_for 20 reading
start late
expect 0 probe-enable -q -s "$S" -p "$late" app:tick
late_seen() { tell late "tick 1"; grep -q " $late/$late " "$T/trace"; }
wait_for 20 late_seen

# ---- it dies: somebody else can read ----
kill -KILL $tracer
wait $tracer 2>/dev/null
rm "$T/trace"
probe-trace -s "$S" -n 1 >"$T/trace" 2>"$T/err" &
tracer=$!
wait_for 20 reading
wait $tracer
want "the next reader" 0 $?

# ---- all taken out at once by several: together exactly what there was ----
for i in {1..4}; do probe-disable --json -s "$S" >"$T/out.$i" 2>&1 & jobs[i]=$!; done
for i in {1..4}; do wait "${jobs[i]}"; done
want "taken out together" 25 "$(cat "$T"/out.[1-4] | jq -s '[.[].disarmed[]?.points] | add')"
no_session "$S" || fail "the session stays"
for i in {1..8}; do pid=p$i; want "bytes of number $i" "3 90" "$(site_bytes "${!pid}")"; done

# ---- sessions that come and go on points of one that stays: it counts every hit ----
expect 0 probe-enable -q -s "$S" -p "$p1" '*:*'
storm() {
	local k
	for ((k = 0; k < 15; k++)); do
		probe-enable -q -s "$S-$1" "$2" "$3" '*:*' || echo "enable failed"
		probe-disable -q -s "$S-$1" || echo "disable failed"
	done
}
storm 1 -p "$p1" >"$T/storm.1" 2>&1 &
jobs[1]=$!
storm 2 -f "$T/target" >"$T/storm.2" 2>&1 &
jobs[2]=$!
storm 3 -p "$p2" >"$T/storm.3" 2>&1 &
jobs[3]=$!
ticks=0
while kill -0 "${jobs[1]}" 2>/dev/null || kill -0 "${jobs[2]}" 2>/dev/null || kill -0 "${jobs[3]}" 2>/dev/null; do
	tell p1 "tick 777"
	tell p2 "tick 10"
	ticks=$((ticks + 777))
done
wait "${jobs[@]:1:3}"
want "the storms" "" "$(cat "$T"/storm.?)"
want "every hit of the one that stayed" $ticks "$(hits "$S" app:tick)"
want "sessions" "$S" "$(sessions | grep "^$S" | xargs)"
want "the bystander" "3 90" "$(site_bytes "$p2")"
expect 0 probe-disable -q -s "$S"
want "all" "3 90" "$(site_bytes "$p1")"

# ---- --record takes effect for what the session has armed already ----
expect 0 probe-enable -q -s "$S-r" -p "$p1" app:tick
expect 0 probe-enable -q --record -s "$S-r" -p "$p1" app:tick
tell p1 "tick 5"
want "--record for what is armed already" 5 "$(probe-stat --json -s "$S-r" | jq '.probes[0].recorded')"
expect 0 probe-disable -q -s "$S-r"
