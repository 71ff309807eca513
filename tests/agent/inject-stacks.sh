#!/bin/bash
# SPDX-License-Identifier: MIT
# A thread on the small stack of a coroutine or of a signal handler is not used for loading the agent, which would
# overwrite the memory below that stack. A thread on a stack that the program has given it is used.
. tests/lib.sh
. tests/agent/lib.sh
need jq
[ "$(uname -m)" = x86_64 ] || skip "agents are loaded into running processes on x86-64 only"
agent_build small-stack
mkfifo "$T/in"
for way in handler coroutine thread; do
	"$T/small-stack" $way <"$T/in" >"$T/out" 2>&1 & pid=$!
	exec {to}>"$T/in"
	wait_for 20 grep -q ready "$T/out"
	if [ $way = thread ]; then
		expect 0 timeout 120 probe-enable -q -s $S --inject -p $pid deep:beat
		counted() { [ "$(probe-stat --json -s $S | jq '.probes[0].hits')" -gt 2 ]; }
		wait_for 20 counted
		expect 0 probe-disable -q -s $S
	else
		expect 1 timeout 120 probe-enable -s $S --inject -p $pid deep:beat
		want_like "$way" "*pid $pid: every thread is in *or on the stack of a coroutine or a signal handler; try again" "$out"
		has_agent $pid && fail "$way: the agent was loaded"
	fi
	exec {to}>&-
	wait $pid || fail "$way: the program ends with $?: $(cat "$T/out")"
	want "$way: output" "ready right" "$(xargs <"$T/out")"
done
exit 0
