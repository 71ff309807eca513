/* SPDX-License-Identifier: MIT */
/* The aggregates of a session in JSON. */
#ifndef CMD_AGGREGATES_H
#define CMD_AGGREGATES_H

#include <json-c/json.h>
#include <probepoint.h>
#include <stdbool.h>
#include <stdint.h>

/* Returns the value of the JSON key "aggregates", an array. NULL if there are no tables. */
json_object *aggregates_json(const struct pp_aggregates *aggregates, uint64_t top);

/*
 * Returns whether a percentile is so large that a double does not have each integer, and rounds it to an integer that is not
 * outside of the values.
 */
bool quantile_to_integer(double quantile, const struct pp_values *values, int64_t *integer);

#endif
