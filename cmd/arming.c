/* SPDX-License-Identifier: MIT */
#include "cmd/arming.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/alloc.h"
#include "cmd/arming-report.h"
#include "cmd/find-file.h"
#include "cmd/images.h"
#include "cmd/suggest.h"
#include "cmd/ui.h"

enum { SITES_CONFIRMED = 500 }; /* arming more of them needs a confirmation */

/* ---- the command line ---- */

error_t arming_take_argument(struct argp_state *state, struct options *options, struct arming *arming)
{
	char **argument = state->argv + state->next - 1;

	if (!state->quoted)
		return options_add_pattern(state, options, &arming->patterns, &arming->npatterns, *argument);
	arming->argv = argument;
	state->next = state->argc;
	return 0;
}

error_t arming_take_stack(struct argp_state *state, struct options *o)
{
	if (!o->stack)
		return 0;
	if (o->aggregate)
		return options_usage_error(
			state, o,
			"--stack cannot be combined with --agg; add the key stack to the expression, as "
			"in --agg 'sum(size) by stack'");
	o->aggregate = "count() by stack";
	return 0;
}

error_t arming_take_latency(struct argp_state *state, struct options *o, struct arming *arming)
{
	if (o->key && !o->latency[0])
		return options_usage_error(state, o, "--on needs --latency BEGIN END");
	if (!o->latency[0])
		return 0;
	if (arming->npatterns)
		return options_usage_error(state, o, "--latency and other probes cannot be armed by one command");
	for (int i = 0; i < 2; i++)
		options_append(&arming->patterns, &arming->npatterns, o->latency[i]);
	return 0;
}

error_t arming_check_target(struct argp_state *state, struct options *o, const struct arming *arming)
{
	if (state->quoted && !arming->argv)
		return options_usage_error(state, o, "no command given after '--'");
	if (!arming->npatterns)
		return options_usage_error(state, o, "no PATTERN given; '*' matches all probes");
	if (!arming->argv && !o->npids && !o->nfiles)
		return options_usage_error(state, o, "no process or file given; use -p PID, -f FILE or -- COMMAND");
	return 0;
}

static bool arming_has_return(const struct arming *arming)
{
	for (size_t i = 0; i < arming->npatterns; i++)
		if ((!strncmp(arming->patterns[i], "func:", 5) && strstr(arming->patterns[i], "%return")) ||
		    strstr(arming->patterns[i], "__return"))
			return true;
	return false;
}

error_t arming_check_options(struct argp_state *state, struct options *o, const struct arming *arming)
{
	if (!arming->npatterns && options_first_arming(o))
		return options_usage_error(state, o, "%s needs a PATTERN; an existing session cannot be changed",
		                           options_first_arming(o));
	if (!arming->npatterns)
		return 0;
	if (o->maxactive && !o->latency[0] && !arming_has_return(arming))
		return options_usage_error(state, o,
		                           "--maxactive needs a pattern func:SYMBOL%%return or NAME__return, or "
		                           "--latency");
	if (o->uretprobe && !arming_has_return(arming))
		return options_usage_error(state, o, "--uretprobe needs a pattern func:SYMBOL%%return");
	if ((o->children || o->pgrp) && !o->npids && !arming->argv)
		return options_usage_error(state, o, "%s needs -p PID", o->children ? "--children" : "--pgrp");
	if (o->children + o->pgrp + (o->cgroup != NULL) > 1)
		return options_usage_error(state, o, "--children, --pgrp and --cgroup cannot be combined");
	if (arming->flight && arming->overwrite)
		return options_usage_error(state, o, "--overwrite and --flight-recorder cannot be combined");
	if (arming->flight && o->buffer)
		return options_usage_error(state, o,
		                           "--buffer and --flight-recorder cannot be combined, because the size of a "
		                           "flight recorder is its memory for records");
	return 0;
}

error_t arming_parse_flight(struct argp_state *state, struct options *options, struct arming *arming, const char *text)
{
	uint64_t size;
	error_t err = options_parse_size(state, options, "--flight-recorder", text, PP_FLIGHT_MIN, &size);

	if (err)
		return err;
	if (size > PP_FLIGHT_MAX)
		return options_usage_error(state, options, "--flight-recorder: '%s' is more than %uG", text,
		                           PP_FLIGHT_MAX >> 30);
	arming->flight = (size_t)size;
	return 0;
}

/* ---- the request ---- */

static int request_add_probes(struct pp_request *request, const struct options *o, const struct arming *arming)
{
	int err;

	if (o->latency[0]) {
		err = pp_request_latency(request, o->latency[0], o->latency[1], o->key);
		if (err)
			return err;
	}
	for (size_t i = 0; i < arming->npatterns && !o->latency[0]; i++) {
		err = pp_request_pattern(request, arming->patterns[i]);
		if (err)
			return err;
	}
	if (o->backend) {
		err = pp_request_backend(request, o->backend);
		if (err)
			return err;
	}
	for (size_t i = 0; i < o->nfiles; i++) {
		err = pp_request_file(request, o->files[i]);
		if (err)
			return err;
	}
	return 0;
}

/* Joins --if and --min-duration. */
static int request_add_filter(struct pp_request *request, const struct options *o)
{
	char *both;
	int err;

	if (!o->min_duration)
		return o->filter ? pp_request_filter(request, o->filter) : 0;
	if (o->filter)
		both = xasprintf("(%s) && duration >= %llu", o->filter, (unsigned long long)o->min_duration);
	else
		both = xasprintf("duration >= %llu", (unsigned long long)o->min_duration);
	err = pp_request_filter(request, both);
	free(both);
	return err;
}

static int request_add_sampling(struct pp_request *request, const struct options *o)
{
	int err = o->every ? pp_request_every(request, o->every) : 0;

	return err || !o->rate ? err : pp_request_rate(request, o->rate);
}

static int request_add_arguments(struct pp_request *request, const struct options *o)
{
	int err = request_add_filter(request, o);

	if (err)
		return err;
	if (o->print) {
		err = pp_request_print(request, o->print);
		if (err)
			return err;
	}
	if (o->string_max) {
		err = pp_request_string_max(request, o->string_max);
		if (err)
			return err;
	}
	if (o->buffer) {
		err = pp_request_buffer(request, o->buffer);
		if (err)
			return err;
	}
	if (o->aggregate) {
		err = pp_request_aggregate(request, o->aggregate, o->cells);
		if (err)
			return err;
	}
	err = request_add_sampling(request, o);
	if (err)
		return err;
	for (size_t i = 0; i < o->nstrings; i++) {
		err = pp_request_string(request, o->strings[i]);
		if (err)
			return err;
	}
	for (size_t i = 0; i < o->naddresses; i++) {
		err = pp_request_no_string(request, o->addresses[i]);
		if (err)
			return err;
	}
	return 0;
}

static int request_add_scope(struct pp_request *request, const struct options *o)
{
	if (o->children)
		return pp_request_children(request);
	if (o->pgrp)
		return pp_request_pgrp(request);
	return o->cgroup ? pp_request_cgroup(request, o->cgroup) : 0;
}

static int request_add_processes(struct pp_request *request, const struct options *o, const struct arming *arming)
{
	int err;

	for (size_t i = 0; i < o->npids; i++) {
		err = pp_request_pid(request, o->pids[i]);
		if (err)
			return err;
	}
	return arming->argv ? pp_request_command(request, arming->child.pid, arming->child.path) : 0;
}

static void request_add_flags(struct pp_request *request, const struct options *o, const struct arming *arming)
{
	if (o->maxactive)
		pp_request_maxactive(request, o->maxactive);
	pp_request_budget(request, arming->budget);
	if (!o->yes)
		pp_request_many(request, SITES_CONFIRMED);
	if (o->fast)
		pp_request_fast(request);
	if (o->uretprobe)
		pp_request_uretprobe(request);
	if (arming->hold)
		pp_request_hold(request);
	if (arming->record)
		pp_request_record(request);
	if (arming->overwrite)
		pp_request_overwrite(request);
	if (arming->flight)
		pp_request_flight_recorder(request, arming->flight);
	if (arming->calls)
		pp_request_calls(request);
}

int arming_request_new(const struct options *options, const struct arming *arming, struct pp_request **request)
{
	int err = pp_request_new(request);

	if (err)
		return err;
	err = request_add_probes(*request, options, arming);
	if (err)
		goto failed;
	err = request_add_arguments(*request, options);
	if (err)
		goto failed;
	err = request_add_scope(*request, options);
	if (err)
		goto failed;
	err = request_add_processes(*request, options, arming);
	if (err)
		goto failed;
	err = arming->label ? pp_request_label(*request, arming->label) : 0;
	if (err)
		goto failed;
	request_add_flags(*request, options, arming);
	return 0;

failed:
	pp_request_free(*request);
	*request = NULL;
	return err;
}

/* Returns false, after an error message, if a file was not found. */
static bool files_are_found(struct options *options)
{
	for (size_t i = 0; i < options->nfiles; i++) {
		char *missing = find_file_error(options->files[i], options->npids);

		if (!missing)
			continue;
		ui_error(options, "%s", missing);
		free(missing);
		return false;
	}
	return true;
}

struct pp_request *arming_request(struct options *options, const struct arming *arming, enum status *status)
{
	struct pp_request *request;
	int err = arming_request_new(options, arming, &request);

	*status = !err ? STATUS_DONE : err == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
	if (err)
		ui_error(options, "%s", pp_error());
	if (err || files_are_found(options))
		return request;
	pp_request_free(request);
	*status = STATUS_FAILED;
	return NULL;
}

/* ---- arming ---- */

static bool is_confirmed(void)
{
	char answer[16] = "";

	fputs("Arm them? [y/N] ", stderr);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

/* Arms, after a confirmation on the terminal if there are very many sites. Sets *declined if the user says no. */
static int session_enable_confirmed(struct options *options, struct pp_session *session, struct pp_request *request,
                                    struct pp_report **report, bool *declined)
{
	int err = pp_session_enable(session, request, report);

	if (err != -EDQUOT || options->json || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return err;
	ui_info(options, "%s", pp_error());
	*declined = !is_confirmed();
	if (*declined)
		return err;
	pp_report_free(*report);
	*report = NULL;
	pp_request_many(request, 0);
	return pp_session_enable(session, request, report);
}

/* ---- reporting the result ---- */

struct arming_result {
	int err;       /* of pp_session_enable() */
	char *message; /* its error message; "" if there is none */
	struct pp_report *report;
	struct arming_tally tally;
	bool rows_shown; /* the rows are visible where the errors are */
};

/*
 * Reports each pattern that matches nothing, with similar names. Returns false, and reports nothing, if no file could
 * be read.
 */
static bool report_patterns(struct options *options, const struct arming *arming, const struct pp_report *report)
{
	struct images images = { 0 };
	bool readable;

	for (size_t i = 0; i < options->nfiles; i++)
		images_add_file(&images, options->files[i]);
	for (size_t i = 0; !options->nfiles && i < options->npids; i++)
		images_add_process(&images, options->pids[i]);
	if (!options->nfiles && arming->argv)
		images_add_file(&images, arming->child.path);
	readable = images.n || !images.failed;
	for (size_t i = 0; readable && i < pp_report_rows(report); i++)
		if (arming_report_is_unmatched(report, i))
			suggest_report(options, &images, pp_report_probe(report, i));
	images_free(&images);
	return readable;
}

/* Returns whether all processes of -p belong to this user. */
static bool processes_are_own(const struct options *options)
{
	for (size_t i = 0; i < options->npids; i++) {
		char path[32];
		struct stat st;

		snprintf(path, sizeof(path), "/proc/%d", options->pids[i]);
		if (stat(path, &st) || st.st_uid != geteuid())
			return false;
	}
	return true;
}

/* Returns which part of the command line needs the kernel backend, as the start of a message. NULL: none. */
static const char *kernel_only(const struct options *options, const struct arming *arming)
{
	if (options->pgrp)
		return "--pgrp needs";
	if (options->cgroup)
		return "--cgroup needs";
	if (arming->hold)
		return "--for, --until-exit and --budget need";
	for (size_t i = 0; i < arming->npatterns; i++)
		if (!strncmp(arming->patterns[i], "func:", 5))
			return "func:SYMBOL needs";
	return NULL;
}

#define BY_AGENT "probe-enable --inject -p PID, or -b agent -- COMMAND"

/*
 * Prints the remedy to append to an error message if the user lacks the privilege that the kernel backend needs. Prints
 * "" if that is not the cause.
 */
static const char *remedy_print(const struct options *options, const struct arming *arming, int err, char *text,
                                size_t room)
{
	const char *kernel;

	text[0] = 0;
	if ((err != -EPERM && err != -EACCES && err != -EOPNOTSUPP) || pp_backend_permitted("kernel") ||
	    !processes_are_own(options))
		return text;
	kernel = kernel_only(options, arming);
	if (kernel)
		snprintf(text, room, "; %s the kernel backend; the agent arms probes without privilege: " BY_AGENT,
		         kernel);
	else if (err != -EOPNOTSUPP)
		snprintf(text, room, "; the agent arms your own processes without privilege: %s",
		         arming->argv ? "-b agent -- COMMAND" : BY_AGENT);
	return text;
}

/* Returns whether out and standard error go to the same place: a terminal, or 2>&1. */
static bool is_same_as_stderr(FILE *out)
{
	struct stat a, b;

	return !fstat(fileno(out), &a) && !fstat(STDERR_FILENO, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static void result_put_rows(struct arming_result *result, const struct options *options, FILE *out)
{
	if (options->json || options->quiet || !result->report)
		return;
	if (!out) {
		arming_report_remarks(options, result->report);
		return;
	}
	if (arming_tally_is_empty(&result->tally) || result->err == -EINTR)
		return;
	arming_report_print_text(out, options, result->report, &result->tally);
	fflush(out);
	result->rows_shown = is_same_as_stderr(out);
}

/* Reports why pp_session_enable() failed. Returns false if that says all there is to say. */
static bool report_failure(const struct arming_result *result, struct options *options, const struct arming *arming)
{
	char remedy[256];

	if (result->err == -EINTR) {
		ui_error(options, "interrupted; all changes are rolled back, and nothing is armed");
		return false;
	}
	if (result->err == -ENOENT && arming->argv && !options->nfiles && child_report_script(options, &arming->child))
		return false;
	if (result->err == -ENOENT && result->tally.unmatched && report_patterns(options, arming, result->report))
		return true;
	if (!result->rows_shown || !arming_report_gives_reason(result->report, result->message))
		ui_error(options, "%s%s", result->message,
		         remedy_print(options, arming, result->err, remedy, sizeof(remedy)));
	return result->tally.refused > 0;
}

/* Reports what was refused or not found although the call succeeded. Returns false if there is nothing else to say. */
static bool report_partial(const struct arming_result *result, struct options *options, const struct arming *arming)
{
	if (result->tally.refused)
		arming_report_refused(options, result->report, &result->tally, result->rows_shown);
	if (result->tally.unmatched)
		report_patterns(options, arming, result->report);
	if (!arming_tally_is_empty(&result->tally))
		return true;
	ui_error(options, "nothing to arm");
	return false;
}

static void report_sum(const struct options *options, const struct arming_tally *tally,
                       const struct pp_session *session, const struct arming *arming)
{
	if (tally->armed)
		ui_verbose(options, "armed %zu site%s of %zu probe%s in session '%s'", tally->armed,
		           ui_plural(tally->armed), tally->armed_probes, ui_plural(tally->armed_probes),
		           pp_session_name(session));
	if (!tally->pending || arming->argv)
		return;
	if (tally->pending == 1)
		ui_info(options, "1 probe is pending; it is armed when a process maps the file");
	else
		ui_info(options, "%zu probes are pending; they are armed when a process maps the file", tally->pending);
}

static enum status result_report(struct arming_result *result, struct options *options, const struct arming *arming,
                                 struct pp_session *session, FILE *out)
{
	const struct arming_tally *tally = &result->tally;
	bool more;

	result_put_rows(result, options, out);
	more = result->err ? report_failure(result, options, arming) : report_partial(result, options, arming);
	if (!more)
		return result->err == -EDOM ? STATUS_USAGE : STATUS_FAILED;
	arming_report_warnings(options, result->report);
	if (arming->report)
		*arming->report = arming_report_json(session, result->report);
	if (out && options->json)
		arming_report_print_json(out, options, session, result->report);
	report_sum(options, tally, session, arming);
	if (!tally->armed && !tally->pending)
		return result->err == -EDOM ? STATUS_USAGE : STATUS_FAILED;
	return tally->refused || tally->unmatched ? STATUS_PART : STATUS_DONE;
}

enum status arming_run(struct options *options, const struct arming *arming, struct pp_session *session,
                       struct pp_request *request, FILE *out)
{
	struct arming_result result = { 0 };
	bool declined = false;
	enum status status;

	result.err = session_enable_confirmed(options, session, request, &result.report, &declined);
	result.message = xstrdup(declined ? "nothing was armed" : result.err ? pp_error() : "");
	if (result.report)
		arming_tally_count(&result.tally, result.report);
	/* A failed call arms nothing, so rows that are armed or pending are void. */
	if (result.err && (result.tally.armed || result.tally.pending))
		result.tally = (struct arming_tally){ 0 };
	status = result_report(&result, options, arming, session, out);
	pp_report_free(result.report);
	free(result.message);
	return status;
}
