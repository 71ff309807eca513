#!/bin/bash
# SPDX-License-Identifier: MIT
# Sites that still have a trap in a process after they were disarmed, because another tool has armed them. probe-disable
# closes its links, so it knows that its own traps are gone. After an interrupt it leaves the rest of the links to the
# kernel: it names the process and ends with status 3. A trap of another session does not change the status.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
# A link for each site: probe-disable closes them in batches, and looks for interrupts between batches.
export PROBEPOINT_NO_UPROBE_MULTI=1
n=100

tests/kernel/sites $n 1 >"$T/sites.s" && "$CC" "$T/sites.s" -o "$T/target" || fail "$n sites do not build"
converse "$T/target"

# armed SESSION: arms the sites; links SESSION: the number of its links
armed() { expect 0 probe-enable -q -s $1 -p $pid gen:p0; }
links() { find "/sys/fs/bpf/probepoint/$1" -name 'even-*' -o -name 'odd-*' 2>/dev/null | wc -l; }
bytes() { want "$1" "$2" "$(site_bytes $pid "$T/target")"; }

# ---- the other tool: a private session, which other commands do not know ----

armed $S
tracing "$T/trace" -b kernel --json -p $pid gen:p0
expect 0 probe-disable -s $S
want "disarming while another tool has armed the sites" "disarmed $n sites in session '$S'" "$out"
bytes "its traps" "$n cc"
kill -INT $tracer
wait $tracer
bytes "traps after it has ended" "$n 90"

# ---- another session ----

armed $S
armed ${S}b
expect 0 probe-disable -s $S
want "disarming one of two sessions" "disarmed $n sites in session '$S'" "$out"
bytes "traps of the other session" "$n cc"

# ---- an interrupt, beside the other tool ----

tracing "$T/trace" -b kernel --json -p $pid gen:p0
env --default-signal=INT probe-disable -s ${S}b >"$T/report" 2>&1 & disable=$!
begun() { [ "$(links ${S}b)" -lt $n ]; }
wait_for 20 begun
kill -INT $disable
wait $disable
want "the status of probe-disable" 3 $?
want_like "the message" "*pid $pid: not verified: $n sites were disarmed, but still had a trap when the command *" \
	"$(cat "$T/report")"
want_like "the report" "*disarmed $n sites in session '${S}b'*" "$(cat "$T/report")"
gone ${S}b
bytes "its traps after the interrupt" "$n cc"
kill -INT $tracer
wait $tracer
