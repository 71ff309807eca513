/* SPDX-License-Identifier: MIT */
/*
 * Records as OTLP/JSON, the JSON mapping of the OpenTelemetry protocol: each line is one ExportLogsServiceRequest, or, for the
 * record of a call's end, one ExportTraceServiceRequest with a span. probe-trace(1) describes the fields.
 */
#ifndef CMD_OTLP_H
#define CMD_OTLP_H

#include <probepoint.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cmd/arming.h"
#include "cmd/json.h"
#include "cmd/options.h"

struct otlp;

/*
 * options, arming: of the command, which must outlive it. field: the argument of --trace-id; NULL: none. The caller frees it by
 * otlp_free().
 */
struct otlp *otlp_new(const struct options *options, const struct arming *arming, const char *field);
void otlp_free(struct otlp *otlp);

/*
 * Finds the functions of the session whose calls are spans. Reports an error and returns STATUS_USAGE if no probe has the argument of
 * --trace-id.
 */
enum status otlp_begin(struct otlp *otlp, struct options *options, struct pp_session *session);

/* Called after each line, with the mark of the record that the line shows. */
typedef void otlp_line_fn(const struct pp_mark *mark, void *arg);

/*
 * Prints a record as one line, and the lines that have waited for it. The record of a call's end can wait for the end of the call
 * around it.
 */
void otlp_put(FILE *out, struct otlp *otlp, const struct pp_event *event, otlp_line_fn *line, void *arg);
/* Prints the spans that have waited for 5 s, or all spans that wait. */
void otlp_put_waiting(FILE *out, struct otlp *otlp, bool all, otlp_line_fn *line, void *arg);
/* Prints a log record that says how many records were written and lost so far, as one line. */
void otlp_put_account(FILE *out, struct otlp *otlp, const char *session, uint64_t recorded, uint64_t lost);

/* ---- otlp-resource.c ---- */

struct otlp_resources;

/* command: a process that runs program, or 0. It can end before its first record is read. */
struct otlp_resources *otlp_resources_new(pid_t command, const char *program);
void otlp_resources_free(struct otlp_resources *resources);
/* Returns the resource of a process (pid 0: of this command), which belongs to the resources. comm: the thread's name. */
json_object *otlp_resource(struct otlp_resources *resources, pid_t pid, const char *comm);

/* Appends {"key":...,"value":{type:value}} to a list of attributes. */
void otlp_add(json_object *attributes, const char *key, const char *type, json_object *value);
void otlp_add_text(json_object *attributes, const char *key, const char *text);
void otlp_add_int(json_object *attributes, const char *key, int64_t value);

#endif
