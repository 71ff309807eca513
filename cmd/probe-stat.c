/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/interrupt.h"
#include "cmd/options.h"
#include "cmd/output.h"
#include "cmd/text.h"

struct stat_command {
	struct options options;
	double interval; /* seconds; 0: once */
	long times;      /* 0: for ever */
};

static const struct argp_option own[] = {
	{ "interval", 'i', "SECONDS", 0, "again and again, with rates", 1 },
	{ "times", 'n', "TIMES", 0, "so often (every second, without -i)", 1 },
	{ 0 },
};

static const struct argp_child children[] = {
	{ &options_session, 0, NULL, 0 },
	{ &options_output, 0, NULL, 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct stat_command *c = state->input;
	char *end;

	switch (key) {
	case ARGP_KEY_INIT:
		options_children(state, children, &c->options);
		break;
	case 'i':
		c->interval = strtod(arg, &end);
		if (end == arg || *end || !(c->interval >= 0.001 && c->interval <= 1e6))
			return options_wrong(state, &c->options, "'%s' is no interval: seconds, 0.001 or more", arg);
		break;
	case 'n':
		errno = 0;
		c->times = strtol(arg, &end, 10);
		if (errno || end == arg || *end || c->times < 1)
			return options_wrong(state, &c->options, "'%s' is no number of times", arg);
		break;
	case ARGP_KEY_ARG:
		return options_wrong(state, &c->options, "'%s' is one argument too many; -s names a session", arg);
	case ARGP_KEY_END:
		if (c->times && !c->interval)
			c->interval = 1;
		else if (!c->interval)
			c->times = 1;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp argp = {
	.options = own,
	.parser = parse,
	.doc = "Show how often the probes of a session were hit, the busiest first.",
	.children = children,
};

/* ---- one reading ---- */

struct row {
	const char *probe, *file, *backend;
	pid_t pid;
	size_t sites, over_budget;
	size_t at; /* in the stat */
	struct pp_counts counts;
	double rate; /* hits a second since the reading before; NAN: not known */
};

struct reading {
	struct pp_stat *stat;
	struct row *rows; /* its strings are the stat's */
	size_t n;
	uint64_t time; /* ns, CLOCK_MONOTONIC */
	bool has_cost;
	struct pp_cost cost;
};

static void reading_free(struct reading *reading)
{
	pp_stat_free(reading->stat);
	free(reading->rows);
	*reading = (struct reading){ 0 };
}

/* In the order of pp_session_stat(). */
static int by_name(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int order = strcmp(x->probe, y->probe);

	if (!order)
		order = strcmp(x->file, y->file);
	return order ? order : (x->pid > y->pid) - (x->pid < y->pid);
}

static int by_hits(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->counts.hits != y->counts.hits)
		return x->counts.hits < y->counts.hits ? 1 : -1;
	return by_name(a, b);
}

#define COST_MS 200 /* for so long it is measured */

static int reading_take(struct reading *reading, const struct options *options, const char *name)
{
	struct pp_session *session;
	struct timespec now;
	int err = pp_session_open(name, false, &session);

	if (err)
		return err;
	reading->has_cost = options->verbose && !pp_session_cost(session, COST_MS, &reading->cost);
	err = pp_session_stat(session, &reading->stat);
	pp_session_close(session);
	remark_notices(options);
	if (err)
		return err;
	clock_gettime(CLOCK_MONOTONIC, &now);
	reading->time = now.tv_sec * 1000000000ull + now.tv_nsec;
	reading->n = pp_stat_rows(reading->stat);
	reading->rows = calloc(reading->n + 1, sizeof(*reading->rows));
	if (!reading->rows)
		no_memory();
	for (size_t i = 0; i < reading->n; i++) {
		struct row *row = &reading->rows[i];

		row->at = i;
		row->probe = pp_stat_probe(reading->stat, i);
		row->file = pp_stat_file(reading->stat, i);
		row->backend = pp_stat_backend(reading->stat, i);
		row->pid = pp_stat_pid(reading->stat, i);
		row->sites = pp_stat_sites(reading->stat, i);
		row->over_budget = pp_stat_over_budget(reading->stat, i);
		pp_stat_counts(reading->stat, i, &row->counts);
	}
	qsort(reading->rows, reading->n, sizeof(*reading->rows), by_name);
	return 0;
}

/* Both in the order of names. */
static void reading_rates(struct reading *now, const struct reading *before)
{
	double seconds = (now->time - before->time) / 1e9;

	for (size_t i = 0; i < now->n; i++) {
		struct row *row = &now->rows[i];
		const struct row *old = NULL;

		if (before->n)
			old = bsearch(row, before->rows, before->n, sizeof(*row), by_name);
		row->rate = old && seconds > 0 && row->counts.hits >= old->counts.hits ?
				    (row->counts.hits - old->counts.hits) / seconds :
				    NAN;
	}
}

/* ---- showing it ---- */

/* Hits by process, of a row that is for all of them. */
static void add_processes(json_object *to, const struct pp_stat *stat, const struct row *r)
{
	json_object *processes = json_object_new_array();

	for (size_t i = 0; i < pp_stat_processes(stat, r->at); i++) {
		uint64_t hits;
		pid_t pid = pp_stat_process(stat, r->at, i, &hits);

		json_object_array_add(processes, json_of("pid", json_object_new_int(pid), "hits",
		                                         json_object_new_uint64(hits), NULL));
	}
	json_object_object_add(to, "processes", processes);
	json_object_object_add(to, "other", json_object_new_uint64(r->counts.other));
}

static void put_json(const char *session, const struct reading *reading)
{
	json_object *probes = json_object_new_array(), *document;

	for (size_t i = 0; i < reading->n; i++) {
		const struct row *r = &reading->rows[i];

		json_object *row = json_of("probe", text_json(r->probe),
		                           "pid", r->pid ? json_object_new_int(r->pid) : NULL,
		                           "file", text_json(r->file),
		                           "backend", text_json(r->backend),
		                           "sites", json_object_new_uint64(r->sites),
		                           "hits", json_object_new_uint64(r->counts.hits),
		                           "filtered", json_object_new_uint64(r->counts.filtered),
		                           "idle", json_object_new_uint64(r->counts.idle),
		                           "recorded", json_object_new_uint64(r->counts.recorded),
		                           "lost", json_object_new_uint64(r->counts.lost),
		                           "missed", json_object_new_uint64(r->counts.missed),
		                           "entries", json_object_new_uint64(r->counts.entries),
		                           "under_way", json_object_new_uint64(r->counts.under_way),
		                           "abandoned", json_object_new_uint64(r->counts.abandoned), NULL);

		if (!r->pid)
			add_processes(row, reading->stat, r);
		if (r->over_budget)
			json_object_object_add(row, "over_budget", json_object_new_uint64(r->over_budget));

		json_object_array_add(probes, row);
	}
	document = json_of("session", text_json(session), "time", json_object_new_uint64(reading->time),
	                   "probes", probes, NULL);
	if (reading->has_cost)
		json_object_object_add(document, "cost", json_of(
			"hits", json_object_new_uint64(reading->cost.hits),
			"trap_ns", json_object_new_double(reading->cost.trap_ns),
			"program_ns", json_object_new_double(reading->cost.program_ns),
			"cpu_share", json_object_new_double(reading->cost.share), NULL));
	text_put_json(stdout, document);
	putchar('\n');
}

/* A count's column, left out where it is 0 in all rows; with -v not, but those of returns always. */
struct column {
	const char *title;
	size_t at; /* in struct pp_counts */
	enum { SOMETIMES, VERBOSE, RETURNS } shown;
};

static const struct column columns[] = {
	{ "FILTERED", offsetof(struct pp_counts, filtered), SOMETIMES },
	{ "IDLE", offsetof(struct pp_counts, idle), VERBOSE },
	{ "RECORDED", offsetof(struct pp_counts, recorded), SOMETIMES },
	{ "LOST", offsetof(struct pp_counts, lost), SOMETIMES },
	{ "ENTRIES", offsetof(struct pp_counts, entries), RETURNS },
	{ "MISSED", offsetof(struct pp_counts, missed), SOMETIMES },
	{ "UNDER WAY", offsetof(struct pp_counts, under_way), RETURNS },
	{ "ABANDONED", offsetof(struct pp_counts, abandoned), RETURNS },
};
#define NCOLUMNS (sizeof(columns) / sizeof(*columns))

static uint64_t value(const struct row *row, const struct column *column)
{
	return *(const uint64_t *)((const char *)&row->counts + column->at);
}

static void put_rate(double rate)
{
	if (isnan(rate))
		printf("  %10s", "-");
	else
		printf("  %10.*f", rate < 10 ? 1 : 0, rate);
}

static void put_processes(const struct pp_stat *stat, const struct row *r)
{
	for (size_t i = 0; i < pp_stat_processes(stat, r->at); i++) {
		uint64_t hits;
		pid_t pid = pp_stat_process(stat, r->at, i, &hits);

		printf("%12" PRIu64 "  of these, pid %d\n", hits, pid);
	}
	if (r->counts.other)
		printf("%12" PRIu64 "  of these, other processes\n", r->counts.other);
}

static void put_table(const struct options *o, const struct reading *reading, bool rates)
{
	bool shown[NCOLUMNS], pids = false;
	size_t width = strlen("PROBE");

	for (size_t c = 0; c < NCOLUMNS; c++) {
		shown[c] = o->verbose && columns[c].shown != RETURNS;
		for (size_t i = 0; i < reading->n && columns[c].shown != VERBOSE; i++)
			shown[c] |= value(&reading->rows[i], &columns[c]) > 0;
	}
	for (size_t i = 0; i < reading->n; i++) {
		size_t w = text_columns(reading->rows[i].probe);

		width = w > width ? w : width;
		pids |= reading->rows[i].pid > 0;
	}
	if (!o->quiet) {
		printf("%12s", "HITS");
		if (rates)
			printf("  %10s", "HITS/S");
		for (size_t c = 0; c < NCOLUMNS; c++)
			if (shown[c])
				printf("  %10s", columns[c].title);
		printf("  %6s  %-*s", "SITES", (int)width, "PROBE");
		if (pids)
			printf("  %8s", "PID");
		puts("  FILE");
	}
	for (size_t i = 0; i < reading->n; i++) {
		const struct row *r = &reading->rows[i];

		printf("%12" PRIu64, r->counts.hits);
		if (rates)
			put_rate(r->rate);
		for (size_t c = 0; c < NCOLUMNS; c++)
			if (shown[c])
				printf("  %10" PRIu64, value(r, &columns[c]));
		printf("  %6zu  ", r->sites);
		text_pad(stdout, r->probe, width);
		if (r->pid)
			printf("  %8d", r->pid);
		else if (pids)
			printf("  %8s", "any");
		fputs("  ", stdout);
		text_puts(stdout, r->file);
		putchar('\n');
		if (o->verbose && !r->pid)
			put_processes(reading->stat, r);
	}
}

/* What there is to say beside the table. */
static void remarks(const struct options *o, const struct reading *reading)
{
	const struct pp_cost *cost = &reading->cost;

	for (size_t i = 0; i < reading->n; i++)
		if (reading->rows[i].over_budget)
			remark(o, "%zu site%s of %s %s disarmed: over the budget", reading->rows[i].over_budget,
			       reading->rows[i].over_budget == 1 ? "" : "s", reading->rows[i].probe,
			       reading->rows[i].over_budget == 1 ? "was" : "were");
	if (reading->has_cost && cost->hits)
		remark(o, "a hit costs %.0f ns (the trap %.0f, the program %.0f); in the last %.1f s the session took %.2f %% of "
		          "a CPU", cost->trap_ns + cost->program_ns, cost->trap_ns, cost->program_ns, COST_MS / 1e3,
		       100 * cost->share);
	else if (reading->has_cost)
		remark(o, "the trap of a hit costs %.0f ns; there was none in the last %.1f s", cost->trap_ns, COST_MS / 1e3);
}

static void show(struct stat_command *c, struct reading *reading, bool rates)
{
	if (c->options.json) {
		put_json(options_session_name(&c->options), reading);
		return;
	}
	qsort(reading->rows, reading->n, sizeof(*reading->rows), by_hits);
	put_table(&c->options, reading, rates);
	remarks(&c->options, reading);
	qsort(reading->rows, reading->n, sizeof(*reading->rows), by_name);
}

static void pause_until(struct timespec *next, double interval)
{
	next->tv_sec += (time_t)interval;
	next->tv_nsec += (interval - (time_t)interval) * 1e9;
	if (next->tv_nsec >= 1000000000) {
		next->tv_nsec -= 1000000000;
		next->tv_sec++;
	}
	while (!interrupted && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL) == EINTR)
		;
}

static enum status run(struct stat_command *c)
{
	const char *name = options_session_name(&c->options);
	struct reading before = { 0 }, now = { 0 };
	enum status status = STATUS_DONE;
	struct timespec next;
	int err;

	clock_gettime(CLOCK_MONOTONIC, &next);
	for (long i = 0; !interrupted && (!c->times || i < c->times); i++) {
		if (i)
			pause_until(&next, c->interval);
		if (interrupted)
			break;
		err = reading_take(&now, &c->options, name);
		if (err == -ENOENT && i) {
			remark(&c->options, "session '%s' has ended", name);
			break;
		}
		if (err) {
			complain(&c->options, "%s", pp_error());
			status = err == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
			break;
		}
		reading_rates(&now, &before);
		if (i && !c->options.json)
			putchar('\n');
		show(c, &now, c->interval > 0);
		if (flush_results())
			break;
		reading_free(&before);
		before = now;
		now = (struct reading){ 0 };
	}
	reading_free(&before);
	reading_free(&now);
	return status;
}

int main(int argc, char **argv)
{
	static struct stat_command c; /* lasts as long as the program */

	options_parse(&argp, argc, argv, &c.options, &c);
	interrupt_catch();
	return finish(&c.options, run(&c));
}
