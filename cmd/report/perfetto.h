/* SPDX-License-Identifier: MIT */
/* Writes a trace in the JSON format of Chrome ("Trace Event Format"), which ui.perfetto.dev and chrome://tracing open. */
#ifndef CMD_REPORT_PERFETTO_H
#define CMD_REPORT_PERFETTO_H

#include <stdio.h>

#include "cmd/report/run.h"
#include "cmd/report/stats.h"

struct perfetto {
	const char *path;
	FILE *file;
	bool is_seekable; /* perfetto_restart() is possible */
	const struct run *run;
	int64_t begin; /* time 0: the first record, or a measured call that began before it */
	bool has_begin;
	uint64_t events, asyncs;
	int error; /* the first one, a negative errno */
};

/* Creates the file ("-": standard output). The caller sets run->needs_earliest. The run must outlive *perfetto. Returns 0 or a negative errno. */
int perfetto_open(struct perfetto *perfetto, const char *path, const struct run *run);
/* Makes the consumer that writes slices and instants. */
struct report_consumer perfetto_consumer(struct perfetto *perfetto);
/* Writes names and the counters of rates, and closes the file. Returns 0 or a negative errno. */
int perfetto_close(struct perfetto *perfetto, const struct run *run, const struct stats *stats);

#endif
