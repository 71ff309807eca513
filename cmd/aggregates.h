/* SPDX-License-Identifier: MIT */
/* The aggregates of a session in JSON. */
#ifndef CMD_AGGREGATES_H
#define CMD_AGGREGATES_H

#include <json-c/json.h>
#include <probepoint.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Returns the value of the JSON key "aggregates", an array. NULL if there are no tables. */
json_object *aggregates_json(const struct pp_aggregates *aggregates, uint64_t top);

/*
 * A percentile. If it is so large that a double does not have each integer, it is rounded to an integer that is not
 * outside of the values. All outputs show this integer.
 */
struct quantile {
	double value; /* NAN: unknown */
	bool is_integer, is_unsigned;
	int64_t integer; /* if is_integer */
};

/* Reads the value below or at which the share q of the values lies. It is unknown if there are no values. */
struct quantile quantile_read(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t call,
                              double q);
/* Prints the percentile right-aligned in 10 columns, without a fraction, "-" if it is unknown. */
void quantile_put(FILE *out, const struct quantile *quantile);
json_object *quantile_json(const struct quantile *quantile);

#endif
