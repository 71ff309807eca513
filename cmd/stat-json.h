/* SPDX-License-Identifier: MIT */
#ifndef CMD_STAT_JSON_H
#define CMD_STAT_JSON_H

#include "cmd/stat-reading.h"

/* Prints a reading as a JSON document on a line. */
void reading_print_json(struct options *o, const struct reading *reading);

#endif
