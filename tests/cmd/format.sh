#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-trace: --format prints the fields that it names and refuses others by name, --for ends the trace, and --color gives each
# probe a color.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
start p
at_end "probe-disable -q -s $S 2>/dev/null"
expect 0 probe-enable -q -s "$S" --record -p "$p" app:tick 'target:say*'

# printed FORMAT REQUEST...: hits probes, and prints the lines that probe-trace prints for the requests.
printed() {
	local format=$1 request
	shift
	for request; do tell p "$request"; done
	trace_kept "$T/lines" --format "$format" -s "$S"
	cat "$T/lines"
}
want "fields of each record" "$p $p target app:tick" "$(printed '{pid} {tid} {comm} {probe}' "tick 1")"
want "widths, braces, tabs" "{target    } |   app:tick|"$'\t\\' "$(printed '{{{comm:10}}} |{probe:>11}|\t\\' "tick 1")"
want_like "times" "20[0-9][0-9]-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-6][0-9].?????? [1-9]*[0-9]" \
	"$(printed '{date} {time} {ns}' "tick 1")"
name=text
want "an argument, and - where the probe has none" $'target:say__entry a\ntarget:say__return -' \
	"$(printed "{probe} {$name}" "say 61")"
want "the same by arg." "a" "$(printed "{arg.$name}" "say 61" | head -n 1)"
want "all arguments" "$name=\"a\"" "$(printed "{args}" "say 61" | head -n 1 | cut -d' ' -f1)"
want "control characters of a string" '\x1b[2J' "$(printed "{$name}" "say 1b5b324a" | head -n 1)"
want "a wide character takes two columns" '日  |' "$(printed "{$name:4}|" "say e697a5" | head -n 1)"

# refused STATUS FORMAT MESSAGE
refused() {
	expect "$1" probe-trace --format "$2" -s "$S"
	want_like "message for '$2'" "*$3*" "$out"
}
refused 2 "{pth} {$name}" "--format: unknown field 'pth'; the fields are time, date, ns, pid, tid, comm, probe and args, and the arguments of the probes: *$name"
refused 2 '{arg.time}' "unknown field 'time'"
refused 2 '{time' "'{time': a brace without its counterpart"
refused 2 'time}' "'}': a brace without its counterpart"
refused 2 '{a{b}}' "'{a{b}}': a brace without its counterpart"
refused 2 '{}' "'{}' without a name"
refused 2 '{comm:}' "invalid width ''"
refused 2 '{comm:1001}' "invalid width '1001'"
refused 2 '{comm:<7}' "invalid width '<7'"
refused 2 '' "empty format"
refused 2 $'{time}\n' "a format is one line"
expect 2 probe-trace --json --format '{pth}' -p "$p" app:tick
want_like "an unknown field with --json" "*--format cannot be combined with --json*" "$out"
expect 2 probe-trace --format '{pth}' -p "$p" app:tick
want_like "an unknown field with a pattern" "*unknown field 'pth'*the probes: arg0*" "$out"
want "sessions afterwards" "$S" "$(sessions)"
expect 125 probe-trace --format '{pth}' app:tick -- "$T/target"

# ---- color ----
trace_kept "$T/lines" -s "$S"
tell p "tick 2"
tell p "say 61"
trace_kept "$T/lines" --color=always -s "$S"
want "colors" "2 1 1" "$(sed -nE 's/.*(\x1b\[[0-9]*m)([a-z_:]*)\x1b\[0m.*/\1/p' "$T/lines" | sort | uniq -c | awk '{ print $1 }' | sort -rn | xargs)"
tell p "tick 1"
trace_kept "$T/lines" --color=never -s "$S"
want "colors with never" 0 "$(grep -c $'\x1b' "$T/lines")"
expect 2 probe-trace --color=sometimes -s "$S"
on_terminal() { TERM=xterm script -qec "probe-trace -n 1 -q -s $S $*" /dev/null </dev/null; }
if have script; then
	tell p "tick 1"
	on_terminal | grep -q $'\x1b\[36mapp:tick\x1b\[0m' || fail "no color on a terminal"
	tell p "tick 1"
	NO_COLOR=1 on_terminal | grep -q $'\x1b' && fail "color although NO_COLOR is set"
	tell p "tick 1"
	NO_COLOR=1 on_terminal --color=always | grep -q $'\x1b' || fail "no color with --color=always"
fi

# ---- --for ----
from=${EPOCHREALTIME/[.,]/}
expect 0 probe-trace --for 300ms -p "$p" app:tick
us=$((${EPOCHREALTIME/[.,]/} - from))
[ $us -ge 300000 ] || fail "--for 300ms ended after $us us"
while tell p "tick 100"; do :; done 2>/dev/null &
ticking=$!
# On a busy machine the target may not run in the 0.2 s.
for ((try = 0; try < 20; try++)); do
	rm -rf "$T/trace"
	expect 0 probe-trace --for=0.2 -o "$T/trace" -p "$p" app:tick
	[[ $out == *"probe-trace: 0 recorded"* ]] || break
done
want_like "summary of a trace that --for ends" "*[1-9]* recorded, * lost in $T/trace*" "$out"
kill $ticking
expect 2 probe-trace --for 0 -p "$p" app:tick
want_like "message for an invalid time" "*--for: invalid time '0'*" "$out"
