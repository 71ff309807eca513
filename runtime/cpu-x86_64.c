/* SPDX-License-Identifier: MIT */
/*
 * x86, 64 and 32 bits. The encodings are those of the Intel SDM, volume 2.
 *
 * The bytes of a site:
 *
 *     90 66 2e 0f 1f 84 ?? ?? ?? ?? ??    unarmed. Kernels after 6.18 leave e8 REL32 in the last five bytes, where they
 *                                         are the displacement of an operand that is not accessed
 *     90 eb 08 ?? ?? ?? ?? ?? ?? ?? ??    unarmed too: a jump over the rest, as other tools leave it
 *     cc ...                              armed by a uprobe (int3)
 *     ?? e9 REL32 ...                     armed by the agent
 *     ?? cc 2e 0f 1f 84 ...               armed by a uprobe at byte 1, before its first hit
 *     ?? 48 8d 64 24 80 e8 REL32          the same after the first hit: lea -128(%rsp), %rsp; call. The kernel replaces
 *                                         bytes 2 to 10 first and 1 last, and when it disarms 1, then 2 to 5, then 1 again
 */
#include "runtime/cpu.h"

#include <elf.h>
#include <string.h>

#include "runtime/insn-x86_64.h"

#define JUMP_AT 1
#define JUMP_SIZE 10

static bool x86_is_int3(const uint8_t *code)
{
	return *code == INT3;
}

static bool x86_is_jump(const uint8_t *code)
{
	return *code == JMP_REL32;
}

static bool x86_is_unarmed(const uint8_t *code)
{
	static const uint8_t nop10[] = { 0x66, 0x2e, 0x0f, 0x1f, 0x84 };

	return !memcmp(code, nop10, sizeof(nop10)) || (code[0] == JMP_REL8 && code[1] == JUMP_SIZE - 2);
}

static bool x86_is_fast(const uint8_t *code)
{
	static const uint8_t lea_call[] = { 0x48, 0x8d, 0x64, 0x24, 0x80, CALL };

	return (*code == *lea_call || *code == INT3) && !memcmp(code + 1, lea_call + 1, sizeof(lea_call) - 1);
}

static bool x86_becomes_fast(const uint8_t *code, size_t size)
{
	static const uint8_t nop10[] = { 0x66, 0x2e, 0x0f, 0x1f, 0x84 };

	return size >= 2 * sizeof(nop10) && !memcmp(code, nop10, sizeof(nop10));
}

/* A REX prefix is not skipped, because REX.B turns 90 into an exchange. */
static bool x86_is_nop(const uint8_t *code, size_t size)
{
	while (size > 1 && x86_is_prefix(*code)) {
		code++;
		size--;
	}
	return size && (code[0] == NOP || (size > 1 && code[0] == TWO_BYTES && code[1] == NOP_MODRM));
}

/* Linux 6.18 replaces each nop of 5 bytes, with or without prefixes. */
static bool x86_becomes_call(const uint8_t *code, size_t size)
{
	struct x86_insn insn = x86_insn_split(code, size, true);
	size_t n = x86_nop_size(&insn);

	return n && insn.nprefixes + n == 5;
}

/*
 * nop, push, jmp, call (arch/x86/kernel/uprobes.c: branch_setup_xol_ops, push_setup_xol_ops). A nop may have prefixes; the
 * others must not, but a push may have REX.B.
 */
static bool x86_is_emulated(const uint8_t *code)
{
	if ((*code & 0xf8) == PUSH || (code[0] == 0x41 && (code[1] & 0xf8) == PUSH))
		return true;
	if (*code == CALL || *code == JMP_REL32 || *code == JMP_REL8)
		return true;
	while (*code == 0x66)
		code++;
	return *code == NOP;
}

const struct cpu_code cpu_code_x86_64 = {
	.machine = EM_X86_64,
	.breakpoint_size = 1,
	.jump_at = JUMP_AT,
	.jump_size = JUMP_SIZE,
	.becomes_fast = x86_becomes_fast,
	.fast_at = JUMP_AT,
	.is_fast = x86_is_fast,
	.is_uprobe = x86_is_int3,
	.is_breakpoint = x86_is_int3,
	.is_jump = x86_is_jump,
	.is_unarmed = x86_is_unarmed,
	.is_emulated = x86_is_emulated,
	.is_nop = x86_is_nop,
	.becomes_call = x86_becomes_call,
	.why_refused = x86_64_why_refused,
};

const struct cpu_code cpu_code_i386 = {
	.machine = EM_386,
	.breakpoint_size = 1,
	.is_uprobe = x86_is_int3,
	.is_breakpoint = x86_is_int3,
	.is_jump = x86_is_jump,
	.is_unarmed = x86_is_unarmed,
	.is_emulated = x86_is_emulated,
	.is_nop = x86_is_nop,
	.becomes_call = x86_becomes_call,
	.why_refused = i386_why_refused,
};
