/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_REPORT_H
#define RUNTIME_REPORT_H

#include <probepoint.h>

struct report_row {
	enum pp_state state;
	char *probe, *file, *build_id;
	const char *backend;
	char *reason;
	pid_t pid;
	size_t sites;
	bool verified, fast;
	int64_t offset;
	unsigned calls_per_thread;
};

struct pp_report {
	struct report_row *rows;
	size_t nrows, rows_room;
	char **warnings;
	size_t nwarnings, warnings_room;
};

/* Adds a row with copies of its strings, and with the file and build id of the image, which may be NULL. -ENOMEM. */
int report_add(struct pp_report *report, const struct report_row *row, const struct pp_image *image);

/* Adds a copy of the text. -ENOMEM. */
int report_warn(struct pp_report *report, const char *text);

#endif
