/* SPDX-License-Identifier: MIT */
/*
 * Packets of threads. Most bytes of a small event would be its thread's, so the events of a busy thread go to packets that
 * belong to this thread:
 *
 * 1. Each event is encoded into the packet of its thread. The times of events in a packet do not decrease, and two of them
 *    are less than 2^31 ns apart, so that 32 bits suffice for a time.
 * 2. A packet that is full waits to be written. ctf_threads_write() writes many of them with one system call.
 * 3. ctf_threads_settle(), which is called at least once per second, puts packets that are a quarter full in line, too. The
 *    events of all other threads go to the batch of mixed streams, because a packet for each of them would be mostly empty.
 *
 * Events with faults or strings that were cut go to the batch, so events of threads do not have these fields.
 */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/event.h"
#include "runtime/trace/ctf.h"

#define BUCKETS 1024
#define BLOCKS_MAX 2048                  /* begun or full packets */
#define GAP_MAX (UINT64_C(1) << 31)      /* ns between two events of a packet */
#define SETTLE_MIN (CTF_PACKET_SIZE / 4) /* bytes of a packet that is worth a page */
#define EVENTS_MAX ((CTF_PACKET_SIZE - sizeof(struct ctf_thread_packet)) / CTF_THREAD_HEADER)
#define STREAMS_MAX 128 /* readers open all files of a trace at once */

/* A packet. */
struct block {
	uint64_t first, last; /* times */
	uint32_t used, n;     /* bytes, events */
	struct block *next;   /* free */
	struct {
		uint32_t attachment, point;
	} marks[EVENTS_MAX];
	uint16_t end[EVENTS_MAX]; /* where event i ends */
	_Alignas(64) char bytes[CTF_PACKET_SIZE];
};

struct busy_thread {
	struct busy_thread *next;
	int32_t pid, tid;
	char comm[16];
	struct block *block; /* NULL: it has no events */
};

struct ctf_threads {
	struct busy_thread *buckets[BUCKETS];
	struct busy_thread *latest;
	struct block *free;
	struct block **full; /* packets in line to be written */
	size_t nfull, room;
	size_t nblocks; /* in use */
	char arguments[CTF_ARGUMENTS_MAX];
};

int ctf_threads_new(struct ctf_threads **threads)
{
	*threads = calloc(1, sizeof(**threads));
	return *threads ? 0 : error_nomem();
}

void ctf_threads_free(struct ctf_threads *threads)
{
	if (!threads)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct busy_thread *thread = threads->buckets[i], *next; thread; thread = next) {
			next = thread->next;
			free(thread->block);
			free(thread);
		}
	for (size_t i = 0; i < threads->nfull; i++)
		free(threads->full[i]);
	for (struct block *block = threads->free, *next; block; block = next) {
		next = block->next;
		free(block);
	}
	free(threads->full);
	free(threads);
}

/* ---- blocks ---- */

static struct block *block_take(struct ctf_threads *threads, const struct busy_thread *thread)
{
	struct block *block = threads->free;
	struct ctf_thread_packet *packet;

	if (block)
		threads->free = block->next;
	else
		block = aligned_alloc(64, (sizeof(*block) + 63) / 64 * 64);
	if (!block)
		return NULL;
	threads->nblocks++;
	block->n = 0;
	block->used = sizeof(*packet);
	packet = (struct ctf_thread_packet *)block->bytes;
	packet->pid = thread->pid;
	packet->tid = thread->tid;
	memcpy(packet->comm, thread->comm, sizeof(packet->comm));
	return block;
}

static void block_give_back(struct ctf_threads *threads, struct block *block)
{
	block->next = threads->free;
	threads->free = block;
	threads->nblocks--;
}

/* Puts the thread's block in line to be written. */
static int thread_put_in_line(struct ctf_threads *threads, struct busy_thread *thread)
{
	struct block *block = thread->block;
	struct ctf_packet *packet = (struct ctf_packet *)block->bytes;
	int err = ALLOC_GROW(threads->full, threads->nfull + 1, threads->room);

	if (err)
		return err;
	memset(block->bytes + block->used, 0, CTF_PACKET_SIZE - block->used);
	packet->timestamp_begin = block->first;
	packet->timestamp_end = block->last;
	packet->content_size = 8ull * block->used;
	packet->packet_size = 8ull * CTF_PACKET_SIZE;
	threads->full[threads->nfull++] = block;
	thread->block = NULL;
	return 0;
}

/* ---- adding events ---- */

static bool busy_thread_is(const struct busy_thread *thread, const struct record_thread *want)
{
	return thread->tid == (int32_t)want->tid && thread->pid == (int32_t)want->pid &&
	       !memcmp(thread->comm, want->comm, sizeof(thread->comm));
}

static struct busy_thread *threads_find(struct ctf_threads *threads, const struct record_thread *want)
{
	struct busy_thread **bucket = &threads->buckets[want->tid % BUCKETS], *thread;

	if (threads->latest && busy_thread_is(threads->latest, want))
		return threads->latest;
	for (thread = *bucket; thread && !busy_thread_is(thread, want); thread = thread->next)
		;
	if (!thread) {
		thread = calloc(1, sizeof(*thread));
		if (!thread)
			return NULL;
		thread->pid = (int32_t)want->pid;
		thread->tid = (int32_t)want->tid;
		memcpy(thread->comm, want->comm, sizeof(thread->comm));
		thread->next = *bucket;
		*bucket = thread;
	}
	threads->latest = thread;
	return thread;
}

/* Makes room for an event with arguments of n bytes. Returns as ctf_threads_add(). */
static int thread_make_room(struct ctf_threads *threads, struct busy_thread *thread, uint64_t time, size_t n)
{
	struct block *block = thread->block;

	if (block && time < block->last)
		return 0;
	if (block && (time - block->last >= GAP_MAX || block->n == EVENTS_MAX ||
	              CTF_THREAD_HEADER + n > CTF_PACKET_SIZE - block->used)) {
		int err = thread_put_in_line(threads, thread);

		if (err)
			return err;
	}
	if (!thread->block) {
		thread->block = block_take(threads, thread);
		if (!thread->block)
			return error_nomem();
		thread->block->first = time;
	}
	return 1;
}

int ctf_threads_add(struct ctf_threads *threads, const struct pp_event *event, const struct ctf_class *class)
{
	const struct record *record = event->record;
	size_t n = class->size;
	const uint16_t id = (uint16_t) class->id;
	const uint32_t time = (uint32_t)event->time;
	struct busy_thread *thread;
	struct block *block;
	uint32_t cuts = 0;
	char *to;
	int got;

	if (record->faults || class->id > CTF_THREAD_ID_MAX)
		return 0;
	if (class->has_strings) {
		n = (size_t)(ctf_event_arguments(event, class, threads->arguments, &cuts) - threads->arguments);
		if (cuts)
			return 0;
	}
	if (n > CTF_PACKET_SIZE - sizeof(struct ctf_thread_packet) - CTF_THREAD_HEADER)
		return 0;
	thread = threads_find(threads, &event->thread);
	if (!thread)
		return error_nomem();
	got = thread_make_room(threads, thread, event->time, n);
	if (got <= 0)
		return got;
	block = thread->block;
	to = block->bytes + block->used;
	memcpy(to, &id, sizeof(id));
	memcpy(to + sizeof(id), &time, sizeof(time));
	if (class->has_strings)
		memcpy(to + CTF_THREAD_HEADER, threads->arguments, n);
	else
		ctf_event_arguments(event, class, to + CTF_THREAD_HEADER, &cuts);
	block->used += (uint32_t)(CTF_THREAD_HEADER + n);
	block->end[block->n] = (uint16_t)block->used;
	block->marks[block->n].attachment = event->thread.attachment;
	block->marks[block->n++].point = record->point;
	block->last = event->time;
	return 1;
}

bool ctf_threads_are_full(const struct ctf_threads *threads)
{
	return threads->nfull >= CTF_WRITE_PACKETS || threads->nblocks >= BLOCKS_MAX;
}

uint64_t ctf_threads_size(const struct ctf_threads *threads)
{
	return threads->nfull * (CTF_PACKET_SIZE + 64ull);
}

/* ---- events that go to the batch ---- */

typedef int (*event_fn)(uint64_t time, const char *event, size_t size, const struct pp_mark *mark, void *arg);

static uint64_t block_event_id(const struct block *block, uint32_t from)
{
	uint16_t id;

	memcpy(&id, block->bytes + from, sizeof(id));
	return id;
}

/* Gives all events of a block to fn. */
static int block_dissolve(const struct block *block, const struct ctf_metadata *metadata, event_fn fn, void *arg)
{
	const struct ctf_thread_packet *packet = (const struct ctf_thread_packet *)block->bytes;
	static _Thread_local char bytes[CTF_EVENT_MAX];
	uint32_t from = sizeof(*packet), low;
	uint64_t time = block->first;

	for (uint32_t i = 0; i < block->n; from = block->end[i++]) {
		const char *arguments = block->bytes + from + CTF_THREAD_HEADER;
		const struct ctf_class *class = ctf_metadata_class_by_id(metadata, block_event_id(block, from));
		struct pp_mark mark = { block->marks[i].attachment, block->marks[i].point, packet->pid };
		size_t size;
		int err;

		memcpy(&low, block->bytes + from + 2, sizeof(low));
		time += (uint32_t)(low - (uint32_t)time);
		size = ctf_event_widen(class, time, packet, arguments, block->end[i] - from - CTF_THREAD_HEADER, bytes);
		err = fn(time, bytes, size, &mark, arg);
		if (err)
			return err;
	}
	return 0;
}

/* Puts the thread's block in line, or dissolves it. */
static int thread_settle(struct ctf_threads *threads, struct busy_thread *thread, struct ctf_metadata *metadata,
                         event_fn fn, void *arg)
{
	struct block *block = thread->block;
	int err;

	if (block->used >= SETTLE_MIN)
		return thread_put_in_line(threads, thread);
	err = block_dissolve(block, metadata, fn, arg);
	if (err)
		return err;
	thread->block = NULL;
	block_give_back(threads, block);
	return 0;
}

int ctf_threads_settle(struct ctf_threads *threads, struct ctf_metadata *metadata, event_fn fn, void *arg)
{
	threads->latest = NULL;
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct busy_thread **at = &threads->buckets[i], *thread; (thread = *at);) {
			int err = thread->block ? thread_settle(threads, thread, metadata, fn, arg) : 0;

			if (err)
				return err;
			if (thread->block) {
				at = &thread->next;
				continue;
			}
			*at = thread->next;
			free(thread);
		}
	return 0;
}

/* ---- writing ---- */

int ctf_threads_describe(struct ctf_threads *threads, struct ctf_metadata *metadata)
{
	if (ctf_metadata_has_all_thread_classes(metadata))
		return 0;
	for (size_t i = 0; i < threads->nfull; i++) {
		const struct block *block = threads->full[i];
		uint32_t from = sizeof(struct ctf_thread_packet);
		uint64_t before = UINT64_MAX;

		for (uint32_t k = 0; k < block->n; from = block->end[k++]) {
			uint64_t id = block_event_id(block, from);
			int err = id == before ? 0 : ctf_metadata_add_thread_classes(metadata, (uint32_t)id);

			if (err)
				return err;
			before = id;
		}
	}
	return 0;
}

/* A run of packets for one stream. */
struct packet_run {
	struct ctf_stream *stream;
	struct iovec packets[CTF_WRITE_PACKETS];
	size_t n;
	uint64_t end;
};

/* Writes the run, whose packets are the first in line. Packets that are written leave the line. */
static int run_write(struct ctf_threads *threads, struct ctf_files *files, struct packet_run *run)
{
	size_t done;
	int err = run->n ? ctf_stream_append(files, run->stream, run->packets, run->n, &done) : 0;

	if (!run->n)
		return 0;
	for (size_t i = 0; i < done; i++) {
		files->written += threads->full[i]->n;
		block_give_back(threads, threads->full[i]);
	}
	threads->nfull -= done;
	memmove(threads->full, threads->full + done, threads->nfull * sizeof(*threads->full));
	run->n = 0;
	return err;
}

/* Packets of a thread next to each other, in the order of time, make long runs. */
static int block_compare(const void *a, const void *b)
{
	const struct block *p = *(struct block *const *)a, *q = *(struct block *const *)b;
	const struct ctf_thread_packet *s = (const void *)p->bytes, *t = (const void *)q->bytes;

	if (s->tid != t->tid)
		return s->tid < t->tid ? -1 : 1;
	return p->first < q->first ? -1 : p->first > q->first;
}

int ctf_threads_write(struct ctf_threads *threads, struct ctf_metadata *metadata, struct ctf_files *files, event_fn fn,
                      void *arg)
{
	struct packet_run run;
	int err = 0;

	run.n = 0;
	if (threads->nfull)
		qsort(threads->full, threads->nfull, sizeof(*threads->full), block_compare);
	while (run.n < threads->nfull && !err) {
		struct block *block = threads->full[run.n];

		if (run.n && (block->first < run.end || run.n == CTF_WRITE_PACKETS)) {
			err = run_write(threads, files, &run);
			continue;
		}
		if (!run.n)
			run.stream = ctf_files_choose(files, CTF_THREAD, block->first, STREAMS_MAX, &err);
		if (err)
			break;
		if (!run.stream) {
			err = block_dissolve(block, metadata, fn, arg);
			if (err)
				break;
			block_give_back(threads, block);
			memmove(threads->full, threads->full + 1, --threads->nfull * sizeof(*threads->full));
			continue;
		}
		run.packets[run.n++] = (struct iovec){ block->bytes, CTF_PACKET_SIZE };
		run.end = block->last;
	}
	return err ? err : run_write(threads, files, &run);
}

static void block_unwritten(const struct block *block, void (*fn)(const struct pp_mark *mark, void *arg), void *arg)
{
	const struct ctf_thread_packet *packet = (const struct ctf_thread_packet *)block->bytes;

	for (uint32_t i = 0; i < block->n; i++)
		fn(&(struct pp_mark){ block->marks[i].attachment, block->marks[i].point, packet->pid }, arg);
}

void ctf_threads_unwritten(const struct ctf_threads *threads, void (*fn)(const struct pp_mark *mark, void *arg),
                           void *arg)
{
	for (size_t i = 0; i < threads->nfull; i++)
		block_unwritten(threads->full[i], fn, arg);
	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct busy_thread *thread = threads->buckets[i]; thread; thread = thread->next)
			if (thread->block)
				block_unwritten(thread->block, fn, arg);
}
