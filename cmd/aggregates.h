/* SPDX-License-Identifier: MIT */
/* The aggregates of a session in JSON. */
#ifndef CMD_AGGREGATES_H
#define CMD_AGGREGATES_H

#include <json-c/json.h>
#include <probepoint.h>
#include <stdint.h>

/* Returns the value of the JSON key "aggregates", an array. NULL if there are no tables. */
json_object *aggregates_json(const struct pp_aggregates *aggregates, uint64_t top);

#endif
