/* SPDX-License-Identifier: MIT */
/* Valid notes (provider good) and invalid notes (provider bad). */
	.macro note provider, name, place, semaphore=0
	.pushsection .note.stapsdt,"","note"
	.balign 4
	.4byte 8, 2f-1f, 3
	.asciz "stapsdt"
1:	.8byte \place, 0, \semaphore
	.asciz "\provider"
	.asciz "\name"
	.asciz ""
2:	.balign 4
	.popsection
	.endm

	.text
	.globl immediate
	.type immediate, @function
immediate:			/* the byte 90 is a part of the number */
	.cfi_startproc
	mov $0x11229044, %eax
	add $1, %eax
	ret
	.cfi_endproc
	.size immediate, .-immediate
	note bad, immediate, immediate+2
	note bad, add, immediate+5
	note bad, ret, immediate+8
	.globl in_the_number		/* a label that lies as well */
	.type in_the_number, @function
	.set in_the_number, immediate+2
	.size in_the_number, 3

	.globl nops
	.type nops, @function
nops:				/* what is nops, with whatever before them */
	.cfi_startproc
	mov $0x90909090, %eax
10:	nop
	.byte 0x66, 0x66
11:	nop
12:	.byte 0x0f, 0x1f, 0x40, 0x00
13:	.byte 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00
14:	nop
15:	nop
16:	nop
17:	nop
18:	pause
19:	.byte 0x41, 0x90	/* xchg %r8d, %eax */
	xchg %r8d, %eax
	ret
	.cfi_endproc
	.size nops, .-nops
	note good, nop, 10b
	note good, prefixed, 11b
	note good, nopl, 12b
	note good, nopw, 13b
	note bad, inside_nopl, 12b+1
	note bad, inside_number, nops+2
	note bad, prefix, 11b-1
	note bad, pause, 18b
	note bad, xchg, 19b
	note bad, inside_xchg, 19b+1
	note good, semaphore, 14b, counted
	note good, named, 15b, good_named_semaphore
	note bad, variable, 16b, secret
	note bad, begins_as_7, 17b, bad_begins_as_7_semaphore
	note bad, in_bss, 17b, bad_in_bss_semaphore
	note bad, across, 17b, across

	.globl padded
	.type padded, @function
padded:				/* bytes that are not code, after a call that does not return; 2.43's ____longjmp_chk has them */
	.cfi_startproc
	cmp $1, %edi
	jne 21f
	mov $5, %eax
	jmp 22f
21:	call abort
	.byte 0x05, 0x05, 0x90, 0x05, 0x05, 0x05
22:	add $1, %eax
23:	nop
	ret
	call padded
24:	mov $0x90909090, %eax
	ret
	.cfi_endproc
	.size padded, .-padded
	note good, padded, 23b
	note bad, in_padding, 22b-4
	note bad, after_return, 24b+2

	.section .probes, "aw", @progbits
	.balign 2
counted: .2byte 0
	.data
	.balign 2
	.globl secret
secret:	.2byte 0
good_named_semaphore: .2byte 0
bad_begins_as_7_semaphore: .2byte 7
	.byte 0
across:	.2byte 0
	.globl others
others = bad_begins_as_7_semaphore
	.bss
	.balign 2
bad_in_bss_semaphore: .2byte 0
	.section .note.GNU-stack, "", @progbits
