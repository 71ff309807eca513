/* SPDX-License-Identifier: MIT */
/*
 * Messages and the end of the commands. Results go to standard output. Error messages go to standard error, or into the
 * JSON document with --json. Other messages go to standard error.
 */
#ifndef CMD_UI_H
#define CMD_UI_H

#include <stdbool.h>
#include <stdio.h>

#include "cmd/json.h"

struct options;

/* Lets messages go to a stream instead of standard error (NULL: standard error), without the name of the command. */
void ui_messages_to(FILE *stream);

/*
 * Reports an error. With --json the message is kept, and printed by ui_print_document() or else by ui_finish(). Several
 * messages are joined by "; ".
 */
__attribute__((format(printf, 2, 3))) void ui_error(struct options *options, const char *format, ...);

/* Prints a message, unless -q is given. */
__attribute__((format(printf, 2, 3))) void ui_info(const struct options *options, const char *format, ...);
/* Prints a message if -v is given. */
__attribute__((format(printf, 2, 3))) void ui_verbose(const struct options *options, const char *format, ...);
/* Prints the messages of pp_notice(), unless -q is given. */
void ui_notices(const struct options *options);

/* Prints a JSON document on a line, with the errors kept by ui_error() as its key "error", and frees it. */
void ui_print_document(struct options *options, FILE *out, json_object *document);
/* Prints ,"error":"..." if ui_error() kept errors, for a document that is printed in pieces. */
void ui_print_error_key(struct options *options, FILE *out);

/*
 * Flushes standard output, and prints the errors that were kept. Returns the exit status: the given one, or
 * STATUS_FAILED if the results could not be written. A closed pipe and an interrupt are not failures.
 */
int ui_finish(struct options *options, int status);

/*
 * Flushes standard output. Returns 0, -EPIPE if its reader has gone, or another negative errno. After an error, all
 * calls return that error.
 */
int ui_flush(void);

/*
 * Writes to standard output, bypassing its buffer, and stores the number of bytes written. Returns as ui_flush(), which
 * then returns the same error. After an interrupt it waits at most one second for the reader (-EINTR).
 */
int ui_write(const char *bytes, size_t n, size_t *done);

/* Returns the plural ending of a counted noun: "%zu site%s", n, ui_plural(n). */
static inline const char *ui_plural(size_t n)
{
	return n == 1 ? "" : "s";
}

enum ui_color { UI_GREEN, UI_YELLOW, UI_RED };

/* Returns whether out is standard output or error, and a terminal, TERM is not "dumb" and NO_COLOR is not set. */
bool ui_is_colored(FILE *out);
/* Prints a word, in color if ui_is_colored(). */
void ui_put_color(FILE *out, enum ui_color color, const char *word);

#endif
