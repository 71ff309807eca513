/* SPDX-License-Identifier: MIT */
/*
 * Records as OTLP/JSON, the JSON mapping of the OpenTelemetry protocol: each line is one ExportLogsServiceRequest, or, for the
 * record of a call's end, one ExportTraceServiceRequest with a span. probe-trace(1) describes the fields.
 */
#ifndef CMD_OTLP_H
#define CMD_OTLP_H

#include <probepoint.h>
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

/* Checks that records of the session have the argument of --trace-id. Reports an error if not. */
enum status otlp_check(const struct otlp *otlp, struct options *options, struct pp_session *session);

/* Prints a record, as one line. */
void otlp_put(FILE *out, struct otlp *otlp, const struct pp_event *event);
/* Prints a log record that says how many records were written and lost so far, as one line. */
void otlp_put_account(FILE *out, struct otlp *otlp, const char *session, uint64_t recorded, uint64_t lost);

/* ---- otlp-resource.c ---- */

struct otlp_resources;

/* command: a process that runs program, or 0. Their end can come before their first record. */
struct otlp_resources *otlp_resources_new(pid_t command, const char *program);
void otlp_resources_free(struct otlp_resources *resources);
/* Returns the resource of a process (pid 0: of this command), which belongs to the resources. comm: the thread's name. */
json_object *otlp_resource(struct otlp_resources *resources, pid_t pid, const char *comm);

/* Appends {"key":...,"value":{type:value}} to a list of attributes. */
void otlp_add(json_object *attributes, const char *key, const char *type, json_object *value);
void otlp_add_text(json_object *attributes, const char *key, const char *text);
void otlp_add_int(json_object *attributes, const char *key, int64_t value);

#endif
