#!/bin/bash
# SPDX-License-Identifier: MIT
# Processes whose agent accepts a connection and does not reply: every command ends soon and names them, and the counts
# and records of other processes are complete.
. tests/lib.sh
. tests/agent/lib.sh
need python3
need jq

agent_build simple
cat >"$T/silent.py" <<'E2'
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
path = "%s/agents/%d" % (sys.argv[1], os.getpid())
s.bind(path)
os.chmod(path, 0o600)
s.listen(8)
open(sys.argv[2], "w").write("ready")
kept = []
while True:
    kept.append(s.accept())
E2
ends() { expect 0 timeout 60 "$@"; }

target "$T/simple"
expect 0 probe-enable -q -s $S -b agent -f "$T/simple" app:tick
say "tick 10"
python3 "$T/silent.py" "$XDG_RUNTIME_DIR/probepoint" "$T/ready" & peer=$!
wait_for 10 test -e "$T/ready"
ends probe-stat --json -s $S
want_like "the silent process is named" "*pid $peer: the agent does not reply*" "$out"
want "hits of the process that replies" 10 "$(sed '/^probe-stat:/d' <<<"$out" | jq '.probes[0].hits')"

tracing "$T/trace" -s $S --json
say "tick 200"
wait_for 20 eval '[ "$(wc -l <"$T/trace")" = 200 ]'
kill -INT $tracer
trace_ended() { ! kill -0 $tracer; }
wait_for 60 trace_ended
wait $tracer || fail "probe-trace ends with $?: $(cat "$T/trace.err")"
want_like "the silent process is named" "*pid $peer: the agent does not reply*" "$(cat "$T/trace.err")"
ends probe-enable -s ${S}b -b agent -f "$T/simple" app:tick
want_like "the silent process is named" "*pid $peer: the agent does not reply*" "$out"
expect 0 probe-disable -q -s ${S}b
ends probe-disable -s $S
want_like "the silent process is named" "*pid $peer: the agent does not reply*" "$out"
say "tick 5"
target_end
