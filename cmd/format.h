/* SPDX-License-Identifier: MIT */
/*
 * A format of --format: text with fields, as in '{time} {comm:15} {path}'.
 *
 * A field is {NAME}, {NAME:N} or {NAME:>N}; N columns are filled with blanks on the right, or on the left with '>'. {{ and }}
 * are braces, \t is a tab and \\ a backslash. A NAME that is not one of the fields of each record is an argument; arg.NAME is
 * always an argument.
 */
#ifndef CMD_FORMAT_H
#define CMD_FORMAT_H

#include <probepoint.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct format;

/* Parses a format. Returns NULL and sets *error, which the caller frees, if it is invalid. */
struct format *format_parse(const char *text, char **error);
void format_free(struct format *format);

/* Returns the name of the i-th field that is an argument, NULL after the last. */
const char *format_argument(const struct format *format, size_t i);
/* Returns the names of the fields that each record has, as a list for a message. */
const char *format_known(void);

/* Prints a record, without a newline. A field whose argument the record does not have is "-". */
void format_put(FILE *out, const struct format *format, const struct pp_event *event);

#endif
