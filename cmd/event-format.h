/* SPDX-License-Identifier: MIT */
#ifndef CMD_EVENT_FORMAT_H
#define CMD_EVENT_FORMAT_H

#include <probepoint.h>
#include <stdio.h>

/* Prints a line: TIME PID/TID COMM PROVIDER:NAME ARG=VALUE ... TIME is the local time of day. */
void event_put_text(FILE *out, const struct pp_event *event);
/* Prints the event as one JSON object on a line. Its time is in ns of CLOCK_MONOTONIC. */
void event_put_json(FILE *out, const struct pp_event *event);

#endif
