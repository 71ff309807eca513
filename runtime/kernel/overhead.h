/* SPDX-License-Identifier: MIT */
/* How much CPU time hits take. */
#ifndef RUNTIME_KERNEL_OVERHEAD_H
#define RUNTIME_KERNEL_OVERHEAD_H

#include <stdint.h>

#include "runtime/kernel/kernel.h"

/* Chooses the attachments of a measurement. They must belong to the kernel backend. */
typedef bool attachment_choice(const struct attachment *attachment);

/*
 * Return the ns of CPU time that one trap takes, without its program: at a nop, and at an instruction that the kernel
 * single-steps. Measured once per process. 0: the measurement failed.
 */
double overhead_trap_ns(void);
double overhead_step_ns(void);
/* Returns the one of these two that applies to the point. */
double overhead_point_ns(const struct attachment *attachment, uint32_t point);
/*
 * Returns the least ns that the traps at a function's entry and at its end add to the measured duration of a call.
 */
double overhead_call_ns(const struct pp_site *entry);

/* Returns the number of hits of a point so far. */
uint64_t overhead_hits(const struct attachment *attachment, uint32_t point);

struct overhead {
	uint64_t runs;     /* number of program runs, including those in processes out of scope */
	double program_ns; /* of one run */
	uint64_t time;     /* ns that the measurement took */
};

/* Measures programs for ms milliseconds. Returns 0, or a negative errno with an error message. */
int overhead_measure(const struct pp_session *session, attachment_choice *mine, int ms, struct overhead *overhead);

/* CPU time of the processes that points were armed for. Initialize with zeros. */
struct targets_cpu {
	struct target_cpu {
		pid_t pid;
		uint64_t ns;
	} * list;
	size_t n, room;
	bool known; /* false: a point is armed for every process, or no point is armed */
};

void targets_cpu_read(struct targets_cpu *t, const struct pp_session *session, attachment_choice *mine);
/* Returns the ns that the processes used between two readings, or -1 if that is not known. */
double targets_cpu_used(const struct targets_cpu *before, const struct targets_cpu *now);
void targets_cpu_release(struct targets_cpu *t);

/* Operation `cost` of the backend: see pp_session_cost(). */
int kernel_cost(struct pp_session *session, int ms, struct pp_cost *cost);

#endif
