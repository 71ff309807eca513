#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# func:SYMBOL: code without a note, and what of it is refused, with its reason.
. tests/lib.sh
need_root
need jq

"$CC" -O2 -o "$T/functions" tests/kernel/functions.c || fail "does not compile"
mkfifo "$T/go"
"$T/functions" <"$T/go" >"$T/out" &
pid=$!
exec {go}>"$T/go"
runs $pid "$T/functions"
at_end "probe-disable -q -s $S 2>/dev/null"

# (100 times each, as the program is written)
expect 0 probe-enable -s "$S" -p "$pid" func:plain func:begins_with_endbr
echo -n x >&$go
hits() { probe-stat -s "$S" --json | jq -c '[.probes[] | {(.probe): .hits}] | add'; }
counted() { [ "$(hits)" = '{"func:begins_with_endbr":100,"func:plain":100}' ]; }
wait_for 10 counted
expect 0 probe-disable -s "$S"

tracing "$T/traced" --json -n 3 -p "$pid" --if 'arg0 >= 97' func:plain
echo -n x >&$go
wait $tracer || fail "probe-trace: $(cat "$T/traced.err")"
want "arguments in the registers of the calling convention" '[97,-97][98,-98][99,-99]' \
	"$(jq -c '[.args.arg0, (.args.arg2 | if . >= 2147483648 then . - 4294967296 else . end)]' "$T/traced" | tr -d '\n')"

# refused NAME REASON
refused() {
	expect 1 probe-enable -s "$S" -p "$pid" "func:$1"
	want_like "func:$1" "*$2*" "$out"
}
export PROBEPOINT_UPROBE_ANSWER=ENXIO # a kernel that replaces 5-byte nops, whatever this one does
refused begins_with_nop5 '5-byte nop'
refused begins_with_int3 'is a trap already'
refused begins_with_ud2 'is a trap already'
refused no_such_function "nothing matches 'func:no_such_function'"
expect 3 probe-enable -s "$S" -p "$pid" func:plain func:begins_with_nop5
unset PROBEPOINT_UPROBE_ANSWER
expect 0 probe-disable -s "$S"
want "sessions left" "" "$(probe-list --sessions 2>/dev/null | grep -w "$S")"
echo -n x >&$go
exec {go}>&-
wait "$pid" || fail "the target died"
want "its own result" 34800 "$(cat "$T/out")"
