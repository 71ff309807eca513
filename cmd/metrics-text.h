/* SPDX-License-Identifier: MIT */
/* Metrics as text. */
#ifndef CMD_METRICS_TEXT_H
#define CMD_METRICS_TEXT_H

#include <stdio.h>

#include "cmd/metrics.h"

enum metrics_format {
	METRICS_OPENMETRICS, /* OpenMetrics 1.0 */
	METRICS_PROMETHEUS   /* the text format 0.0.4 of Prometheus */
};

/* Writes the families that have samples. metrics_finish() has been called. */
void metrics_print(FILE *out, const struct metrics *m, enum metrics_format format);

/* Formats a number as the label le has it: the shortest text that reads back as the same number, with a point or an exponent. */
void metrics_format_number(char buffer[32], double number);

#endif
