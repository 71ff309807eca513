/* SPDX-License-Identifier: MIT */
/*
 * The series of one session, at most METRICS_SERIES or what --max-series says:
 *
 * 1. Half of them are for probes and tables of aggregates. Probes that find no room are added up in series with
 *    other="probes". Tables that find none are left out.
 * 2. The other half are for processes of probes and for keys of tables, one of each in turn. Those that find no room are added
 *    up in series with other="processes" and other="keys" of their probe or table.
 *
 * So the series of all probes, all processes of a probe, and all keys of a table add up to their totals.
 */
#include <stdlib.h>

#include "cmd/alloc.h"
#include "cmd/metrics-internal.h"

enum { GROUP_ROWS, GROUP_TABLES };

/* The counts of a row, in the order of the families from METRIC_HITS on. */
static const size_t count_at[] = {
	[METRIC_HITS - METRIC_HITS] = offsetof(struct pp_counts, hits),
	[METRIC_FILTERED - METRIC_HITS] = offsetof(struct pp_counts, filtered),
	[METRIC_IDLE - METRIC_HITS] = offsetof(struct pp_counts, idle),
	[METRIC_RECORDED - METRIC_HITS] = offsetof(struct pp_counts, recorded),
	[METRIC_LOST - METRIC_HITS] = offsetof(struct pp_counts, lost),
	[METRIC_CALLS - METRIC_HITS] = offsetof(struct pp_counts, entries),
	[METRIC_MISSED - METRIC_HITS] = offsetof(struct pp_counts, missed),
	[METRIC_ABANDONED - METRIC_HITS] = offsetof(struct pp_counts, abandoned),
	[METRIC_IN_FLIGHT - METRIC_HITS] = offsetof(struct pp_counts, under_way),
	[METRIC_UNMATCHED - METRIC_HITS] = offsetof(struct pp_counts, unmatched),
};

#define NCOUNTS (sizeof(count_at) / sizeof(*count_at))
#define ROW_SERIES (NCOUNTS + 3) /* and the two numbers of sites, and other processes */
#define FLIGHT_SERIES 1          /* additional series of a flight recorder */

static const char *row_labels(struct metrics *m, const char *session, const struct count_row *row)
{
	const char *labels = metrics_label(m, session, "probe", row->probe);

	labels = metrics_label(m, labels, "file", row->file);
	labels = metrics_label(m, labels, "build_id", pp_stat_build_id(row->stat, row->at));
	labels = metrics_label(m, labels, "backend", row->backend);
	if (row->pid)
		labels = metrics_label_int(m, labels, "pid", row->pid, false);
	if (row->pid_namespace)
		labels = metrics_label_int(m, labels, "pid_namespace", row->pid_namespace, true);
	return labels;
}

/* Samples with the same labels are added up by metrics_finish(). */
static void row_put(struct metrics *m, const char *labels, const struct count_row *row, bool is_flight)
{
	for (size_t i = 0; i < NCOUNTS; i++)
		metrics_add_uint(m, METRIC_HITS + i, labels,
		                 *(const uint64_t *)((const char *)&row->counts + count_at[i]));
	/* A gauge: the number can decrease, because it is computed from two counts that are taken one after the other. */
	if (is_flight)
		metrics_add_uint(m, METRIC_OVERWRITTEN, labels, row->counts.overwritten);
	metrics_add_uint(m, METRIC_SITES, labels, row->sites);
	metrics_add_uint(m, METRIC_STOPPED_SITES, labels, row->over_budget);
}

/* ---- processes ---- */

/* The group of a process is the number of tables plus the number of its row. */
static void row_add_processes(struct metrics *m, const char *labels, const struct count_row *row, size_t group,
                              struct metric_members *members)
{
	for (size_t i = 0; i < pp_stat_processes(row->stat, row->at); i++) {
		uint64_t hits;
		pid_t pid = pp_stat_process(row->stat, row->at, i, &hits);

		members_add(members, &(struct metric_member){ .labels = metrics_label_int(m, labels, "pid", pid, false),
		                                              .cost = 1,
		                                              .rank = i,
		                                              .group = group,
		                                              .at = i });
	}
}

struct session_metrics {
	struct metrics *m;
	const struct reading *reading;
	const char *labels;
	const char **row_labels; /* NULL: the row has no series of its own */
	struct table_metrics *tables;
	size_t ntables;
};

static void process_put(struct session_metrics *s, const struct metric_member *process)
{
	size_t row = process->group - s->ntables;
	const struct count_row *r = &s->reading->rows[row];
	const char *labels =
		process->own ? process->labels : metrics_label(s->m, s->row_labels[row], "other", "processes");
	uint64_t hits;

	pp_stat_process(r->stat, r->at, process->at, &hits);
	metrics_add_uint(s->m, METRIC_PROCESS_HITS, labels, hits);
}

/* Adds the hits of the processes that the session does not know one by one. */
static void processes_put_other(struct session_metrics *s)
{
	for (size_t i = 0; i < s->reading->n; i++) {
		const struct count_row *row = &s->reading->rows[i];

		if (!row->pid && s->row_labels[i])
			metrics_add_uint(s->m, METRIC_PROCESS_HITS,
			                 metrics_label(s->m, s->row_labels[i], "other", "processes"),
			                 row->counts.other);
	}
}

/* ---- probes, tables, processes and keys ---- */

static void other_put(struct session_metrics *s, const char *what, size_t n)
{
	metrics_add_uint(s->m, METRIC_OTHER_MEMBERS, metrics_label(s->m, s->labels, "other", what), n);
}

/* Adds the series of probes, and takes tables. */
static void session_put_rows(struct session_metrics *s)
{
	const char *other = metrics_label(s->m, s->labels, "other", "probes");
	bool is_flight = s->reading->flight;
	size_t left_out[2] = { 0 };
	struct metric_members members = { 0 };

	for (size_t i = 0; i < s->reading->n; i++)
		members_add(&members,
		            &(struct metric_member){ .labels = row_labels(s->m, s->labels, &s->reading->rows[i]),
		                                     .cost = ROW_SERIES + is_flight * FLIGHT_SERIES,
		                                     .rank = i,
		                                     .group = GROUP_ROWS,
		                                     .at = i });
	tables_add_members(s->tables, &members, GROUP_TABLES);
	members_choose(s->m, &members, s->m->series / 2);
	for (size_t i = 0; i < members.n; i++) {
		const struct metric_member *member = &members.list[i];

		left_out[member->group] += !member->own;
		if (member->group == GROUP_TABLES && member->own)
			s->tables->tables[member->at].taken = true;
		if (member->group == GROUP_TABLES)
			continue;
		s->row_labels[member->at] = member->own ? member->labels : NULL;
		row_put(s->m, member->own ? member->labels : other, &s->reading->rows[member->at], is_flight);
	}
	other_put(s, "probes", left_out[GROUP_ROWS]);
	other_put(s, "tables", left_out[GROUP_TABLES]);
	free(members.list);
}

/* Adds the series of processes and keys. */
static void session_put_members(struct session_metrics *s)
{
	struct metric_members members = { 0 };
	size_t keys = 0, processes = 0;

	tables_add_keys(s->tables, &members);
	for (size_t i = 0; i < s->reading->n; i++)
		if (s->row_labels[i])
			row_add_processes(s->m, s->row_labels[i], &s->reading->rows[i], s->ntables + i, &members);
	members_choose(s->m, &members, s->m->series - s->m->series / 2);
	for (size_t i = 0; i < members.n; i++) {
		const struct metric_member *member = &members.list[i];
		bool is_key = member->group < s->ntables;

		keys += is_key && !member->own;
		processes += !is_key && !member->own;
		if (is_key)
			tables_put_key(s->tables, member);
		else
			process_put(s, member);
	}
	processes_put_other(s);
	tables_put_rest(s->tables);
	other_put(s, "keys", keys);
	other_put(s, "processes", processes);
	free(members.list);
}

/* ---- the session as a whole ---- */

static void session_put_cost(struct metrics *m, const char *labels, const struct reading *reading)
{
	metrics_add_uint(m, METRIC_UNCOUNTED, labels, pp_stat_uncounted(reading->stat));
	if (reading->limit > 0) {
		metrics_add_double(m, METRIC_BUDGET, labels, reading->limit);
		metrics_add_uint(m, METRIC_WATCHED, labels, reading->watched);
	}
	if (!reading->has_cost)
		return;
	metrics_add_double(m, METRIC_COST, labels, reading->cost.share);
	metrics_add_double(m, METRIC_COST_TRAP, labels, reading->cost.trap_ns / 1e9);
	metrics_add_double(m, METRIC_COST_PROGRAM, labels, reading->cost.program_ns / 1e9);
	metrics_add_double(m, METRIC_COST_CALL, labels, reading->cost.call_ns / 1e9);
}

void metrics_add_session(struct metrics *m, const char *session, const struct reading *reading)
{
	struct session_metrics s = { .m = m, .reading = reading };

	/* A private session has no name. */
	s.labels = metrics_label(m, NULL, "session", session && *session ? session : "private");
	s.row_labels = xcalloc(reading->n + 1, sizeof(*s.row_labels));
	s.ntables = pp_aggregates_tables(reading->aggregates);
	s.tables = tables_new(m, s.labels, reading->aggregates);
	session_put_cost(m, s.labels, reading);
	session_put_rows(&s);
	session_put_members(&s);
	tables_free(s.tables);
	free(s.row_labels);
}
