/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/agent/client.h"
#include "base/clock.h"
#include "base/error.h"

/* Far more than agents have, and no more than can be looked at. */
#define SHM_SIZE_MAX (UINT64_C(1) << 36)
#define SLOTS_MAX (8 * AGENT_SLOTS)
#define RINGS_MAX (16 * AGENT_RINGS)

static bool inside(uint64_t at, uint64_t n, uint64_t size, uint64_t all)
{
	return !(at & 7) && at <= all && (!n || size <= (all - at) / n);
}

/* Of a copy: what is mapped may change. */
static bool header_ok(const struct agent_shm *h, uint64_t size)
{
	return h->size == size && h->nslots <= SLOTS_MAX && h->nrings <= RINGS_MAX &&
	       inside(h->slots_at, h->nslots, sizeof(struct agent_slot), size) &&
	       inside(h->rings_at, h->nrings, h->ring_stride, size) && !(h->rings_at & 63) && !(h->ring_stride & 63) &&
	       inside(h->overflow_at, h->nslots, sizeof(struct agent_count), size) &&
	       h->counts_in_ring >= sizeof(struct agent_ring) &&
	       inside(h->counts_in_ring, h->nslots, sizeof(struct agent_count), h->ring_stride) &&
	       h->data_in_ring >= sizeof(struct agent_ring) &&
	       inside(h->data_in_ring, 1, AGENT_RING_SIZE + AGENT_RING_SLACK, h->ring_stride);
}

int shm_map(struct shm *shm, int fd, pid_t pid)
{
	struct agent_shm h;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS), err = 0;
	void *at = MAP_FAILED;

	*shm = (struct shm){ 0 };
	if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW) || fstat(fd, &st) ||
	    (uint64_t)st.st_size < sizeof(h) || (uint64_t)st.st_size > SHM_SIZE_MAX)
		err = error_set(EPROTO,
		                "the agent of process %d gives memory that may shrink, or of no size for records", pid);
	if (!err)
		at = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (!err && at == MAP_FAILED)
		err = error_set(errno, "cannot map the records of process %d: %s", pid, strerror(errno));
	close(fd);
	if (err)
		return err;
	memcpy(&h, at, sizeof(h));
	if (h.magic != AGENT_SHM_MAGIC || h.version != AGENT_VERSION || !header_ok(&h, st.st_size) ||
	    (h.clock != AGENT_CLOCK_TSC && h.clock != AGENT_CLOCK_MONOTONIC)) {
		munmap(at, st.st_size);
		return error_set(EBADMSG, "what the agent of process %d shares is damaged, or of another version", pid);
	}
	*shm = (struct shm){
		.header = at,
		.size = st.st_size,
		.slots_at = h.slots_at,
		.rings_at = h.rings_at,
		.ring_stride = h.ring_stride,
		.counts_in_ring = h.counts_in_ring,
		.data_in_ring = h.data_in_ring,
		.overflow_at = h.overflow_at,
		.nslots = h.nslots,
		.nrings = h.nrings,
		.clock = h.clock,
		.base_ticks = h.base_ticks,
		.shift = clock_shift(pid),
	};
	shm->base_ns = h.base_ns - (uint64_t)shm->shift;
	return 0;
}

void shm_unmap(struct shm *shm)
{
	if (shm->header)
		munmap(shm->header, shm->size);
	*shm = (struct shm){ 0 };
}

static unsigned char *at(const struct shm *shm, uint64_t offset)
{
	return (unsigned char *)shm->header + offset;
}

struct agent_ring *shm_ring(const struct shm *shm, uint32_t i)
{
	return (struct agent_ring *)at(shm, shm->rings_at + i * shm->ring_stride);
}

unsigned char *shm_data(const struct shm *shm, uint32_t ring)
{
	return (unsigned char *)shm_ring(shm, ring) + shm->data_in_ring;
}

uint32_t shm_used(const struct shm *shm)
{
	uint32_t n = __atomic_load_n(&shm->header->nused, __ATOMIC_ACQUIRE);

	return n < shm->nslots ? n : shm->nslots;
}

struct agent_slot shm_slot(const struct shm *shm, uint32_t slot)
{
	return ((const volatile struct agent_slot *)at(shm, shm->slots_at))[slot];
}

static void add(struct agent_count *to, const struct agent_count *from)
{
	to->recorded += __atomic_load_n(&from->recorded, __ATOMIC_RELAXED);
	to->filtered += __atomic_load_n(&from->filtered, __ATOMIC_RELAXED);
	to->idle += __atomic_load_n(&from->idle, __ATOMIC_RELAXED);
	to->lost += __atomic_load_n(&from->lost, __ATOMIC_RELAXED);
}

uint64_t shm_ring_recorded(const struct shm *shm, uint32_t i)
{
	const struct agent_ring *ring = shm_ring(shm, i);
	const struct agent_count *table =
		(const struct agent_count *)((const unsigned char *)ring + shm->counts_in_ring);
	uint64_t sum = 0;

	/* A ring that was never taken has no memory yet, and a look would give it some. */
	for (uint32_t n = shm_used(shm), p = 0; p < n && __atomic_load_n(&ring->turns, __ATOMIC_ACQUIRE); p++)
		sum += __atomic_load_n(&table[p].recorded, __ATOMIC_RELAXED);
	return sum;
}

bool shm_lose(const struct shm *shm, uint32_t attachment, uint32_t point)
{
	/* The table of threads without a ring is added to atomically. */
	struct agent_count *table = (struct agent_count *)at(shm, shm->overflow_at);

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

void shm_count(const struct shm *shm, uint32_t attachment, struct agent_count *counts, uint32_t npoints)
{
	uint32_t n = shm_used(shm);

	for (uint32_t r = 0; r <= shm->nrings; r++) {
		const struct agent_ring *ring = r < shm->nrings ? shm_ring(shm, r) : NULL;
		const struct agent_count *table =
			(const struct agent_count *)(ring ? (const unsigned char *)ring + shm->counts_in_ring
		                                          : at(shm, shm->overflow_at));

		/* A ring that was never taken has no memory yet, and a look would give it some. */
		if (ring && !__atomic_load_n(&ring->turns, __ATOMIC_ACQUIRE))
			continue;
		for (uint32_t i = 0; i < n; i++) {
			struct agent_slot slot = shm_slot(shm, i);

			if (slot.attachment == attachment && slot.point < npoints)
				add(&counts[slot.point], &table[i]);
		}
	}
}
