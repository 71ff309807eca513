#!/bin/bash
# SPDX-License-Identifier: MIT
# A command in which one allocation fails ends with an error or does what it was asked for. It does not crash, and does
# not arm code that the target has changed.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
[ -z "$SAN" ] || skip "the sanitizers have allocators of their own"
build_hits
build_once "$T/patched" "$CC" -O1 -Iinclude tests/kernel/patched.c || fail "tests/kernel/patched.c does not build"
build_once "$T/no-memory.so" "$CC" -O1 -shared -fPIC tests/cmd/no-memory.c || fail "tests/cmd/no-memory.c does not build"
at_end "probe-disable -q -s $S 2>/dev/null; probe-disable -q -s ${S}b 2>/dev/null"

preloaded() { LD_PRELOAD="$T/no-memory.so" "$@" >"$T/stdout" 2>"$T/stderr"; }
echo "SEED=${SEED:=$RANDOM}"
every=$((3 * slow))
[ -z "${PROBEPOINT_LONG-}" ] || every=$slow
# each COMMAND...: runs it once for every third allocation (PROBEPOINT_LONG: each; PROBEPOINT_SLOW=N: N times fewer), which
# fails; SEED chooses the first. Calls `before` before it, and `after` after it.
each() {
	local most
	before
	preloaded "$@"
	rc=$?
	most=$(tail -n 1 "$T/stderr")
	n=none
	after
	[ "$most" -gt 100 ] || fail "$*: only '$most' allocations"
	for ((n = 1 + SEED % every; n <= most; n += every)); do
		before
		FAIL_AT=$n preloaded "$@"
		rc=$?
		[ $rc -lt 125 ] || fail "allocation $n of $*: exit status $rc: $(cat "$T/stderr")"
		after
	done
}

start a
expect 0 probe-enable -q -s "$S" -p "$a" k:one
before() { :; }
after() { :; }
each probe-stat --json -s "$S"
each probe-list --json --sessions
before() { expect 0 probe-enable -q -s "${S}b" -p "$a" k:two; }
each probe-disable --json -s "${S}b"
expect 0 probe-disable -s "$S"
stop a

# a process with a jump of its own
converse "$T/patched"
ask hook
ask bytes
bytes=$answer
before() { :; }
after() {
	[ $rc != 0 ] || fail "allocation $n: the changed code is armed"
	ask bytes
	want "allocation $n: the code" "$bytes" "$answer"
	ask "call 1"
}
each probe-enable -s "$S" -p "$pid" func:victim
