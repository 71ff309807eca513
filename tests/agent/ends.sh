#!/bin/bash
# SPDX-License-Identifier: MIT
# Counts survive every end of a process: exit(3), _exit(2), a signal that cannot be caught, exec(2); for the named
# process, its children and their children. Without a keeper, probe-stat reports what is missing.
. tests/lib.sh
. tests/agent/lib-ends.sh
need jq
stat=$(printf '%s\n' '[([.probes[].hits] | add), .uncounted] | map(tostring) | join(" ")')
hits() { probe-stat --json -s "$1" | jq -r "$stat"; }

# ---- children of the named process ----
run
expect 0 probe-enable -q -b agent -s $S --children -p $pid app:end
say "own 3"
sum=3
for how in exit _exit kill exec fork; do
	say "child $how 10"
	sum=$((sum + 10))
	[ $how = fork ] && sum=$((sum + 1))
	want "hits after a child ended by $how" "$sum 0" "$(hits $S)"
done
for how in _exit exec; do for i in 1 2 3 4 5 6 7 8 9 10; do say "child $how 1"; done; done
sum=$((sum + 20))
want "hits after twenty more children" "$sum 0" "$(hits $S)"
echo "end kill" >&"$to"
wait $pid
want "hits after the process itself was killed" "$sum 0" "$(hits $S)"
want "hits read a second time" "$sum 0" "$(hits $S)"
probe-disable -q -s $S

# ---- every process that maps the file, each in turn ----
expect 0 probe-enable -q -b agent -s $S -f "$T/ends" app:end
sum=0
for how in exit _exit kill exec; do
	run
	say "own 5"
	sum=$((sum + 5))
	echo "end $how" >&"$to"
	wait $pid
	want "hits after a process ended by $how" "$sum 0" "$(hits $S)"
done
# Commands have read the counts before exec(2), and the process goes on.
run
say "own 5"
sum=$((sum + 5))
want "hits before exec(2)" "$sum 0" "$(hits $S)"
probe-stat -s $S -i 0.1 --json >"$T/repeated" & watching=$!
wait_for 20 test -s "$T/repeated"
echo "end sleep" >&"$to"
runs $pid /bin/sleep
lines=$(wc -l <"$T/repeated")
wait_for 20 eval '[ $(wc -l <"$T/repeated") -gt $((lines + 5)) ]'
want "hits after exec(2)" "$sum 0" "$(hits $S)"
want "hits in a command that runs" "$sum 0" "$(tail -n 1 "$T/repeated" | jq -r "$stat")"
kill $watching
wait $watching
kill -KILL $pid
wait $pid
want "hits after the end" "$sum 0" "$(hits $S)"
probe-disable -q -s $S
wait_for 10 test ! -e "$XDG_RUNTIME_DIR/probepoint/agents/keeper" # it ends with the last session

# ---- without a keeper ----
run
expect 0 probe-enable -q -b agent -s $S --children -p $pid app:end
keeper_find
kill -KILL "$keeper"
say "child _exit 10"
say "child exit 10"
want "a child's counts are missing" "10 1" "$(hits $S)"
want_like "message about the missing counts" "*1 process ended uncounted*" "$(probe-stat -s $S 2>&1)"
probe-disable -q -s $S
echo "end exit" >&"$to"
wait $pid

# ---- a reader that gets a child's region after the child has ended ----
build_once "$T/late.so" $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -shared -fPIC tests/agent/late.c || fail "cannot build late"
printf '%s\n' "own 3" "child _exit 10" "child kill 10" "child exit 10" "end exit" >"$T/lines"
LD_PRELOAD=$T/late.so probe-trace -b agent --children -o "$T/trace" app:end -- "$T/ends" <"$T/lines" >"$T/said" 2>&1 ||
	fail "the trace failed: $(cat "$T/said")"
want_like "records of children that ended early" "*: 33 recorded, 0 lost in *" "$(cat "$T/said")"
# Among children whose region it never gets, only the one that called exit(3) has saved its counts.
LATE_NEVER=1 LD_PRELOAD=$T/late.so probe-trace -b agent --children -o "$T/never" app:end -- "$T/ends" <"$T/lines" >"$T/said" 2>&1 ||
	fail "the trace failed: $(cat "$T/said")"
want_like "message about children that were never read" "*: 2 processes ended uncounted, *: 3 recorded, 10 lost in *" "$(cat "$T/said")"

# ---- sockets of processes that ended without removing them ----
agents=$XDG_RUNTIME_DIR/probepoint/agents
expect 0 probe-enable -q -b agent -s $S -f "$T/ends" app:end
run
lives=$pid
wait_for 10 test -S "$agents/$lives"
dead=()
for i in 1 2 3; do
	run
	say "own 1"
	dead+=($pid)
	kill -KILL $pid
	wait $pid 2>/dev/null
done
kill -STOP $lives
sockets_gone() { probe-stat -s $S >/dev/null 2>&1; for i in "${dead[@]}"; do [ ! -e "$agents/$i" ] || return 1; done; }
wait_for 10 sockets_gone
[ -S "$agents/$lives" ] || fail "the socket of a stopped process is gone"
kill -CONT $lives
want "hits after sockets were removed" "3 0" "$(hits $S)"
probe-disable -q -s $S
kill -KILL $lives
