#!/bin/bash
# SPDX-License-Identifier: MIT
# Stacks in keys equal those that a program logs, with both backends: 8 threads, functions without a frame pointer, stacks
# deeper than the limit, children that end in every way, exec, libraries that are unloaded, processes that were killed, and
# frame pointers that are used for something else.
# Without room, the rest is counted. Frames that cannot be named get no name.
. tests/lib.sh
need jq python3
AGENT=$B/lib/libprobepoint-agent.so
build() {
	build_once "$1" $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -g -O2 -fno-omit-frame-pointer -fno-optimize-sibling-calls -pthread -Iinclude "${@:2}" ||
		fail "cannot build $*"
}
build "$T/pie" tests/cmd/stacker.c
build "$T/fixed" -no-pie tests/cmd/stacker.c
build "$T/static" -static tests/cmd/stacker.c 2>/dev/null # dlopen() in a static program makes the linker warn
for name in one two; do
	echo "void call_$name(void (*f)(void)) { f(); __asm__ volatile(\"\"); }" >"$T/$name.c"
	build "$T/$name.so" -shared -fPIC "$T/$name.c"
done
seed=${SEED:-$SRANDOM}
echo "SEED=$seed"
hits=200
[ -z "${PROBEPOINT_LONG-}" ] || hits=20000
at_end 'probe-disable -q -s "$S" 2>/dev/null'

# run PROGRAM: starts it
run() {
	rm -f "$T/log"
	[ "$backend" = kernel ] && preload= || preload=$AGENT
	coproc TARGET { exec env ${preload:+LD_PRELOAD="$preload"} "$1" "$T/log" "$seed"; }
	pid=$TARGET_PID
	exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
	runs "$pid" "$1"
	[ "$backend" = kernel ] || wait_for 10 grep -q libprobepoint-agent "/proc/$pid/maps"
}
say() { echo "$1" >&"$to"; read -t $patience -r line <&"$from" || fail "no reply to \"$1\""; }
arm() { expect 0 probe-enable -q -b "$backend" -s "$S" -p "$pid" --children "$@" stacker:hit; }
# check [LOST]: the folded stacks are those of the log
check() {
	probe-stat -s "$S" --folded >"$T/folded" || fail "probe-stat fails"
	out=$(tests/cmd/stacker.py "$T/log" "$@" <"$T/folded" 2>&1) || fail "$backend, $program, $when: $out"
	echo "$backend, $program, $when: $out"
}

check_program() {
	run "$T/$program"
	arm --stack
	say "run 8 $((hits / 8)) 6"
	when="8 threads" check
	say "deep 20 70"
	when="stacks that are too deep" check
	say data
	when="frame pointers used for something else" check
	say "child exit 5"
	say "child kill 5"
	say "child exec 5"
	when="children have ended" check "${lost-}"
	expect 0 probe-stat -s "$S"
	want_like "the table says how" "*(stacks by frame pointers)*" "$out"
	want_like "the table has frames" "*main+0x* ($program)*" "$out"
	want "JSON: frame 0" "true true true" "$(probe-stat -s "$S" --json | jq -r '.aggregates[0].entries | map(.key[0][0] | select(.file)) |
		"\(all(.function | IN("hit", "bare", "misuse"))) \(all(.address > 0)) \(all(.build_id | length == 40))"')"
	kill -9 "$pid"
	wait "$pid" 2>/dev/null
	when="the process was killed" check "${lost-}"
	probe-disable -q -s "$S"
}

for backend in kernel agent; do
	if [ $backend = kernel ] && [ "$(id -u)" != 0 ]; then
		part_skipped "the kernel backend needs root"
		continue
	fi
	if [ $backend = agent ] && [ ! -e "$AGENT" ]; then
		part_skipped "no agent was built"
		continue
	fi
	for program in pie fixed static; do
		[ "$backend $program" != "agent static" ] || continue
		# The kernel backend knows the mappings of a child that has ended only if a command saw it. A child has its parent's.
		[ $backend = kernel ] && lost='\[pid [0-9]+ 0x[0-9a-f]+\]' || lost=
		check_program
	done

	# ---- handlers and libraries ----
	program=pie
	run "$T/pie"
	arm --stack
	say handler
	probe-stat -s "$S" --folded >"$T/folded"
	grep -q '^.*;on_signal;hit 1$' "$T/folded" || fail "$backend: no stack of the handler: $(cat "$T/folded")"
	say "library $T/one.so call_one"
	say "library $T/two.so call_two"
	probe-stat -s "$S" --folded >"$T/folded"
	! grep -v 'on_signal\|;\(call_one\|call_two\|\[[^;]*\]\);hit ' "$T/folded" ||
		fail "$backend: a library's stack has another name: $(cat "$T/folded")"
	probe-disable -q -s "$S"
	kill -9 "$pid"
	wait "$pid" 2>/dev/null

	# ---- more stacks than room, and other keys ----
	run "$T/pie"
	arm --agg 'count(), sum(arg0) by stack, pid' --agg-size 20
	say "run 4 $hits 6"
	want "$backend: all hits are in stacks or in the rest" "$((4 * hits)) true" "$(probe-stat -s "$S" --json |
		jq -r '.aggregates[0] | "\(.total.values[0].count + .rest[0].other) \(.rest[0].other > 0)"')"
	probe-stat -s "$S" --folded >"$T/folded"
	want "$backend: the folded counts are complete" "$((4 * hits))" "$(awk '{ n += $NF } END { print n }' "$T/folded")"
	want "$backend: the other key comes first" "$pid" "$(grep -v '^(' "$T/folded" | cut -d\; -f1 | sort -u)"
	probe-disable -q -s "$S"
	kill -9 "$pid"
	wait "$pid" 2>/dev/null
done

# ---- errors ----
expect 2 probe-stat -s "$S" --folded --json
expect 2 probe-stat --stack --agg 'count()' -p $$ stacker:hit
expect 2 probe-trace --stack -p $$ stacker:hit
expect 1 probe-stat -f "$T/pie" --agg 'count() by stack, stack' stacker:hit
want_like "two stacks" "*a key has one stack*" "$out"
expect 1 probe-stat -f "$T/pie" --if 'stack == 0' stacker:hit
want_like "a stack in a filter" "*a stack can only be a key*" "$out"
