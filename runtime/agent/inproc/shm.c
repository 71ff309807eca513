/* SPDX-License-Identifier: MIT */
/*
 * Shared memory regions: what a session keeps in this process for controllers to read.
 *
 * 1. A region is a memfd whose size is sealed, so that no process can truncate it while
 *    it is mapped. A file in the state directory would have been simpler, but any
 *    process of the user could kill this process by truncating it.
 * 2. A region is large, and most of it is never touched.
 * 3. Trampolines contain the region's address, so it is mapped once and never unmapped.
 *    A forked child maps a region of its own at the same address.
 * 4. The memory of a flight recorder follows the region in the memfd, and is mapped
 *    apart, because sessions differ in its size.
 * 5. The memfd is a descriptor of the agent's thread. When a thread ends and another
 *    one starts in the same process, that one makes a new memfd, copies what the old
 *    one holds, and maps it at the same address (shm_renew()).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/flights.h"
#include "runtime/agent/inproc/maps.h"
#include "runtime/agent/inproc/shm.h"
#include "runtime/agent/inproc/tables.h"
#include "runtime/agent/inproc/trampoline.h"

_Static_assert(sizeof(struct agent_shm) <= shm_slots_at && shm_rings_at % 4096 == 0 && AGENT_DATA_IN_RING % 4096 == 0 &&
                       AGENT_RING_SLACK % 4096 == 0,
               "parts of the region");
_Static_assert(shm_ring_stride(AGENT_RING_SIZE_MAX) < INT32_MAX,
               "trampolines reach a ring's counters by a displacement of 32 bits");

#define RINGS_LEAST 4 /* of a region */
#define RINGS_GROW 16 /* how many times larger than wanted the rings of a region are at most, if no other is left */

/* ---- parts of a region ---- */

/* Returns the size of the region's mapping: whole pages, because a flight recorder follows, and parts are unmapped. */
static size_t region_size(const struct session_shm *shm)
{
	size_t used = shm_rings_at + shm->nrings * shm_ring_stride(shm->ring_size);

	return (used + LARGEST_PAGE - 1) & -(size_t)LARGEST_PAGE;
}

/* Returns whether this ring, or any after it, was ever taken. Rings are taken from the first on. */
static bool ring_known(const struct agent_ring *ring)
{
	return shared_acquire(ring->turns) || shared_acquire(ring->state) != AGENT_RING_FREE;
}

static struct shared_count *ring_counts(struct agent_ring *ring)
{
	return (struct shared_count *)((char *)ring + AGENT_COUNTS_IN_RING);
}

static struct shared_count *shared_counts(const struct agent_shm *shm)
{
	return (struct shared_count *)((char *)shm + shm_overflow_at);
}

static struct agent_slot *shm_slots(struct agent_shm *shm)
{
	return (struct agent_slot *)((char *)shm + shm_slots_at);
}

/* ---- time ---- */

static uint64_t clock_ns(void)
{
	struct {
		long sec, nsec;
	} t = { 0, 0 };

	cpu_call(SYS_clock_gettime, 1, (long)&t, 0, 0, 0, 0);
	return t.sec * 1000000000ull + t.nsec;
}

uint64_t agent_now(void)
{
	return trampoline_clock_invariant() ? cpu_ticks() : clock_ns();
}

/* Stores both clocks at one moment: of several samples that which took least, because it was not interrupted. */
static void clocks_sample(uint64_t *ticks, uint64_t *ns)
{
	uint64_t least = ~0ull;

	for (int i = 0; i < 4; i++) {
		uint64_t before = cpu_ticks(), now = clock_ns(), took = cpu_ticks() - before;

		if (took >= least)
			continue;
		least = took;
		*ticks = before + took / 2;
		*ns = now;
	}
}

/* ---- making a region ---- */

/* A file larger than the limit would raise SIGXFSZ, which ends the process. */
static bool file_limit_ok(uint64_t size)
{
	struct rlimit limit;

	return !getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur >= size;
}

static uint64_t flight_size(uint32_t nslots)
{
	return (uint64_t)nslots * AGENT_FLIGHT_SLOT;
}

static uint32_t flight_slots(const struct session_shm *shm)
{
	return shm->flight ? shm->flight->nslots : 0;
}

static void *shm_map(int fd, size_t size)
{
	void *shm = map_shared(fd, NULL, size, PROT_READ | PROT_WRITE, 0);

	if (shm)
		madvise(shm, size, MADV_DONTDUMP);
	return shm;
}

/* Maps the flight recorder that follows a region of that size in the memfd. Returns NULL without memory. */
static const struct flight_memory *flight_memory_map(int fd, size_t region, uint32_t nslots)
{
	struct flight_memory *memory = arena_alloc(sizeof(*memory));
	void *at = memory ? map_shared(fd, NULL, flight_size(nslots), PROT_READ | PROT_WRITE, region) : NULL;

	if (!at)
		return NULL;
	madvise(at, flight_size(nslots), MADV_DONTDUMP);
	*memory = (struct flight_memory){ at, nslots };
	return memory;
}

/* Replaces the region's flight recorder; NULL: by none. Unmaps the old one, unless a thread does not leave it. */
static void flight_replace(struct session_shm *shm, const struct flight_memory *memory)
{
	const struct flight_memory *old = shm->flight;

	__atomic_store_n(&shm->flight, memory, __ATOMIC_SEQ_CST);
	if (old && flights_wait())
		munmap(old->at, flight_size(old->nslots));
}

static int shm_file_create(uint64_t size)
{
	int fd;

	if (!file_limit_ok(size))
		return -EFBIG;
	fd = memfd_create("probepoint", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static uint32_t session_overwrite(const struct session *session)
{
	return session->flight ? AGENT_FLIGHT : session->overwrites;
}

/* Fills new memory of a region that has nflight slots of a flight recorder. */
static void shm_fill(const struct session_shm *shm, struct agent_shm *at, uint32_t nflight)
{
	uint32_t n = shm->slots.n / sizeof(struct agent_slot);

	at->size = region_size(shm) + flight_size(nflight);
	at->flight_at = region_size(shm);
	at->flight_slots = nflight;
	at->pid = agent.pid;
	at->start_time = agent.start_time;
	at->clock = trampoline_clock_invariant() ? AGENT_CLOCK_TSC : AGENT_CLOCK_MONOTONIC;
	clocks_sample(&at->base_ticks, &at->base_ns);
	at->slots_at = shm_slots_at;
	at->rings_at = shm_rings_at;
	at->ring_stride = shm_ring_stride(shm->ring_size);
	at->ring_size = shm->ring_size;
	at->nlarge = shm->nlarge;
	at->nslots = AGENT_SLOTS;
	at->nrings = shm->nrings;
	at->counts_in_ring = AGENT_COUNTS_IN_RING;
	at->data_in_ring = AGENT_DATA_IN_RING;
	at->overflow_at = shm_overflow_at;
	at->tables_at = shm_tables_at;
	at->cells_at = shm_cells_at;
	at->cells_in_ring = AGENT_CELLS_IN_RING;
	at->ntables = AGENT_TABLES;
	at->ncells = AGENT_CELLS;
	at->ncells_in_ring = AGENT_RING_CELLS;
	memset((char *)at + shm_tables_at, 0xff, AGENT_TABLES * sizeof(struct agent_table));
	tables_describe(shm, at);
	shared_set(at->overwrite, session_overwrite(shm->session));
	memcpy(at->session, shm->session->name, sizeof(at->session));
	if (n)
		memcpy(shm_slots(at), shm->slots.at, n * sizeof(struct agent_slot));
	shared_set(at->nused, n);
	at->version = AGENT_VERSION;
	__atomic_store_n(&at->magic, AGENT_SHM_MAGIC, __ATOMIC_RELEASE);
}

static void ring_reset(struct agent_ring *ring, uint32_t size)
{
	uint32_t finished = AGENT_RING_FINISHED;
	uint64_t head;

	if (!shared_get(ring->turns))
		return;
	memset((char *)ring + AGENT_DATA_IN_RING, 0, size + AGENT_RING_SLACK);
	memset(ring_calls(ring), 0, sizeof(struct agent_calls));
	head = shared_get(ring->head);
	shared_set(ring->limit, head + size);
	shared_set(ring->taken, head);
	shared_set(ring->kept, head);
	shared_set(ring->origin, head);
	shared_set(ring->flight_turn, 0);
	shared_swap(ring->state, &finished, AGENT_RING_FREE);
}

/* Clears what no reader has read in the region of a session that has ended. Its rings stay with their threads. */
static void shm_reset(struct session_shm *shm)
{
	struct agent_slot *slots = shm->slots.at;
	size_t n = shm->slots.n / sizeof(*slots);

	for (size_t i = 0; i < n; i++)
		slots[i].attachment = AGENT_NO_ATTACHMENT;
	if (n)
		memcpy(shm_slots(shm->at), slots, n * sizeof(*slots));
	for (unsigned i = 0; i < shm->nrings && ring_known(region_ring(shm, shm->at, i)); i++)
		ring_reset(region_ring(shm, shm->at, i), region_ring_size(shm, i));
	tables_reset(shm);
	shared_set(shm->at->overwrite, session_overwrite(shm->session));
	shared_set(shm->at->record_until, 0);
	shared_set(shm->at->flight_next, 0);
	shared_set(shm->at->written, 0);
	memcpy(shm->at->session, shm->session->name, sizeof(shm->at->session));
}

/*
 * Returns whether a session can use the rings of a region that was made for another size. They are of one size, because
 * flight recorders need that, and not much larger than wanted, because they are memory of the program.
 */
static bool rings_suffice(const struct session_shm *shm, const struct session *session)
{
	const uint64_t wanted = session->ring_size ? session->ring_size : AGENT_RING_SIZE;

	return shm->nlarge == AGENT_RINGS && shm->ring_size <= wanted * RINGS_GROW &&
	       (!session->ring_size || shm->ring_size >= wanted);
}

/* Returns whether the first of two regions that suffice suits the session better. Without a size, smaller rings do. */
static bool rings_better(const struct session_shm *a, const struct session_shm *b, const struct session *session)
{
	if (!session->ring_size && a->ring_size <= AGENT_RING_SIZE)
		return b->ring_size > AGENT_RING_SIZE || a->ring_size > b->ring_size;
	return a->ring_size < b->ring_size && (session->ring_size || b->ring_size > AGENT_RING_SIZE);
}

/*
 * Returns a region that is free: one whose rings have the sizes wanted, else one that was never mapped, else one of another
 * size. The sizes of a region's rings never change, because threads keep the addresses of their rings.
 */
static struct session_shm *shm_find(const struct session_shm *wanted, const struct session *session)
{
	struct session_shm *found = NULL;

	for (unsigned i = 0; i < SHMS_MAX; i++)
		if (!agent.shms[i].session && agent.shms[i].at && agent.shms[i].ring_size == wanted->ring_size &&
		    agent.shms[i].nlarge == wanted->nlarge)
			return &agent.shms[i];
	for (unsigned i = 0; i < SHMS_MAX; i++)
		if (!agent.shms[i].session && !agent.shms[i].at)
			return &agent.shms[i];
	for (unsigned i = 0; i < SHMS_MAX; i++)
		if (!agent.shms[i].session && rings_suffice(&agent.shms[i], session) &&
		    (!found || rings_better(&agent.shms[i], found, session)))
			found = &agent.shms[i];
	return found;
}

/* Returns why shm_find() has found none. */
static enum agent_reason shm_missing(void)
{
	for (unsigned i = 0; i < SHMS_MAX; i++)
		if (!agent.shms[i].session)
			return AGENT_BUFFERS_FULL;
	return AGENT_SESSIONS_FULL;
}

/* Gives a region that another session has used to this one. */
static enum agent_reason shm_reuse(struct session_shm *shm, struct session *session)
{
	shm->session = session;
	/* Its memfd is gone if an earlier thread of the agent made it, and its size cannot change. */
	if ((shm->fd < 0 || shm->flight || session->flight) && shm_renew(shm, !shm->inherited)) {
		shm->session = NULL;
		return AGENT_LIMIT;
	}
	shm_reset(shm);
	return AGENT_OK;
}

/* Returns whether limits of address space permit the region and a flight recorder of that size. */
static bool region_allowed(const struct session_shm *shm, uint64_t flight_bytes)
{
	return memory_allowed(region_size(shm) + flight_bytes + 2 * REGION_SIZE, maps_size());
}

/* Chooses the number and the sizes of the rings for a session. By default the first rings are large if resource limits permit it. */
static void shm_choose_rings(struct session_shm *shm, const struct session *session)
{
	const bool by_default = !session->ring_size && !session->overwrites && !session->flight;

	shm->nrings = AGENT_RINGS;
	shm->nlarge = AGENT_RINGS_LARGE;
	shm->ring_size = AGENT_RING_SIZE_LARGE;
	if (by_default && region_allowed(shm, 0) && file_limit_ok(region_size(shm)))
		return;
	shm->nlarge = AGENT_RINGS;
	shm->ring_size = session->ring_size ? session->ring_size : AGENT_RING_SIZE;
}

static enum agent_reason shm_create(struct session_shm *shm, const struct session_shm *wanted, struct session *session)
{
	const uint64_t flight_bytes = flight_size(session->flight);
	const struct flight_memory *flight = NULL;
	int fd;

	shm->ring_size = wanted->ring_size;
	shm->nlarge = wanted->nlarge;
	shm->nrings = wanted->nrings;
	while (shm->nrings > RINGS_LEAST && !region_allowed(shm, flight_bytes))
		shm->nrings /= 2;
	fd = region_allowed(shm, flight_bytes) ? shm_file_create(region_size(shm) + flight_bytes) : -EFBIG;
	if (fd < 0)
		return fd == -EFBIG ? AGENT_LIMIT : AGENT_MEMORY;
	if (session->flight)
		flight = flight_memory_map(fd, region_size(shm), session->flight);
	shm->at = session->flight && !flight ? NULL : shm_map(fd, region_size(shm));
	if (!shm->at) {
		if (flight)
			munmap(flight->at, flight_size(flight->nslots));
		close(fd);
		return AGENT_LIMIT;
	}
	shm->flight = flight;
	shm->index = shm - agent.shms;
	shm->fd = fd;
	shm->keep = -1;
	shm->session = session;
	shm_fill(shm, shm->at, flight_slots(shm));
	return AGENT_OK;
}

enum agent_reason shm_make(struct session *session)
{
	struct session_shm *shm, wanted = { 0 };
	enum agent_reason reason;

	if (session->shm)
		return AGENT_OK;
	shm_choose_rings(&wanted, session);
	shm = shm_find(&wanted, session);
	if (!shm)
		return shm_missing();
	shm->asked = false;
	reason = shm->at ? shm_reuse(shm, session) : shm_create(shm, &wanted, session);
	if (reason)
		return reason;
	session->shm = shm;
	shm_records(session);
	return AGENT_OK;
}

void shm_records(struct session *session)
{
	struct agent_shm *at = session->shm ? session->shm->at : NULL;

	if (at && session->records && shared_get(at->record_until) != AGENT_RECORD_ENDED)
		shared_release(at->record_until, AGENT_RECORD_ALWAYS);
	else if (at && shared_get(at->record_until) == AGENT_RECORD_ALWAYS)
		shared_release(at->record_until, 0);
}

void shm_leave(struct session *session)
{
	struct session_shm *shm = session->shm;

	if (!shm)
		return;
	if (shm->keep >= 0) {
		/* A byte makes the keeper forget the region, because another session may use it with the same numbers. */
		syscall(SYS_sendto, shm->keep, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
		close(shm->keep);
		shm->keep = -1;
	}
	starts_forget(shm->index);
	shm->session = NULL;
	session->shm = NULL;
}

/* ---- mlockall ---- */

static void shm_hide(const struct session_shm *shm, uint32_t nslots, int protection)
{
	struct agent_shm *at = shm->at;
	const uintptr_t base = (uintptr_t)at;
	unsigned n = 0;

	memory_protect(base + shm_slots_at + nslots * sizeof(struct agent_slot), base + shm_overflow_at, protection);
	memory_protect(base + shm_overflow_at + nslots * sizeof(struct agent_count), base + shm_tables_at, protection);
	tables_protect(shm, protection);
	for (; n < shm->nrings && ring_known(region_ring(shm, at, n)); n++) {
		struct agent_ring *ring = region_ring(shm, at, n);
		uintptr_t cells = (uintptr_t)ring + AGENT_CELLS_IN_RING;

		memory_protect((uintptr_t)(ring_counts(ring) + nslots), cells, protection);
		memory_protect(cells + tables_ring_cells(shm) * sizeof(struct agent_cell),
		               (uintptr_t)ring + AGENT_DATA_IN_RING, protection);
		memory_protect((uintptr_t)ring + shm_ring_stride(region_ring_size(shm, n)),
		               (uintptr_t)region_ring(shm, at, n + 1), protection);
	}
	/* The header of the first unused ring stays accessible, because ring_known() reads it. */
	memory_protect((uintptr_t)region_ring(shm, at, n) + sizeof(struct agent_ring), base + region_size(shm),
	               protection);
}

/* Slots are taken from the first on. */
static void flight_hide(const struct session_shm *shm, bool hide)
{
	uint64_t n = shared_get(shm->at->flight_next);
	uintptr_t at;

	if (!shm->flight)
		return;
	at = (uintptr_t)shm->flight->at;
	if (!hide)
		munlock(shm->flight->at, flight_size(shm->flight->nslots));
	if (n < shm->flight->nslots)
		memory_protect(at + flight_size(n), at + flight_size(shm->flight->nslots),
		               hide ? PROT_NONE : PROT_READ | PROT_WRITE);
}

void shms_hide(bool hide)
{
	for (unsigned i = 0; i < SHMS_MAX; i++) {
		struct agent_shm *at = agent.shms[i].at;

		if (!at)
			continue;
		if (!hide)
			munlock(at, region_size(&agent.shms[i]));
		flight_hide(&agent.shms[i], hide);
		shm_hide(&agent.shms[i], agent.shms[i].slots.n / sizeof(struct agent_slot),
		         hide ? PROT_NONE : PROT_READ | PROT_WRITE);
	}
}

/* ---- limits of address space ---- */

#define LIMIT_SHARE 8 /* of the limit, for the rings of a region */

/* Returns how many rings the region may have mapped. */
static uint32_t rings_fitting(const struct session_shm *shm, uint64_t limit)
{
	uint64_t fit = limit / LIMIT_SHARE / shm_ring_stride(shm->ring_size);
	uint32_t known = 0;

	while (known < shm->nrings && ring_known(region_ring(shm, shm->at, known)))
		known++;
	fit = fit < RINGS_LEAST ? RINGS_LEAST : fit;
	fit = fit < known ? known : fit;
	return fit < shm->nrings ? (uint32_t)fit : shm->nrings;
}

bool shm_is_too_large(const struct session_shm *shm, uint64_t limit)
{
	return shm->at && rings_fitting(shm, limit) < shm->nrings;
}

void shm_cut(struct session_shm *shm, uint64_t limit)
{
	const size_t size = region_size(shm);
	const uint32_t nrings = rings_fitting(shm, limit);

	__atomic_store_n(&shm->nrings, nrings, __ATOMIC_RELEASE);
	munmap((char *)shm->at + region_size(shm), size - region_size(shm));
}

/* ---- another memfd ---- */

/* Copies the used part of a region, without what was counted. */
static void shm_copy(const struct session_shm *shm, struct agent_shm *to, struct agent_shm *from)
{
	shared_set(to->record_until, shared_get(from->record_until));
	shared_set(to->flight_next, shared_get(from->flight_next));
	for (unsigned i = 0; i < shm->nrings && ring_known(region_ring(shm, from, i)); i++) {
		struct agent_ring *old = region_ring(shm, from, i), *new = region_ring(shm, to, i);

		if (!shared_get(old->turns))
			continue;
		memcpy(new, old, AGENT_COUNTS_IN_RING);
		memcpy((char *)new + AGENT_DATA_IN_RING, (char *)old + AGENT_DATA_IN_RING,
		       region_ring_size(shm, i) + AGENT_RING_SLACK);
		shared_set(new->ncells, 0);
	}
}

static void counts_move(struct shared_count *to, const struct shared_count *from, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const uint64_t recorded = shared_get(from[i].recorded), filtered = shared_get(from[i].filtered);
		const uint64_t idle = shared_get(from[i].idle), lost = shared_get(from[i].lost);
		const uint64_t unmatched = shared_get(from[i].unmatched), unsampled = shared_get(from[i].unsampled);

		if (recorded)
			shared_add(to[i].recorded, recorded);
		if (filtered)
			shared_add(to[i].filtered, filtered);
		if (idle)
			shared_add(to[i].idle, idle);
		if (lost)
			shared_add(to[i].lost, lost);
		if (unmatched)
			shared_add(to[i].unmatched, unmatched);
		if (unsampled)
			shared_add(to[i].unsampled, unsampled);
	}
}

/*
 * Counts are moved when no thread writes to the old memory any more. A thread that has
 * taken its ring after the copy goes on without a ring; its counts are added to those
 * of threads without one.
 */
static void shm_add(const struct session_shm *shm, struct agent_shm *from, size_t nslots)
{
	struct agent_shm *to = shm->at;

	counts_move(shared_counts(to), shared_counts(from), nslots);
	for (unsigned i = 0; i < shm->nrings && ring_known(region_ring(shm, from, i)); i++) {
		struct agent_ring *old = region_ring(shm, from, i), *new = region_ring(shm, to, i);

		if (shared_get(old->turns))
			counts_move(shared_get(new->turns) ? ring_counts(new) : shared_counts(to), ring_counts(old),
			            nslots);
	}
}

/* Maps the region's memory a second time, at another address. Returns MAP_FAILED on errors. */
static void *shm_twice(void *at, size_t size)
{
	void *slot = map_private(size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);

	return slot == MAP_FAILED ? mremap(at, 0, size, MREMAP_MAYMOVE)
	                          : mremap(at, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, slot);
}

/*
 * Puts new memory in the place of the region's, which the program's threads write to meanwhile. The new memory is filled
 * before that, because threads give out cells of its tables at once. old: the old memory at another address, or NULL
 * not to keep it.
 */
static int shm_replace(const struct session_shm *shm, struct agent_shm *made, struct agent_shm *old, uint32_t nflight)
{
	const size_t size = region_size(shm);

	if (shm->session)
		shm_fill(shm, made, nflight);
	if (old) {
		shm_copy(shm, made, old);
		shared_release(old->moved, 1);
	}
	if (mremap(made, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, shm->at) == shm->at)
		return 0;
	if (old)
		shared_release(old->moved, 0);
	return -ENOMEM;
}

int shm_renew(struct session_shm *shm, bool keep)
{
	const uint32_t nflight = shm->session ? shm->session->flight : 0;
	const size_t size = region_size(shm);
	const struct flight_memory *flight = NULL;
	struct agent_shm *old = NULL, *made;
	int fd = shm_file_create(size + flight_size(nflight));

	if (fd < 0)
		return fd;
	made = shm_map(fd, size);
	if (nflight)
		flight = flight_memory_map(fd, size, nflight);
	if (made && keep)
		old = shm_twice(shm->at, size);
	if (!made || (nflight && !flight) || old == MAP_FAILED || shm_replace(shm, made, old, nflight)) {
		if (made)
			munmap(made, size);
		if (old && old != MAP_FAILED)
			munmap(old, size);
		if (flight)
			munmap(flight->at, flight_size(nflight));
		close(fd);
		return -ENOMEM;
	}
	if (keep && flight && shm->flight && shm->flight->nslots == nflight)
		memcpy(flight->at, shm->flight->at, flight_size(nflight));
	flight_replace(shm, flight);
	if (shm->fd >= 0)
		close(shm->fd);
	shm->fd = fd;
	shm->asked = shm->inherited = false;
	if (shm->session)
		shm_records(shm->session);
	if (old) {
		shm_add(shm, old, shm->slots.n / sizeof(struct agent_slot));
		tables_move(shm, old);
		munmap(old, size);
	}
	return 0;
}

/* ---- slots ---- */

int64_t shm_slot(struct session_shm *shm)
{
	uint32_t n = shm->slots.n / sizeof(struct agent_slot);

	if (n == AGENT_SLOTS || !vector_add(&shm->slots, sizeof(struct agent_slot)))
		return -1;
	return n;
}

void shm_name_slot(struct session_shm *shm, uint32_t slot, uint32_t attachment, uint32_t point)
{
	struct agent_slot p = { attachment, point, agent_now() };
	struct agent_shm *at = shm->at;

	((struct agent_slot *)shm->slots.at)[slot] = p;
	shm_slots(at)[slot] = p;
	if (slot >= shared_get(at->nused)) {
		shared_release(at->nused, slot + 1);
		return;
	}
	memset(&shared_counts(at)[slot], 0, sizeof(struct agent_count));
	for (unsigned i = 0; i < shm->nrings && ring_known(region_ring(shm, at, i)); i++)
		memset(&ring_counts(region_ring(shm, at, i))[slot], 0, sizeof(struct agent_count));
}

static void counts_add(struct agent_count *to, const struct shared_count *from)
{
	to->recorded += shared_get(from->recorded);
	to->filtered += shared_get(from->filtered);
	to->idle += shared_get(from->idle);
	to->lost += shared_get(from->lost);
	to->unmatched += shared_get(from->unmatched);
	to->unsampled += shared_get(from->unsampled);
}

void shm_count(const struct session_shm *shm, uint32_t slot, struct agent_count *count)
{
	*count = (struct agent_count){ 0 };
	counts_add(count, &shared_counts(shm->at)[slot]);
	for (unsigned i = 0; i < shm->nrings && ring_known(region_ring(shm, shm->at, i)); i++)
		counts_add(count, &ring_counts(region_ring(shm, shm->at, i))[slot]);
}

/* ---- the end of a thread ---- */

void rings_release(void *unused)
{
	struct hit_thread *t = &agent_thread;

	(void)unused;
	for (unsigned i = 0; i < SHMS_MAX; i++) {
		struct agent_ring *ring = t->ring[i];

		t->ring[i] = NULL;
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		if (ring)
			calls_abandon(ring);
		if (ring)
			shared_release(ring->state, shared_get(ring->head) + t->mask[i] + 8 == shared_get(ring->limit)
			                                    ? AGENT_RING_FREE
			                                    : AGENT_RING_FINISHED);
	}
}
