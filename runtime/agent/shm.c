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
#define AREA_SIZE_MAX (UINT64_C(1) << 36)
#define PLACES_MAX (8 * AGENT_PLACES)
#define RINGS_MAX (16 * AGENT_RINGS)

static bool inside(uint64_t at, uint64_t n, uint64_t size, uint64_t all)
{
	return !(at & 7) && at <= all && (!n || size <= (all - at) / n);
}

/* Of a copy: what is mapped may change. */
static bool header_ok(const struct agent_area *h, uint64_t size)
{
	return h->size == size && h->nplaces <= PLACES_MAX && h->nrings <= RINGS_MAX &&
	       inside(h->places_at, h->nplaces, sizeof(struct agent_place), size) &&
	       inside(h->rings_at, h->nrings, h->ring_stride, size) && !(h->rings_at & 63) && !(h->ring_stride & 63) &&
	       inside(h->overflow_at, h->nplaces, sizeof(struct agent_count), size) &&
	       h->counts_in_ring >= sizeof(struct agent_ring) &&
	       inside(h->counts_in_ring, h->nplaces, sizeof(struct agent_count), h->ring_stride) &&
	       h->data_in_ring >= sizeof(struct agent_ring) &&
	       inside(h->data_in_ring, 1, AGENT_RING_SIZE + AGENT_RING_SLACK, h->ring_stride);
}

int area_map(struct area *area, int fd, pid_t pid)
{
	struct agent_area h;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS), err = 0;
	void *at = MAP_FAILED;

	*area = (struct area){ 0 };
	if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW) || fstat(fd, &st) ||
	    (uint64_t)st.st_size < sizeof(h) || (uint64_t)st.st_size > AREA_SIZE_MAX)
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
	if (h.magic != AGENT_AREA_MAGIC || h.version != AGENT_VERSION || !header_ok(&h, st.st_size) ||
	    (h.clock != AGENT_CLOCK_TSC && h.clock != AGENT_CLOCK_MONOTONIC)) {
		munmap(at, st.st_size);
		return error_set(EBADMSG, "what the agent of process %d shares is damaged, or of another version", pid);
	}
	*area = (struct area){
		.header = at,
		.size = st.st_size,
		.places_at = h.places_at,
		.rings_at = h.rings_at,
		.ring_stride = h.ring_stride,
		.counts_in_ring = h.counts_in_ring,
		.data_in_ring = h.data_in_ring,
		.overflow_at = h.overflow_at,
		.nplaces = h.nplaces,
		.nrings = h.nrings,
		.clock = h.clock,
		.base_ticks = h.base_ticks,
		.shift = clock_shift(pid),
	};
	area->base_ns = h.base_ns - (uint64_t)area->shift;
	return 0;
}

void area_unmap(struct area *area)
{
	if (area->header)
		munmap(area->header, area->size);
	*area = (struct area){ 0 };
}

static unsigned char *at(const struct area *area, uint64_t offset)
{
	return (unsigned char *)area->header + offset;
}

struct agent_ring *area_ring(const struct area *area, uint32_t i)
{
	return (struct agent_ring *)at(area, area->rings_at + i * area->ring_stride);
}

unsigned char *area_data(const struct area *area, uint32_t ring)
{
	return (unsigned char *)area_ring(area, ring) + area->data_in_ring;
}

uint32_t area_placed(const struct area *area)
{
	uint32_t n = __atomic_load_n(&area->header->nplaced, __ATOMIC_ACQUIRE);

	return n < area->nplaces ? n : area->nplaces;
}

struct agent_place area_place(const struct area *area, uint32_t place)
{
	return ((const volatile struct agent_place *)at(area, area->places_at))[place];
}

static void add(struct agent_count *to, const struct agent_count *from)
{
	to->recorded += __atomic_load_n(&from->recorded, __ATOMIC_RELAXED);
	to->filtered += __atomic_load_n(&from->filtered, __ATOMIC_RELAXED);
	to->idle += __atomic_load_n(&from->idle, __ATOMIC_RELAXED);
	to->lost += __atomic_load_n(&from->lost, __ATOMIC_RELAXED);
}

uint64_t area_ring_recorded(const struct area *area, uint32_t i)
{
	const struct agent_ring *ring = area_ring(area, i);
	const struct agent_count *table =
		(const struct agent_count *)((const unsigned char *)ring + area->counts_in_ring);
	uint64_t sum = 0;

	/* A ring that was never taken has no memory yet, and a look would give it some. */
	for (uint32_t n = area_placed(area), p = 0; p < n && __atomic_load_n(&ring->turns, __ATOMIC_ACQUIRE); p++)
		sum += __atomic_load_n(&table[p].recorded, __ATOMIC_RELAXED);
	return sum;
}

bool area_lose(const struct area *area, uint32_t segment, uint32_t point)
{
	/* The table of threads without a ring is added to atomically. */
	struct agent_count *table = (struct agent_count *)at(area, area->overflow_at);

	for (uint32_t n = area_placed(area), i = 0; i < n; i++) {
		struct agent_place place = area_place(area, i);

		if (place.segment != (segment & ~SEGMENT_AGENT) || place.point != point)
			continue;
		__atomic_fetch_sub(&table[i].recorded, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&table[i].lost, 1, __ATOMIC_RELAXED);
		return true;
	}
	return false;
}

void area_count(const struct area *area, uint32_t segment, struct agent_count *counts, uint32_t npoints)
{
	uint32_t n = area_placed(area);

	for (uint32_t r = 0; r <= area->nrings; r++) {
		const struct agent_ring *ring = r < area->nrings ? area_ring(area, r) : NULL;
		const struct agent_count *table =
			(const struct agent_count *)(ring ? (const unsigned char *)ring + area->counts_in_ring
		                                          : at(area, area->overflow_at));

		/* A ring that was never taken has no memory yet, and a look would give it some. */
		if (ring && !__atomic_load_n(&ring->turns, __ATOMIC_ACQUIRE))
			continue;
		for (uint32_t i = 0; i < n; i++) {
			struct agent_place place = area_place(area, i);

			if (place.segment == (segment & ~SEGMENT_AGENT) && place.point < npoints)
				add(&counts[place.point], &table[i]);
		}
	}
}
