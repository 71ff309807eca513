/* SPDX-License-Identifier: MIT */
/* What the files that fill a set of metrics share. */
#ifndef CMD_METRICS_INTERNAL_H
#define CMD_METRICS_INTERNAL_H

#include "cmd/metrics.h"

struct metrics {
	struct metric_family families[METRIC_FAMILIES];
	size_t series; /* most of a session */
	char **texts;  /* labels, owned */
	size_t ntexts, texts_room;
	double **bounds; /* of histograms, owned */
	size_t nbounds;
	char **kept; /* labels of the members that have series of their own; sorted by metrics_finish() */
	size_t nkept, kept_room;
	const struct metrics *before; /* NULL: none */
};

/* Returns base and one more label. The set owns the text. base may be NULL. A label without a value is left out. */
const char *metrics_label(struct metrics *m, const char *base, const char *name, const char *value);
const char *metrics_label_n(struct metrics *m, const char *base, const char *name, const char *value, size_t length);
const char *metrics_label_int(struct metrics *m, const char *base, const char *name, int64_t value, bool is_unsigned);

void metrics_add_uint(struct metrics *m, enum metric_family_id id, const char *labels, uint64_t value);
void metrics_add_int(struct metrics *m, enum metric_family_id id, const char *labels, int64_t value, bool is_unsigned);
void metrics_add_double(struct metrics *m, enum metric_family_id id, const char *labels, double value);
/* The set owns the histogram and its buckets. */
void metrics_add_histogram(struct metrics *m, enum metric_family_id id, const char *labels,
                           struct metric_histogram *histogram);

/* ---- which members get series of their own ---- */

/* A probe, a process or a key. */
struct metric_member {
	const char *labels;
	size_t cost;            /* series */
	size_t rank, group, at; /* of equal rank: the lower group first; at is the caller's */
	bool own;               /* chosen */
};

struct metric_members {
	struct metric_member *list;
	size_t n, room;
};

void members_add(struct metric_members *members, const struct metric_member *member);
/*
 * Chooses members, at most `series` series in all: first those that were chosen in the set before, then by rank and group.
 * The members are in this order afterwards.
 */
void members_choose(struct metrics *m, struct metric_members *members, size_t series);

/* ---- tables of aggregates ---- */

/* A call of a table. */
struct table_call {
	enum pp_function function;
	const char *text;
	double *bounds; /* of a histogram */
	size_t nbounds;
	bool has_negative; /* values */
	bool is_signed;    /* sums can be negative, or may have wrapped */
};

struct one_table {
	const char *labels;
	bool taken; /* it has series */
	size_t ncalls, key_series;
	struct table_call *calls;
};

struct table_metrics {
	struct metrics *m;
	const struct pp_aggregates *aggregates;
	struct one_table *tables;
	size_t n;
};

/* Makes the tables of a session, which has these labels. The caller frees them. */
struct table_metrics *tables_new(struct metrics *m, const char *labels, const struct pp_aggregates *aggregates);
void tables_free(struct table_metrics *tables);
void tables_add_members(struct table_metrics *tables, struct metric_members *members, size_t group);
/* Adds the keys of the tables that were taken. The group of a key is its table. */
void tables_add_keys(struct table_metrics *tables, struct metric_members *members);

/* Adds the series of a key of a table, or adds it to those of the table's other keys. */
void tables_put_key(struct table_metrics *tables, const struct metric_member *key);
/* Adds the series of values that are in no key. */
void tables_put_rest(struct table_metrics *tables);

/* Return whether values are negative, and whether they are so large that their sum may have wrapped. */
bool values_are_signed(const struct pp_values *v);
bool values_may_wrap(const struct pp_values *v);

#endif
