/* SPDX-License-Identifier: MIT */
#ifdef SEMAPHORES
#define _SDT_HAS_SEMAPHORES 1
#endif
#include <sys/sdt.h>

	.text
	.globl	in_assembler
	.type	in_assembler, @function
in_assembler:
	STAP_PROBE(assembler, none)
	mov	%edi, %eax
	STAP_PROBE3(assembler, three, 8@%rdi, -4@%esi, 4@$7)
	DTRACE_PROBE1(assembler, memory, -4@4(%rsp,%rdi,2))
	STAP_PROBE12(assembler, twelve, 1@%al, 2@%ax, 4@%eax, 8@%rax, 1@%bl, 2@%bx, 4@%ebx, 8@%rbx, 1@%cl, 2@%cx, 4@%ecx, 8@%rcx)
	ret
	.size	in_assembler, . - in_assembler

#ifdef SEMAPHORES
	.section .probes, "aw"
	.balign	2
assembler_none_semaphore:	.short 0
assembler_three_semaphore:	.short 0
assembler_memory_semaphore:	.short 0
assembler_twelve_semaphore:	.short 0
#endif
	.section .note.GNU-stack, "", @progbits
