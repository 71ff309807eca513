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

#define JUMP_AT 1
#define JUMP_SIZE 10
#define CANNOT_STEP "is one that the kernel cannot step over"
#define STEPPED_WRONGLY "is one that the kernel would execute wrongly while it is armed"

enum {
	INT3 = 0xcc,
	INT = 0xcd,
	INTO = 0xce,
	INT1 = 0xf1,
	HLT = 0xf4,
	NOP = 0x90,
	PUSH = 0x50, /* and the register */
	CALL = 0xe8,
	JMP_REL8 = 0xeb,
	JMP_REL32 = 0xe9,
	TWO_BYTES = 0x0f, /* the first byte of a two-byte opcode */
	NOP_MODRM = 0x1f, /* the second byte */
	UD0 = 0xff,
	UD1 = 0xb9,
	UD2 = 0x0b,
};

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

/* Segment overrides, operand size. */
static bool x86_is_prefix(uint8_t byte)
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

/* An instruction without its prefixes, or the beginning of it. */
struct x86_insn {
	const uint8_t *opcode;
	size_t size;         /* bytes from the opcode on; 0: only prefixes are known */
	size_t nprefixes;    /* bytes before the opcode */
	bool segment;        /* es, cs, ss or ds override */
	bool lock;           /* f0 */
	bool operand_size;   /* 66 */
	bool repeat;         /* f2 or f3 */
	bool rex_b;          /* REX.B, right before the opcode */
	bool is_vex;         /* VEX or EVEX: an opcode of one byte */
	bool is_vex_0f3a;    /* VEX of three bytes with the opcodes of 0f 3a */
	bool is_xop_or_rex2; /* opcode is this prefix */
};

/* Returns the size of the VEX or EVEX prefix, 0: code does not begin with one. In 32-bit code, modes other than 3 are lds, les, bound. */
static size_t x86_vex_size(const uint8_t *code, size_t size, bool is_64)
{
	if (!is_64 && (size < 2 || code[1] < 0xc0))
		return 0;
	return *code == 0xc5 ? 2 : *code == 0xc4 ? 3 : *code == 0x62 ? 4 : 0;
}

/* Splits an instruction of at most size bytes. Prefixes of any order and number are skipped. */
static struct x86_insn x86_insn_split(const uint8_t *code, size_t size, bool is_64)
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
	/* An 8f that is no XOP prefix is pop, whose ModRM byte has 0 in these bits. */
	if (insn.size && !insn.is_vex)
		insn.is_xop_or_rex2 = (*at == 0x8f && insn.size > 1 && at[1] & 0x18) || (is_64 && *at == 0xd5);
	return insn;
}

/* Returns the size of a nop from its opcode on, 0: it is another instruction. */
static size_t x86_nop_size(const struct x86_insn *insn)
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

/*
 * Returns true for a one-byte opcode that is not in the kernel's good_insns_64 or good_insns_32. It looks up the opcode of
 * a VEX or EVEX instruction there, too, as if it were the one-byte opcode of this number. Both tables have 0f, so that the
 * kernel's table of two-byte opcodes, good_2byte_insns, has no effect.
 */
static bool x86_opcode_is_bad(uint8_t opcode, bool is_64)
{
	switch (opcode) {
	case 0x07: /* pop to segment registers */
	case 0x17:
	case 0x1f:
	case 0x6c ... 0x6f: /* ins, outs */
	case 0xcc ... 0xcf: /* int3, int, into, iret */
	case 0xe4 ... 0xe7: /* in, out */
	case 0xec ... 0xef:
	case 0xf1: /* int1 */
	case 0xf4: /* hlt */
	case 0xfa: /* cli, sti */
	case 0xfb: return true;
	case 0x06: /* not valid in 64-bit code */
	case 0x0e:
	case 0x16:
	case 0x1e:
	case 0x27:
	case 0x2f:
	case 0x37:
	case 0x3f:
	case 0x60 ... 0x62:
	case 0x82:
	case 0x9a:
	case 0xd4 ... 0xd6:
	case 0xea: return is_64;
	default: return false;
	}
}

static bool x86_opcode_is_jcc(uint8_t opcode)
{
	return (opcode & 0xf0) == 0x70;
}

/* Returns true for a relative jump or call that is no VEX or EVEX instruction. */
static bool x86_is_branch(const struct x86_insn *insn)
{
	const uint8_t *code = insn->opcode;

	return x86_opcode_is_jcc(*code) || *code == CALL || *code == JMP_REL32 || *code == JMP_REL8 ||
	       (*code == TWO_BYTES && insn->size > 1 && (code[1] & 0xf0) == 0x80);
}

/*
 * Returns true for AMD's FMA4, vpermil2 and SSE4a, which the kernel's decoder does not know. It does not know VEX and EVEX
 * instructions that are newer than the kernel either; these are not found here.
 */
static bool x86_is_unknown(const struct x86_insn *insn)
{
	const uint8_t *code = insn->opcode;

	if (insn->is_vex_0f3a)
		return *code == 0x48 || *code == 0x49 || (*code & 0xfc) == 0x5c || (*code & 0xe8) == 0x68;
	return !insn->is_vex && (insn->operand_size || insn->repeat) && insn->size > 1 && *code == TWO_BYTES &&
	       (code[1] & 0xfe) == 0x78;
}

/*
 * Returns true for an instruction on which Linux places no breakpoint (arch/x86/kernel/uprobes.c: uprobe_init_insn(),
 * branch_setup_xol_ops()). It reports this only when a process maps the file, so a program that starts later would have no
 * hits.
 */
static bool x86_is_not_armed(const struct x86_insn *insn, bool is_64)
{
	if (insn->segment || insn->lock || x86_opcode_is_bad(*insn->opcode, is_64) || x86_is_unknown(insn))
		return true;
	/* mov to ss, and VEX instructions of this number: insn_masking_exception() */
	if (*insn->opcode == 0x8e && insn->size > 1 && (insn->opcode[1] >> 3 & 7) == 2)
		return true;
	return insn->operand_size && !insn->is_vex && x86_is_branch(insn);
}

/*
 * Returns true for a VEX or EVEX instruction that the kernel takes for the one-byte instruction with the same opcode, when
 * it decides what to do instead of or after the step (branch_setup_xol_ops(), arch_uprobe_analyze_insn()).
 */
static bool x86_vex_is_mistaken(uint8_t opcode)
{
	switch (opcode) {
	case NOP:  /* is skipped */
	case CALL: /* vpsubsb pushes the address of the next instruction */
	case JMP_REL32:
	case JMP_REL8: /* vpor jumps */
	case 0x9d:     /* popf: vfnmadd132ss leaves the trap flag set, and SIGTRAP follows */
	case 0x9a:     /* far call */
	case 0xc2:     /* ret: after vcmpps the instruction pointer stays in the kernel's copy */
	case 0xc3:
	case 0xca:
	case 0xcb:
	case 0xea: /* far jmp */
	case 0xff: /* indirect jmp and call */ return true;
	default: return x86_opcode_is_jcc(opcode); /* vmovd, vpshufd and vzeroupper jump */
	}
}

/* The same for an instruction that begins with 0f. */
static bool x86_0f_is_stepped_wrongly(const struct x86_insn *insn)
{
	const uint8_t *code = insn->opcode;
	uint8_t modrm = insn->size > 2 ? code[2] : 0xff, reg = modrm >> 3 & 7;

	if (insn->size < 2)
		return false;
	switch (code[1]) {
	case 0x05: /* syscall */
	case 0x34: /* sysenter */ return true;
	/* sldt, str, sgdt, sidt, smsw: the kernel emulates them, but not in the copy of an instruction. */
	case 0x00: return reg < 2;
	case 0x01: /* enclu, uiret: continue elsewhere */
		return (modrm < 0xc0 && reg < 2) || reg == 4 || modrm == 0xd7 || modrm == 0xec;
	/* movntss, and cmov and setcc with void prefixes: the decoder does not see their operand, and leaves it relative. */
	case 0x2b:
	case 0x40 ... 0x4f:
	case 0x90 ... 0x9f: return insn->repeat;
	default: return false;
	}
}

/* Returns true for an instruction that Linux arms and then executes in another way than the CPU. */
static bool x86_is_stepped_wrongly(const struct x86_insn *insn)
{
	const uint8_t *code = insn->opcode;

	if (insn->is_vex)
		return x86_vex_is_mistaken(*code);
	switch (*code) {
	case NOP: return insn->rex_b; /* xchg with r8: is skipped as a nop */
	case 0x9c: return true;       /* pushf: saves the trap flag of the step, and popf sets it */
	case TWO_BYTES: return x86_0f_is_stepped_wrongly(insn);
	default: return false;
	}
}

/* Returns true for movs, cmps, stos, lods, scas with rep: the trap flag stops them after each repetition. */
static bool x86_is_repeated(const struct x86_insn *insn)
{
	uint8_t opcode = *insn->opcode;

	return insn->repeat && !insn->is_vex && ((opcode & 0xfc) == 0xa4 || (opcode >= 0xaa && opcode <= 0xaf));
}

static const char *x86_why_trap(const struct x86_insn *insn, bool is_64)
{
	const uint8_t *code = insn->opcode;

	if (insn->is_vex)
		return NULL;
	switch (code[0]) {
	case INT3:
	case INT:
	case INT1: return CPU_IS_TRAP;
	case INTO: return is_64 ? "is not valid in 64-bit code" : CPU_IS_TRAP;
	case HLT: return "is hlt, which programs may not execute";
	case TWO_BYTES:
		return insn->size > 1 && (code[1] == UD0 || code[1] == UD1 || code[1] == UD2) ? CPU_IS_TRAP : NULL;
	default: return NULL;
	}
}

static const char *x86_why_refused(const uint8_t *code, size_t size, bool is_64)
{
	struct x86_insn insn = x86_insn_split(code, size, is_64);
	const char *why;

	if (!insn.size)
		return insn.segment || insn.lock ? CANNOT_STEP : NULL;
	/* Prefixes do not change a trap. */
	why = x86_why_trap(&insn, is_64);
	if (why)
		return why;
	/* Some kernels do not know the prefix, others take its instructions for one-byte instructions as with VEX. */
	if (insn.is_xop_or_rex2)
		return STEPPED_WRONGLY;
	if (x86_is_not_armed(&insn, is_64))
		return CANNOT_STEP;
	if (x86_is_stepped_wrongly(&insn))
		return STEPPED_WRONGLY;
	if (x86_is_repeated(&insn))
		return "repeats itself, and the kernel would count each repetition as a hit";
	return NULL;
}

static const char *x86_64_why_refused(const uint8_t *code, size_t size)
{
	return x86_why_refused(code, size, true);
}

static const char *i386_why_refused(const uint8_t *code, size_t size)
{
	return x86_why_refused(code, size, false);
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
