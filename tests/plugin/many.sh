#!/bin/bash
# SPDX-License-Identifier: MIT
# The assembler executes twice as many instructions for 50,000 sites in one file as for 25,000. The short form has 4,000
# and 2,000 sites.
. tests/plugin/lib.sh
need readelf valgrind as
probed '*'
many() {
	for ((i = 0; i < $1; i++)); do echo "int f$i(int a, const char *b, long c) { (void)b; return a + $i + (int)c; }"; done >"$T/many.c"
	$GCC -O1 -S "${with[@]}" "$T/many.c" -o "$T/many.s" || fail "$1 functions do not compile"
	count=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null as "$T/many.s" -o "$T/many.o" 2>&1 | awk '/Collected/ { print $4 }')
	want "sites of $1 functions" $((2 * $1)) "$(readelf -nW "$T/many.o" 2>/dev/null | grep -c Provider)"
}
functions=1000
[ -z "${PROBEPOINT_LONG-}" ] || functions=12500
many $functions
half=$count
many $((2 * functions))
echo "instructions of the assembler: $half for $((2 * functions)) sites, $count for $((4 * functions)): 0.01 x $((count / (half / 100)))"
[ "$half" -gt $((8000 * functions)) ] || fail "the instructions of as were not counted"
[ $((count / (half / 100))) -le 220 ] || fail "the cost grows faster than the number of sites"
