/* SPDX-License-Identifier: MIT */
#include "runtime/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "sdt/image.h"

int report_add(struct pp_report *report, const struct report_row *row, const struct pp_image *image)
{
	struct report_row *more = realloc(report->rows, (report->nrows + 1) * sizeof(*more)), *to;

	if (!more)
		return error_nomem();
	report->rows = more;
	to = &more[report->nrows];
	*to = *row;
	to->probe = strdup(row->probe);
	to->file = strdup(image ? image->name : "");
	to->build_id = strdup(image ? pp_image_build_id(image) : "");
	to->reason = row->reason ? strdup(row->reason) : NULL;
	report->nrows++;
	if (!to->probe || !to->file || !to->build_id || (row->reason && !to->reason))
		return error_nomem();
	return 0;
}

int report_warn(struct pp_report *report, const char *text)
{
	char **more = realloc(report->warnings, (report->nwarnings + 1) * sizeof(*more));

	if (!more)
		return error_nomem();
	report->warnings = more;
	more[report->nwarnings] = strdup(text);
	return more[report->nwarnings++] ? 0 : error_nomem();
}

size_t pp_report_warnings(const struct pp_report *report)
{
	return report->nwarnings;
}

const char *pp_report_warning(const struct pp_report *report, size_t i)
{
	return i < report->nwarnings ? report->warnings[i] : NULL;
}

void pp_report_free(struct pp_report *report)
{
	if (!report)
		return;
	for (size_t i = 0; i < report->nrows; i++) {
		free(report->rows[i].probe);
		free(report->rows[i].file);
		free(report->rows[i].build_id);
		free(report->rows[i].reason);
	}
	for (size_t i = 0; i < report->nwarnings; i++)
		free(report->warnings[i]);
	free(report->warnings);
	free(report->rows);
	free(report);
}

size_t pp_report_rows(const struct pp_report *report)
{
	return report->nrows;
}

enum pp_state pp_report_state(const struct pp_report *report, size_t row)
{
	return report->rows[row].state;
}

const char *pp_report_probe(const struct pp_report *report, size_t row)
{
	return report->rows[row].probe;
}

pid_t pp_report_pid(const struct pp_report *report, size_t row)
{
	return report->rows[row].pid;
}

const char *pp_report_file(const struct pp_report *report, size_t row)
{
	return report->rows[row].file;
}

const char *pp_report_build_id(const struct pp_report *report, size_t row)
{
	return report->rows[row].build_id;
}

const char *pp_report_backend(const struct pp_report *report, size_t row)
{
	return report->rows[row].backend;
}

size_t pp_report_sites(const struct pp_report *report, size_t row)
{
	return report->rows[row].sites;
}

bool pp_report_verified(const struct pp_report *report, size_t row)
{
	return report->rows[row].verified;
}

int64_t pp_report_offset(const struct pp_report *report, size_t row)
{
	return report->rows[row].offset;
}

unsigned pp_report_calls_per_thread(const struct pp_report *report, size_t row)
{
	return report->rows[row].calls_per_thread;
}

const char *pp_report_reason(const struct pp_report *report, size_t row)
{
	return report->rows[row].reason;
}
