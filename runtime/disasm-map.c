/* SPDX-License-Identifier: MIT */
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

/* The boundaries after one address that is known to be a boundary. */
struct stretch {
	uint64_t start;
	uint64_t next;   /* offset from start of the next instruction to decode */
	uint8_t *begins; /* a bit for each byte: an instruction begins there */
	size_t room;     /* bytes of begins */
	bool damaged;    /* the instruction at next cannot be decoded */
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
	free(((struct stretch *)stretch)->begins);
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
	return s->begins[offset / 8] >> offset % 8 & 1;
}

/* Decodes until the boundaries up to the offset are known, or an instruction cannot be decoded. Returns 0 or -ENOMEM. */
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
		const uint8_t *code = code_map_bytes(m, s->start + s->next, &n);

		s->damaged = !code || !ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&m->decoder, NULL, code, n, &insn));
		if (s->damaged)
			break;
		s->begins[s->next / 8] |= 1 << s->next % 8;
		s->next += insn.length;
	}
	return 0;
}

/* Returns the stretch that begins at start. Adds it if it does not exist. Returns NULL if memory allocation fails. */
static struct stretch *code_map_stretch(struct code_map *m, uint64_t start)
{
	struct stretch key = { .start = start }, *made, **found = tfind(&key, &m->stretches, stretch_compare);

	if (found)
		return *found;
	made = calloc(1, sizeof(*made));
	if (!made)
		return NULL;
	made->start = start;
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

int code_map_begins(struct code_map *m, uint64_t address)
{
	const char *path = m->image->path;
	uint64_t start, offset, before;
	struct stretch *s;

	if (!image_code_start(m->image, address, &start) || address - start > DECODE_MAX)
		return error_set(
			EINVAL, "'%s': cannot check whether an instruction begins at 0x%lx: no function is known there",
			path, (unsigned long)address);
	s = code_map_stretch(m, start);
	offset = address - start;
	if (!s)
		return error_nomem();
	if (stretch_decode(m, s, offset))
		return -ENOMEM;
	if (stretch_begins(s, offset))
		return 0;
	if (s->next <= offset)
		return error_set(EINVAL,
		                 "'%s': cannot check whether an instruction begins at 0x%lx: the instruction at 0x%lx "
		                 "cannot be decoded",
		                 path, (unsigned long)address, (unsigned long)(start + s->next));
	for (before = offset; !stretch_begins(s, before); before--)
		;
	if (is_prefixed_nop(m, start + before, address))
		return 0;
	return error_set(EINVAL, "'%s': 0x%lx is in the middle of an instruction, which begins at 0x%lx", path,
	                 (unsigned long)address, (unsigned long)(start + before));
}
