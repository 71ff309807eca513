/* SPDX-License-Identifier: MIT */
/* The aggregates of a session as tables of text, with histograms as bars. */
#ifndef CMD_AGGREGATES_TABLE_H
#define CMD_AGGREGATES_TABLE_H

#include <probepoint.h>
#include <stdint.h>
#include <stdio.h>

#define AGGREGATES_WIDTH 100 /* columns of output that is not to a terminal */

/*
 * Prints a table for each probe and expression, with the keys in the order of pp_session_aggregates(). top: at most this many
 * keys; 0: all. Rows below the keys count the values that are in no key, so that the rows add up to the total. columns: the
 * width of the terminal, which limits the bars.
 */
void aggregates_print(FILE *out, const struct pp_aggregates *aggregates, uint64_t top, size_t columns);

#endif
