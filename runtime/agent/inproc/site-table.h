/* SPDX-License-Identifier: MIT */
/*
 * The tables of sites and of their consumers. Each may have a hundred thousand entries.
 * The structs are small, because most of the cost of making the tables is clearing their
 * pages. For the agent's thread, with agent.lock held.
 */
#ifndef RUNTIME_AGENT_INPROC_SITE_TABLE_H
#define RUNTIME_AGENT_INPROC_SITE_TABLE_H

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/hit-aggregate.h"

#define CONSUMERS_MAX 8 /* on one site */

/* A point on a site. A pass is one run of sites_arm(). */
struct site_consumer {
	uint32_t next; /* index + 1 of an older consumer of the site; 0: none */
	uint32_t slot;
	struct interned_program *program;
	const struct hit_group *group;        /* of the program's aggregate; NULL: none */
	struct loaded_attachment *attachment; /* the attachment whose point uses this consumer in this pass */
	uint32_t point;
	struct hit_bucket *bucket; /* NULL: the program limits no rate */
	uint64_t call;             /* trampoline_consumer.call */
	uint8_t shm;               /* index of the shared memory region */
	uint8_t live;              /* is in the trampoline that is armed */
	uint8_t in_trampoline;     /* is in the trampoline that was compiled last */
	uint8_t taken;             /* is used in this pass */
};

struct patch_site {
	uintptr_t address;  /* of byte 0 */
	uint32_t consumers; /* index + 1 of the first */
	uint8_t armed, touched, failed;
	uint8_t nwant; /* consumers taken */
	uint8_t was[JUMP], will[JUMP];
	uint8_t tail[5]; /* the bytes of the 10-byte nop after the jump, which do not change */
	uint8_t semaphore_held;
	uint16_t *semaphore;  /* the semaphore that is raised or to be raised; NULL: none */
	uintptr_t trampoline; /* the last trampoline compiled for this site, in the mapping below; 0: none */
	uintptr_t trampoline_base;
	uint64_t trampoline_device, trampoline_inode;
};

extern struct vector sites, consumers;

static inline struct patch_site *site_at(uint32_t i)
{
	return (struct patch_site *)sites.at + i;
}

static inline struct site_consumer *consumer_at(uint32_t i)
{
	return (struct site_consumer *)consumers.at + i;
}

static inline size_t nsites(void)
{
	return sites.n / sizeof(struct patch_site);
}

/* Finds or adds the site. Returns NULL without memory. */
struct patch_site *site_get(uintptr_t address);
/*
 * Finds a consumer of the site for the point and gives it the program: the one that
 * serves the point now, else one that is not in use, best with the same program, else
 * a new one. Returns its index, or -1 without a free slot or memory.
 */
int64_t consumer_take(struct patch_site *site, struct session_shm *shm, const struct loaded_attachment *attachment,
                      uint32_t point, struct interned_program *program, const struct hit_group *group);

void point_refuse(struct loaded_attachment *attachment, uint32_t point, enum agent_reason reason);
/* Refuses all points that use the site in this pass. */
void site_refuse(struct patch_site *site, enum agent_reason reason);

#endif
