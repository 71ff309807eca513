/* SPDX-License-Identifier: MIT */
/*
 * The boundaries of instructions, by decoding one instruction after the other.
 *
 * Bytes that are not code, such as padding after a call that does not return, can make that go wrong: an instruction is
 * then decoded across the begin of the next real one. So it is known for each instruction whether control reaches it for
 * sure: it is the first one of a function, follows one that always continues, or is the target of a direct jump from
 * such an instruction. If the target of such a jump is inside an instruction that may not be reached, the bytes since the
 * last call or jump are not code, and decoding continues at the target. A target inside an instruction that ends where
 * the one at the target ends is a jump over prefixes (lock), and both are code.
 */
#include <elf.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/disasm-internal.h"
#include "runtime/disasm.h"
#include "sdt/image.h"

#define DECODE_MAX (64u << 20)
#define INSTRUCTION_MAX 15
#define AHEAD 64 /* bytes that are decoded after an address, to find out whether a jump contradicts */

/* Facts about eight bytes of code, a bit for each. */
struct marks {
	uint8_t begins; /* an instruction begins here */
	uint8_t sure;   /* and control reaches it for sure */
	uint8_t target; /* an instruction that control reaches for sure jumps here */
};

/* The boundaries after one address that is known to be a boundary. */
struct stretch {
	uint64_t start;
	uint64_t size;   /* of the function; 0: not known */
	uint64_t next;   /* offset from start of the next instruction to decode */
	uint64_t unsure; /* offset after the last instruction that may not continue */
	struct marks *marks;
	size_t room;  /* number of marks */
	bool sure;    /* control reaches the instruction at next for sure */
	bool damaged; /* the instruction at next cannot be decoded */
};

struct code_map {
	const struct pp_image *image;
	int fd;
	ZydisDecoder decoder;
	void *stretches; /* a search tree */
	/* the file's bytes from window_at on */
	uint64_t window_at;
	size_t window_size;
	uint8_t window[16384];
};

static int stretch_compare(const void *a, const void *b)
{
	const struct stretch *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void stretch_free(void *stretch)
{
	free(((struct stretch *)stretch)->marks);
	free(stretch);
}

int code_map_new(const struct pp_image *image, struct code_map **map)
{
	struct code_map *m = calloc(1, sizeof(*m));

	if (!m)
		return error_nomem();
	m->image = image;
	m->fd = image_reopen(image);
	if (m->fd < 0) {
		int err = m->fd;

		free(m);
		return err;
	}
	decoder_init(&m->decoder, image->machine == EM_X86_64);
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

/* Returns the file's bytes at an address, and their number. NULL: the file has none there. */
static const uint8_t *code_map_bytes(struct code_map *m, uint64_t address, size_t *n)
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

static bool stretch_begins(const struct stretch *s, uint64_t offset)
{
	return s->marks[offset / 8].begins >> offset % 8 & 1;
}

static bool stretch_is_sure(const struct stretch *s, uint64_t offset)
{
	return s->marks[offset / 8].sure >> offset % 8 & 1;
}

static bool stretch_is_target(const struct stretch *s, uint64_t offset)
{
	return offset / 8 < s->room && s->marks[offset / 8].target >> offset % 8 & 1;
}

/* Makes room for the marks of the offset. Returns 0 or -ENOMEM. */
static int stretch_grow(struct stretch *s, uint64_t offset)
{
	size_t room = offset / 4 + 64;
	struct marks *more;

	if (offset / 8 < s->room)
		return 0;
	more = realloc(s->marks, room * sizeof(*more));
	if (!more)
		return error_nomem();
	memset(more + s->room, 0, (room - s->room) * sizeof(*more));
	s->marks = more;
	s->room = room;
	return 0;
}

/* Returns false for calls, which may not return, and for jumps, returns and traps. */
static bool insn_continues(const ZydisDecodedInstruction *insn)
{
	static const uint8_t ends[] = { 0x9a, 0xc2, 0xc3, 0xca, 0xcb, 0xcc, 0xcd, 0xce,
		                        0xcf, 0xe8, 0xe9, 0xea, 0xeb, 0xf1, 0xf4 },
			     ends_0f[] = { 0x07, 0x0b, 0x35, 0xb9, 0xff };

	if (insn->opcode_map == ZYDIS_OPCODE_MAP_0F)
		return !memchr(ends_0f, insn->opcode, sizeof(ends_0f));
	if (insn->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
		return true;
	if (insn->opcode == 0xff)
		return insn->raw.modrm.reg < 2 || insn->raw.modrm.reg > 5;
	return !memchr(ends, insn->opcode, sizeof(ends));
}

/* Marks the target of a direct jump in the function. Returns 0 or -ENOMEM. */
static int stretch_mark_target(struct stretch *s, const ZydisDecodedInstruction *insn)
{
	uint64_t target = s->next + insn->length + (uint64_t)insn->raw.imm[0].value.s;
	int err;

	if (!insn->raw.imm[0].is_relative || insn->raw.imm[0].size == 16 || target >= s->size || target > DECODE_MAX)
		return 0;
	err = stretch_grow(s, target);
	if (!err)
		s->marks[target / 8].target |= 1 << target % 8;
	return err;
}

/* Returns the offset at which decoding continues because the instruction at next is not code; 0: it may be code. */
static uint64_t stretch_contradiction(const struct code_map *m, const struct stretch *s, const uint8_t *code, size_t n,
                                      size_t length)
{
	ZydisDecodedInstruction insn;

	for (size_t in = 1; in < length; in++)
		if (stretch_is_target(s, s->next + in) &&
		    (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&m->decoder, NULL, code + in, n - in, &insn)) ||
		     in + insn.length != length))
			return s->next + in;
	return 0;
}

/* Decodes the instruction at next. Returns 0 or -ENOMEM. */
static int stretch_decode_one(struct code_map *m, struct stretch *s)
{
	ZydisDecodedInstruction insn;
	uint64_t real;
	size_t n;
	const uint8_t *code = code_map_bytes(m, s->start + s->next, &n);
	int err = stretch_grow(s, s->next);

	if (err)
		return err;
	s->damaged = !code || !ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&m->decoder, NULL, code, n, &insn));
	if (s->damaged)
		return 0;
	s->sure |= stretch_is_target(s, s->next);
	real = s->sure ? 0 : stretch_contradiction(m, s, code, n, insn.length);
	if (real) {
		for (uint64_t at = s->unsure; at < s->next; at++)
			s->marks[at / 8].begins &= ~(1 << at % 8);
		s->next = real;
		return 0;
	}
	s->marks[s->next / 8].begins |= 1 << s->next % 8;
	s->marks[s->next / 8].sure |= s->sure << s->next % 8;
	if (s->sure)
		err = stretch_mark_target(s, &insn);
	s->next += insn.length;
	if (!insn_continues(&insn)) {
		s->sure = false;
		s->unsure = s->next;
	}
	return err;
}

/*
 * Decodes until the boundaries up to the offset are known and nothing after it contradicts, or an instruction cannot be
 * decoded. Returns 0 or -ENOMEM.
 */
static int stretch_decode(struct code_map *m, struct stretch *s, uint64_t offset)
{
	int err = stretch_grow(s, offset);

	while (!err && s->next <= offset + AHEAD && !s->damaged)
		err = stretch_decode_one(m, s);
	return err;
}

/* Returns the stretch that begins at start. Adds it if it does not exist. Returns NULL if memory allocation fails. */
static struct stretch *code_map_stretch(struct code_map *m, uint64_t start)
{
	struct stretch key = { .start = start }, *made, **found = tfind(&key, &m->stretches, stretch_compare);
	uint64_t from, end;

	if (found)
		return *found;
	made = calloc(1, sizeof(*made));
	if (!made)
		return NULL;
	made->start = start;
	if (image_code_range(m->image, start, &from, &end) && from == start) {
		made->size = end - start;
		made->sure = true;
	}
	found = tsearch(made, &m->stretches, stretch_compare);
	if (!found)
		free(made);
	return found ? *found : NULL;
}

/* Returns true if the address is the nop of a nop with prefixes, whose first prefix is at the address before. */
static bool is_prefixed_nop(struct code_map *m, uint64_t before, uint64_t address)
{
	size_t n, in = address - before;
	const uint8_t *code = code_map_bytes(m, before, &n);

	if (!code || n <= in || code[in] != 0x90)
		return false;
	for (size_t i = 0; i < in; i++)
		if (code[i] != 0x66)
			return false;
	return true;
}

/*
 * Sets the error message for an address at which no instruction begins, though one begins before it, at offset before.
 * Returns -EINVAL, or -EOPNOTSUPP if that is not sure.
 */
static int stretch_refuse(struct code_map *m, const struct stretch *s, uint64_t offset, uint64_t before)
{
	unsigned long address = s->start + offset, around = s->start + before;
	ZydisDecodedInstruction insn;
	size_t n;
	const uint8_t *code = code_map_bytes(m, around, &n);

	if (!code || !ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&m->decoder, NULL, code, n, &insn)) ||
	    before + insn.length <= offset)
		return error_set(
			EOPNOTSUPP,
			"'%s': cannot check whether an instruction begins at 0x%lx: a jump contradicts the bytes "
			"after the instruction at 0x%lx, so that they may not be code",
			m->image->path, address, around);
	if (!stretch_is_sure(s, before))
		return error_set(
			EOPNOTSUPP,
			"'%s': cannot check whether an instruction begins at 0x%lx: decoding finds one around it, "
			"at 0x%lx, but a call or a jump is before it, so that may not be code",
			m->image->path, address, around);
	return error_set(EINVAL, "'%s': 0x%lx is in the middle of an instruction, which begins at 0x%lx",
	                 m->image->path, address, around);
}

int code_map_begins(struct code_map *m, uint64_t address)
{
	const char *path = m->image->path;
	uint64_t start, offset, before;
	struct stretch *s;

	if (!image_code_start(m->image, address, &start) || address - start > DECODE_MAX)
		return error_set(
			EOPNOTSUPP,
			"'%s': cannot check whether an instruction begins at 0x%lx: no function is known there", path,
			(unsigned long)address);
	s = code_map_stretch(m, start);
	offset = address - start;
	if (!s)
		return error_nomem();
	if (stretch_decode(m, s, offset))
		return -ENOMEM;
	if (stretch_begins(s, offset))
		return 0;
	if (s->next <= offset)
		return error_set(EOPNOTSUPP,
		                 "'%s': cannot check whether an instruction begins at 0x%lx: the instruction at 0x%lx "
		                 "cannot be decoded",
		                 path, (unsigned long)address, (unsigned long)(start + s->next));
	for (before = offset; !stretch_begins(s, before); before--)
		;
	if (is_prefixed_nop(m, start + before, address))
		return 0;
	return stretch_refuse(m, s, offset, before);
}
