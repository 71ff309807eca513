#!/bin/bash
# SPDX-License-Identifier: MIT
# first
# GCC 11: the plugin builds for it without a warning, and passes the tests that the plugin for GCC 12 passes.
. tests/plugin/lib.sh
need gcc-11 g++-11 make
[ -f "$(gcc-11 -print-file-name=plugin)/include/gcc-plugin.h" ] || skip "needs gcc-11-plugin-dev"
# The short form optimizes less, which takes less time.
[ "${PROBEPOINT_LONG-}" ] && flags="-O2 -g" fewer=$slow || flags=-O1 fewer=4
make -s -j2 O="$T/b" PLUGIN_CXXFLAGS="$flags" PLUGIN_CC=gcc-11 PLUGIN_CXX=g++-11 "$T/b/lib/probepoint.so" >"$T/log" 2>&1 || { cat "$T/log"; fail "does not build"; }
grep -Ei 'warning|error' "$T/log" && fail "builds with warnings"
ln -s "$B/bin" "$T/b/bin"
mkdir -p "$B/tests/source" "$B/lua/src" "$T/b/tests" "$T/b/lua"
ln -s "$B/tests/source" "$T/b/tests/source"
ln -s "$B/lua/src" "$T/b/lua/src"

# `make check-gcc` runs all tests with each GCC.
tests=values
[ "${PROBEPOINT_LONG-}" ] && tests="choose tail unwind values declared link memory same types usage traced csmith lua many"
for name in $tests; do
	B=$T/b PLUGIN_CC=gcc-11 PLUGIN_CXX=g++-11 COUNT=2 PROBEPOINT_SLOW=$fewer COMPARE= PROBEPOINT_LONG= bash "tests/plugin/$name.sh" >"$T/log" 2>&1
	case $? in
	0) ;;
	77) part_skipped "$name: $(tail -n 1 "$T/log")" ;;
	*) tail -n 20 "$T/log"; fail "plugin/$name" ;;
	esac
done
# A plugin refuses another GCC than it was built for.
cd "$T" && echo 'int f(void) { return 0; }' >a.c
LC_ALL=C "$GCC" -fplugin="$T/b/lib/probepoint.so" '-fplugin-arg-probepoint-functions=*' -c a.c >log 2>&1 && fail "another GCC loads it"
grep -q "built for GCC 11" log || { cat log; fail "does not say which GCC it was built for"; }
