#!/bin/bash
# SPDX-License-Identifier: MIT
# A flight recorder keeps its records in a process whose address space is limited, before or after arming, and with sampling.
. tests/lib.sh
. tests/trace/lib.sh
need prlimit

AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
LIMIT=$((1000 << 20)) # less than a region takes without a limit

records() { # WHAT: checks a snapshot of a program that does not hit meanwhile
	snapshot "$T/records"
	whole "$1" "$T/records"
	tails "$1" "$T/records" 3
	want "$1: lost" 0 "$(counted lost)"
	want "$1: overwritten" $(($(counted recorded) - $(wc -l <"$T/records"))) "$(counted overwritten)"
}

for order in before after; do
	begin 3 env LD_PRELOAD="$AGENT"
	[ $order = after ] || prlimit --pid $pid --as=$LIMIT
	expect 0 probe-enable -q -s $S -b agent --string arg3 --flight-recorder=2M -p $pid 'recorder:*'
	[ $order = before ] || prlimit --pid $pid --as=$LIMIT
	# The agent unmaps rings that were never taken.
	for ((i = 0; i < 600; i++)); do
		[ "$(awk '/^VmSize/ { print $2 }' /proc/$pid/status)" -ge $((LIMIT >> 10)) ] || break
		sleep 0.1
	done
	say "run $((10000 / slow))"
	say "run $((10000 / slow))"
	records "a limit $order arming"
	finish
	records "a limit $order arming, at the end"
	expect 0 probe-disable -q -s $S
done

sampled() { # BACKEND...: records every tenth hit by these backends at once
	local b recorded
	for b; do expect 0 probe-enable -q -s $S-$b -b $b --every 10 --flight-recorder=1M -p $pid recorder:hit; done
	say "run 1000"
	for b; do
		probe-stat --json -s $S-$b >"$T/stat"
		want "$b, --every: all hits" 3000 "$(json '.probes[0] | .recorded + .unsampled' <"$T/stat")"
		recorded=$(json '.probes[0].recorded' <"$T/stat")
		# The kernel has up to eight counters, each for some CPUs, and threads move between CPUs.
		[ "$recorded" -le 300 ] && [ "$recorded" -ge $([ $b = kernel ] && echo 292 || echo 300) ] || fail "$b, --every: $recorded are recorded"
		want "$b, --every: records" "$recorded" "$(probe-trace -q --json --snapshot -s $S-$b | wc -l)"
		expect 0 probe-disable -q -s $S-$b
	done
}
backends=(agent)
[ "$(id -u)" != 0 ] || backends+=(kernel)
begin 3 env LD_PRELOAD="$AGENT"
# On aarch64 a site has one backend at a time.
if [ "$(uname -m)" = aarch64 ]; then
	for b in "${backends[@]}"; do sampled $b; done
else
	sampled "${backends[@]}"
fi

# ---- --trigger exit: processes that cannot be waited for ----

build_once "$T/deny" "$CC" -std=gnu17 -Wall -Wextra -O2 tests/cmd/deny.c || fail "deny.c does not build"
expect 0 probe-enable -q -s $S -b agent --flight-recorder=1M -p $pid recorder:hit
say "run 10"
true & gone=$!
wait $gone
expect 1 probe-trace --snapshot --trigger exit -s $S -p $gone
want_like "--trigger exit, a process that does not exist" "*pid $gone: cannot open the process: No such process*" "$out"
expect 1 probe-trace --snapshot --trigger exit -s $S -p "$pid,$gone"
want_like "--trigger exit, the second process does not exist" "*pid $gone: cannot open the process: No such process*" "$out"
expect 1 "$T/deny" pidfd_open -- probe-trace --snapshot --trigger exit -s $S -p $pid
want_like "--trigger exit, pidfd_open() fails" "*pid $pid: cannot open the process: *" "$out"
finish
expect 0 probe-trace --snapshot --trigger exit -s $S -p $pid
want_like "--trigger exit, a process of the session that has ended" "*30 records*" "$out"
expect 0 probe-disable -q -s $S
exit 0
