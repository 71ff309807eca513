/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_KERNEL_OVERHEAD_H
#define RUNTIME_KERNEL_OVERHEAD_H

#include <stdint.h>

#include "runtime/kernel/kernel.h"

/* Says which attachments a measurement is about. They must be the kernel backend's. */
typedef bool cost_choice(const struct attachment *attachment);

/* ns of CPU time that a hit costs beside its program; measured once, in this process. 0: it could not be measured. */
double cost_trap(void);
/* The same where the kernel single-steps the instruction. */
double cost_step(void);
/* The one of both that fits the point. */
double cost_trap_of(const struct attachment *attachment, uint32_t point);

/* Hits of a point so far. */
uint64_t cost_hits(const struct attachment *attachment, uint32_t point);

struct cost {
	uint64_t runs;     /* of programs: hits, also those of processes that are not meant */
	double program_ns; /* of one run */
	uint64_t time;     /* for how long it was measured */
};

/* Measures for ms milliseconds. Returns a negative errno with an error message if the kernel does not. */
int cost_measure(const struct pp_session *session, cost_choice *mine, int ms, struct cost *cost);

/* CPU time of the processes that points were armed for. Begins as zeros. */
struct targets_cpu {
	struct target_cpu {
		pid_t pid;
		uint64_t ns;
	} * list;
	size_t n;
	bool known; /* false: a point is for every process, or there is none */
};

void targets_cpu_read(struct targets_cpu *t, const struct pp_session *session, cost_choice *mine);
/* ns that they used between the two readings; -1: unknown. */
double targets_cpu_used(const struct targets_cpu *before, const struct targets_cpu *now);
void targets_cpu_release(struct targets_cpu *t);

/* ns that the traps at a function's entry and its end add to what the call seems to take, at least. */
double cost_call(const struct pp_site *entry);

int kernel_cost(struct pp_session *session, int ms, struct pp_cost *cost);

#endif
