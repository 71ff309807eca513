/* SPDX-License-Identifier: MIT */
#ifndef CMD_EVENT_FORMAT_H
#define CMD_EVENT_FORMAT_H

#include <probepoint.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* How lines of text look. Zeroed: plain. */
struct event_look {
	bool colored; /* each probe has a color of its own */
	bool aligned; /* columns are as wide as the widest value so far */
	int thread_width, comm_width, probe_width;
	struct event_color {
		char *probe;
		const char *code;
	} * colors; /* of the probes so far */
	size_t ncolors;
};

/* Prints a line: TIME PID/TID COMM PROVIDER:NAME ARG=VALUE ... TIME is the local time of day. */
void event_put_text(FILE *out, const struct pp_event *event, struct event_look *look);
/*
 * Prints the event as one JSON object on a line. Its time is in ns of CLOCK_MONOTONIC. If complete is false, other
 * records of its time may have been overwritten.
 */
void event_put_json(FILE *out, const struct pp_event *event, bool complete);
void event_look_release(struct event_look *look);

/* Prints a time of day in ns since 1970, as the local time. */
void event_put_time_of_day(FILE *out, int64_t ns);
/* Parts of a line: the local time of day, the date, the arguments, and one argument. quoted: with quotes around strings. */
void event_put_time(FILE *out, const struct pp_event *event);
void event_put_date(FILE *out, const struct pp_event *event);
void event_put_args(FILE *out, const struct pp_event *event);
void event_put_arg(FILE *out, const struct pp_event *event, size_t i, bool quoted);

#endif
