#!/bin/bash
# SPDX-License-Identifier: MIT
# Code that the program maps and unmaps itself, without the C library's loader: the agent does not write to it, and does
# not use its place for memory of its own.
. tests/lib.sh
. tests/agent/lib.sh

agent_build remap
build_once "$T/library.so" $CC -O2 -shared -fPIC -Iinclude tests/agent/library.c || fail "not a library"
pairs=8 reason=
[ "${PROBEPOINT_LONG-}" ] && pairs=400

for how in libc syscall; do
	for what in gap none data file noaccess; do
		mkfifo "$T/in"
		LD_PRELOAD=$AGENT "$T/remap" "$T/library.so" $how $what <"$T/in" >"$T/out" & pid=$!
		exec {to}>"$T/in"
		wait_for 10 grep -q ready "$T/out"
		times=0
		for ((; times < pairs; times++)); do
			probe-enable -s $S -b agent -p $pid -f "$T/library.so" lib:hit >"$T/said" 2>&1
			want_like "$how $what" "*@(refused|pending)*" "$(cat "$T/said")"
			grep -q "mapped this code itself" "$T/said" && reason=said
			grep -q "armed.*lib:hit" "$T/said" && fail "$how $what: armed: $(cat "$T/said")"
			probe-disable -q -s $S >/dev/null 2>&1
			kill -0 $pid 2>/dev/null || break
		done
		exec {to}>&-
		wait $pid || fail "$how $what: the program ends with $? after $times times: $(cat "$T/out")"
		rm "$T/in"
	done
done
want "reason was reported" said "$reason"
