/* SPDX-License-Identifier: MIT */
#ifndef CMD_REPORT_FIELDS_H
#define CMD_REPORT_FIELDS_H

#include <babeltrace2/babeltrace.h>

#include "cmd/report/model.h"

enum { FIELDS_MAX = 256 }; /* fields of a record; more are left out */

/* The fields of the last record. The memory is used again for each record. */
struct fields {
	struct report_value values[FIELDS_MAX];
	size_t n;
	uint64_t left_out; /* in all records */
	char *names;       /* of members of structures and arrays */
	size_t used, room;
	bool is_ours;
};

/*
 * Stores the fields of an event. is_ours: the trace is probepoint's, so "_faults" and "_cut" say which arguments could not be read
 * or were cut. The values are valid as long as the event.
 */
void fields_take(struct fields *fields, const bt_event *event, bool is_ours);
void fields_release(struct fields *fields);

/* Returns the member of a structure that has one of the names (a list that ends with NULL), NULL if none has. */
const bt_field *fields_member(const bt_field *structure, const char *const *names);
/* Stores an integer of any class. Returns false if the field (NULL allowed) is not an integer. */
bool fields_integer(const bt_field *field, int64_t *value);
/* Returns the text of a string field, NULL if the field (NULL allowed) is not one. */
const char *fields_text(const bt_field *field);

#endif
