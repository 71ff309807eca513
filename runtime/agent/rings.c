/* SPDX-License-Identifier: MIT */
/*
 * Records out of rings.
 *
 * Where a full ring loses what is new, the reader clears what it has read and gives
 * the space back. Where it loses what is old, the thread does the clearing, whenever
 * it wants room, and the reader only copies: what it has copied is its own, and no
 * record that was lost, if it then moves `taken` on before the thread does. A few at
 * a time, for a thread in a hurry comes by often.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/agent/reader.h"
#include "base/error.h"

#define STUCK_NS 2000000000ull /* a record begun so long ago is not waited for, if there is more behind it */
#define COPY_SIZE 2048         /* bytes copied at once, about */
#define TRIES 64               /* copies in vain until something else is done */

static void clear(const struct ring_state *ring, size_t words)
{
	memset(shm_data(&ring->member->shm, ring->index) + (ring->tail & (AGENT_RING_SIZE - 1)), 0, 8 * words);
}

static bool record_fits(size_t words, size_t left)
{
	return words >= sizeof(struct record) / 8 && words <= RECORD_SIZE_MAX / 8 && words <= left;
}

/* A record is not whole. How many words to pass over: 0, wait for it. */
static size_t pass_over(const struct agent_reader *r, struct ring_state *ring, uint64_t head, uint64_t word, bool ended)
{
	const unsigned char *data = shm_data(&ring->member->shm, ring->index);
	size_t left = (head - ring->tail) / 8, n;

	if (ring->stuck_at != ring->tail || !ring->stuck_since) {
		ring->stuck_at = ring->tail;
		ring->stuck_since = r->passed;
	}
	if (!ended && r->passed - ring->stuck_since < STUCK_NS)
		return 0;
	n = word;
	while (!word && n < left &&
	       !__atomic_load_n((const uint64_t *)(data + ((ring->tail + 8 * n) & (AGENT_RING_SIZE - 1))),
	                        __ATOMIC_ACQUIRE))
		n++;
	return ended || n < left ? (n < left ? n : left) : 0;
}

static void read_comm(pid_t pid, uint32_t tid, char comm[16])
{
	char path[64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%u/comm", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	memset(comm, 0, 16);
	if (fd >= 0) {
		n = read(fd, comm, 16);
		close(fd);
	}
	/* A line of 15 bytes at most. */
	comm[n > 0 ? n - 1 : 0] = 0;
}

/* Another thread takes a ring over only when what is in it was read, or is dropped. */
static void look_whose(struct ring_state *ring, const struct agent_ring *header)
{
	uint32_t tid = __atomic_load_n(&header->tid, __ATOMIC_RELAXED);
	char comm[sizeof(ring->comm)];

	memcpy(comm, header->comm, sizeof(comm));
	/* The thread may not ask for its name: the reader does, once. */
	if (comm[0])
		memcpy(ring->comm, comm, sizeof(ring->comm));
	else if (ring->tid != tid || !ring->comm[0])
		read_comm(ring->member->peer.pid, tid, ring->comm);
	ring->tid = tid;
}

int ring_drain(struct agent_reader *r, struct ring_state *ring, bool gone)
{
	struct agent_ring *header = shm_ring(&ring->member->shm, ring->index);
	const unsigned char *data = shm_data(&ring->member->shm, ring->index);
	uint32_t state = __atomic_load_n(&header->state, __ATOMIC_ACQUIRE);
	uint64_t head = __atomic_load_n(&header->head, __ATOMIC_ACQUIRE), began = ring->tail;
	bool was_empty = ring->from == ring->to;
	int err = 0;

	if (head - ring->tail > AGENT_RING_SIZE || head & 7) {
		ring->bad = r->complaint = true;
		return 0;
	}
	look_whose(ring, header);
	while (ring->tail != head && !err) {
		const unsigned char *at = data + (ring->tail & (AGENT_RING_SIZE - 1));
		uint64_t word = __atomic_load_n((const uint64_t *)at, __ATOMIC_ACQUIRE);
		size_t left = (head - ring->tail) / 8, words;

		if (word < AGENT_WORD_SKIP) {
			words = pass_over(r, ring, head, word, gone || state != AGENT_RING_TAKEN);
			if (!words)
				break;
		} else if (word < AGENT_WORD_TIME) {
			words = word - AGENT_WORD_SKIP;
		} else {
			words = ((const volatile struct record *)at)->words;
			/* The rest of a record is in the same units as this. */
			if (!record_fits(words, left)) {
				ring->bad = r->complaint = true;
				break;
			}
			err = reader_queue_put(r, ring, word, at, (uint32_t)words);
			if (err == -EBADMSG) {
				r->complaint = true;
				r->damaged++;
				err = 0;
			}
			if (err)
				break;
			ring->nread++;
		}
		if (!words || words > left) {
			ring->bad = r->complaint = true;
			break;
		}
		/* What was reserved and not begun is zero, and may be longer than fits behind the end. */
		if (word)
			clear(ring, words);
		ring->tail += 8 * words;
	}
	if (ring->tail != began) {
		__atomic_store_n(&header->limit, ring->tail + AGENT_RING_SIZE, __ATOMIC_RELEASE);
		r->nactive++;
	}
	if (was_empty && ring->from != ring->to && !err)
		err = reader_heap_put(r, ring);
	return err;
}

/* ---- rings that are overwritten ---- */

/* Whole records, with their times and lengths. */
struct copy {
	_Alignas(8) unsigned char bytes[COPY_SIZE + RECORD_SIZE_MAX];
	size_t size;
	uint64_t end; /* the position behind them */
};

/* From ring->tail on, up to head. false: there is what cannot be; or it was overwritten meanwhile. */
static bool copy_records(const struct agent_reader *r, struct ring_state *ring, struct copy *copy, uint64_t head,
                         bool ended)
{
	const unsigned char *data = shm_data(&ring->member->shm, ring->index);
	const uint64_t from = ring->tail;

	copy->size = 0;
	copy->end = from;
	while (copy->end != head && copy->size < COPY_SIZE) {
		const unsigned char *at = data + (copy->end & (AGENT_RING_SIZE - 1));
		uint64_t word = __atomic_load_n((const uint64_t *)at, __ATOMIC_ACQUIRE);
		size_t left = (head - copy->end) / 8, words;

		if (word < AGENT_WORD_SKIP) {
			ring->tail = copy->end;
			words = pass_over(r, ring, head, word, ended);
			ring->tail = from;
			if (!words)
				break;
		} else if (word < AGENT_WORD_TIME) {
			words = word - AGENT_WORD_SKIP;
		} else {
			struct record *record = (struct record *)(copy->bytes + copy->size);

			words = ((const volatile struct record *)at)->words;
			if (!record_fits(words, left))
				return false;
			memcpy(record, at, 8 * words);
			record->time = word;
			record->words = words;
			copy->size += 8 * words;
		}
		if (!words || words > left)
			return false;
		copy->end += 8 * words;
	}
	return true;
}

static int queue_copy(struct agent_reader *r, struct ring_state *ring, const struct copy *copy)
{
	for (size_t at = 0; at < copy->size;) {
		const struct record *record = (const struct record *)(copy->bytes + at);
		int err = reader_queue_put(r, ring, record->time, copy->bytes + at, record->words);

		if (err == -EBADMSG) {
			r->complaint = true;
			r->damaged++;
		} else if (err) {
			return err;
		}
		ring->nread++;
		at += 8 * record->words;
	}
	return 0;
}

int ring_drain_overwritten(struct agent_reader *r, struct ring_state *ring, bool gone)
{
	struct agent_ring *header = shm_ring(&ring->member->shm, ring->index);
	bool was_empty = ring->from == ring->to, any = false;
	unsigned tries = 0;
	size_t done = 0;
	int err = 0;

	while (tries < TRIES && done < AGENT_RING_SIZE && !err) {
		uint64_t taken = __atomic_load_n(&header->taken, __ATOMIC_ACQUIRE);
		uint32_t state = __atomic_load_n(&header->state, __ATOMIC_ACQUIRE);
		uint64_t head = __atomic_load_n(&header->head, __ATOMIC_ACQUIRE);
		struct copy copy;

		ring->tail = taken;
		look_whose(ring, header);
		if (head - taken > AGENT_RING_SIZE || (head | taken) & 7 ||
		    !copy_records(r, ring, &copy, head, gone || state != AGENT_RING_TAKEN)) {
			tries++;
			if (__atomic_load_n(&header->taken, __ATOMIC_ACQUIRE) != taken)
				continue;
			ring->bad = r->complaint = true;
			break;
		}
		if (copy.end == taken)
			break;
		if (!__atomic_compare_exchange_n(&header->taken, &taken, copy.end, false, __ATOMIC_ACQ_REL,
		                                 __ATOMIC_RELAXED)) {
			tries++;
			continue;
		}
		done += copy.end - ring->tail;
		ring->tail = copy.end;
		any = true;
		err = queue_copy(r, ring, &copy);
	}
	r->nactive += any;
	if (was_empty && ring->from != ring->to && !err)
		err = reader_heap_put(r, ring);
	return err;
}

uint64_t ring_waiting(const struct ring_state *ring)
{
	const struct agent_ring *header = shm_ring(&ring->member->shm, ring->index);
	const unsigned char *data = shm_data(&ring->member->shm, ring->index);
	uint64_t left = (__atomic_load_n(&header->head, __ATOMIC_ACQUIRE) - ring->tail) / 8, at = ring->tail, n = 0;

	while (left && left <= AGENT_RING_SIZE / 8) {
		const unsigned char *slot = data + (at & (AGENT_RING_SIZE - 1) & ~7ull);
		uint64_t word = __atomic_load_n((const uint64_t *)slot, __ATOMIC_ACQUIRE), words;

		words = word < AGENT_WORD_SKIP   ? word
		        : word < AGENT_WORD_TIME ? word - AGENT_WORD_SKIP
		                                 : ((const volatile struct record *)slot)->words;
		if (!words || words > left || (word >= AGENT_WORD_TIME && !record_fits(words, left)))
			break;
		n += word >= AGENT_WORD_TIME;
		at += 8 * words;
		left -= words;
	}
	return n;
}

uint64_t ring_unread(const struct ring_state *ring)
{
	uint64_t recorded = shm_ring_recorded(&ring->member->shm, ring->index) - ring->joined;

	/* The numbers are another process's word. */
	return ring->bad && recorded > ring->nread && recorded < UINT64_MAX / 2 ? recorded - ring->nread : 0;
}

void ring_take_over(struct ring_state *ring, uint64_t read)
{
	struct agent_ring *header = shm_ring(&ring->member->shm, ring->index);
	uint64_t taken = __atomic_load_n(&header->taken, __ATOMIC_ACQUIRE);
	uint64_t head = __atomic_load_n(&header->head, __ATOMIC_ACQUIRE);

	while (read - taken <= head - taken &&
	       !__atomic_compare_exchange_n(&header->taken, &taken, read, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
	ring->tail = taken;
}
