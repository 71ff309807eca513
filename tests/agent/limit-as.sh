#!/bin/bash
# SPDX-License-Identifier: MIT
# A program that limits its address space can make its threads beside the agent's region: if it sets the limit before it is
# traced, afterwards, by a system call that the agent does not see, or if another process sets it. The hits of all threads count.
. tests/lib.sh
AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
need jq prlimit
build_once "$T/limited" $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -pthread -Iinclude tests/agent/limit-as.c || fail "limit-as.c does not build"
at_end "probe-disable -q -s $S 2>/dev/null"
begin() {
	coproc TARGET { exec env LD_PRELOAD="$AGENT" "$T/limited"; }
	pid=$TARGET_PID
	exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
	runs_agent "$pid" "$T/limited"
	hits=0
}
say() { echo "$1" >&"$to"; read -t $patience -r said <&"$from" || fail "no reply to \"$1\""; }
end() {
	echo end end >&"$to"
	wait "$pid"
	want "$how: exit status" 0 $?
	expect 0 probe-disable -q -s $S
}
arm() {
	expect 0 probe-enable -q --json -b agent -s $S -p "$pid" limit:hit
	# The compiler may have copied the site.
	want "$how: armed and verified" '[true]' "$(json '[.armed[].verified]' <<<"$out")"
}
threads() {
	say "threads $1 100"
	want "$how: threads" "$1" "$said"
	hits=$((hits + 100 * $1))
	want "$how: hits" $hits "$(probe-stat --json -s $S | jq '[.probes[].hits] | add')"
}
all_threads() { say "threads 24 0" && [ "$said" = 24 ]; }
MB=1000 # less than a region takes without a limit

how="a limit after arming"
begin
arm
threads 24
say "limit $MB"
want "$how" 0 "$said"
threads 24
end

how="a limit before arming"
begin
say "limit $MB"
arm
threads 24
end

how="a limit by a system call"
begin
arm
say "raw $MB"
want "$how" 0 "$said"
wait_for 20 all_threads
threads 24
end

how="a limit by another process"
begin
arm
prlimit --pid "$pid" --as=$((MB << 20)):unlimited || fail "prlimit"
wait_for 20 all_threads
threads 24
end
