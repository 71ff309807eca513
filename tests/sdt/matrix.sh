#!/bin/bash
# SPDX-License-Identifier: MIT
# Every macro compiles with every kind of argument, in every language standard, without a warning.
. tests/sdt/lib.sh

n=0
# standards ALL SHORT: prints the standards for the long or short form of the test.
standards() { if [ "${PROBEPOINT_LONG-}" ]; then echo "$1"; else echo "$2"; fi; }
one() {
	try "a warning or error" "$@" $WARN -Iinclude -c $D/kinds.c -o "$T/kinds.o" && n=$((n + 1))
}

for o in -O0 -O2; do
	for cc in $(compilers gcc gcc-11 clang); do
		case ${PROBEPOINT_LONG-}$cc$o in gcc-11-O0) continue ;; esac
		for std in $(standards "c89 gnu89 iso9899:199409 c99 gnu99 c11 c17 gnu17 c2x" "c89 iso9899:199409 c99 gnu17 c2x"); do
			one "$cc" $o -std=$std
		done
		one "$cc" $o -std=gnu17 -D_SDT_HAS_SEMAPHORES -DSDT_NO_LINK_ORDER
		one "$cc" $o -std=c11 -DSDT_USE_VARIADIC -fPIC
		one "$cc" $o -std=c11 -DSTAP_SDT_ARG_CONSTRAINT=g -fsanitize=address,undefined
	done
	for cc in $(compilers g++ g++-11 clang++); do
		case ${PROBEPOINT_LONG-}$cc$o in g++-11-O0) continue ;; esac
		useless=-Wuseless-cast
		[ "$cc" = clang++ ] && useless=
		for std in $(standards "c++98 gnu++98 c++11 c++14 c++17 c++20 c++2b gnu++17" "c++98 c++11 gnu++17 c++2b"); do
			one "$cc" $o -x c++ -std=$std -Wold-style-cast $useless
		done
		one "$cc" $o -x c++ -std=c++17 -D_SDT_HAS_SEMAPHORES -DSDT_NO_LINK_ORDER
		one "$cc" $o -x c++ -std=c++11 -DSDT_USE_VARIADIC -fPIC
	done
done
have clang || echo "not tested: clang"
have gcc-11 || echo "not tested: gcc-11"
echo "$n clean"
exit $failed
