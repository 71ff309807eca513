#!/bin/bash
# SPDX-License-Identifier: MIT
# first
# Kills a command at its steps (every 40th from a random one; PROBEPOINT_LONG: each). The target continues, the next
# command finds a complete session, lists what is armed, and nothing is left at the end. Also kills a target in the
# middle of its records: the reader gets complete records in order, and none is damaged.
. tests/lib.sh
. tests/agent/lib.sh
. tests/kernel/lib.sh
need jq
build_hits
[ -z "${SAN-}" ] || skip "the sanitizer and the library that kills must both be loaded first"
build_once "$T/killer.so" $CC -O2 -D_GNU_SOURCE -shared -fPIC tests/agent/killer.c || fail "cannot build killer"
start a env LD_PRELOAD="$AGENT" "$T/hits"
probe-list --json "$T/hits" | jq '.probes[].sites[] | .address' | sort -n >"$T/addresses"
base=$((0x$(awk -v file="$T/hits" '$6 == file && $3 == "00000000" { sub("-.*", "", $1); print $1; exit }' /proc/$a/maps)))

# Addresses of the sites that jump.
jumping() {
	local low=$(head -n 1 "$T/addresses") high=$(tail -n 1 "$T/addresses")
	memory $a $((base + low)) $((high - low + 2)) | od -An -v -w1 -tx1 |
		awk -v low="$low" 'NR == FNR { site[$1] = 1; next } FNR - 1 + low - 1 in site && $1 == "e9" { print FNR - 1 + low - 1 }' \
			"$T/addresses" - | sort -n
}
listed() { probe-list --json "$T/hits" | jq -r '.probes[].sites[] | select(.armed | length > 0) | .address' | sort -n; }
want "no site jumps at first" "" "$(jumping)"

clean() {
	probe-disable -q -s $S >/dev/null 2>&1
	probe-list --sessions >/dev/null 2>&1
	rm -f "$XDG_RUNTIME_DIR/probepoint/agents/keeper" # so that each command has the same number of steps
	want "sites that still jump after $1" "" "$(jumping)"
	want "files left after $1" "agents" "$(ls -A "$XDG_RUNTIME_DIR/probepoint")"
}

# killed NAME COMMAND...: kills it at each step in turn. prepare_NAME sets up the state before.
all=0
killed() {
	local name=$1 step total every=40
	[ -z "${PROBEPOINT_LONG-}" ] || every=1
	shift
	prepare_$name
	KILLER_COUNT=$T/steps LD_PRELOAD=$T/killer.so "$@" >"$T/said" 2>&1 </dev/null
	total=$(cat "$T/steps") || fail "$name: no steps"
	clean "$name"
	for ((step = 1 + SRANDOM % every; step <= total; step += every)); do
		prepare_$name
		# A reader does not end without a signal.
		rm -f "$T/steps"
		(KILLER_STEP=$step KILLER_COUNT=$T/steps LD_PRELOAD=$T/killer.so timeout -s INT 30 "$@" >"$T/said" 2>&1 </dev/null
			echo $? >"$T/status") 2>/dev/null
		# A command that waits needs more steps on a busy machine, perhaps when they were counted.
		if [ -s "$T/steps" ] && [ "$(cat "$T/steps")" -lt "$step" ] && [ "$step" -gt $((total * 3 / 4)) ]; then
			clean "$name, which ended before step $step of $total"
			continue
		fi
		want "status of $name killed at step $step of $total" 137 "$(cat "$T/status")"
		[ $name = trace ] || tell a "run 1 3" # the target continues
		want "$name, killed at step $step of $total" "$(listed)" "$(jumping)"
		[ $((SRANDOM % 7)) != 0 ] || { expect 0 probe-enable -q -b agent -s $S -p $a k:three; probe-stat -s $S >/dev/null ||
			fail "$name, killed at step $step: $out"; want "sites that jump after arming again" "$(listed)" "$(jumping)"; }
		clean "$name, killed at step $step of $total"
	done
	all=$((all + total))
}

prepare_enable() { :; }
prepare_more() { expect 0 probe-enable -q -b agent -s $S -p $a k:two; }
prepare_part() { expect 0 probe-enable -q -b agent -s $S -p $a 'k:*'; }
prepare_whole() { prepare_part; }
prepare_trace() { :; }
prepare_read() { expect 0 probe-enable -q -b agent -s $S --record -p $a 'k:*'; tell a "run 1 20"; }
killed enable probe-enable -b agent -s $S -p $a 'k:*'
killed more probe-enable -b agent -s $S -p $a k:one
killed part probe-disable -s $S k:one
killed whole probe-disable -s $S
tell a "start 1"
killed trace probe-trace -q -n 3 -b agent -p $a k:one k:two
tell a stop
killed read probe-trace -q -n 10 -s $S
[ $all -gt 100 ] || fail "only $all steps"
echo "$all steps"
stop a

times=3 lines=0
[ "${PROBEPOINT_LONG-}" ] && times=200
for ((i = 0; i < times; i++)); do
	start a env LD_PRELOAD="$AGENT" "$T/hits"
	rm -f "$T/traced"
	probe-trace --json -b agent --buffer 256K -p $a --string arg2 k:one k:two >"$T/traced" 2>"$T/said" &
	tracer=$!
	tell a "start 4"
	wait_for 60 test -s "$T/traced"
	sleep "$(spread 100000)"
	kill -KILL $a
	wait $tracer || fail "probe-trace: $(cat "$T/said")"
	wait $a 2>/dev/null
	n=$(wc -l <"$T/traced")
	want "summary of $n records" "$n recorded" "$(sed -n 's/^probe-trace: \([^,]*\).*/\1/p' "$T/said")"
	want_like "summary without damaged records" "*[0-9] recorded*" "$(grep -v damaged "$T/said")"
	jq -r '[.tid, .probe, .args.arg0, .args.arg2 // "-", (.args | length)] | @tsv' "$T/traced" >"$T/table" || fail "invalid JSON from probe-trace"
	want "invalid records, or records out of order" "" "$(awk -F '\t' '
		$2 == "k:one" && $4 == "a string of thirty-two bytes, no" && $5 == 3 || $2 == "k:two" && $5 == 1 {
			if (!(($1, $2) in last) || $3 > last[$1, $2]) { last[$1, $2] = $3; next }
		}
		{ print; exit }' "$T/table")"
	lines=$((lines + n))
done
echo "$lines records of $times killed"
