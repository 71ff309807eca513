/* SPDX-License-Identifier: MIT */
/*
 * Procedure Call Standard for the Arm 64-bit Architecture, 6.4.
 *
 * The first argument and the result have the same register, x0. So at the end of a call x19 to x26 stand for the
 * arguments.
 */
#include "runtime/abi.h"

#define FP 29
#define SP 31
#define LEAVE_ARGS "8@x19 8@x20 8@x21 8@x22 8@x23 8@x24 8@x25 8@x26 "

const struct abi abi_aarch64 = {
	.machine = EM_AARCH64,
	.entry = {
		{ "arg0", "arg1", "arg2", "arg3", "arg4", "arg5", "arg6", "arg7" },
		"8@x0 8@x1 8@x2 8@x3 8@x4 8@x5 8@x6 8@x7",
	},
	.leave = {
		{ "arg0", "arg1", "arg2", "arg3", "arg4", "arg5", "arg6", "arg7", "ret", "duration" },
		LEAVE_ARGS "-8@x0 8@x27",
	},
	/* The operand of the result is memory at address 0, which is never mapped. */
	.leave_by_jump = LEAVE_ARGS "-8@[x28] 8@x27",
	/* A record has no room for all registers. */
	.middle = {
		{ "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
	          "x19", "x20", "x21", "x22", "x23", "x29", "x30", "sp" },
		"8@x0 8@x1 8@x2 8@x3 8@x4 8@x5 8@x6 8@x7 8@x8 8@x9 8@x10 8@x11 8@x12 8@x13 8@x14 8@x15 "
		"8@x19 8@x20 8@x21 8@x22 8@x23 8@x29 8@x30 8@sp",
	},
	.sp = SP,
	.fp = FP,
	.nargs = 8,
	.args = { 0, 1, 2, 3, 4, 5, 6, 7 },
	.leave_args = { 19, 20, 21, 22, 23, 24, 25, 26 },
	.leave_duration = 27,
	.leave_zero = 28,
};
