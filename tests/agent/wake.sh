#!/bin/bash
# SPDX-License-Identifier: MIT
# A controller that may trace a process wakes its agent, wherever its threads are: system calls continue, registers
# stay, the stack is not used, and a controller that is killed at any step leaves a process that continues and an agent
# that the next controller wakes. The agent's thread ends when nothing is armed, follows the process's users, and does
# not keep a process alive that has no other thread.
. tests/lib.sh
AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
need jq
[ "$(uname -m)" = x86_64 ] || skip "agents are woken from outside on x86-64 only"
build() { $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -pthread -Iinclude "$@" || fail "cannot build"; }
build -o "$T/asleep" tests/agent/asleep.c
build -o "$T/quiet" tests/agent/quiet.c

begin() { # HOW
	rm -f "$T/stop"
	LD_PRELOAD=$AGENT "$T/asleep" "$1" "$T/stop" >"$T/said" & pid=$!
	runs_agent $pid "$T/asleep"
}
end() { # WHAT
	: >"$T/stop"
	wait $pid
	want "exit status of $1" 0 $?
	want "output of $1" "beats 1 wrong 0" "$(cat "$T/said")"
}
threads() { [ "$(ls "/proc/$1/task" | wc -l)" = "$2" ]; }
hits() { [ "$(probe-stat --json -s $S | jq '.probes[0].hits')" -gt 0 ]; }

# ---- in system calls, in computing, at the end of a stack ----
for how in epoll read sleep futex sigwait spin edge; do
	begin $how
	threads $pid 1 || fail "$how: a second thread although nothing is armed"
	for i in 1 2 3; do
		expect 0 probe-enable -q -b agent -s $S -p $pid app:beat
		wait_for 10 hits
		expect 0 probe-disable -q -s $S
	done
	end "$how"
done

# ---- the thread ends and is made again; the descriptors do not change ----
begin sleep
wait_for 10 test -e /proc/$pid/fd/5 # the last descriptor that it opens
fds=$(ls "/proc/$pid/fd")
for i in 1 2; do
	expect 0 probe-enable -q -b agent -s $S -p $pid app:beat
	threads $pid 2 || fail "no agent's thread although something is armed"
	want "descriptors are unchanged" "$fds" "$(ls "/proc/$pid/fd")"
	grep -q '^SigBlk:.*fffffffffffbfeff$' "/proc/$pid/task"/*/status || fail "its thread does not block every signal"
	wait_for 10 hits
	expect 0 probe-disable -q -s $S
	wait_for 10 threads $pid 1
	want "sockets of agents" "" "$(ls "$XDG_RUNTIME_DIR/probepoint/agents" | grep -v keeper)"
done
end "one that is woken twice"

# ---- every process that maps the file ----
begin sleep
expect 0 probe-enable -q -b agent -s $S -f "$T/asleep" app:beat
wait_for 10 hits
expect 0 probe-disable -q -s $S
end "one that was not named"

# ---- a process with another state directory is reported, and not woken ----
mkdir -m 700 "$T/elsewhere"
XDG_RUNTIME_DIR=$T/elsewhere begin sleep
expect 3 probe-enable -b agent -s $S -f "$T/asleep" app:beat
want_like "the reason" "*refused *pid $pid: the process has XDG_RUNTIME_DIR=$T/elsewhere, so its agent does not use *" "$out"
threads $pid 1 || fail "an agent that does not see the session was woken"
expect 0 probe-disable -q -s $S
expect 1 probe-enable -b agent -s $S -p $pid app:beat
want_like "the reason, by pid" "*pid $pid: the process has XDG_RUNTIME_DIR=$T/elsewhere, so its agent does not use *" "$out"
threads $pid 1 || fail "an agent that does not see the session was woken by pid"
end "one with another state directory"

# ---- a controller that is killed ----
if [ -z "${SAN-}" ]; then
	build_once "$T/mortal.so" $CC -O2 -D_GNU_SOURCE -shared -fPIC tests/agent/mortal.c || fail "cannot build mortal"
	mortal() { timeout 60 env MORTAL_STEP=$1 MORTAL_COUNT="$T/steps" LD_PRELOAD="$T/mortal.so" "${@:2}"; }
	begin spin
	mortal 0 probe-enable -q -b agent -s $S -p $pid app:beat >/dev/null 2>&1
	steps=$(cat "$T/steps")
	[ "$steps" -gt 10 ] || fail "only $steps steps"
	probe-disable -q -s $S
	end "one whose controller lives"
	if [ "${PROBEPOINT_LONG-}" ]; then at=($(seq 1 $steps)); else at=($(shuf -n 6 -i 1-$steps) $((steps - 8)) $((steps - 6)) $((steps - 5))); fi
	# The kernel ends some calls, such as epoll_wait(2), with EINTR, and the killed controller cannot begin them again.
	for how in spin sleep; do
		for n in "${at[@]}"; do
			begin $how
			mortal $n probe-enable -q -b agent -s $S -p $pid app:beat >/dev/null 2>&1
			expect 0 probe-enable -q -b agent -s $S -p $pid app:beat
			wait_for 10 hits
			expect 0 probe-disable -q -s $S
			end "$how, whose controller was killed at step $n of $steps"
		done
	done
fi

# ---- the last other thread ends by the system call alone ----
begin raw
expect 0 probe-enable -q -b agent -s $S -p $pid app:beat
: >"$T/stop.first"
wait_for 20 grep -q 'State:.*Z' "/proc/$pid/task/$pid/status"
: >"$T/stop"
ended() { ! kill -0 $pid 2>/dev/null || threads $pid 1; }
wait_for 20 ended
wait $pid
probe-disable -q -s $S

# ---- users ----
if [ "$(id -u)" = 0 ]; then
	mkfifo "$T/in"
	LD_PRELOAD=$AGENT PROBEPOINT_LISTEN=1 "$T/quiet" user >"$T/said" <"$T/in" & pid=$!
	exec {to}>"$T/in"
	wait_for 10 grep -q 65534 "$T/said"
	want "users and capabilities of both threads" 1 \
		"$(for task in /proc/$pid/task/*; do grep -E '^(Uid|Gid|Groups|Cap...):' "$task/status" | tr '\n' ' '; echo; done | sort | uniq -c | wc -l)"
	threads $pid 2 || fail "the agent's thread has not followed, but ended"
	exec {to}>&-
	wait $pid
	want "exit status of a process that changes its user" 0 $?
else
	part_skipped "a change of user needs root"
fi
