/* SPDX-License-Identifier: MIT */
#include "runtime/reorder.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"

static bool entry_is_before(const struct reorder_entry *a, const struct reorder_entry *b)
{
	return a->time != b->time ? a->time < b->time : a->record->sequence < b->record->sequence;
}

int reorder_add(struct reorder *reorder, const struct backend *backend, const struct record_thread *thread,
                const struct record *record, size_t size)
{
	struct reorder_entry entry = { .time = record->time };
	size_t i = reorder->n;
	int err = ALLOC_GROW(reorder->heap, reorder->n + 1, reorder->room);

	if (err)
		return err;
	entry.record = malloc(sizeof(*entry.record) + size);
	if (!entry.record)
		return error_nomem();
	entry.record->sequence = reorder->sequence++;
	entry.record->backend = backend;
	entry.record->thread = *thread;
	entry.record->size = (uint32_t)size;
	memcpy(entry.record->record, record, size);
	reorder->nbytes += sizeof(*entry.record) + size;
	reorder->n++;
	for (; i && entry_is_before(&entry, &reorder->heap[(i - 1) / 2]); i = (i - 1) / 2)
		reorder->heap[i] = reorder->heap[(i - 1) / 2];
	reorder->heap[i] = entry;
	return 0;
}

struct held_record *reorder_take(struct reorder *reorder)
{
	struct held_record *first = reorder->heap[0].record;
	struct reorder_entry last = reorder->heap[--reorder->n];
	size_t i = 0;

	for (size_t child; (child = 2 * i + 1) < reorder->n; i = child) {
		if (child + 1 < reorder->n && entry_is_before(&reorder->heap[child + 1], &reorder->heap[child]))
			child++;
		if (!entry_is_before(&reorder->heap[child], &last))
			break;
		reorder->heap[i] = reorder->heap[child];
	}
	reorder->heap[i] = last;
	reorder->nbytes -= sizeof(*first) + first->size;
	return first;
}

void reorder_release(struct reorder *reorder)
{
	for (size_t i = 0; i < reorder->n; i++)
		free(reorder->heap[i].record);
	free(reorder->heap);
	*reorder = (struct reorder){ 0 };
}
