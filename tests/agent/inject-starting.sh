#!/bin/bash
# SPDX-License-Identifier: MIT
# The agent is loaded into, and woken in, processes that are just starting, or a reason says what to do. They continue
# as before.
. tests/lib.sh
. tests/agent/lib.sh
need jq
[ "$(uname -m)" = x86_64 ] || skip "agents are loaded into running processes on x86-64 only"
agent_build deep
mkfifo "$T/in"

# ---- the first thread has used all of its stack that is mapped, as in an interpreter that imports modules ----

"$T/deep" <"$T/in" >"$T/out" 2>&1 & pid=$!
exec {to}>"$T/in"
wait_for 20 grep -q ready "$T/out"
expect 0 timeout 120 probe-enable -s $S --inject -p $pid deep:beat
want_like "deep stack" "armed    deep:beat  pid $pid  1 site  agent*" "$out"
counted() { [ "$(probe-stat --json -s $S | jq '.probes[0].hits')" -gt 2 ]; }
wait_for 20 counted
expect 0 probe-disable -q -s $S
exec {to}>&-
wait $pid || fail "deep stack: the program ends with $?: $(cat "$T/out")"
want "deep stack: output" "deep ready right" "$(xargs <"$T/out")"

# The stack cannot grow, because another mapping is near.
"$T/deep" wall <"$T/in" >"$T/out" 2>&1 & pid=$!
exec {to}>"$T/in"
wait_for 20 grep -q ready "$T/out"
expect 1 timeout 120 probe-enable -s $S --inject -p $pid deep:beat
want_like "stack that cannot grow" "*pid $pid: the stack of thread $pid has no room for loading the agent now; try again" "$out"
has_agent $pid && fail "the agent is in a process that has no room for it"
exec {to}>&-
wait $pid || fail "stack that cannot grow: the program ends with $?: $(cat "$T/out")"
want "stack that cannot grow: output" "deep ready right" "$(xargs <"$T/out")"

# ---- the loader has not mapped any library: it waits for a library of LD_PRELOAD, which is a FIFO ----

mkfifo "$T/library"
starting() { grep -q ld-linux /proc/$pid/maps && [ "$(cat /proc/$pid/comm)" = deep ]; }
for how in "-b agent" --inject; do
	env LD_PRELOAD="$T/library:$AGENT" "$T/deep" <"$T/in" >"$T/out" 2>&1 & pid=$!
	exec {to}>"$T/in"
	wait_for 20 starting
	expect 1 probe-enable -s $S $how -p $pid deep:beat
	want_like "$how, before libraries are loaded" "*pid $pid: the process *just starting*try again*" "$out"
	: >"$T/library" # the loader finds it empty, and goes on
	# The command waits for the agent. A machine under load may take longer than it waits.
	tries() {
		out=$(probe-enable -s $S $how -p $pid deep:beat 2>&1) && return
		want_like "$how, while libraries are loaded" "*try again*" "$out"
		return 1
	}
	wait_for 60 tries
	want_like "$how, later" "armed    deep:beat  pid $pid  1 site  agent*" "$out"
	want "$how: the agent was loaded once" 1 "$(awk '/libprobepoint-agent/ && $2 == "r-xp"' /proc/$pid/maps | wc -l)"
	expect 0 probe-disable -q -s $S
	exec {to}>&-
	wait $pid || fail "$how: the program ends with $?: $(cat "$T/out")"
	want_like "$how: output" "*ready right" "$(xargs <"$T/out")"
done

# ---- the program executes another one again and again ----

# A failed attempt must say that the process was starting or ended, or that no thread could be used. With LD_PRELOAD it
# can also find that agents were woken, and gone before they had a socket.
said= times=150
[ -z "${PROBEPOINT_LONG-}" ] || times=3000
for preload in "" "$AGENT"; do
	env LD_PRELOAD="$preload" "$T/deep" again $times >"$T/out" 2>&1 & pid=$!
	runs $pid "$T/deep" # the shell has another environment
	while [ -e /proc/$pid/exe ]; do
		out=$(timeout 120 probe-enable -q -s $S --inject -p $pid deep:beat 2>&1) || case $out in
		*"try again"* | *"has ended"* | *"No such process"* | *"no such process"* | *"cannot read"* | *"not verified"* | *"Connection reset"*) ;;
		*"the agent is awake, but has no socket"*) [ "$preload" ] || fail "$out" ;;
		*) fail "preload '$preload': $out" ;;
		esac
		said+="preload '${preload##*/}': ${out:-armed}"$'\n'
	done
	wait $pid || fail "preload '$preload': the program ends with $?: $(cat "$T/out")"
	want_like "preload '$preload': output" "*right" "$(cat "$T/out")"
	probe-disable -q -s $S 2>/dev/null
done
sed 's/pid [0-9]*/pid/; s/thread [0-9]*/thread/' <<<"$said" | sort | uniq -c
exit 0
