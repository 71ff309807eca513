#!/bin/bash
# SPDX-License-Identifier: MIT
# Semaphores as programs use them: dtrace -h and -G process a provider description, the program tests ENABLED(), and gdb
# raises the semaphore while its breakpoint is set.
. tests/sdt/lib.sh
need dtrace gdb

cat >"$T/shop.d" <<'E'
provider shop {
	probe order(int, char *);
	probe stock__low(long);
	probe never();
};
E
cat >"$T/shop.c" <<'E'
#include <signal.h>
#include <stdio.h>
#include "shop.h"

static void handler(int number)
{
	if (SHOP_STOCK_LOW_ENABLED())
		puts("stock watched");
	SHOP_STOCK_LOW((long)number);
}

int main(void)
{
	char seven[] = "seven";

	printf("orders %s\n", SHOP_ORDER_ENABLED() ? "watched" : "not watched");
	fflush(stdout);
	SHOP_ORDER(7, seven);
	puts(seven);
	signal(SIGUSR1, handler);
	raise(SIGUSR1);
	return 0;
}
E
cat >"$T/gdb" <<'E'
set pagination off
handle SIGUSR1 nostop noprint pass
break -probe-stap shop:order
commands
silent
printf "order %d %s\n", $_probe_arg0, (char *)$_probe_arg1
continue
end
break -probe-stap shop:stock__low
commands
silent
printf "stock %ld\n", $_probe_arg0
continue
end
run
E
dtrace -h -s "$T/shop.d" -o "$T/shop.h" || wrong "dtrace -h"
(cd "$T" && dtrace -G -s shop.d -o shop.o) >"$T/log" 2>&1 || wrong "dtrace -G: $(head -n 1 "$T/log")"
gc="-ffunction-sections -fdata-sections -Wl,--gc-sections"
n=0
for cc in $(compilers gcc clang g++ clang++); do
	for flags in "-O0" "-O2 $gc" "-O2 -flto" "-O2 -static" "-O2 -fuse-ld=lld $gc" "-O2 -fPIC"; do
		# The short form has each set with two compilers at least.
		case ${PROBEPOINT_LONG-}$cc:$flags in
		1* | g*:-O0 | *:*flto | gcc:*lld* | clang++:*lld* | g++:"-O2 $gc" | clang:"-O2 $gc" | gcc:*static | clang:*static | g++:*fPIC | clang++:*fPIC) ;;
		*) continue ;;
		esac
		case $cc:$flags in
		clang*flto*) flags+=" -fuse-ld=lld" ;;
		esac
		[[ $flags == *lld* ]] && ! have ld.lld && continue
		language=c
		[[ $cc == *++ ]] && language=c++
		try "$cc $flags" $cc $flags -Iinclude -I"$T" -x $language "$T/shop.c" -x none "$T/shop.o" -o "$T/shop" || continue
		out=$("$T/shop" | paste -sd,)
		[ "$out" = "orders not watched,seven" ] || wrong "$cc $flags: $out"
		out=$(gdb -nx -batch -x "$T/gdb" "$T/shop" 2>&1 </dev/null | grep -E '^(orders|order|stock) ' | sort | paste -sd,)
		[ "$out" = "order 7 seven,orders watched,stock 10,stock watched" ] || wrong "$cc $flags: gdb: $out"
		for name in order stock__low; do
			address=$(nm "$T/shop" | awk -v s="shop_${name}_semaphore" '$3 == s { print $1 }')
			notes "$T/shop" | grep -q "^shop $name [^ ]* [^ ]* 0x${address:-none} " || wrong "$cc $flags: semaphore of $name"
		done
		n=$((n + 1))
	done
done
echo "$n programs"
exit $failed
