/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/text-places.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/arm-point.h"
#include "runtime/cpu.h"
#include "runtime/disasm.h"
#include "runtime/process.h"

#define FAST_NOP_SIZE 5 /* the opcode bytes of the nop of 10 bytes */

void text_places_release(struct text_places *p)
{
	free(p->list);
	*p = (struct text_places){ 0 };
}

bool mapping_is_of_image(const struct process *process, size_t i, const struct pp_image *image)
{
	const struct mapping *m = &process->maps[i];

	return m->inode == image->inode &&
	       process_mapping(process, image->device, image->inode, m->offset, i ? m - 1 : NULL) == m;
}

static int text_places_add(struct text_places *p, const struct mapping *m, uint64_t offset, size_t point)
{
	if (offset < m->offset || offset - m->offset >= m->end - m->start)
		return 0;
	if (ALLOC_GROW(p->list, p->n + 1, p->room))
		return -ENOMEM;
	p->list[p->n++] = (struct text_place){ .address = m->start + offset - m->offset, .mapping = m, .point = point };
	return 0;
}

int text_places_find(struct text_places *p, const struct process *process, struct arm_point *const *points, size_t n)
{
	const struct mapping **mappings = calloc(process->nmaps + 1, sizeof(*mappings));
	size_t nmappings = 0;
	int err = 0;

	if (!mappings)
		return error_nomem();
	for (size_t i = 0; i < process->nmaps; i++)
		if (process->maps[i].exec && mapping_is_of_image(process, i, points[0]->image))
			mappings[nmappings++] = &process->maps[i];
	for (size_t i = 0; i < n && !err; i++)
		for (size_t k = 0; k < nmappings && !err; k++)
			err = text_places_add(p, mappings[k], arm_point_offset(points[i]), i);
	free(mappings);
	return err;
}

static size_t point_code_length(const struct arm_point *point)
{
	return point->fast ? CPU_ARMED_SIZE : code_length(point->image->machine, point->site->code, PLACE_SIZE);
}

static int text_place_compare(const void *a, const void *b)
{
	const struct text_place *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return (x->point > y->point) - (x->point < y->point);
}

int text_places_read(struct text_places *p, const struct process *process, struct arm_point *const *points)
{
	uint64_t *addresses = calloc(p->n + 1, sizeof(*addresses));
	uint8_t *bytes = calloc(p->n + 1, PLACE_SIZE);
	bool *got = calloc(p->n + 1, sizeof(*got));
	int err;

	if (!addresses || !bytes || !got) {
		err = error_nomem();
		goto out;
	}
	qsort(p->list, p->n, sizeof(*p->list), text_place_compare);
	for (size_t i = 0; i < p->n; i++)
		addresses[i] = p->list[i].address;
	err = process_read_spans(process, addresses, p->n, PLACE_SIZE, bytes, got);
	for (size_t i = 0; i < p->n && !err; i++) {
		struct text_place *place = &p->list[i];

		memcpy(place->bytes, bytes + i * PLACE_SIZE, PLACE_SIZE);
		place->got = got[i];
		/* The instruction may be at the end of its mapping. */
		if (!place->got)
			place->got = !process_read(process, place->address, place->bytes,
			                           point_code_length(points[place->point]));
	}
out:
	free(addresses);
	free(bytes);
	free(got);
	return err;
}

/* The instruction of a fast point is the nop of 10 bytes, of which the last 5 may be anything. */
static bool fast_rest_is_files(const struct arm_point *point, const uint8_t *bytes)
{
	const struct cpu_code *cpu = cpu_code(point->image->machine);

	return cpu->is_fast(bytes) || !memcmp(bytes + 1, point->site->code + cpu->fast_at + 1, FAST_NOP_SIZE - 1);
}

bool text_is_armed(const struct arm_point *point, const uint8_t *bytes)
{
	const struct cpu_code *cpu = cpu_code(point->image->machine);

	return cpu->is_uprobe(bytes) || (point->fast && cpu->is_fast(bytes));
}

bool text_shares_site(const struct arm_point *point, const uint8_t *bytes)
{
	const struct cpu_code *cpu = cpu_code(point->image->machine);
	const uint8_t *second = bytes + cpu->fast_at;

	return cpu->fast_at && point->site->noted && !point->fast &&
	       cpu->is_unarmed(point->site->code + cpu->fast_at) &&
	       (cpu->is_fast(second) || (cpu->is_uprobe(second) &&
	                                 !memcmp(second + 1, point->site->code + cpu->fast_at + 1, FAST_NOP_SIZE - 1)));
}

bool text_rest_is_files(const struct arm_point *point, const uint8_t *bytes)
{
	size_t length = point_code_length(point), start = cpu_code(point->image->machine)->breakpoint_size;

	if (point->fast)
		return fast_rest_is_files(point, bytes);
	return length <= start || !memcmp(bytes + start, point->site->code + start, length - start);
}

bool text_start_is_files(const struct arm_point *point, const uint8_t *bytes)
{
	const struct cpu_code *cpu = cpu_code(point->image->machine);

	return !memcmp(bytes, point->site->code + (point->fast ? cpu->fast_at : 0), cpu->breakpoint_size);
}

bool text_before_is_files(const struct process *process, const struct arm_point *point, uint64_t address)
{
	static const uint8_t endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	uint8_t bytes[sizeof(endbr64)];

	if (point->site->skipped != sizeof(endbr64) ||
	    process_read(process, address - sizeof(bytes), bytes, sizeof(bytes)))
		return true;
	return !memcmp(bytes + 1, endbr64 + 1, sizeof(bytes) - 1) &&
	       (bytes[0] == endbr64[0] || cpu_code(point->image->machine)->is_breakpoint(bytes));
}

char *text_reason_changed(const struct process *process, const struct pp_image *image)
{
	return error_format("pid %d changed its code there, which differs from '%s': a probe would execute the file's "
	                    "instruction instead",
	                    process->pid, image->path);
}
