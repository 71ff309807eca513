/* SPDX-License-Identifier: MIT */
#include "runtime/agent/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/backend.h"
#include "runtime/record.h"

/* Far more than agents use, and few enough to be looked at. */
#define SHM_SIZE_MAX (UINT64_C(1) << 36)
#define SLOTS_MAX (8 * AGENT_SLOTS)
#define RINGS_MAX (16 * AGENT_RINGS)
#define TABLES_MAX (16 * AGENT_TABLES)
#define CELLS_MAX (16 * AGENT_CELLS)

/* Whether n parts of part_size bytes from `at` on lie within size bytes. */
static bool shm_part_fits(uint64_t at, uint64_t n, uint64_t part_size, uint64_t size)
{
	return !(at & 7) && at <= size && (!n || part_size <= (size - at) / n);
}

/* Checks a copy of the header, because what is mapped may change. */
static bool shm_tables_fit(const struct agent_shm *h, uint64_t size)
{
	return h->ntables <= TABLES_MAX && h->ncells <= CELLS_MAX &&
	       shm_part_fits(h->tables_at, h->ntables, sizeof(struct agent_table), size) &&
	       shm_part_fits(h->cells_at, h->ncells, sizeof(struct agent_cell), size) &&
	       (!h->ncells_in_ring || h->cells_in_ring >= sizeof(struct agent_ring)) &&
	       shm_part_fits(h->cells_in_ring, h->ncells_in_ring, sizeof(struct agent_cell), h->ring_stride);
}

static bool shm_rings_fit(const struct agent_shm *h, uint32_t size)
{
	return size >= AGENT_RING_SIZE_MIN && size <= AGENT_RING_SIZE_MAX && !(size & (size - 1)) &&
	       shm_part_fits(h->data_in_ring, 1, (uint64_t)size + AGENT_RING_SLACK, h->ring_stride);
}

static bool shm_layout_fits(const struct agent_shm *h, uint64_t size)
{
	return h->size == size && h->nslots <= SLOTS_MAX && h->nrings <= RINGS_MAX &&
	       shm_part_fits(h->slots_at, h->nslots, sizeof(struct agent_slot), size) &&
	       shm_part_fits(h->rings_at, h->nrings, h->ring_stride, size) && !(h->rings_at & 63) &&
	       !(h->ring_stride & 63) && shm_part_fits(h->overflow_at, h->nslots, sizeof(struct agent_count), size) &&
	       h->counts_in_ring >= sizeof(struct agent_ring) &&
	       shm_part_fits(h->counts_in_ring, h->nslots, sizeof(struct agent_count), h->ring_stride) &&
	       h->data_in_ring >= sizeof(struct agent_ring) && shm_rings_fit(h, h->ring_size) &&
	       (h->nlarge >= h->nrings || h->ring_size >= AGENT_RING_SIZE) && h->flight_slots <= AGENT_FLIGHT_MAX &&
	       !(h->flight_at & 63) && shm_part_fits(h->flight_at, h->flight_slots, AGENT_FLIGHT_SLOT, size) &&
	       shm_tables_fit(h, size);
}

static bool shm_header_ok(const struct agent_shm *h, uint64_t size)
{
	return h->magic == AGENT_SHM_MAGIC && h->version == AGENT_VERSION && shm_layout_fits(h, size) &&
	       (h->clock == AGENT_CLOCK_TSC || h->clock == AGENT_CLOCK_MONOTONIC);
}

/* Returns the size of the memfd if it is sealed against changes of its size and not too large; else 0. */
static uint64_t memfd_size(int fd)
{
	const int wanted = F_SEAL_SHRINK | F_SEAL_GROW;
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || (seals & wanted) != wanted || fstat(fd, &st) ||
	    (uint64_t)st.st_size < sizeof(struct agent_shm) || (uint64_t)st.st_size > SHM_SIZE_MAX)
		return 0;
	return (uint64_t)st.st_size;
}

int shm_map(struct mapped_shm *shm, int fd, pid_t pid)
{
	uint64_t size = memfd_size(fd);
	struct agent_shm h;
	void *at;
	int err;

	*shm = (struct mapped_shm){ 0 };
	if (!size) {
		close(fd);
		return error_set(EPROTO, "pid %d: the agent's shared memory is not sealed, or has an invalid size",
		                 pid);
	}
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	err = errno;
	close(fd);
	if (at == MAP_FAILED)
		return error_set(err, "pid %d: cannot map the agent's shared memory: %s", pid, strerror(err));
	memcpy(&h, at, sizeof(h));
	if (!shm_header_ok(&h, size)) {
		munmap(at, size);
		return error_set(EBADMSG, "pid %d: the agent's shared memory is damaged or of another version", pid);
	}
	*shm = (struct mapped_shm){
		.header = at,
		.size = size,
		.slots_at = h.slots_at,
		.rings_at = h.rings_at,
		.ring_stride = h.ring_stride,
		.counts_in_ring = h.counts_in_ring,
		.data_in_ring = h.data_in_ring,
		.ring_size = h.ring_size,
		.nlarge = h.nlarge,
		.overflow_at = h.overflow_at,
		.tables_at = h.tables_at,
		.cells_at = h.cells_at,
		.cells_in_ring = h.cells_in_ring,
		.ntables = h.ntables,
		.ncells = h.ncells,
		.ncells_in_ring = h.ncells_in_ring,
		.nslots = h.nslots,
		.nrings = h.nrings,
		.clock = h.clock,
		.base_ticks = h.base_ticks,
		.flight_at = h.flight_at,
		.flight_slots = h.overwrite == AGENT_FLIGHT ? h.flight_slots : 0,
		.pid = (uint32_t)pid,
		.shift = clock_shift(pid),
	};
	shm->base_ns = h.base_ns - (uint64_t)shm->shift;
	return 0;
}

void shm_unmap(struct mapped_shm *shm)
{
	if (shm->header)
		munmap(shm->header, shm->size);
	*shm = (struct mapped_shm){ 0 };
}

uint64_t shm_file_bytes(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

uint64_t shm_id(const struct mapped_shm *shm)
{
	return shm->base_ns + (uint64_t)shm->shift;
}

bool shm_is_same(const struct mapped_shm *a, const struct mapped_shm *b)
{
	return a->pid == b->pid && a->base_ticks == b->base_ticks && a->base_ns == b->base_ns;
}

uint32_t shm_known_rings(const struct mapped_shm *shm)
{
	uint32_t n = 0;

	while (n < shm->nrings && (shm_ring_is_used(shm, n) ||
	                           __atomic_load_n(&shm_ring(shm, n)->state, __ATOMIC_ACQUIRE) != AGENT_RING_FREE))
		n++;
	return n;
}

const struct agent_flight_slot *shm_flight_slot(const struct mapped_shm *shm, uint32_t i)
{
	return (const struct agent_flight_slot *)shm_at(shm, shm->flight_at + (uint64_t)i * AGENT_FLIGHT_SLOT);
}

static const struct agent_count *shm_ring_counts(const struct mapped_shm *shm, uint32_t ring)
{
	return (const struct agent_count *)((const unsigned char *)shm_ring(shm, ring) + shm->counts_in_ring);
}

/* Returns the counts of threads that found no free ring. They add to it atomically. */
static struct agent_count *shm_overflow_counts(const struct mapped_shm *shm)
{
	return (struct agent_count *)shm_at(shm, shm->overflow_at);
}

uint64_t shm_ring_recorded(const struct mapped_shm *shm, uint32_t ring)
{
	const struct agent_count *table = shm_ring_counts(shm, ring);
	uint64_t sum = 0;

	if (!shm_ring_is_used(shm, ring))
		return 0;
	for (uint32_t n = shm_used(shm), i = 0; i < n; i++)
		sum += __atomic_load_n(&table[i].recorded, __ATOMIC_RELAXED);
	return sum;
}

bool shm_lose(const struct mapped_shm *shm, uint32_t attachment, uint32_t point)
{
	struct agent_count *table = shm_overflow_counts(shm);

	for (uint32_t n = shm_used(shm), i = 0; i < n; i++) {
		struct agent_slot slot = shm_slot(shm, i);

		if (slot.attachment != attachment || slot.point != point)
			continue;
		__atomic_fetch_sub(&table[i].recorded, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&table[i].lost, 1, __ATOMIC_RELAXED);
		return true;
	}
	return false;
}

/* Adds one table of counts, by slots, to counts by points. */
static void shm_count_table(const struct mapped_shm *shm, const struct agent_count *table, uint32_t attachment,
                            struct agent_count *counts, uint32_t npoints)
{
	for (uint32_t n = shm_used(shm), i = 0; i < n; i++) {
		struct agent_slot slot = shm_slot(shm, i);
		struct agent_count *to;

		if (slot.attachment != attachment || slot.point >= npoints)
			continue;
		to = &counts[slot.point];
		to->recorded += __atomic_load_n(&table[i].recorded, __ATOMIC_RELAXED);
		to->filtered += __atomic_load_n(&table[i].filtered, __ATOMIC_RELAXED);
		to->unsampled += __atomic_load_n(&table[i].unsampled, __ATOMIC_RELAXED);
		to->idle += __atomic_load_n(&table[i].idle, __ATOMIC_RELAXED);
		to->unmatched += __atomic_load_n(&table[i].unmatched, __ATOMIC_RELAXED);
		to->lost += __atomic_load_n(&table[i].lost, __ATOMIC_RELAXED);
	}
}

void shm_count(const struct mapped_shm *shm, uint32_t attachment, struct agent_count *counts, uint32_t npoints)
{
	for (uint32_t n = shm_known_rings(shm), r = 0; r < n; r++)
		if (shm_ring_is_used(shm, r))
			shm_count_table(shm, shm_ring_counts(shm, r), attachment, counts, npoints);
	shm_count_table(shm, shm_overflow_counts(shm), attachment, counts, npoints);
}

/* ---- records that no reader has read ---- */

/* Returns the position up to which the ring was read. */
static uint64_t shm_ring_tail(const struct mapped_shm *shm, uint32_t ring)
{
	const struct agent_ring *header = shm_ring(shm, ring);
	uint64_t limit = __atomic_load_n(&header->limit, __ATOMIC_ACQUIRE);

	if (shm_is_overwritten(shm))
		return __atomic_load_n(&header->taken, __ATOMIC_ACQUIRE);
	return limit ? limit - shm_size_of_ring(shm, ring) : 0; /* limit 0: the ring was never taken */
}

static uint64_t shm_ring_head(const struct mapped_shm *shm, uint32_t ring)
{
	return __atomic_load_n(&shm_ring(shm, ring)->head, __ATOMIC_ACQUIRE);
}

bool shm_has_unread(const struct mapped_shm *shm)
{
	for (uint32_t n = shm_known_rings(shm), r = 0; r < n; r++)
		if (shm_ring_is_used(shm, r) && shm_ring_head(shm, r) != shm_ring_tail(shm, r))
			return true;
	return false;
}

void shm_ring_each(const struct mapped_shm *shm, uint32_t ring, uint64_t from, uint64_t to,
                   void (*fn)(uint32_t slot, void *arg), void *arg)
{
	const uint64_t size = shm_size_of_ring(shm, ring);
	uint64_t left = (to - from) / 8;

	while (left && left <= size / 8) {
		const volatile struct record *record =
			(const volatile struct record *)(shm_data(shm, ring) + (from & (size - 1) & ~7ull));
		uint64_t word = __atomic_load_n(&record->time, __ATOMIC_ACQUIRE), words;

		if (word < AGENT_WORD_SKIP)
			words = word ? word : 1;
		else if (word < AGENT_WORD_TIME)
			words = word - AGENT_WORD_SKIP;
		else
			words = record_words(record);
		if (!words || words > left || words > RECORD_SIZE_MAX / 8)
			break;
		if (word >= AGENT_WORD_TIME && words >= sizeof(*record) / 8)
			fn(record->point, arg);
		from += 8 * words;
		left -= words;
	}
}

struct unread_count {
	const struct mapped_shm *shm;
	uint32_t attachment, npoints;
	uint64_t *unread;
};

static void unread_count_record(uint32_t number, void *arg)
{
	const struct unread_count *u = arg;
	struct agent_slot slot;

	if (number >= shm_used(u->shm))
		return;
	slot = shm_slot(u->shm, number);
	if (slot.attachment == u->attachment && slot.point < u->npoints)
		u->unread[slot.point]++;
}

void shm_count_unread(const struct mapped_shm *shm, uint32_t attachment, uint64_t *unread, uint32_t npoints)
{
	struct unread_count u = { shm, attachment, npoints, unread };

	for (uint32_t n = shm_known_rings(shm), r = 0; r < n; r++)
		if (shm_ring_is_used(shm, r))
			shm_ring_each(shm, r, shm_ring_tail(shm, r), shm_ring_head(shm, r), unread_count_record, &u);
}

/* ---- aggregates ---- */

static struct agent_table *shm_table_at(const struct mapped_shm *shm, uint32_t i)
{
	return (struct agent_table *)shm_at(shm, shm->tables_at) + i;
}

bool shm_table(const struct mapped_shm *shm, uint32_t i, struct mapped_table *table)
{
	const struct agent_table *at = shm_table_at(shm, i);
	uint32_t attachment = __atomic_load_n(&at->attachment, __ATOMIC_ACQUIRE);
	struct agent_table t = *(const volatile struct agent_table *)at;
	uint64_t misfits = 2 * (uint64_t)t.ngroups * t.ncolumns;

	if (t.attachment == AGENT_NO_ATTACHMENT || t.attachment != attachment || t.ncolumns > AGG_COLUMNS_MAX ||
	    t.ncells > AGG_CELLS_MAX || t.key_size < sizeof(struct agg_key) || t.key_size > AGG_KEY_SIZE_MAX ||
	    t.key_size & 7 || t.first_cell > shm->ncells || misfits + t.ncells > shm->ncells - t.first_cell ||
	    !shm_part_fits(t.keys_at, t.ncells, t.key_size, shm->size))
		return false;
	*table = (struct mapped_table){ t.attachment, t.ngroups,  t.ncolumns, t.first_cell,
		                        t.ncells,     t.key_size, t.keys_at,  i };
	return true;
}

uint32_t shm_table_used(const struct mapped_shm *shm, const struct mapped_table *table)
{
	uint32_t n = __atomic_load_n(&shm_table_at(shm, table->number)->nused, __ATOMIC_ACQUIRE);

	return n < table->ncells ? n : table->ncells;
}

static void cells_sum(const struct agent_cell *from, uint32_t n, struct agent_cell *sums)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t count = __atomic_load_n(&from[i].count, __ATOMIC_ACQUIRE);
		uint64_t low = __atomic_load_n(&from[i].low, __ATOMIC_RELAXED);
		uint64_t high = __atomic_load_n(&from[i].high, __ATOMIC_RELAXED);

		sums[i].count += count;
		sums[i].sum += __atomic_load_n(&from[i].sum, __ATOMIC_RELAXED);
		sums[i].low = low > sums[i].low ? low : sums[i].low;
		sums[i].high = high > sums[i].high ? high : sums[i].high;
	}
}

/* Returns how many of n numbers, from first on, are below end. */
static uint32_t numbers_below(uint32_t first, uint32_t n, uint32_t end)
{
	if (first >= end)
		return 0;
	return n < end - first ? n : end - first;
}

void shm_cells(const struct mapped_shm *shm, uint32_t first, uint32_t n, struct agent_cell *sums)
{
	cells_sum((const struct agent_cell *)shm_at(shm, shm->cells_at) + first, numbers_below(first, n, shm->ncells),
	          sums);
	for (uint32_t known = shm_known_rings(shm), r = 0; r < known; r++) {
		const struct agent_ring *ring = shm_ring(shm, r);
		uint32_t end;

		if (!shm_ring_is_used(shm, r))
			continue;
		/* A read of a cell that the thread has not reached would allocate its page. */
		end = __atomic_load_n(&ring->ncells, __ATOMIC_RELAXED);
		end = end < shm->ncells_in_ring ? end : shm->ncells_in_ring;
		cells_sum((const struct agent_cell *)((const unsigned char *)ring + shm->cells_in_ring) + first,
		          numbers_below(first, n, end), sums);
	}
}

void shm_table_key(const struct mapped_shm *shm, const struct mapped_table *table, uint32_t cell, struct agg_key *to)
{
	const uint64_t *from = (const uint64_t *)shm_at(shm, table->keys_at + (uint64_t)cell * table->key_size);
	uint64_t *words = (uint64_t *)to;

	for (uint32_t i = 0; i < table->key_size / 8; i++)
		words[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

bool shm_has_moved(const struct mapped_shm *shm)
{
	return __atomic_load_n(&shm->header->moved, __ATOMIC_ACQUIRE) == 1;
}

bool shm_is_overwritten(const struct mapped_shm *shm)
{
	return __atomic_load_n(&shm->header->overwrite, __ATOMIC_ACQUIRE) == 1;
}

bool shm_claim(const struct mapped_shm *shm)
{
	uint32_t unclaimed = 0;

	return __atomic_compare_exchange_n(&shm->header->written, &unclaimed, 1, false, __ATOMIC_ACQ_REL,
	                                   __ATOMIC_RELAXED);
}

bool shm_is_claimed(const struct mapped_shm *shm)
{
	return __atomic_load_n(&shm->header->written, __ATOMIC_ACQUIRE) == 1;
}
