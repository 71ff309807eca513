#!/bin/bash
# SPDX-License-Identifier: MIT
# An instruction that the kernel cannot step over is refused before a process maps it, too: a program that starts later would have no
# hits. The kernel's answer for a process that runs is the truth.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
[ "$(uname -m)" = x86_64 ] || skip "the instructions are of x86-64"

instructions=('lock addq $1, 8(%rsp)' 'lock; orl $0, (%rsp)' 'xchg %rax, 8(%rsp)' 'mfence' 'sfence' 'lfence' 'rdtscp' 'rdtsc' 'xgetbv'
	'syscall' 'cpuid' 'pause' 'movq %fs:0, %rax' 'movq %ds:8(%rsp), %rax' 'movq %cs:8(%rsp), %rax' '.byte 0x3e; jmp *%rax' 'movaps %xmm0, %xmm1'
	'rep stosb' 'rep ret' 'ud1 %eax, %eax' 'addl $1, 8(%rsp)' 'cmpxchg %rcx, 8(%rsp)' 'lock cmpxchg %rcx, 8(%rsp)' 'popcnt %rax, %rcx' 'pushfq'
	'nopw 8(%rax)' 'stmxcsr 8(%rsp)' 'outsb' 'vaddps %ymm0, %ymm1, %ymm2' 'crc32b %al, %ecx'
	'movntq %mm0, 8(%rsp)' 'prefetcht0 8(%rsp)' 'repz cmpsb' 'bswap %rax' 'leaq 8(%rip), %rax')
{
	echo '#include <unistd.h>'
	for i in "${!instructions[@]}"; do
		echo "__asm__(\".globl it$i; .type it$i, @function; it$i: ${instructions[i]}; ret; .size it$i, . - it$i\");"
	done
	echo 'int main(void) { char c; write(1, "ready\n", 6); return read(0, &c, 1); }'
} >"$T/steps.c"
"$CC" -O1 "$T/steps.c" -o "$T/steps" 2>"$T/log" || fail "does not build: $(cat "$T/log")"
mkfifo "$T/in"
"$T/steps" <"$T/in" >"$T/out" &
pid=$!
exec {in}>"$T/in"
wait_for 20 grep -q ready "$T/out"
# answers NAME ARGUMENT...: writes each instruction and whether it is refused.
answers() {
	local i
	for i in "${!instructions[@]}"; do
		probe-enable -q -s $S -b kernel "${@:2}" "func:it$i" >"$T/log" 2>&1 && echo "armed ${instructions[i]}" || echo "refused ${instructions[i]}"
		probe-disable -q -s $S 2>/dev/null
	done >"$T/$1"
}
answers process -p $pid
answers file -f "$T/steps"
echo >&$in
wait $pid
kill -0 $pid 2>/dev/null && fail "the program runs"
cp "$T/steps" "$T/other" # which no process maps
answers later -f "$T/other"
want "in a file that no process maps, as in a process" "" "$(diff "$T/process" "$T/later")"
want "in a file that a process maps, as in a process" "" "$(diff "$T/process" "$T/file")"
grep -q '^refused' "$T/process" && grep -q '^armed' "$T/process" || fail "all are equal: $(cat "$T/process")"
