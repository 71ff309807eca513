/* SPDX-License-Identifier: MIT */
/*
 * Reads rings. protocol.h describes them.
 *
 *  1. All that is read is another process's data, which can change meanwhile. A value that decides something is loaded
 *     once. A ring that holds invalid data is not read any more. The reader's writes to a ring can harm only the ring's
 *     owner.
 *  2. If a full ring loses new records, the reader clears what it has read and gives the space back.
 *  3. If a full ring drops its oldest records, the thread clears them whenever it needs room, and the reader only
 *     copies. The copy is valid, and its records are not lost, if the reader then moves `taken` on before the thread
 *     does. The reader copies a few records at a time, because a fast thread drops records often.
 *  4. Records stay in the ring after they were read if the process has ended, or if the caller asks for it (rings_pass.leave),
 *     so that the next reader finds those that this one does not deliver. The ring then has a list of what was read. The space
 *     is given back when the caller has delivered the records. Of a thread that may drop its oldest records, the reader copies
 *     a few records, and takes each when it returns it.
 *  5. A record that stays unfinished is skipped (ring_skip()). It counts as lost, because no reader returns it. Its
 *     thread may have left it by longjmp(3), or may finish it later, and then counts it as recorded. If the thread or
 *     its process has ended, the hit was cut short and does not count.
 */
#include "runtime/agent/rings.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/backend.h"
#include "runtime/record.h"

#define STUCK_NS 2000000000ull           /* a record that is unfinished for so long is skipped if others follow it */
#define GIVE_SIZE (AGENT_RING_SIZE / 16) /* bytes that were read are given back to the thread in such portions */
#define COPY_SIZE 2048                   /* bytes to copy at a time, about */
#define TRIES 64                         /* copies in vain before the next ring gets its turn */

/* A record, or space without one, that was read and is still in the ring. */
struct kept_entry {
	uint64_t time; /* ns; 0: not a record */
	uint64_t end;  /* the position after it, with flags */
};
#define ENTRY_IS_ZERO 1ull       /* nothing is to be cleared */
#define ENTRY_IS_UNFINISHED 2ull /* a record of a live thread was skipped */
#define ENTRY_FLAGS 7ull

/* What was read and is still in the ring: entries[from..to), of which those before `returned` were returned. */
struct kept_entries {
	struct kept_entry *entries;
	size_t from, returned, to, room;
	uint64_t begin; /* position of entries[from] */
};

struct ring_state {
	struct rings *rings;
	struct kept_entries kept;
	bool is_tentative;          /* the record in the queue is taken when it is returned: */
	uint64_t copied, copied_to; /* its positions, with space before it */
	uint64_t copied_unfinished; /* unfinished records in that space */
	uint32_t index;
	uint64_t size;                /* of its records */
	bool bad;                     /* the ring holds invalid data: it is not read any more */
	uint64_t joined;              /* records that had been read when this reader began, by the ring's counters */
	uint64_t nread;               /* records taken out or skipped since */
	uint64_t nunfinished;         /* unfinished records of a live thread that were skipped: they are lost */
	uint64_t last_ticks, last_ns; /* of the last record, by the ring's clock and converted */
	uint64_t tail;
	uint64_t stuck_at, stuck_since; /* position and begin (ns) of the wait for an unfinished record */
	struct record_queue queue;
	uint32_t tid; /* of the thread that owned the ring in the last pass */
	char comm[16];
};

struct rings {
	const struct mapped_shm *shm;
	pid_t pid;
	uint32_t number;
	bool takes;                /* rings_take_all() was called */
	uint64_t kept_bytes;       /* of all rings */
	struct ring_state *states; /* one for each ring */
	struct agent_slot *slots;  /* what the slots meant when they were last looked at; since 0: not known */
};

/* ---- one ring ---- */

static uint64_t ring_word(const struct rings *rings, const struct ring_state *ring, uint64_t position)
{
	const unsigned char *data = shm_data(rings->shm, ring->index);

	return __atomic_load_n((const uint64_t *)(data + (position & (ring->size - 1) & ~7ull)), __ATOMIC_ACQUIRE);
}

static const unsigned char *ring_at(const struct rings *rings, const struct ring_state *ring, uint64_t position)
{
	return shm_data(rings->shm, ring->index) + (position & (ring->size - 1) & ~7ull);
}

/* A part of a ring that was read, and is to be cleared. */
struct ring_part {
	unsigned char *at;
	size_t size;
};

static void ring_part_clear(struct ring_part *part)
{
	if (part->size)
		memset(part->at, 0, part->size);
	part->size = 0;
}

/* Adds words at a position to what is to be cleared. */
static void ring_part_add(struct ring_part *part, const struct rings *rings, const struct ring_state *ring,
                          uint64_t position, size_t words)
{
	unsigned char *at = shm_data(rings->shm, ring->index) + (position & (ring->size - 1));

	if (part->at + part->size != at)
		ring_part_clear(part);
	if (!part->size)
		part->at = at;
	part->size += 8 * words;
}

static void ring_give_up(struct ring_state *ring, struct rings_pass *pass)
{
	ring->bad = pass->is_damaged = true;
}

/*
 * Returns whether the thread has moved head since it was read. A thread that has reserved more than its record needs moves
 * head back, and its next records may then end after the head that was read. They are valid, and the next pass reads them.
 */
static bool ring_head_moved(const struct rings *rings, const struct ring_state *ring, uint64_t head)
{
	return __atomic_load_n(&shm_ring(rings->shm, ring->index)->head, __ATOMIC_ACQUIRE) != head;
}

static bool record_fits(size_t words, size_t left)
{
	return words >= sizeof(struct record) / 8 && words <= RECORD_SIZE_MAX / 8 && words <= left;
}

/*
 * Handles an unfinished record at `at`, whose first word is `word`. Returns how many words to skip; 0: wait for it.
 * ended: its thread does not write any more.
 */
static size_t ring_skip(const struct rings *rings, struct ring_state *ring, const struct rings_pass *pass, uint64_t at,
                        uint64_t head, uint64_t word, bool ended)
{
	size_t left = (head - at) / 8, n = word;

	if (ring->stuck_at != at || !ring->stuck_since) {
		ring->stuck_at = at;
		ring->stuck_since = pass->now;
	}
	if (!ended && pass->now - ring->stuck_since < STUCK_NS)
		return 0;
	while (!word && n < left && !ring_word(rings, ring, at + 8 * n))
		n++;
	if (n < left)
		return n;
	return ended ? left : 0;
}

static void thread_read_comm(pid_t pid, uint32_t tid, char comm[16])
{
	char path[64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%u/comm", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	memset(comm, 0, 16);
	if (fd >= 0) {
		n = read(fd, comm, 16); /* a line of at most 15 characters */
		close(fd);
	}
	comm[n > 0 ? n - 1 : 0] = 0;
}

/*
 * Finds out which thread owns the ring. The owner changes only after the ring was read, or when its records are
 * dropped.
 */
static void ring_read_owner(const struct rings *rings, struct ring_state *ring, const struct agent_ring *header)
{
	uint32_t tid = __atomic_load_n(&header->tid, __ATOMIC_RELAXED);
	char comm[sizeof(ring->comm)];

	memcpy(comm, header->comm, sizeof(comm));
	/* If the thread was not permitted to ask for its name, the reader asks, once. */
	if (comm[0])
		memcpy(ring->comm, comm, sizeof(ring->comm));
	else if (ring->tid != tid || !ring->comm[0])
		thread_read_comm(rings->pid, tid, ring->comm);
	ring->tid = tid;
}

/* ---- queues ---- */

/*
 * Stores what a slot meant at a time. The slot may mean another point by now; then stores what it meant when it was
 * last looked at. Returns false if that is not known.
 */
static bool rings_slot_at(struct rings *rings, uint32_t slot, uint64_t time, struct agent_slot *meant)
{
	struct agent_slot *before = &rings->slots[slot];
	struct agent_slot now = shm_slot(rings->shm, slot), again;

	if (!memcmp(&now, before, sizeof(now)) && now.since && now.since <= time) {
		*meant = now;
		return true;
	}
	for (int try = 0; try < 100; try++) {
		again = shm_slot(rings->shm, slot);
		if (!memcmp(&now, &again, sizeof(now)))
			break;
		now = again;
	}
	if (now.attachment != AGENT_NO_ATTACHMENT && now.since && now.since <= time)
		*before = now;
	*meant = *before;
	return meant->since && meant->since <= time;
}

/* The clock is measured again in each pass. Returns ns, or the last record's if that would put a later record before it. */
static uint64_t ring_time(struct ring_state *ring, uint64_t ticks, uint64_t ns)
{
	if (ticks >= ring->last_ticks && ns < ring->last_ns)
		ns = ring->last_ns;
	ring->last_ticks = ticks;
	ring->last_ns = ns;
	return ns;
}

/* Adds a record of the region's time to the ring's queue. Skips a record that does not belong to a point. */
static int ring_queue(struct rings *rings, struct ring_state *ring, struct rings_pass *pass, uint64_t time,
                      const unsigned char *at, uint32_t words)
{
	struct queued_record *q = record_queue_reserve(&ring->queue, 8 * words);
	struct agent_slot slot;
	struct record *record;

	if (!q)
		return -ENOMEM;
	record = (struct record *)q->record;
	memcpy(record, at, 8 * words);
	record_set_words(record, words);
	ring->nread++;
	if (record->point >= shm_used(rings->shm) || !rings_slot_at(rings, record->point, time, &slot)) {
		pass->is_damaged = true;
		pass->ndamaged++;
		return 0;
	}
	record->point = slot.point;
	record->time = q->time = ring_time(ring, time, record_clock_to_ns(pass->clock, rings->shm, time, &pass->now));
	q->thread.attachment = slot.attachment;
	q->thread.pid = (uint32_t)rings->pid;
	q->thread.tid = ring->tid;
	q->thread.kept = pass->leave && !ring->is_tentative ? rings->number : 0;
	memcpy(q->thread.comm, ring->comm, sizeof(q->thread.comm));
	record_queue_commit(&ring->queue, pass->merge);
	return 0;
}

/* ---- records that stay in the ring ---- */

static bool ring_is_kept(const struct ring_state *ring)
{
	return ring->kept.from != ring->kept.to;
}

/* Adds what is at the tail. queued: it is a record that was queued. */
static int ring_keep(struct rings *rings, struct ring_state *ring, uint64_t words, bool queued, uint64_t flags)
{
	struct kept_entries *kept = &ring->kept;

	if (!ring_is_kept(ring)) {
		kept->from = kept->returned = kept->to = 0;
		kept->begin = ring->tail;
	} else if (kept->to == kept->room && kept->from > kept->room / 2) {
		memmove(kept->entries, kept->entries + kept->from, (kept->to - kept->from) * sizeof(*kept->entries));
		kept->returned -= kept->from;
		kept->to -= kept->from;
		kept->from = 0;
	}
	if (ALLOC_GROW(kept->entries, kept->to + 1, kept->room))
		return -ENOMEM;
	kept->entries[kept->to++] = (struct kept_entry){
		.time = queued ? ring->last_ns : 0,
		.end = (ring->tail + 8 * words) | flags,
	};
	rings->kept_bytes += 8 * words;
	return 0;
}

/* Removes the entries before number `to` from the ring. */
static void ring_release(struct ring_state *ring, size_t to)
{
	struct agent_ring *header = shm_ring(ring->rings->shm, ring->index);
	struct kept_entries *kept = &ring->kept;
	struct ring_part part = { NULL, 0 };
	bool overwritten = shm_is_overwritten(ring->rings->shm);

	if (kept->from == to)
		return;
	for (; kept->from < to; kept->from++) {
		const struct kept_entry *e = &kept->entries[kept->from];
		uint64_t end = e->end & ~ENTRY_FLAGS;

		if (!overwritten && !(e->end & ENTRY_IS_ZERO))
			ring_part_add(&part, ring->rings, ring, kept->begin, (end - kept->begin) / 8);
		ring->nunfinished += (e->end & ENTRY_IS_UNFINISHED) != 0;
		ring->rings->kept_bytes -= end - kept->begin;
		kept->begin = end;
	}
	if (kept->returned < kept->from)
		kept->returned = kept->from;
	ring_part_clear(&part);
	if (overwritten)
		__atomic_store_n(&header->taken, kept->begin, __ATOMIC_RELEASE);
	else
		__atomic_store_n(&header->limit, kept->begin + ring->size, __ATOMIC_RELEASE);
}

static struct ring_state *queue_ring(const struct record_queue *queue)
{
	return (struct ring_state *)((char *)queue - offsetof(struct ring_state, queue));
}

/* Takes the record that was copied from a ring whose thread may drop it. */
static bool ring_take_tentative(struct ring_state *ring)
{
	struct agent_ring *header = shm_ring(ring->rings->shm, ring->index);
	uint64_t taken = ring->copied;

	if (!__atomic_compare_exchange_n(&header->taken, &taken, ring->copied_to, false, __ATOMIC_ACQ_REL,
	                                 __ATOMIC_RELAXED))
		return false;
	ring->nunfinished += ring->copied_unfinished;
	return true;
}

bool rings_return(struct record_queue *queue)
{
	struct ring_state *ring = queue_ring(queue);
	struct kept_entries *kept = &ring->kept;

	if (ring->is_tentative)
		return ring_take_tentative(ring);
	while (kept->returned < kept->to && !kept->entries[kept->returned].time)
		kept->returned++;
	if (kept->returned < kept->to)
		kept->returned++;
	/* Space without a record after the last one goes with it. */
	if (record_queue_is_last(queue))
		kept->returned = kept->to;
	return true;
}

void rings_done(struct rings *rings, uint64_t until)
{
	if (!rings->kept_bytes)
		return;
	for (uint32_t i = 0; i < rings->shm->nrings && rings->kept_bytes; i++) {
		struct ring_state *ring = &rings->states[i];
		size_t to = ring->kept.from;

		while (to < ring->kept.returned && ring->kept.entries[to].time < until)
			to++;
		ring_release(ring, to);
	}
}

void rings_take_all(struct rings *rings)
{
	for (uint32_t i = 0; i < rings->shm->nrings && rings->kept_bytes; i++)
		ring_release(&rings->states[i], rings->states[i].kept.to);
	rings->takes = true;
}

uint64_t rings_kept_bytes(const struct rings *rings)
{
	return rings->kept_bytes;
}

uint32_t rings_number(const struct rings *rings)
{
	return rings->number;
}

bool rings_queue_is_kept(const struct record_queue *queue)
{
	const struct ring_state *ring = queue_ring(queue);

	return (ring->is_tentative || ring_is_kept(ring)) && !shm_has_moved(ring->rings->shm);
}

/* ---- rings that lose new records ---- */

/* Reads what begins at the tail. Returns how many words to move on, 0 to stop here, or -ENOMEM. */
static ssize_t ring_read_one(struct rings *rings, struct ring_state *ring, struct rings_pass *pass, uint64_t head,
                             bool ended, struct ring_part *part)
{
	const unsigned char *at = ring_at(rings, ring, ring->tail);
	uint64_t word = ring_word(rings, ring, ring->tail), nread = ring->nread, ndamaged = pass->ndamaged;
	size_t left = (head - ring->tail) / 8, words;
	bool unfinished;

	if (word < AGENT_WORD_SKIP) {
		words = ring_skip(rings, ring, pass, ring->tail, head, word, ended);
		if (!words)
			return 0;
	} else if (word < AGENT_WORD_TIME) {
		words = word - AGENT_WORD_SKIP;
	} else {
		int err;

		words = record_words((const volatile struct record *)at);
		if (!record_fits(words, left)) {
			if (!ring_head_moved(rings, ring, head))
				ring_give_up(ring, pass);
			return 0;
		}
		err = ring_queue(rings, ring, pass, word, at, (uint32_t)words);
		if (err)
			return err;
	}
	if (!words || words > left || (word && words > RECORD_SIZE_MAX / 8)) {
		if (!ring_head_moved(rings, ring, head))
			ring_give_up(ring, pass);
		return 0;
	}
	/* Reserved space that nothing was written to is zero, and may be longer than the slack after the end. */
	unfinished = word < AGENT_WORD_SKIP && !ended;
	if (pass->leave) {
		bool queued = ring->nread != nread && pass->ndamaged == ndamaged;
		int err = ring_keep(rings, ring, words, queued,
		                    (word ? 0 : ENTRY_IS_ZERO) | (unfinished ? ENTRY_IS_UNFINISHED : 0));

		return err ? err : (ssize_t)words;
	}
	ring->nunfinished += unfinished;
	if (word)
		ring_part_add(part, rings, ring, ring->tail, words);
	return (ssize_t)words;
}

/* Gives the space before the tail back to the thread. Returns the tail. */
static uint64_t ring_give_back(const struct ring_state *ring, struct agent_ring *header, struct ring_part *part)
{
	ring_part_clear(part);
	__atomic_store_n(&header->limit, ring->tail + ring->size, __ATOMIC_RELEASE);
	return ring->tail;
}

static int ring_drain(struct rings *rings, struct ring_state *ring, struct rings_pass *pass)
{
	struct agent_ring *header = shm_ring(rings->shm, ring->index);
	uint32_t state = __atomic_load_n(&header->state, __ATOMIC_ACQUIRE);
	uint64_t head = __atomic_load_n(&header->head, __ATOMIC_ACQUIRE), began = ring->tail, given = began;
	struct ring_part part = { NULL, 0 };
	ssize_t words = 0;

	if (head - ring->tail > ring->size || head & 7) {
		ring_give_up(ring, pass);
		return 0;
	}
	ring_read_owner(rings, ring, header);
	while (ring->tail != head) {
		words = ring_read_one(rings, ring, pass, head, pass->ended || state != AGENT_RING_TAKEN, &part);
		if (words <= 0)
			break;
		ring->tail += 8 * (uint64_t)words;
		if (!pass->leave && ring->tail - given >= GIVE_SIZE)
			given = ring_give_back(ring, header, &part);
	}
	if (!pass->leave && ring->tail != given)
		ring_give_back(ring, header, &part);
	pass->nactive += ring->tail != began;
	return words < 0 ? (int)words : 0;
}

/* ---- rings that drop their oldest records ---- */

/* Complete records, with their times and lengths. */
struct ring_copy {
	_Alignas(8) unsigned char bytes[COPY_SIZE + RECORD_SIZE_MAX];
	size_t wanted, size;
	uint64_t begin, end;  /* positions of what was copied or skipped */
	uint64_t nunfinished; /* unfinished records of a live thread that were skipped */
};

/*
 * Copies records of at least copy->wanted bytes from the tail on, or all up to head. Returns false if the data is invalid, or
 * was overwritten meanwhile.
 */
static bool ring_copy_records(const struct rings *rings, struct ring_state *ring, const struct rings_pass *pass,
                              struct ring_copy *copy, uint64_t head, bool ended)
{
	copy->size = 0;
	copy->nunfinished = 0;
	copy->begin = copy->end = ring->tail;
	while (copy->end != head && copy->size < copy->wanted) {
		const unsigned char *at = ring_at(rings, ring, copy->end);
		uint64_t word = ring_word(rings, ring, copy->end);
		size_t left = (head - copy->end) / 8, words;

		if (word < AGENT_WORD_SKIP) {
			words = ring_skip(rings, ring, pass, copy->end, head, word, ended);
			if (!words)
				break;
			copy->nunfinished += !ended;
		} else if (word < AGENT_WORD_TIME) {
			words = word - AGENT_WORD_SKIP;
		} else {
			struct record *record = (struct record *)(copy->bytes + copy->size);

			words = record_words((const volatile struct record *)at);
			if (!record_fits(words, left))
				return false;
			memcpy(record, at, 8 * words);
			record->time = word;
			record_set_words(record, words);
			copy->size += 8 * words;
		}
		if (!words || words > left)
			return false;
		copy->end += 8 * words;
	}
	return true;
}

static int ring_queue_copy(struct rings *rings, struct ring_state *ring, struct rings_pass *pass,
                           const struct ring_copy *copy)
{
	for (size_t at = 0; at < copy->size;) {
		const struct record *record = (const struct record *)(copy->bytes + at);
		int err = ring_queue(rings, ring, pass, record->time, copy->bytes + at, record_words(record));

		if (err)
			return err;
		at += 8 * record_words(record);
	}
	return 0;
}

enum copy_result { COPY_DONE, COPY_VOID, COPY_NOTHING };

/*
 * Copies records and takes them, or leaves a record if it is the only one wanted. COPY_VOID: the thread came first. COPY_NOTHING:
 * there is nothing more to read.
 */
static enum copy_result ring_take_copy(struct rings *rings, struct ring_state *ring, struct rings_pass *pass,
                                       struct ring_copy *copy)
{
	struct agent_ring *header = shm_ring(rings->shm, ring->index);
	uint64_t taken = __atomic_load_n(&header->taken, __ATOMIC_ACQUIRE);
	uint32_t state = __atomic_load_n(&header->state, __ATOMIC_ACQUIRE);
	uint64_t head = __atomic_load_n(&header->head, __ATOMIC_ACQUIRE);

	ring->tail = taken;
	ring_read_owner(rings, ring, header);
	if (head - taken > ring->size || (head | taken) & 7 ||
	    !ring_copy_records(rings, ring, pass, copy, head, pass->ended || state != AGENT_RING_TAKEN)) {
		if (__atomic_load_n(&header->taken, __ATOMIC_ACQUIRE) != taken || ring_head_moved(rings, ring, head))
			return COPY_VOID;
		ring_give_up(ring, pass);
		return COPY_NOTHING;
	}
	if (copy->end == taken)
		return COPY_NOTHING;
	if (pass->leave && copy->size)
		return __atomic_load_n(&header->taken, __ATOMIC_ACQUIRE) == taken ? COPY_DONE : COPY_VOID;
	if (!__atomic_compare_exchange_n(&header->taken, &taken, copy->end, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return COPY_VOID;
	ring->tail = copy->end;
	ring->nunfinished += copy->nunfinished;
	return COPY_DONE;
}

static int ring_drain_overwritten(struct rings *rings, struct ring_state *ring, struct rings_pass *pass)
{
	bool active = false;
	unsigned tries = 0;
	size_t done = 0;
	int err = 0;

	while (tries < TRIES && done < ring->size && !err) {
		struct ring_copy copy = { .wanted = pass->leave ? 1 : COPY_SIZE };
		enum copy_result result = ring_take_copy(rings, ring, pass, &copy);

		if (result == COPY_NOTHING)
			break;
		if (result == COPY_VOID) {
			tries++;
			continue;
		}
		done += copy.end - copy.begin;
		active = true;
		ring->is_tentative = pass->leave;
		ring->copied = copy.begin;
		ring->copied_to = copy.end;
		ring->copied_unfinished = copy.nunfinished;
		err = ring_queue_copy(rings, ring, pass, &copy);
		if (!pass->leave || !copy.size)
			continue;
		/* A record that does not belong to a point is not queued. */
		if (ring->queue.from == ring->queue.to)
			ring_take_tentative(ring);
		break;
	}
	pass->nactive += active;
	return err;
}

static int ring_drain_any(struct rings *rings, struct ring_state *ring, struct rings_pass *pass)
{
	/* What was read of an ended process and left is delivered first; it would be read again. */
	if (pass->ended && !pass->leave && ring_is_kept(ring))
		return 0;
	if (!shm_is_overwritten(rings->shm))
		return ring_drain(rings, ring, pass);
	if (ring->is_tentative && ring->queue.from != ring->queue.to)
		return 0;
	ring->is_tentative = false;
	if (!pass->leave || !pass->ended)
		return ring_drain_overwritten(rings, ring, pass);
	/* No thread drops records any more. */
	if (!ring_is_kept(ring))
		ring->tail = __atomic_load_n(&shm_ring(rings->shm, ring->index)->taken, __ATOMIC_ACQUIRE);
	return ring_drain(rings, ring, pass);
}

/* ---- beginning to read ---- */

static void waiting_add(uint32_t slot, void *n)
{
	(void)slot;
	(*(uint64_t *)n)++;
}

/* Returns how many complete records wait in the ring. */
static uint64_t ring_waiting(const struct rings *rings, const struct ring_state *ring)
{
	uint64_t head = __atomic_load_n(&shm_ring(rings->shm, ring->index)->head, __ATOMIC_ACQUIRE), n = 0;

	shm_ring_each(rings->shm, ring->index, ring->tail, head, waiting_add, &n);
	return n;
}

/* Moves `taken` of an overwritten ring on to what an earlier reader has read, if that is in the ring. */
static void ring_take_over(const struct rings *rings, struct ring_state *ring, uint64_t read)
{
	struct agent_ring *header = shm_ring(rings->shm, ring->index);
	uint64_t taken = __atomic_load_n(&header->taken, __ATOMIC_ACQUIRE);
	uint64_t head = __atomic_load_n(&header->head, __ATOMIC_ACQUIRE);

	while (read - taken <= head - taken &&
	       !__atomic_compare_exchange_n(&header->taken, &taken, read, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
	ring->tail = taken;
}

/* Clears what an earlier reader has read, from a position up to the tail, and gives the space back. */
static void ring_pass_over(const struct rings *rings, const struct ring_state *ring, uint64_t from)
{
	struct ring_part part = { NULL, 0 };

	while (from != ring->tail) {
		uint64_t word = ring_word(rings, ring, from), left = (ring->tail - from) / 8, words;

		if (word < AGENT_WORD_SKIP)
			words = word ? word : 1;
		else if (word < AGENT_WORD_TIME)
			words = word - AGENT_WORD_SKIP;
		else
			words = record_words((const volatile struct record *)ring_at(rings, ring, from));
		if (!words || words > left || words > RECORD_SIZE_MAX / 8)
			break;
		if (word)
			ring_part_add(&part, rings, ring, from, words);
		from += 8 * words;
	}
	ring_give_back(ring, shm_ring(rings->shm, ring->index), &part);
}

static void ring_begin(const struct rings *rings, struct ring_state *ring, const struct rings *before)
{
	const struct agent_ring *header = shm_ring(rings->shm, ring->index);
	uint64_t head = __atomic_load_n(&header->head, __ATOMIC_ACQUIRE);
	uint64_t limit = __atomic_load_n(&header->limit, __ATOMIC_ACQUIRE);
	uint64_t tail = limit ? limit - ring->size : 0; /* limit 0: the ring was never taken */
	const struct ring_state *earlier =
		before && ring->index < before->shm->nrings ? &before->states[ring->index] : NULL;
	uint64_t read = earlier ? earlier->tail : tail;

	/* The clock may have been measured again meanwhile. Records that are queued there come before those of this ring. */
	if (earlier && earlier->last_ns) {
		ring->last_ticks = earlier->last_ticks;
		ring->last_ns = earlier->last_ns + 1;
	}
	ring->tail = read - tail <= head - tail ? read : tail;
	if (shm_is_overwritten(rings->shm))
		ring_take_over(rings, ring, read);
	else if (ring->tail != tail)
		ring_pass_over(rings, ring, tail);
	ring->bad = (ring->tail & 7) != 0;
	/* Nothing has been read of a ring whose tail is 0. */
	if (ring->tail)
		ring->joined = shm_ring_recorded(rings->shm, ring->index) - ring_waiting(rings, ring);
}

int rings_new(const struct mapped_shm *shm, pid_t pid, const struct rings *before, uint32_t number,
              struct rings **rings)
{
	struct rings *new = calloc(1, sizeof(*new));

	if (!new)
		return error_nomem();
	new->shm = shm;
	new->pid = pid;
	new->number = number;
	new->states = calloc(shm->nrings + 1, sizeof(*new->states));
	new->slots = calloc(shm->nslots + 1, sizeof(*new->slots));
	if (!new->states || !new->slots) {
		rings_free(new);
		return error_nomem();
	}
	for (uint32_t i = 0; i < shm->nrings; i++) {
		new->states[i].rings = new;
		new->states[i].index = i;
		new->states[i].size = shm_size_of_ring(shm, i);
	}
	for (uint32_t n = shm_known_rings(shm), i = 0; i < n; i++)
		ring_begin(new, &new->states[i], before);
	*rings = new;
	return 0;
}

static void ring_state_release(struct ring_state *ring)
{
	record_queue_release(&ring->queue);
	free(ring->kept.entries);
}

void rings_free(struct rings *rings)
{
	if (!rings)
		return;
	for (uint32_t i = 0; rings->states && i < rings->shm->nrings; i++)
		ring_state_release(&rings->states[i]);
	free(rings->states);
	free(rings->slots);
	free(rings);
}

/* ---- all rings ---- */

int rings_drain(struct rings *rings, struct rings_pass *pass)
{
	if (!pass->leave && rings->kept_bytes)
		rings_take_all(rings);
	pass->leave &= !rings->takes;
	for (uint32_t n = shm_known_rings(rings->shm), i = 0; i < n; i++) {
		struct ring_state *ring = &rings->states[i];
		int err;

		if (ring->queue.from == ring->queue.to) /* what is left has no records */
			ring->kept.returned = ring->kept.to;
		if (ring->bad || !shm_ring_is_used(rings->shm, i))
			continue;
		err = ring_drain_any(rings, ring, pass);
		if (err)
			return err;
		if (ring->queue.from != ring->queue.to && !ring->queue.in_merge) {
			err = record_merge_add(pass->merge, &ring->queue);
			if (err)
				return err;
		}
	}
	return 0;
}

bool rings_are_queued(const struct rings *rings)
{
	for (uint32_t i = 0; i < rings->shm->nrings; i++)
		if (rings->states[i].queue.in_merge)
			return true;
	return false;
}

void rings_pass_over(struct rings *rings)
{
	for (uint32_t i = 0; i < rings->shm->nrings; i++) {
		struct agent_ring *header = shm_ring(rings->shm, i);
		uint64_t head;

		if (!rings->states[i].bad)
			continue;
		head = __atomic_load_n(&header->head, __ATOMIC_ACQUIRE);
		__atomic_store_n(&header->limit, head + rings->states[i].size, __ATOMIC_RELEASE);
		__atomic_store_n(&header->taken, head, __ATOMIC_RELEASE);
	}
}

uint64_t rings_unread(const struct rings *rings)
{
	uint64_t unread = 0;

	for (uint32_t i = 0; i < rings->shm->nrings; i++) {
		const struct ring_state *ring = &rings->states[i];
		uint64_t recorded, unread_here = ring->nunfinished;

		/*
		 * The counters are another process's data, so the difference may be anything. The difference includes
		 * skipped records that their thread has finished since.
		 */
		recorded = ring->bad ? shm_ring_recorded(rings->shm, i) - ring->joined : 0;
		if (recorded > ring->nread + unread_here && recorded < UINT64_MAX / 2)
			unread_here = recorded - ring->nread;
		unread += unread_here;
	}
	return unread;
}
