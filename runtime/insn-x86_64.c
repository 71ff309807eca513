/* SPDX-License-Identifier: MIT */
#include "runtime/insn-x86_64.h"

bool x86_is_prefix(uint8_t byte)
{
	switch (byte) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
	case 0x64:
	case 0x65:
	case 0x66: return true;
	default: return false;
	}
}

/*
 * Returns the size of the VEX or EVEX prefix, or 0 if code does not begin with one. In 32-bit code, modes other than 3
 * are lds, les, bound.
 */
static size_t x86_vex_size(const uint8_t *code, size_t size, bool is_64)
{
	if (!is_64 && (size < 2 || code[1] < 0xc0))
		return 0;
	return *code == 0xc5 ? 2 : *code == 0xc4 ? 3 : *code == 0x62 ? 4 : 0;
}

struct x86_insn x86_insn_split(const uint8_t *code, size_t size, bool is_64)
{
	struct x86_insn insn = { 0 };
	const uint8_t *at = code, *end = code + size;
	size_t vex;

	for (; at < end; at++) {
		bool rex = is_64 && (*at & 0xf0) == 0x40;

		if (!rex && !x86_is_prefix(*at) && *at != 0x67 && *at != 0xf0 && *at != 0xf2 && *at != 0xf3)
			break;
		insn.segment |= *at == 0x26 || *at == 0x2e || *at == 0x36 || *at == 0x3e;
		insn.lock |= *at == 0xf0;
		insn.operand_size |= *at == 0x66;
		insn.repeat |= *at == 0xf2 || *at == 0xf3;
		insn.rex_b = rex && *at & 1;
	}
	vex = at < end ? x86_vex_size(at, (size_t)(end - at), is_64) : 0;
	insn.is_vex = vex;
	insn.is_vex_0f3a = vex == 3 && end - at > 1 && (at[1] & 0x1f) == 3;
	at = (size_t)(end - at) > vex ? at + vex : end;
	insn.opcode = at;
	insn.size = (size_t)(end - at);
	insn.nprefixes = (size_t)(at - code);
	/* An 8f that is not an XOP prefix is pop, whose ModRM byte has 0 in these bits. */
	if (insn.size && !insn.is_vex)
		insn.is_xop_or_rex2 = (*at == 0x8f && insn.size > 1 && at[1] & 0x18) || (is_64 && *at == 0xd5);
	return insn;
}

size_t x86_nop_size(const struct x86_insn *insn)
{
	const uint8_t *code = insn->opcode;
	size_t n = 3;

	if (insn->size && !insn->is_vex && code[0] == NOP)
		return 1;
	if (insn->size < 4 || insn->is_vex || code[0] != TWO_BYTES || code[1] != NOP_MODRM || code[2] & 0x38)
		return 0;
	switch (code[2] >> 6) {
	case 0: n += (code[2] & 7) == 5 || ((code[2] & 7) == 4 && (code[3] & 7) == 5) ? 4 : 0; break;
	case 1: n += 1; break;
	case 2: n += 4; break;
	default: return n;
	}
	return n + ((code[2] & 7) == 4); /* SIB */
}
