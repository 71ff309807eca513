/* SPDX-License-Identifier: MIT */
#include "cmd/arming.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/command.h"
#include "cmd/images.h"
#include "cmd/options.h"
#include "cmd/output.h"
#include "cmd/resemble.h"
#include "cmd/text.h"

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
		case PP_PENDING:
			tally->pending++;
			break;
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

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
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

	for (size_t from = 0, to; from < n; from = to) {
		size_t sites = 0, probes = 0;
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

static void put_text(FILE *out, const struct options *options, const struct pp_report *report)
{
	for (size_t i = 0; i < pp_report_rows(report); i++) {
		enum pp_state state = pp_report_state(report, i);
		const char *reason = pp_report_reason(report, i);

		if (state == PP_REFUSED)
			continue;
		if (state == PP_ARMED)
			put_painted(out, PAINT_GOOD, "armed");
		else
			put_painted(out, PAINT_WAITING, "pending");
		fputs(state == PP_ARMED ? "    " : "  ", out);
		text_puts(out, pp_report_probe(report, i));
		put_process(out, report, i);
		if (state == PP_ARMED)
			fprintf(out, "  %zu site%s  %s", pp_report_sites(report, i), plural(pp_report_sites(report, i)),
			        pp_report_backend(report, i));
		/* What it costs is for -v. */
		if (reason && (options->verbose || strncmp(reason, "cost: ", 6))) {
			fputs(", ", out);
			text_puts(out, reason);
		}
		putc('\n', out);
	}
	put_refused(out, options, report);
}

static json_object *json_pid(const struct pp_report *report, size_t row)
{
	return pp_report_pid(report, row) ? json_object_new_int(pp_report_pid(report, row)) : NULL;
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
			if (reason)
				json_object_object_add(row, "reason", text_json(reason));
			json_object_array_add(armed, row);
			break;
		case PP_PENDING:
			json_object_array_add(pending, json_of("probe", probe, "file", file, NULL));
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

static void tell_refused(struct options *options, const struct pp_report *report, const struct tally *tally)
{
	size_t n, reasons = 0, *rows = refused_rows(report, &n);

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

enum status arming_run(struct options *options, const struct arming *arming, struct pp_session *session,
                       const struct pp_request *request, FILE *out)
{
	struct pp_report *report = NULL;
	struct tally tally = { 0 };
	int err = pp_session_enable(session, request, &report);
	char *error = strdup(err ? pp_error() : "");
	enum status status;

	if (!error)
		no_memory();
	if (report)
		count(report, &tally);
	/* Where it failed as a whole, rows tell at most of refusals. */
	if (err && (tally.armed || tally.pending))
		tally = (struct tally){ 0 };
	if (out && tally_rows(&tally) && !options->json && !options->quiet && err != -EINTR) {
		put_text(out, options, report);
		fflush(out);
	}

	status = STATUS_FAILED;
	if (err == -EINTR) {
		complain(options, "interrupted: what was begun is rolled back, nothing was armed");
		goto out;
	}
	if (err && !(err == -ENOENT && tally.unmatched && tell_unmatched(options, arming, report))) {
		complain(options, "%s", error);
		if (!tally.refused)
			goto out;
	} else if (!err) {
		if (tally.refused)
			tell_refused(options, report, &tally);
		if (tally.unmatched)
			tell_unmatched(options, arming, report);
		if (!tally_rows(&tally)) {
			complain(options, "there is nothing to arm");
			goto out;
		}
	}
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
