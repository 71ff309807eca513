/* SPDX-License-Identifier: MIT */
/* Writes JSON directly, for outputs with an object for each record. cmd/json.h is for documents. */
#ifndef CMD_REPORT_JSON_TEXT_H
#define CMD_REPORT_JSON_TEXT_H

#include <stdio.h>

#include "cmd/report/model.h"

/* Prints a JSON string. All control characters are escaped; bytes that are not UTF-8 become U+FFFD. "<" is escaped, too. */
void json_text_put(FILE *out, const char *text, size_t length);
/* Prints a value: numbers that JSON readers may round are strings, as are pointers. */
void json_text_put_value(FILE *out, const struct report_value *value);
/* Prints the values of a record as an object. */
void json_text_put_values(FILE *out, const struct report_record *record);

#endif
