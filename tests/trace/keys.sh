#!/bin/bash
# SPDX-License-Identifier: MIT
# The key of a call is a string at both of its ends or at neither. The types of the arguments decide this, or --string and --no-string.
. tests/lib.sh
AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"

cat >"$T/keys.c" <<'C'
#include <sys/probe.h>
#include <sys/sdt.h>
PROBE_DECLARE(keys, typed, (const char *name), (name));
PROBE_DECLARE(keys, other, (const void *name), (name));
char here[] = "name", there[] = "name";
int main(void)
{
	for (int i = 0; i < 3; i++) {
		STAP_PROBE1(keys, begin, (char *)here);
		STAP_PROBE1(keys, end, (char *)there);
		typed(here);
		other(there);
	}
	return 0;
}
C
"$CC" -O2 -Iinclude "$T/keys.c" -o "$T/keys" || fail "keys.c does not build"
# ends ARGUMENT...: the number of calls that end
ends() { probe-trace -q -b agent --json "$@" -- "$T/keys" | wc -l; }
want "a string without a type" 3 "$(ends --latency keys:begin keys:end --on arg0 --string arg0)"
want "an address without a type" 0 "$(ends --latency keys:begin keys:end --on arg0)"
want "a string with and without a type" 3 "$(ends --latency keys:typed keys:other --on name --string name)"
want "addresses" 0 "$(ends --latency keys:typed keys:other --on name --no-string name)"
expect 125 probe-trace -b agent --latency keys:typed keys:other --on name -- "$T/keys"
want_like "a string at the begin only" "*the key 'name' is a string at its begin only; use --string or --no-string*" "$out"
