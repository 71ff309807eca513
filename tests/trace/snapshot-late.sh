#!/bin/bash
# SPDX-License-Identifier: MIT
# A keeper that gets the CPU late does not give the counts and records of a session that has ended to the next one of the same
# name, and gives those of a process once if its agent had to offer them twice.
. tests/lib.sh
. tests/trace/lib.sh

AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"

enable() { expect 0 probe-enable -q -s $S -b agent --string arg3 --flight-recorder=1M -p $pid 'recorder:*'; }
# check WHAT N: checks that the session has N hits, and their records.
check() {
	snapshot "$T/all"
	whole "$1" "$T/all"
	want "$1: records" "$2" "$(wc -l <"$T/all")"
	want "$1: processes" "$pid" "$(jq .pid "$T/all" | sort -u | xargs)"
	accounts "$1"
	want "$1: recorded" "$2" "$(counted recorded)"
}

# ---- the next session of the name begins before the keeper sees that the first process has ended ----

begin 2 env LD_PRELOAD="$AGENT"
enable
say "run 7"
check "first session" 14
keeper_find
kill -STOP "$keeper"
finish
expect 0 probe-disable -q -s $S
begin 2 env LD_PRELOAD="$AGENT"
enable
say "run 3"
kill -CONT "$keeper"
check "second session" 6
finish

# ---- an agent offers its region again, because the keeper has not replied ----

S=$S-2
begin 2 env LD_PRELOAD="$AGENT"
kill -STOP "$keeper"
enable
kill -CONT "$keeper"
expect 0 probe-enable -q -s $S -b agent --flight-recorder=1M -p $pid recorder:mark
say "run 5"
check "two offers" 10
finish
exit 0
