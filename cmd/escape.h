/* SPDX-License-Identifier: MIT */
/*
 * Bytes from elsewhere, made fit for a terminal or for JSON. Names in notes, paths, thread names
 * and recorded strings are whatever somebody put there; none of it may move a cursor, set a title or
 * end a JSON string.
 */
#ifndef CMD_ESCAPE_H
#define CMD_ESCAPE_H

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Length of the UTF-8 sequence that text starts with, and its code point; 0: it is none (too long a form,
 * a surrogate, beyond U+10FFFF, or it ends too early).
 */
size_t text_utf8(const char *text, size_t length, uint32_t *code);

/*
 * Writes the bytes; what is not printable, or is the quote (0: no quote is special), as in C: \n \" \x1b.
 * UTF-8 passes where the locale is UTF-8 and the character neither controls nor turns the line around.
 */
void text_put(FILE *out, const char *text, size_t length, char quote);
void text_puts(FILE *out, const char *text);

/* A sentence of the library's. An expression and a caret under it, at its end, get lines of their own. */
void text_sentence(FILE *out, const char *sentence);
/* How long it is without them. */
size_t text_sentence_length(const char *sentence);

/* How many columns text_puts() takes for it, one for each character. */
size_t text_columns(const char *text);

/* text_puts() and blanks, columns in all. */
void text_pad(FILE *out, const char *text, size_t columns);

/* A string for JSON, where each byte that is no UTF-8 becomes U+FFFD. NULL gives null. */
json_object *text_json(const char *text);
json_object *text_json_bytes(const char *text, size_t length);

/* Writes the object in one line, control characters above ASCII escaped too, and lets go of it. */
void text_put_json(FILE *out, json_object *object);

/* The shortest decimal that reads back as the same double. */
void text_double(char buffer[32], double value);

#endif
