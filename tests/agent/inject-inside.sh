#!/bin/bash
# SPDX-License-Identifier: MIT
# A thread in the middle of malloc(), also below signal handlers and their stacks, or in the program's own malloc, is
# not used before it is outside. A thread with an old return address above main() is used.
. tests/lib.sh
. tests/agent/lib.sh
need jq

agent_build inside -fno-omit-frame-pointer
mv "$T/inside" "$T/inside-libc"
agent_build inside -fno-omit-frame-pointer -DOWN
has_agent() { grep -q libprobepoint-agent "/proc/$pid/maps"; }
tries() { awk '/^nonvoluntary_ctxt_switches|^voluntary_ctxt_switches/ { n += $2 } END { print n }' "/proc/$pid/status"; }

for way in altstack samestack nested own stale; do
	program=$T/inside-libc
	[ $way = own ] && program=$T/inside
	mkfifo "$T/in"
	"$program" $way <"$T/in" >"$T/out" & pid=$!
	exec {to}>"$T/in"
	wait_for 10 grep -q ready "$T/out"
	# The command gives up after 5 s, which the steps below may exceed on a busy machine. Then it is run again.
	(until timeout 120 probe-enable -q --inject -s $S -p $pid host:beat >"$T/said" 2>&1; do
		grep -q 'in the middle of malloc' "$T/said" || exit 1
	done) & enable=$!
	if [ $way != stale ]; then
		# Each try stops and continues the thread.
		before=$(tries)
		wait_for 10 eval '[ "$(tries)" -gt $((before + 20)) ]'
		has_agent && fail "$way: loaded in the middle of malloc"
		echo >&$to
	fi
	wait $enable || fail "$way: $(cat "$T/said")"
	[ $way = stale ] && echo >&$to
	wait_for 10 eval '[ "$(probe-stat --json -s $S | jq "[.probes[].hits] | add")" -gt 2 ]'
	expect 0 probe-disable -q -s $S
	exec {to}>&-
	wait $pid || fail "$way ends with $?: $(cat "$T/out")"
	want "$way says" "ready right" "$(tr '\n' ' ' <"$T/out" | sed 's/ $//')"
	rm "$T/in"
done
