#!/bin/bash
# SPDX-License-Identifier: MIT
# SIGINT, SIGTERM and SIGKILL at any moment: all probes of a request are armed, or none. Armed probes are listed, and
# the others have their original bytes.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
know_sites
start p
at_end "probe-disable -q -s $S 2>/dev/null"

seed=${SEED:-$RANDOM}
RANDOM=$seed
rounds=7
[ -z "${PROBEPOINT_LONG-}" ] || rounds=2000
echo "SEED=$seed"
signals=(INT INT TERM)
took probe-enable -q -s "$S" -p "$p" 'app:*' 'target:*' || fail "cannot arm"
whole=$us
expect 0 probe-disable -q -s "$S"

# moment COMMAND...: runs the command, and sends it a signal after a random part of the time that arming takes. Stores
# its exit status in $status.
moment() {
	local signal=${signals[RANDOM % 3]} delay=$(spread $whole) n
	env --default-signal=INT "$@" >"$T/out" 2>"$T/err" </dev/null &
	sleep "$delay"
	# A signal that came before the program was executed had no effect. Repeat it.
	for ((n = 0; ; n++)); do
		[ $((n % 100)) != 0 ] || kill "-$signal" $! 2>/dev/null || break
		kill -0 $! 2>/dev/null || break
		sleep 0.01
	done
	wait $! 2>/dev/null
	status=$?
	what="seed $seed, round $i, SIG$signal after $delay s: status $status: $(cat "$T/out" "$T/err")"
}
# armed all|none: checks the list, the bytes and the session.
armed() {
	local n
	n=$(probe-list --json "$T/target" | jq "[.probes[].sites[] | select(.armed | index(\"$S\"))] | length")
	case $1 in
	all) [ "$n" = 3 ] && [ "$(site_bytes "$p")" = "3 cc" ] && has_session "$S" ;;
	none) [ "$n" = 0 ] && [ "$(site_bytes "$p")" = "3 90" ] && no_session "$S" ;;
	esac || fail "$what: $n listed, bytes $(site_bytes "$p"), not $1"
}

disarmed() { [ "$(site_bytes "$p")" = "3 90" ]; }

declare -A seen=()
for ((i = 0; i < rounds; i++)); do
	moment probe-enable -s "$S" -p "$p" 'app:*' 'target:*'
	case $status in
	0) armed all ;;
	1 | 130 | 143) armed none ;;
	*) fail "$what" ;;
	esac
	seen[enable-$status]=1
	if [ $status = 0 ]; then
		moment probe-disable -s "$S"
		case $status in
		0) armed none ;;
		1 | 3 | 130 | 143) ;;
		*) fail "$what" ;;
		esac
		probe-disable -q -s "$S" 2>/dev/null
		armed none
		seen[disable-$status]=1
	fi
done

for ((i = 0; i < rounds; i++)); do
	moment probe-trace -p "$p" 'app:*' 'target:*'
	case $status in
	0 | 1 | 130 | 143) armed none ;;
	*) fail "$what" ;;
	esac
	seen[trace-$status]=1
done

command_ended() { ! pgrep -f "echo >'$T/ran'"; }
# The command ran to its end, or was not started.
for ((i = 0; i < rounds; i++)); do
	rm -f "$T/ran"
	moment probe-enable -s "$S" -f "$T/target" 'app:*' 'target:*' -- sh -c "echo >'$T/ran'; exit 5"
	case $status in
	5) [ -e "$T/ran" ] || fail "$what: the command did not run" ;;
	125) [ ! -e "$T/ran" ] || fail "$what: the command ran" ;;
	130 | 143) wait_for 20 command_ended ;;
	*) fail "$what" ;;
	esac
	[ -e "$T/ran" ] || no_session "$S" || fail "$what: the session has not ended"
	probe-disable -q -s "$S" 2>/dev/null
	armed none
	seen[command-$status]=1
done

# After SIGKILL, the next command finds a complete session or none, and can disarm it.
for ((i = 0; i < rounds; i++)); do
	signals=(KILL KILL KILL)
	moment probe-enable -s "$S" -p "$p" 'app:*' 'target:*'
	expect 0 probe-list --sessions
	expect 0 probe-enable -q -s "$S" -p "$p" 'app:*' 'target:*'
	armed all
	expect 0 probe-disable -q -s "$S"
	armed none
	moment probe-trace -p "$p" 'app:*' 'target:*'
	wait_for 120 disarmed "$what" # the kernel may have links of other processes to release first
done
echo "seen: ${!seen[*]}"
tell p "tick 3"
stop p
