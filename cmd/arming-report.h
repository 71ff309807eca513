/* SPDX-License-Identifier: MIT */
/* Prints what pp_session_enable() reports, for the commands that arm. */
#ifndef CMD_ARMING_REPORT_H
#define CMD_ARMING_REPORT_H

#include <probepoint.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct options;

struct arming_tally {
	size_t armed, refused;        /* sites */
	size_t armed_probes, pending; /* probes */
	size_t unmatched;             /* patterns that match nothing */
};

void arming_tally_count(struct arming_tally *tally, const struct pp_report *report);
bool arming_tally_is_empty(const struct arming_tally *tally);

/* Returns whether the row reports a pattern that matches nothing. */
bool arming_report_is_unmatched(const struct pp_report *report, size_t row);
/* Returns whether a refused row gives this reason. */
bool arming_report_gives_reason(const struct pp_report *report, const char *reason);

/* Prints the first rows and a sum; with -v all rows. Refused rows with the same reason are printed as one. */
void arming_report_print_text(FILE *out, const struct options *options, const struct pp_report *report,
                              const struct arming_tally *tally);
struct json_object;

/* Returns the JSON document: what was armed, is pending, and was refused. */
struct json_object *arming_report_json(const struct pp_session *session, const struct pp_report *report);
/* Prints the JSON document, with the errors that ui_error() kept. */
void arming_report_print_json(FILE *out, struct options *options, const struct pp_session *session,
                              const struct pp_report *report);

/* Reports how many sites were refused, with the first reason unless the rows are shown. */
void arming_report_refused(struct options *options, const struct pp_report *report, const struct arming_tally *tally,
                           bool rows_shown);
/* Prints what the library says about armed and pending probes, if their rows are not shown. */
void arming_report_remarks(const struct options *options, const struct pp_report *report);
/* Prints which notes are damaged. */
void arming_report_warnings(const struct options *options, const struct pp_report *report);

#endif
