/* SPDX-License-Identifier: MIT */
/*
 * The common part of probe-enable and probe-trace: arms the probes that the command line names, and reports the result.
 */
#ifndef CMD_ARMING_H
#define CMD_ARMING_H

#include <probepoint.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cmd/child.h"
#include "cmd/options.h"

struct arming {
	const char **patterns;
	size_t npatterns;
	char **argv;        /* COMMAND and its arguments; NULL: not given */
	struct child child; /* runs COMMAND */
	bool record, overwrite, calls;
	size_t flight;               /* --flight-recorder, in bytes; 0: not given */
	const char *label;           /* pp_request_label(); NULL: none */
	double budget;               /* as a share of one CPU; 0: none */
	bool hold;                   /* pp_session_hold() will disarm the probes */
	struct json_object **report; /* where arming_run() stores arming_report_json(); NULL: nowhere */
};

/* Takes the argument that argp has found: a pattern, or COMMAND and all that follows if it comes after "--". */
error_t arming_take_argument(struct argp_state *state, struct options *options, struct arming *arming);

/* Takes the probes of --latency, at ARGP_KEY_END, before the checks. */
error_t arming_take_stack(struct argp_state *state, struct options *options);
error_t arming_take_latency(struct argp_state *state, struct options *options, struct arming *arming);

/* These functions check the command line, at ARGP_KEY_END. */
error_t arming_check_target(struct argp_state *state, struct options *options, const struct arming *arming);
error_t arming_check_options(struct argp_state *state, struct options *options, const struct arming *arming);

/* Parses the argument of --flight-recorder. */
error_t arming_parse_flight(struct argp_state *state, struct options *options, struct arming *arming, const char *text);

/* Creates the request. Returns 0, or a negative errno with pp_error(); *request is then NULL. */
int arming_request_new(const struct options *options, const struct arming *arming, struct pp_request **request);

/* Creates the request. If that fails, returns NULL, reports an error and sets *status. */
struct pp_request *arming_request(struct options *options, const struct arming *arming, enum status *status);

/*
 * Arms the request and reports the result: to out a line for each probe, or the JSON document (out NULL: neither), and
 * as errors what was refused.
 */
enum status arming_run(struct options *options, const struct arming *arming, struct pp_session *session,
                       struct pp_request *request, FILE *out);

#endif
