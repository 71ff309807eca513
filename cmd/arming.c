/* SPDX-License-Identifier: MIT */
#include "cmd/arming.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/child.h"
#include "cmd/images.h"
#include "cmd/options.h"
#include "cmd/ui.h"
#include "cmd/suggest.h"
#include "cmd/escape.h"

enum { MANY_SITES = 500, ROWS_SHOWN = 20 };

struct pp_request *arming_request(struct options *options, const struct arming *arming, enum status *status)
{
	const struct command *command = arming->command;
	struct pp_request *request;
	int err;

	*status = STATUS_USAGE;
	err = pp_request_new(&request);
	if (err)
		goto failed;
	for (size_t i = 0; !err && i < arming->npatterns; i++)
		err = pp_request_pattern(request, arming->patterns[i]);
	if (!err && options->backend)
		err = pp_request_backend(request, options->backend);
	for (size_t i = 0; !err && i < options->nfiles; i++)
		err = pp_request_file(request, options->files[i]);
	if (!err && options->filter)
		err = pp_request_filter(request, options->filter);
	for (size_t i = 0; !err && i < options->nstrings; i++)
		err = pp_request_string(request, options->strings[i]);
	for (size_t i = 0; !err && i < options->naddresses; i++)
		err = pp_request_no_string(request, options->addresses[i]);
	if (!err && options->children)
		err = pp_request_children(request);
	if (!err && options->pgrp)
		err = pp_request_pgrp(request);
	if (!err && options->cgroup)
		err = pp_request_cgroup(request, options->cgroup);
	if (err)
		goto failed;
	for (size_t i = 0; !err && i < options->npids; i++)
		err = pp_request_pid(request, options->pids[i]);
	if (!err && command)
		err = pp_request_command(request, command->pid, command->path);
	if (err)
		goto failed;
	if (options->maxactive)
		pp_request_maxactive(request, options->maxactive);
	pp_request_budget(request, arming->budget);
	if (!options->yes)
		pp_request_many(request, MANY_SITES);
	if (arming->hold)
		pp_request_hold(request);
	if (arming->record)
		pp_request_record(request);
	if (arming->overwrite)
		pp_request_overwrite(request);
	if (arming->calls)
		pp_request_calls(request);
	*status = STATUS_DONE;
	return request;

failed:
	if (err != -EINVAL)
		*status = STATUS_FAILED;
	complain(options, "%s", pp_error());
	pp_request_free(request);
	return NULL;
}

/* ---- the report ---- */

struct tally {
	size_t armed, pending, refused; /* armed and refused: sites */
	size_t armed_probes;
	size_t unmatched; /* patterns */
};

/* A row that stands for a pattern which matched nothing. */
static bool is_unmatched(const struct pp_report *report, size_t row)
{
	const char *file = pp_report_file(report, row);

	return pp_report_state(report, row) == PP_REFUSED && pp_report_offset(report, row) < 0 && (!file || !*file);
}

static size_t row_sites(const struct pp_report *report, size_t row)
{
	size_t n = pp_report_sites(report, row);

	return n ? n : 1;
}

static void count(const struct pp_report *report, struct tally *tally)
{
	*tally = (struct tally){ 0 };
	for (size_t i = 0; i < pp_report_rows(report); i++) {
		switch (pp_report_state(report, i)) {
		case PP_ARMED:
			tally->armed += row_sites(report, i);
			tally->armed_probes++;
			break;
		case PP_PENDING: tally->pending++; break;
		case PP_REFUSED:
			if (is_unmatched(report, i))
				tally->unmatched++;
			else
				tally->refused += row_sites(report, i);
			break;
		}
	}
}

static bool tally_rows(const struct tally *tally)
{
	return tally->armed || tally->pending || tally->refused || tally->unmatched;
}

static const char *why(const struct pp_report *report, size_t row)
{
	const char *reason = pp_report_reason(report, row);

	return reason ? reason : "no reason is known";
}

/* Refused rows with the same reason and process stand together. */
static int by_reason(const void *a, const void *b, void *arg)
{
	const struct pp_report *report = arg;
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	int order = strcmp(why(report, x), why(report, y));

	if (!order)
		order = (pp_report_pid(report, x) > pp_report_pid(report, y)) -
		        (pp_report_pid(report, x) < pp_report_pid(report, y));
	return order ? order : (x > y) - (x < y);
}

static bool same_reason(const struct pp_report *report, size_t x, size_t y)
{
	return pp_report_pid(report, x) == pp_report_pid(report, y) && !strcmp(why(report, x), why(report, y));
}

static size_t *refused_rows(const struct pp_report *report, size_t *n)
{
	size_t *rows = calloc(pp_report_rows(report) + 1, sizeof(*rows));

	if (!rows)
		no_memory();
	*n = 0;
	for (size_t i = 0; i < pp_report_rows(report); i++)
		if (pp_report_state(report, i) == PP_REFUSED && !is_unmatched(report, i))
			rows[(*n)++] = i;
	qsort_r(rows, *n, sizeof(*rows), by_reason, (void *)report);
	return rows;
}

static void put_process(FILE *out, const struct pp_report *report, size_t row)
{
	bool pending = pp_report_state(report, row) == PP_PENDING;

	if (!pp_report_pid(report, row) || pending) {
		fputs("  ", out);
		text_puts(out, pp_report_file(report, row));
	}
	if (pp_report_pid(report, row))
		fprintf(out, "  pid %d", pp_report_pid(report, row));
}

static void put_refused(FILE *out, const struct options *options, const struct pp_report *report)
{
	size_t n, *rows = refused_rows(report, &n);

	for (size_t from = 0, to, shown = 0; from < n; from = to, shown++) {
		size_t sites = 0, probes = 0;

		if (!options->verbose && shown == ROWS_SHOWN) {
			fprintf(out, "... and %zu more sites are refused (-v shows them)\n", n - from);
			break;
		}

		const char *last = NULL;

		for (to = from; to < n && same_reason(report, rows[from], rows[to]); to++) {
			if (options->verbose && to > from)
				break;
			sites += row_sites(report, rows[to]);
			probes += !last || strcmp(last, pp_report_probe(report, rows[to]));
			last = pp_report_probe(report, rows[to]);
		}
		put_painted(out, PAINT_BAD, "refused");
		fputs("  ", out);
		text_puts(out, pp_report_probe(report, rows[from]));
		if (probes > 1)
			fprintf(out, " and %zu more", probes - 1);
		put_process(out, report, rows[from]);
		if (options->verbose && pp_report_offset(report, rows[from]) >= 0)
			fprintf(out, "  offset 0x%" PRIx64, (uint64_t)pp_report_offset(report, rows[from]));
		else if (pp_report_offset(report, rows[from]) >= 0)
			fprintf(out, "  %zu site%s", sites, plural(sites));
		fputs(": ", out);
		text_sentence(out, why(report, rows[from]));
		putc('\n', out);
	}
	free(rows);
}

static void put_row(FILE *out, const struct options *options, const struct pp_report *report, size_t row)
{
	enum pp_state state = pp_report_state(report, row);
	const char *reason = pp_report_reason(report, row);

	if (state == PP_ARMED)
		put_painted(out, PAINT_GOOD, "armed");
	else
		put_painted(out, PAINT_WAITING, "pending");
	fputs(state == PP_ARMED ? "    " : "  ", out);
	text_puts(out, pp_report_probe(report, row));
	put_process(out, report, row);
	if (state == PP_ARMED)
		fprintf(out, "  %zu site%s  %s", pp_report_sites(report, row), plural(pp_report_sites(report, row)),
		        pp_report_backend(report, row));
	/* What it costs is for -v. */
	if (reason && (options->verbose || strncmp(reason, "cost: ", 6))) {
		fputs(", ", out);
		text_puts(out, reason);
	}
	putc('\n', out);
}

/* The first rows and a sum, with -v all rows. */
static void put_text(FILE *out, const struct options *options, const struct pp_report *report,
                     const struct tally *tally)
{
	size_t rows = tally->armed_probes + tally->pending, shown = 0;
	size_t most = options->verbose || rows <= ROWS_SHOWN ? rows : ROWS_SHOWN;

	for (size_t i = 0; i < pp_report_rows(report) && shown < most; i++)
		if (pp_report_state(report, i) != PP_REFUSED) {
			put_row(out, options, report, i);
			shown++;
		}
	if (shown < rows) {
		fprintf(out, "... and %zu more rows (-v shows them): ", rows - shown);
		if (tally->armed)
			fprintf(out, "%zu site%s of %zu probe%s armed in all%s", tally->armed, plural(tally->armed),
			        tally->armed_probes, plural(tally->armed_probes), tally->pending ? ", " : "");
		if (tally->pending)
			fprintf(out, "%zu probe%s pending in all", tally->pending, plural(tally->pending));
		putc('\n', out);
	}
	put_refused(out, options, report);
}

static json_object *json_pid(const struct pp_report *report, size_t row)
{
	return pp_report_pid(report, row) ? json_object_new_int(pp_report_pid(report, row)) : NULL;
}

static void put_calls(json_object *to, const struct pp_report *report, size_t row)
{
	unsigned n = pp_report_calls_per_thread(report, row);

	if (n)
		json_object_object_add(to, "calls_per_thread", json_object_new_int64(n));
}

static void put_json(FILE *out, struct options *options, const struct pp_session *session,
                     const struct pp_report *report)
{
	json_object *armed = json_object_new_array(), *pending = json_object_new_array();
	json_object *refused = json_object_new_array(), *document;

	for (size_t i = 0; i < pp_report_rows(report); i++) {
		json_object *probe = text_json(pp_report_probe(report, i));
		json_object *file = is_unmatched(report, i) ? NULL : text_json(pp_report_file(report, i));
		const char *reason = pp_report_reason(report, i);
		int64_t offset = pp_report_offset(report, i);
		json_object *row;

		switch (pp_report_state(report, i)) {
		case PP_ARMED:
			row = json_of("probe", probe, "pid", json_pid(report, i), "file", file, "build_id",
			              text_json(pp_report_build_id(report, i)), "backend",
			              text_json(pp_report_backend(report, i)), "sites",
			              json_object_new_uint64(pp_report_sites(report, i)), "verified",
			              json_object_new_boolean(pp_report_verified(report, i)), NULL);
			put_calls(row, report, i);
			if (reason)
				json_object_object_add(row, "reason", text_json(reason));
			json_object_array_add(armed, row);
			break;
		case PP_PENDING:
			row = json_of("probe", probe, "file", file, NULL);
			put_calls(row, report, i);
			if (reason)
				json_object_object_add(row, "reason", text_json(reason));
			json_object_array_add(pending, row);
			break;
		case PP_REFUSED:
			row = json_of("probe", probe, "pid", json_pid(report, i), "file", file, "offset",
			              offset >= 0 ? json_object_new_int64(offset) : NULL, "reason",
			              text_json(why(report, i)), NULL);
			json_object_array_add(refused, row);
			break;
		}
	}
	document = json_of("session", text_json(pp_session_name(session)), "armed", armed, "pending", pending,
	                   "refused", refused, NULL);
	if (options->complaint)
		json_object_object_add(document, "error", complaint_take(options));
	text_put_json(out, document);
	putc('\n', out);
}

/* ---- what went wrong ---- */

/* Says of each pattern that matches nothing what there is like it. False: there was nothing to look at. */
static bool tell_unmatched(struct options *options, const struct arming *arming, const struct pp_report *report)
{
	struct images images = { 0 };
	bool looked;

	for (size_t i = 0; i < options->nfiles; i++)
		images_add_file(&images, options->files[i]);
	if (!options->nfiles)
		for (size_t i = 0; i < options->npids; i++)
			images_add_process(&images, options->pids[i]);
	if (!options->nfiles && arming->command)
		images_add_file(&images, arming->command->path);
	looked = images.n || !images.failed;
	for (size_t i = 0; looked && i < pp_report_rows(report); i++) {
		char *like;

		if (!is_unmatched(report, i))
			continue;
		like = resemble(&images, pp_report_probe(report, i));
		complain(options, "nothing matches '%s': %s", pp_report_probe(report, i), like);
		free(like);
	}
	images_free(&images);
	return looked;
}

/* Whether every process asked for is this user's own. */
static bool are_own(const struct options *options)
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

#define BY_AGENT "probe-enable --inject -p PID, or -b agent -- COMMAND"

/* Prints what a user without privilege can do instead, to follow an error message. "" if that is not the trouble. */
static const char *way_out(const struct options *options, const struct arming *arming, int err, char *text, size_t room)
{
	const char *kernels = options->pgrp     ? "--pgrp needs"
	                      : options->cgroup ? "--cgroup needs"
	                      : arming->hold    ? "--for, --until-exit and --budget need"
	                                        : NULL;

	text[0] = 0;
	if ((err != -EPERM && err != -EACCES && err != -EOPNOTSUPP) || pp_backend_permitted("kernel") || !are_own(options))
		return text;
	for (size_t i = 0; i < arming->npatterns && !kernels; i++)
		if (!strncmp(arming->patterns[i], "func:", 5))
			kernels = "func:SYMBOL needs";
	if (kernels)
		snprintf(text, room, "; %s the kernel backend; the agent arms probes without privilege: " BY_AGENT,
		         kernels);
	else if (err != -EOPNOTSUPP)
		snprintf(text, room, "; your own processes need no privilege with the agent: %s",
		         arming->command ? "-b agent -- COMMAND" : BY_AGENT);
	return text;
}

/* A command that is not an ELF file has no probes. False: it is one. */
static bool tell_script(struct options *options, const struct command *command)
{
	char *interpreter;

	if (!command_is_script(command->path, &interpreter))
		return false;
	if (interpreter)
		complain(options, "'%s' is a script and has no probes: name its interpreter, as in -- %s %s",
		         command->path, interpreter, command->path);
	else
		complain(options, "'%s' is not an ELF file and has no probes: name the program that runs it",
		         command->path);
	free(interpreter);
	return true;
}

enum { WARNINGS_SHOWN = 3 };

/* Notes of which nothing was made. */
static void tell_left_out(const struct options *options, const struct pp_report *report)
{
	size_t n = pp_report_warnings(report), shown = options->verbose || n <= WARNINGS_SHOWN + 1 ? n : WARNINGS_SHOWN;

	for (size_t i = 0; i < shown; i++)
		remark(options, "%s", pp_report_warning(report, i));
	if (shown < n)
		remark(options, "%zu more notes are damaged or left out; -v shows them", n - shown);
}

/* Whether what is written to out is read together with the errors: a terminal, 2>&1. */
static bool beside_errors(FILE *out)
{
	struct stat a, b;

	return !fstat(fileno(out), &a) && !fstat(STDERR_FILENO, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* rows_shown: the refused rows, with their reasons, stand above. */
static void tell_refused(struct options *options, const struct pp_report *report, const struct tally *tally,
                         bool rows_shown)
{
	size_t n, reasons = 0, *rows = refused_rows(report, &n);

	if (n && rows_shown) {
		complain(options, "armed %zu of %zu", tally->armed, tally->armed + tally->refused);
		free(rows);
		return;
	}
	for (size_t i = 0; i < n; i++)
		reasons += !i || !same_reason(report, rows[i - 1], rows[i]);
	if (reasons > 1)
		complain(options, "armed %zu of %zu: %.*s; and %zu other reason%s", tally->armed,
		         tally->armed + tally->refused, (int)text_sentence_length(why(report, rows[0])),
		         why(report, rows[0]), reasons - 1, plural(reasons - 1));
	else if (n)
		complain(options, "armed %zu of %zu: %s", tally->armed, tally->armed + tally->refused,
		         why(report, rows[0]));
	free(rows);
}

/* Whether a refused row gives this reason. */
static bool tells(const struct pp_report *report, const char *reason)
{
	for (size_t i = 0; i < pp_report_rows(report); i++)
		if (pp_report_state(report, i) == PP_REFUSED && !is_unmatched(report, i) &&
		    !strcmp(why(report, i), reason))
			return true;
	return false;
}

static void summarise(const struct options *options, const struct pp_session *session, const struct tally *tally,
                      bool command)
{
	if (tally->armed)
		remark_verbose(options, "armed %zu site%s of %zu probe%s in session '%s'", tally->armed,
		               plural(tally->armed), tally->armed_probes, plural(tally->armed_probes),
		               pp_session_name(session));
	if (tally->pending && !command)
		remark(options, "%zu probe%s pending: armed as soon as a process maps the file", tally->pending,
		       tally->pending == 1 ? " is" : "s are");
}

static bool agreed(void)
{
	char answer[16] = "";

	fputs("Arm them? [y/N] ", stderr);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

/* Asks on a terminal before very many sites are armed. */
static int enable(struct options *options, struct pp_session *session, struct pp_request *request,
                  struct pp_report **report, bool *declined)
{
	int err = pp_session_enable(session, request, report);

	if (err != -EDQUOT || options->json || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return err;
	remark(options, "%s", pp_error());
	*declined = !agreed();
	if (*declined)
		return err;
	pp_report_free(*report);
	pp_request_many(request, 0);
	return pp_session_enable(session, request, report);
}

#define INCOMPLETE_MAX 3 /* reasons that are told */

/* Says why armed probes are not as asked for, when their rows are not shown. */
static void tell_incomplete(const struct options *options, const struct pp_report *report)
{
	const char *last = "";
	size_t told = 0;

	for (size_t i = 0; i < pp_report_rows(report); i++) {
		const char *reason = pp_report_reason(report, i);

		if (pp_report_state(report, i) == PP_REFUSED || !reason || !strcmp(reason, last))
			continue;
		last = reason;
		if (told++ < INCOMPLETE_MAX)
			remark(options, "%s: %s", pp_report_probe(report, i), reason);
	}
	if (told > INCOMPLETE_MAX)
		remark(options, "and %zu more remarks; -v shows them", told - INCOMPLETE_MAX);
}

enum status arming_run(struct options *options, const struct arming *arming, struct pp_session *session,
                       struct pp_request *request, FILE *out)
{
	struct pp_report *report = NULL;
	struct tally tally = { 0 };
	bool declined = false;
	int err = enable(options, session, request, &report, &declined);
	char *error = strdup(declined ? "nothing was armed" : err ? pp_error() : "");
	enum status status;
	bool rows_shown;

	if (!error)
		no_memory();
	if (report)
		count(report, &tally);
	/* Where it failed as a whole, rows tell at most of refusals. */
	if (err && (tally.armed || tally.pending))
		tally = (struct tally){ 0 };
	rows_shown = out && tally_rows(&tally) && !options->json && !options->quiet && err != -EINTR;
	if (rows_shown) {
		put_text(out, options, report, &tally);
		fflush(out);
		rows_shown = beside_errors(out);
	}

	if (!out && report && !options->json && !options->quiet)
		tell_incomplete(options, report);
	status = STATUS_FAILED;
	if (err == -EINTR) {
		complain(options, "interrupted: what was begun is rolled back, nothing was armed");
		goto out;
	}
	if (err == -ENOENT && arming->command && !options->nfiles && tell_script(options, arming->command))
		goto out;
	if (err && !(err == -ENOENT && tally.unmatched && tell_unmatched(options, arming, report))) {
		char instead[256];

		if (!rows_shown || !tells(report, error))
			complain(options, "%s%s", error, way_out(options, arming, err, instead, sizeof(instead)));
		if (err == -EDOM)
			status = STATUS_USAGE;
		if (!tally.refused)
			goto out;
	} else if (!err) {
		if (tally.refused)
			tell_refused(options, report, &tally, rows_shown);
		if (tally.unmatched)
			tell_unmatched(options, arming, report);
		if (!tally_rows(&tally)) {
			complain(options, "there is nothing to arm");
			goto out;
		}
	}
	tell_left_out(options, report);
	if (out && options->json)
		put_json(out, options, session, report);
	summarise(options, session, &tally, arming->command != NULL);
	if (tally.armed || tally.pending)
		status = tally.refused || tally.unmatched ? STATUS_PART : STATUS_DONE;
out:
	pp_report_free(report);
	free(error);
	return status;
}
