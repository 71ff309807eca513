/* SPDX-License-Identifier: MIT */
/*
 * Statistics of a trace: records, rates and the most frequent values by probe; calls and their durations by function, and by function
 * in a thread or process.
 */
#ifndef CMD_REPORT_STATS_H
#define CMD_REPORT_STATS_H

#include "cmd/report/histogram.h"
#include "cmd/report/model.h"
#include "cmd/report/names.h"
#include "cmd/report/series.h"
#include "cmd/report/top.h"

enum {
	STATS_CELLS_MAX = 1 << 13,  /* pairs of a function and a thread; also of a function and a process */
	STATS_TOP_VALUES = 1 << 18, /* values of all arguments */
	STATS_ARGUMENTS_MAX = 32,   /* of a probe */
};

struct argument_stats {
	char *name;
	struct top top;
	/* For arguments that are numbers: */
	uint64_t numbers, nans; /* nans: of the numbers, those that are not a number, and so have no order */
	double sum;
	struct report_value min, max; /* the exact values */
};

struct probe_stats {
	uint64_t records;
	struct series rate;
	struct argument_stats *arguments;
	size_t narguments;
};

/* The calls of a function, everywhere or in one thread or process. */
struct call_stats {
	uint32_t function, group;             /* group: index of the thread or process */
	uint64_t uncertain;                   /* ended, but their duration is not known */
	uint64_t unended;                     /* left without a return */
	uint64_t in_flight;                   /* at the end of the trace */
	uint64_t unmatched;                   /* returns without an entry */
	double self;                          /* ns, of the calls whose duration is known */
	struct histogram durations;           /* ns, of calls whose duration is known */
	struct histogram uncertain_durations; /* ns; may be wrong */
};

/* Pairs of a function and a thread or process. */
struct cells {
	struct call_stats *cells;
	size_t n, room;
	struct index_table by_key;
	uint64_t other; /* calls that found no room */
};

struct stats {
	const struct report_names *names;
	struct probe_stats *probes; /* by the probe's index */
	size_t nprobes, probes_room;
	struct call_stats *functions; /* by the function's index */
	size_t nfunctions, functions_room;
	struct cells threads, processes;
	uint64_t *thread_records; /* by the thread's index */
	size_t nthreads, threads_room;
	struct series rate;
	struct top_budget budget;
	uint64_t records, lost;
	bool is_lost_unknown; /* records are missing whose number is unknown */
	int64_t begin, end;
};

void stats_init(struct stats *stats, const struct report_names *names);
void stats_release(struct stats *stats);
/* Makes the consumer that fills stats. */
struct report_consumer stats_consumer(struct stats *stats);

/* Sorts values, and makes the intervals of all series as wide as the widest. Call it after the trace was read. */
void stats_finish(struct stats *stats);

/* Returns all calls that were counted: ended, uncertain, unended and in flight. */
uint64_t call_stats_calls(const struct call_stats *calls);

#endif
