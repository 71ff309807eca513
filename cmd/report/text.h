/* SPDX-License-Identifier: MIT */
#ifndef CMD_REPORT_TEXT_H
#define CMD_REPORT_TEXT_H

#include <stdio.h>

#include "cmd/report/run.h"
#include "cmd/report/stats.h"

enum report_by { BY_PROBE, BY_THREAD, BY_PROCESS };

struct text_style {
	enum report_by by; /* how calls are grouped */
	size_t rows;       /* of each table; 0: all */
	bool histograms;   /* print the histogram of each function */
};

/* Prints the report as tables. */
void text_print(FILE *out, const struct run *run, const struct stats *stats, const struct text_style *style);

#endif
