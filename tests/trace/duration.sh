#!/bin/bash
# SPDX-License-Identifier: MIT
# The durations of calls do not include the traps that measure them.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
"$CC" -O1 tests/trace/calls.c -o "$T/calls" || fail "no target"

# least PROBE ARGUMENT...: the duration of the fastest call. The others are disturbed by what else runs here.
least() {
	probe-trace -q --json "${@:2}" -- "$T/calls" >"$T/out" 2>"$T/err" || fail "$(cat "$T/err" "$T/out")"
	grep '^{' "$T/out" | jq -s "[.[] | select(.probe == \"$1\") | .args.duration] | min"
}
# measure: measures once, and sets $wrong to what is wrong.
measure() {
	expect 0 probe-enable -q -s "$S" func:quick%return -f "$T/calls"
	traps=$(probe-stat -v -q --json -s "$S" | jq '.cost.call_ns | floor')
	probe-disable -q -s "$S"
	[ "$traps" -gt 0 ] || fail "the traps were not measured"
	"$T/calls" >"$T/untraced"
	quick=$(least 'func:quick%return' 'func:quick%return')
	outer=$(least 'func:outer%return' 'func:outer%return' 'func:quick%return')
	spin=$(least 'func:spin%return' 'func:spin%return')
	"$T/calls" >>"$T/untraced" # twice, because what else runs here may slow one of them down
	truth=$(sort -n "$T/untraced" | head -n 1)
	echo "traps $traps ns, an empty call $quick ns, ten of them in a call $outer ns, a loop of $truth ns $spin ns"
	wrong=
	# A third of the traps may remain in a call, and of the traps of calls in it.
	[ "$quick" -ge 1 ] && [ "$quick" -lt $((traps / 3 + 500)) ] || wrong+="an empty call takes $quick ns; "
	[ "$outer" -lt $((10 * (traps * 2 / 3 + 2000))) ] || wrong+="ten traced empty calls take $outer ns; "
	[ "$spin" -gt $((truth * 7 / 10)) ] && [ "$spin" -lt $((truth * 3 + traps)) ] || wrong+="a loop of $truth ns takes $spin ns"
}
# The speed of a CPU that another thread shares changes between the measurements.
for try in 1 2 3; do
	measure
	[ "$wrong" ] || break
done
[ -z "$wrong" ] || fail "$wrong"

# ---- calls that began before their begin was armed: at most one for each thread, however long it takes to arm both ----
cat >"$T/loop.c" <<'E2'
#include <sys/sdt.h>
int main(void)
{
	for (;;) {
		STAP_PROBE(loop, begin);
		STAP_PROBE(loop, end);
	}
}
E2
"$CC" -O1 -Iinclude "$T/loop.c" -o "$T/loop" || fail "no loop"
"$T/loop" &
runs $! "$T/loop"
at_end "probe-disable -q -s $S"
expect 0 probe-enable -q -b kernel -s "$S" -p $! --latency loop:begin loop:end
until [ "$(probe-stat --json -s "$S" | jq '.probes[0].hits')" -gt 0 ]; do sleep 0.05; done
expect 0 probe-stat --json -s "$S"
want "at most one unmatched end" "true" "$(json '.probes[0].unmatched <= 1' <<<"$out")"
