#!/bin/bash
# SPDX-License-Identifier: MIT
# An agent that was loaded later does not see dlopen(). A library that comes later is armed while a command attends to
# the session, or by the next command. Libraries can come and go meanwhile without harm.
. tests/lib.sh
. tests/agent/lib.sh
need jq
[ "$(uname -m)" = x86_64 ] || skip "agents are loaded into running processes on x86-64 only"

agent_build life
build_once "$T/library.so" $CC -O2 -shared -fPIC -Iinclude tests/agent/library.c || fail "not a library"
build_once "$T/second.so" $CC -O2 -shared -fPIC -Iinclude tests/agent/library.c || fail "not a library"
begin() {
	coproc TARGET { exec "$T/life"; }
	pid=$TARGET_PID
	exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
	runs $pid "$T/life"
}
hits() { probe-stat --json -s $S | jq "[.probes[].hits] | add // 0"; }
hit() { say "again 1"; }
recorded() { hit; grep -q '"args"' "$T/records"; }

# With a reader: the library is found within a second.
begin
expect 0 timeout 60 probe-enable --inject -s $S -p $pid -f "$T/library.so" '*:*'
want_like "pending before dlopen()" "pending *" "$out"
timeout 100 probe-trace --json -s $S >"$T/records" 2>"$T/errors" & trace=$!
say "keep $T/library.so"
wait_for 30 recorded
kill -TERM $trace
wait $trace
expect 0 probe-disable -q -s $S

# With a command that counts.
expect 0 timeout 60 probe-enable --inject -s $S -p $pid -f "$T/second.so" '*:*'
want_like "pending before dlopen()" "pending *" "$out"
say "keep $T/second.so"
timeout 100 probe-stat -s $S -i 0.3 -n 300 >"$T/counts" 2>&1 & stat=$!
wait_for 30 eval 'hit; [ "$(hits)" -gt 0 ]'
kill -TERM $stat
wait $stat
expect 0 probe-disable -q -s $S

# Without a command: the next command finds it.
expect 0 timeout 60 probe-enable -s $S -p $pid -f "$T/library.so" '*:*'
want_like "armed by the next command" "armed *" "$out"
expect 0 probe-disable -q -s $S
target_end

# Libraries that come and go meanwhile.
begin
expect 0 timeout 60 probe-enable --inject -s $S -p $pid -f "$T/library.so" '*:*'
for ((i = 0; i < 300; i++)); do echo "load $T/library.so 3"; done >&"$to" &
for ((i = 0; i < 60; i++)); do poke rescan $pid $S >/dev/null || fail "the agent does not reply any more"; done
wait $!
for ((i = 0; i < 300; i++)); do
	read -t $patience -r line <&"$from" || fail "the target has ended"
	until [ "$line" = ok ]; do read -t $patience -r line <&"$from" || fail "the target has ended"; done
done
expect 0 probe-disable -q -s $S
target_end
