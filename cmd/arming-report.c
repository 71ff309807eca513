/* SPDX-License-Identifier: MIT */
#include "cmd/arming-report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/escape.h"
#include "cmd/options.h"
#include "cmd/ui.h"

enum { ROWS_SHOWN = 20, REMARKS_SHOWN = 3 };

/* ---- rows ---- */

bool arming_report_is_unmatched(const struct pp_report *report, size_t row)
{
	const char *file = pp_report_file(report, row);

	return pp_report_state(report, row) == PP_REFUSED && pp_report_offset(report, row) < 0 && (!file || !*file);
}

static size_t row_sites(const struct pp_report *report, size_t row)
{
	size_t n = pp_report_sites(report, row);

	return n ? n : 1;
}

/* Returns the reason of a refused row. */
static const char *row_reason(const struct pp_report *report, size_t row)
{
	const char *reason = pp_report_reason(report, row);

	return reason ? reason : "unknown reason";
}

void arming_tally_count(struct arming_tally *tally, const struct pp_report *report)
{
	*tally = (struct arming_tally){ 0 };
	for (size_t i = 0; i < pp_report_rows(report); i++) {
		switch (pp_report_state(report, i)) {
		case PP_ARMED:
			tally->armed += row_sites(report, i);
			tally->armed_probes++;
			break;
		case PP_PENDING: tally->pending++; break;
		case PP_REFUSED:
			if (arming_report_is_unmatched(report, i))
				tally->unmatched++;
			else
				tally->refused += row_sites(report, i);
			break;
		}
	}
}

bool arming_tally_is_empty(const struct arming_tally *tally)
{
	return !tally->armed && !tally->pending && !tally->refused && !tally->unmatched;
}

bool arming_report_gives_reason(const struct pp_report *report, const char *reason)
{
	for (size_t i = 0; i < pp_report_rows(report); i++)
		if (pp_report_state(report, i) == PP_REFUSED && !arming_report_is_unmatched(report, i) &&
		    !strcmp(row_reason(report, i), reason))
			return true;
	return false;
}

/* Orders refused rows by reason, then by process. */
static int refused_compare(const void *a, const void *b, void *arg)
{
	const struct pp_report *report = arg;
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	pid_t p = pp_report_pid(report, x), q = pp_report_pid(report, y);
	int order = strcmp(row_reason(report, x), row_reason(report, y));

	if (order)
		return order;
	if (p != q)
		return p > q ? 1 : -1;
	return (x > y) - (x < y);
}

static bool is_same_reason(const struct pp_report *report, size_t x, size_t y)
{
	return pp_report_pid(report, x) == pp_report_pid(report, y) &&
	       !strcmp(row_reason(report, x), row_reason(report, y));
}

/* Returns the refused rows, ordered by refused_compare(). The caller frees the array. */
static size_t *refused_rows(const struct pp_report *report, size_t *n)
{
	size_t *rows = xcalloc(pp_report_rows(report), sizeof(*rows));

	*n = 0;
	for (size_t i = 0; i < pp_report_rows(report); i++)
		if (pp_report_state(report, i) == PP_REFUSED && !arming_report_is_unmatched(report, i))
			rows[(*n)++] = i;
	qsort_r(rows, *n, sizeof(*rows), refused_compare, (void *)report);
	return rows;
}

/* ---- text ---- */

static void put_process(FILE *out, const struct pp_report *report, size_t row)
{
	bool pending = pp_report_state(report, row) == PP_PENDING;

	if (!pp_report_pid(report, row) || pending) {
		fputs("  ", out);
		escape_put(out, pp_report_file(report, row));
	}
	if (pp_report_pid(report, row))
		fprintf(out, "  pid %d", pp_report_pid(report, row));
}

/* Prints n refused rows of one reason as a line. */
static void put_refused_rows(FILE *out, const struct options *options, const struct pp_report *report,
                             const size_t *rows, size_t n)
{
	size_t sites = 0, probes = 0;
	const char *last = NULL;

	for (size_t i = 0; i < n; i++) {
		const char *probe = pp_report_probe(report, rows[i]);

		sites += row_sites(report, rows[i]);
		probes += !last || strcmp(last, probe);
		last = probe;
	}
	ui_put_color(out, UI_RED, "refused");
	fputs("  ", out);
	escape_put(out, pp_report_probe(report, rows[0]));
	if (probes > 1)
		fprintf(out, " and %zu more", probes - 1);
	put_process(out, report, rows[0]);
	if (options->verbose && pp_report_offset(report, rows[0]) >= 0)
		fprintf(out, "  offset 0x%" PRIx64, (uint64_t)pp_report_offset(report, rows[0]));
	else if (pp_report_offset(report, rows[0]) >= 0)
		fprintf(out, "  %zu site%s", sites, ui_plural(sites));
	fputs(": ", out);
	escape_put_message(out, row_reason(report, rows[0]));
	putc('\n', out);
}

static void put_refused(FILE *out, const struct options *options, const struct pp_report *report)
{
	size_t n, *rows = refused_rows(report, &n);

	for (size_t from = 0, to, shown = 0; from < n; from = to, shown++) {
		if (!options->verbose && shown == ROWS_SHOWN) {
			fprintf(out, "... and %zu more refused sites (list them with -v)\n", n - from);
			break;
		}
		to = from + 1;
		while (to < n && !options->verbose && is_same_reason(report, rows[from], rows[to]))
			to++;
		put_refused_rows(out, options, report, rows + from, to - from);
	}
	free(rows);
}

/* Prints an armed or pending row. */
static void put_row(FILE *out, const struct options *options, const struct pp_report *report, size_t row)
{
	enum pp_state state = pp_report_state(report, row);
	const char *reason = pp_report_reason(report, row);

	if (state == PP_ARMED)
		ui_put_color(out, UI_GREEN, "armed");
	else
		ui_put_color(out, UI_YELLOW, "pending");
	fputs(state == PP_ARMED ? "    " : "  ", out);
	escape_put(out, pp_report_probe(report, row));
	put_process(out, report, row);
	if (state == PP_ARMED)
		fprintf(out, "  %zu site%s  %s", pp_report_sites(report, row), ui_plural(pp_report_sites(report, row)),
		        pp_report_backend(report, row));
	/* The cost of a filter is shown with -v only. */
	if (reason && (options->verbose || strncmp(reason, "cost: ", 6))) {
		fputs(", ", out);
		escape_put(out, reason);
	}
	putc('\n', out);
}

/* Prints the sum of all rows, after some of them. */
static void put_sum(FILE *out, const struct arming_tally *tally, size_t more)
{
	fprintf(out, "... and %zu more rows (list them with -v): ", more);
	if (tally->armed)
		fprintf(out, "%zu site%s of %zu probe%s armed in total%s", tally->armed, ui_plural(tally->armed),
		        tally->armed_probes, ui_plural(tally->armed_probes), tally->pending ? ", " : "");
	if (tally->pending)
		fprintf(out, "%zu probe%s pending in total", tally->pending, ui_plural(tally->pending));
	putc('\n', out);
}

void arming_report_print_text(FILE *out, const struct options *options, const struct pp_report *report,
                              const struct arming_tally *tally)
{
	size_t rows = tally->armed_probes + tally->pending, shown = 0;
	size_t most = options->verbose || rows <= ROWS_SHOWN ? rows : ROWS_SHOWN;

	for (size_t i = 0; i < pp_report_rows(report) && shown < most; i++)
		if (pp_report_state(report, i) != PP_REFUSED) {
			put_row(out, options, report, i);
			shown++;
		}
	if (shown < rows)
		put_sum(out, tally, rows - shown);
	put_refused(out, options, report);
}

/* ---- JSON ---- */

/* Creates a row with the keys that all states have. */
static json_object *row_json(const struct pp_report *report, size_t row)
{
	json_object *object = json_new_object();
	pid_t pid = pp_report_pid(report, row);

	json_add_text(object, "probe", pp_report_probe(report, row));
	if (pp_report_state(report, row) != PP_PENDING)
		json_add(object, "pid", pid ? json_int(pid) : NULL);
	json_add_text(object, "file", arming_report_is_unmatched(report, row) ? NULL : pp_report_file(report, row));
	return object;
}

/* Adds the keys that armed and pending rows have only sometimes. */
static void row_json_add_optional(json_object *object, const struct pp_report *report, size_t row)
{
	unsigned calls = pp_report_calls_per_thread(report, row);
	const char *reason = pp_report_reason(report, row);

	if (pp_report_fast(report, row))
		json_add_bool(object, "fast", true);
	if (calls)
		json_add_int(object, "calls_per_thread", calls);
	if (reason)
		json_add_text(object, "reason", reason);
}

static json_object *armed_json(const struct pp_report *report, size_t row)
{
	json_object *object = row_json(report, row);

	json_add_text(object, "build_id", pp_report_build_id(report, row));
	json_add_text(object, "backend", pp_report_backend(report, row));
	json_add_uint(object, "sites", pp_report_sites(report, row));
	json_add_bool(object, "verified", pp_report_verified(report, row));
	row_json_add_optional(object, report, row);
	return object;
}

static json_object *pending_json(const struct pp_report *report, size_t row)
{
	json_object *object = row_json(report, row);

	row_json_add_optional(object, report, row);
	return object;
}

static json_object *refused_json(const struct pp_report *report, size_t row)
{
	json_object *object = row_json(report, row);
	int64_t offset = pp_report_offset(report, row);

	json_add(object, "offset", offset >= 0 ? json_int(offset) : NULL);
	json_add_text(object, "reason", row_reason(report, row));
	return object;
}

json_object *arming_report_json(const struct pp_session *session, const struct pp_report *report)
{
	json_object *document = json_new_object();
	json_object *armed = json_new_array(), *pending = json_new_array();
	json_object *refused = json_new_array();

	for (size_t i = 0; i < pp_report_rows(report); i++)
		switch (pp_report_state(report, i)) {
		case PP_ARMED: json_append(armed, armed_json(report, i)); break;
		case PP_PENDING: json_append(pending, pending_json(report, i)); break;
		case PP_REFUSED: json_append(refused, refused_json(report, i)); break;
		}
	json_add_text(document, "session", pp_session_name(session));
	json_add(document, "armed", armed);
	json_add(document, "pending", pending);
	json_add(document, "refused", refused);
	return document;
}

void arming_report_print_json(FILE *out, struct options *options, const struct pp_session *session,
                              const struct pp_report *report)
{
	ui_print_document(options, out, arming_report_json(session, report));
}

/* ---- messages ---- */

void arming_report_refused(struct options *options, const struct pp_report *report, const struct arming_tally *tally,
                           bool rows_shown)
{
	size_t n, reasons = 0, all = tally->armed + tally->refused, *rows = refused_rows(report, &n);
	const char *first = n ? row_reason(report, rows[0]) : "";

	for (size_t i = 0; i < n; i++)
		reasons += !i || !is_same_reason(report, rows[i - 1], rows[i]);
	if (n && rows_shown)
		ui_error(options, "armed %zu of %zu", tally->armed, all);
	else if (reasons > 1)
		ui_error(options, "armed %zu of %zu: %.*s; and %zu other reason%s", tally->armed, all,
		         (int)escape_message_length(first), first, reasons - 1, ui_plural(reasons - 1));
	else if (n)
		ui_error(options, "armed %zu of %zu: %s", tally->armed, all, first);
	free(rows);
}

void arming_report_remarks(const struct options *options, const struct pp_report *report)
{
	const char *last = "";
	size_t n = 0;

	for (size_t i = 0; i < pp_report_rows(report); i++) {
		const char *reason = pp_report_reason(report, i);

		if (pp_report_state(report, i) == PP_REFUSED || !reason || !strcmp(reason, last))
			continue;
		last = reason;
		if (n++ < REMARKS_SHOWN)
			ui_info(options, "%s: %s", pp_report_probe(report, i), reason);
	}
	if (n > REMARKS_SHOWN)
		ui_info(options, "%zu more message%s; show all with -v", n - REMARKS_SHOWN,
		        ui_plural(n - REMARKS_SHOWN));
}

void arming_report_warnings(const struct options *options, const struct pp_report *report)
{
	size_t n = pp_report_warnings(report), shown = options_warnings_shown(options, n);

	for (size_t i = 0; i < shown; i++)
		ui_info(options, "%s", pp_report_warning(report, i));
	if (shown < n)
		ui_info(options, "%zu more notes are damaged or left out; list them with -v", n - shown);
}
