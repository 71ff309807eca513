/* SPDX-License-Identifier: MIT */
/* System V ABI, AMD64 supplement, 3.2.3. */
#include "runtime/abi.h"

#define RBX 3
#define RSP 4
#define RBP 5
#define R11 11

const struct abi abi_x86_64 = {
	.machine = EM_X86_64,
	.entry = {
		{ "arg0", "arg1", "arg2", "arg3", "arg4", "arg5" },
		"8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8 8@%r9",
	},
	.leave = {
		{ "arg0", "arg1", "arg2", "arg3", "arg4", "arg5", "ret", "duration" },
		"8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8 8@%r9 -8@%rax 8@%r11",
	},
	/* The operand of the result is memory at address 0, which is never mapped. */
	.leave_by_jump = "8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8 8@%r9 -8@(%rbx) 8@%r11",
	.middle = {
		{ "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
	          "r15" },
		"8@%rax 8@%rbx 8@%rcx 8@%rdx 8@%rsi 8@%rdi 8@%rbp 8@%rsp "
		"8@%r8 8@%r9 8@%r10 8@%r11 8@%r12 8@%r13 8@%r14 8@%r15",
	},
	.sp = RSP,
	.fp = RBP,
	.return_size = 8,
	.nargs = 6,
	.args = { 7, 6, 2, 1, 8, 9 }, /* rdi rsi rdx rcx r8 r9 */
	.leave_args = { 7, 6, 2, 1, 8, 9 },
	.leave_duration = R11,
	.leave_zero = RBX,
};
