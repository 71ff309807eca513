/* SPDX-License-Identifier: MIT */
/* Builds and prints JSON. If no memory is left, the functions exit (see alloc.h). */
#ifndef CMD_JSON_H
#define CMD_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

json_object *json_new_object(void);
json_object *json_new_array(void);
json_object *json_int(int64_t value);
json_object *json_uint(uint64_t value);
json_object *json_boolean(bool value);
/* A number, or a string if it is infinite or not a number. */
json_object *json_double(double value);
/* Formats the shortest decimal that reads back as the same double. */
void json_format_double(char buffer[32], double value);
/* A JSON string. Each byte that is not part of a UTF-8 sequence becomes U+FFFD. NULL becomes null. */
json_object *json_text(const char *text);
json_object *json_text_n(const char *bytes, size_t length);

/*
 * These functions append a key and its value to an object. json_add() takes ownership of the value; NULL becomes null.
 * The key must be a string constant.
 */
void json_add(json_object *to, const char *key, json_object *value);
void json_add_text(json_object *to, const char *key, const char *text);
void json_add_int(json_object *to, const char *key, int64_t value);
void json_add_uint(json_object *to, const char *key, uint64_t value);
void json_add_double(json_object *to, const char *key, double value);
void json_add_bool(json_object *to, const char *key, bool value);
/* Appends a value to an array, which takes ownership of it. */
void json_append(json_object *to, json_object *value);

/* Prints the object without line breaks, and frees it. All control characters are escaped. */
void json_print(FILE *out, json_object *object);
/* Prints the members of an object without its braces, and frees it. Others can be printed behind them. */
void json_print_members(FILE *out, json_object *object);

#endif
