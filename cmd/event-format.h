/* SPDX-License-Identifier: MIT */
#ifndef CMD_EVENT_FORMAT_H
#define CMD_EVENT_FORMAT_H

#include <probepoint.h>
#include <stdio.h>

/* TIME PID/TID comm provider:name arg=value ...; the time is the wall clock's. */
void event_put_text(FILE *out, const struct pp_event *event);
/* The same as one JSON object; the time in ns of CLOCK_MONOTONIC. */
void event_put_json(FILE *out, const struct pp_event *event);

#endif
