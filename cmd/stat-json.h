/* SPDX-License-Identifier: MIT */
#ifndef CMD_STAT_JSON_H
#define CMD_STAT_JSON_H

#include "cmd/stat-reading.h"

/* Prints a reading as a JSON document on a line. top: at most this many keys of each aggregate; 0: all. */
void reading_print_json(struct options *o, const struct reading *reading, uint64_t top);

#endif
