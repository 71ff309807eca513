/* SPDX-License-Identifier: MIT */
/*
 * The calling convention of functions, per CPU: which registers have the arguments and the result of a function, and which
 * arguments the probes of function.h have. Each CPU has a file: abi-x86_64.c, abi-aarch64.c. Registers are numbers in the
 * table of sdt/operand.h.
 */
#ifndef RUNTIME_ABI_H
#define RUNTIME_ABI_H

#include <elf.h>

#include "sdt/operand.h"

#define ABI_SHAPE_ARGS_MAX 24
/* How many arguments functions get in integer registers: at most, and on the CPU of this build. */
#define ABI_ARGS_MAX 8
#define ABI_ARGS_HERE (MACHINE_HERE == EM_AARCH64 ? 8 : 6)

/* The arguments of a kind of site, and their operands. */
struct abi_shape {
	const char *names[ABI_SHAPE_ARGS_MAX + 1];
	const char *operands;
};

struct abi {
	int machine; /* EM_* */
	struct abi_shape entry, leave, middle;
	const char *leave_by_jump; /* the operands of leave at a jump to another function: the result is not known */
	int sp, fp;                /* the stack pointer and the frame pointer */
	int return_size;           /* bytes that a return removes from the stack */
	int nargs;
	int args[ABI_ARGS_MAX]; /* the registers of the arguments at a function's entry */
	/*
	 * In the operands of leave and leave_by_jump these registers are not the CPU's: they stand for the arguments at the
	 * call's begin, for the call's duration in ns, and for 0.
	 */
	int leave_args[ABI_ARGS_MAX], leave_duration, leave_zero;
};

extern const struct abi abi_x86_64, abi_aarch64;

/* Returns NULL if functions without notes cannot be probed in 64-bit programs of this CPU. */
const struct abi *abi_of(int machine);

#endif
