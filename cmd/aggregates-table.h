/* SPDX-License-Identifier: MIT */
/* The aggregates of a session as tables of text, with histograms as bars. */
#ifndef CMD_AGGREGATES_TABLE_H
#define CMD_AGGREGATES_TABLE_H

#include <probepoint.h>
#include <stdint.h>
#include <stdio.h>

#define AGGREGATES_WIDTH 100 /* columns of output that is not to a terminal */

/*
 * Prints a table for each probe and expression, the key with most hits first. top: at most this many keys; 0: all. The rows
 * below the keys say what is in none of them, so that the counts of all rows add up to the total. columns: of the terminal,
 * for the bars.
 */
void aggregates_print(FILE *out, const struct pp_aggregates *aggregates, uint64_t top, size_t columns);

#endif
