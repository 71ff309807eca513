/* SPDX-License-Identifier: MIT */
/* Stacks in the keys of aggregates: as text, as JSON, and folded for flame graphs. */
#ifndef CMD_STACKS_H
#define CMD_STACKS_H

#include <json-c/json.h>
#include <probepoint.h>
#include <stdint.h>
#include <stdio.h>

#define STACKS_SHOWN 10 /* keys with a stack that a table shows if the user gives no number */

/* Returns the part of the table's key that is a stack, or the number of parts. */
size_t stack_part(const struct pp_aggregates *aggregates, size_t table);

/* Prints a frame: its function and offset, else its file or process and its address. */
void stack_put_frame(FILE *out, const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part,
                     size_t i);
/* Prints the frames from the second on, each on a line of its own, below the column that begins at `columns`. */
void stack_put_callers(FILE *out, const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part,
                       size_t columns);

/* Returns an array with an object for each frame. */
json_object *stack_json(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part);

/*
 * Prints a line "OUTERMOST;...;INNERMOST VALUE" for each key of each table that has a stack, as flame graphs need. The other
 * parts of the key come first, and the probe's name comes last if there are several probes. The value is the first call's sum if it is sum(), else
 * its count. Values that are in no key have lines of their own. Returns the number of such tables.
 */
size_t stacks_print_folded(FILE *out, const struct pp_aggregates *aggregates);

#endif
