/* SPDX-License-Identifier: MIT */
/*
 * aarch64. The encodings are those of the Arm Architecture Reference Manual, C4.1.
 *
 * The bytes of a site, all of them one instruction:
 *
 *     1f 20 03 d5    unarmed: nop
 *     a0 00 20 d4    armed by a uprobe: brk #5, which Linux reserves for user-space probes
 *     ?? ?? ?? 14    armed by the agent: b to a trampoline (opcode 000101, then 26 bits of distance in words)
 *
 * A debugger writes brk with another immediate value.
 */
#include "runtime/cpu.h"

#include <elf.h>

#define NOP 0xd503201f
#define BRK_UPROBE 0xd42000a0

static uint32_t aarch64_insn(const uint8_t *code)
{
	return code[0] | code[1] << 8 | code[2] << 16 | (uint32_t)code[3] << 24;
}

static bool aarch64_is_uprobe(const uint8_t *code)
{
	return aarch64_insn(code) == BRK_UPROBE;
}

static bool aarch64_is_brk(const uint8_t *code)
{
	return (aarch64_insn(code) & 0xffe0001f) == 0xd4200000;
}

static bool aarch64_is_jump(const uint8_t *code)
{
	return (aarch64_insn(code) & 0xfc000000) == 0x14000000;
}

static bool aarch64_is_unarmed(const uint8_t *code)
{
	return aarch64_insn(code) == NOP;
}

/* Single-stepping is not measured on this CPU, so all instructions count as emulated. */
static bool aarch64_is_emulated(const uint8_t *code)
{
	(void)code;
	return true;
}

static bool aarch64_is_nop(const uint8_t *code, size_t size)
{
	return size >= 4 && aarch64_insn(code) == NOP;
}

static bool aarch64_becomes_call(const uint8_t *code, size_t size)
{
	(void)code;
	(void)size;
	return false;
}

static const char *aarch64_why_refused(const uint8_t *code, size_t size)
{
	uint32_t insn;

	if (size < 4)
		return NULL;
	insn = aarch64_insn(code);
	if (aarch64_is_brk(code) || (insn & 0xffe0001f) == 0xd4400000) /* hlt */
		return CPU_IS_TRAP;
	if (!(insn & 0xffff0000)) /* udf */
		return CPU_IS_TRAP;
	if ((insn & 0xff000000) == 0xd4000000) /* svc, hvc, smc, dcps */
		return "generates an exception, which cannot be single-stepped";
	if ((insn & 0x3f000000) == 0x08000000 && !(insn & 0x00800000)) /* ldxr, stxr and their variants */
		return "is an exclusive load or store, which never succeeds when it is single-stepped";
	return NULL;
}

const struct cpu_code cpu_code_aarch64 = {
	.machine = EM_AARCH64,
	.breakpoint_size = 4,
	.jump_at = 0,
	.jump_size = 4,
	.is_uprobe = aarch64_is_uprobe,
	.is_breakpoint = aarch64_is_brk,
	.is_jump = aarch64_is_jump,
	.is_unarmed = aarch64_is_unarmed,
	.is_emulated = aarch64_is_emulated,
	.is_nop = aarch64_is_nop,
	.becomes_call = aarch64_becomes_call,
	.why_refused = aarch64_why_refused,
};
