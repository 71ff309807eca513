/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_EVENT_H
#define RUNTIME_EVENT_H

#include <probepoint.h>

#include "base/clock.h"
#include "runtime/manifest.h"

struct pp_event {
	const struct manifest *manifest;
	uint64_t time;     /* ns of CLOCK_MONOTONIC, whatever the clock of the record is */
	struct wall *wall; /* of the reader; NULL if the time of day is not needed */
	struct record_thread thread;
	const struct record *record;          /* checked by event_set() */
	const char *strings[RECORD_ARGS_MAX]; /* NUL-terminated copies in text; NULL for other arguments */
	char text[RECORD_STRINGS_MAX * (RECORD_STRING_MAX + 1)];
};

/*
 * Checks a record of at most size bytes by its manifest and sets the event to it. The record and the manifest must outlive
 * the event. Returns 0, or -EBADMSG with an error message.
 */
int event_set(struct pp_event *event, const struct manifest *manifest, const struct record_thread *thread,
              const struct record *record, size_t size);

#endif
