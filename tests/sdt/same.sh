#!/bin/bash
# SPDX-License-Identifier: MIT
# The same source has the same probes with SystemTap's header and with ours, with arguments of the same size and sign.
. tests/sdt/lib.sh

echo '#include <sys/sdt.h>' >"$T/there.c"
gcc -fsyntax-only "$T/there.c" 2>/dev/null || skip "SystemTap's sys/sdt.h is not installed"

n=0
same() {
	local flag
	for flag in -O0 -O2 -Os; do
		"$@" $flag -DSDT_USE_VARIADIC -c $D/kinds.c -o "$T/theirs.o" || { wrong "SystemTap's header: $* $flag"; return; }
		try ours "$@" $flag -DSDT_USE_VARIADIC -Iinclude -c $D/kinds.c -o "$T/ours.o" || return
		sizes "$T/theirs.o" | sort -u >"$T/theirs"
		sizes "$T/ours.o" | sort -u >"$T/ours"
		grep -q 'all v12 -4' "$T/ours" || wrong "$* $flag: a probe is missing"
		diff "$T/theirs" "$T/ours" >"$T/diff" || { wrong "$* $flag: theirs < > ours"; cat "$T/diff"; }
		n=$((n + $(wc -l <"$T/ours")))
	done
}

for cc in $(compilers gcc gcc-11 clang); do
	same "$cc" -std=gnu17 -DCOMMON_ONLY
done
for cc in $(compilers g++ g++-11 clang++); do
	same "$cc" -x c++ -std=gnu++98 -DCOMMON_ONLY
	same "$cc" -x c++ -std=gnu++17 -DCOMMON_ONLY
done
echo "$n probes alike"
exit $failed
