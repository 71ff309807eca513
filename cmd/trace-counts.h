/* SPDX-License-Identifier: MIT */
/* What a session counts besides records: calls that were missed, and hits that were not chosen. */
#ifndef CMD_TRACE_COUNTS_H
#define CMD_TRACE_COUNTS_H

#include <probepoint.h>

struct trace_counts {
	uint64_t missed, unsampled;
};

/* Adds up the counts of all probes. Sets all to 0 if the session cannot be read any more. */
void trace_counts_read(struct pp_session *session, struct trace_counts *counts);
/* Subtracts the counts of an earlier reading. */
void trace_counts_since(struct trace_counts *counts, const struct trace_counts *before);

#endif
