/* SPDX-License-Identifier: MIT */
/*
 * The records of a session's processes, in the order of their times.
 *
 * Each thread has a ring. A pass takes what is whole out of all of them into queues
 * of our own, so that rings are free again at once however slow the output is, and
 * a heap of the queues gives one record after another. A thread may have been put
 * off the CPU between reading the clock and writing the record, so records of
 * several threads are held back a little longer than that usually takes; where it
 * takes longer still, a record comes late, never wrong.
 *
 * Times are the CPU's counter's. Each pass reads both clocks, and a record's time
 * lies between what two passes read; one of a time before the first lies between
 * that and what the agent read when it made the shared memory region.
 *
 * All that is read is another process's word, which can change while we look: what
 * decides something is read once. A ring that says what cannot be is left alone.
 * What we write there harms nobody but its owner.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#ifdef __x86_64__
#include <x86intrin.h>
#endif

#include "runtime/agent/reader.h"
#include "base/clock.h"
#include "base/error.h"

#define ALIVE_NS 2000000000ull /* recording goes on so long after the last word of its reader */
#define LATE_NS 2000000ull     /* how late a record may come and still be put in its place */
#define LOOK_NS 200000000ull   /* processes are looked for at least that often */
#define PASS_NS 1000000ull     /* rings are emptied that often while records are given out */
#define QUEUED_MAX (32u << 20) /* but not while so many bytes are waiting */
#define PAUSE_NS 1000000       /* between passes that find nothing */

/* ---- clocks ---- */

static uint64_t ticks(void)
{
#ifdef __x86_64__
	return __rdtsc();
#elif defined __aarch64__
	uint64_t now;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(now));
	return now;
#else
	return clock_ns();
#endif
}

/* Of some tries the one that was interrupted least. */
static struct sample sample(void)
{
	struct sample best = { 0, 0 };
	uint64_t least = ~0ull;

	for (int i = 0; i < 4; i++) {
		uint64_t before = ticks(), ns = clock_ns(), after = ticks();

		if (after - before < least) {
			least = after - before;
			best = (struct sample){ before + least / 2, ns };
		}
	}
	return best;
}

static bool slope_ok(double slope)
{
	return slope > 0.05 && slope < 50; /* 20 MHz to 20 GHz */
}

static double slope_between(struct sample a, struct sample b)
{
	return b.ticks > a.ticks && b.ns > a.ns ? (double)(b.ns - a.ns) / (double)(b.ticks - a.ticks) : 0;
}

static void clock_open(struct agent_reader *r)
{
	struct sample first = sample();

	while (clock_ns() - first.ns < 2000000)
		;
	r->last = sample();
	r->slope = slope_between(first, r->last);
}

static void clock_go_on(struct agent_reader *r)
{
	struct sample now = sample();
	double slope;

	/* Over a shorter time a pass that was interrupted would count for too much. */
	if (now.ns - r->last.ns < PASS_NS)
		return;
	slope = slope_between(r->last, now);
	if (slope_ok(slope))
		r->slope = slope;
	r->last = now;
}

/* A time of a shared memory region's clock, in ns of CLOCK_MONOTONIC; no later than now. */
static uint64_t ns_of(const struct agent_reader *r, const struct shm *shm, uint64_t time, uint64_t now)
{
	double slope = r->slope, ago;
	struct sample base;

	if (shm->clock == AGENT_CLOCK_MONOTONIC)
		time -= (uint64_t)shm->shift;
	if (shm->clock == AGENT_CLOCK_TSC) {
		if (time >= r->last.ticks) {
			ago = (double)(time - r->last.ticks) * slope;
			time = ago < 1e18 ? r->last.ns + (uint64_t)ago : now;
		} else {
			ago = (double)(r->last.ticks - time);
			base = (struct sample){ shm->base_ticks, shm->base_ns };
			if (ago * slope > 1e9 && slope_ok(slope_between(base, r->last)))
				slope = slope_between(base, r->last);
			ago *= slope;
			time = ago < (double)r->last.ns ? r->last.ns - (uint64_t)ago : 0;
		}
	}
	return time < now ? time : now;
}

static uint64_t clock_at(const struct agent_reader *r, const struct shm *shm, uint64_t ns)
{
	if (shm->clock == AGENT_CLOCK_MONOTONIC)
		return ns + (uint64_t)shm->shift;
	return r->last.ticks + (uint64_t)((double)(ns - r->last.ns) / (slope_ok(r->slope) ? r->slope : 1));
}

/* ---- the heap ---- */

static const struct queued *front(const struct ring_state *ring)
{
	return (const struct queued *)(ring->bytes + ring->from);
}

static size_t step_of(const struct queued *q)
{
	return (sizeof(*q) + q->size + 7) & ~7ull;
}

static void sift_down(struct agent_reader *r, size_t i)
{
	for (size_t child; (child = 2 * i + 1) < r->nheap; i = child) {
		struct ring_state *parent = r->heap[i];

		if (child + 1 < r->nheap && front(r->heap[child + 1])->time < front(r->heap[child])->time)
			child++;
		if (front(parent)->time <= front(r->heap[child])->time)
			return;
		r->heap[i] = r->heap[child];
		r->heap[child] = parent;
	}
}

static void heap_make(struct agent_reader *r)
{
	for (size_t i = r->nheap / 2; i-- > 0;)
		sift_down(r, i);
}

int reader_heap_put(struct agent_reader *r, struct ring_state *ring)
{
	if (r->nheap == r->heap_room) {
		size_t room = r->heap_room ? 2 * r->heap_room : 64;
		struct ring_state **more = realloc(r->heap, room * sizeof(*more));

		if (!more)
			return error_nomem();
		r->heap = more;
		r->heap_room = room;
	}
	r->heap[r->nheap++] = ring;
	ring->in_heap = true;
	return 0;
}

/* ---- queues ---- */

static bool queue_room(struct ring_state *ring, size_t size)
{
	char *more;
	size_t room = ring->room ? ring->room : 4096;

	if (ring->from == ring->to)
		ring->from = ring->to = 0;
	if (ring->room - ring->to >= size)
		return true;
	if (ring->from > ring->room / 2) {
		memmove(ring->bytes, ring->bytes + ring->from, ring->to - ring->from);
		ring->to -= ring->from;
		ring->from = 0;
		if (ring->room - ring->to >= size)
			return true;
	}
	while (room - ring->to < size)
		room *= 2;
	more = realloc(ring->bytes, room);
	if (!more)
		return false;
	ring->bytes = more;
	ring->room = room;
	return true;
}

/* A place may mean another point by now: then what it meant when it was last looked at. */
static bool slot_of(const struct ring_state *ring, uint32_t slot, uint64_t time, struct agent_slot *meant)
{
	const struct shm *shm = &ring->member->shm;
	struct agent_slot *before = &ring->member->slots[slot];
	struct agent_slot now = shm_slot(shm, slot), again;

	for (int try = 0; try < 100; try++) {
		again = shm_slot(shm, slot);
		if (!memcmp(&now, &again, sizeof(now)))
			break;
		now = again;
	}
	if (now.attachment != AGENT_NO_ATTACHMENT && now.since && now.since <= time)
		*before = now;
	*meant = *before;
	return meant->since && meant->since <= time;
}

int reader_queue_put(struct agent_reader *r, struct ring_state *ring, uint64_t time, const unsigned char *at,
                     uint32_t words)
{
	const struct shm *shm = &ring->member->shm;
	struct agent_slot slot;
	struct queued *q;
	struct record *record;
	size_t size = 8 * words;

	if (!queue_room(ring, sizeof(*q) + size))
		return error_nomem();
	q = (struct queued *)(ring->bytes + ring->to);
	record = (struct record *)q->record;
	memcpy(record, at, size);
	record->words = words;
	if (record->point >= shm_used(shm) || !slot_of(ring, record->point, time, &slot))
		return -EBADMSG;
	record->point = slot.point;
	record->time = q->time = ns_of(r, shm, time, r->passed);
	q->attachment = slot.attachment;
	q->tid = ring->tid;
	q->size = (uint32_t)size;
	memcpy(q->comm, ring->comm, sizeof(q->comm));
	ring->to += step_of(q);
	r->queued += step_of(q);
	return 0;
}

/* ---- members' rings ---- */

static bool is_ours(const struct agent_session *k, const struct member *member)
{
	const struct agent_shm *header = member->shm.header;

	/* A shared memory region whose session ended serves another one. */
	return !strncmp(header->session, k->name, sizeof(header->session)) &&
	       __atomic_load_n(&header->moved, __ATOMIC_ACQUIRE) != 1;
}

static bool is_overwritten(const struct member *member)
{
	return __atomic_load_n(&member->shm.header->overwrite, __ATOMIC_ACQUIRE) == 1;
}

static int drain_member(struct agent_reader *r, struct member *member)
{
	int err = 0;

	if (!is_ours(r->session, member)) {
		member->gone = true;
		return 0;
	}
	for (uint32_t i = 0; i < member->shm.nrings && !err; i++)
		if (!member->rings[i].bad && __atomic_load_n(&shm_ring(&member->shm, i)->turns, __ATOMIC_ACQUIRE))
			err = is_overwritten(member) ? ring_drain_overwritten(r, &member->rings[i], member->gone)
			                             : ring_drain(r, &member->rings[i], member->gone);
	return err;
}

/* ---- passes ---- */

static void let_record(const struct agent_reader *r, const struct member *member, uint64_t until)
{
	uint64_t *at = &member->shm.header->record_until;
	uint64_t was = __atomic_load_n(at, __ATOMIC_ACQUIRE);
	uint64_t will = until ? clock_at(r, &member->shm, until) : 0;

	/* The agent's own word that it records always may come in between. */
	while (was != AGENT_RECORD_ALWAYS &&
	       !__atomic_compare_exchange_n(at, &was, will, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
		;
}

static void say_alive(struct agent_reader *r, uint64_t now)
{
	if (r->stopped || now - r->said < ALIVE_NS / 8)
		return;
	r->said = now;
	for (size_t i = 0; i < r->session->nmembers; i++)
		let_record(r, r->session->members[i], now + ALIVE_NS);
}

/* A new socket is looked at soon: its process may wait for us. */
static int look(struct agent_reader *r, uint64_t now)
{
	struct timespec changed = { 0, 0 };
	struct stat st;

	if (r->session->store.agents >= 0 && !fstat(r->session->store.agents, &st))
		changed = st.st_mtim;
	if (now - r->session->looked < LOOK_NS && changed.tv_sec == r->agents_changed.tv_sec &&
	    changed.tv_nsec == r->agents_changed.tv_nsec)
		return 0;
	r->agents_changed = changed;
	return members_look(r->session);
}

static int pass(struct agent_reader *r)
{
	struct agent_session *k = r->session;
	uint64_t before = clock_ns();
	bool alive = false;
	int err;

	say_alive(r, before);
	err = look(r, before);
	clock_go_on(r);
	r->nactive = 0;
	for (size_t i = 0; i < k->nmembers && !err; i++) {
		r->passed = clock_ns();
		err = drain_member(r, k->members[i]);
		alive |= !k->members[i]->gone;
	}
	r->passed = clock_ns();
	heap_make(r);
	/* One ring is in order by itself. */
	r->good_until = !alive || (r->nheap <= 1 && r->nactive <= 1) ? ~0ull : before - LATE_NS;
	return err;
}

static void take(struct agent_reader *r)
{
	struct ring_state *ring = r->heap[0];
	const struct queued *q = front(ring);
	struct record_thread *thread = (struct record_thread *)r->taken;

	*thread = (struct record_thread){ .attachment = q->attachment,
		                          .pid = (uint32_t)ring->member->peer.pid,
		                          .tid = q->tid };
	memcpy(thread->comm, q->comm, sizeof(thread->comm));
	memcpy(thread + 1, q->record, q->size);
	ring->from += step_of(q);
	r->queued -= step_of(q);
	if (ring->from == ring->to) {
		ring->in_heap = false;
		r->heap[0] = r->heap[--r->nheap];
	}
	if (r->nheap)
		sift_down(r, 0);
}

int agent_reader_next(void *reader, const struct record_thread **thread, const struct record **record, size_t *size)
{
	struct agent_reader *r = reader;
	int err = 0;

	if (r->queued < QUEUED_MAX && clock_ns() - r->passed > PASS_NS)
		err = pass(r);
	while (!err) {
		if (r->complaint) {
			r->complaint = false;
			return error_set(EBADMSG, "a ring of session '%s' holds what cannot be", r->session->name);
		}
		if (r->nheap && front(r->heap[0])->time <= r->good_until)
			break;
		err = pass(r);
		if (err || r->complaint || (r->nheap && front(r->heap[0])->time <= r->good_until))
			continue;
		/* What is held back is given out before nothing is said to be there. */
		if (!r->nheap)
			return 0;
		if (nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS / 4 }, NULL) && errno == EINTR)
			return -EINTR;
	}
	if (err)
		return err;
	take(r);
	*thread = (const struct record_thread *)r->taken;
	*record = (const struct record *)(*thread + 1);
	*size = (*record)->words * 8u;
	return 1;
}

/* ---- members ---- */

/* What is left of a shared memory region that the process has moved away from is in the next one. */
static uint64_t tail_before(const struct agent_reader *r, const struct member *member, uint32_t ring, uint64_t tail)
{
	const struct agent_session *k = r->session;

	for (size_t i = k->nmembers; i-- > 0;) {
		const struct member *before = k->members[i];

		if (before->peer.pid == member->peer.pid && before->peer.start_time == member->peer.start_time &&
		    before->rings && before->shm.header->moved == 1)
			return ring < before->shm.nrings ? before->rings[ring].tail : tail;
	}
	return tail;
}

int agent_reader_join(struct agent_reader *reader, struct member *member)
{
	const struct shm *shm = &member->shm;

	member->rings = calloc(shm->nrings + 1, sizeof(*member->rings));
	member->slots = calloc(shm->nslots + 1, sizeof(*member->slots));
	if (!member->rings || !member->slots)
		return error_nomem();
	for (uint32_t i = 0; i < shm->nrings; i++) {
		const struct agent_ring *header = shm_ring(shm, i);
		uint64_t head = __atomic_load_n(&header->head, __ATOMIC_ACQUIRE);
		uint64_t limit = __atomic_load_n(&header->limit, __ATOMIC_ACQUIRE);
		uint64_t tail = limit ? limit - AGENT_RING_SIZE : 0; /* 0: it was never taken */
		uint64_t read = tail_before(reader, member, i, tail);

		if (read - tail <= head - tail)
			tail = read;
		member->rings[i] = (struct ring_state){ .member = member, .index = i, .tail = tail };
		if (is_overwritten(member))
			ring_take_over(&member->rings[i], read);
		member->rings[i].bad = (tail & 7) != 0;
		/* Nothing has been read of a ring that is at its beginning. */
		if (member->rings[i].tail)
			member->rings[i].joined = shm_ring_recorded(shm, i) - ring_waiting(&member->rings[i]);
	}
	let_record(reader, member, reader->stopped ? 0 : clock_ns() + ALIVE_NS);
	return 0;
}

void agent_reader_leave(struct agent_reader *reader, struct member *member)
{
	for (uint32_t i = 0; reader && member->rings && i < member->shm.nrings; i++)
		reader->damaged += ring_unread(&member->rings[i]);
	for (uint32_t i = 0; member->rings && i < member->shm.nrings; i++)
		free(member->rings[i].bytes);
	free(member->rings);
	free(member->slots);
	member->rings = NULL;
	member->slots = NULL;
}

/* Whoever went is read once more after it is known that it has. */
bool agent_reader_done(struct agent_reader *reader, struct member *member)
{
	bool more = false;

	if (is_ours(reader->session, member) && !member->drained) {
		member->drained = true;
		return false;
	}
	for (uint32_t i = 0; i < member->shm.nrings && !more; i++)
		more = member->rings[i].in_heap;
	return !more;
}

/* ---- opening ---- */

int agent_reader_open(struct pp_session *session, void **reader)
{
	struct agent_session *k = agent_of(session);
	struct agent_reader *r = calloc(1, sizeof(*r));
	int err = 0;

	if (!r)
		return error_nomem();
	r->session = k;
	/* An agent that starts looks whether it is held, and holds it itself in that moment. */
	for (int try = 0; (r->lock = agent_store_hold(&k->store, "reader")) == -EWOULDBLOCK && try < 10; try++)
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
	if (r->lock < 0) {
		err = r->lock == -EWOULDBLOCK
		              ? error_set(EBUSY, "session '%s' has a reader: its records go to one only", session->name)
		              : r->lock;
		free(r);
		return err;
	}
	clock_open(r);
	for (size_t i = 0; i < k->nmembers && !err; i++)
		err = agent_reader_join(r, k->members[i]);
	k->reader = r;
	if (!err)
		err = pass(r);
	if (err)
		agent_reader_close(r);
	else
		*reader = r;
	return err;
}

void agent_reader_stop(void *reader)
{
	struct agent_reader *r = reader;
	struct agent_session *k = r->session;

	r->stopped = true;
	for (size_t i = 0; i < k->nmembers; i++)
		let_record(r, k->members[i], 0);
}

void agent_reader_drop(void *reader)
{
	struct agent_reader *r = reader;
	struct pp_session *session = r->session->session;

	for (heap_make(r); r->nheap;) {
		const struct record_thread *thread = (const struct record_thread *)r->taken;

		take(r);
		session_lose(session,
		             &(struct pp_mark){ .attachment = attachment_id_of(&backend_agent, thread->attachment),
		                                .pid = (pid_t)thread->pid,
		                                .point = ((const struct record *)(thread + 1))->point });
	}
}

/* The next look at the counts is not to give those of a moment ago. */
static void forget_counts(const struct agent_session *k)
{
	for (size_t i = 0; i < k->session->nattachments; i++)
		if (k->session->attachments[i]->backend == &backend_agent)
			agent_loaded(k->session->attachments[i])->counted = 0;
}

uint64_t agent_reader_damaged(void *reader)
{
	const struct agent_reader *r = reader;
	uint64_t damaged = r->damaged;

	forget_counts(r->session);
	for (size_t i = 0; i < r->session->nmembers; i++)
		for (uint32_t n = 0; r->session->members[i]->rings && n < r->session->members[i]->shm.nrings; n++)
			damaged += ring_unread(&r->session->members[i]->rings[n]);
	return damaged;
}

/* Of a process whose shared memory region is not held any more the counts are in a file: then this fails. */
bool agent_lose(const struct attachment *attachment, uint32_t point, pid_t pid)
{
	struct agent_loaded *loaded = agent_loaded(attachment);

	for (size_t i = 0; i < loaded->session->nmembers; i++) {
		const struct member *member = loaded->session->members[i];

		if (member->peer.pid != pid || !is_ours(loaded->session, member) ||
		    !shm_lose(&member->shm, attachment->number, point))
			continue;
		loaded->counted = 0;
		return true;
	}
	return false;
}

void agent_reader_close(void *reader)
{
	struct agent_reader *r = reader;
	struct agent_session *k = r->session;

	for (size_t i = 0; i < k->nmembers; i++) {
		let_record(r, k->members[i], 0);
		agent_reader_leave(r, k->members[i]);
	}
	k->reader = NULL;
	close(r->lock);
	free(r->heap);
	free(r);
}
