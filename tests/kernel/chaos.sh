#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Random commands that are killed at random, and targets that fork, exec and end at random. At the end the kernel and bpffs
# are clean, every byte and semaphore has its former value, and no target died that was not killed.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
build_hits
build_once "$T/returns" "$CXX" -O2 -g -pthread tests/kernel/returns.cc || fail "returns.cc does not build"

seed=${PROBEPOINT_SEED:-$((SRANDOM % 32768))}
RANDOM=$seed
echo "PROBEPOINT_SEED=$seed"
[ "${PROBEPOINT_LONG-}" ] && seconds=60 || seconds=5

build_once "$T/links" "$CC" -O2 tests/kernel/links.c || fail "links.c does not build"
expect 0 probe-enable -q -s $S-1 -f "$T/hits" k:one
if multi_links; then
	want "links that tests/kernel/links.c counts" 1 "$("$T/links" "$T")"
else
	part_skipped "links that are left: before Linux 6.6 the kernel does not report the file of a link"
fi
expect 0 probe-disable -q -s $S-1
for i in 1 2 3; do at_end "probe-disable -q -s $S-$i 2>/dev/null"; done
# k1 and k2 are never killed and must survive. Other targets come and go.
start k1
start k2
start r "$T/returns"
clean=$(site_bytes $k1)
want "semaphore before" 0 "$(tell k1 semaphore; echo $answer)"

# One round of work for k1 and k2, without waiting for the answers
busy() {
	local i=0
	while [ ! -e "$T/enough" ]; do
		"$T/hits" 2 20000 >/dev/null 2>&1 &
		wait $!
		status=$?
		[ $status = 0 ] || echo "a short target ended with $status" >>"$T/died"
	done
}
killed() { # a target that is killed in the middle, again and again
	while [ ! -e "$T/enough" ]; do
		"$T/hits" 2 100000000 >/dev/null 2>&1 &
		echo $! >"$T/victim"
		sleep 0.$((RANDOM % 4))1
		kill -KILL $! 2>/dev/null
		wait $! 2>/dev/null
	done
}
busy &
busy=$!
killed 2>/dev/null &
killed=$!

targets() { # some -p and -f
	case $((RANDOM % 6)) in
	0) echo "-p $k1" ;;
	1) echo "-p $k2 -p $r" ;;
	2) echo "-f $T/hits" ;;
	3) echo "-p $(cat "$T/victim" 2>/dev/null || echo $k1)" ;;
	4) echo "-p $k1 -p $k2 -p $r" ;;
	5) echo "-p $k2 --children" ;;
	esac
}
patterns() {
	case $((RANDOM % 6)) in
	0) echo "k:*" ;;
	1) echo "m:*" ;;
	2) echo "func:f%return func:f k:one" ;;
	3) echo "k:guarded k:two" ;;
	4) echo "m:p$((RANDOM % 32)) k:three func:hit%return" ;;
	5) echo "k:*e" ;;
	esac
}
set -f
commands=0
until=$((SECONDS + seconds))
while [ $SECONDS -lt $until ] || [ $commands -le 10 ]; do
	session=$S-$((RANDOM % 3 + 1))
	case $((RANDOM % 9)) in
	0 | 1 | 2) command="probe-enable -q -s $session $(targets) $(patterns)" ;;
	3) command="probe-enable -q -s $session --for $((RANDOM % 900 + 50))ms $(targets) $(patterns)" ;;
	4) command="probe-enable -q -s $session --record $(targets) $(patterns) -- $T/hits 1 1000" ;;
	5) command="probe-disable -q -s $session $(patterns)" ;;
	6) command="probe-disable -q -s $session" ;;
	7) command="probe-trace -q -n 50 $(targets) $(patterns)" ;;
	8) command="probe-stat -q -s $session" ;;
	esac
	$command >"$T/said" 2>&1 &
	pid=$!
	commands=$((commands + 1))
	case $((RANDOM % 3)) in
	0) ;;
	*) sleep 0.0$((RANDOM % 9))$((RANDOM % 10)); kill -KILL $pid 2>/dev/null ;;
	esac
	case $((RANDOM % 4)) in
	0) holder=$(pgrep -n -r S,R,D -f "^probe-enable .*$S-") && [ "$holder" != $pid ] &&
		kill -KILL $holder 2>/dev/null ;;
	1) tell k1 "run 2 500" ;;
	2) tell k2 "spawn 1 200" ;;
	3) tell r "throw 3"; tell r "thread-exit 3"; tell r "deep 1"; tell r "fork 1" ;;
	esac
	for ((i = 0; i < 12; i++)); do kill -0 $pid 2>/dev/null || break; sleep 0.05; done
	kill -KILL $pid 2>/dev/null
	wait $pid 2>/dev/null
done 2>/dev/null
set +f
touch "$T/enough"
wait $busy
wait $killed 2>/dev/null
[ ! -s "$T/died" ] || fail "$(cat "$T/died")"

# Every remaining session is complete, and can be disarmed.
for i in 1 2 3; do
	if sessions | grep -qx "$S-$i"; then
		probe-stat --json -s "$S-$i" >"$T/stat" || no_session "$S-$i" || fail "$S-$i exists and cannot be read: $(cat "$T/stat")"
		probe-disable -q -s "$S-$i" 2>"$T/said" || no_session "$S-$i" || fail "$S-$i cannot be disarmed: $(cat "$T/said")"
	fi
done
all_over() {
	probe-list --json --sessions >/dev/null
	! ls /sys/fs/bpf/probepoint 2>/dev/null | grep -q "^$S-" && [ "$(site_bytes $k1)" = "$clean" ] &&
		[ "$(site_bytes $k2)" = "$clean" ] && [ "$("$T/links" "$T")" = 0 ]
}
for ((i = 0; i < 600; i++)); do all_over && break; sleep 0.1; done
all_over || fail "left: $(ls /sys/fs/bpf/probepoint 2>/dev/null | xargs) links $("$T/links" "$T"), bytes $(site_bytes $k1), $(site_bytes $k2)"
for name in k1 k2; do
	tell $name semaphore
	want "semaphore of $name" 0 "$answer"
	tell $name "run 1 1000"
	want "$name works" 1000 "$answer"
done
tell r "deep 1"
wait_for 20 eval '! pgrep -f "probe-(enable|trace).* $S-"' # the process of --for ends a little after its session
# The bytes above show that a killed probe-trace disarmed its private session.
stop k1
stop k2
stop r
echo "$commands commands"
