#!/bin/bash
# SPDX-License-Identifier: MIT
# Declared probes without the plugin: types are checked, each probe has one semaphore, notes have the arguments' names.
. tests/sdt/lib.sh

# ---- compiles everywhere -------------------------------------------------------

n=0
for o in -O0 -O2; do
	for cc in $(compilers gcc gcc-11 clang); do
		for std in c99 gnu99 c11 gnu17 c2x; do
			case ${PROBEPOINT_LONG-}$o$std in 1* | -O0c99 | -O2gnu17 | -O2c2x) ;; *) continue ;; esac
			try "a warning" "$cc" $o -std=$std $WARN -Iinclude -DPART=1 -c $D/shop.c -o "$T/1.o" && n=$((n + 1))
		done
	done
	for cc in $(compilers g++ g++-11 clang++); do
		for std in c++11 c++17 c++2b; do
			case ${PROBEPOINT_LONG-}$o$std in 1* | -O0c++11 | -O2c++2b) ;; *) continue ;; esac
			try "a warning" "$cc" $o -x c++ -std=$std $WARN -Wold-style-cast -Iinclude -DPART=1 -c $D/shop.c -o "$T/1.o" &&
				n=$((n + 1))
		done
		try "a warning" "$cc" $o -x c++ -std=gnu++98 -DSDT_USE_VARIADIC -Wall -Wextra -Werror -Iinclude -DPART=1 -c \
			$D/shop.c -o "$T/1.o" && n=$((n + 1))
	done
done
echo "$n clean"

# ---- linked, listed, and hit ---------------------------------------------------

. tests/sdt/lib-declared.sh

gc="-ffunction-sections -fdata-sections -Wl,--gc-sections"
n=0
for cc in $(compilers gcc clang g++ clang++); do
	for flags in -O0 "-O2 $gc" "-O2 -fuse-ld=lld $gc" "-O2 -fuse-ld=lld" "-O1 -fPIC" "-O2 -static" "-O2 -flto"; do
		# The short form has most option sets for C, and the extreme ones for C++.
		case ${PROBEPOINT_LONG-}$cc:$flags in 1* | gcc:-O0 | clang++:-O0 | g++:*flto | clang:*flto | gcc:*gc-sections | clang:*-static | clang:*lld*) ;; *) continue ;; esac
		[[ $cc:$flags == clang*flto* ]] && flags+=" -fuse-ld=lld"
		[[ $flags == *lld* ]] && ! have ld.lld && continue
		language=c
		[[ $cc == *++ ]] && language=c++
		try "$cc $flags" $cc $flags -Iinclude -x $language -DPART=1 -c $D/shop.c -o "$T/1.o" &&
			try "$cc $flags" $cc $flags -Iinclude -x $language -DPART=2 -c $D/shop.c -o "$T/2.o" &&
			try "$cc $flags" $cc $flags "$T/1.o" "$T/2.o" -o "$T/shop" && whole "$cc $flags" "$T/shop" && n=$((n + 1))
	done
done
# C and C++, gcc and clang in one program
try both gcc -O2 -Iinclude -DPART=1 -c $D/shop.c -o "$T/1.o"
try both g++ -O2 -Iinclude -x c++ -DPART=2 -c $D/shop.c -o "$T/2.o"
try both g++ "$T/1.o" "$T/2.o" -o "$T/shop" && whole "C and C++" "$T/shop"
if have clang; then
	try both clang -O2 -Iinclude -DPART=2 -c $D/shop.c -o "$T/2.o"
	try both g++ "$T/1.o" "$T/2.o" -o "$T/shop" && whole "gcc and clang" "$T/shop"
fi
echo "$n programs"

# A library has a semaphore of its own.
try library gcc -O2 -Iinclude -DPART=2 -fPIC -shared $D/shop.c -o "$T/libother.so"
try program gcc -O2 -Iinclude -DPART=1 $D/shop.c -L"$T" -lother -Wl,-rpath,"$T" -o "$T/with"
"$T/with" || wrong "with a library: status $?"
for f in "$T/with" "$T/libother.so"; do
	at=$(nm "$f" | awk '$3 == "shop_order_semaphore" { print $1 }')
	notes "$f" | grep -q "^shop order [^ ]* [^ ]* 0x${at:-none} " || wrong "$f: its own semaphore"
done
nm -D "$T/libother.so" | grep -q semaphore && wrong "a library exports its semaphore"

# ---- cost ----------------------------------------------------------------------

cat >"$T/loop.c" <<'E'
#include <sys/probe.h>
PROBE_DECLARE(loop, turn, (unsigned long i, unsigned long seed), (i, seed));
#ifndef PROBED
#define turn(i, seed) (void)0
#endif
__attribute__((noinline)) unsigned long loop(unsigned long n, unsigned long seed);
unsigned long loop(unsigned long n, unsigned long seed)
{
	for (unsigned long i = 0; i < n; i++) {
		seed = seed * 6364136223846793005UL + i;
		__asm__ volatile("" : : "r"(i), "r"(seed));
		turn(i * seed, seed % 17);
	}
	return seed;
}
int main(void)
{
	return loop(100000, 1) == 0;
}
E
if have valgrind; then
	for cc in $(compilers gcc ${PROBEPOINT_LONG:+clang}); do
		for p in -DPROBED -UPROBED; do
			try loop $cc -O2 $p -Iinclude "$T/loop.c" -o "$T/loop$p"
			valgrind --tool=callgrind --toggle-collect=loop --callgrind-out-file=/dev/null "$T/loop$p" 2>&1 |
				awk '/Collected/ { print $4 }' >"$T/count$p"
		done
		cost=$((($(cat "$T/count-DPROBED") - $(cat "$T/count-UPROBED")) / 1000))
		echo "$cc: a declared probe that is not enabled costs 0.01 x $cost instructions"
		[ "$cost" -le 300 ] || wrong "$cc: more than the load, the test and the jump"
	done
else
	echo "not tested: cost (valgrind is not here)"
fi

# ---- misuse --------------------------------------------------------------------

# refused WORDS LINE: this line, in a function after two declarations, does not compile, for this reason.
refused() {
	local c
	for c in $(compilers gcc ${PROBEPOINT_LONG:+clang g++} clang++); do
		{
			echo '#include <sys/probe.h>'
			echo 'PROBE_DECLARE(server, start, (int fd, const char *path), (fd, path));'
			echo "$2"
		} >"$T/wrong.c"
		language=c
		[[ $c == *++ ]] && language=c++
		if $c -Wall -Wextra -Werror -Iinclude -c -x $language "$T/wrong.c" -o "$T/wrong.o" >"$T/log" 2>&1; then
			wrong "$c takes: $2"
		else
			grep -Eq "$1" "$T/log" || { wrong "$c does not say '$1' of: $2"; head -n 4 "$T/log"; }
		fi
	done
}

refused "incompatible|invalid conversion|makes pointer|no matching|cannot convert|no known conversion" 'void f(void) { start(1, 2); }'
refused "too few arguments|no matching function|requires 2 arguments" 'void f(void) { start(1); }'
refused "too many arguments|no matching function" 'void f(void) { start(1, "a", 3); }'
refused "server_nothing_semaphore" 'int f(void); int f(void) { return PROBE_ENABLED(server, nothing); }'
refused "fdd" 'PROBE_DECLARE(server, other, (int fd), (fdd));'
refused "unused parameter" 'PROBE_DECLARE(server, other, (int fd, int b), (fd));'
refused "no provider can be called func" 'PROBE_DECLARE(func, other, (int a), (a)); void f(void) { other(1); }'
refused "redefinition|redeclar|conflicting" 'PROBE_DECLARE(server, start, (int fd, const char *path), (fd, path));'
refused "__PROBE_COUNT|PROBE_DECLARE" 'PROBE_DECLARE(s, m, (int a), (a, a, a, a, a, a, a, a, a, a, a, a, a));'
exit $failed
