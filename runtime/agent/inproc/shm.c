/* SPDX-License-Identifier: MIT */
/*
 * Areas: what a session keeps in this process for others to read.
 *
 * An area is a memfd with its size sealed, so that nobody can cut it short under
 * us: a file in the state folder would have been simpler, and any process of the
 * user could then kill this one by truncating it. It is large and mostly never
 * touched. Slots have its address in their code, so it is mapped once and for ever;
 * a forked child puts an area of its own in the same place.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fcntl.h>

#include "runtime/agent/inproc/trampoline.h"

_Static_assert(sizeof(struct agent_area) <= area_places_at && area_rings_at % 4096 == 0 && area_ring_stride % 4096 == 0,
               "the area's parts");
_Static_assert(area_ring_stride < INT32_MAX, "slots reach a ring's counters by 32 bits");

uint64_t agent_now(void)
{
	return slot_clock_invariant() ? slot_ticks() : clock_ns();
}

static struct agent_ring *ring_of(const struct agent_area *area, unsigned i)
{
	return (struct agent_ring *)((char *)area + area_rings_at + i * area_ring_stride);
}

/* Whether this one, or any behind it, was ever taken: they are taken from the first on. */
static bool ring_known(const struct agent_ring *ring)
{
	return shared_acquire(ring->turns) || shared_acquire(ring->state) != AGENT_RING_FREE;
}

static struct shared_count *ring_counts(struct agent_ring *ring)
{
	return (struct shared_count *)((char *)ring + AGENT_COUNTS_IN_RING);
}

static struct shared_count *shared_counts(const struct agent_area *area)
{
	return (struct shared_count *)((char *)area + area_overflow_at);
}

static struct agent_place *area_places(struct agent_area *area)
{
	return (struct agent_place *)((char *)area + area_places_at);
}

/* A file may not be larger than the limit says, and the signal that tells would end the process. */
static bool limit_ok(void)
{
	struct rlimit limit;

	return !getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur >= area_size;
}

/* Maps the memfd: in place of the area at the address given, or anywhere. */
static void *area_map(int fd, void *at)
{
	void *area = memory_map(fd, NULL, area_size, PROT_READ | PROT_WRITE);

	if (!area)
		return NULL;
	madvise(area, area_size, MADV_DONTDUMP);
	if (at && mremap(area, area_size, area_size, MREMAP_MAYMOVE | MREMAP_FIXED, at) != at) {
		munmap(area, area_size);
		return NULL;
	}
	return at ? at : area;
}

static int area_file(void)
{
	int fd;

	if (!limit_ok())
		return -EFBIG;
	fd = memfd_create("probepoint", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, area_size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static void area_fill(struct area *area)
{
	struct agent_area *at = area->at;
	uint32_t n = area->places.n / sizeof(struct agent_place);

	at->size = area_size;
	at->pid = agent.pid;
	at->start_time = agent.start_time;
	at->clock = slot_clock_invariant() ? AGENT_CLOCK_TSC : AGENT_CLOCK_MONOTONIC;
	at->base_ticks = slot_ticks();
	at->base_ns = clock_ns();
	at->places_at = area_places_at;
	at->rings_at = area_rings_at;
	at->ring_stride = area_ring_stride;
	at->nplaces = AGENT_PLACES;
	at->nrings = AGENT_RINGS;
	at->counts_in_ring = AGENT_COUNTS_IN_RING;
	at->data_in_ring = AGENT_DATA_IN_RING;
	at->overflow_at = area_overflow_at;
	shared_set(at->overwrite, area->session->overwrites);
	memcpy(at->session, area->session->name, sizeof(at->session));
	if (n)
		memcpy(area_places(at), area->places.at, n * sizeof(struct agent_place));
	shared_set(at->nplaced, n);
	at->version = AGENT_VERSION;
	__atomic_store_n(&at->magic, AGENT_AREA_MAGIC, __ATOMIC_RELEASE);
}

/*
 * An area of a session that has ended serves another: what nobody read is cleared.
 * Its rings stay with their threads.
 */
static void area_reset(struct area *area)
{
	struct agent_place *places = area->places.at;
	size_t n = area->places.n / sizeof(*places);

	for (size_t i = 0; i < n; i++)
		places[i].segment = AGENT_NO_SEGMENT;
	if (n)
		memcpy(area_places(area->at), places, n * sizeof(*places));
	for (unsigned i = 0; i < AGENT_RINGS && ring_known(ring_of(area->at, i)); i++) {
		struct agent_ring *ring = ring_of(area->at, i);
		uint32_t finished = AGENT_RING_FINISHED;

		uint64_t head;

		if (!shared_get(ring->turns))
			continue;
		memset((char *)ring + AGENT_DATA_IN_RING, 0, AGENT_RING_SIZE + AGENT_RING_SLACK);
		head = shared_get(ring->head);
		shared_set(ring->limit, head + AGENT_RING_SIZE);
		shared_set(ring->taken, head);
		shared_swap(ring->state, &finished, AGENT_RING_FREE);
	}
	shared_set(area->at->overwrite, area->session->overwrites);
	shared_set(area->at->record_until, 0);
	memcpy(area->at->session, area->session->name, sizeof(area->at->session));
}

static struct area *area_find(void)
{
	for (unsigned i = 0; i < AREAS_MAX; i++)
		if (!agent.areas[i].session && agent.areas[i].at)
			return &agent.areas[i];
	for (unsigned i = 0; i < AREAS_MAX; i++)
		if (!agent.areas[i].session)
			return &agent.areas[i];
	return NULL;
}

enum agent_reason area_make(struct session *session)
{
	struct area *area;
	int fd;

	if (session->area)
		return AGENT_OK;
	area = area_find();
	if (!area)
		return AGENT_SESSIONS_FULL;
	area->asked = false;
	if (area->at) {
		/* Its descriptor ended with an earlier thread. */
		area->session = session;
		if (area->fd < 0 && area_renew(area, true)) {
			area->session = NULL;
			return AGENT_LIMIT;
		}
		area_reset(area);
	} else {
		fd = memory_allowed(area_size + 2 * REGION_SIZE) ? area_file() : -EFBIG;
		if (fd < 0)
			return fd == -EFBIG ? AGENT_LIMIT : AGENT_MEMORY;
		area->at = area_map(fd, NULL);
		if (!area->at) {
			close(fd);
			return AGENT_LIMIT;
		}
		area->index = area - agent.areas;
		area->fd = fd;
		area->keep = -1;
		area->session = session;
		area_fill(area);
	}
	session->area = area;
	area_records(session);
	return AGENT_OK;
}

/* Whether what was armed asks to be recorded without a reader. */
void area_records(struct session *session)
{
	struct agent_area *at = session->area ? session->area->at : NULL;

	if (at && session->records)
		shared_release(at->record_until, AGENT_RECORD_ALWAYS);
	else if (at && shared_get(at->record_until) == AGENT_RECORD_ALWAYS)
		shared_release(at->record_until, 0);
}

void area_leave(struct session *session)
{
	if (session->area && session->area->keep >= 0) {
		/* The memory may serve another session with the same numbers: what it holds is nobody's now. */
		syscall(SYS_sendto, session->area->keep, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
		close(session->area->keep);
		session->area->keep = -1;
	}
	if (session->area)
		session->area->session = NULL;
	session->area = NULL;
}

static void area_hide(struct agent_area *at, uint32_t nplaces, int protection)
{
	const uintptr_t base = (uintptr_t)at;
	unsigned n = 0;

	memory_hide(base + area_places_at + nplaces * sizeof(struct agent_place), base + area_overflow_at, protection);
	memory_hide(base + area_overflow_at + nplaces * sizeof(struct agent_count), base + area_rings_at, protection);
	for (; n < AGENT_RINGS && ring_known(ring_of(at, n)); n++)
		memory_hide((uintptr_t)(ring_counts(ring_of(at, n)) + nplaces), (uintptr_t)ring_of(at, n + 1),
		            protection);
	/* The first of these tells that there are no more. */
	memory_hide((uintptr_t)ring_of(at, n) + sizeof(struct agent_ring), base + area_size, protection);
}

void areas_hide(bool hide)
{
	for (unsigned i = 0; i < AREAS_MAX; i++) {
		struct agent_area *at = agent.areas[i].at;

		if (!at)
			continue;
		if (!hide)
			munlock(at, area_size);
		area_hide(at, agent.areas[i].places.n / sizeof(struct agent_place),
		          hide ? PROT_NONE : PROT_READ | PROT_WRITE);
	}
}

/* What has been used of an area, but for what was counted, from one mapping to another. */
static void area_copy(struct agent_area *to, struct agent_area *from)
{
	shared_set(to->record_until, shared_get(from->record_until));
	for (unsigned i = 0; i < AGENT_RINGS && ring_known(ring_of(from, i)); i++)
		if (shared_get(ring_of(from, i)->turns))
			memcpy(ring_of(to, i), ring_of(from, i), AGENT_COUNTS_IN_RING);
}

static void move_counts(struct shared_count *to, const struct shared_count *from, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const uint64_t recorded = shared_get(from[i].recorded), filtered = shared_get(from[i].filtered);
		const uint64_t idle = shared_get(from[i].idle), lost = shared_get(from[i].lost);

		if (recorded)
			shared_add(to[i].recorded, recorded);
		if (filtered)
			shared_add(to[i].filtered, filtered);
		if (idle)
			shared_add(to[i].idle, idle);
		if (lost)
			shared_add(to[i].lost, lost);
	}
}

/*
 * Counts are taken over when nobody writes to the old memory any more. A thread that
 * took its ring between the copy and that goes on without: what it has counted there is
 * put with what threads count that found no ring.
 */
static void area_add(struct agent_area *to, struct agent_area *from, size_t nplaces)
{
	move_counts(shared_counts(to), shared_counts(from), nplaces);
	for (unsigned i = 0; i < AGENT_RINGS && ring_known(ring_of(from, i)); i++)
		if (shared_get(ring_of(from, i)->turns))
			move_counts(shared_get(ring_of(to, i)->turns) ? ring_counts(ring_of(to, i)) : shared_counts(to),
			            ring_counts(ring_of(from, i)), nplaces);
}

/* The memory of an area once more, at another address; MAP_FAILED. */
static void *area_twice(void *at)
{
	void *place = map_apart(area_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);

	return place == MAP_FAILED ? mremap(at, 0, area_size, MREMAP_MAYMOVE)
	                           : mremap(at, 0, area_size, MREMAP_MAYMOVE | MREMAP_FIXED, place);
}

int area_renew(struct area *area, bool keep)
{
	struct agent_area *made, *old = NULL;
	int fd = area_file();

	if (fd < 0)
		return fd;
	if (keep) {
		made = area_map(fd, NULL);
		/* The old memory once more: the program's threads go on writing to it until the other is in its place. */
		old = made ? area_twice(area->at) : MAP_FAILED;
		if (made && old != MAP_FAILED)
			area_copy(made, old);
		if (made)
			munmap(made, area_size);
		if (!made || old == MAP_FAILED) {
			close(fd);
			return -ENOMEM;
		}
		shared_release(old->moved, 1);
	}
	if (!area_map(fd, area->at)) {
		if (old)
			munmap(old, area_size);
		close(fd);
		return -ENOMEM;
	}
	area->fd = fd;
	area->asked = false;
	if (area->session) {
		area_fill(area);
		area_records(area->session);
	}
	if (old) {
		area_add(area->at, old, area->places.n / sizeof(struct agent_place));
		munmap(old, area_size);
	}
	return 0;
}

int64_t area_place(struct area *area)
{
	uint32_t n = area->places.n / sizeof(struct agent_place);

	if (n == AGENT_PLACES || !vector_add(&area->places, sizeof(struct agent_place)))
		return -1;
	return n;
}

void area_name_place(struct area *area, uint32_t place, uint32_t segment, uint32_t point)
{
	struct agent_place p = { segment, point, agent_now() };
	struct agent_area *at = area->at;

	((struct agent_place *)area->places.at)[place] = p;
	area_places(at)[place] = p;
	if (place >= shared_get(at->nplaced)) {
		shared_release(at->nplaced, place + 1);
		return;
	}
	memset(&shared_counts(at)[place], 0, sizeof(struct agent_count));
	for (unsigned i = 0; i < AGENT_RINGS && ring_known(ring_of(at, i)); i++)
		memset(&ring_counts(ring_of(at, i))[place], 0, sizeof(struct agent_count));
}

static void add_counts(struct agent_count *to, const struct shared_count *from)
{
	to->recorded += shared_get(from->recorded);
	to->filtered += shared_get(from->filtered);
	to->idle += shared_get(from->idle);
	to->lost += shared_get(from->lost);
}

void area_count(const struct area *area, uint32_t place, struct agent_count *count)
{
	*count = (struct agent_count){ 0 };
	add_counts(count, &shared_counts(area->at)[place]);
	for (unsigned i = 0; i < AGENT_RINGS && ring_known(ring_of(area->at, i)); i++)
		add_counts(count, &ring_counts(ring_of(area->at, i))[place]);
}

void rings_at_exit(void *unused)
{
	struct thread *t = &agent_thread;

	(void)unused;
	for (unsigned i = 0; i < AREAS_MAX; i++) {
		struct agent_ring *ring = t->ring[i];

		t->ring[i] = NULL;
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		if (ring)
			shared_release(ring->state, shared_get(ring->head) + AGENT_RING_SIZE == shared_get(ring->limit)
			                                    ? AGENT_RING_FREE
			                                    : AGENT_RING_FINISHED);
	}
}
