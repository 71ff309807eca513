#!/bin/bash
# SPDX-License-Identifier: MIT
# The time of day of records is right after a step of the clock (as after a suspend) and in time namespaces.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
build_once "$T/step.so" "$CC" -O1 -shared -fPIC tests/trace/step.c || fail "step.so does not build"
export STEP=$T/step
AGENT=$B/lib/libprobepoint-agent.so
seconds() { awk -F'[:. ]' '{ print $1 * 3600 + $2 * 60 + $3 }' "$1"; }
# near WHAT SECONDS BEGIN END: the time of day is between the two, or at most five seconds off, also around midnight.
near() { local d=$((($2 - $3 + 86400 + 5) % 86400)); [ $d -le $(($4 - $3 + 10)) ] || fail "$1: $2 s of the day, not from $3 to $4"; }
today() { echo $(($(date +%s) % 86400)); }
shown() { [ "$(wc -l <"$T/out")" -ge "$1" ]; }

for b in kernel agent; do
	if [ $b = agent ]; then start "it_$b" env LD_PRELOAD="$AGENT"; else start "it_$b"; fi
	declare -n it=it_$b
	rm -f "$STEP"
	LD_PRELOAD=$T/step.so tracing "$T/out" -b $b -p "$it" app:tick
	LD_PRELOAD=$T/step.so probe-trace -q -b $b -o "$T/ctf.$b" -p "$it" app:tick &
	begin=$(today)
	tell "it_$b" "tick 1"
	wait_for 10 shown 1
	wait_for 10 test -s "$T/ctf.$b/metadata"
	touch "$STEP"
	tell "it_$b" "tick 1"
	wait_for 10 shown 2
	# The writer looks once a second.
	wait_for 10 grep -q 'the time of day steps by' "$T/ctf.$b/metadata"
	rm "$STEP"
	tell "it_$b" "tick 1"
	wait_for 10 shown 3
	mapfile -t at < <(seconds "$T/out")
	end=$((begin + ($(today) - begin + 86400) % 86400))
	near "$b: before the step" "${at[0]}" $begin $end
	near "$b: after the step" "${at[1]}" $((begin + 5400)) $((end + 5400))
	near "$b: after the step back" "${at[2]}" $begin $end
	wait_for 10 grep -qE 'CLOCK_MONOTONIC; the time of day steps by [+]5(399|400)[.][0-9]{9} s after [0-9]+[.][0-9]{9}; .* by -5' "$T/ctf.$b/metadata"
	kill -INT $(jobs -p | tail -n 2)
	! have babeltrace2 || { expect 0 babeltrace2 "$T/ctf.$b"; }
	stop "it_$b"
done

# First the command is in a time namespace, then the target.
unshare --time --monotonic 100000 true 2>/dev/null || { part_skipped "no time namespaces here"; exit 0; }
uptime=$(cut -d. -f1 /proc/uptime)
for b in kernel agent; do
	for shift in 100000 $((uptime < 20 ? -1 : -uptime + 10)); do
		preload=()
		[ $b = kernel ] || preload=(env LD_PRELOAD="$AGENT")
		rm -f "$T"/*.in "$T"/*.out
		start "out_$b" "${preload[@]}"
		declare -n it=out_$b
		: >"$T/out" # because the background shell truncates it only after the first check
		begin=$(today)
		unshare --time --monotonic "$shift" probe-trace -q -n 1 -b $b -p "$it" app:tick >"$T/out" &
		until shown 1; do
			kill -0 $! 2>/dev/null || shown 1 || fail "probe-trace ended without a record"
			tell "out_$b" "tick 1"
			sleep 0.05
		done
		wait $!
		near "$b: probe-trace is $shift s ahead" "$(seconds "$T/out")" $begin $((begin + ($(today) - begin + 86400) % 86400))
		stop "out_$b"
		start "in_$b" unshare --time --monotonic "$shift" "${preload[@]}"
		declare -n it=in_$b
		tracing "$T/out" --json -b $b -p "$it" app:tick
		begin=$(cut -d. -f1 /proc/uptime)
		tell "in_$b" "tick 1"
		wait_for 10 shown 1
		monotonic=$(jq '.time / 1e9 | floor' "$T/out")
		near "$b: a target that is $shift s ahead, by the initial clock" "$monotonic" $begin "$(cut -d. -f1 /proc/uptime)"
		kill -INT $tracer
		wait $tracer
		stop "in_$b"
	done
done
