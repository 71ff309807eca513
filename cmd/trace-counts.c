/* SPDX-License-Identifier: MIT */
#include "cmd/trace-counts.h"

void trace_counts_read(struct pp_session *session, struct trace_counts *counts)
{
	struct pp_stat *stat;

	*counts = (struct trace_counts){ 0 };
	if (pp_session_stat(session, &stat))
		return;
	for (size_t i = 0; i < pp_stat_rows(stat); i++) {
		struct pp_counts row;

		pp_stat_counts(stat, i, &row, sizeof(row));
		counts->missed += row.missed;
		counts->unsampled += row.unsampled;
	}
	pp_stat_free(stat);
}

void trace_counts_since(struct trace_counts *counts, const struct trace_counts *before)
{
	/* A probe that was disarmed took its counts with it. */
	counts->missed -= before->missed < counts->missed ? before->missed : counts->missed;
	counts->unsampled -= before->unsampled < counts->unsampled ? before->unsampled : counts->unsampled;
}
