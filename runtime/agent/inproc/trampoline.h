/* SPDX-License-Identifier: MIT */
/*
 * A trampoline is the code that an armed site jumps to. There is one for each site. It
 * is compiled from the programs of all points on the site: compile.c, with
 * trampoline-CPU.c. hit.h declares what it calls.
 */
#ifndef RUNTIME_AGENT_INPROC_TRAMPOLINE_H
#define RUNTIME_AGENT_INPROC_TRAMPOLINE_H

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/attachment.h"
#include "runtime/agent/inproc/hit-aggregate.h"

#define TRAMPOLINE_MAX 65536u /* bytes of code */
#define TRAMPOLINE_ALIGN 16u

/* The functions that trampolines call; at the beginning of each region of trampolines. */
struct trampoline_table {
	void *load, *string, *match, *comm, *now, *shrink, *take, *room, *late;
	void *aggregate, *unread, *keystr, *keycomm, *keystack, *cpu;
	void *begin, *end, *hash; /* of calls */
	void *token;
};

void trampoline_table_fill(struct trampoline_table *table);

struct trampoline_consumer {
	const struct interned_program *program;
	const struct agent_shm *shm;
	unsigned index; /* of the shared memory region */
	uint32_t slot;
	const struct hit_group *group; /* if the program has an aggregate */
	struct hit_bucket *bucket;     /* if the program limits a rate */
	uint64_t call;                 /* of a point that begins or ends calls: the same for both */
};

/*
 * Compiles the trampoline for a site into code. at: the address that the code will be
 * copied to. Returns the length, or 0 if it cannot be compiled. The caller then
 * refuses the newest consumer.
 */
size_t trampoline_compile(uint8_t code[TRAMPOLINE_MAX], uintptr_t at, uintptr_t site,
                          const struct trampoline_consumer *consumers, size_t n, const struct image_ranges *image,
                          const struct trampoline_table *table, const struct life *life);

/* Returns whether the CPU has what trampolines need. */
bool trampoline_cpu_ok(void);
/* Returns whether the CPU's counter runs at a constant rate and may be read. */
bool trampoline_clock_invariant(void);
/* Returns the offset of a field of struct hit_thread to the thread pointer. */
int32_t trampoline_tls(size_t offset);

bool image_has(const struct image_ranges *image, uint64_t address, size_t size);

#endif
