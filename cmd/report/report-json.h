/* SPDX-License-Identifier: MIT */
#ifndef CMD_REPORT_REPORT_JSON_H
#define CMD_REPORT_REPORT_JSON_H

#include "cmd/json.h"
#include "cmd/report/run.h"
#include "cmd/report/stats.h"

/* Makes the document of --json. */
json_object *report_json(const struct run *run, const struct stats *stats);

#endif
