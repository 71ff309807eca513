#!/bin/bash
# SPDX-License-Identifier: MIT
# A process is armed, disarmed, and forks a child. If both are armed again, both count exactly, although the child has inherited
# the shared memory and the trampolines of the first session. A child that was forked by the system call is refused.
. tests/lib.sh
AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
need jq
build_once "$T/twins" $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -Iinclude tests/agent/twins.c || fail "cannot build"
say() { echo "$1" >&"$to"; read -t $patience -r said <&"$from" || fail "no reply to \"$1\": a process has died"; }
at_end 'probe-disable -q -s "$S" 2>/dev/null'

# begin: starts the program, arms it, and disarms it
begin() {
	coproc TARGET { exec env LD_PRELOAD="$AGENT" "$T/twins"; }
	pid=$TARGET_PID
	exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
	wait_for 10 grep -q libprobepoint-agent "/proc/$pid/maps"
	expect 0 probe-enable -q -b agent -s "$S" -p "$pid" "$1"
	say "parent 10"
	probe-disable -q -s "$S"
}
end() {
	kill "$pid"
	wait "$pid" 2>/dev/null
	exec {to}>&- {from}<&-
}
# twins WHAT FIRST PARENT CHILD: arms these probes in the process, then, when it has forked, in both
twins() {
	begin "twins:$2"
	say fork
	child=$said
	expect 0 probe-enable -q -b agent -s "$S" -p "$child" "twins:$4"
	expect 0 probe-enable -q -b agent -s "$S" -p "$pid" "twins:$3"
	for i in 1 2 3; do
		say "parent 100"
		say "child 7"
	done
	want "$1" "$child $4 21,$pid $3 300" "$(probe-stat -s "$S" --json |
		jq -r '[.probes[] | "\(.pid) \(.probe | sub("twins:"; "")) \(.hits)"] | sort_by(test(" 300$")) | join(",")')"
	probe-disable -q -s "$S"
	end
}

twins "the same probe" "*" one one
twins "different probes" "*" two one
twins "a probe that the first session lacked" one one two

[ -z "${PROBEPOINT_LISTEN-}" ] || exit 0 # the agent's thread does not end
begin 'twins:one'
wait_for 20 eval '! grep -qx probepoint /proc/$pid/task/*/comm' # the agent's thread has ended
say raw
expect 1 probe-enable -b agent -s "$S" -p "$said" twins:one
want_like "a child of the system call" "*forked from one with an agent by the system call*" "$out"
kill "$said"
end
