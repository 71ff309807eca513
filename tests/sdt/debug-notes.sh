#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Notes that only the debug file has, as after llvm-strip: they are found by build-id and by debuglink, and can be armed.
. tests/lib.sh
need gcc objcopy
cat >"$T/p.c" <<'E'
#include <stdio.h>
#include <sys/sdt.h>
__attribute__((noinline)) static void f(int n) { STAP_PROBE1(p, hit, n); }
int main(void) { for (int i = 0; i < 100; i++) f(i); return getchar() == 'x'; }
E
include=$PWD/include
gcc -O2 -g -I"$include" "$T/p.c" -o "$T/p" || fail "p does not build"
cd "$T" || exit 1
# rows FILE: prints its probes and sites.
rows() { probe-list -q --sites "$1" 2>/dev/null; }
[[ $(rows p) == *p:hit* ]] || fail "no probe: $(rows p)"
objcopy --only-keep-debug p p.debug || fail "no debug file"
objcopy --strip-all --remove-section=.note.stapsdt --remove-section=.note.probepoint p bare || fail "cannot strip"
want "probes without a debug file" "" "$(rows bare)"

objcopy --add-gnu-debuglink=p.debug bare linked
want "probes by debuglink" "$(rows p)" "$(rows linked)"
want "one of them by a pattern" "$(probe-list -q p -m 'p:h*')" "$(probe-list -q linked -m 'p:h*')"
if command -v llvm-strip >/dev/null; then
	llvm-strip -o stripped p && objcopy --add-gnu-debuglink=p.debug stripped
	want "probes after llvm-strip" "$(rows p)" "$(rows stripped)"
else
	part_skipped "llvm-strip is missing"
fi
# The debug file of another program has another checksum, and is not used.
sed 's/p, hit/p, other/' p.c >q.c && gcc -O2 -g -I"$include" q.c -o q && objcopy --only-keep-debug q p.debug
want "probes by the debug file of another program" "" "$(rows linked)"
objcopy --only-keep-debug p p.debug

if [ "$(id -u)" != 0 ]; then
	part_skipped "arming needs root"
	exit 0
fi
S=t$$
at_end "probe-disable -q -s $S 2>/dev/null"
probe-enable -s $S p:hit -- ./linked </dev/null >out 2>&1 || fail "not armed: $(cat out)"
want "hits" 100 "$(probe-stat -s $S --json | json '.probes[0].hits')"
