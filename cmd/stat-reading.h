/* SPDX-License-Identifier: MIT */
/* A reading of a session's counts, and the selection and order of its rows. */
#ifndef CMD_STAT_READING_H
#define CMD_STAT_READING_H

#include <probepoint.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmd/aggregates.h"
#include "cmd/arming.h"
#include "cmd/options.h"
#include "cmd/sample.h"

/* The order of rows. Rows that are equal in it are ordered by name. */
enum stat_order { STAT_BY_HITS, STAT_BY_RATE, STAT_BY_LOST, STAT_BY_NAME, STAT_BY_P50, STAT_BY_P99 };

enum stat_metrics { STAT_NO_METRICS, STAT_OPENMETRICS, STAT_PROMETHEUS };

struct stat_command {
	struct options options;
	struct arming arming;
	struct pp_session *session; /* the private session; NULL: another command's, which each reading opens */
	bool is_private;            /* the command line arms probes */
	double interval;            /* seconds; 0: not given */
	uint64_t times;             /* reports; 0: no limit */
	double seconds;             /* --for; 0: not given */
	uint64_t top;               /* rows; 0: all */
	bool zeros;                 /* -a */
	enum stat_order order;
	bool ordered; /* --sort is given */
	bool percentiles;
	bool plain; /* lines also on a terminal */
	enum stat_metrics metrics;
	uint64_t max_series; /* 0: not given */
	bool folded;         /* stacks only, as flame graphs need them */
	const char **patterns;
	size_t npatterns;
};

#define STAT_TREND 60    /* rates kept for each row */
#define STAT_COST_MS 200 /* how long the cost is measured */

struct count_row {
	const struct pp_stat *stat;
	size_t at; /* the row in stat */
	const char *probe, *file, *backend;
	pid_t pid;
	size_t sites, over_budget;
	double share, limit;    /* why sites are over the budget */
	uint32_t pid_namespace; /* 0: this process's */
	enum pp_life life;
	enum pp_file_state file_state;
	struct pp_counts counts;
	struct sampling sample;
	double rate;              /* hits per second since the reading before; NAN: unknown */
	struct quantile p50, p99; /* of the probe's pct() in all processes; unknown also if not wanted */
	float *trend;             /* STAT_TREND rates, the newest last, negative if unknown; NULL: not wanted */
};

struct reading {
	struct pp_stat *stat;
	struct pp_aggregates *aggregates;
	struct count_row *rows; /* their strings belong to stat */
	size_t n;
	uint64_t time; /* ns of CLOCK_MONOTONIC */
	bool has_cost;
	struct pp_cost cost;
	double limit;          /* the budget, as a share of one CPU; 0: none */
	bool watched;          /* a process enforces the budget */
	uint64_t flight, held; /* pp_session_flight_recorder() */
	size_t hidden;         /* rows that reading_select() left out because they have no hits */
	float *trends;         /* of all rows; NULL: not wanted */
};

/* Reads the counts of the session. Returns 0 or a negative errno. The caller frees the reading. */
int reading_take(struct reading *reading, const struct stat_command *c);
void reading_free(struct reading *reading);
/* Computes the rates. trends: and each row's trend. The rows of both readings must be ordered by name. */
void reading_set_rates(struct reading *now, const struct reading *before, bool trends);

/*
 * Copies the selected rows to shown in the order of the command line, and marks the patterns that match. The caller frees
 * shown->rows. The rest of shown belongs to reading.
 */
void reading_select(const struct stat_command *c, const struct reading *reading, struct reading *shown, bool *matched);
/* Reports patterns and processes for which there is no row. Returns the exit status. */
enum status reading_report_missing(struct stat_command *c, const struct reading *shown, const bool *matched);

/* Returns a word for the state of the row's file. */
const char *count_row_file_word(const struct count_row *r);
/* Returns the state of the row's process or, if it is for all processes, of its file. "live": it can be hit. */
const char *count_row_state_word(const struct count_row *r);

#endif
