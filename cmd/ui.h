/* SPDX-License-Identifier: MIT */
/*
 * What the commands say besides their results, and how they end. Results go to stdout; remarks and, without
 * --json, errors to stderr.
 */
#ifndef CMD_UI_H
#define CMD_UI_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>

struct options;

/* Returns the plural ending of a counted noun: "%zu site%s", n, plural(n). */
static inline const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

/* An error. With --json it is kept, and told by finish() unless complaint_take() takes it into a document. */
__attribute__((format(printf, 2, 3))) void complain(struct options *options, const char *format, ...);
json_object *complaint_take(struct options *options); /* NULL: there was none */

/* Chatter: not with -q; remark_verbose() only with -v. */
/* Prints what pp_notice() has, unless -q. */
void remark_notices(const struct options *options);
__attribute__((format(printf, 2, 3))) void remark(const struct options *options, const char *format, ...);
__attribute__((format(printf, 2, 3))) void remark_verbose(const struct options *options, const char *format, ...);

/*
 * Writes out what is left; the status to exit with: the one given, or STATUS_FAILED where the results
 * could not be written. Somebody who has closed the pipe, or interrupts, wants no more: that is no failure.
 */
int finish(struct options *options, int status);

/* Writes stdout through. 0; -EPIPE: nobody reads it any more; another negative errno, from then on for ever. */
int flush_results(void);

/*
 * Writes to standard output past its buffer; *done is how many bytes it has taken. The error is as that of
 * flush_results(), which returns it from then on. After an interrupt it waits a second for a reader that does not
 * read (-EINTR).
 */
int write_results(const char *bytes, size_t n, size_t *done);

enum paint { PAINT_BOLD, PAINT_GOOD, PAINT_WAITING, PAINT_BAD };

/* A word of our own, in colour where out is a terminal that wants it. */
void put_painted(FILE *out, enum paint paint, const char *word);

/* An object with its keys in the order given: key, value, ..., NULL. */
json_object *json_of(const char *key, ...) __attribute__((sentinel));

__attribute__((noreturn)) void no_memory(void);

#endif
