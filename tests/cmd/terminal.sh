#!/bin/bash
# SPDX-License-Identifier: MIT
# Colour on a terminal that wants it, and nowhere else; names in notes and paths cannot drive it.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
need script
build_target
at_end "probe-disable -q -s $S 2>/dev/null"
expect 0 probe-enable -q -s "$S" -f "$T/target" app:tick

on_terminal() { script -qec "$*" /dev/null </dev/null; }
coloured() { grep -q $'\e\[32m'"$S"$'\e\[0m' <<<"$1"; }
export TERM=xterm
coloured "$(on_terminal probe-list "$T/target")" || fail "no colour on a terminal"
coloured "$(probe-list "$T/target")" && fail "colour in a pipe"
coloured "$(NO_COLOR=1 on_terminal probe-list "$T/target")" && fail "NO_COLOR is not obeyed"
coloured "$(TERM=dumb on_terminal probe-list "$T/target")" && fail "a dumb terminal"
want "but for the colour it is the same" "$(probe-list "$T/target")" \
	"$(on_terminal probe-list "$T/target" | sed 's/\x1b\[[0-9]*m//g; s/\r$//')"

# A note whose provider, name and operands want to do something, in a file whose name does too.
file=$T/$(printf 'e\x1b[2Jvil\n')
one_note 8 'a\033[31mb\233' 'c\nd\007\342\200\256' '8@%rdi\033c' >"$T/evil.s"
as "$T/evil.s" -o "$T/evil.o" && ld "$T/evil.o" -o "$file" || fail "no such file made"
for options in "" --sites "--sites -v" "-m x:y" --json; do
	probe-list $options "$file" >"$T/out" 2>&1
	[ -s "$T/out" ] || fail "probe-list $options says nothing"
	want "probe-list $options: control characters" 0 "$(LC_ALL=C grep -c $'[\x01-\x09\x0b-\x1f\x7f\x9b]' "$T/out")"
done
probe-list --json "$file" >"$T/out"
if [ "$(json '.probes|length' "$T/out")" = 1 ]; then
	want "in JSON" '["a\u001b[31mb�","c\nd\u0007‮"]' "$(json '[.probes[0]|.provider,.name]' "$T/out")"
fi
for c in "probe-enable -s $S-2" probe-trace; do
	timeout -s INT 2 $c -f "$file" '*' >"$T/out" 2>&1
	want "$c: control characters" 0 "$(LC_ALL=C grep -c $'[\x01-\x09\x0b-\x1f\x7f\x9b]' "$T/out")"
done
probe-stat -s "$S-2" >"$T/out" 2>&1
want "probe-stat: control characters" 0 "$(LC_ALL=C grep -c $'[\x01-\x09\x0b-\x1f\x7f\x9b]' "$T/out")"
probe-disable -q -s "$S-2" 2>/dev/null
expect 0 probe-disable -q -s "$S"
