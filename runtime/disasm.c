/* SPDX-License-Identifier: MIT */
/*
 * Where a function is left.
 *
 * The kernel's own way to see a return is to exchange the return address on the stack.
 * Then whatever walks the stack finds an address in no file: a C++ exception that
 * passes ends the program, and so does a coroutine or a signal stack that lies above.
 * So the places where functions are left are armed instead: each `ret`, and each jump
 * to another function, which will return in this one's stead. The stack pointer there
 * is what it was at the entry, which tells the call that ends.
 *
 * For this the whole function must be understood. It is decoded from its first byte to
 * its last (compilers put no data between x86-64 instructions), with the cold part
 * that the compiler moved elsewhere and the symbol table calls NAME.cold. It is
 * refused unless every direct jump within it meets the begin of an instruction, no
 * conditional jump leaves it, and it does not run out at its end.
 *
 * An indirect jump is a switch's, through a table, or leaves. It is a switch's where
 * it is marked notrack, or its address comes from a table: jmp *table(,%reg,8), or the
 * sequence movslq (table,%reg,4), add, jmp.
 */
#include "runtime/disasm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <Zydis/Zydis.h>
#include <elf.h>
#include <search.h>

#include "base/error.h"
#include "sdt/image.h"

#define SIZE_MAX_CODE (4u << 20)
#define EXITS_MAX 4096
#define PARTS_MAX 8

struct part {
	uint64_t start, end; /* addresses */
	uint8_t *bytes;
	uint8_t *begins; /* of each byte: an instruction begins there */
};

struct code {
	const struct pp_image *image;
	const char *name;
	struct part parts[PARTS_MAX];
	size_t nparts;
	struct code_exit *exits;
	size_t nexits;
	uint64_t *targets; /* of direct jumps within the parts */
	size_t ntargets, room;
};

typedef ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];

static int read_bytes(const struct pp_image *image, uint64_t address, size_t size, uint8_t *to)
{
	int fd = image_reopen(image), err = 0;
	uint64_t offset;

	if (fd < 0)
		return fd;
	if (image_offset(image, address, &offset) || pread(fd, to, size, (off_t)offset) != (ssize_t)size)
		err = error_set(EIO, "%s: cannot read the code at 0x%lx", image->path, (unsigned long)address);
	close(fd);
	return err;
}

static int add_part(struct code *c, uint64_t start, uint64_t end)
{
	struct part *p = &c->parts[c->nparts];

	if (c->nparts == PARTS_MAX)
		return error_set(EOPNOTSUPP, "'%s' of %s is in more than %d parts", c->name, c->image->path, PARTS_MAX);
	if (end == start)
		return error_set(EOPNOTSUPP, "the symbol table of %s does not tell how long '%s' is", c->image->path,
		                 c->name);
	if (end - start > SIZE_MAX_CODE)
		return error_set(EOPNOTSUPP, "'%s' of %s is too long: %lu bytes", c->name, c->image->path,
		                 (unsigned long)(end - start));
	*p = (struct part){ start, end, malloc(end - start), calloc(end - start, 1) };
	c->nparts++;
	if (!p->bytes || !p->begins)
		return error_nomem();
	return read_bytes(c->image, start, end - start, p->bytes);
}

static struct part *part_of(struct code *c, uint64_t address)
{
	for (size_t i = 0; i < c->nparts; i++)
		if (address >= c->parts[i].start && address < c->parts[i].end)
			return &c->parts[i];
	return NULL;
}

static int add_exit(struct code *c, uint64_t address, bool tail)
{
	if (c->nexits == EXITS_MAX)
		return error_set(EOPNOTSUPP, "'%s' of %s is left in more than %d places", c->name, c->image->path,
		                 EXITS_MAX);
	if (!(c->nexits & (c->nexits - 1))) {
		void *more = realloc(c->exits, (2 * c->nexits + 1) * sizeof(*c->exits));

		if (!more)
			return error_nomem();
		c->exits = more;
	}
	c->exits[c->nexits++] = (struct code_exit){ address, tail };
	return 0;
}

static int add_target(struct code *c, uint64_t target)
{
	if (c->ntargets == c->room) {
		size_t room = c->room ? 2 * c->room : 64;
		void *more = realloc(c->targets, room * sizeof(*c->targets));

		if (!more)
			return error_nomem();
		c->targets = more;
		c->room = room;
	}
	c->targets[c->ntargets++] = target;
	return 0;
}

/* The function's cold part, if that is where target is. */
static bool cold_part(const struct code *c, uint64_t target, uint64_t *start, uint64_t *end)
{
	const char *name = image_function_range(c->image, target, start, end);
	size_t n = strlen(c->name);

	return name && !strncmp(name, c->name, n) && !strncmp(name + n, ".cold", 5) &&
	       (!name[n + 5] || name[n + 5] == '.');
}

static int direct_jump(struct code *c, uint64_t address, uint64_t target, bool conditional)
{
	uint64_t start, end;

	/* A jump to the first instruction begins another call: the trap there meets it. */
	if (target != c->parts[0].start && part_of(c, target))
		return add_target(c, target);
	if (target == c->parts[0].start)
		return conditional ? error_set(EOPNOTSUPP, "'%s' of %s jumps back to its first instruction", c->name,
		                               c->image->path)
		                   : add_exit(c, address, true);
	if (cold_part(c, target, &start, &end)) {
		int err = add_part(c, start, end);

		return err ? err : add_target(c, target);
	}
	if (conditional)
		return error_set(EOPNOTSUPP,
		                 "'%s' of %s jumps on a condition to 0x%lx, of which it is not known whether it "
		                 "belongs to it",
		                 c->name, c->image->path, (unsigned long)target);
	return add_exit(c, address, true);
}

/* Of the instructions before it, the last writers of the register are an addition to it and a load from a table. */
static bool from_table(ZydisRegister reg, const ZydisDecodedInstruction *before, const operands *before_operands,
                       size_t n)
{
	bool added = false;

	while (n--) {
		const ZydisDecodedOperand *to = before_operands[n];

		if (!before[n].operand_count_visible || to[0].type != ZYDIS_OPERAND_TYPE_REGISTER ||
		    ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, to[0].reg.value) !=
		            ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg) ||
		    !(to[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			continue;
		if (before[n].mnemonic == ZYDIS_MNEMONIC_ADD && !added && to[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
			added = true;
		else if (before[n].mnemonic == ZYDIS_MNEMONIC_MOVSXD && to[1].type == ZYDIS_OPERAND_TYPE_MEMORY)
			return added;
		else if (before[n].mnemonic == ZYDIS_MNEMONIC_MOV && to[1].type == ZYDIS_OPERAND_TYPE_MEMORY)
			return to[1].mem.index != ZYDIS_REGISTER_NONE && to[1].mem.scale == 8;
		else
			return false;
	}
	return false;
}

#define WINDOW 12

/* Decodes a part, whole. */
static int decode(struct code *c, size_t which)
{
	struct part *p = &c->parts[which];
	ZydisDecodedInstruction window[WINDOW];
	operands window_operands[WINDOW];
	size_t nwindow = 0, n = p->end - p->start;
	bool runs_on = true;
	ZydisDecoder decoder;
	int err = 0;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (size_t at = 0; at < n && !err;) {
		/* add_part() does not move the bytes */
		const uint8_t *bytes = c->parts[which].bytes;
		uint64_t address = p->start + at, target;
		ZydisDecodedInstruction *insn;
		ZydisDecodedOperand *operand;

		if (nwindow == WINDOW) {
			memmove(window, window + 1, (WINDOW - 1) * sizeof(*window));
			memmove(window_operands, window_operands + 1, (WINDOW - 1) * sizeof(*window_operands));
			nwindow--;
		}
		insn = &window[nwindow];
		operand = window_operands[nwindow];
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes + at, n - at, insn, operand)))
			return error_set(EOPNOTSUPP, "'%s' of %s is not code all along: 0x%lx cannot be decoded",
			                 c->name, c->image->path, (unsigned long)address);
		c->parts[which].begins[at] = 1;
		runs_on = true;
		switch (insn->meta.category) {
		case ZYDIS_CATEGORY_RET:
			err = add_exit(c, address, false);
			runs_on = false;
			break;
		case ZYDIS_CATEGORY_UNCOND_BR:
		case ZYDIS_CATEGORY_COND_BR:
			runs_on = insn->meta.category == ZYDIS_CATEGORY_COND_BR;
			if (ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(insn, operand, address, &target)) &&
			    operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
				err = direct_jump(c, address, target, runs_on);
			else if (insn->attributes & ZYDIS_ATTRIB_HAS_NOTRACK)
				;
			else if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY &&
			         operand->mem.index != ZYDIS_REGISTER_NONE && operand->mem.scale == 8)
				;
			else if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER ||
			         !from_table(operand->reg.value, window, (const operands *)window_operands, nwindow))
				err = add_exit(c, address, true);
			break;
		case ZYDIS_CATEGORY_NOP:
		case ZYDIS_CATEGORY_WIDENOP: break;
		default:
			/* what does not come back */
			runs_on = insn->mnemonic != ZYDIS_MNEMONIC_UD2 && insn->mnemonic != ZYDIS_MNEMONIC_HLT &&
			          insn->mnemonic != ZYDIS_MNEMONIC_CALL && insn->mnemonic != ZYDIS_MNEMONIC_INT3;
		}
		at += insn->length;
		nwindow++;
	}
	if (!err && runs_on)
		err = error_set(EOPNOTSUPP, "'%s' of %s runs on behind its end", c->name, c->image->path);
	return err;
}

static int check_targets(struct code *c)
{
	for (size_t i = 0; i < c->ntargets; i++) {
		const struct part *p = part_of(c, c->targets[i]);

		if (!p->begins[c->targets[i] - p->start])
			return error_set(EOPNOTSUPP, "'%s' of %s jumps into the middle of an instruction, to 0x%lx",
			                 c->name, c->image->path, (unsigned long)c->targets[i]);
	}
	return 0;
}

static int compare_exits(const void *a, const void *b)
{
	const struct code_exit *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static void release(struct code *c)
{
	for (size_t i = 0; i < c->nparts; i++) {
		free(c->parts[i].bytes);
		free(c->parts[i].begins);
	}
	free(c->targets);
}

static int start(struct code *c, uint64_t address)
{
	uint64_t from = 0, to = 0;

	c->name = image_code_range(c->image, address, &from, &to);
	if (!c->name || from != address)
		return error_set(EOPNOTSUPP, "no function of %s begins at 0x%lx", c->image->path,
		                 (unsigned long)address);
	return add_part(c, from, to);
}

int code_exits(const struct pp_image *image, uint64_t address, struct code_exit **exits, size_t *n)
{
	struct code c = { .image = image };
	int err = start(&c, address);

	for (size_t i = 0; i < c.nparts && !err; i++)
		err = decode(&c, i);
	if (!err)
		err = check_targets(&c);
	if (!err && !c.nexits)
		err = error_set(EOPNOTSUPP, "'%s' of %s never returns", c.name, image->path);
	release(&c);
	if (err) {
		free(c.exits);
		return err;
	}
	qsort(c.exits, c.nexits, sizeof(*c.exits), compare_exits);
	*exits = c.exits;
	*n = c.nexits;
	return 0;
}

int code_boundary(const struct pp_image *image, uint64_t address, uint64_t offset)
{
	struct code c = { .image = image };
	ZydisDecodedInstruction insn;
	ZydisDecoder decoder;
	uint64_t at = 0, last = 0;
	int err = start(&c, address);

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (!err && offset >= c.parts[0].end - c.parts[0].start)
		err = error_set(EINVAL, "'%s' of %s is %lu bytes long: nothing is at +0x%lx", c.name, image->path,
		                (unsigned long)(c.parts[0].end - c.parts[0].start), (unsigned long)offset);
	while (!err && at < offset) {
		last = at;
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, c.parts[0].bytes + at,
		                                                c.parts[0].end - c.parts[0].start - at, &insn)))
			err = error_set(EINVAL, "'%s' of %s: what is at +0x%lx cannot be decoded", c.name, image->path,
			                (unsigned long)at);
		else
			at += insn.length;
	}
	if (!err && at != offset)
		err = error_set(
			EINVAL,
			"'%s+0x%lx' of %s is in the middle of an instruction: one begins at +0x%lx, the next at "
			"+0x%lx",
			c.name, (unsigned long)offset, image->path, (unsigned long)last, (unsigned long)at);
	release(&c);
	return err;
}

size_t code_length(int machine, const uint8_t *code, size_t size)
{
	ZydisDecodedInstruction insn;
	ZydisDecoder decoder;

	if (machine != EM_X86_64 && machine != EM_386)
		return size < 4 ? size : 4;
	if (machine == EM_X86_64)
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	else
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE);
	return ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, code, size, &insn)) ? insn.length : 1;
}

/* The address that lea or mov puts into a register, 0 for none. */
static uint64_t computed_address(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operand, uint64_t at)
{
	uint64_t address;

	if (insn->mnemonic == ZYDIS_MNEMONIC_LEA && insn->operand_count_visible == 2 &&
	    operand[1].mem.base == ZYDIS_REGISTER_RIP &&
	    ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(insn, &operand[1], at, &address)))
		return address;
	if (insn->mnemonic == ZYDIS_MNEMONIC_MOV && insn->operand_count_visible == 2 &&
	    operand[0].type == ZYDIS_OPERAND_TYPE_REGISTER && operand[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return operand[1].imm.value.u;
	return 0;
}

size_t code_functions_named(const struct pp_image *image, uint64_t address, uint64_t *functions, size_t room)
{
	struct code c = { .image = image };
	ZydisDecodedInstruction insn;
	operands operand;
	ZydisDecoder decoder;
	size_t found = 0, size = start(&c, address) ? 0 : c.parts[0].end - c.parts[0].start;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (size_t at = 0; at < size && found < room; at += insn.length) {
		uint64_t to, from, end;
		bool known = false;

		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, c.parts[0].bytes + at, size - at, &insn, operand)))
			break;
		to = computed_address(&insn, operand, address + at);
		for (size_t i = 0; i < found; i++)
			known |= functions[i] == to;
		if (to && to != address && !known && image_code_range(image, to, &from, &end) && from == to)
			functions[found++] = to;
	}
	release(&c);
	return found;
}

#define DECODE_MAX (64u << 20)
#define INSTRUCTION_MAX 15

/* What is decoded from one place on. */
struct stretch {
	uint64_t start;
	uint64_t next;   /* offset from the start of what is to be decoded next */
	uint8_t *begins; /* bits */
	size_t room;     /* in bytes */
	bool damaged;    /* what is at next cannot be decoded */
};

struct code_map {
	const struct pp_image *image;
	int fd;
	ZydisDecoder decoder;
	void *stretches; /* a search tree */
	uint64_t window_at;
	size_t window_size;
	uint8_t window[16384];
};

static int compare_stretches(const void *a, const void *b)
{
	const struct stretch *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void stretch_free(void *stretch)
{
	free(((struct stretch *)stretch)->begins);
	free(stretch);
}

int code_map_new(const struct pp_image *image, struct code_map **map)
{
	struct code_map *m = calloc(1, sizeof(*m));
	bool is_64 = image->machine == EM_X86_64;

	if (!m)
		return error_nomem();
	m->image = image;
	m->fd = image_reopen(image);
	if (m->fd < 0) {
		int err = m->fd;

		free(m);
		return err;
	}
	ZydisDecoderInit(&m->decoder, is_64 ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LEGACY_32,
	                 is_64 ? ZYDIS_STACK_WIDTH_64 : ZYDIS_STACK_WIDTH_32);
	ZydisDecoderEnableMode(&m->decoder, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE);
	*map = m;
	return 0;
}

void code_map_free(struct code_map *map)
{
	if (!map)
		return;
	tdestroy(map->stretches, stretch_free);
	close(map->fd);
	free(map);
}

/* The file's bytes at an address, *n of them. NULL: there are none. */
static const uint8_t *bytes_at(struct code_map *m, uint64_t address, size_t *n)
{
	uint64_t in = address - m->window_at, offset;
	ssize_t got;

	if (in >= m->window_size || m->window_size - in < INSTRUCTION_MAX) {
		if (image_offset(m->image, address, &offset))
			return NULL;
		got = pread(m->fd, m->window, sizeof(m->window), (off_t)offset);
		if (got <= 0)
			return NULL;
		m->window_at = address;
		m->window_size = (size_t)got;
		in = 0;
	}
	*n = m->window_size - in;
	return m->window + in;
}

/* Decodes on until what begins at the offset is known. */
static int stretch_decode(struct code_map *m, struct stretch *s, uint64_t offset)
{
	ZydisDecodedInstruction insn;

	if (offset / 8 >= s->room) {
		size_t room = offset / 4 + 64;
		uint8_t *more = realloc(s->begins, room);

		if (!more)
			return error_nomem();
		memset(more + s->room, 0, room - s->room);
		s->begins = more;
		s->room = room;
	}
	while (s->next <= offset && !s->damaged) {
		size_t n;
		const uint8_t *code = bytes_at(m, s->start + s->next, &n);

		s->damaged = !code || !ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&m->decoder, NULL, code, n, &insn));
		if (s->damaged)
			break;
		s->begins[s->next / 8] |= 1 << s->next % 8;
		s->next += insn.length;
	}
	return 0;
}

/* True for the last byte of a nop of one byte that has prefixes, which begins at the address before. */
static bool is_prefixed_nop(struct code_map *m, uint64_t before, uint64_t address)
{
	size_t n, in = address - before;
	const uint8_t *code = bytes_at(m, before, &n);

	if (!code || n <= in || code[in] != 0x90)
		return false;
	for (size_t i = 0; i < in; i++)
		if (code[i] != 0x66)
			return false;
	return true;
}

int code_map_begins(struct code_map *m, uint64_t address)
{
	struct stretch key, *made, **found;
	uint64_t offset, before;
	int err;

	if (!image_code_start(m->image, address, &key.start) || address - key.start > DECODE_MAX)
		return error_set(
			EINVAL,
			"%s: it is not known whether an instruction begins at 0x%lx: no function is known there",
			m->image->path, (unsigned long)address);
	found = tfind(&key, &m->stretches, compare_stretches);
	if (!found) {
		made = calloc(1, sizeof(*made));
		if (made)
			made->start = key.start;
		found = made ? tsearch(made, &m->stretches, compare_stretches) : NULL;
		if (!found) {
			free(made);
			return error_nomem();
		}
	}
	offset = address - key.start;
	err = stretch_decode(m, *found, offset);
	if (err)
		return err;
	if ((*found)->begins[offset / 8] >> offset % 8 & 1)
		return 0;
	if ((*found)->next <= offset)
		return error_set(
			EINVAL,
			"%s: it is not known whether an instruction begins at 0x%lx: what is at 0x%lx cannot be "
			"decoded",
			m->image->path, (unsigned long)address, (unsigned long)((*found)->start + (*found)->next));
	for (before = offset; !((*found)->begins[before / 8] >> before % 8 & 1); before--)
		;
	if (is_prefixed_nop(m, key.start + before, address))
		return 0;
	return error_set(EINVAL, "%s: 0x%lx is in the middle of an instruction, which begins at 0x%lx", m->image->path,
	                 (unsigned long)address, (unsigned long)(key.start + before));
}
