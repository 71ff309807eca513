#!/bin/bash
# SPDX-License-Identifier: MIT
# An agent that was loaded later hears of no dlopen(): what comes then is armed while somebody looks on, or at the next
# command; and libraries come and go beside that without harm.
. tests/lib.sh
. tests/agent/lib.sh
need jq
[ "$(uname -m)" = x86_64 ] || skip "agents are loaded into running processes on x86-64 only"

agent_build life
$CC -O2 -shared -fPIC -Iinclude -o "$T/library.so" tests/agent/library.c || fail "no library"
$CC -O2 -shared -fPIC -Iinclude -o "$T/second.so" tests/agent/library.c || fail "no library"
begin() {
	coproc TARGET { exec "$T/life"; }
	pid=$TARGET_PID
	exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
	runs $pid "$T/life"
}
hits() { probe-stat --json -s $S | jq "[.probes[].hits] | add // 0"; }
hit() { say "again 1"; }
recorded() { hit; grep -q '"args"' "$T/records"; }

# Read: a second at most until it is found.
begin
expect 0 timeout 60 probe-enable --inject -s $S -p $pid -f "$T/library.so" '*:*'
want_like "before dlopen()" "pending *" "$out"
timeout 100 probe-trace --json -s $S >"$T/records" 2>"$T/errors" & trace=$!
say "keep $T/library.so"
wait_for 30 recorded
kill -TERM $trace
wait $trace
expect 0 probe-disable -q -s $S

# Counted.
expect 0 timeout 60 probe-enable --inject -s $S -p $pid -f "$T/second.so" '*:*'
want_like "before dlopen()" "pending *" "$out"
say "keep $T/second.so"
timeout 100 probe-stat -s $S -i 0.3 -n 300 >"$T/counts" 2>&1 & stat=$!
wait_for 30 eval 'hit; [ "$(hits)" -gt 0 ]'
kill -TERM $stat
wait $stat
expect 0 probe-disable -q -s $S

# Nobody looked on: at the next command.
expect 0 timeout 60 probe-enable -s $S -p $pid -f "$T/library.so" '*:*'
want_like "it is there" "armed *" "$out"
expect 0 probe-disable -q -s $S
target_end

# Libraries that come and go all the while.
begin
expect 0 timeout 60 probe-enable --inject -s $S -p $pid -f "$T/library.so" '*:*'
for ((i = 0; i < 300; i++)); do echo "load $T/library.so 3"; done >&"$to" &
for ((i = 0; i < 60; i++)); do poke look $pid $S >/dev/null || fail "it does not answer any more"; done
wait $!
for ((i = 0; i < 300; i++)); do
	read -t 120 -r line <&"$from" || fail "the target has gone"
	until [ "$line" = ok ]; do read -t 120 -r line <&"$from" || fail "the target has gone"; done
done
expect 0 probe-disable -q -s $S
target_end
