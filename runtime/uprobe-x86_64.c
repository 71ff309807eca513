/* SPDX-License-Identifier: MIT */
/*
 * The x86 instructions that uprobes do not accept, or execute wrongly. The rules are those of
 * arch/x86/kernel/uprobes.c, read in Linux 6.18 and 7.2. tests/kernel/steps.sh compares them with the running kernel.
 */
#include "runtime/cpu.h"
#include "runtime/insn-x86_64.h"

#define CANNOT_STEP "is one that the kernel cannot step over"
#define STEPPED_WRONGLY "is one that the kernel would execute wrongly while it is armed"

/*
 * Returns true for a one-byte opcode that is not in the kernel's good_insns_64 or good_insns_32. It looks up the opcode
 * of a VEX or EVEX instruction there, too, as if it were the one-byte opcode of this number. Both tables have 0f, so
 * that the kernel's table of two-byte opcodes, good_2byte_insns, has no effect.
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

/* Returns true for a relative jump or call that is not a VEX or EVEX instruction. */
static bool x86_is_branch(const struct x86_insn *insn)
{
	const uint8_t *code = insn->opcode;

	return x86_opcode_is_jcc(*code) || *code == CALL || *code == JMP_REL32 || *code == JMP_REL8 ||
	       (*code == TWO_BYTES && insn->size > 1 && (code[1] & 0xf0) == 0x80);
}

/*
 * Returns true for AMD's FMA4, vpermil2 and SSE4a, which the kernel's decoder does not know. It does not know VEX and
 * EVEX instructions that are newer than the kernel either; these are not found here.
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
 * branch_setup_xol_ops()). It reports this only when a process maps the file, so a program that starts later would have
 * no hits.
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
 * Returns true for a VEX or EVEX instruction that the kernel takes for the one-byte instruction with the same opcode,
 * when it decides what to do instead of or after the step (branch_setup_xol_ops(), arch_uprobe_analyze_insn()).
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
	/*
	 * movntss, and cmov and setcc with void prefixes: the decoder does not see their operand, and leaves it
	 * relative.
	 */
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

const char *x86_64_why_refused(const uint8_t *code, size_t size)
{
	return x86_why_refused(code, size, true);
}

const char *i386_why_refused(const uint8_t *code, size_t size)
{
	return x86_why_refused(code, size, false);
}
