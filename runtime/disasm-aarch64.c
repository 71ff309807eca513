/* SPDX-License-Identifier: MIT */
/*
 * Finds the exits of aarch64 functions, for the reasons and by the rules of disasm-exits.c. Encodings are those of the Arm
 * Architecture Reference Manual, C4.1.
 *
 * 1. All instructions have four bytes. A function that loads data from its own code is refused, because the data cannot be
 *    distinguished from instructions.
 * 2. Exits are `ret`, a direct jump to another function, and an indirect jump that does not belong to a switch. The kernel
 *    does not arm returns and jumps that authenticate their address (retaa, braa), so a function with one is refused.
 * 3. An indirect jump belongs to a switch if its address is a sum, and one of the summands was loaded from a table of less
 *    than 8 bytes an element: ldrsw x1, [x0, x1, lsl 2]; add x0, x0, x1; br x0. If the address itself was loaded from a
 *    table of addresses, it can belong to a label or to a function. Then the function is refused.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/disasm-internal.h"
#include "runtime/disasm.h"
#include "sdt/image.h"

#define INSN_SIZE 4
#define EXITS_MAX 4096
#define PARTS_MAX 8
#define WINDOW_SIZE 16 /* instructions before an indirect jump */
#define NO_WRITER SIZE_MAX

struct arm64_function {
	const struct pp_image *image;
	const char *name;
	struct code_bytes parts[PARTS_MAX];
	size_t nparts;
	uint64_t *literals; /* addresses of data that the function loads */
	size_t nliterals, literals_room;
	struct code_exit *exits;
	size_t nexits, exits_room;
};

static uint32_t insn_at(const struct code_bytes *code, size_t i)
{
	const uint8_t *b = code->bytes + i * INSN_SIZE;

	return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* Returns the signed field of so many bits that begins at bit low. */
static int64_t insn_field(uint32_t insn, int low, int bits)
{
	return (int64_t)((uint64_t)insn << (64 - low - bits)) >> (64 - bits);
}

static int insn_register(uint32_t insn, int low)
{
	return insn >> low & 31;
}

static bool insn_is_call(uint32_t insn)
{
	return (insn & 0xfc000000) == 0x94000000 || (insn & 0xfefff000) == 0xd63f0000; /* bl, blr and blraa */
}

static bool insn_stops(uint32_t insn)
{
	return !(insn >> 16) || (insn & 0xffe0001f) == 0xd4200000 ||
	       (insn & 0xffe0001f) == 0xd4400000; /* udf, brk, hlt */
}

/* ---- registers ---- */

/* Returns true if the instruction sets the register, or if it is a call, which may set every register. */
static bool insn_sets(uint32_t insn, int reg)
{
	switch (insn >> 25 & 15) {
	case 8:
	case 9: /* immediate */
	case 5:
	case 13: break; /* register */
	case 4:
	case 6:
	case 12:
	case 14:                                       /* loads and stores */
		if ((insn & 0x3b000000) == 0x18000000) /* literal */
			break;
		if ((insn & 0x3a000000) == 0x28000000) /* pair */
			return insn >> 22 & 1 && (insn_register(insn, 0) == reg || insn_register(insn, 10) == reg);
		/* neither a store, nor a vector register, nor a prefetch */
		return insn >> 22 & 3 && !(insn >> 26 & 1) && (insn & 0xc0c00000) != 0xc0800000 &&
		       insn_register(insn, 0) == reg;
	default: return insn_is_call(insn);
	}
	return insn_register(insn, 0) == reg;
}

/* Returns the index of the last instruction before i, within the window, that sets the register. */
static size_t code_writer(const struct code_bytes *code, size_t i, int reg)
{
	for (size_t n = 0; i-- && n < WINDOW_SIZE; n++)
		if (insn_sets(insn_at(code, i), reg))
			return i;
	return NO_WRITER;
}

/* Returns the bytes of a load whose address is a register plus a register, 0 for other instructions. */
static size_t insn_table_load(uint32_t insn)
{
	return (insn & 0x3f200c00) == 0x38200800 && insn >> 22 & 3 ? (size_t)1 << (insn >> 30) : 0;
}

static size_t code_table_load(const struct code_bytes *code, size_t i, int reg)
{
	size_t writer = code_writer(code, i, reg);

	return writer == NO_WRITER ? 0 : insn_table_load(insn_at(code, writer));
}

enum indirect { INDIRECT_SWITCH, INDIRECT_EXIT, INDIRECT_UNKNOWN };

/* Returns where the indirect jump at index i leads. */
static enum indirect code_indirect(const struct code_bytes *code, size_t i)
{
	size_t writer = code_writer(code, i, insn_register(insn_at(code, i), 5));
	uint32_t insn = writer == NO_WRITER ? 0 : insn_at(code, writer);
	const int summands[2] = { insn_register(insn, 5), insn_register(insn, 16) };

	if (insn_table_load(insn) == 8)
		return INDIRECT_UNKNOWN;
	if ((insn & 0xff200000) != 0x8b000000 && (insn & 0xffe00000) != 0x8b200000) /* add */
		return INDIRECT_EXIT;
	for (int k = 0; k < 2; k++) {
		size_t size = code_table_load(code, writer, summands[k]);

		if (size && size < 8)
			return INDIRECT_SWITCH;
	}
	return INDIRECT_EXIT;
}

/* ---- the function ---- */

static bool function_has(const struct arm64_function *f, uint64_t address)
{
	for (size_t i = 0; i < f->nparts; i++)
		if (address - f->parts[i].start < f->parts[i].end - f->parts[i].start)
			return true;
	return false;
}

static int function_refuse(const struct arm64_function *f, uint64_t address, const char *why)
{
	return error_set(EOPNOTSUPP, "'%s' of '%s': the instruction at 0x%lx %s", f->name, f->image->path,
	                 (unsigned long)address, why);
}

static int arm64_add_exit(struct arm64_function *f, uint64_t address, bool tail)
{
	if (f->nexits == EXITS_MAX)
		return error_set(EOPNOTSUPP, "'%s' of '%s' has more than %d exits", f->name, f->image->path, EXITS_MAX);
	if (ALLOC_GROW(f->exits, f->nexits + 1, f->exits_room))
		return -ENOMEM;
	f->exits[f->nexits++] = (struct code_exit){ address, tail };
	return 0;
}

/* Adds the cold part of the function that contains the address. Returns 0 with *is_part false if there is none. */
static int arm64_add_cold(struct arm64_function *f, uint64_t address, bool *is_part)
{
	uint64_t start, end;
	const char *name = image_function_range(f->image, address, &start, &end);
	size_t n = strlen(f->name);
	int err;

	*is_part = name && !strncmp(name, f->name, n) && !strncmp(name + n, ".cold", 5) &&
	           (!name[n + 5] || name[n + 5] == '.');
	if (!*is_part)
		return 0;
	if (f->nparts == PARTS_MAX)
		return error_set(EOPNOTSUPP, "'%s' of '%s' has more than %d parts", f->name, f->image->path, PARTS_MAX);
	err = code_bytes_read(f->image, f->name, start, end, &f->parts[f->nparts]);
	f->nparts += !err;
	return err;
}

static int arm64_add_jump(struct arm64_function *f, uint64_t address, uint64_t target, bool conditional)
{
	bool is_part = false;
	int err;

	/* A jump to the first instruction begins another call, because it hits the breakpoint there. */
	if (target == f->parts[0].start)
		return conditional ? function_refuse(f, address, "is a conditional jump to the first one")
		                   : arm64_add_exit(f, address, true);
	if (function_has(f, target))
		return 0;
	err = arm64_add_cold(f, target, &is_part);
	if (err || is_part)
		return err;
	if (conditional)
		return function_refuse(f, address, "is a conditional jump, which may lead to another function");
	return arm64_add_exit(f, address, true);
}

static int arm64_add_indirect(struct arm64_function *f, const struct code_bytes *code, size_t i)
{
	uint64_t address = code->start + i * INSN_SIZE;

	switch (code_indirect(code, i)) {
	case INDIRECT_SWITCH: return 0;
	case INDIRECT_EXIT: return arm64_add_exit(f, address, true);
	default: return function_refuse(f, address, "jumps by a table of addresses, perhaps to another function");
	}
}

static int arm64_add_literal(struct arm64_function *f, uint64_t address)
{
	if (ALLOC_GROW(f->literals, f->nliterals + 1, f->literals_room))
		return -ENOMEM;
	f->literals[f->nliterals++] = address;
	return 0;
}

/* Records the instruction at index i. Sets *continues to whether control can reach the next one. */
static int arm64_add_insn(struct arm64_function *f, const struct code_bytes *code, size_t i, bool *continues)
{
	const uint32_t insn = insn_at(code, i);
	const uint64_t address = code->start + i * INSN_SIZE;

	*continues = false;
	if ((insn & 0xfffffc1f) == 0xd65f0000) /* ret */
		return arm64_add_exit(f, address, false);
	if ((insn & 0xfffffc1f) == 0xd61f0000) /* br */
		return arm64_add_indirect(f, code, i);
	if ((insn & 0xfffff800) == 0xd65f0800 || (insn & 0xfefff800) == 0xd61f0800) /* retaa, braaz, braa */
		return function_refuse(f, address, "authenticates a return address or jump, and cannot be armed");
	if ((insn & 0xfc000000) == 0x14000000) /* b */
		return arm64_add_jump(f, address, address + (uint64_t)(insn_field(insn, 0, 26) * INSN_SIZE), false);
	/* A call as the last instruction does not return. */
	*continues = !insn_is_call(insn) && !insn_stops(insn);
	if ((insn & 0xff000000) == 0x54000000 || (insn & 0x7e000000) == 0x34000000) /* b.cond, cbz */
		return arm64_add_jump(f, address, address + (uint64_t)(insn_field(insn, 5, 19) * INSN_SIZE), true);
	if ((insn & 0x7e000000) == 0x36000000) /* tbz */
		return arm64_add_jump(f, address, address + (uint64_t)(insn_field(insn, 5, 14) * INSN_SIZE), true);
	if ((insn & 0x3b000000) == 0x18000000) /* ldr from the code */
		return arm64_add_literal(f, address + (uint64_t)(insn_field(insn, 5, 19) * INSN_SIZE));
	return 0;
}

/* Decodes a part. Adds parts that it jumps to. */
static int arm64_decode_part(struct arm64_function *f, struct code_bytes code)
{
	const size_t n = (code.end - code.start) / INSN_SIZE;
	bool continues = true;

	if (code.start % INSN_SIZE || code.end % INSN_SIZE)
		return error_set(EOPNOTSUPP, "'%s' of '%s' is not aligned", f->name, f->image->path);
	for (size_t i = 0; i < n; i++) {
		int err = arm64_add_insn(f, &code, i, &continues);

		if (err)
			return err;
	}
	if (continues)
		return error_set(EOPNOTSUPP, "'%s' of '%s' continues past its end", f->name, f->image->path);
	return 0;
}

static int arm64_decode(struct arm64_function *f, uint64_t address)
{
	int err = code_bytes_of_function(f->image, address, &f->name, &f->parts[0]);

	if (err)
		return err;
	f->nparts = 1;
	for (size_t i = 0; i < f->nparts && !err; i++)
		err = arm64_decode_part(f, f->parts[i]);
	if (err)
		return err;
	for (size_t i = 0; i < f->nliterals; i++)
		if (function_has(f, f->literals[i]))
			return error_set(EOPNOTSUPP, "'%s' of '%s' has data in its code, at 0x%lx", f->name,
			                 f->image->path, (unsigned long)f->literals[i]);
	return f->nexits ? 0 : error_set(EOPNOTSUPP, "'%s' of '%s' never returns", f->name, f->image->path);
}

static int arm64_exit_compare(const void *a, const void *b)
{
	const struct code_exit *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

int code_exits_aarch64(const struct pp_image *image, uint64_t address, struct code_exit **exits, size_t *n)
{
	struct arm64_function f = { .image = image };
	int err = arm64_decode(&f, address);

	for (size_t i = 0; i < f.nparts; i++)
		free(f.parts[i].bytes);
	free(f.literals);
	if (err) {
		free(f.exits);
		return err;
	}
	qsort(f.exits, f.nexits, sizeof(*f.exits), arm64_exit_compare);
	*exits = f.exits;
	*n = f.nexits;
	return 0;
}

size_t code_functions_named_aarch64(const struct pp_image *image, uint64_t address, uint64_t *functions, size_t room)
{
	uint64_t pages[32] = { 0 };
	struct code_bytes code;
	const char *name;
	size_t found = 0;

	if (code_bytes_of_function(image, address, &name, &code))
		return 0;
	for (size_t i = 0; i < (code.end - code.start) / INSN_SIZE && found < room; i++) {
		const uint32_t insn = insn_at(&code, i);
		const uint64_t at = code.start + i * INSN_SIZE;
		const uint64_t immediate = (uint64_t)(insn_field(insn, 5, 19) * 4 + (insn >> 29 & 3));
		uint64_t computed = 0;

		if ((insn & 0x9f000000) == 0x90000000) /* adrp */
			pages[insn_register(insn, 0)] = (at & ~(uint64_t)0xfff) + (immediate << 12);
		else if ((insn & 0x9f000000) == 0x10000000) /* adr */
			computed = at + immediate;
		else if ((insn & 0xffc00000) == 0x91000000 && pages[insn_register(insn, 5)]) /* add, #imm */
			computed = pages[insn_register(insn, 5)] + (insn >> 10 & 0xfff);
		if (computed != address)
			found = code_function_add(image, computed, functions, found);
	}
	free(code.bytes);
	return found;
}
