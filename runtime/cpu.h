/* SPDX-License-Identifier: MIT */
/*
 * Machine code that the backends recognize, per CPU: traps, nops, and the bytes of a probe site in each of its states.
 * Each CPU has a file: cpu-x86_64.c, cpu-aarch64.c, cpu-ppc64.c. All of them are compiled on every CPU, because they
 * only look at bytes.
 *
 * A site that has a note consists of two parts:
 *
 * 1. The instruction at its first byte belongs to the kernel backend. A uprobe replaces its first bytes by a
 *    breakpoint.
 * 2. The nop at jump_at belongs to the agent backend, which replaces it by a jump to a trampoline.
 *
 * x86-64 has a nop of one byte for the kernel and one of ten bytes for the agent. aarch64 has one nop for both, so only
 * one backend arms a site at a time.
 */
#ifndef RUNTIME_CPU_H
#define RUNTIME_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BREAKPOINT_SIZE_MAX 4

struct cpu_code {
	int machine;            /* EM_*, elf.h */
	size_t breakpoint_size; /* bytes of a breakpoint, at most BREAKPOINT_SIZE_MAX */
	size_t jump_at;         /* offset of the agent's part in a site */
	size_t jump_size;       /* bytes of that part: all that the two functions below read; 0: no agent */

	/* Each of these four returns true if code, of at least breakpoint_size or jump_size bytes, begins with ... */
	bool (*is_uprobe)(const uint8_t *code); /* the breakpoint that a uprobe writes */
	bool (*is_breakpoint)(
		const uint8_t *code);            /* a breakpoint: the one of a uprobe, a debugger's, or a compiler's */
	bool (*is_jump)(const uint8_t *code);    /* the jump that an armed site has at jump_at */
	bool (*is_unarmed)(const uint8_t *code); /* what an unarmed site has at jump_at: see the CPU's file */

	/* Returns true for the nop of 10 bytes, which later kernels replace by a call. */
	bool (*becomes_fast)(const uint8_t *code, size_t size);
	/*
	 * Offset in a site of the nop that kernels after 6.18 replace by a call when it is armed, 0 if the CPU has none; and
	 * whether code, of 6 bytes, is that call.
	 */
	size_t fast_at;
	bool (*is_fast)(const uint8_t *code);
	/* Returns true for an instruction that uprobes emulate. They single-step all others, which takes longer. */
	bool (*is_emulated)(const uint8_t *code);
	/* Returns true for a nop. The note of a probe must point at one. */
	bool (*is_nop)(const uint8_t *code, size_t size);
	/* Returns true for the nop that a kernel may replace by a call, which breaks leaf functions (insn-check.c). */
	bool (*becomes_call)(const uint8_t *code, size_t size);
	/*
	 * Returns the reason why a breakpoint must not replace the instruction, in words that follow "the instruction",
	 * or NULL if it may. Refuses every trap, because the code that has one waits for it. Reads at most size bytes.
	 */
	const char *(*why_refused)(const uint8_t *code, size_t size);
};

/* Bytes that cpu_is_armed() reads. */
#define CPU_ARMED_SIZE 6

/* Returns true if code is a breakpoint, or the call that the kernel makes of an armed nop. */
static inline bool cpu_is_armed(const struct cpu_code *cpu, const uint8_t code[CPU_ARMED_SIZE])
{
	return cpu->is_breakpoint(code) || (cpu->fast_at && cpu->is_fast(code));
}

#define CPU_IS_TRAP "is a trap already" /* what why_refused() returns for a trap */

extern const struct cpu_code cpu_code_x86_64, cpu_code_i386, cpu_code_aarch64, cpu_code_ppc64;

/* Returns the CPU of machine (EM_X86_64, EM_386, EM_AARCH64, EM_PPC64 little-endian), or NULL if it is not known. */
const struct cpu_code *cpu_code(int machine);

#endif
