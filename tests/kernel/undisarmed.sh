#!/bin/bash
# SPDX-License-Identifier: MIT
# Sites that still have a trap in a process after they were disarmed, because another tool has armed them: probe-disable names the
# process and ends with status 3, after an interrupt or (PROBEPOINT_LONG) when it gives up. A trap of another session is no reason.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
export PROBEPOINT_NO_UPROBE_MULTI=1 # a link for each site: probe-disable waits only if there are more than a few

tests/kernel/sites 12 1 >"$T/sites.s" && "$CC" "$T/sites.s" -o "$T/target" || fail "12 sites do not build"
converse "$T/target"

# ---- sites of two sessions ----

expect 0 probe-enable -q -s $S -p $pid gen:p0
expect 0 probe-enable -q -s ${S}b -p $pid gen:p0
expect 0 probe-disable -s $S
want "disarming one of two sessions" "disarmed 12 sites in session '$S'" "$out"
want "traps of the other session" "12 cc" "$(site_bytes $pid "$T/target")"

# ---- traps of another tool: a private session, which other commands do not know ----

tracing "$T/trace" -b kernel --json -p $pid gen:p0
env --default-signal=INT probe-disable -s ${S}b >"$T/report" 2>&1 & disable=$!
unlinked() { ! ls "/sys/fs/bpf/probepoint/${S}b" | grep -q '^even-\|^odd-'; }
wait_for 20 unlinked
[ "${PROBEPOINT_LONG-}" ] || kill -INT $disable
wait $disable
want "the status of probe-disable" 3 $?
want_like "the message" "*pid $pid: not verified: 12 sites were disarmed, but still had a trap when the command *" \
	"$(cat "$T/report")"
want_like "the report" "*disarmed 12 sites in session '${S}b'*" "$(cat "$T/report")"
gone ${S}b
want "traps of the private session" "12 cc" "$(site_bytes $pid "$T/target")"
kill -INT $tracer
wait $tracer
want "traps after it has ended" "12 90" "$(site_bytes $pid "$T/target")"
