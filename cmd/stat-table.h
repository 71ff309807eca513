/* SPDX-License-Identifier: MIT */
/* The counts as a table of plain lines, and the messages that follow it. */
#ifndef CMD_STAT_TABLE_H
#define CMD_STAT_TABLE_H

#include <stdio.h>

#include "cmd/stat-reading.h"

/* Which part of a table is printed, and how. */
struct table_view {
	bool rates;       /* with a column of hits per second */
	bool percentiles; /* with columns of percentiles */
	size_t columns;   /* of the terminal, where the trends are shown that rows have; 0: no trends */
	size_t first, n;  /* rows */
};

void reading_print_table(FILE *out, const struct options *o, const struct reading *reading,
                         const struct table_view *view);
/* Prints the messages that follow the table. all: every row, also those that the table does not show. */
void reading_report(const struct stat_command *c, const struct reading *all, const struct reading *shown);

#endif
