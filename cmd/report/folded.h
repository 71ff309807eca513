/* SPDX-License-Identifier: MIT */
/* Call stacks and the time in them, as flamegraph.pl and speedscope read them. */
#ifndef CMD_REPORT_FOLDED_H
#define CMD_REPORT_FOLDED_H

#include <stdio.h>

#include "cmd/report/run.h"
#include "cmd/report/table.h"

enum { FOLDED_MAX = 1 << 19 };

/* The time in one stack of one process. */
struct folded_stack {
	uint32_t path, process;
	uint32_t status; /* enum call_status; 3: in flight at the end of the trace */
	uint64_t ns;     /* outside of calls below it */
};

struct folded {
	struct folded_stack *stacks;
	size_t n, room;
	struct index_table by_key;
	uint64_t other; /* ns of stacks that found no room */
};

/* Makes the consumer that fills *folded, which is zeroed before. The run needs paths. */
struct report_consumer folded_consumer(struct folded *folded);
/* Prints a line for each stack. */
void folded_print(FILE *out, const struct folded *folded, const struct run *run);
void folded_release(struct folded *folded);

#endif
