#!/bin/bash
# SPDX-License-Identifier: MIT
# Concurrent commands: in one session they wait for each other; at the same site they have no effect on each other.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
know_sites
at_end "probe-disable -q -s $S 2>/dev/null"

# ---- eight probe-enable at once in one session: none is lost or refused ----
for i in {1..8}; do start "p$i"; done
for i in {1..8}; do
	pid=p$i
	probe-enable -s "$S" -p "${!pid}" 'app:*' 'target:*' >"$T/out.$i" 2>&1 &
	jobs[i]=$!
done
for i in {1..8}; do
	wait "${jobs[i]}" || fail "probe-enable $i: $(cat "$T/out.$i")"
	want "armed rows of probe-enable $i" 3 "$(grep -c '^armed ' "$T/out.$i")"
done
# An option that has no effect on a probe that is armed already is reported.
already="armed in this session already"
for option in "--if=pid == 1|--if has no effect on it; disarm it first" "--for=1h|the time or budget of this request has no effect *"; do
	expect 0 probe-enable --json -s "$S" -p "$p1" "${option%%|*}" app:tick
	want_like "${option%%|*}" "$already; ${option#*|}" "$(jq -r '.armed[0].reason' <<<"$out")"
done
# Arming in all processes is refused if the session has armed the probe in one process.
expect 1 probe-enable --json -s "$S" -f "$T/target" app:tick
want_like "reason for all processes" "*armed in this session for pid * only; disarm that first, or use another session (-s)" \
	"$(jq -r '.refused[0].reason' <<<"$out")"
want "rows and sites" "24 24" "$(probe-stat --json -s "$S" | jq -r '"\(.probes|length) \([.probes[].sites]|add)"')"
for i in {1..8}; do tell "p$i" "tick $((i * 100))"; done
for i in {1..8}; do
	pid=p$i
	want "hits of process $i" $((i * 100)) \
		"$(probe-stat --json -s "$S" | jq ".probes[] | select(.pid == ${!pid} and .probe == \"app:tick\") | .hits")"
done

# ---- the same request again: nothing is armed twice, and the sites are verified again ----
expect 0 probe-enable --json -s "$S" -p "$p1" 'app:*' 'target:*'
want "armed rows of the second request" "3 true armed in this session already" \
	"$(jq -r '"\(.armed | length) \([.armed[].verified] | all) \(.armed[0].reason)"' <<<"$out")"
want "rows and sites" "24 24" "$(probe-stat --json -s "$S" | jq -r '"\(.probes|length) \([.probes[].sites]|add)"')"

# ---- a reader gets records of probes that are added while it reads ----
probe-trace -s "$S" >"$T/trace" 2>"$T/err" &
tracer=$!
reading() { tell p1 "tick 1"; [ -s "$T/trace" ]; }
wait_for 20 reading
start late
expect 0 probe-enable -q -s "$S" -p "$late" app:tick
late_seen() { tell late "tick 1"; grep -q " $late/$late " "$T/trace"; }
wait_for 20 late_seen

# ---- when a reader dies, another one can read ----
kill -KILL $tracer
wait $tracer 2>/dev/null
rm "$T/trace"
probe-trace -s "$S" -n 1 >"$T/trace" 2>"$T/err" &
tracer=$!
wait_for 20 reading
wait $tracer
want "status of the next reader" 0 $?

# ---- four probe-disable at once: together they disarm all sites, each once ----
for i in {1..4}; do probe-disable --json -s "$S" >"$T/out.$i" 2>&1 & jobs[i]=$!; done
for i in {1..4}; do wait "${jobs[i]}"; done
want "sites disarmed" 25 "$(cat "$T"/out.[1-4] | jq -s '[.[].disarmed[]?.points] | add')"
no_session "$S" || fail "the session has not ended"
for i in {1..8}; do pid=p$i; want "bytes of process $i" "3 90" "$(site_bytes "${!pid}")"; done

# ---- sessions that begin and end at the sites of another session, which counts all hits ----
expect 0 probe-enable -q -s "$S" -p "$p1" 'app:*' 'target:*'
# storm NUMBER OPTION VALUE: arms and disarms in a session of its own, again and again.
storm() {
	local k
	for ((k = 0; k < 15; k++)); do
		probe-enable -q -s "$S-$1" "$2" "$3" 'app:*' 'target:*' || echo "enable failed"
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
want "failures of concurrent sessions" "" "$(cat "$T"/storm.?)"
want "hits of the session that stayed" $ticks "$(hits "$S" app:tick)"
want "sessions left" "$S" "$(sessions | grep "^$S" | xargs)"
want "bytes of the other process" "3 90" "$(site_bytes "$p2")"
expect 0 probe-disable -q -s "$S"
want "bytes after disarming" "3 90" "$(site_bytes "$p1")"

# ---- --record takes effect for probes that the session has armed already ----
expect 0 probe-enable -q -s "$S-r" -p "$p1" app:tick
expect 0 probe-enable -q --record -s "$S-r" -p "$p1" app:tick
tell p1 "tick 5"
want "records of a probe armed before --record" 5 "$(probe-stat --json -s "$S-r" | jq '.probes[0].recorded')"
expect 0 probe-disable -q -s "$S-r"
