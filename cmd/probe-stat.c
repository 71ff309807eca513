/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/signals.h"
#include "cmd/options.h"
#include "cmd/ui.h"
#include "cmd/escape.h"

struct stat_command {
	struct options options;
	double interval; /* seconds; 0: once */
	long times;      /* 0: for ever */
	long top;        /* rows; 0: all */
	bool zeros;      /* -a */
	const char **patterns;
	size_t npatterns;
};

enum { KEY_TOP = 0x200 };

static const struct argp_option own[] = {
	{ "interval", 'i', "SECONDS", 0, "again and again, with rates", 1 },
	{ "times", 'n', "TIMES", 0, "so often (every second, without -i)", 1 },
	{ "top", KEY_TOP, "N", 0, "show only the N busiest probes", 1 },
	{ "all", 'a', 0, 0, "show also probes that were not hit", 1 },
	{ 0 },
};

static const struct argp_child children[] = {
	{ &options_pid, 0, NULL, 0 },
	{ &options_session, 0, NULL, 0 },
	{ &options_output, 0, NULL, 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct stat_command *c = state->input;
	char *end;

	switch (key) {
	case ARGP_KEY_INIT: options_children(state, children, &c->options); break;
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
	case KEY_TOP:
		errno = 0;
		c->top = strtol(arg, &end, 10);
		if (errno || end == arg || *end || c->top < 1)
			return options_wrong(state, &c->options, "--top: invalid number '%s'", arg);
		break;
	case 'a': c->zeros = true; break;
	case ARGP_KEY_ARG: return options_pattern(state, &c->options, &c->patterns, &c->npatterns, arg);
	case ARGP_KEY_END:
		if (c->times && !c->interval)
			c->interval = 1;
		else if (!c->interval)
			c->times = 1;
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp argp = {
	.options = own,
	.parser = parse,
	.args_doc = "[PATTERN...]",
	.doc = "Show how often the probes of a session were hit, the busiest first: those that match a PATTERN, or all that "
	       "were hit.",
	.children = children,
};

/* ---- one reading ---- */

struct row {
	const char *probe, *file, *backend;
	pid_t pid;
	size_t sites, over_budget;
	double share, limit; /* why they are over the budget */
	const struct pp_stat *of;
	size_t at; /* in the stat */
	enum pp_life life;
	enum pp_file_state file_state;
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
	double limit;  /* the budget, as a share of one CPU; 0: none */
	bool watched;  /* a process keeps it */
	size_t hidden; /* rows that show() left out because they were not hit */
};

static void reading_free(struct reading *reading)
{
	pp_stat_free(reading->stat);
	free(reading->rows);
	*reading = (struct reading){ 0 };
}

static int by_name(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return pp_stat_order(x->of, x->at, y->of, y->at);
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
	reading->has_cost = options->verbose && !pp_session_cost(session, COST_MS, &reading->cost, sizeof(reading->cost));
	err = pp_session_stat(session, &reading->stat);
	reading->limit = pp_session_limit(session, &reading->watched);
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

		row->of = reading->stat;
		row->at = i;
		row->probe = pp_stat_probe(reading->stat, i);
		row->file = pp_stat_file(reading->stat, i);
		row->backend = pp_stat_backend(reading->stat, i);
		row->pid = pp_stat_pid(reading->stat, i);
		row->life = pp_stat_life(reading->stat, i);
		row->file_state = pp_stat_file_state(reading->stat, i);
		row->sites = pp_stat_sites(reading->stat, i);
		row->over_budget = pp_stat_stopped(reading->stat, i, &row->share, &row->limit);
		pp_stat_counts(reading->stat, i, &row->counts, sizeof(row->counts));
	}
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
		row->rate = old && seconds > 0 && row->counts.hits >= old->counts.hits
		                    ? (row->counts.hits - old->counts.hits) / seconds
		                    : NAN;
	}
}

/* ---- showing it ---- */

/* JSON: what became of the row's process, or of the file that it waits for; "live" where it can be hit. */
static const char *state_word(const struct row *r)
{
	static const char *const of_process[] = { "live", "ended", "pid reused" };
	static const char *const of_file[] = { "live", "file replaced", "file deleted" };

	return r->pid ? of_process[r->life] : of_file[r->file_state];
}

static const char *file_word(const struct row *r)
{
	static const char *const words[] = { "present", "replaced", "deleted" };

	return words[r->file_state];
}

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

static void put_json(struct options *o, const struct reading *reading)
{
	json_object *probes = json_object_new_array(), *document;

	for (size_t i = 0; i < reading->n; i++) {
		const struct row *r = &reading->rows[i];

		json_object *row = json_of(
			"probe", text_json(r->probe), "pid", r->pid ? json_object_new_int(r->pid) : NULL, "file",
			text_json(r->file), "backend", text_json(r->backend), "state", text_json(state_word(r)),
			"file_state", text_json(file_word(r)), "sites", json_object_new_uint64(r->sites), "hits",
			json_object_new_uint64(r->counts.hits), "filtered", json_object_new_uint64(r->counts.filtered),
			"idle", json_object_new_uint64(r->counts.idle), "recorded",
			json_object_new_uint64(r->counts.recorded), "lost", json_object_new_uint64(r->counts.lost),
			"missed", json_object_new_uint64(r->counts.missed), "entries",
			json_object_new_uint64(r->counts.entries), "under_way",
			json_object_new_uint64(r->counts.under_way), "abandoned",
			json_object_new_uint64(r->counts.abandoned), NULL);

		if (!r->pid)
			add_processes(row, reading->stat, r);
		if (r->over_budget) {
			json_object_object_add(row, "over_budget", json_object_new_uint64(r->over_budget));
			json_object_object_add(row, "stopped",
			                       json_of("cpu_share", json_object_new_double(r->share), "limit",
			                               json_object_new_double(r->limit), NULL));
		}
		json_object_array_add(probes, row);
	}
	document =
		json_of("session", text_json(options_session_name(o)), "time", json_object_new_uint64(reading->time),
	                "probes", probes, "uncounted", json_object_new_uint64(pp_stat_uncounted(reading->stat)), NULL);
	if (reading->limit > 0 && (o->verbose || !reading->watched))
		json_object_object_add(document, "budget",
		                       json_of("cpu_share", json_object_new_double(reading->limit), "watched",
		                               json_object_new_boolean(reading->watched), NULL));
	if (reading->has_cost)
		json_object_object_add(document, "cost",
		                       json_of("hits", json_object_new_uint64(reading->cost.hits), "trap_ns",
		                               json_object_new_double(reading->cost.trap_ns), "program_ns",
		                               json_object_new_double(reading->cost.program_ns), "cpu_share",
		                               json_object_new_double(reading->cost.share), "call_ns",
		                               json_object_new_double(reading->cost.call_ns), NULL));
	if (o->complaint)
		json_object_object_add(document, "error", complaint_take(o));
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
	{ "MISSED", offsetof(struct pp_counts, missed), RETURNS },
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

static bool is_pid_asked_for(const struct options *o, pid_t pid)
{
	for (size_t i = 0; i < o->npids; i++)
		if (o->pids[i] == pid)
			return true;
	return !o->npids;
}

static void put_processes(const struct options *o, const struct pp_stat *stat, const struct row *r)
{
	for (size_t i = 0; i < pp_stat_processes(stat, r->at); i++) {
		uint64_t hits;
		pid_t pid = pp_stat_process(stat, r->at, i, &hits);

		if (is_pid_asked_for(o, pid))
			printf("%12" PRIu64 "  of these, pid %d\n", hits, pid);
	}
	if (r->counts.other && o->verbose)
		printf("%12" PRIu64 "  of these, other processes\n", r->counts.other);
}

/* Why the row is not what it was when it was armed, after its file. */
static void put_state(const struct row *r)
{
	if (r->file_state != PP_FILE_PRESENT)
		printf(" (%s)", file_word(r));
	if (r->life == PP_ENDED)
		fputs("  process has ended", stdout);
	else if (r->life == PP_OTHER)
		fputs("  process has ended, another has its pid", stdout);
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
		if (r->over_budget)
			printf("  stopped: cost %.0f %% of a CPU (limit %g %%)", 100 * r->share, 100 * r->limit);
		put_state(r);
		putchar('\n');
		if ((o->verbose || o->npids) && !r->pid)
			put_processes(o, reading->stat, r);
	}
}

enum { STOPPED_SHOWN = 5 };

/* What there is to say beside the table. What was stopped is told of all rows, whichever are shown. */
static void remarks(const struct options *o, const struct reading *all, const struct reading *reading)
{
	const struct pp_cost *cost = &reading->cost;
	size_t stopped = 0, dead = 0;

	for (size_t i = 0; i < all->n; i++) {
		stopped += all->rows[i].over_budget != 0;
		dead += all->rows[i].life != PP_LIVES;
	}
	for (size_t i = 0; i < all->n; i++) {
		const struct row *r = &all->rows[i];

		if (r->over_budget && (stopped <= STOPPED_SHOWN || o->verbose))
			remark(o,
			       "%zu site%s of %s %s disarmed: over the budget (cost %.0f %% of a CPU, limit %g %%); it is not "
			       "counted any more",
			       r->over_budget, plural(r->over_budget), r->probe, r->over_budget == 1 ? "was" : "were",
			       100 * r->share, 100 * r->limit);
	}
	if (stopped > STOPPED_SHOWN && !o->verbose)
		remark(o, "%zu probes were disarmed over the budget, and are not counted any more", stopped);
	if (reading->limit > 0 && !reading->watched)
		remark(o,
		       "no process keeps the budget of %g %% of a CPU any more: the next probe-enable in this session starts "
		       "one",
		       100 * reading->limit);
	if (reading->hidden)
		remark(o, "%zu probe%s without hits %s not shown: -a shows all", reading->hidden,
		       plural(reading->hidden), reading->hidden == 1 ? "is" : "are");
	if (dead && dead == all->n)
		remark(o, "session '%s' is dead: all its processes have ended; probe-disable -s %s removes it",
		       options_session_name(o), options_session_name(o));
	if (reading->has_cost && cost->hits)
		remark(o,
		       "a hit costs %.0f ns (the trap %.0f, the program %.0f); in the last %.1f s the session took %.2f %% of "
		       "a CPU",
		       cost->trap_ns + cost->program_ns, cost->trap_ns, cost->program_ns, COST_MS / 1e3,
		       100 * cost->share);
	else if (reading->has_cost)
		remark(o, "the trap of a hit costs %.0f ns; there was none in the last %.1f s", cost->trap_ns,
		       COST_MS / 1e3);
	if (reading->has_cost && cost->call_ns > 0)
		remark(o,
		       "durations exclude the cost of the traps (up to %.0f ns a call), and include that of other sessions' probes",
		       cost->call_ns);
}

static bool has_process(const struct reading *reading, const struct row *row, pid_t pid)
{
	uint64_t hits;

	for (size_t i = 0; !row->pid && i < pp_stat_processes(reading->stat, row->at); i++)
		if (pp_stat_process(reading->stat, row->at, i, &hits) == pid)
			return true;
	return row->pid == pid;
}

static bool is_asked_for(const struct stat_command *c, const struct reading *reading, const struct row *row,
                         bool *matched)
{
	bool by_pattern = !c->npatterns, by_pid = !c->options.npids;

	for (size_t i = 0; i < c->npatterns; i++)
		if (pp_name_matches(row->probe, c->patterns[i]))
			by_pattern = matched[i] = true;
	for (size_t i = 0; i < c->options.npids && !by_pid; i++)
		by_pid = has_process(reading, row, c->options.pids[i]);
	return by_pattern && by_pid;
}

/* Whether the table shows a row that was not asked for by its name. */
static bool is_worth(const struct row *row)
{
	return row->counts.hits || row->counts.entries || row->over_budget || row->life != PP_LIVES ||
	       row->file_state != PP_FILE_PRESENT;
}

/* The rows asked for, the busiest first, in rows[]; their number. False in matched[]: no row matches this pattern. */
static size_t choose(const struct stat_command *c, const struct reading *reading, struct row *rows, bool *matched,
                     size_t *hidden)
{
	size_t n = 0;

	*hidden = 0;
	for (size_t i = 0; i < reading->n; i++) {
		if (!is_asked_for(c, reading, &reading->rows[i], matched))
			continue;
		if (c->zeros || c->options.json || c->npatterns || is_worth(&reading->rows[i]))
			rows[n++] = reading->rows[i];
		else
			++*hidden;
	}
	if (!c->options.json || c->top)
		qsort(rows, n, sizeof(*rows), by_hits);
	return c->top && (size_t)c->top < n ? (size_t)c->top : n;
}

static enum status show(struct stat_command *c, struct reading *reading, bool rates, bool first)
{
	struct reading shown = *reading;
	bool *matched = calloc(c->npatterns + 1, sizeof(*matched));
	size_t uncounted = pp_stat_uncounted(reading->stat), missing = 0;

	shown.rows = calloc(reading->n + 1, sizeof(*shown.rows));
	if (!matched || !shown.rows)
		no_memory();
	shown.n = choose(c, reading, shown.rows, matched, &shown.hidden);
	for (size_t i = 0; i < c->npatterns; i++)
		if (!matched[i]) {
			complain(&c->options, "no probe in session '%s' matches '%s'",
			         options_session_name(&c->options), c->patterns[i]);
			missing++;
		}
	if (c->options.npids && !shown.n && !shown.hidden && !missing) {
		complain(&c->options, "session '%s' has no probe%s that is armed for %s%d alone, or that %s has hit",
		         options_session_name(&c->options), c->npatterns ? " of these" : "",
		         c->options.npids > 1 ? "one of these processes, as pid " : "pid ", c->options.pids[0],
		         c->options.npids > 1 ? "one of them" : "it");
		missing = c->npatterns + 1; /* nothing was found */
	}
	if (c->options.json) {
		put_json(&c->options, &shown);
	} else {
		put_table(&c->options, &shown, rates);
		if (!first)
			shown.hidden = 0; /* told already */
		if (uncounted)
			remark(&c->options,
			       "%zu process%s ended uncounted: killed, or by _exit(2), while nobody kept what %s counted",
			       uncounted, uncounted == 1 ? "" : "es", uncounted == 1 ? "it" : "they");
		remarks(&c->options, reading, &shown);
	}
	free(matched);
	free(shown.rows);
	return !missing ? STATUS_DONE : missing < c->npatterns ? STATUS_PART : STATUS_FAILED;
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
		status = show(c, &now, c->interval > 0, !i);
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
