/* SPDX-License-Identifier: MIT */
/*
 * Finds the parents of spans. The records of a thread come in their order: the entry of a call, the ends of the calls in it,
 * its own end. So a span waits in the innermost call around it whose entry was recorded, until that call ends and becomes its
 * parent.
 *
 * Only a call that has ended becomes a parent. A call that is left by an exception or longjmp() has no end: what waits in it
 * passes to the call below it when that one ends. An end is paired with the latest entry of its function, if the time is right, so
 * an entry whose end was lost is not taken for that of a later call. Records that are lost can hide a parent, but never name a
 * wrong one.
 */
#ifndef CMD_OTLP_CALLS_H
#define CMD_OTLP_CALLS_H

#include <probepoint.h>
#include <stdint.h>

#include "cmd/json.h"

/* A call that has ended. All belongs to the span. */
struct otlp_span {
	json_object *name, *attributes, *resource;
	unsigned dropped;           /* attributes */
	int64_t begin, end;         /* ns since 1970 */
	char trace[33], parent[17]; /* hex, from an argument; "": none */
	struct pp_mark mark;
	uint64_t ended;             /* ns of CLOCK_MONOTONIC */
	struct otlp_span *children; /* a list */
	struct otlp_span *next;
};

struct otlp_calls;

struct otlp_calls *otlp_calls_new(void);
/* Frees spans that wait, too. */
void otlp_calls_free(struct otlp_calls *calls);
/* Frees the span and its children. */
void otlp_span_free(struct otlp_span *span);

/* A call begins, at a time in ns of CLOCK_MONOTONIC. function: the same number for its entry and its end. */
void otlp_calls_enter(struct otlp_calls *calls, pid_t pid, pid_t tid, uint64_t function, uint64_t time);
/*
 * A call ends, which began at this time. Takes the span. Returns a list of spans that wait for no call: the caller prints and frees them.
 */
struct otlp_span *otlp_calls_leave(struct otlp_calls *calls, pid_t pid, pid_t tid, uint64_t function, uint64_t began,
                                   struct otlp_span *span);
/* Returns the spans that have ended before a time. They have no parent then. UINT64_MAX: all. */
struct otlp_span *otlp_calls_expire(struct otlp_calls *calls, uint64_t until);

#endif
