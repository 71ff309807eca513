/* SPDX-License-Identifier: MIT */
#include "cmd/stacks.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/escape.h"
#include "cmd/json.h"

size_t stack_part(const struct pp_aggregates *aggregates, size_t table)
{
	size_t n = pp_table_parts(aggregates, table), i = 0;

	while (i < n && pp_table_part_kind(aggregates, table, i) != PP_STACK)
		i++;
	return i;
}

/* ---- one frame ---- */

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

/* Prints what identifies a frame whose function is not known. */
static void place_put(FILE *out, const struct pp_frame *frame)
{
	putc('[', out);
	if (frame->file)
		escape_put(out, file_name(frame->file));
	else
		fprintf(out, "pid %d", frame->pid);
	fprintf(out, frame->file ? "+0x%" PRIx64 "]" : " 0x%" PRIx64 "]", frame->address);
}

static void frame_put(FILE *out, const struct pp_frame *frame)
{
	if (!frame->function) {
		place_put(out, frame);
		return;
	}
	escape_put(out, frame->function);
	fprintf(out, "+0x%" PRIx64, frame->offset);
	fputs("  (", out);
	escape_put(out, file_name(frame->file));
	putc(')', out);
}

void stack_put_frame(FILE *out, const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part,
                     size_t i)
{
	struct pp_frame frame;

	pp_entry_frame(aggregates, table, entry, part, i, &frame, sizeof(frame));
	frame_put(out, &frame);
}

void stack_put_callers(FILE *out, const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part,
                       size_t columns)
{
	size_t n = pp_entry_frames(aggregates, table, entry, part);
	struct pp_frame frame = { 0 };

	for (size_t i = 1; i < n; i++) {
		pp_entry_frame(aggregates, table, entry, part, i, &frame, sizeof(frame));
		fprintf(out, "%*s", (int)columns, "");
		frame_put(out, &frame);
		putc('\n', out);
	}
	if (frame.cut)
		fprintf(out, "%*s(after %zu frames the stack is cut)\n", (int)columns, "", n);
}

/* ---- JSON ---- */

static json_object *frame_json(const struct pp_frame *frame)
{
	json_object *to = json_new_object();

	json_add_text(to, "function", frame->function);
	if (frame->function)
		json_add_uint(to, "offset", frame->offset);
	json_add_text(to, "file", frame->file);
	json_add_text(to, "build_id", frame->build_id && *frame->build_id ? frame->build_id : NULL);
	json_add_uint(to, "address", frame->address);
	if (!frame->file)
		json_add_int(to, "pid", frame->pid);
	return to;
}

json_object *stack_json(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part)
{
	json_object *list = json_new_array();
	size_t n = pp_entry_frames(aggregates, table, entry, part);
	struct pp_frame frame;

	for (size_t i = 0; i < n; i++) {
		pp_entry_frame(aggregates, table, entry, part, i, &frame, sizeof(frame));
		json_append(list, frame_json(&frame));
	}
	return list;
}

/* ---- folded ---- */

/* Prints a name of a line. A semicolon would end it. */
static void folded_put(FILE *out, const char *text)
{
	char *copy = xstrdup(text);

	for (char *at = copy; *at; at++)
		*at = *at == ';' ? ',' : *at;
	escape_put(out, copy);
	free(copy);
}

static void folded_put_frame(FILE *out, const struct pp_frame *frame)
{
	if (frame->function)
		folded_put(out, frame->function);
	else
		place_put(out, frame);
}

static void folded_put_part(FILE *out, const struct pp_aggregates *a, size_t table, size_t entry, size_t part)
{
	const char *name = pp_entry_name(a, table, entry, part);
	enum pp_kind kind = pp_table_part_kind(a, table, part);
	int64_t value = pp_entry_int(a, table, entry, part);

	if (name || kind == PP_STRING)
		folded_put(out, name ? name : pp_entry_string(a, table, entry, part, NULL, NULL));
	else if (kind == PP_POINTER)
		fprintf(out, "0x%" PRIx64, (uint64_t)value);
	else
		fprintf(out, kind == PP_UNSIGNED ? "%" PRIu64 : "%" PRId64, value);
	putc(';', out);
}

static void folded_put_entry(FILE *out, const struct pp_aggregates *a, size_t table, size_t entry, size_t stack)
{
	size_t nframes = pp_entry_frames(a, table, entry, stack), nparts = pp_table_parts(a, table);
	bool is_sum = pp_table_function(a, table, 0) == PP_SUM;
	struct pp_values values;
	struct pp_frame frame;

	for (size_t part = 0; part < nparts; part++)
		if (part != stack)
			folded_put_part(out, a, table, entry, part);
	for (size_t i = nframes; i-- > 0;) {
		pp_entry_frame(a, table, entry, stack, i, &frame, sizeof(frame));
		if (frame.cut)
			fputs("(cut);", out);
		folded_put_frame(out, &frame);
		if (i)
			putc(';', out);
	}
	if (pp_aggregates_tables(a) > 1) {
		putc(';', out);
		folded_put(out, pp_table_probe(a, table));
	}
	pp_entry_values(a, table, entry, 0, &values, sizeof(values));
	fprintf(out, is_sum && !values.is_unsigned ? " %" PRId64 "\n" : " %" PRIu64 "\n",
	        is_sum ? (uint64_t)values.sum : values.count);
}

/* Prints the values of a table that are in no key. */
static void folded_put_rest(FILE *out, const struct pp_aggregates *a, size_t table)
{
	bool is_sum = pp_table_function(a, table, 0) == PP_SUM;
	struct pp_rest rest;

	pp_table_rest(a, table, 0, &rest, sizeof(rest));
	if (rest.other)
		fprintf(out, "(no room) %" PRIu64 "\n", is_sum ? (uint64_t)rest.other_sum : rest.other);
	if (rest.unread && !is_sum)
		fprintf(out, "(unread) %" PRIu64 "\n", rest.unread);
}

size_t stacks_print_folded(FILE *out, const struct pp_aggregates *aggregates)
{
	size_t n = 0;

	for (size_t table = 0; table < pp_aggregates_tables(aggregates); table++) {
		size_t stack = stack_part(aggregates, table);

		if (stack == pp_table_parts(aggregates, table))
			continue;
		n++;
		for (size_t entry = 0; entry < pp_table_entries(aggregates, table); entry++)
			folded_put_entry(out, aggregates, table, entry, stack);
		folded_put_rest(out, aggregates, table);
	}
	return n;
}
