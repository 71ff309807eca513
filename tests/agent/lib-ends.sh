# SPDX-License-Identifier: MIT
# For tests of what remains of a process that ends, after tests/lib.sh: tests/agent/ends.c.
AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
build_once "$T/ends" $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -Iinclude tests/agent/ends.c || fail "cannot build ends"

# run: starts the program with the agent, as $pid
run() {
	coproc TARGET { exec env LD_PRELOAD="$AGENT" "$T/ends"; }
	pid=$TARGET_PID
	exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
	wait_for 10 grep -q libprobepoint-agent "/proc/$pid/maps"
}
# say LINE: sends a line and waits for the reply
say() { echo "$1" >&"$to"; read -t $patience -r line <&"$from" || fail "no reply to \"$1\""; }
