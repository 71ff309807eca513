/* SPDX-License-Identifier: MIT */
/*
 * Flight recorders: their maps, and how records are copied out of them. emit-flight.c explains how programs write.
 *
 * A reader copies a part, and then compares the part's turn again. If that has changed, the copy is void. If it has not,
 * all records that have their mark are complete, because programs write the mark last, and because a mark contains the
 * turn and the offset. Bytes without a mark belong to programs that are writing. The map outlives the processes, and is
 * removed with its attachment.
 *
 * Records are in the order in which programs reserved them. A program takes the time before, and can lose the CPU or
 * wait for a page in between, so a record of an overwritten part can be later than one that is kept. But a thread runs
 * one program at a time: the second record of a thread in a part is later than the moment at which the part was begun,
 * and so than all records of older parts.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/kernel/kernel.h"
#include "runtime/record.h"

#define PARTS_MIN 8
#define TOTAL_MAX ((size_t)4 << 30)
#define WAIT_NS 200000 /* for writers, WAITS times */
#define WAITS 25
#define PART_THREADS 256

/* ---- maps ---- */

static int flight_map(struct kernel_attachment *s)
{
	s->flight = kernel_map_memory(s->flight_fd, s->flight_part_size * (size_t)s->flight_parts);
	return s->flight ? 0 : error_set(errno, "cannot map a BPF map: %s", strerror(errno));
}

int kernel_flight_create(struct kernel_attachment *s, const struct arm_options *options, size_t scratch_size)
{
	size_t each = options->flight, n = options->scope->npids ? options->scope->npids : 1;

	if (!each)
		return 0;
	if (each > TOTAL_MAX / n)
		return error_set(E2BIG,
		                 "a flight recorder of %zu bytes for each of %zu processes takes more than 4 GiB; give "
		                 "a smaller size",
		                 each, n);
	s->flight_part_size = kernel_flight_part_size(scratch_size);
	s->flight_parts = (uint32_t)(each * n / s->flight_part_size);
	if (s->flight_parts < PARTS_MIN)
		s->flight_parts = PARTS_MIN;
	s->flight_fd = kernel_map_create(BPF_MAP_TYPE_ARRAY, "pp_flight", 4, s->flight_part_size, s->flight_parts,
	                                 BPF_F_MMAPABLE);
	if (s->flight_fd < 0)
		return s->flight_fd;
	if (getrandom(&s->control->flight_key, sizeof(s->control->flight_key), 0) != sizeof(s->control->flight_key))
		return error_set(EIO, "no random bytes for a flight recorder");
	s->control->flight_each = each;
	return flight_map(s);
}

int kernel_flight_get(struct kernel_attachment *s, uint32_t number)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);
	int fd = pin_get(&s->session->pins, "flight", (int)number, -1);

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return error_set(-fd, "cannot open '%s': %s", pin_path(&s->session->pins, "flight", (int)number, -1),
		                 strerror(-fd));
	s->flight_fd = fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &size) || info.type != BPF_MAP_TYPE_ARRAY ||
	    !(info.map_flags & BPF_F_MMAPABLE) || info.value_size & 7 ||
	    info.value_size < kernel_flight_part_size(EMIT_SCRATCH_SIZE) || !info.max_entries)
		return error_set(EBADMSG, "'%s' is not a flight recorder",
		                 pin_path(&s->session->pins, "flight", (int)number, -1));
	s->flight_part_size = info.value_size;
	s->flight_parts = info.max_entries;
	return flight_map(s);
}

void kernel_flight_close(struct kernel_attachment *s)
{
	if (s->flight)
		munmap(s->flight, s->flight_part_size * (size_t)s->flight_parts);
	if (s->flight_fd >= 0)
		close(s->flight_fd);
}

size_t kernel_flight(const struct attachment *attachment)
{
	const struct kernel_attachment *s = attachment->state;

	return s->flight ? s->control->flight_each : 0;
}

uint64_t kernel_held(struct pp_session *session)
{
	uint64_t held = 0;

	for (size_t i = 0; i < session->nattachments; i++)
		if (session->attachments[i]->backend == &backend_kernel) {
			const struct kernel_attachment *s = session->attachments[i]->state;

			if (s->flight)
				held += s->flight_part_size * (uint64_t)s->flight_parts;
		}
	return held;
}

/* ---- reading ---- */

static uint64_t part_state(const struct kernel_flight_part *part)
{
	return __atomic_load_n(&part->state, __ATOMIC_ACQUIRE);
}

/* Waits until no program writes to the part, for a limited time. Returns its state. */
static uint64_t part_wait(const struct kernel_flight_part *part)
{
	uint64_t state = part_state(part);

	for (int i = 0; state & KERNEL_FLIGHT_WRITERS && i < WAITS; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = WAIT_NS }, NULL);
		state = part_state(part);
	}
	return state;
}

/* How many turns a state is ahead of a turn. Below 0: the part was passed over in that turn. */
static int16_t state_ahead(uint64_t state, uint64_t turn)
{
	return (int16_t)(uint16_t)((state >> KERNEL_FLIGHT_TURN_SHIFT) - turn);
}

/* Copies a part. Returns its state; it is ahead of the turn if the part is used again meanwhile. */
static uint64_t part_copy(const struct kernel_flight_part *part, struct kernel_flight_part *copy, size_t size,
                          uint64_t turn)
{
	uint64_t state = part_wait(part), after;

	if (state_ahead(state, turn))
		return state;
	memcpy(copy, part, size);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	after = part_state(part);
	return state_ahead(after, turn) ? after : state;
}

/* Returns the size of the record at an offset of a copy with its mark, or 0 if it is not complete. */
static size_t copy_record(const struct kernel_attachment *s, const struct kernel_flight_part *copy, uint64_t turn,
                          size_t at)
{
	const struct record_thread *thread = (const struct record_thread *)(copy->records + at + 8);
	size_t room = s->flight_part_size - sizeof(*copy) - at - 8, size;
	uint64_t mark;

	memcpy(&mark, copy->records + at, sizeof(mark));
	if (mark != ((turn | at) ^ s->control->flight_key))
		return 0;
	size = sizeof(*thread) + 8 * (size_t)record_words((const struct record *)(thread + 1));
	return size >= sizeof(*thread) + sizeof(struct record) && size <= room ? 8 + size : 0;
}

/*
 * The threads that have a record in a part, and the time of the first record whose thread has an earlier one in the
 * part.
 */
struct part_threads {
	struct part_thread {
		uint32_t pid, tid;
	} threads[PART_THREADS];
	size_t n;
	uint64_t second; /* ns; 0: no thread has two records, or there are more threads */
};

static void part_threads_add(struct part_threads *part, const struct record_thread *thread, uint64_t time)
{
	if (part->second)
		return;
	for (size_t i = 0; i < part->n; i++)
		if (part->threads[i].tid == thread->tid && part->threads[i].pid == thread->pid) {
			part->second = time;
			return;
		}
	if (part->n < PART_THREADS)
		part->threads[part->n++] = (struct part_thread){ thread->pid, thread->tid };
}

/*
 * Calls fn with the records of a copy. Sets *since, if possible, to a time that is later than all records of older
 * parts.
 */
static int copy_read(const struct kernel_attachment *s, const struct kernel_flight_part *copy, uint64_t state,
                     snapshot_fn *fn, void *arg, uint64_t *passed, uint64_t *since)
{
	struct part_threads threads = { .n = 0 };
	const uint64_t turn = state >> KERNEL_FLIGHT_TURN_SHIFT << KERNEL_FLIGHT_TURN_SHIFT;
	size_t end = (uint32_t)state < KERNEL_FLIGHT_PART ? (uint32_t)state : KERNEL_FLIGHT_PART;
	bool complete = true;

	for (size_t at = 0; at < end;) {
		size_t size = copy_record(s, copy, turn, at);
		const struct record_thread *thread = (const struct record_thread *)(copy->records + at + 8);
		int err;

		if (!size) {
			*passed += complete;
			complete = false;
			at += 8;
			continue;
		}
		complete = true;
		part_threads_add(&threads, thread, ((const struct record *)(thread + 1))->time);
		err = fn(thread, (const struct record *)(thread + 1), size - 8 - sizeof(*thread), arg);
		if (err)
			return err;
		at += size;
	}
	if (threads.second)
		*since = threads.second;
	return 0;
}

/*
 * Reads the parts from the newest turn to the oldest. Programs overwrite the oldest part first. So the reader ends at the
 * first part that is used again, and has all records from some time on.
 */
static int attachment_snapshot(const struct kernel_attachment *s, struct kernel_flight_part *copy, snapshot_fn *fn,
                               void *arg, struct snapshot_gaps *gaps)
{
	const uint64_t newest = __atomic_load_n(&s->control->flight, __ATOMIC_ACQUIRE);
	bool overwritten = newest >= s->flight_parts;
	uint64_t since = 0;
	int err = 0;

	for (uint64_t i = 0; i < s->flight_parts && i <= newest && !err; i++) {
		const uint64_t turn = newest - i;
		const struct kernel_flight_part *part =
			(const struct kernel_flight_part *)((const char *)s->flight +
		                                            turn % s->flight_parts * s->flight_part_size);
		uint64_t state = part_copy(part, copy, s->flight_part_size, turn);

		overwritten |= state_ahead(state, turn) > 0;
		if (state_ahead(state, turn) > 0)
			break;
		if (!state_ahead(state, turn))
			err = copy_read(s, copy, state, fn, arg, &gaps->passed, &since);
	}
	if (overwritten)
		snapshot_gaps_until(gaps, since ? since : clock_ns());
	return err;
}

int kernel_snapshot(struct pp_session *session, snapshot_fn *fn, void *arg, struct snapshot_gaps *gaps)
{
	int err = 0;

	for (size_t i = 0; i < session->nattachments && !err; i++) {
		const struct attachment *attachment = session->attachments[i];
		const struct kernel_attachment *s = attachment->state;
		struct kernel_flight_part *copy;

		if (attachment->backend != &backend_kernel || !s || !s->flight)
			continue;
		copy = malloc(s->flight_part_size);
		err = copy ? attachment_snapshot(s, copy, fn, arg, gaps) : error_nomem();
		free(copy);
	}
	return err;
}
