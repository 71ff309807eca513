/* SPDX-License-Identifier: MIT */
#include "cmd/event-format.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <math.h>
#include <time.h>

#include "cmd/ui.h"
#include "cmd/escape.h"

static void put_time(FILE *out, int64_t wall)
{
	static time_t second = -1;
	static struct tm tm;

	if ((time_t)(wall / 1000000000) != second) {
		second = wall / 1000000000;
		localtime_r(&second, &tm);
	}
	fprintf(out, "%02d:%02d:%02d.%06u", tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(wall / 1000 % 1000000));
}

static void put_argument(FILE *out, const struct pp_event *event, size_t i)
{
	int64_t value = 0;
	char number[32], c;
	size_t length;
	bool cut;
	const char *string;
	enum pp_kind kind = pp_event_arg_kind(event, i);

	if (kind != PP_STRING && kind != PP_FLOAT && kind != PP_FAULT && kind != PP_MISSING)
		value = pp_event_arg_int(event, i);
	switch (kind) {
	case PP_SIGNED: fprintf(out, "%" PRId64, value); break;
	case PP_UNSIGNED: fprintf(out, "%" PRIu64, (uint64_t)value); break;
	case PP_POINTER: fprintf(out, "0x%" PRIx64, (uint64_t)value); break;
	case PP_STRING:
		string = pp_event_arg_string(event, i, &length, &cut);
		putc('"', out);
		text_put(out, string, length, '"');
		fputs(cut ? "\"..." : "\"", out);
		break;
	case PP_BOOL: fputs(value ? "true" : "false", out); break;
	case PP_CHAR:
		c = value;
		putc('\'', out);
		text_put(out, &c, 1, '\'');
		putc('\'', out);
		break;
	case PP_FLOAT:
		text_double(number, pp_event_arg_float(event, i));
		fputs(number, out);
		break;
	case PP_FAULT: fputs("<fault>", out); break;
	case PP_MISSING: fputs("<missing>", out); break;
	}
}

void event_put_text(FILE *out, const struct pp_event *event)
{
	put_time(out, pp_event_time_of_day(event));
	fprintf(out, " %d/%d ", pp_event_pid(event), pp_event_tid(event));
	text_puts(out, pp_event_comm(event));
	putc(' ', out);
	text_puts(out, pp_event_probe(event));
	for (size_t i = 0; i < pp_event_args(event); i++) {
		putc(' ', out);
		text_puts(out, pp_event_arg_name(event, i));
		putc('=', out);
		put_argument(out, event, i);
	}
	putc('\n', out);
}

static json_object *json_float(double value)
{
	char number[32];

	text_double(number, value);
	return isfinite(value) ? json_object_new_double_s(value, number) : json_object_new_string(number);
}

static json_object *json_argument(const struct pp_event *event, size_t i, bool *cut)
{
	const char *string;
	size_t length;

	switch (pp_event_arg_kind(event, i)) {
	case PP_UNSIGNED:
	case PP_POINTER: return json_object_new_uint64(pp_event_arg_int(event, i));
	case PP_STRING: string = pp_event_arg_string(event, i, &length, cut); return text_json_bytes(string, length);
	case PP_BOOL: return json_object_new_boolean(pp_event_arg_int(event, i) != 0);
	case PP_FLOAT: return json_float(pp_event_arg_float(event, i));
	case PP_FAULT:
	case PP_MISSING: return NULL;
	case PP_SIGNED:
	case PP_CHAR: break;
	}
	return json_object_new_int64(pp_event_arg_int(event, i));
}

void event_put_json(FILE *out, const struct pp_event *event)
{
	json_object *args = json_object_new_object(), *cuts = NULL, *object;

	for (size_t i = 0; i < pp_event_args(event); i++) {
		json_object *name = text_json(pp_event_arg_name(event, i));
		char other[32];
		bool cut = false;
		json_object *value = json_argument(event, i, &cut);

		/* two of one name, by a damaged note */
		if (json_object_object_get_ex(args, json_object_get_string(name), NULL)) {
			snprintf(other, sizeof(other), "arg%zu", i);
			json_object_put(name);
			name = text_json(other);
		}
		json_object_object_add(args, json_object_get_string(name), value);
		if (cut) {
			if (!cuts)
				cuts = json_object_new_array();
			json_object_array_add(cuts, json_object_get(name));
		}
		json_object_put(name);
	}
	object = json_of("time", json_object_new_uint64(pp_event_time(event)), "pid",
	                 json_object_new_int(pp_event_pid(event)), "tid", json_object_new_int(pp_event_tid(event)),
	                 "comm", text_json(pp_event_comm(event)), "probe", text_json(pp_event_probe(event)), "args",
	                 args, NULL);
	if (cuts)
		json_object_object_add(object, "cut", cuts);
	text_put_json(out, object);
	putc('\n', out);
}
