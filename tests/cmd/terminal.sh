#!/bin/bash
# SPDX-License-Identifier: MIT
# Color is printed to terminals that support it, and nowhere else. Names in notes and paths cannot control the terminal.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
need script
build_target
at_end "probe-disable -q -s $S 2>/dev/null"
expect 0 probe-enable -q -s "$S" -f "$T/target" app:tick

on_terminal() { script -qec "$*" /dev/null </dev/null; }
is_colored() { grep -q $'\e\[32m'"$S"$'\e\[0m' <<<"$1"; }
export TERM=xterm
is_colored "$(on_terminal probe-list "$T/target")" || fail "no color on a terminal"
is_colored "$(probe-list "$T/target")" && fail "color in a pipe"
is_colored "$(NO_COLOR=1 on_terminal probe-list "$T/target")" && fail "color although NO_COLOR is set"
is_colored "$(TERM=dumb on_terminal probe-list "$T/target")" && fail "color on a dumb terminal"
want "output without the color" "$(probe-list "$T/target")" \
	"$(on_terminal probe-list "$T/target" | sed 's/\x1b\[[0-9]*m//g; s/\r$//')"

# A note whose provider, name and operands have control characters, in a file whose name has some, too.
file=$T/$(printf 'e\x1b[2Jvil\n')
one_note 8 'a\033[31mb\233' 'c\nd\007\342\200\256' '8@%rdi\033c' >"$T/evil.s"
as "$T/evil.s" -o "$T/evil.o" && ld "$T/evil.o" -o "$file" || fail "the file does not build"
for options in "" --sites "--sites -v" "-m x:y" --json; do
	probe-list $options "$file" >"$T/out" 2>&1
	[ -s "$T/out" ] || fail "probe-list $options prints nothing"
	want "probe-list $options: control characters" 0 "$(LC_ALL=C grep -c $'[\x01-\x09\x0b-\x1f\x7f\x9b]' "$T/out")"
done
probe-list --json "$file" >"$T/out"
if [ "$(json '.probes|length' "$T/out")" = 1 ]; then
	want "names in JSON" '["a\u001b[31mb�","c\nd\u0007‮"]' "$(json '[.probes[0]|.provider,.name]' "$T/out")"
fi
for c in "probe-enable -s $S-2" probe-trace; do
	timeout -s INT 2 $c -f "$file" '*' >"$T/out" 2>&1
	want "$c: control characters" 0 "$(LC_ALL=C grep -c $'[\x01-\x09\x0b-\x1f\x7f\x9b]' "$T/out")"
done
probe-stat -s "$S-2" >"$T/out" 2>&1
want "probe-stat: control characters" 0 "$(LC_ALL=C grep -c $'[\x01-\x09\x0b-\x1f\x7f\x9b]' "$T/out")"
probe-disable -q -s "$S-2" 2>/dev/null
expect 0 probe-disable -q -s "$S"
