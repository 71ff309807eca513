/* SPDX-License-Identifier: MIT */
/* Writes a report as one page that needs no network: page.html, with the trace's data as JSON. */
#ifndef CMD_REPORT_HTML_H
#define CMD_REPORT_HTML_H

#include <stdio.h>

#include "cmd/report/folded.h"
#include "cmd/report/heat.h"
#include "cmd/report/run.h"
#include "cmd/report/slices.h"
#include "cmd/report/stats.h"

enum {
	HTML_HEATS = 256,   /* functions with a heat map: those that return first */
	HTML_THREADS = 512, /* threads whose records are shown over time */
	HTML_LOSSES = 1000,
	HTML_FRAMES = 20000, /* of the flame graph */
};

struct html {
	FILE *file;
	int64_t origin; /* of the first record */
	bool has_origin;
	struct slices slices;
	struct heat *heats; /* by the function's index */
	size_t nheats, heats_room;
	struct series *threads; /* by the thread's index */
	size_t nthreads, threads_room;
	struct report_loss losses[HTML_LOSSES];
	size_t nlosses; /* also those that found no room */
};

/* Creates the file. Returns 0 or a negative errno. */
int html_open(struct html *html, const char *path);
/* Makes the consumer that fills *html. */
struct report_consumer html_consumer(struct html *html);
/* Writes the page and closes the file. folded has the same run's stacks. Returns 0 or a negative errno. */
int html_close(struct html *html, const struct run *run, const struct stats *stats, const struct folded *folded);
void html_release(struct html *html);

#endif
