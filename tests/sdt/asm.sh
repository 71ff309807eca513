#!/bin/bash
# SPDX-License-Identifier: MIT
# Probes in assembler files and asm statements, and the sites and notes of other CPUs.
. tests/sdt/lib.sh

expected='asm plain 8@%rdi 4@8(%rsp)
asm raw -4@%REG 8@%REG 8@%rsp
asm second -4@$1
asm values 8@WHERE -8@WHERE -2@$7
assembler memory -4@4(%rsp,%rdi,2)
assembler none
assembler three 8@%rdi -4@%esi 4@$7
assembler twelve 1@%al 2@%ax 4@%eax 8@%rax 1@%bl 2@%bx 4@%ebx 8@%rbx 1@%cl 2@%cx 4@%ecx 8@%rcx'

operands() {
	notes "$1" | awk '{ $3 = $4 = $5 = ""; print }' | tr -s ' ' | sed -E '/^asm raw/s/@%e?[a-z0-9]+ 8@%[a-z0-9]+/@%REG 8@%REG/
		/^asm values/s/ 8@[^ ]+ -8@[^ ]+/ 8@WHERE -8@WHERE/' | sed 's/ *$//' | sort -u
}

for cc in $(compilers gcc gcc-11 clang); do
	for flags in "-O0 -std=c99" "-O2 -std=gnu17" "-O2 -fPIC -fPIE -DSDT_NO_LINK_ORDER"; do
		try "$cc $flags" $cc $flags -Wall -Wextra -Werror -Iinclude $D/asm.c $D/asm.S -o "$T/asm" || continue
		"$T/asm" || wrong "$cc $flags: wrong result"
		[ "$(operands "$T/asm")" = "$expected" ] || { wrong "$cc $flags: notes"; diff <(echo "$expected") <(operands "$T/asm"); }
	done
	try "$cc semaphores" $cc -DSEMAPHORES -Iinclude -Wl,--gc-sections $D/asm.c $D/asm.S -o "$T/asm" && {
		at=$(nm "$T/asm" | awk '$3 == "assembler_three_semaphore" { print $1 }')
		[ -n "$at" ] && notes "$T/asm" | grep -q "^assembler three [^ ]* [^ ]* 0x$at " || wrong "$cc: semaphore in assembler"
	}
done

# SystemTap's header makes the same of it.
if gcc -O2 $D/asm.c $D/asm.S -o "$T/theirs" 2>/dev/null; then
	[ "$(operands "$T/theirs")" = "$expected" ] || { wrong "SystemTap's differs"; diff <(echo "$expected") <(operands "$T/theirs"); }
fi

# cpu WHAT SITE ADDRESS COMMAND...: checks the site's code and the size of a note's address.
cat >"$T/cpu.c" <<'EOF'
#include <sys/sdt.h>
int probed(int a, const char *b, char c, long long d);
int probed(int a, const char *b, char c, long long d)
{
	STAP_PROBE4(cpu, four, a, b, c, d);
	STAP_PROBE(cpu, none);
	return a;
}
EOF
cpu() {
	local what=$1 site=$2 size=$3
	shift 3
	for o in -O0 -O2; do
		try "$what" "$@" $o $WARN -std=c89 -Wno-long-long -Iinclude -c "$T/cpu.c" -o "$T/cpu.o" || continue
		sizes "$T/cpu.o" >"$T/sizes"
		grep -Eqx "cpu four -4 $size -?1 -8" "$T/sizes" || wrong "$what $o: $(cat "$T/sizes")"
		at=$(readelf -nW "$T/cpu.o" | grep -c 'NT_STAPSDT')
		[ "$at" -eq 2 ] || wrong "$what $o: $at notes"
		readelf -x .text "$T/cpu.o" | awk '/^ *0x/ { print $2 $3 $4 $5 }' | cut -c1-32 | tr -d '\n' | grep -q "$site" ||
			wrong "$what $o: no $site in its code"
	done
}

cpu x86-64 90662e0f1f840000000000 8 gcc
cpu i386 90 4 gcc -m32
have gcc-11 && cpu "x32, gcc 11" 90662e0f1f840000000000 4 gcc-11 -mx32
if have clang; then
	cpu "i386, clang" 90 4 clang -m32 -ffreestanding
	cpu aarch64 1f2003d5 8 clang --target=aarch64-linux-gnu
	cpu arm "00f020e3\|0000a0e1" 4 clang --target=armv7-linux-gnueabihf
	cpu ppc64le 00000060 8 clang --target=powerpc64le-linux-gnu
	cpu riscv64 "13000000\|0100" 8 clang --target=riscv64-linux-gnu
else
	echo "not tested: other CPUs (clang is not here)"
fi
exit $failed
