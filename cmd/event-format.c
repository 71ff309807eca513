/* SPDX-License-Identifier: MIT */
#include "cmd/event-format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/alloc.h"
#include "cmd/escape.h"
#include "cmd/json.h"

/* ---- text ---- */

/* Returns the local time of a record. */
static const struct tm *event_local_time(int64_t ns)
{
	static time_t second = -1;
	static struct tm tm;

	if ((time_t)(ns / 1000000000) != second) {
		second = ns / 1000000000;
		localtime_r(&second, &tm);
	}
	return &tm;
}

void event_put_time_of_day(FILE *out, int64_t ns)
{
	const struct tm *tm = event_local_time(ns);

	fprintf(out, "%02d:%02d:%02d.%06u", tm->tm_hour, tm->tm_min, tm->tm_sec, (unsigned)(ns / 1000 % 1000000));
}

void event_put_time(FILE *out, const struct pp_event *event)
{
	event_put_time_of_day(out, pp_event_time_of_day(event));
}

void event_put_date(FILE *out, const struct pp_event *event)
{
	const struct tm *tm = event_local_time(pp_event_time_of_day(event));

	fprintf(out, "%04d-%02d-%02d", tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday);
}

static void event_put_string(FILE *out, const struct pp_event *event, size_t i, bool quoted)
{
	size_t length;
	bool cut;
	const char *string = pp_event_arg_string(event, i, &length, &cut);

	if (quoted)
		putc('"', out);
	escape_put_n(out, string, length, quoted ? '"' : 0);
	if (quoted)
		putc('"', out);
	if (cut)
		fputs("...", out);
}

static void event_put_char(FILE *out, char c)
{
	putc('\'', out);
	escape_put_n(out, &c, 1, '\'');
	putc('\'', out);
}

void event_put_arg(FILE *out, const struct pp_event *event, size_t i, bool quoted)
{
	const char *name = pp_event_arg_value_name(event, i);
	char number[32];

	if (name) {
		escape_put(out, name);
		return;
	}
	switch (pp_event_arg_kind(event, i)) {
	case PP_SIGNED: fprintf(out, "%" PRId64, pp_event_arg_int(event, i)); break;
	case PP_UNSIGNED: fprintf(out, "%" PRIu64, (uint64_t)pp_event_arg_int(event, i)); break;
	case PP_POINTER: fprintf(out, "0x%" PRIx64, (uint64_t)pp_event_arg_int(event, i)); break;
	case PP_STRING: event_put_string(out, event, i, quoted); break;
	case PP_BOOL: fputs(pp_event_arg_int(event, i) ? "true" : "false", out); break;
	case PP_CHAR: event_put_char(out, (char)pp_event_arg_int(event, i)); break;
	case PP_FLOAT:
		json_format_double(number, pp_event_arg_float(event, i));
		fputs(number, out);
		break;
	case PP_FAULT: fputs("<fault>", out); break;
	case PP_STACK: /* not in records */
	case PP_MISSING: fputs("<missing>", out); break;
	}
}

void event_put_args(FILE *out, const struct pp_event *event)
{
	for (size_t i = 0; i < pp_event_args(event); i++) {
		if (i)
			putc(' ', out);
		escape_put(out, pp_event_arg_name(event, i));
		putc('=', out);
		event_put_arg(out, event, i, true);
	}
}

/* Returns the color of a probe: the next one if the probe is new. */
static const char *look_color(struct event_look *look, const char *probe)
{
	static const char *const codes[] = { "36", "33", "35", "32", "34", "31", "96", "93", "95", "92", "94", "91" };
	enum { COLORS_MOST = 64 };
	size_t n = sizeof(codes) / sizeof(*codes);

	for (size_t i = 0; i < look->ncolors; i++)
		if (!strcmp(look->colors[i].probe, probe))
			return look->colors[i].code;
	if (look->ncolors == COLORS_MOST)
		return codes[0];
	look->colors = xreallocarray(look->colors, look->ncolors + 1, sizeof(*look->colors));
	look->colors[look->ncolors] = (struct event_color){ xstrdup(probe), codes[look->ncolors % n] };
	return look->colors[look->ncolors++].code;
}

void event_look_release(struct event_look *look)
{
	for (size_t i = 0; i < look->ncolors; i++)
		free(look->colors[i].probe);
	free(look->colors);
	*look = (struct event_look){ 0 };
}

/* Prints blanks up to the width of the column, which grows with its values. */
static void look_pad(FILE *out, const struct event_look *look, int *width, size_t used)
{
	if (!look->aligned)
		return;
	if ((int)used > *width)
		*width = (int)used;
	fprintf(out, "%*s", *width - (int)used, "");
}

void event_put_text(FILE *out, const struct pp_event *event, struct event_look *look)
{
	const char *comm = pp_event_comm(event), *probe = pp_event_probe(event);
	int n;

	event_put_time(out, event);
	n = fprintf(out, " %d/%d", pp_event_pid(event), pp_event_tid(event));
	look_pad(out, look, &look->thread_width, n > 0 ? (size_t)n : 0);
	putc(' ', out);
	escape_put(out, comm);
	if (look->aligned)
		look_pad(out, look, &look->comm_width, escape_columns(comm));
	putc(' ', out);
	if (look->colored)
		fprintf(out, "\033[%sm", look_color(look, probe));
	escape_put(out, probe);
	if (look->colored)
		fputs("\033[0m", out);
	if (look->aligned && pp_event_args(event))
		look_pad(out, look, &look->probe_width, escape_columns(probe));
	if (pp_event_args(event))
		putc(' ', out);
	event_put_args(out, event);
	putc('\n', out);
}

/* ---- JSON ---- */

/* Sets *cut if the argument is a string that was longer in the target. */
static json_object *event_json_arg(const struct pp_event *event, size_t i, bool *cut)
{
	const char *string;
	size_t length;

	switch (pp_event_arg_kind(event, i)) {
	case PP_UNSIGNED:
	case PP_POINTER: return json_uint(pp_event_arg_int(event, i));
	case PP_STRING: string = pp_event_arg_string(event, i, &length, cut); return json_text_n(string, length);
	case PP_BOOL: return json_boolean(pp_event_arg_int(event, i) != 0);
	case PP_FLOAT: return json_double(pp_event_arg_float(event, i));
	case PP_FAULT:
	case PP_STACK:
	case PP_MISSING: return NULL;
	case PP_SIGNED:
	case PP_CHAR: break;
	}
	return json_int(pp_event_arg_int(event, i));
}

/*
 * Returns the arguments as an object. Appends the names of strings that were cut to *cuts, and adds the names of values
 * to *names; it creates these if needed.
 */
static json_object *event_json_args(const struct pp_event *event, json_object **cuts, json_object **names)
{
	json_object *args = json_new_object();

	for (size_t i = 0; i < pp_event_args(event); i++) {
		json_object *name = json_text(pp_event_arg_name(event, i));
		bool cut = false;
		json_object *value = event_json_arg(event, i, &cut);

		/* A damaged note can give two arguments the same name. */
		if (json_object_object_get_ex(args, json_object_get_string(name), NULL)) {
			char other[32];

			snprintf(other, sizeof(other), "arg%zu", i);
			json_object_put(name);
			name = json_text(other);
		}
		if (json_object_object_add(args, json_object_get_string(name), value))
			alloc_failed();
		if (pp_event_arg_value_name(event, i)) {
			if (!*names)
				*names = json_new_object();
			if (json_object_object_add(*names, json_object_get_string(name),
			                           json_text(pp_event_arg_value_name(event, i))))
				alloc_failed();
		}
		if (cut) {
			if (!*cuts)
				*cuts = json_new_array();
			json_append(*cuts, json_object_get(name));
		}
		json_object_put(name);
	}
	return args;
}

void event_put_json(FILE *out, const struct pp_event *event, bool complete)
{
	json_object *object = json_new_object(), *cuts = NULL, *names = NULL;

	json_add_uint(object, "time", pp_event_time(event));
	json_add_int(object, "pid", pp_event_pid(event));
	json_add_int(object, "tid", pp_event_tid(event));
	json_add_text(object, "comm", pp_event_comm(event));
	json_add_text(object, "probe", pp_event_probe(event));
	json_add(object, "args", event_json_args(event, &cuts, &names));
	if (names)
		json_add(object, "names", names);
	if (cuts)
		json_add(object, "cut", cuts);
	if (!complete)
		json_add_bool(object, "complete", false);
	json_print(out, object);
	putc('\n', out);
}
