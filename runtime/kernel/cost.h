/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_KERNEL_COST_H
#define RUNTIME_KERNEL_COST_H

#include <stdint.h>

#include "runtime/kernel/kernel.h"

/* What the programs of segments did so far, as the kernel counts it while cost_begin()'s descriptor is open. */
struct cost {
	uint64_t runs, ns;
	uint64_t time; /* when it was read */
};

/* A descriptor to be closed, or a negative errno with a sentence. */
int cost_begin(void);
void cost_read(const struct segment *segment, struct cost *cost);
/* ns that a hit costs beside its program; measured once, at a site of this process's own. 0: could not be. */
double cost_trap(void);

/* ns that the traps at a function's entry and its end add to what the call seems to take, at least. */
double cost_call(const struct pp_site *entry);

int kernel_cost(struct pp_session *session, int ms, struct pp_cost *cost);

#endif
