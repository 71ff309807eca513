#!/bin/bash
# SPDX-License-Identifier: MIT
# A process that is stopped before any command has read its session: its counts, aggregates and records are read, and each command
# ends soon and names it. Stopped means SIGSTOP, a debugger, or (PROBEPOINT_LONG) a frozen control group. What is disarmed
# meanwhile is disarmed when the process runs again, and a later session of the same name counts from 0.
. tests/lib.sh
. tests/agent/lib.sh
need jq
need python3
agent_build simple

# A debugger that stops all threads of a process until it is killed.
cat >"$T/debugger.py" <<'E2'
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
for tid in os.listdir("/proc/%s/task" % sys.argv[1]):
    if libc.ptrace(16, int(tid), None, None) < 0:  # PTRACE_ATTACH
        sys.exit("ptrace: error %d" % ctypes.get_errno())
    os.waitpid(int(tid), 0x40000000)  # __WALL
open(sys.argv[2], "w").write("ready")
time.sleep(600)
E2
hits() { sed '/^probe-stat: /d' <<<"$out" | json '.probes[0] | [.hits, .recorded, .lost, .state]'; }
soon() { expect 0 timeout 60 "$@"; }

# begins: starts a process and records ten hits. Ends a process that is left.
begins() {
	target "$T/simple"
	expect 0 probe-enable -q -s $S -b agent --record --agg 'count() by arg0 & 1' -p $pid app:tick
	say "tick 10"
}
# is_read HOW: checks what commands say of a process that cannot reply.
is_read() {
	soon probe-stat --json -s $S
	want "$1: counts" '[10,10,0,"live"]' "$(hits)"
	want "$1: aggregates" '[5,5]' \
		"$(sed '/^probe-stat: /d' <<<"$out" | json '[.aggregates[0].entries[].values[0].count]')"
	want_like "$1: probe-stat names the process" "*pid $pid: *does not reply; its counts and records are read*" "$out"
	tracing "$T/trace" -s $S --json
	want_like "$1: probe-trace names the process" "*pid $pid: *does not reply; its counts and records are read*" \
		"$(wait_for 20 eval '[ "$(wc -l <"$T/trace")" = 10 ]'; kill -INT $tracer; wait $tracer; cat "$T/trace.err")"
	want "$1: records" 0123456789 "$(jq -j .args.arg0 "$T/trace")"
}

# ---- SIGSTOP ----

begins
kill -STOP $pid
is_read SIGSTOP
expect 1 timeout 60 probe-enable -s ${S}b -b agent -p $pid app:tick
want_like "arming a stopped process" "*pid $pid: the process is stopped*" "$out"
soon probe-list -p $pid
soon probe-disable -s $S
want_like "probe-disable names the process" \
	"*pid $pid: the process is stopped*; its points are armed or disarmed when it does*" "$out"
expect 3 timeout 60 probe-enable -s $S -b agent -f "$T/simple" app:tick
kill -CONT $pid
armed() { probe-stat -s $S >/dev/null && say "tick 1" && soon probe-stat --json -s $S && [ "$(hits)" != '[0,0,0,"live"]' ]; }
wait_for 20 armed
before=$(json '.probes[0].hits' <<<"$out")
say "tick 5"
soon probe-stat --json -s $S
want "counts of the later session" "[$((before + 5)),0,0,\"live\"]" "$(hits)"
[ "$before" -lt 10 ] || fail "the later session has the hits of the earlier one: $before"
want "a process that runs again is not named" "" "$(grep '^probe-stat: ' <<<"$out")"
expect 0 probe-disable -q -s $S
target_end

# ---- a debugger ----

begins
python3 "$T/debugger.py" $pid "$T/stopped" 2>"$T/error" & debugger=$!
until [ -e "$T/stopped" ]; do
	kill -0 $debugger 2>/dev/null || { part_skipped "a debugger: $(cat "$T/error")"; break; }
	sleep 0.05
done
[ ! -e "$T/stopped" ] || is_read debugger
kill -KILL $debugger 2>/dev/null
wait $debugger
say "tick 1"

# ---- without the keeper ----

kill -STOP $pid
keeper_find
kill -KILL "$keeper"
soon probe-stat --json -s $S
want_like "counts that cannot be read" "*pid $pid: *does not reply; its counts and records may be missing*" "$out"
kill -CONT $pid
soon probe-stat --json -s $S
want "counts after it runs again" '[11,11,0,"live"]' "$(hits)"
expect 0 probe-disable -q -s $S
target_end

# ---- a frozen control group ----

[ "${PROBEPOINT_LONG-}" ] || exit 0
frozen=/sys/fs/cgroup/probepoint-test-$$
mkdir $frozen 2>/dev/null && [ -e $frozen/cgroup.freeze ] || { part_skipped "a frozen control group: needs cgroup2"; exit 0; }
at_end "rmdir $frozen"
begins
echo $pid >$frozen/cgroup.procs
echo 1 >$frozen/cgroup.freeze
is_read frozen
echo 0 >$frozen/cgroup.freeze
expect 0 probe-disable -q -s $S
target_end
exit 0
