#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# probe-stat -v shows the cost of hits. --budget disarms the probes with the most hits, and no others.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
build_hits
at_end "probe-disable -q -s $S 2>/dev/null"
start a
start b
clean=$(site_bytes $a)

expect 0 probe-enable -s $S -p $a k:one k:two
expect 0 probe-stat -v -s $S
want_like "message without hits" "*the trap of a hit costs * ns; there were no hits*" "$out"
tell a "start 2"
# On a busy machine the threads may not run in the 0.2 s.
measured() { out=$(probe-stat -v --json -s $S) && jq -e ".cost.hits > $((slow > 1 ? 20 : 1000))" <<<"$out"; }
wait_for 20 measured
want "cost of a hit, and share of hits at full speed" '[true,true,true]' \
	"$(json '.cost | [.trap_ns > 50 and .trap_ns < 100000, .program_ns > 5, .cpu_share > 0 and .cpu_share < 64]' <<<"$out")"
# A period of at least 0.2 s; longer on a busy machine
want "the share is at most hits times cost in 0.2 s" true \
	"$(json '.cost | (.hits * (.trap_ns + .program_ns) / 2e8) as $most | .cpu_share < 1.25 * $most and .cpu_share > $most / 100' <<<"$out")"
printed() { [[ $(probe-stat -v -s $S 2>&1) == *"a hit costs "*" ns (trap "*", program "*"); in the last 0.2 s the session took "*" % of a CPU"* ]]; }
wait_for 20 printed
expect 0 probe-stat --json -s $S
want "JSON without -v" null "$(json .cost <<<"$out")"
tell a stop
adds_up $S
expect 0 probe-disable -s $S

# within the budget, all probes stay armed
expect 0 probe-enable -s $S --budget 90% -p $a 'k:*'
tell a "run 1 10"
sleep 2.2
want "probes over budget" 0 "$(probe-stat --json -s $S | jq '[.probes[] | select(.over_budget)] | length')"
expect 0 probe-disable -s $S
wait_for 10 no_session $S
# over the budget, the expensive points are disarmed in one process, and stay armed in the other
expect 0 probe-enable -s $S --budget 3% -p $a -p $b 'k:*' 'm:*'
tell a "start 2"
out_of() { probe-stat --json -s $S | jq -c "[.probes[] | select(.pid == $1 and .over_budget == 1) | .probe]"; }
taken() { [ "$(out_of $a)" = '["k:one","k:three","k:two"]' ]; }
wait_for 20 taken
want "points over budget in the other process" '[]' "$(out_of $b)"
tell a stop
probe-stat -s $S >/dev/null 2>"$T/said"
want_like "message of the owner" "*1 site of k:one was disarmed over the budget*" "$(cat "$T/said")"
before=$(probe-stat --json -s $S | jq "[.probes[] | select(.pid == $a and .probe == \"k:one\")][0].hits")
tell a "run 1 100"
tell b "run 1 100"
want "a disarmed point does not count" "$before" \
	"$(probe-stat --json -s $S | jq "[.probes[] | select(.pid == $a and .probe == \"k:one\")][0].hits")"
want "hits of the other process" 100 "$(probe-stat --json -s $S | jq "[.probes[] | select(.pid == $b and .probe == \"k:one\")][0].hits")"
# it can be armed again without a budget
expect 0 probe-enable -s $S -p $a k:one
tell a "run 1 5"
expect 0 probe-disable -s $S
wait_for 10 no_session $S
gone $S
want "bytes" "$clean" "$(site_bytes $a)"
expect 2 probe-enable -s $S --budget 5 -p $a 'k:*'
expect 2 probe-enable -s $S --budget 0% -p $a 'k:*'
stop a
stop b
