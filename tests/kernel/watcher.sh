#!/bin/bash
# SPDX-License-Identifier: MIT
# The default budget is 25 % of a CPU, measured in CPU time; a watcher keeps it, and probe-stat shows it. Arming very many
# sites needs --yes.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
unset PROBEPOINT_BUDGET
build_hits
at_end "probe-disable -q -s $S 2>/dev/null"
# The watchers, recognized by the name of their thread and by this test's mount namespace.
watchers() {
	local p
	for p in $(pgrep -x probe-watch); do
		[ /proc/$p/ns/mnt -ef /proc/$$/ns/mnt ] && ! grep -qs '^State:[[:space:]]*Z' /proc/$p/status && echo $p
	done
}
no_watcher() { [ -z "$(watchers)" ]; }
stat() { probe-stat --json "$@" -s $S; }
at_end 'kill $(watchers) 2>/dev/null'
start a
clean=$(site_bytes $a)

# ---- the cost of a hit does not depend on the machine's load ----

expect 0 probe-enable -q -s $S -p $a k:one
want "one watcher with no inherited descriptors" "0 1 2" "$(watchers | while read -r p; do
	for fd in /proc/$p/fd/*; do case $(readlink "$fd") in /dev/null) echo "${fd##*/}" ;; pipe:* | "$T"/*) echo "$fd" ;; esac
	done; done | xargs)"
if have strace; then
	expect 0 timeout 120 strace -f -o /dev/null probe-enable -q -s ${S}t -p $a k:three # the watcher is not followed
	expect 0 probe-disable -q -s ${S}t
else
	part_skipped "a tracer of the command: needs strace"
fi
cost() { stat -v | jq -r '.cost | "\(.hits) \(.trap_ns + .program_ns) \(.cpu_share)"'; }
cpu_ticks() { awk '{ print $14 + $15 }' /proc/$a/stat; }
tell a "run 1 1"
# This part does not test the budget.
expect 0 probe-enable -q -s $S -p $a --budget off k:two
want "no budget" null "$(stat -v | jq .budget)"
wait_for 20 no_watcher
tell a "start 1"
# On a busy machine the thread may not run in the 0.2 s.
measured() { read -r hits alone share < <(cost) && [ "$hits" -gt 100 ]; }
wait_for 20 measured
loops=()
for ((i = 0; i < 2 * $(nproc); i++)); do
	while :; do :; done &
	loops+=($!)
done
sleep 0.3
for try in 1 2 3 4 5 6; do
	ticks=$(cpu_ticks) time=$EPOCHREALTIME
	read -r hits loaded share < <(cost)
	used=$(($(cpu_ticks) - ticks)) time=$((${EPOCHREALTIME/./} - ${time/./}))
	ok=$(awk -v a="$alone" -v b="$loaded" 'BEGIN { print (b < 2 * a && a < 2 * b) }')
	[ "$ok" = 1 ] && break
done
[ "$ok" = 1 ] || fail "a hit costs $alone ns without load, and $loaded ns with load"
echo "a hit: $alone ns alone, $loaded ns with load; the session took $share of a CPU under load"
# The share is at most the target's CPU time. Both readings are uncertain by one tick, and contain the 0.2 s.
awk -v share="$share" -v used="$used" -v time="$time" 'BEGIN { exit !(share <= (used + 2) / 100 / 0.2 + 0.02) }' ||
	fail "the session took $share of a CPU; the target used $used ticks in $time us"
tell a stop
expect 0 probe-disable -q -s $S

# Hits that take a few percent are within the budget, whatever the load.
expect 0 probe-enable -q -s $S --budget 25% -p $a 'k:*'
for ((i = 0; i < 15; i++)); do tell a "run 1 500"; sleep 0.05; done
want "a cheap probe stays armed under load" '[]' "$(stat | jq -c '[.probes[] | select(.over_budget)]')"
for p in "${loops[@]}"; do kill -KILL "$p"; done
wait "${loops[@]}" 2>/dev/null
expect 0 probe-disable -q -s $S
wait_for 10 no_session $S

# ---- points over the budget are disarmed ----

start b
expect 0 probe-enable -q -s $S -p $a k:one
want "the default budget" '{"cpu_share":0.25,"watched":true}' "$(stat -v | jq -c .budget)"
expect 0 probe-disable -q -s $S
wait_for 20 no_watcher
# A lower budget is exceeded on a busy machine too.
export PROBEPOINT_BUDGET=2%
expect 0 probe-enable -q -s $S -p $a k:one k:two k:three
expect 0 probe-enable -q -s $S -p $b 'k:one' 'm:*'
want "one watcher for one session" 1 "$(watchers | wc -l)"
want "the budget in JSON" '{"cpu_share":0.02,"watched":true}' "$(stat -v | jq -c .budget)"
tell b "run 1 100"
tell a "start 2"
three_stopped() { [ "$(stat | jq "[.probes[] | select(.pid == $a and .over_budget == 1)] | length")" = 3 ]; }
wait_for 30 three_stopped
tell a stop
want "points over budget in the other process" 0 "$(stat | jq "[.probes[] | select(.pid == $b and .over_budget)] | length")"
want "the reason, in JSON" '[true,0.02]' "$(stat | jq -c \
	"[.probes[] | select(.pid == $a)][0].stopped | [.cpu_share > 0.02 and .cpu_share < 64, .limit]")"
clean_again() { [ "$(site_bytes $a)" = "$clean" ]; }
wait_for 20 clean_again
probe-stat -s $S >"$T/table" 2>"$T/said"
grep -Eq ' k:one +'$a' .* stopped: cost [0-9]+ % of a CPU \(limit 2 %\)$' "$T/table" || fail "not in the table: $(cat "$T/table")"
want_like "message of probe-stat" "*1 site of k:one was disarmed over the budget (cost * % of a CPU, limit 2 %), and is no longer counted*" \
	"$(cat "$T/said")"
expect 0 probe-list --sessions
want_like "message of probe-list --sessions" "*3 sites of session '$S' were disarmed over the budget*" "$out"
want "JSON of probe-list --sessions" 3 "$(probe-list --sessions --json | jq ".sessions[] | select(.session == \"$S\").stopped")"
trace_kept "$T/traced" -s $S
want_like "message of probe-trace" "*3 sites of session '$S' are disarmed over the budget, and no longer recorded*" \
	"$(cat "$T/traced.err")"
before=$(stat | jq "[.probes[] | select(.pid == $a).hits] | add")
[ "$before" -gt 10000 ] || fail "the counts were lost: $before"
tell a "run 1 100"
tell b "run 1 100"
want "a stopped probe does not count" "$before" "$(stat | jq "[.probes[] | select(.pid == $a).hits] | add")"
want "the other process is counted" 200 "$(stat | jq "[.probes[] | select(.pid == $b and .probe == \"k:one\").hits] | add")"
# a stopped probe can be armed again, and is then not shown as stopped
PROBEPOINT_BUDGET=off expect 0 probe-enable -q -s $S -p $a k:three
tell a "run 1 9"
want "armed again: one row" '[[1,null]]' \
	"$(stat | jq -c "[.probes[] | select(.pid == $a and .probe == \"k:three\") | [.sites, .over_budget]]")"
# a stopped probe can be disarmed, and armed again
expect 0 probe-disable -s $S -p $a k:two
want "rows of a stopped probe that was disarmed" 0 "$(stat | jq "[.probes[] | select(.pid == $a and .probe == \"k:two\")] | length")"
expect 0 probe-enable -q -s $S -p $a k:two
tell a "run 1 7"
want "hits after it was armed again" 7 "$(count $S k:two)"
expect 0 probe-disable -q -s $S
gone $S
wait_for 20 no_watcher
unset PROBEPOINT_BUDGET

# ---- a burst is within the credit, and every hit is counted ----

expect 0 probe-enable -q -s $S -p $a k:one
tell a "run 1 20000"
want "a burst" 20000 "$(count $S k:one)"
# a killed watcher does not disarm anything; probe-stat reports that it is gone; the next command starts another
kill -KILL $(watchers)
wait_for 10 no_watcher
want "the budget without a watcher" '{"cpu_share":0.25,"watched":false}' "$(stat | jq -c .budget)"
expect 0 probe-stat -s $S
want_like "message without a watcher" "*no process enforces the budget of 25 % of a CPU any longer*" "$out"
tell a "run 1 1"
want "hits without a watcher" 20001 "$(count $S k:one)"
expect 0 probe-enable -q -s $S -p $a k:two
want "another watcher" true "$(stat -v | jq .budget.watched)"
expect 0 probe-disable -q -s $S

# ---- other ways to set the budget ----

wait_for 20 no_watcher
expect 0 probe-enable -q -s $S --for 1h -p $a k:one
want "an owner keeps the default budget" '{"cpu_share":0.25,"watched":true}' "$(stat -v | jq -c .budget)"
want "watchers in addition to an owner" "" "$(watchers)"
expect 0 probe-disable -q -s $S
wait_for 10 no_session $S
expect 0 probe-enable -q -s $S --budget off -p $a k:one
want "watchers with --budget=off" "" "$(watchers)"
want "the budget in JSON with --budget=off" null "$(stat -v | jq .budget)"
expect 0 probe-disable -q -s $S
PROBEPOINT_BUDGET=40% probe-enable -q -s $S -p $a k:one || fail "PROBEPOINT_BUDGET is rejected"
want "the budget of PROBEPOINT_BUDGET" 0.4 "$(stat -v | jq .budget.cpu_share)"
expect 0 probe-disable -q -s $S
PROBEPOINT_BUDGET=much expect 2 probe-enable -q -s $S -p $a k:one
# A watcher ends when no other process uses its mount namespace.
if ! in_chroot; then
	unshare -m sh -c "mount -t bpf bpf /sys/fs/bpf && probe-enable -q -s $S -p $a k:one" ||
		fail "cannot arm in another mount namespace"
	wait_for 20 clean_again
fi

# ---- very many sites ----

tests/kernel/sites 600 30 >"$T/sites.s" && "$CC" "$T/sites.s" -o "$T/many" || fail "600 sites do not build"
mkfifo "$T/many.in"
"$T/many" 1 <"$T/many.in" >"$T/many.out" &
many=$!
exec 7>"$T/many.in"
wait_for 20 test -s "$T/many.out"
expect 1 probe-enable -s $S -p $many 'gen:*' </dev/null
want_like "600 sites are refused" "*the kernel would arm 600 sites in 1 running process, and each hit costs about *.* us of CPU time*--yes" "$out"
gone $S
expect 1 probe-enable -s $S -f "$T/many" 'gen:*' </dev/null
want_like "with -f" "*would arm 600 sites in 1 running process,*" "$out"
expect 1 probe-trace -n 1 -p $many 'gen:*' </dev/null
want_like "by probe-trace" "*would arm 600 sites*--yes" "$out"
expect 0 probe-enable --yes -s $S -p $many 'gen:*'
want "rows" 20 "$(grep -c '^armed ' <<<"$out")"
want_like "the last row" "*... and 10 more rows (list them with -v): 600 sites of 30 probes armed in total" "$out"
expect 0 probe-disable -q -s $S
expect 0 probe-enable --yes -v -s $S -p $many 'gen:*'
want "all rows with -v" 30 "$(grep -c '^armed ' <<<"$out")"
expect 0 probe-disable -q -s $S
# sites that no process maps need no confirmation
expect 0 probe-enable -q -s $S 'gen:*' -- "$T/many" 1 </dev/null
expect 0 probe-disable -q -s $S
if have script; then
	for answer in n y; do
		echo $answer | script -qec "probe-enable -s $S -p $many 'gen:*'" /dev/null >"$T/asked" 2>&1
		want_like "the question" "*would arm 600 sites*Arm them?*" "$(cat "$T/asked")"
		[ $answer = y ] || { gone $S; want "times that it is asked" 1 "$(grep -c 'would arm' "$T/asked")"; }
	done
	want "sites after the answer yes" 600 "$(stat | jq '[.probes[].sites] | add')"
	expect 0 probe-disable -q -s $S
fi
# A watcher ends with the processes whose points it watches. Their counts stay.
wait_for 20 no_watcher
expect 0 probe-enable -q -s $S -p $a k:one
tell a "run 1 3"
want "watchers before the end" 1 "$(watchers | wc -l)"
kill $many
stop a
wait_for 20 no_watcher
want "the budget afterwards" null "$(stat | jq .budget)"
want "the counts afterwards" 3 "$(count $S k:one)"
expect 0 probe-disable -q -s $S
stop b
