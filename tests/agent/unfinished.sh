#!/bin/bash
# SPDX-License-Identifier: MIT
# A signal handler interrupts a hit at each of its instructions, hits as well, and returns after more than two seconds.
# The reader has skipped the unfinished record by then. Each hit is either shown once or lost.
. tests/lib.sh
need jq
[ "$(uname -m)" = x86_64 ] || skip "only x86-64 has a trap flag that a program can set"
AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
build_once "$T/unfinished" "$CC" -O2 -Iinclude -pthread tests/agent/unfinished.c || fail "unfinished.c does not build"

mkfifo "$T/in" "$T/out"
env LD_PRELOAD="$AGENT" "$T/unfinished" <"$T/in" >"$T/out" & pid=$!
exec {to}>"$T/in" {from}<"$T/out"
reply() { read -r -t $patience -u "$from" said || fail "the program does not reply to \"$1\""; }
say() { echo "$1" >&"$to" && reply "$1"; }
reply start
counted() { probe-stat --json -s "$S" | jq "[.probes[].$1] | add"; }
handlers_shown() { [ "$(grep -c 'arg0=1000[0-9][0-9][0-9]$' "$T/shown")" = "$1" ]; }

for way in "" "--overwrite" "-n 100000"; do
	what="hits that are interrupted ${way:-by default}"
	options=() more=()
	if [ "$way" = --overwrite ]; then options=("$way"); else read -ra more <<<"$way"; fi
	expect 0 probe-enable -q -s "$S" -b agent --record "${options[@]}" -p $pid app:hit
	tracing "$T/shown" -s "$S" "${more[@]}"
	say "step 150"
	waiting=$said
	# The record of a handler comes after the record that it interrupts, so the reader has skipped that one.
	wait_for 60 handlers_shown "$waiting"
	say go
	hits=$said
	kill -INT $tracer
	wait $tracer
	want "$what: status of probe-trace" 0 $?
	shown=$(wc -l <"$T/shown")
	read -r recorded lost damaged <<<"$(tail -n 1 "$T/shown.err" | sed 's/^probe-trace: //; s/[^0-9]\+/ /g')"
	want "$what: counted" "$hits $hits 0" "$(counted hits) $(counted recorded) $(counted lost)"
	want "$what: recorded" "$shown" "$recorded"
	want "$what: shown and lost" "$hits" $((shown + lost))
	[ "$lost" -gt 0 ] || fail "$what: no record was skipped, of $waiting interrupted ones"
	want "$what: damaged" "$lost" "${damaged-}"
	expect 0 probe-disable -q -s "$S"
done
exec {to}>&-
wait $pid
want "status of the program" 0 $?
