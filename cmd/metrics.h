/* SPDX-License-Identifier: MIT */
/*
 * The counts of sessions as metric families, which metrics-text.h and export/protobuf.c write.
 *
 * A set of metrics has a fixed list of families. A family has samples, each with labels that no other sample of the family
 * has. Labels are kept as the text that both text formats have: NAME="VALUE",NAME="VALUE". Label values are UTF-8:
 * control characters and bytes that are not UTF-8 are escaped as in C, and backslashes doubled, so that values that differ
 * stay different.
 */
#ifndef CMD_METRICS_H
#define CMD_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmd/stat-reading.h"

#define METRICS_SERIES 10000   /* of a session, unless --max-series says otherwise */
#define METRICS_SERIES_MIN 100 /* smallest --max-series */
#define METRICS_SERIES_MAX 1000000

enum metric_family_id {
	METRIC_BUILD,
	METRIC_SESSIONS,
	METRIC_UNREAD_SESSIONS,
	METRIC_READ_SECONDS,
	METRIC_HITS,
	METRIC_FILTERED,
	METRIC_IDLE,
	METRIC_RECORDED,
	METRIC_LOST,
	METRIC_CALLS,
	METRIC_MISSED,
	METRIC_ABANDONED,
	METRIC_IN_FLIGHT,
	METRIC_UNMATCHED,
	METRIC_OVERWRITTEN,
	METRIC_SITES,
	METRIC_STOPPED_SITES,
	METRIC_PROCESS_HITS,
	METRIC_VALUES,
	METRIC_AMOUNT,
	METRIC_SIGNED_AMOUNT,
	METRIC_MINIMUM,
	METRIC_MAXIMUM,
	METRIC_AVERAGE,
	METRIC_DISTRIBUTION,
	METRIC_SIGNED_DISTRIBUTION,
	METRIC_LINEAR_DISTRIBUTION,
	METRIC_PERCENTILE,
	METRIC_UNPLACED_VALUES,
	METRIC_UNPLACED_AMOUNT,
	METRIC_OTHER_MEMBERS,
	METRIC_UNCOUNTED,
	METRIC_BUDGET,
	METRIC_WATCHED,
	METRIC_COST,
	METRIC_COST_TRAP,
	METRIC_COST_PROGRAM,
	METRIC_COST_CALL,
	METRIC_FAMILIES
};

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* A range of a histogram's values and their number, not cumulative. high of the last range may be INFINITY. */
struct metric_bucket {
	double low, high;
	uint64_t count;
};

/* How native histograms can represent the values. */
enum metric_scale { METRIC_NO_SCALE, METRIC_POWERS, METRIC_FINE };

struct metric_histogram {
	const double *bounds; /* ascending upper bounds of classic buckets, without +Inf; shared */
	size_t nbounds;
	struct metric_bucket *buckets; /* those that were hit, ascending */
	size_t nbuckets;
	uint64_t count;
	double sum;
	bool has_sum; /* no value is negative, and the sum cannot have wrapped */
	enum metric_scale scale;
};

enum metric_kind { METRIC_UINT, METRIC_INT, METRIC_DOUBLE };

struct metric_sample {
	const char *labels;
	enum metric_kind kind;
	union {
		uint64_t u;
		int64_t i;
		double d;
	};
	struct metric_histogram *histogram; /* of a METRIC_HISTOGRAM */
};

struct metric_about {
	const char *name, *unit, *help; /* unit "": none */
	enum metric_type type;
	enum { METRIC_ADD, METRIC_LEAST, METRIC_GREATEST } merge; /* of samples that would have the same labels */
};

struct metric_family {
	const struct metric_about *about;
	struct metric_sample *samples;
	size_t n, room;
};

struct metrics;

/*
 * Makes an empty set. series: the most series of a session, except a few for the session as a whole. If there is an earlier
 * set, probes, processes and keys that had series of their own in it keep them, so that the series of the others never
 * decrease. The caller frees both.
 */
struct metrics *metrics_new(size_t series, const struct metrics *before);
void metrics_free(struct metrics *m);

/* Adds the counts, aggregates and cost of a session. */
void metrics_add_session(struct metrics *m, const char *session, const struct reading *reading);
/* Adds METRIC_BUILD, and what an exporter knows. seconds: the time that reading took. */
void metrics_add_build(struct metrics *m);
void metrics_add_export(struct metrics *m, size_t sessions, size_t unread, double seconds);
/* Sorts the samples of each family, and merges those with equal labels. Call it once, before reading. */
void metrics_finish(struct metrics *m);

/* Returns a family. It has no samples if there is nothing to say. */
const struct metric_family *metrics_family(const struct metrics *m, enum metric_family_id id);

#endif
