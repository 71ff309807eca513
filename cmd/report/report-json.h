/* SPDX-License-Identifier: MIT */
#ifndef CMD_REPORT_REPORT_JSON_H
#define CMD_REPORT_REPORT_JSON_H

#include "cmd/json.h"
#include "cmd/report/run.h"
#include "cmd/report/stats.h"

/* Prints the members of the document of --json, without its braces. print() prints a value and frees it; NULL is null. */
void report_json_print_members(FILE *out, const struct run *run, const struct stats *stats,
                               void (*print)(FILE *out, json_object *object));

#endif
