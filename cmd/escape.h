/* SPDX-License-Identifier: MIT */
/*
 * Prints untrusted text to a terminal. Names in notes, paths, thread names and recorded strings can hold any bytes.
 * Printed by these functions they cannot move the cursor, set the title or reorder a line.
 */
#ifndef CMD_ESCAPE_H
#define CMD_ESCAPE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Decodes the UTF-8 sequence at the start of text. Returns its length and stores its code point. Returns 0 if the
 * sequence is invalid: overlong, a surrogate, above U+10FFFF or cut off.
 */
size_t utf8_decode(const char *text, size_t length, uint32_t *code);

/*
 * Prints the bytes. Bytes that are not printable, backslashes and the quote (0: no quote) are written as in C, such as
 * \n, \" and \x1b. UTF-8 is printed unchanged if the locale is UTF-8 and the character is printable and does not change
 * the direction of the line.
 */
void escape_put_n(FILE *out, const char *text, size_t length, char quote);
void escape_put(FILE *out, const char *text);

/*
 * Prints an error message of the library. If it ends with an expression and a caret that points into it, these two get
 * lines of their own. escape_message_length() returns the length of the message without them.
 */
void escape_put_message(FILE *out, const char *message);
size_t escape_message_length(const char *message);

/* Returns how many columns of a terminal the output of escape_put() takes: two for a wide character. */
size_t escape_columns(const char *text);
/* Returns how many columns text takes that was already escaped. */
size_t escape_printed_columns(const char *text, size_t size);

/* Prints the text, then blanks up to the given number of columns. */
void escape_put_padded(FILE *out, const char *text, size_t columns);

#endif
