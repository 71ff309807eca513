#!/bin/bash
# SPDX-License-Identifier: MIT
# Crypto++, 150,000 lines of C++ with probes in every function, builds and passes its own tests.
. tests/plugin/lib.sh
need readelf make
debian_source libcrypto++
COMPARE= # no comparison of code: the time goes to the package's own tests
probed '*'
cp -r "$source/." "$T/src"
cd "$T/src" || exit 1
# Without -fno-devirtualize GCC removes code that Crypto++ needs, and its validation crashes with and without the plugin
# (Crypto++ issues 1134 and 1141). Its makefile adds the option, but CXXFLAGS on make's command line removes it.
flags="-O2 -DNDEBUG -fPIC -pthread -fno-devirtualize -w ${with[*]}"
make -s -f GNUmakefile -j2 CXX="$GXX" CXXFLAGS="$flags" cryptest >"$T/log" 2>&1 ||
	{ tail -n 20 "$T/log"; fail "does not build"; }
./cryptest v >"$T/v" 2>&1 || { status=$?; tail -n 5 "$T/v"; fail "validation ended with $status"; }
grep -qi 'all tests passed' "$T/v" || { tail -n 5 "$T/v"; fail "validation did not pass"; }
./cryptest tv all >"$T/tv" 2>&1 || { status=$?; tail -n 20 "$T/tv"; fail "test vectors ended with $status"; }
unknown_operands cryptest && fail "it has operands that not all readers know"
n=$(sites cryptest | wc -l)
echo "$n sites of $(names cryptest | grep -c __entry) functions, $(names cryptest | grep -c __unwind) with unwinding"
[ "$n" -gt 50000 ] || fail "only $n sites"
probe-list -q cryptest >/dev/null || fail "probe-list: $?"
