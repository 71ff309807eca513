/* SPDX-License-Identifier: MIT */
#include "runtime/agent/record-queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"

#define ROOM_MIN 4096

static size_t queued_size(size_t record_size)
{
	return (sizeof(struct queued_record) + record_size + 7) & ~7ull;
}

/* Makes room for size bytes at the end. */
static bool queue_make_room(struct record_queue *queue, size_t size)
{
	size_t room = queue->room ? queue->room : ROOM_MIN;
	char *bytes;

	if (queue->from == queue->to)
		queue->from = queue->to = 0;
	if (queue->room - queue->to >= size)
		return true;
	if (queue->from > queue->room / 2) {
		memmove(queue->bytes, queue->bytes + queue->from, queue->to - queue->from);
		queue->to -= queue->from;
		queue->from = 0;
		if (queue->room - queue->to >= size)
			return true;
	}
	while (room - queue->to < size)
		room *= 2;
	bytes = realloc(queue->bytes, room);
	if (!bytes)
		return false;
	queue->bytes = bytes;
	queue->room = room;
	return true;
}

struct queued_record *record_queue_reserve(struct record_queue *queue, size_t size)
{
	struct queued_record *q;

	if (!queue_make_room(queue, queued_size(size))) {
		error_nomem();
		return NULL;
	}
	q = (struct queued_record *)(queue->bytes + queue->to);
	q->size = (uint32_t)size;
	return q;
}

void record_queue_commit(struct record_queue *queue, struct record_merge *merge)
{
	const struct queued_record *q = (const struct queued_record *)(queue->bytes + queue->to);

	queue->to += queued_size(q->size);
	merge->nbytes += queued_size(q->size);
}

void record_queue_release(struct record_queue *queue)
{
	free(queue->bytes);
	*queue = (struct record_queue){ 0 };
}

bool record_queue_is_last(const struct record_queue *queue)
{
	return queue->from + queued_size(record_queue_first(queue)->size) == queue->to;
}

static void merge_sift_down(struct record_merge *merge, size_t i)
{
	for (size_t child; (child = 2 * i + 1) < merge->nheap; i = child) {
		struct record_queue *parent = merge->heap[i];

		if (child + 1 < merge->nheap &&
		    record_queue_first(merge->heap[child + 1])->time < record_queue_first(merge->heap[child])->time)
			child++;
		if (record_queue_first(parent)->time <= record_queue_first(merge->heap[child])->time)
			return;
		merge->heap[i] = merge->heap[child];
		merge->heap[child] = parent;
	}
}

void record_merge_sort(struct record_merge *merge)
{
	for (size_t i = merge->nheap / 2; i-- > 0;)
		merge_sift_down(merge, i);
}

int record_merge_add(struct record_merge *merge, struct record_queue *queue)
{
	int err = ALLOC_GROW(merge->heap, merge->nheap + 1, merge->room);

	if (err)
		return err;
	merge->heap[merge->nheap++] = queue;
	queue->in_merge = true;
	return 0;
}

void record_merge_pop(struct record_merge *merge)
{
	struct record_queue *queue = merge->heap[0];
	size_t size = queued_size(record_queue_first(queue)->size);

	queue->from += size;
	merge->nbytes -= size;
	if (queue->from == queue->to) {
		queue->in_merge = false;
		merge->heap[0] = merge->heap[--merge->nheap];
	}
	if (merge->nheap)
		merge_sift_down(merge, 0);
}

void record_merge_release(struct record_merge *merge)
{
	free(merge->heap);
	*merge = (struct record_merge){ 0 };
}
