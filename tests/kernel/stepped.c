/* SPDX-License-Identifier: MIT */
/*
 * Calls functions that begin with instructions on which Linux's uprobes have gone wrong, or which look like these. Prints
 * what each call has done, so that the output must be the same when probes are armed. Waits for a line first.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Sixteen bytes follow the instruction, as many as the kernel copies. */
#define FUNCTION(name, insn)                                                                              \
	__asm__(".text; .p2align 4; .globl " #name "; .type " #name ",@function; " #name ": " insn        \
	        "; .byte 0x66,0x2e,0x0f,0x1f,0x84,0,0,0,0,0, 0x0f,0x1f,0x84,0,0,0,0,0; ret; .size " #name \
	        ",.-" #name);                                                                             \
	extern void name(void)

/* clang-format off */
#define EACH_AVX(X) \
	X(vmovd, "vmovd %xmm0, %eax") \
	X(store, "vmovdqu %xmm0, (%rdi)") \
	X(load, "vmovdqu (%rsi), %xmm0") \
	X(vpshufd, "vpshufd $0, %xmm0, %xmm0") \
	X(vpcmpeqb, "vpcmpeqb %xmm0, %xmm0, %xmm0") \
	X(vpsubsb, "vpsubsb %xmm1, %xmm0, %xmm0") \
	X(vpsubsw, "vpsubsw %xmm1, %xmm0, %xmm0") \
	X(vpor, "vpor %xmm1, %xmm0, %xmm0") \
	X(vpxor, "vpxor %xmm1, %xmm0, %xmm0") \
	X(vcmpltps, "vcmpltps %xmm1, %xmm0, %xmm0") \
	X(vzeroupper, "vzeroupper") \
	X(vmovups, "vmovups %xmm0, (%rdi)") \
	X(vaddps, "vaddps %xmm1, %xmm0, %xmm0") \
	X(vxorps, "vxorps %xmm1, %xmm0, %xmm0") \
	X(vpaddd, "vpaddd %xmm1, %xmm0, %xmm0") \
	X(vshufps, "vshufps $27, %xmm0, %xmm0, %xmm0") \
	X(relative, "vaddps source(%rip), %xmm0, %xmm0")
#define EACH_FMA(X) \
	X(vfnmadd132ss, "vfnmadd132ss %xmm1, %xmm0, %xmm0") \
	X(vfmadd132ss, "vfmadd132ss %xmm1, %xmm0, %xmm0")
#define EACH(X) \
	X(xchg_r8, ".byte 0x49, 0x90") \
	X(xchg_r8d, ".byte 0x41, 0x90") \
	X(xchg_r9, "xchg %r9, %rax") \
	X(pushf_popf, "pushfq; popfq") \
	X(pushf_pop, "pushfq; popq %rax; andl $0x100, %eax") \
	X(stosb, "rep stosb") \
	X(lodsb, "lodsb") \
	X(movdqu, "movdqu %xmm0, (%rdi)") \
	X(por, "por %xmm1, %xmm0") \
	X(popf, "pushq $2; popfq") \
	X(leaq, "leaq source(%rip), %rax; subq %rsi, %rax") \
	X(call, "call 1f; 1: popq %rax; xorl %eax, %eax") \
	X(nop5, "nopl 0(%rax, %rax)") \
	X(nopw5, ".byte 0x66, 0x0f, 0x1f, 0x40, 0x00") \
	X(nop5p, ".byte 0x66, 0x66, 0x66, 0x66, 0x90") \
	X(nop5d, ".byte 0x0f, 0x1f, 0x44, 0x20, 0x00") \
	X(nop5s, ".byte 0x0f, 0x1f, 0x44, 0x00, 0x08") \
	X(nop5w, ".byte 0x48, 0x0f, 0x1f, 0x40, 0x00") \
	X(nop4, "nopl 8(%rax)") \
	X(nop7, ".byte 0x0f, 0x1f, 0x80, 0, 0, 0, 0") \
	X(nop8, ".byte 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0") \
	X(nopcs, ".byte 0x2e, 0x90") \
	X(pause_, "pause") \
	X(syscall_, "syscall") \
	X(smsw, "smsw %ax; xorl %eax, %eax")
/* clang-format on */

int source[8] __attribute__((aligned(16))) = { 1, 20, 300, 4000, 50000, 6, 7, 8 };
static int target[8], *const target_at = target, other[4] = { 0x10, 0x3f800000, 0x7f, -3 };

#define DECLARE(name, insn) FUNCTION(f_##name, insn);
EACH(DECLARE)
EACH_AVX(DECLARE)
EACH_FMA(DECLARE)

static void call(const char *name, void (*function)(void))
{
	/* getpid for syscall; stosb writes four bytes */
	unsigned long rax = 39, rcx = 4, r8 = 8, r9 = 9, flags;
	int result[4];

	memset(target, 0, sizeof(target));
	__asm__ volatile("movdqu (%[source]), %%xmm0; movdqu (%[other]), %%xmm1\n"
	                 "movq %[target], %%rdi; movq %[source], %%rsi\n"
	                 "movq %[r8], %%r8; movq %[r9], %%r9\n"
	                 "subq $128, %%rsp; call *%[function]; pushfq; popq %[flags]; addq $128, %%rsp\n"
	                 "movq %%r8, %[r8]; movq %%r9, %[r9]; movdqu %%xmm0, (%[result])"
	                 : "+a"(rax), "+c"(rcx), [r8] "+m"(r8), [r9] "+m"(r9), [flags] "=&b"(flags)
	                 : [source] "r"(source), [target] "m"(target_at), [other] "r"(other), [function] "r"(function),
	                   [result] "r"(result)
	                 : "rdi", "rsi", "r8", "r9", "r10", "r11", "rdx", "xmm0", "xmm1", "memory", "cc");
	if (function == f_syscall_)
		rcx = 0, rax = rax == (unsigned long)getpid();
	printf("%s: rax %lx rcx %lx r8 %lx r9 %lx xmm0 %x %x %x %x memory %x %x trap flag %d replaced %d\n", name, rax,
	       rcx, r8, r9, (unsigned)result[0], (unsigned)result[1], (unsigned)result[2], (unsigned)result[3],
	       (unsigned)target[0], (unsigned)target[1], (flags & 0x100) != 0,
	       *(volatile unsigned char *)function == 0xe8 && function != f_call);
	fflush(stdout);
}

#define CALL_TWICE(name, insn) \
	call(#name, f_##name); \
	call(#name, f_##name);

int main(void)
{
	char c;

	printf("ready\n");
	fflush(stdout);
	if (read(0, &c, 1) != 1)
		return 1;
	EACH(CALL_TWICE)
	if (__builtin_cpu_supports("avx")) {
		EACH_AVX(CALL_TWICE)
	}
	if (__builtin_cpu_supports("fma")) {
		EACH_FMA(CALL_TWICE)
	}
	return 0;
}
