#!/bin/bash
# SPDX-License-Identifier: MIT
# Declared probes by macros alone: types are checked, each probe has one semaphore, sites know their arguments' names.
. tests/sdt/lib.sh

# ---- compiles everywhere -------------------------------------------------------

n=0
for o in -O0 -O2; do
	for cc in $(compilers gcc gcc-11 clang); do
		for std in c99 gnu99 c11 gnu17 c2x; do
			try "a warning" "$cc" $o -std=$std $WARN -Iinclude -DPART=1 -c $D/shop.c -o "$T/1.o" && n=$((n + 1))
		done
	done
	for cc in $(compilers g++ g++-11 clang++); do
		for std in c++11 c++17 c++2b; do
			try "a warning" "$cc" $o -x c++ -std=$std $WARN -Wold-style-cast -Iinclude -DPART=1 -c $D/shop.c -o "$T/1.o" &&
				n=$((n + 1))
		done
		try "a warning" "$cc" $o -x c++ -std=gnu++98 -DSDT_USE_VARIADIC -Wall -Wextra -Werror -Iinclude -DPART=1 -c \
			$D/shop.c -o "$T/1.o" && n=$((n + 1))
	done
done
echo "$n clean"

# ---- linked, seen, and hit -----------------------------------------------------

cat >"$T/key.c" <<'E'
#include <inttypes.h>
#include <stdio.h>
#include <probepoint-note.h>
int main(int argc, char **argv)
{
	uint64_t key = ppn_key(argv[1], argv[argc - 1]);
	for (int i = 0; i < 8; i++)
		printf("%02x", (unsigned)(key >> 8 * i & 255));
}
E
try key gcc -Iinclude "$T/key.c" -o "$T/key"

# signature WHAT BINARY NAME ARGUMENT...: there is one note of this key, and it says so.
signature() {
	local what=$1 binary=$2 name=$3 key strings
	shift 3
	key=$("$T/key" shop "$name")
	readelf -x .note.probepoint "$binary" | sed -n 's/^ *0x[0-9a-f]* \(.\{35\}\).*/\1/p' | tr -d ' \n' >"$T/hex"
	[ "$(grep -o "70706e00$key" "$T/hex" | wc -l)" -eq 1 ] || { wrong "$what: signature of $name by its key"; return; }
	# behind the key: line, kind 0, number of arguments, flags; file, no function, the arguments
	strings=$(sed "s/.*70706e00$key//" "$T/hex" | cut -c17-2000 | sed 's/../& /g; s/00 /0a /g; s/\(..\) /\\x\1/g')
	strings=$(printf "$strings" | head -n $(($# + 2)))
	[ "$(sed -n '3,$p' <<<"$strings" | paste -sd' ')" = "${*/%/:}" ] ||
		wrong "$what: signature of $name says $(paste -sd' ' <<<"$strings")"
	[ "$(head -n 1 <<<"$strings")" = $D/shop.h ] || wrong "$what: $name is declared in $(head -n 1 <<<"$strings")"
}

cat >"$T/gdb" <<'E'
set pagination off
break -probe-stap shop:order
commands
silent
printf "order %d %s %d\n", $_probe_arg0, (char *)$_probe_arg1, $_probe_arg2
continue
end
break -probe-stap shop:kinds
commands
silent
printf "kinds %d %d %d %d %d %d %d %s %lx\n", $_probe_arg0, $_probe_arg1, $_probe_arg2, $_probe_arg3, $_probe_arg4, $_probe_arg5, *(int *)$_probe_arg6, (char *)$_probe_arg7, $_probe_arg8
continue
end
break -probe-stap shop:twelve
commands
silent
printf "twelve %ld %ld %ld\n", $_probe_arg0, $_probe_arg6, $_probe_arg11
continue
end
break -probe-stap shop:some
commands
silent
printf "some %lu %d\n", $_probe_arg0, $_probe_argc
continue
end
run
printf "status %d\n", $_exitcode
E
sed -n 's/^ *\/\* = \(.*\) \*\/$/\1/p' $D/shop.h | sort -u >"$T/signatures"
[ "$(wc -l <"$T/signatures")" -ge 5 ] || wrong "shop.h expects nothing"

# whole WHAT BINARY: with all of the above.
whole() {
	local what=$1 binary=$2 args got
	"$binary" || wrong "$what: status $? when nobody watches"
	while read -r name args; do
		signature "$what" "$binary" "$name" $args
	done <"$T/signatures"
	[ "$(nm "$binary" | grep -c ' shop_order_semaphore$')" -eq 1 ] || wrong "$what: one semaphore of order"
	nm "$binary" | grep -q shop_never_called && wrong "$what: a probe that is never called leaves something"
	[ "$(notes "$binary" | awk '$2 == "order" { print $5 }' | sort -u | wc -l)" -eq 1 ] || wrong "$what: semaphores of order"
	notes "$binary" | awk '$5 ~ /^0x0+$/' | grep -q . && wrong "$what: a site without a semaphore"
	if have gdb; then
		got=$(gdb -nx -batch -x "$T/gdb" "$binary" 2>&1 </dev/null | grep -E '^(order|kinds|some|twelve|status) ' | paste -sd,)
		[ "$got" = "order 0 part one 8,order 1 part one 8,order 2 part one 8,order 7 part two 8,kinds 97 1 -3 200 -5 9 5 h 4004000000000000,some 12345678901 1,twelve 1 7 12,status 50" ] ||
			wrong "$what: gdb: $got"
	fi
}

gc="-ffunction-sections -fdata-sections -Wl,--gc-sections"
n=0
for cc in $(compilers gcc clang g++ clang++); do
	for flags in -O0 "-O2 $gc" "-O2 -fuse-ld=lld $gc" "-O2 -fuse-ld=lld" "-O1 -fPIC" "-O2 -static" "-O2 -flto"; do
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

# ---- what it costs -------------------------------------------------------------

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
	for cc in $(compilers gcc clang); do
		for p in -DPROBED -UPROBED; do
			try loop $cc -O2 $p -Iinclude "$T/loop.c" -o "$T/loop$p"
			valgrind --tool=callgrind --toggle-collect=loop --callgrind-out-file=/dev/null "$T/loop$p" 2>&1 |
				awk '/Collected/ { print $4 }' >"$T/count$p"
		done
		cost=$((($(cat "$T/count-DPROBED") - $(cat "$T/count-UPROBED")) / 1000))
		echo "$cc: a declared probe that nobody watches costs 0.01 x $cost instructions"
		[ "$cost" -le 300 ] || wrong "$cc: more than the load, the test and the jump"
	done
else
	echo "not tested: cost (valgrind is not here)"
fi

# ---- misuse --------------------------------------------------------------------

# refused WORDS LINE: this line, in a function behind two declarations, does not compile, and for this reason.
refused() {
	local c
	for c in $(compilers gcc clang g++ clang++); do
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
