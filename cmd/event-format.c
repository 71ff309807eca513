/* SPDX-License-Identifier: MIT */
#include "cmd/event-format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "cmd/alloc.h"
#include "cmd/escape.h"
#include "cmd/json.h"

/* ---- text ---- */

static void event_put_time(FILE *out, int64_t ns)
{
	static time_t second = -1;
	static struct tm tm;

	if ((time_t)(ns / 1000000000) != second) {
		second = ns / 1000000000;
		localtime_r(&second, &tm);
	}
	fprintf(out, "%02d:%02d:%02d.%06u", tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(ns / 1000 % 1000000));
}

static void event_put_string(FILE *out, const struct pp_event *event, size_t i)
{
	size_t length;
	bool cut;
	const char *string = pp_event_arg_string(event, i, &length, &cut);

	putc('"', out);
	escape_put_n(out, string, length, '"');
	fputs(cut ? "\"..." : "\"", out);
}

static void event_put_char(FILE *out, char c)
{
	putc('\'', out);
	escape_put_n(out, &c, 1, '\'');
	putc('\'', out);
}

static void event_put_arg(FILE *out, const struct pp_event *event, size_t i)
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
	case PP_STRING: event_put_string(out, event, i); break;
	case PP_BOOL: fputs(pp_event_arg_int(event, i) ? "true" : "false", out); break;
	case PP_CHAR: event_put_char(out, (char)pp_event_arg_int(event, i)); break;
	case PP_FLOAT:
		json_format_double(number, pp_event_arg_float(event, i));
		fputs(number, out);
		break;
	case PP_FAULT: fputs("<fault>", out); break;
	case PP_MISSING: fputs("<missing>", out); break;
	}
}

void event_put_text(FILE *out, const struct pp_event *event)
{
	event_put_time(out, pp_event_time_of_day(event));
	fprintf(out, " %d/%d ", pp_event_pid(event), pp_event_tid(event));
	escape_put(out, pp_event_comm(event));
	putc(' ', out);
	escape_put(out, pp_event_probe(event));
	for (size_t i = 0; i < pp_event_args(event); i++) {
		putc(' ', out);
		escape_put(out, pp_event_arg_name(event, i));
		putc('=', out);
		event_put_arg(out, event, i);
	}
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
			json_add_text(*names, json_object_get_string(name), pp_event_arg_value_name(event, i));
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

void event_put_json(FILE *out, const struct pp_event *event)
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
	json_print(out, object);
	putc('\n', out);
}
