/* SPDX-License-Identifier: MIT */
/*
 * ppc64, little-endian. The encodings are those of the Power ISA, Book I. Only listing and checking work on this CPU.
 */
#include "runtime/cpu.h"

#include <elf.h>

#define NOP 0x60000000
#define TRAP 0x7fe00008

static uint32_t ppc64_insn(const uint8_t *code)
{
	return code[0] | code[1] << 8 | code[2] << 16 | (uint32_t)code[3] << 24;
}

static bool ppc64_is_trap(const uint8_t *code)
{
	return ppc64_insn(code) == TRAP;
}

static bool ppc64_is_b(const uint8_t *code)
{
	return (ppc64_insn(code) & 0xfc000003) == 0x48000000;
}

static bool ppc64_is_unarmed(const uint8_t *code)
{
	return ppc64_insn(code) == NOP;
}

static bool ppc64_is_emulated(const uint8_t *code)
{
	(void)code;
	return true;
}

static bool ppc64_is_nop(const uint8_t *code, size_t size)
{
	return size >= 4 && ppc64_insn(code) == NOP;
}

static bool ppc64_becomes_call(const uint8_t *code, size_t size)
{
	(void)code;
	(void)size;
	return false;
}

/* Book I 3.3.11: tw, twi, td, tdi, with any condition. */
static const char *ppc64_why_refused(const uint8_t *code, size_t size)
{
	uint32_t insn, major, minor;

	if (size < 4)
		return NULL;
	insn = ppc64_insn(code);
	major = insn >> 26;
	minor = insn >> 1 & 0x3ff;
	if (major == 2 || major == 3 || (major == 31 && (minor == 4 || minor == 68)))
		return CPU_IS_TRAP;
	if (major == 1)
		return "is a prefixed instruction, which a breakpoint would split";
	return NULL;
}

const struct cpu_code cpu_code_ppc64 = {
	.machine = EM_PPC64,
	.breakpoint_size = 4,
	.is_uprobe = ppc64_is_trap,
	.is_breakpoint = ppc64_is_trap,
	.is_jump = ppc64_is_b,
	.is_unarmed = ppc64_is_unarmed,
	.is_emulated = ppc64_is_emulated,
	.is_nop = ppc64_is_nop,
	.becomes_call = ppc64_becomes_call,
	.why_refused = ppc64_why_refused,
};
