#!/bin/bash
# SPDX-License-Identifier: MIT
# Commands that are killed or interrupted at any moment: the next command finds a complete session. The breakpoints in
# memory are those of the listed points. At the end no breakpoint is left.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
build_hits

seed=${PROBEPOINT_SEED:-$((SRANDOM % 32768))}
RANDOM=$seed
echo "PROBEPOINT_SEED=$seed"
times=16 step=5
[ "$slow" = 1 ] || times=5 step=12
[ -z "${PROBEPOINT_LONG-}" ] || times=1000 step=1

start a
tell a "start 1"

listed() { probe-list --json "$T/hits" | jq -r --arg s $S '.probes[].sites[] | select(.armed | index($s)) | .address' | sort; }
trapped() { sites $a | awk '$2 == "cc" { print $1 }' | sort; }
as_listed() { [ "$(listed)" = "$(trapped)" ]; }

random_command() {
	local p=m:p$((RANDOM % 32))
	case $((RANDOM % 6)) in
	0) command=(probe-enable -p $a 'k:*') ;;
	1) command=(probe-enable -p $a 'm:*') ;;
	2) command=(probe-enable -p $a $p k:one m:p3) ;;
	3) command=(probe-disable $p m:p1?) ;;
	4) command=(probe-disable k:t*) ;;
	5) command=(probe-disable) ;;
	esac
	command+=(-q -s $S)
}

# Each command is killed after a random time of up to 1.25 times what it takes on this machine now, so some of them end before.
took probe-enable -q -s $S -p $a 'k:*' && took probe-disable -q -s $S || fail "cannot arm and disarm"
whole=$us

for ((i = 0; i < times; i++)); do
	if [ $((i % 3)) = 0 ]; then # so that there is something to disarm
		probe-disable -q -s $S >/dev/null 2>&1
		expect 0 probe-enable -q -s $S -p $a 'm:*'
		want "sites that are armed" 32 "$(trapped | wc -l)"
	fi
	random_command
	case $((RANDOM % 4)) in 0) signal=INT ;; *) signal=KILL ;; esac
	env --default-signal=INT "${command[@]}" >"$T/said" 2>&1 &
	pid=$!
	sleep "$(spread $whole)"
	kill -$signal $pid 2>/dev/null
	wait $pid 2>/dev/null
	status=$?
	case $status in
	0) whole=$((whole * 3 / 4)) ;;
	130 | 137) whole=$((whole * 4 / 3)) ;;
	1 | 3) ;;
	*) fail "\"${command[*]}\" ends with $status: $(cat "$T/said")" ;;
	esac
	# A command that only lists repairs the session.
	probe-list --json --sessions >"$T/said" || fail "after \"${command[*]}\", killed: cannot list: $(cat "$T/said")"
	until=$((SECONDS + patience))
	until as_listed; do
		[ $SECONDS -lt $until ] || fail "after \"${command[*]}\", killed: listed are $(listed | xargs), armed $(trapped | xargs)"
		sleep 0.05
	done
	if probe-list --json --sessions | jq -e --arg s $S '.sessions[] | select(.session == $s)' >/dev/null; then
		probe-stat --json -s $S >"$T/stat" || fail "after \"${command[*]}\", killed: $(cat "$T/stat")"
	fi
	if [ $((RANDOM % 10)) = 0 ]; then
		out=$(probe-disable -q -s $S 2>&1) || want_like "disarming a session that may not exist" "*no session*" "$out"
		gone $S
		wait_for 10 as_listed
		want "bytes after disarming" "37 90" "$(site_bytes $a)"
	fi
done
tell a stop
probe-disable -q -s $S
gone $S

# ---- while links take over from others: no hit of a probe that stays is lost or counted twice ----

start b
probe-enable -q -s $S -p $a -p $b 'm:*' || fail "cannot arm"
tell a "many 2"
tell b "many 1"
for ((i = 31; i > 0; i -= step)); do
	env --default-signal=INT probe-disable -q -s $S -p $a m:p$i &
	pid=$!
	sleep "$(spread $whole)"
	kill -KILL $pid 2>/dev/null
	wait $pid 2>/dev/null
	expect 0 probe-disable -q -s $S -p $b m:p$i
done
tell a stop; hits_a=$answer
tell b stop; hits_b=$answer
want "hits of the probe that stayed armed" "$(printf '%s\n' $hits_a $hits_b | sort -n | xargs)" \
	"$(probe-stat --json -s $S | jq '.probes[] | select(.probe == "m:p0") | .hits' | sort -n | xargs)"
adds_up $S
probe-disable -q -s $S
gone $S
stop b
want "bytes at the end" "37 90" "$(site_bytes $a)"
tell a "run 1 1"
stop a
