/* SPDX-License-Identifier: MIT */
/*
 * The most frequent values of an argument, in bounded memory (the space-saving algorithm of Metwally, Agrawal and El Abbadi).
 *
 * A value that finds no room replaces the rarest one, and begins with its count. So a count can be too large, by at most `error`;
 * count - error is certain. As long as there is room for all values, errors are 0.
 */
#ifndef CMD_REPORT_TOP_H
#define CMD_REPORT_TOP_H

#include "cmd/report/model.h"
#include "cmd/report/table.h"

enum { TOP_VALUES = 256, TOP_BYTES = 80 }; /* values of an argument, bytes of a value */

/* A value as bytes: a number, or the beginning of a text. */
struct top_value {
	uint64_t count, error;
	uint32_t hash, place; /* place in the heap */
	enum value_kind kind;
	bool cut;
	uint16_t length, label; /* the label begins after the number. 0: no label */
	char bytes[TOP_BYTES];
};

struct top {
	struct top_value *values;
	uint32_t *heap; /* the rarest value first */
	size_t n, room;
	struct index_table by_value;
	uint64_t total; /* all values */
};

/* The room that all arguments together may use. Above it, arguments keep the room that they have. */
struct top_budget {
	size_t values;
};

void top_add(struct top *top, const struct report_value *value, struct top_budget *budget);
/* Sorts the values by their certain counts, the most frequent first. Nothing may be added after it. */
void top_sort(struct top *top);
void top_release(struct top *top);

#endif
