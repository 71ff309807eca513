/* SPDX-License-Identifier: MIT */
#include "runtime/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "sdt/image.h"

static void row_release(struct report_row *row)
{
	free(row->probe);
	free(row->file);
	free(row->build_id);
	free(row->reason);
}

int report_add(struct pp_report *report, const struct report_row *row, const struct pp_image *image)
{
	struct report_row *to;

	if (ALLOC_GROW(report->rows, report->nrows + 1, report->rows_room))
		return -ENOMEM;
	to = &report->rows[report->nrows];
	*to = *row;
	to->probe = strdup(row->probe);
	to->file = strdup(image ? image->name : "");
	to->build_id = strdup(image ? pp_image_build_id(image) : "");
	to->reason = row->reason ? strdup(row->reason) : NULL;
	if (!to->probe || !to->file || !to->build_id || (row->reason && !to->reason)) {
		row_release(to);
		return error_nomem();
	}
	report->nrows++;
	return 0;
}

int report_warn(struct pp_report *report, const char *text)
{
	if (ALLOC_GROW(report->warnings, report->nwarnings + 1, report->warnings_room))
		return -ENOMEM;
	report->warnings[report->nwarnings] = strdup(text);
	if (!report->warnings[report->nwarnings])
		return error_nomem();
	report->nwarnings++;
	return 0;
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
	for (size_t i = 0; i < report->nrows; i++)
		row_release(&report->rows[i]);
	for (size_t i = 0; i < report->nwarnings; i++)
		free(report->warnings[i]);
	free(report->warnings);
	free(report->rows);
	free(report);
}

bool pp_report_fast(const struct pp_report *report, size_t row)
{
	return row < report->nrows && report->rows[row].fast;
}

size_t pp_report_rows(const struct pp_report *report)
{
	return report->nrows;
}

/* An index out of range gives a row of zeros. */
static const struct report_row *report_row(const struct pp_report *report, size_t i)
{
	static const struct report_row none = { .state = PP_REFUSED };

	return i < report->nrows ? &report->rows[i] : &none;
}

enum pp_state pp_report_state(const struct pp_report *report, size_t row)
{
	return report_row(report, row)->state;
}

const char *pp_report_probe(const struct pp_report *report, size_t row)
{
	return report_row(report, row)->probe;
}

pid_t pp_report_pid(const struct pp_report *report, size_t row)
{
	return report_row(report, row)->pid;
}

const char *pp_report_file(const struct pp_report *report, size_t row)
{
	return report_row(report, row)->file;
}

const char *pp_report_build_id(const struct pp_report *report, size_t row)
{
	return report_row(report, row)->build_id;
}

const char *pp_report_backend(const struct pp_report *report, size_t row)
{
	return report_row(report, row)->backend;
}

size_t pp_report_sites(const struct pp_report *report, size_t row)
{
	return report_row(report, row)->sites;
}

bool pp_report_verified(const struct pp_report *report, size_t row)
{
	return report_row(report, row)->verified;
}

int64_t pp_report_offset(const struct pp_report *report, size_t row)
{
	return report_row(report, row)->offset;
}

unsigned pp_report_calls_per_thread(const struct pp_report *report, size_t row)
{
	return report_row(report, row)->calls_per_thread;
}

const char *pp_report_reason(const struct pp_report *report, size_t row)
{
	return report_row(report, row)->reason;
}
