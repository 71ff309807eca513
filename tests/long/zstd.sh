#!/bin/bash
# SPDX-License-Identifier: MIT
# zstd with probes in every function builds and passes its own tests.
. tests/plugin/lib.sh
need readelf make
debian_source libzstd
COMPARE= # no comparison of code: the time goes to the package's own tests
probed '*'
cp -r "$source/." "$T/src"
cd "$T/src" || exit 1
flags="-O2 -w ${with[*]}"
make -s -j2 -C programs CC="$GCC" CFLAGS="$flags" zstd >"$T/log" 2>&1 &&
	make -s -j2 -C tests CC="$GCC" CFLAGS="$flags" datagen fuzzer zstreamtest >>"$T/log" 2>&1 ||
	{ tail -n 20 "$T/log"; fail "does not build"; }
seed=${SEED:-$RANDOM}
echo "seed $seed"
tests/fuzzer -s$seed -T60s >"$T/log" 2>&1 || { status=$?; tail -n 5 "$T/log"; fail "fuzzer ended with $status"; }
tests/zstreamtest -s$seed -T60s >"$T/log" 2>&1 || { status=$?; tail -n 5 "$T/log"; fail "zstreamtest ended with $status"; }
(cd tests && ZSTD_BIN=../programs/zstd DATAGEN_BIN=./datagen bash ./playTests.sh) >"$T/log" 2>&1 </dev/null ||
	{ status=$?; tail -n 20 "$T/log"; fail "playTests.sh ended with $status"; }
unknown_operands programs/zstd && fail "it has operands that not all readers know"
n=$(sites programs/zstd | wc -l)
echo "$n sites of $(names programs/zstd | grep -c __entry) functions"
[ "$n" -gt 3000 ] || fail "only $n sites"
