/* SPDX-License-Identifier: MIT */
/* A 32-bit program without a C library: maps descriptor 3 private and writes the mapping to descriptor 1. */
	.text
	.globl _start
_start:
	movl $108, %eax			/* fstat(3, stat) */
	movl $3, %ebx
	movl $stat, %ecx
	int $0x80
	movl stat+20, %esi		/* st_size */
	movl $192, %eax			/* mmap2(NULL, size, PROT_READ, MAP_PRIVATE, 3, 0) */
	xorl %ebx, %ebx
	movl %esi, %ecx
	movl $1, %edx
	pushl %esi
	movl $2, %esi
	movl $3, %edi
	xorl %ebp, %ebp
	int $0x80
	popl %esi
	movl %eax, %edi
again:	testl %esi, %esi
	jz done
	movl $4, %eax			/* write(1, at, left) */
	movl $1, %ebx
	movl %edi, %ecx
	movl %esi, %edx
	int $0x80
	testl %eax, %eax
	jle failed
	addl %eax, %edi
	subl %eax, %esi
	jmp again
failed:	movl $1, %ebx
	jmp exit
done:	xorl %ebx, %ebx
exit:	movl $1, %eax
	int $0x80
	.bss
	.balign 4
stat:	.skip 64
	.section .note.GNU-stack,"",@progbits
