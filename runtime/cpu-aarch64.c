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

/*
 * Linux emulates branches and instructions that compute addresses from the program counter
 * (arch/arm64/kernel/probes/decode-insn.c), and nop since 6.13. It single-steps all others that it arms. nop counts as
 * emulated on every kernel, because runtime/kernel/overhead.c measures a trap at a nop.
 */
static bool aarch64_is_emulated(const uint8_t *code)
{
	uint32_t insn = aarch64_insn(code);

	return insn == NOP || (insn & 0x7c000000) == 0x14000000 || /* b, bl */
	       (insn & 0xff000010) == 0x54000000 ||                /* b.cond */
	       (insn & 0x7c000000) == 0x34000000 ||                /* cbz, tbz */
	       (insn & 0xff9ffc1f) == 0xd61f0000 ||                /* br, blr, ret */
	       (insn & 0x1f000000) == 0x10000000;                  /* adr, adrp */
}

/* Returns true for hints that Linux single-steps: nop, and those that sign or begin functions. It arms no others. */
static bool aarch64_is_armed_hint(uint32_t insn)
{
	switch (insn >> 5 & 127) {
	case 0:  /* nop */
	case 7:  /* xpaclri */
	case 8:  /* pacia1716 */
	case 10: /* pacib1716 */
	case 24: /* paciaz */
	case 25: /* paciasp */
	case 26: /* pacibz */
	case 27: /* pacibsp */
	case 32:
	case 34:
	case 36:
	case 38: return true; /* bti */
	default: return false;
	}
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

/*
 * Returns true for loads of a literal. Linux refuses to arm those of x and w registers since the kernel removed its broken
 * emulation of them. It single-steps those of vector registers out of line, where they load from a wrong address.
 */
static bool aarch64_loads_literal(uint32_t insn)
{
	return (insn & 0x3b000000) == 0x18000000;
}

/* Returns true for the instructions that copy and set memory, which belong together in threes (cpyp, cpym, cpye). */
static bool aarch64_is_memory_operation(uint32_t insn)
{
	return (insn & 0x3b200c00) == 0x19000400;
}

/* Returns true for msr. */
static bool aarch64_writes_system_register(uint32_t insn)
{
	return (insn & 0xfff00000) == 0xd5100000 || (insn & 0xfff8f01f) == 0xd500401f;
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
	if ((insn & 0xfffff01f) == 0xd503201f && !aarch64_is_armed_hint(insn)) /* hints */
		return "is a hint that the kernel does not arm";
	if ((insn & 0xfe9ff800) == 0xd61f0800 || (insn & 0xfffff800) == 0xd65f0800) /* braa, blraa, retaa */
		return "authenticates an address, which the kernel does not emulate";
	if ((insn & 0x3f000000) == 0x08000000 && !(insn & 0x00800000)) /* ldxr, stxr and their variants */
		return "is an exclusive load or store, which never succeeds when it is single-stepped";
	if (aarch64_loads_literal(insn))
		return "loads a literal relative to the program counter, which the kernel does not emulate";
	if (aarch64_is_memory_operation(insn))
		return "is one of three instructions that copy or set memory, which the kernel does not single-step";
	if (aarch64_writes_system_register(insn))
		return "writes a system register, which cannot be single-stepped";
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
