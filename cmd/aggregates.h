/* SPDX-License-Identifier: MIT */
/* Prints the aggregates of a session. */
#ifndef CMD_AGGREGATES_H
#define CMD_AGGREGATES_H

#include <json-c/json.h>
#include <probepoint.h>
#include <stdint.h>

/* Prints a table for each probe and expression. top: at most this many keys; 0: all. */
void aggregates_print(const struct pp_aggregates *aggregates, uint64_t top);

/* Returns the value of the JSON key "aggregates", an array. NULL if there are no tables. */
json_object *aggregates_json(const struct pp_aggregates *aggregates, uint64_t top);

#endif
