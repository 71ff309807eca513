/* SPDX-License-Identifier: MIT */
/* The counts as a table of plain lines, and the messages that follow it. */
#ifndef CMD_STAT_TABLE_H
#define CMD_STAT_TABLE_H

#include <stdio.h>

#include "cmd/stat-reading.h"

/* Prints the rows. rates: with a column of hits per second. */
void reading_print_table(FILE *out, const struct options *o, const struct reading *reading, bool rates);
/* Prints the messages that follow the table. all: every row, also those that the table does not show. */
void reading_report(const struct options *o, const struct reading *all, const struct reading *shown);

#endif
