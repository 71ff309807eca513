/* SPDX-License-Identifier: MIT */
/*
 * 1. Opens the session, which must be a flight recorder.
 * 2. With --trigger, arms its probe in a private session, and waits for a hit. The end of the processes is a trigger, too,
 *    because nothing is recorded after it.
 * 3. Copies the records at once, and writes the copy.
 */
#include "cmd/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <probepoint.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/format-check.h"
#include "cmd/private.h"
#include "cmd/signals.h"
#include "cmd/targets.h"
#include "cmd/trace-about.h"
#include "cmd/ui.h"

enum { TICK_MS = 50 };

static bool trigger_is_exit(const struct snapshot_command *s)
{
	return s->trigger && !strcmp(s->trigger, SNAPSHOT_EXIT);
}

error_t snapshot_check(struct argp_state *state, const struct snapshot_command *s)
{
	struct options *o = s->options;

	if (s->arming->npatterns || s->arming->argv || state->quoted)
		return options_usage_error(
			state, o,
			"--snapshot reads an existing session (-s), and takes neither a PATTERN nor a command");
	if (s->trigger && !trigger_is_exit(s)) {
		error_t err = options_add_pattern(state, o, &s->arming->patterns, &s->arming->npatterns, s->trigger);

		if (err)
			return err;
	} else if (!s->trigger && (o->npids || o->nfiles || o->backend)) {
		return options_usage_error(state, o,
		                           "%s needs --trigger; a snapshot has the records of the whole session",
		                           o->npids    ? "-p"
		                           : o->nfiles ? "-f"
		                                       : "-b");
	}
	return arming_check_options(state, o, s->arming);
}

/* ---- the trigger ---- */

static bool pid_is_known(const struct options *o, pid_t pid)
{
	for (size_t i = 0; i < o->npids; i++)
		if (o->pids[i] == pid)
			return true;
	return false;
}

static bool file_is_known(const struct options *o, const char *file)
{
	for (size_t i = 0; i < o->nfiles; i++)
		if (!strcmp(o->files[i], file))
			return true;
	return false;
}

/* Takes the processes and files of the session if the command line names none. *ended: one of its processes has ended. */
static int trigger_find_targets(struct options *o, struct pp_session *session, bool *ended)
{
	struct pp_stat *stat;
	int err;

	*ended = false;
	if (o->npids || o->nfiles)
		return 0;
	err = pp_session_stat(session, &stat);
	if (err)
		return err;
	for (size_t i = 0; i < pp_stat_rows(stat); i++) {
		pid_t pid = pp_stat_pid(stat, i);

		if (pid && pp_stat_life(stat, i) == PP_LIVES && !pid_is_known(o, pid)) {
			o->pids = xreallocarray(o->pids, o->npids + 1, sizeof(*o->pids));
			o->pids[o->npids++] = pid;
		}
		*ended |= pid && pp_stat_life(stat, i) != PP_LIVES;
		if (!pid && !file_is_known(o, pp_stat_file(stat, i)))
			options_append(&o->files, &o->nfiles, xstrdup(pp_stat_file(stat, i)));
	}
	if (o->npids) /* a file would widen the request, or narrow it */
		o->nfiles = 0;
	pp_stat_free(stat);
	return 0;
}

/* Returns whether the session has, or had, this process. */
static bool session_has_process(struct pp_session *session, pid_t pid)
{
	struct pp_stat *stat;
	bool has = false;

	if (pp_session_stat(session, &stat))
		return false;
	for (size_t i = 0; i < pp_stat_rows(stat); i++)
		has |= pp_stat_pid(stat, i) == pid;
	pp_stat_free(stat);
	return has;
}

/* Waits until all processes have ended, or for an interrupt. */
static enum status wait_for_exit(const struct snapshot_command *s, struct pp_session *session)
{
	struct target_processes targets = { 0 };

	for (size_t i = 0; i < s->options->npids; i++) {
		pid_t pid = s->options->pids[i];

		if (kill(pid, 0) && errno == ESRCH && !session_has_process(session, pid)) {
			ui_error(s->options, "pid %d: cannot open the process: %s", pid, strerror(ESRCH));
			return STATUS_FAILED;
		}
	}
	if (!targets_open(&targets, s->options, s->arming))
		return STATUS_FAILED;
	if (!targets.exist) {
		ui_error(s->options,
		         "--trigger=" SNAPSHOT_EXIT ": the session names no process that lives; give -p PID");
		return STATUS_FAILED;
	}
	while (!interrupted && !targets_ended(&targets))
		poll(NULL, 0, TICK_MS);
	targets_close(&targets);
	return STATUS_DONE;
}

/* Waits for a hit of the armed trigger. */
static enum status wait_for_hit(const struct snapshot_command *s, struct private_session *private)
{
	const struct pp_event *event;
	struct pp_reader *reader;
	int got = 0;

	if (pp_reader_open(private->session, &reader)) {
		ui_error(s->options, "%s", pp_error());
		return STATUS_FAILED;
	}
	ui_verbose(s->options, "waiting for a hit of %s", s->trigger);
	while (!interrupted && got <= 0 && !targets_ended(&private->targets)) {
		got = pp_reader_next(reader, TICK_MS, &event);
		if (got < 0 && got != -EINTR && got != -EBADMSG)
			break;
		ui_notices(s->options);
	}
	if (got < 0 && got != -EINTR && got != -EBADMSG)
		ui_error(s->options, "%s", pp_error());
	else
		got = 0;
	pp_reader_free(reader);
	return got ? STATUS_FAILED : STATUS_DONE;
}

static enum status trigger_wait(const struct snapshot_command *s, struct pp_session *session)
{
	struct private_session private = { 0 };
	enum status armed, status;
	bool ended;

	if (trigger_find_targets(s->options, session, &ended)) {
		ui_error(s->options, "%s", pp_error());
		return STATUS_FAILED;
	}
	/* The last process has ended before this command began. */
	if (ended && !s->options->npids && !s->options->nfiles)
		return STATUS_DONE;
	if (trigger_is_exit(s))
		return wait_for_exit(s, session);
	s->arming->record = true; /* hits between arming and the reader count */
	status = armed = private_arm(&private, s->options, s->arming);
	if (armed == STATUS_DONE || armed == STATUS_PART)
		status = wait_for_hit(s, &private);
	private_end(&private);
	return status;
}

/* ---- the snapshot ---- */

static int records_write(const struct snapshot_command *s, struct pp_reader *reader, struct pp_trace *out)
{
	const struct pp_event *event;
	int got, err = 0;

	for (uint64_t n = 0; !err && (!s->limit || n < s->limit); n++) {
		got = pp_reader_next(reader, 0, &event);
		if (!got)
			break;
		if (got == -EBADMSG) /* a record of a probe that was disarmed meanwhile, or an invalid one */
			continue;
		err = got < 0 ? got : out ? pp_trace_write(out, event) : sink_put(s->sink, reader, event);
	}
	if (!err)
		err = out ? pp_trace_write(out, NULL) : sink_flush(s->sink, reader);
	return err;
}

/*
 * Returns the end of the message, which says since when the snapshot is complete, or "" if nothing was overwritten.
 * Stores the time in *since, or UINT64_MAX if it is not known. The caller frees the text.
 */
static char *complete_text(struct pp_reader *reader, uint64_t *since)
{
	int64_t time_of_day;
	size_t size;
	char *text;
	FILE *out;

	if (pp_reader_complete_since(reader, since, &time_of_day)) {
		*since = UINT64_MAX;
		return xasprintf("; not known to be complete: %s", pp_error());
	}
	if (!*since)
		return xstrdup("");
	out = xmemstream(&text, &size);
	fputs("; complete since ", out);
	event_put_time_of_day(out, time_of_day);
	xmemstream_close(out);
	return text;
}

/* complete: what complete_text() returned. */
static void report_snapshot(const struct snapshot_command *s, struct pp_session *session, uint64_t written,
                            const struct pp_record_counts *counts, const char *complete)
{
	uint64_t overwritten = 0, lost = 0;
	char damaged[64] = "";
	struct pp_stat *stat;

	if (pp_session_stat(session, &stat))
		return;
	for (size_t i = 0; i < pp_stat_rows(stat); i++) {
		struct pp_counts row;

		pp_stat_counts(stat, i, &row, sizeof(row));
		overwritten += row.overwritten;
		lost += row.lost;
	}
	pp_stat_free(stat);
	if (counts->damaged)
		snprintf(damaged, sizeof(damaged), ", %" PRIu64 " incomplete", counts->damaged);
	ui_info(s->options,
	        "%" PRIu64 " record%s%s%s; in the session so far %" PRIu64 " overwritten, %" PRIu64 " lost%s%s",
	        written, ui_plural(written), s->directory ? " in " : "", s->directory ? s->directory : "", overwritten,
	        lost, damaged, complete);
}

static enum status snapshot_write(const struct snapshot_command *s, struct pp_session *session)
{
	struct pp_record_counts counts;
	struct pp_trace *out = NULL;
	struct pp_reader *reader;
	uint64_t written, since;
	char *complete;
	int err;

	if (pp_reader_open_snapshot(session, &reader)) {
		ui_error(s->options, "%s", pp_error());
		return STATUS_FAILED;
	}
	complete = complete_text(reader, &since);
	s->sink->complete_since = since;
	err = s->directory ? pp_trace_create(s->directory, session, &out) : 0;
	if (!err)
		err = records_write(s, reader, out);
	/* ui_finish() reports errors of standard output. */
	if (err && (out || s->directory || !ui_flush()))
		ui_error(s->options, "%s", pp_error());
	pp_reader_counts(reader, &counts, sizeof(counts));
	written = out ? pp_trace_events(out) : s->sink->written;
	if (out) {
		pp_trace_lost(out, counts.damaged);
		if (pp_trace_close(out) && !err) {
			ui_error(s->options, "%s", pp_error());
			err = -EIO;
		}
	}
	pp_reader_free(reader);
	if (out)
		trace_about_write(s->options, s->directory, session, NULL,
		                  &(struct trace_totals){ .recorded = written,
		                                          .lost = counts.damaged,
		                                          .damaged = counts.damaged,
		                                          .is_snapshot = true,
		                                          .complete_since = since });
	report_snapshot(s, session, written, &counts, complete);
	free(complete);
	return err ? STATUS_FAILED : STATUS_DONE;
}

static enum status snapshot_take(const struct snapshot_command *s, struct pp_session *session)
{
	enum status status = format_check(s->options, session, s->sink->format);
	uint64_t held;

	if (status)
		return status;
	if (!pp_session_flight_recorder(session, &held)) {
		ui_error(s->options, "session '%s' is not a flight recorder; arm its probes with --flight-recorder",
		         pp_session_name(session));
		return STATUS_FAILED;
	}
	status = s->trigger ? trigger_wait(s, session) : STATUS_DONE;
	if (status)
		return status;
	if (interrupted) {
		ui_error(s->options, "interrupted before the trigger; no snapshot was taken");
		return STATUS_FAILED;
	}
	return snapshot_write(s, session);
}

enum status snapshot_run(const struct snapshot_command *s)
{
	struct pp_session *session;
	enum status status;
	int err = pp_session_open(options_session_name(s->options), false, &session);

	if (err) {
		ui_error(s->options, "%s", pp_error());
		return err == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
	}
	status = snapshot_take(s, session);
	pp_session_close(session);
	sink_free(s->sink);
	ui_notices(s->options);
	return status;
}
