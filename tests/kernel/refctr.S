/* SPDX-License-Identifier: MIT */
/*
 * places(): four probes at one nop, two with a semaphore each and two without (r:a, r:b, r:c, r:d), and a probe at another
 * nop (r:own). The first instruction of the function is the first nop.
 */
	.macro probe name, at, semaphore
	.pushsection .note.stapsdt,"","note"
	.balign 4
	.4byte 8, 994f-993f, 3
	.asciz "stapsdt"
993:	.8byte \at, 0, \semaphore
	.asciz "r"
	.asciz "\name"
	.asciz ""
994:	.balign 4
	.popsection
	.endm

	.section .probes,"aw",@progbits
	.globl first, second
	.balign 2
first:	.2byte 0
second:	.2byte 0
	.text
	.globl places
	.type places,@function
places:
1:	nop
2:	nop
	ret
	.size places, . - places
	probe a, 1b, first
	probe b, 1b, second
	probe c, 1b, 0
	probe d, 1b, 0
	probe own, 2b, second
	.section .note.GNU-stack,"",@progbits
