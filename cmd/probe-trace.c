/* SPDX-License-Identifier: MIT */
/*
 * Shows records, in one of two ways. (With --snapshot, snapshot.c does.)
 *
 * 1. Without PATTERNs, trace_session() reads an existing session.
 * 2. With PATTERNs, trace_private() arms them in a private session, which ends with this process. With -- COMMAND,
 *    private_run_command() first starts a child, which waits until its probes are armed.
 *
 * Both call trace_follow(), which opens the reader and the output, lets the child run the command, and reads:
 *
 * 1. trace_read_live() reads until the trace ends: by an interrupt, --count, the end of the processes or of the session, or
 *    because the reader of standard output has gone.
 * 2. pp_reader_stop() ends the recording. trace_read_rest() reads what was recorded before that.
 * 3. trace_account() computes how much was recorded and lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/alloc.h"
#include "cmd/arming.h"
#include "cmd/child.h"
#include "cmd/format-check.h"
#include "cmd/format.h"
#include "cmd/options.h"
#include "cmd/private.h"
#include "cmd/signals.h"
#include "cmd/sink.h"
#include "cmd/snapshot.h"
#include "cmd/trace-about.h"
#include "cmd/trace-counts.h"
#include "cmd/ui.h"

struct trace_command {
	struct options options;
	struct arming arming;
	const char *directory; /* -o; NULL: print */
	bool snapshot;         /* --snapshot */
	const char *trigger;   /* --trigger; NULL: not given */
	uint64_t max_size;     /* --max-size, bytes; 0: not given */
	uint64_t max_files;    /* --max-files; 0: not given */
	uint64_t limit;        /* --count; 0: not given */
	double seconds;        /* --for; 0: not given */
	double delay;          /* --delay; seconds; below 0: not given */
	const char *format;    /* --format; NULL: not given */
	const char *color;     /* --color; NULL: not given */
	bool otlp;             /* --otlp */
	const char *trace_id;  /* --trace-id; NULL: not given */
	uint64_t lost;         /* number of lost records that --otlp has reported */
	struct timespec until; /* when --for ends the trace */
	time_t second;         /* when the trace was last flushed and checked */

	struct private_session private; /* with PATTERNs */

	struct pp_session *session;
	struct pp_reader *reader;
	struct pp_trace *out; /* NULL: records go to the sink */
	struct sink sink;
	uint64_t records;          /* number of records read */
	uint64_t damaged;          /* number of lost records that were damaged */
	uint64_t removed;          /* number of records in parts that --max-files removed */
	struct json_object *armed; /* what was armed, for trace_about_write(); NULL: not known */
	size_t stopped;            /* number of sites over the budget, when last reported */
	bool limited;              /* --count ended the trace */
	bool hurried;              /* trace_read_rest() ended before it had read all records */
	bool broken;               /* reading or writing failed */
	uint64_t dropped;          /* how many of these are lost, in a private session */
	struct trace_counts before, counts;
};

enum { TICK_MS = 100 };

/* Hits may still write their records when recording ends. trace_read_rest() waits for them this often, this long. */
enum { LATE_TIMES = 50, LATE_NS = 2000000, REST_SECONDS = 10 };

/* ---- the command line ---- */

enum {
	KEY_FOR = 0x200,
	KEY_FORMAT,
	KEY_COLOR,
	KEY_DELAY,
	KEY_SNAPSHOT,
	KEY_TRIGGER,
	KEY_MAX_SIZE,
	KEY_MAX_FILES,
	KEY_OTLP,
	KEY_TRACE_ID
};

#define DELAY_DEFAULT 0.1
#define DELAY_MOST 60

static const struct argp_option trace_options[] = {
	{ "output", 'o', "DIR", 0, "write a CTF trace to the new directory DIR instead of printing", 1 },
	{ "max-size", KEY_MAX_SIZE, "SIZE", 0,
	  "with -o, begin a new trace in DIR when the last one has SIZE bytes, as in 512M (at least 1M)", 1 },
	{ "max-files", KEY_MAX_FILES, "N", 0, "with --max-size, keep the newest N traces and remove all others", 1 },
	{ "count", 'n', "COUNT", 0, "stop after COUNT records", 1 },
	{ "for", KEY_FOR, "TIME", 0, "stop after TIME, such as 500ms, 30s, 5m or 1h", 1 },
	{ "snapshot", KEY_SNAPSHOT, 0, 0,
	  "show what the flight recorder of the session has in memory (probe-enable --flight-recorder), and end", 1 },
	{ "trigger", KEY_TRIGGER, "PATTERN", 0,
	  "take the snapshot at the first hit of this probe, or at the end of the processes (exit)", 1 },
	{ "format", KEY_FORMAT, "FORMAT", 0, "print records like FORMAT, as in '{time} {comm:15} {path}'", 1 },
	{ "color", KEY_COLOR, "WHEN", 0, "print each probe in a color of its own: auto (default), always or never", 1 },
	{ "delay", KEY_DELAY, "TIME", 0,
	  "hold records back for TIME to print them in the order of time (default 100ms)", 1 },
	{ "otlp", KEY_OTLP, 0, 0,
	  "print OTLP/JSON, for a collector of OpenTelemetry: a line for each log record or span", 1 },
	{ "trace-id", KEY_TRACE_ID, "ARG", 0, "with --otlp: take the trace id from argument ARG", 1 },
	{ 0 },
};

/* Returns the first option that is about printing. NULL: none is given. */
static const char *first_printing(const struct trace_command *t)
{
	return t->format ? "--format" : t->color ? "--color" : t->otlp ? "--otlp" : t->delay >= 0 ? "--delay" : NULL;
}

/* With --otlp, lets the records of NAME__return have a duration, which arms NAME__entry as well. */
static void trace_take_durations(struct trace_command *t)
{
	struct options *o = &t->options;

	if (!t->otlp || !t->arming.npatterns || o->print || o->min_duration || o->latency[0])
		return;
	for (size_t i = 0; i < t->arming.npatterns; i++) {
		size_t length = strlen(t->arming.patterns[i]), n = strlen("__return");

		if (length < n || strcmp(t->arming.patterns[i] + length - n, "__return"))
			return;
	}
	o->filter = o->filter ? xasprintf("(%s) && duration >= 0", o->filter) : "duration >= 0";
}

static struct snapshot_command trace_snapshot(struct trace_command *t)
{
	return (struct snapshot_command){ &t->options, &t->arming, &t->sink, t->trigger, t->directory, t->limit };
}

static error_t trace_check(struct argp_state *state, struct trace_command *t)
{
	struct options *o = &t->options;
	error_t err;

	if (o->stack)
		return options_usage_error(state, o, "--stack: probe-trace records no stacks; use probe-stat --stack");
	err = arming_take_latency(state, o, &t->arming);
	if (err)
		return err;
	if (t->max_size && !t->directory)
		return options_usage_error(state, o, "--max-size needs -o");
	if (t->max_files && !t->max_size)
		return options_usage_error(state, o, "--max-files needs --max-size");
	if (t->directory && first_printing(t))
		return options_usage_error(state, o, "%s cannot be combined with -o", first_printing(t));
	if (o->json && (t->format || t->color))
		return options_usage_error(state, o, "%s cannot be combined with --json", first_printing(t));
	if (t->otlp && (o->json || t->format || t->color))
		return options_usage_error(state, o, "--otlp cannot be combined with --json, --format or --color");
	if (t->trace_id && !t->otlp)
		return options_usage_error(state, o, "--trace-id needs --otlp");
	if (t->format && t->color)
		return options_usage_error(state, o, "--color cannot be combined with --format");

	if (t->trigger && !t->snapshot)
		return options_usage_error(state, o, "--trigger needs --snapshot");
	if (t->snapshot && (t->seconds > 0 || t->delay >= 0 || t->otlp || t->max_size))
		return options_usage_error(state, o, "%s cannot be combined with --snapshot",
		                           t->seconds > 0  ? "--for"
		                           : t->delay >= 0 ? "--delay"
		                           : t->otlp       ? "--otlp"
		                                           : "--max-size");
	if (t->snapshot) {
		struct snapshot_command s = trace_snapshot(t);

		return snapshot_check(state, &s);
	}

	if (t->arming.npatterns || t->arming.argv || state->quoted || o->npids || o->nfiles || o->backend) {
		err = arming_check_target(state, o, &t->arming);
		if (err)
			return err;
	}
	if (t->arming.npatterns && o->session)
		return options_usage_error(
			state, o, "-s cannot be combined with a PATTERN, which is armed in a session of its own");
	trace_take_durations(t);
	return arming_check_options(state, o, &t->arming);
}

static error_t trace_parse_directory(struct argp_state *state, struct trace_command *t, const char *text)
{
	if (!*text)
		return options_usage_error(state, &t->options, "--output: empty directory name");
	t->directory = text;
	return 0;
}

static error_t trace_parse_format(struct argp_state *state, struct trace_command *t, const char *text)
{
	struct format *format;
	char *error;

	format_free((struct format *)t->sink.format);
	t->format = text;
	format = format_parse(text, &error);
	t->sink.format = format;
	if (format)
		return 0;
	options_usage_error(state, &t->options, "%s", error);
	free(error);
	return EINVAL;
}

static error_t trace_parse_color(struct argp_state *state, struct trace_command *t, const char *text)
{
	if (strcmp(text, "auto") && strcmp(text, "always") && strcmp(text, "never"))
		return options_usage_error(state, &t->options, "--color: unknown word '%s'; give auto, always or never",
		                           text);
	t->color = text;
	return 0;
}

static error_t trace_parse_delay(struct argp_state *state, struct trace_command *t, const char *text)
{
	error_t err;

	if (!strcmp(text, "0")) {
		t->delay = 0;
		return 0;
	}
	err = options_parse_time(state, &t->options, "--delay", text, &t->delay);
	if (err)
		return err;
	if (t->delay > DELAY_MOST)
		return options_usage_error(state, &t->options, "--delay: '%s' is more than %d s", text, DELAY_MOST);
	return 0;
}

static error_t trace_parse_key(int key, char *arg, struct argp_state *state)
{
	struct trace_command *t = state->input;

	switch (key) {
	case ARGP_KEY_INIT: options_children(state, options_arming, &t->options); break;
	case 'o': return trace_parse_directory(state, t, arg);
	case 'n': return options_parse_number(state, &t->options, "--count", arg, UINT64_MAX, &t->limit);
	case KEY_MAX_SIZE: return options_parse_size(state, &t->options, "--max-size", arg, 1 << 20, &t->max_size);
	case KEY_MAX_FILES: return options_parse_number(state, &t->options, "--max-files", arg, 1000000, &t->max_files);
	case KEY_FOR: return options_parse_time(state, &t->options, "--for", arg, &t->seconds);
	case KEY_FORMAT: return trace_parse_format(state, t, arg);
	case KEY_COLOR: return trace_parse_color(state, t, arg);
	case KEY_DELAY: return trace_parse_delay(state, t, arg);
	case KEY_SNAPSHOT: t->snapshot = true; break;
	case KEY_TRIGGER: t->trigger = arg; break;
	case KEY_OTLP: t->otlp = true; break;
	case KEY_TRACE_ID: t->trace_id = arg; break;
	case ARGP_KEY_ARG: return arming_take_argument(state, &t->options, &t->arming);
	case ARGP_KEY_END: return trace_check(state, t);
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp trace_argp = {
	.options = trace_options,
	.parser = trace_parse_key,
	.args_doc = "PATTERN... [-- COMMAND...]\n[-s SESSION]",
	.doc = "Show each hit of probes with its arguments, as it happens. With PATTERNs, arm the probes while this command "
	       "runs; without, read an existing session.",
	.children = options_arming,
};

/* ---- the session ---- */

static int name_equals(const char *name, void *arg)
{
	return !strcmp(name, arg);
}

/* Returns whether the session that is read has ended. */
static bool session_has_ended(const struct trace_command *t)
{
	const char *name = options_session_name(&t->options);

	return !t->arming.npatterns && !pp_sessions(name_equals, (void *)name);
}

static int label_found(const struct pp_labelled *labelled, void *arg)
{
	(void)labelled, (void)arg;
	return 1;
}

/*
 * Looks at an existing session: reports sites that were disarmed over the budget since the last call. Returns true if all processes
 * of the session have ended, so that no more records come. What a configuration has armed is armed in later processes, too.
 */
static bool session_check(struct trace_command *t)
{
	const char *name = pp_session_name(t->session);
	struct pp_stat *stat;
	size_t stopped = 0, ended = 0, rows;

	if (t->arming.npatterns || pp_session_stat(t->session, &stat))
		return false;
	rows = pp_stat_rows(stat);
	for (size_t i = 0; i < rows; i++) {
		stopped += pp_stat_over_budget(stat, i);
		ended += pp_stat_life(stat, i) != PP_LIVES && !pp_stat_pid_namespace(stat, i);
	}
	pp_stat_free(stat);
	if (stopped > t->stopped)
		ui_info(&t->options,
		        "%zu site%s of session '%s' %s disarmed over the budget, and no longer recorded; list them with "
		        "probe-stat -s %s",
		        stopped, ui_plural(stopped), name, stopped == 1 ? "is" : "are", name);
	t->stopped = stopped;
	return rows && ended == rows && !pp_session_labels(t->session, label_found, NULL);
}

/* Reports processes of a private session that ended uncounted. For other sessions, probe-stat reports them. */
static void report_uncounted(const struct trace_command *t)
{
	struct pp_stat *stat;
	size_t n;

	if (!t->arming.npatterns || pp_session_stat(t->session, &stat))
		return;
	n = pp_stat_uncounted(stat);
	pp_stat_free(stat);
	if (n)
		ui_info(&t->options, "%zu process%s ended uncounted, before %s records could be read", n,
		        n == 1 ? "" : "es", n == 1 ? "its" : "their");
}

/* ---- reading ---- */

static bool output_is_closed(void)
{
	struct pollfd p = { .fd = STDOUT_FILENO, .events = 0 };

	return poll(&p, 1, 0) > 0 && (p.revents & POLLERR);
}

/* Writes one record to the trace or the output. Returns 0 or a negative errno (-EPIPE: the reader has gone). */
static int trace_put(struct trace_command *t, const struct pp_event *event)
{
	struct pp_mark mark;
	int err;

	t->records++;
	if (!t->out)
		return sink_put(&t->sink, t->reader, event);
	err = pp_trace_write(t->out, event);
	if (err != -EBADMSG)
		return err;
	pp_event_mark(event, &mark);
	pp_reader_lose(t->reader, &mark);
	return 0;
}

static time_t trace_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* A flush of a trace writes packets that are not full, so it is done once per second. */
static int trace_flush(struct trace_command *t, bool second)
{
	int err;

	if (!t->out && second)
		sink_put_waiting(&t->sink, t->reader, false);
	if (!t->out)
		return sink_flush(&t->sink, t->reader);
	err = second ? pp_trace_write(t->out, NULL) : 0;
	if (second && !err)
		pp_reader_done(t->reader);
	return err;
}

/* With --otlp: writes how many records were lost so far, if more were lost since the last call. */
static void trace_put_lost(struct trace_command *t)
{
	struct pp_record_counts counts;

	pp_reader_counts(t->reader, &counts, sizeof(counts));
	if (counts.lost > t->lost)
		sink_put_account(&t->sink, t->reader, pp_session_name(t->session), counts.lost);
	t->lost = counts.lost;
}

static bool trace_is_complete(struct trace_command *t)
{
	t->limited = t->limit && t->records >= t->limit;
	return t->limited;
}

/* Returns how many ms are left until --for ends the trace, at most one tick. */
static int trace_time_left(const struct trace_command *t)
{
	struct timespec now;
	int64_t ms;

	if (t->seconds <= 0)
		return TICK_MS;
	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (t->until.tv_sec - now.tv_sec) * 1000 + (t->until.tv_nsec - now.tv_nsec) / 1000000;
	return ms < 0 ? 0 : ms < TICK_MS ? (int)ms : TICK_MS;
}

/*
 * Called when no record is ready: flushes the output, and checks whether the trace has ended. Returns 1 if the trace has
 * ended, 0 if not, or a negative errno.
 */
static int trace_idle(struct trace_command *t)
{
	time_t now = trace_seconds();
	bool second = now != t->second;
	int err;

	t->second = now;
	ui_notices(&t->options);
	err = trace_flush(t, second);
	if (err)
		return err;
	if (second && t->otlp)
		trace_put_lost(t);
	if (targets_ended(&t->private.targets) || (second && session_has_ended(t)))
		return 1;
	if (second && session_check(t)) {
		ui_info(&t->options, "all processes of session '%s' have ended", pp_session_name(t->session));
		return 1;
	}
	/* If standard output is closed, the next write reports the error. */
	return !t->out && output_is_closed();
}

static int trace_read_live(struct trace_command *t)
{
	const struct pp_event *event;
	int got, err;

	while (!interrupted && !trace_is_complete(t) && trace_time_left(t)) {
		got = pp_reader_next(t->reader, 0, &event);
		if (got == 0) {
			err = trace_idle(t);
			if (err)
				return err < 0 ? err : 0;
			got = pp_reader_next(t->reader, trace_time_left(t), &event);
		}
		/* The reader counts damaged records (-EBADMSG). */
		if (got == -EBADMSG || got == -EINTR || got == 0)
			continue;
		if (got < 0)
			return got;
		err = trace_put(t, event);
		if (err)
			return err;
	}
	return 0;
}

/*
 * Reads the records from before the end of recording. The next interrupt ends this, too. A program can record faster
 * than this reads, so this ends after REST_SECONDS.
 */
static int trace_read_rest(struct trace_command *t)
{
	struct pp_record_counts counts;
	const struct pp_event *event;
	time_t end = trace_seconds() + REST_SECONDS;
	const int before = interrupted > 1 ? 1 : interrupted;
	bool drained = false;
	int got, err;

	for (int late = 0; !trace_is_complete(t);) {
		if (interrupted > before || trace_seconds() >= end) {
			t->hurried = !drained;
			break;
		}
		got = pp_reader_next(t->reader, 0, &event);
		drained = !got;
		if (got == -EBADMSG || got == -EINTR)
			continue;
		if (got < 0)
			return got;
		if (got) {
			err = trace_put(t, event);
			if (err)
				return err;
			continue;
		}
		pp_reader_counts(t->reader, &counts, sizeof(counts));
		if (late++ == LATE_TIMES || (late > 1 && t->records + counts.damaged >= counts.recorded))
			break;
		nanosleep(&(struct timespec){ .tv_nsec = LATE_NS }, NULL);
	}
	return trace_flush(t, true);
}

static int trace_read(struct trace_command *t)
{
	int err = trace_read_live(t);

	pp_reader_stop(t->reader);
	if (!err)
		err = trace_read_rest(t);
	t->broken = err != 0;
	t->hurried |= err == -EINTR; /* after an interrupt, the output was not waited for */
	return err;
}

/* ---- the account ---- */

/*
 * Computes how many records were written and how many were lost. In a private session, all records that were not
 * written are lost. Records of an existing session that were not read stay there for its next reader.
 */
static void trace_account(struct trace_command *t)
{
	struct options *o = &t->options;
	struct pp_record_counts before, counts;
	uint64_t all;

	if (!t->out) {
		sink_put_waiting(&t->sink, t->reader, true);
		sink_flush(&t->sink, t->reader); /* after an error, the rest is lost */
	}
	pp_reader_counts(t->reader, &before, sizeof(before));
	/* In a private session, records after --count are neither recorded nor lost. */
	if (!t->limited || !t->arming.npatterns)
		pp_reader_drop(t->reader);
	pp_reader_counts(t->reader, &counts, sizeof(counts));
	o->recorded = t->out ? pp_trace_events(t->out) : t->sink.written;
	o->lost = counts.lost;
	t->damaged = counts.damaged;
	/* A private session has no other reader, so its counters are exact. */
	all = counts.recorded + counts.lost - counts.damaged;
	if (t->arming.npatterns && !t->limited && all > o->recorded + o->lost)
		o->lost = all - o->recorded;
	if (t->hurried && t->arming.npatterns && o->lost > before.lost)
		t->dropped = o->lost - before.lost;
	o->has_counts = true;
	if (t->otlp)
		sink_put_account(&t->sink, t->reader, pp_session_name(t->session), o->lost);
}

static void report_account(const struct trace_command *t)
{
	const struct options *o = &t->options;
	char damaged[64] = "", removed[64] = "", missed[64] = "", unsampled[64] = "", dropped[64] = "";
	const char *left =
		(t->hurried || t->broken) && !t->arming.npatterns ? "; the session may have more records" : "";

	if (t->counts.missed)
		snprintf(missed, sizeof(missed), ", %" PRIu64 " call%s missed", t->counts.missed,
		         t->counts.missed == 1 ? "" : "s");
	if (t->counts.unsampled)
		snprintf(unsampled, sizeof(unsampled), ", %" PRIu64 " unsampled", t->counts.unsampled);
	if (t->damaged)
		snprintf(damaged, sizeof(damaged), " (%" PRIu64 " of them damaged)", t->damaged);
	if (t->removed)
		snprintf(removed, sizeof(removed), "; --max-files removed %" PRIu64 " of the records", t->removed);
	if (t->dropped)
		snprintf(dropped, sizeof(dropped), " (%" PRIu64 " of them not written in time)", t->dropped);
	ui_info(o, "%" PRIu64 " recorded, %" PRIu64 " lost%s%s%s%s%s%s%s%s", o->recorded, o->lost, damaged, dropped,
	        missed, unsampled, t->directory ? " in " : "", t->directory ? t->directory : "", removed, left);
}

/* ---- tracing ---- */

/*
 * Lets the reader leave records in the session until they are written, and sort those that are printed. Not with --count in an
 * existing session, because the records that the reader holds back would be missing for the session's next reader.
 */
static int reader_prepare(struct trace_command *t)
{
	double delay = t->delay < 0 ? DELAY_DEFAULT : t->delay;

	pp_reader_keep(t->reader);
	if (t->limit && !t->arming.npatterns)
		return pp_reader_limit(t->reader, t->limit);
	if (t->directory || !delay)
		return 0;
	return pp_reader_order(t->reader, (int)(1000 * delay));
}

static void look_init(struct trace_command *t)
{
	const char *when = t->color ? t->color : "auto";

	t->sink.json = t->options.json;
	t->sink.look.colored = strcmp(when, "auto") ? !strcmp(when, "always") : ui_is_colored(stdout);
	t->sink.look.aligned = isatty(STDOUT_FILENO);
}

static int create_trace(struct trace_command *t)
{
	int err = t->max_size ? pp_trace_create_parts(t->directory, t->session, t->max_size, (unsigned)t->max_files,
	                                              &t->out)
	                      : pp_trace_create(t->directory, t->session, &t->out);

	if (!err)
		trace_about_write(&t->options, t->directory, t->session, t->armed, NULL);
	return err;
}

/* Opens the reader and the output, and lets the child run the command. Returns the exit status. */
static enum status trace_begin(struct trace_command *t)
{
	struct options *o = &t->options;
	enum status status = format_check(&t->options, t->session, t->sink.format);
	int err;

	if (!status && t->otlp) {
		t->sink.otlp = otlp_new(o, &t->arming, t->trace_id);
		status = otlp_begin(t->sink.otlp, o, t->session);
	}
	if (status)
		return status;
	look_init(t);
	if (pp_reader_open(t->session, &t->reader) || reader_prepare(t) || (t->directory && create_trace(t))) {
		ui_error(o, "%s", pp_error());
		return STATUS_FAILED;
	}
	clock_gettime(CLOCK_MONOTONIC, &t->until);
	t->until.tv_sec += (time_t)t->seconds;
	t->until.tv_nsec += (long)((t->seconds - (double)(time_t)t->seconds) * 1e9);
	err = t->arming.argv ? child_release(&t->arming.child) : 0;
	return err ? child_report(o, t->arming.child.path, err) : STATUS_DONE;
}

/* Reads until the trace ends, and accounts for all records. Returns the exit status. */
static enum status trace_record(struct trace_command *t)
{
	enum status status = STATUS_DONE;
	int err;

	if (!t->arming.npatterns)
		trace_counts_read(t->session, &t->before);
	ui_verbose(&t->options, "recording");
	session_check(t);
	err = trace_read(t);
	/* ui_finish() reports errors of standard output. */
	if (err && !ui_flush()) {
		ui_error(&t->options, "%s", pp_error());
		status = STATUS_FAILED;
	}
	trace_account(t);
	trace_counts_read(t->session, &t->counts);
	trace_counts_since(&t->counts, &t->before);
	t->options.missed = t->counts.missed;
	if (t->out) {
		pp_trace_lost(t->out, t->options.lost);
		t->removed = pp_trace_removed(t->out);
	}
	session_check(t);
	report_uncounted(t);
	return status;
}

static enum status trace_follow(struct trace_command *t)
{
	enum status status = trace_begin(t);
	bool began = status == STATUS_DONE;

	if (began)
		status = trace_record(t);
	if (t->out && pp_trace_close(t->out) && status == STATUS_DONE) {
		ui_error(&t->options, "%s", pp_error());
		status = STATUS_FAILED;
	}
	if (began && t->directory)
		trace_about_write(&t->options, t->directory, t->session, t->armed,
		                  &(struct trace_totals){ .recorded = t->options.recorded,
		                                          .lost = t->options.lost,
		                                          .damaged = t->damaged,
		                                          .removed = t->removed });
	if (t->reader)
		pp_reader_done(t->reader);
	pp_reader_free(t->reader);
	sink_free(&t->sink);
	if (began)
		report_account(t);
	ui_notices(&t->options);
	return status;
}

static enum status trace_session(struct trace_command *t)
{
	enum status status;
	int err = pp_session_open(options_session_name(&t->options), false, &t->session);

	if (err) {
		ui_error(&t->options, "%s", pp_error());
		return err == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
	}
	status = trace_follow(t);
	pp_session_close(t->session);
	return status;
}

static enum status trace_private(void *arg)
{
	struct trace_command *t = arg;
	enum status armed, status;

	t->arming.report = t->directory ? &t->armed : NULL;
	t->arming.record = true; /* so that hits between arming and the reader have records, too */
	status = armed = private_arm(&t->private, &t->options, &t->arming);
	t->session = t->private.session;
	if (armed == STATUS_DONE || armed == STATUS_PART) {
		status = trace_follow(t);
		if (status == STATUS_DONE)
			status = armed;
	}
	private_end(&t->private);
	return status;
}

int main(int argc, char **argv)
{
	static struct trace_command t = { .delay = -1 }; /* not freed */

	options_parse(&trace_argp, argc, argv, &t.options, &t);
	if (t.arming.argv)
		return private_run_command(&t.options, &t.arming, trace_private, &t);
	signals_catch();
	if (t.snapshot) {
		struct snapshot_command snapshot = trace_snapshot(&t);

		look_init(&t);
		return ui_finish(&t.options, snapshot_run(&snapshot));
	}
	return ui_finish(&t.options, t.arming.npatterns ? trace_private(&t) : trace_session(&t));
}
