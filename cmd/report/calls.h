/* SPDX-License-Identifier: MIT */
#ifndef CMD_REPORT_CALLS_H
#define CMD_REPORT_CALLS_H

#include "cmd/report/marks.h"
#include "cmd/report/model.h"
#include "cmd/report/names.h"
#include "cmd/report/paths.h"

/* Calls in flight, and pairs of a thread and a function. A thread above the first limit loses its calls, which do not end. */
enum { CALLS_IN_FLIGHT_MAX = 1 << 18, ACTIVITIES_MAX = 1 << 20 };

struct calls;

/*
 * Pairs entries and returns, and passes calls to n consumers. The arguments must outlive the result. With `first`, calls that turn
 * out to be uncertain are added to marks; else those in marks are passed as CALL_UNCERTAIN.
 */
struct calls *calls_new(const struct report_names *names, struct call_marks *marks, bool first, struct paths *paths,
                        const struct report_consumer *consumers, size_t n);
void calls_free(struct calls *calls);

/* Takes a record: passes it to the consumers, and the calls that begin or end with it. */
void calls_record(struct calls *calls, const struct report_record *record);
/* Takes a loss, whose time is known, and passes it. Calls that were in flight at that time are uncertain. */
void calls_lost(struct calls *calls, const struct report_loss *loss);
/* Passes all calls that are in flight as CALL_UNENDED. */
void calls_end(struct calls *calls);

/* Returns the earliest begin of the calls that have a measured duration, or INT64_MAX without such a call. */
int64_t calls_earliest(const struct calls *calls);
/* Calls that were dropped because of the limits. */
uint64_t calls_left_out(const struct calls *calls);

/* Returns whether a record has the duration of the call that it ends, in ns. */
bool record_duration(const struct report_record *record, uint64_t *duration);

#endif
