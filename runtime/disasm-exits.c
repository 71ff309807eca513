/* SPDX-License-Identifier: MIT */
/*
 * Finds the exits of a function.
 *
 * The kernel's uretprobes replace the return address on the stack. Then a program that walks the stack finds an address
 * that belongs to no file: a C++ exception ends the program, and so does a coroutine or a signal stack at a higher
 * address. So probes arm the exits of a function instead: each ret, and each jump to another function, which returns in
 * place of this one. At an exit the stack pointer has the value that it had at the entry, which identifies the call that
 * ends.
 *
 * 1. The function must be understood as a whole. It is decoded from its first to its last byte, because compilers put no
 *    data between x86-64 instructions. The parts include the cold part, which the symbol table calls NAME.cold.
 * 2. The function is refused if a direct jump in it does not lead to the begin of an instruction, if a conditional jump
 *    leaves it, or if control can reach its end.
 * 3. An indirect jump either belongs to a switch and uses a table, or leaves the function. It belongs to a switch if it
 *    has the notrack prefix, or if its address comes from a table: by jmp *table(,%reg,8), or by the sequence
 *    movslq (table,%reg,4), add, jmp.
 *
 * code_entry() uses the same decoder to find out whether anything in the function jumps to the instruction after its
 * endbr64. A switch may do so only by its table, so it reads the tables whose addresses the function computes.
 */
#include <Zydis/Zydis.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/cpu.h"
#include "runtime/disasm-internal.h"
#include "runtime/disasm.h"
#include "sdt/image.h"

#define EXITS_MAX 4096
#define PARTS_MAX 8
#define ENDBR64_SIZE 4
#define JMP_REL8 0xeb
#define TABLE_SIZE_MAX 4096 /* entries of a switch's table */

struct part {
	struct code_bytes code;
	uint8_t *begins; /* for each byte: 1 if an instruction begins there */
};

struct function_code {
	const struct pp_image *image;
	const char *name;
	struct part parts[PARTS_MAX];
	size_t nparts;
	struct code_exit *exits;
	size_t nexits, exits_room;
	uint64_t *targets; /* of direct jumps within the parts */
	size_t ntargets, targets_room;
	uint64_t *tables; /* addresses that the function computes: perhaps tables of its switches */
	size_t ntables, tables_room;
	size_t nswitches;            /* jumps by a table */
	bool calls_after_endbr;      /* a direct call leads to the instruction after the function's endbr64 */
	bool has_table_of_addresses; /* jumps by a table of 8-byte entries, which the loader may relocate */
	bool has_cold_part;
};

typedef ZydisDecodedOperand insn_operands[ZYDIS_MAX_OPERAND_COUNT];

#define WINDOW_SIZE 12

/* The current instruction, at index n, and the n instructions before it. */
struct window {
	ZydisDecodedInstruction insns[WINDOW_SIZE];
	insn_operands operands[WINDOW_SIZE];
	size_t n;
};

/* Adds a part whose bytes are owned by the function from now on. */
static int function_add_part(struct function_code *f, const struct code_bytes *code)
{
	struct part *part = &f->parts[f->nparts++];

	*part = (struct part){ *code, calloc(code->end - code->start, 1) };
	return part->begins ? 0 : error_nomem();
}

static int function_add_cold_part(struct function_code *f, uint64_t start, uint64_t end)
{
	struct code_bytes code;
	int err;

	if (f->nparts == PARTS_MAX)
		return error_set(EOPNOTSUPP, "'%s' of '%s' has more than %d parts", f->name, f->image->path, PARTS_MAX);
	f->has_cold_part = true;
	err = code_bytes_read(f->image, f->name, start, end, &code);
	return err ? err : function_add_part(f, &code);
}

static struct part *function_part(struct function_code *f, uint64_t address)
{
	for (size_t i = 0; i < f->nparts; i++)
		if (address >= f->parts[i].code.start && address < f->parts[i].code.end)
			return &f->parts[i];
	return NULL;
}

static int function_add_exit(struct function_code *f, uint64_t address, bool tail)
{
	int err;

	if (f->nexits == EXITS_MAX)
		return error_set(EOPNOTSUPP, "'%s' of '%s' has more than %d exits", f->name, f->image->path, EXITS_MAX);
	err = ALLOC_GROW(f->exits, f->nexits + 1, f->exits_room);
	if (err)
		return err;
	f->exits[f->nexits++] = (struct code_exit){ address, tail };
	return 0;
}

static int function_add_target(struct function_code *f, uint64_t target)
{
	int err = ALLOC_GROW(f->targets, f->ntargets + 1, f->targets_room);

	if (err)
		return err;
	f->targets[f->ntargets++] = target;
	return 0;
}

static int function_add_table(struct function_code *f, uint64_t table)
{
	int err = ALLOC_GROW(f->tables, f->ntables + 1, f->tables_room);

	if (err)
		return err;
	f->tables[f->ntables++] = table;
	return 0;
}

/* Returns true if the symbol, NAME.cold or NAME.cold.NUMBER, is a cold part of the function. NAME may be an alias. */
static bool function_owns_cold(const struct function_code *f, const char *symbol)
{
	const char *end = strstr(symbol, ".cold");
	uint64_t address = 0;
	char *name;

	if (!end || (end[5] && end[5] != '.'))
		return false;
	if (!strncmp(symbol, f->name, (size_t)(end - symbol)) && !f->name[end - symbol])
		return true;
	name = strndup(symbol, (size_t)(end - symbol));
	if (!name || image_symbol(f->image, name, &address))
		address = 0;
	free(name);
	return address && address == f->parts[0].code.start;
}

/* Finds the function's cold part that contains the target. */
static bool function_cold_range(const struct function_code *f, uint64_t target, uint64_t *start, uint64_t *end)
{
	const char *name = image_function_range(f->image, target, start, end);

	return name && function_owns_cold(f, name);
}

/*
 * Adds the cold part of a function with a switch, if no direct jump has added it: the switch's table may be the only way to
 * it. Compilers make at most one.
 */
static int function_add_named_cold_part(struct function_code *f)
{
	uint64_t address = 0, found = 0, start, end;
	bool several = false;

	for (size_t i = 0; i < pp_image_functions(f->image) && !several; i++) {
		const char *name = pp_image_function(f->image, i);

		if (!name || !function_owns_cold(f, name))
			continue;
		several = image_symbol(f->image, name, &found) || (address && address != found);
		address = found;
	}
	if (several)
		return error_set(EOPNOTSUPP,
		                 "'%s' of '%s' has a switch, and several functions have a cold part of its name",
		                 f->name, f->image->path);
	if (!address || !image_function_range(f->image, address, &start, &end) || start != address)
		return 0;
	return function_add_cold_part(f, start, end);
}

static int function_add_direct_jump(struct function_code *f, uint64_t address, uint64_t target, bool conditional)
{
	uint64_t start, end;
	int err;

	/* A jump to the first instruction begins another call, because it hits the breakpoint there. */
	if (target == f->parts[0].code.start && conditional)
		return error_set(EOPNOTSUPP, "'%s' of '%s' has a conditional jump to its first instruction", f->name,
		                 f->image->path);
	if (target == f->parts[0].code.start)
		return function_add_exit(f, address, true);
	if (function_part(f, target))
		return function_add_target(f, target);
	if (function_cold_range(f, target, &start, &end)) {
		err = function_add_cold_part(f, start, end);
		return err ? err : function_add_target(f, target);
	}
	if (conditional)
		return error_set(EOPNOTSUPP,
		                 "'%s' of '%s' has a conditional jump to 0x%lx, which may belong to another function",
		                 f->name, f->image->path, (unsigned long)target);
	return function_add_exit(f, address, true);
}

static bool operand_writes_register(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operand,
                                    ZydisRegister reg)
{
	return insn->operand_count_visible && operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, operand->reg.value) ==
	               ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg) &&
	       operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
}

/*
 * Returns true if the last writers of the register are a load from a table and an addition. Sets *wide if the entries of the
 * table have 8 bytes.
 */
static bool window_loads_from_table(const struct window *w, ZydisRegister reg, bool *wide)
{
	bool added = false;

	for (size_t n = w->n; n--;) {
		const ZydisDecodedInstruction *insn = &w->insns[n];
		const ZydisDecodedOperand *operands = w->operands[n];

		if (!operand_writes_register(insn, &operands[0], reg))
			continue;
		if (insn->mnemonic == ZYDIS_MNEMONIC_ADD && !added && operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
			added = true;
			continue;
		}
		if (operands[1].type != ZYDIS_OPERAND_TYPE_MEMORY)
			return false;
		if (insn->mnemonic == ZYDIS_MNEMONIC_MOVSXD)
			return added;
		*wide = insn->mnemonic == ZYDIS_MNEMONIC_MOV && operands[1].mem.scale == 8;
		return *wide && operands[1].mem.index != ZYDIS_REGISTER_NONE;
	}
	return false;
}

/*
 * Returns true if the current instruction, an indirect jump, belongs to a switch. Sets *wide if the entries of its table have
 * 8 bytes.
 */
static bool window_jumps_by_table(const struct window *w, bool *wide)
{
	const ZydisDecodedOperand *operand = w->operands[w->n];
	bool notrack = w->insns[w->n].attributes & ZYDIS_ATTRIB_HAS_NOTRACK;

	*wide = operand->type == ZYDIS_OPERAND_TYPE_MEMORY;
	if (*wide)
		return notrack || (operand->mem.index != ZYDIS_REGISTER_NONE && operand->mem.scale == 8);
	return (operand->type == ZYDIS_OPERAND_TYPE_REGISTER && window_loads_from_table(w, operand->reg.value, wide)) ||
	       notrack;
}

static int function_add_jump(struct function_code *f, const struct window *w, uint64_t address, bool conditional)
{
	const ZydisDecodedInstruction *insn = &w->insns[w->n];
	const ZydisDecodedOperand *operand = w->operands[w->n];
	uint64_t target;
	bool wide;

	if (ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(insn, operand, address, &target)) &&
	    operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return function_add_direct_jump(f, address, target, conditional);
	if (!window_jumps_by_table(w, &wide))
		return function_add_exit(f, address, true);
	f->nswitches++;
	f->has_table_of_addresses |= wide;
	return 0;
}

/* Records addresses that a lea computes, and direct calls of the function's own code. */
static int function_add_other(struct function_code *f, const struct window *w, uint64_t address)
{
	const ZydisDecodedInstruction *insn = &w->insns[w->n];
	uint64_t computed = insn_computed_address(insn, w->operands[w->n], address), target;

	if (insn->mnemonic == ZYDIS_MNEMONIC_CALL && w->operands[w->n]->type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
	    ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(insn, w->operands[w->n], address, &target)))
		f->calls_after_endbr |= target == f->parts[0].code.start + ENDBR64_SIZE;
	return computed ? function_add_table(f, computed) : 0;
}

/* Records the current instruction, at address. Sets *continues to whether control can reach the next one. */
static int function_add_insn(struct function_code *f, const struct window *w, uint64_t address, bool *continues)
{
	const ZydisDecodedInstruction *insn = &w->insns[w->n];

	switch (insn->meta.category) {
	case ZYDIS_CATEGORY_RET: *continues = false; return function_add_exit(f, address, false);
	case ZYDIS_CATEGORY_UNCOND_BR: *continues = false; return function_add_jump(f, w, address, false);
	case ZYDIS_CATEGORY_COND_BR: *continues = true; return function_add_jump(f, w, address, true);
	/* The linker leaves a nop after a jump that it shortens: it does not make control reach the end. */
	case ZYDIS_CATEGORY_NOP: return 0;
	default:
		/* A call as the last instruction does not return. */
		*continues = insn->mnemonic != ZYDIS_MNEMONIC_UD2 && insn->mnemonic != ZYDIS_MNEMONIC_HLT &&
		             insn->mnemonic != ZYDIS_MNEMONIC_CALL && insn->mnemonic != ZYDIS_MNEMONIC_INT3;
		return function_add_other(f, w, address);
	}
}

/* Makes the current instruction one of those before. */
static void window_advance(struct window *w)
{
	if (++w->n < WINDOW_SIZE)
		return;
	memmove(w->insns, w->insns + 1, (WINDOW_SIZE - 1) * sizeof(*w->insns));
	memmove(w->operands, w->operands + 1, (WINDOW_SIZE - 1) * sizeof(*w->operands));
	w->n--;
}

/* Decodes a part as a whole. Adds parts that it jumps to. */
static int function_decode_part(struct function_code *f, const struct part *part)
{
	struct window window = { .n = 0 };
	size_t size = part->code.end - part->code.start;
	bool continues = true;
	ZydisDecoder decoder;

	decoder_init(&decoder, true);
	for (size_t at = 0; at < size;) {
		ZydisDecodedInstruction *insn = &window.insns[window.n];
		uint64_t address = part->code.start + at;
		int err;

		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, part->code.bytes + at, size - at, insn,
		                                         window.operands[window.n])))
			return error_set(EOPNOTSUPP, "'%s' of '%s': the instruction at 0x%lx cannot be decoded",
			                 f->name, f->image->path, (unsigned long)address);
		part->begins[at] = 1;
		err = function_add_insn(f, &window, address, &continues);
		if (err)
			return err;
		at += insn->length;
		window_advance(&window);
	}
	if (continues)
		return error_set(EOPNOTSUPP, "'%s' of '%s' continues past its end", f->name, f->image->path);
	return 0;
}

/* A table of 4-byte offsets from its own address. */
struct table {
	uint64_t address;
	int32_t offsets[64]; /* that were read last */
	size_t n;
};

/* Sets *target to where the next offset leads. Returns false at the end of the file's data, or after TABLE_SIZE_MAX. */
static bool table_next(const struct function_code *f, struct table *table, uint64_t *target)
{
	const size_t k = table->n % (sizeof(table->offsets) / sizeof(*table->offsets));
	const uint64_t at = table->address + table->n * sizeof(*table->offsets);

	if (table->n++ == TABLE_SIZE_MAX)
		return false;
	/* The last entries of a table may be at the end of the file's data. */
	if (!k && code_read_some(f->image, at, sizeof(table->offsets), table->offsets))
		return false;
	*target = table->address + (uint64_t)(int64_t)table->offsets[k];
	return true;
}

/* Returns true if a direct jump leads from the code into the function, but not to its begin. */
static bool code_jumps_into(struct function_code *f, uint64_t start, uint64_t end)
{
	ZydisDecodedInstruction insn;
	struct code_bytes code;
	ZydisDecoder decoder;
	insn_operands operands;
	bool found = false;

	if (code_bytes_read(f->image, f->name, start, end, &code))
		return false;
	decoder_init(&decoder, true);
	for (size_t at = 0; at < end - start && !found; at += insn.length) {
		uint64_t target;

		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.bytes + at, end - start - at, &insn, operands)))
			break;
		found = (insn.meta.category == ZYDIS_CATEGORY_UNCOND_BR ||
		         insn.meta.category == ZYDIS_CATEGORY_COND_BR) &&
		        operands->type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
		        ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&insn, operands, start + at, &target)) &&
		        target != f->parts[0].code.start && function_part(f, target);
	}
	free(code.bytes);
	return found;
}

/*
 * Adds the cold part of a function in a file whose symbols do not name it. A table leads to it, and it jumps back into the
 * function. The end of a table is not known: its first entry that leads elsewhere may belong to the next table.
 */
static int function_add_unnamed_cold_part(struct function_code *f)
{
	uint64_t target, start, end;

	for (size_t i = 0; i < f->ntables; i++) {
		struct table table = { .address = f->tables[i] };
		bool more;

		while ((more = table_next(f, &table, &target)) && function_part(f, target))
			;
		if (more && image_code_range(f->image, target, &start, &end) && code_jumps_into(f, start, end))
			return function_add_cold_part(f, start, end);
	}
	return 0;
}

/* Adds the cold part of a function with a switch, if no direct jump has added it. */
static int function_add_indirect_cold_part(struct function_code *f)
{
	int err = function_add_named_cold_part(f);

	return err || f->has_cold_part ? err : function_add_unnamed_cold_part(f);
}

static int function_check_targets(struct function_code *f)
{
	for (size_t i = 0; i < f->ntargets; i++) {
		const struct part *part = function_part(f, f->targets[i]);

		if (!part->begins[f->targets[i] - part->code.start])
			return error_set(EOPNOTSUPP, "'%s' of '%s' jumps into the middle of an instruction, to 0x%lx",
			                 f->name, f->image->path, (unsigned long)f->targets[i]);
	}
	return 0;
}

static int function_decode(struct function_code *f, uint64_t address)
{
	struct code_bytes code;
	int err = code_bytes_of_function(f->image, address, &f->name, &code);

	if (err)
		return err;
	err = function_add_part(f, &code);
	for (size_t i = 0; i < f->nparts && !err; i++) {
		err = function_decode_part(f, &f->parts[i]);
		if (err)
			return err;
		if (i + 1 == f->nparts && f->nswitches && !f->has_cold_part)
			err = function_add_indirect_cold_part(f);
	}
	if (err)
		return err;
	return function_check_targets(f);
}

static void function_release(struct function_code *f)
{
	for (size_t i = 0; i < f->nparts; i++) {
		free(f->parts[i].code.bytes);
		free(f->parts[i].begins);
	}
	free(f->targets);
	free(f->tables);
	free(f->exits);
}

static int exit_compare(const void *a, const void *b)
{
	const struct code_exit *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

int code_exits(const struct pp_image *image, uint64_t address, struct code_exit **exits, size_t *n)
{
	struct function_code f = { .image = image };
	int err;

	if (image->machine == EM_AARCH64)
		return code_exits_aarch64(image, address, exits, n);
	err = function_decode(&f, address);
	if (err)
		goto out;
	if (!f.nexits) {
		err = error_set(EOPNOTSUPP, "'%s' of '%s' never returns", f.name, image->path);
		goto out;
	}
	qsort(f.exits, f.nexits, sizeof(*f.exits), exit_compare);
	*exits = f.exits;
	*n = f.nexits;
	f.exits = NULL;
out:
	function_release(&f);
	return err;
}

/* ---- the instruction after endbr64 ---- */

/*
 * Searches a table for an offset that leads to the target. Returns false if the first one does not lead into the function, so
 * that this is not a table. Sets *found if an offset leads to the target.
 */
static bool table_search(struct function_code *f, uint64_t address, uint64_t target, bool *found)
{
	struct table table = { .address = address };
	uint64_t to;
	size_t n = 0;

	while (table_next(f, &table, &to)) {
		*found |= to == target;
		if (!function_part(f, to))
			break;
		n++;
	}
	*found |= n == TABLE_SIZE_MAX;
	return n > 0;
}

static int address_compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/*
 * Returns true if the function may jump to the address: directly, by the table of a switch, or because it computes the
 * address. A switch whose table is not found may jump anywhere.
 */
static bool function_jumps_to(struct function_code *f, uint64_t address)
{
	size_t tables = 0;
	bool found = f->has_table_of_addresses;

	for (size_t i = 0; i < f->ntargets && !found; i++)
		found = f->targets[i] == address;
	if (f->ntables)
		qsort(f->tables, f->ntables, sizeof(*f->tables), address_compare);
	for (size_t i = 0; i < f->ntables && !found; i++) {
		found = f->tables[i] == address;
		if (f->nswitches && !found && (!i || f->tables[i] != f->tables[i - 1]))
			tables += table_search(f, f->tables[i], address, &found);
	}
	return found || tables < f->nswitches;
}

/*
 * Returns true if the function begins with endbr64 and an instruction that the kernel emulates. Programs change nops and short
 * jumps over nops while they run: they are where tracers, such as LLVM's XRay, put their calls.
 */
static bool function_begins_emulated(struct function_code *f)
{
	static const uint8_t endbr64[ENDBR64_SIZE] = { 0xf3, 0x0f, 0x1e, 0xfa };
	const struct code_bytes *code = &f->parts[0].code;
	const uint8_t *next = code->bytes + ENDBR64_SIZE;
	const struct cpu_code *cpu = cpu_code(EM_X86_64);

	if (code->end - code->start <= ENDBR64_SIZE + 1 || memcmp(code->bytes, endbr64, ENDBR64_SIZE))
		return false;
	if (*next == JMP_REL8 && function_part(f, code->start + ENDBR64_SIZE + 2 + (uint64_t)(int8_t)next[1]))
		return false;
	return cpu->is_emulated(next) && !cpu->is_nop(next, code->end - code->start - ENDBR64_SIZE);
}

uint64_t code_entry(const struct pp_image *image, uint64_t address)
{
	const uint64_t after = address + ENDBR64_SIZE;
	struct function_code f = { .image = image };
	uint64_t start, end;
	bool skip;

	if (image->machine != EM_X86_64)
		return address;
	skip = !function_decode(&f, address) && function_begins_emulated(&f) &&
	       image_code_range(image, after, &start, &end) && start == address && !f.calls_after_endbr &&
	       !function_jumps_to(&f, after);
	function_release(&f);
	return skip ? after : address;
}
