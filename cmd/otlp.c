/* SPDX-License-Identifier: MIT */
/*
 * In the JSON mapping of OTLP, names are in lowerCamelCase, 64-bit integers are strings, enumerations are integers, bytes are
 * base64, and traceId and spanId are hexadecimal.
 *
 * The record of a call's end has the duration and the arguments of its begin (runtime/call.h). So each span is made of one record,
 * and nothing is paired here in spite of recursion, threads and lost records. Records of entries only serve to find parents
 * (otlp-calls.h).
 */
#include "cmd/otlp.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/text.h"
#include "cmd/alloc.h"
#include "cmd/escape.h"
#include "cmd/event-format.h"
#include "cmd/otlp-calls.h"
#include "cmd/ui.h"

#define WAIT_NS \
	5000000000u /* the time that a span waits for the end of the call around it, after its record was read */

enum { SEVERITY_INFO = 9, SEVERITY_WARN = 13, SPAN_KIND_INTERNAL = 1 };

struct otlp {
	const struct options *options;
	const char *field;
	struct otlp_resources *resources;
	uint64_t random[2]; /* state of the generator of ids */
	struct otlp_calls *calls;
	uint64_t *functions; /* the numbers of the functions whose returns are spans, sorted */
	size_t nfunctions;
};

struct ids {
	char trace[33], span[17], parent[17]; /* hex; "": none */
};

struct otlp *otlp_new(const struct options *options, const struct arming *arming, const char *field)
{
	struct otlp *otlp = xcalloc(1, sizeof(*otlp));

	otlp->options = options;
	otlp->field = field;
	otlp->calls = otlp_calls_new();
	otlp->resources =
		arming->argv ? otlp_resources_new(arming->child.pid, arming->child.path) : otlp_resources_new(0, NULL);
	if (getrandom(otlp->random, sizeof(otlp->random), 0) != sizeof(otlp->random))
		otlp->random[0] = (uint64_t)time(NULL);
	otlp->random[1] |= 1;
	return otlp;
}

void otlp_free(struct otlp *otlp)
{
	if (!otlp)
		return;
	otlp_calls_free(otlp->calls);
	otlp_resources_free(otlp->resources);
	free(otlp->functions);
	free(otlp);
}

/* ---- ids ---- */

/* Returns the finalizer of splitmix64, a bijection that mixes all bits. */
static uint64_t bits_mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* Returns a random number that is not 0, which is an invalid id. */
static uint64_t id_random(struct otlp *otlp)
{
	uint64_t id;

	do
		id = bits_mix(otlp->random[0] += otlp->random[1]);
	while (!id);
	return id;
}

/* Copies n hex digits in lower case. Returns false if there are fewer or all are 0. */
static bool hex_take(char *to, const char *from, size_t length, size_t n)
{
	bool zero = true;

	if (length < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = from[i] >= 'A' && from[i] <= 'F' ? (char)(from[i] + 'a' - 'A') : from[i];

		if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
			return false;
		zero &= c == '0';
		to[i] = c;
	}
	to[n] = 0;
	return !zero;
}

/* Parses "00-TRACE-SPAN-FLAGS", the header traceparent of W3C Trace Context. */
static bool traceparent_take(struct ids *ids, const char *text, size_t length)
{
	if (length < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-' || !strncmp(text, "ff", 2))
		return false;
	return hex_take(ids->trace, text + 3, 32, 32) && hex_take(ids->parent, text + 36, 16, 16);
}

/* Parses 32 hex digits, or a UUID with dashes. */
static bool trace_id_take(char trace[33], const char *text, size_t length)
{
	char digits[33];
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		if (text[i] == '-' && length == 36)
			continue;
		if (n == 32)
			return false;
		digits[n++] = text[i];
	}
	return n == 32 && hex_take(trace, digits, n, 32);
}

/* Equal texts have equal trace ids, in all processes and on all hosts. */
static void trace_id_hash(char trace[33], const char *text, size_t length)
{
	uint64_t a = 0x9e3779b97f4a7c15u ^ length, b = 0xc2b2ae3d27d4eb4fu;

	for (size_t i = 0; i < length; i++) {
		a = bits_mix(a ^ (unsigned char)text[i]);
		b = bits_mix(b + (unsigned char)text[i]) * 3;
	}
	snprintf(trace, 33, "%016" PRIx64 "%016" PRIx64, a | !(a | b), b);
}

/* Sets the trace id, and perhaps the parent span, from argument i. */
static void ids_take(struct ids *ids, const struct pp_event *event, size_t i)
{
	const char *text;
	size_t length;

	switch (pp_event_arg_kind(event, i)) {
	case PP_STRING: break;
	case PP_FLOAT:
	case PP_STACK: /* of keys only */
	case PP_FAULT:
	case PP_MISSING: return;
	default:
		if (pp_event_arg_int(event, i))
			snprintf(ids->trace, sizeof(ids->trace), "%032" PRIx64, (uint64_t)pp_event_arg_int(event, i));
		return;
	}
	text = pp_event_arg_string(event, i, &length, NULL);
	if (!length)
		return;
	if (traceparent_take(ids, text, length))
		return;
	ids->parent[0] = 0;
	if (!trace_id_take(ids->trace, text, length))
		trace_id_hash(ids->trace, text, length);
}

static void ids_find(struct ids *ids, struct otlp *otlp, const struct pp_event *event)
{
	*ids = (struct ids){ .trace = "" };
	for (size_t i = 0; otlp->field && i < pp_event_args(event); i++)
		if (!strcmp(pp_event_arg_name(event, i), otlp->field)) {
			ids_take(ids, event, i);
			return;
		}
}

/* ---- values ---- */

static json_object *json_base64(const char *bytes, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = xcalloc(n / 3 + 2, 4), *to = text;
	json_object *object;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t group = (uint32_t)(unsigned char)bytes[i] << 16;

		group |= i + 1 < n ? (uint32_t)(unsigned char)bytes[i + 1] << 8 : 0;
		group |= i + 2 < n ? (unsigned char)bytes[i + 2] : 0;
		*to++ = digits[group >> 18];
		*to++ = digits[group >> 12 & 63];
		*to++ = i + 1 < n ? digits[group >> 6 & 63] : '=';
		*to++ = i + 2 < n ? digits[group & 63] : '=';
	}
	object = json_text(text);
	free(text);
	return object;
}

static bool text_is_utf8(const char *text, size_t length)
{
	uint32_t code;

	for (size_t i = 0, n; i < length; i += n) {
		n = utf8_decode(text + i, length - i, &code);
		if (!n)
			return false;
	}
	return true;
}

static void string_add(json_object *attributes, const char *key, const struct pp_event *event, size_t i)
{
	char other[64];
	size_t length;
	bool cut;
	const char *text = pp_event_arg_string(event, i, &length, &cut);

	if (text_is_utf8(text, length))
		otlp_add(attributes, key, "stringValue", json_text_n(text, length));
	else
		otlp_add(attributes, key, "bytesValue", json_base64(text, length));
	if (!cut)
		return;
	snprintf(other, sizeof(other), "probepoint.cut.%zu", i);
	otlp_add_text(attributes, other, key);
}

/* An integer of OTLP is signed. Larger unsigned ones are texts. */
static void unsigned_add(json_object *attributes, const char *key, uint64_t value)
{
	char number[24];

	if (value <= INT64_MAX) {
		otlp_add_int(attributes, key, (int64_t)value);
		return;
	}
	snprintf(number, sizeof(number), "%" PRIu64, value);
	otlp_add_text(attributes, key, number);
}

/* Adds an argument. Returns false if its value is not known. */
static bool argument_add(json_object *attributes, const char *key, const struct pp_event *event, size_t i)
{
	switch (pp_event_arg_kind(event, i)) {
	case PP_STRING: string_add(attributes, key, event, i); break;
	case PP_UNSIGNED:
	case PP_POINTER: unsigned_add(attributes, key, (uint64_t)pp_event_arg_int(event, i)); break;
	case PP_BOOL: otlp_add(attributes, key, "boolValue", json_boolean(pp_event_arg_int(event, i) != 0)); break;
	case PP_FLOAT: {
		double value = pp_event_arg_float(event, i);

		/* The JSON mapping of protobuf has these three names. */
		if (isfinite(value))
			otlp_add(attributes, key, "doubleValue", json_double(value));
		else
			otlp_add(attributes, key, "doubleValue",
			         json_text(isnan(value) ? "NaN"
			                   : value > 0  ? "Infinity"
			                                : "-Infinity"));
		break;
	}
	case PP_SIGNED:
	case PP_CHAR: otlp_add_int(attributes, key, pp_event_arg_int(event, i)); break;
	case PP_STACK: /* of keys only */
	case PP_FAULT:
	case PP_MISSING: return false;
	}
	return true;
}

/* A damaged note can give two arguments the same name. Keys of OTLP are unique. */
static bool argument_is_repeated(const struct pp_event *event, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (!strcmp(pp_event_arg_name(event, k), pp_event_arg_name(event, i)))
			return true;
	return false;
}

/* Sets the key of an attribute of an argument: its name and an ending, or argN if another attribute has this key. */
static void argument_key(char *key, size_t size, const struct pp_event *event, size_t i, const char *ending)
{
	static const char *const own[] = { "probepoint.probe", "thread.id", "thread.name" };
	bool taken = argument_is_repeated(event, i);

	snprintf(key, size, "%s%s", pp_event_arg_name(event, i), ending);
	for (size_t k = 0; k < sizeof(own) / sizeof(*own); k++)
		taken |= !strcmp(key, own[k]);
	if (taken)
		snprintf(key, size, "arg%zu%s", i, ending);
}

/* Returns the attributes of a record. *dropped: the number of arguments that could not be read. skip: one that is left out. */
static json_object *attributes_make(const struct pp_event *event, size_t skip, unsigned *dropped)
{
	json_object *attributes = json_new_array();

	*dropped = 0;
	otlp_add_text(attributes, "probepoint.probe", pp_event_probe(event));
	otlp_add_int(attributes, "thread.id", pp_event_tid(event));
	otlp_add_text(attributes, "thread.name", pp_event_comm(event));
	for (size_t i = 0; i < pp_event_args(event); i++) {
		const char *name = pp_event_arg_value_name(event, i);
		char key[512];

		if (i == skip)
			continue;
		argument_key(key, sizeof(key), event, i, "");
		*dropped += !argument_add(attributes, key, event, i);
		if (!name)
			continue;
		argument_key(key, sizeof(key), event, i, ".name");
		otlp_add_text(attributes, key, name);
	}
	return attributes;
}

/* ---- lines ---- */

static void json_add_ns(json_object *to, const char *key, int64_t ns)
{
	char number[24];

	snprintf(number, sizeof(number), "%" PRId64, ns < 0 ? 0 : ns);
	json_add_text(to, key, number);
}

/* Prints {"NAMEs":[{"resource":...,"scopeNAMEs":[{"scope":...,"ITEMS":[item]}]}]} and frees the item. */
static void request_put(FILE *out, json_object *resource, const char *outer, const char *inner, const char *items,
                        json_object *item)
{
	json_object *line = json_new_object(), *of_resource = json_new_object(), *of_scope = json_new_object();
	json_object *scope = json_new_object(), *lists[3] = { json_new_array(), json_new_array(), json_new_array() };

	json_add_text(scope, "name", "probepoint");
	json_add_text(scope, "version", pp_version());
	json_add(of_scope, "scope", scope);
	json_append(lists[2], item);
	json_add(of_scope, items, lists[2]);
	json_append(lists[1], of_scope);
	json_add(of_resource, "resource", json_object_get(resource));
	json_add(of_resource, inner, lists[1]);
	json_append(lists[0], of_resource);
	json_add(line, outer, lists[0]);
	json_print(out, line);
	putc('\n', out);
}

static void log_put(FILE *out, json_object *resource, json_object *record)
{
	request_put(out, resource, "resourceLogs", "scopeLogs", "logRecords", record);
}

/* Returns a log record without its attributes. The text becomes its body. */
static json_object *log_make(int64_t time, int severity, json_object *text)
{
	json_object *record = json_new_object(), *body = json_new_object();
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	json_add_ns(record, "timeUnixNano", time ? time : now.tv_sec * INT64_C(1000000000) + now.tv_nsec);
	json_add_ns(record, "observedTimeUnixNano", now.tv_sec * INT64_C(1000000000) + now.tv_nsec);
	json_add_int(record, "severityNumber", severity);
	json_add_text(record, "severityText", severity == SEVERITY_WARN ? "WARN" : "INFO");
	json_add(body, "stringValue", text);
	json_add(record, "body", body);
	return record;
}

/* Returns the probe and the arguments as text. */
static json_object *event_text(const struct pp_event *event)
{
	char *text = NULL;
	size_t size;
	FILE *out = xmemstream(&text, &size);
	json_object *object;

	escape_put(out, pp_event_probe(event));
	if (pp_event_args(event))
		putc(' ', out);
	event_put_args(out, event);
	xmemstream_close(out);
	object = json_text_n(text, size);
	free(text);
	return object;
}

static void record_put(FILE *out, struct otlp *otlp, const struct pp_event *event)
{
	json_object *record = log_make(pp_event_time_of_day(event), SEVERITY_INFO, event_text(event));
	unsigned dropped;
	struct ids ids;

	ids_find(&ids, otlp, event);
	json_add(record, "attributes", attributes_make(event, SIZE_MAX, &dropped));
	if (dropped)
		json_add_uint(record, "droppedAttributesCount", dropped);
	if (*ids.trace)
		json_add_text(record, "traceId", ids.trace);
	if (*ids.parent)
		json_add_text(record, "spanId", ids.parent);
	json_add_text(record, "eventName", pp_event_probe(event));
	log_put(out, otlp_resource(otlp->resources, pp_event_pid(event), pp_event_comm(event)), record);
}

/* ---- spans ---- */

/* Returns the name of the span without the word for its end. */
static json_object *span_name(const struct otlp *otlp, const char *probe)
{
	size_t length = strlen(probe);
	char *name;
	json_object *object;

	if (otlp->options->latency[0] && !text_has_end(probe, "__return"))
		name = xasprintf("%s..%s", otlp->options->latency[0], probe);
	else
		name = xasprintf(
			"%.*s", (int)(length - strlen(text_has_end(probe, "%return") ? "%return" : "__return")), probe);
	object = json_text(name);
	free(name);
	return object;
}

/* Returns the index of the argument that is the duration of a call, SIZE_MAX if the record is not of a call's end. */
static size_t duration_find(const struct otlp *otlp, const struct pp_event *event)
{
	const char *probe = pp_event_probe(event);

	if (!text_has_end(probe, "%return") && !text_has_end(probe, "__return") && !otlp->options->latency[0])
		return SIZE_MAX;
	/* The program's own arguments come first, and may have this name. */
	for (size_t i = pp_event_args(event); i > 0; i--)
		if (!strcmp(pp_event_arg_name(event, i - 1), "duration") &&
		    pp_event_arg_kind(event, i - 1) == PP_UNSIGNED)
			return i - 1;
	return SIZE_MAX;
}

/* ---- spans of calls in calls ---- */

/* Returns the number of the function whose return the probe is: the hash of its name. */
static uint64_t return_number(const char *probe)
{
	return hash_fnv1a(probe, strlen(probe) - strlen(text_has_end(probe, "%return") ? "%return" : "__return"));
}

static int function_compare_numbers(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Remembers a function whose returns have durations. Entries of other functions are ignored, because their calls have no spans. */
static int function_add(const char *probe, const char *argument, void *arg)
{
	struct otlp *otlp = arg;

	if (strcmp(argument, "duration") != 0 || (!text_has_end(probe, "%return") && !text_has_end(probe, "__return")))
		return 0;
	otlp->functions = xreallocarray(otlp->functions, otlp->nfunctions + 1, sizeof(*otlp->functions));
	otlp->functions[otlp->nfunctions++] = return_number(probe);
	return 0;
}

struct field_search {
	const char *field;
	bool found;
};

static int trace_id_find(const char *probe, const char *argument, void *arg)
{
	struct field_search *search = arg;

	(void)probe;
	search->found = !strcmp(argument, search->field);
	return search->found;
}

enum status otlp_begin(struct otlp *otlp, struct options *options, struct pp_session *session)
{
	struct field_search search = { .field = otlp->field };

	pp_session_arguments(session, function_add, otlp);
	if (otlp->nfunctions)
		qsort(otlp->functions, otlp->nfunctions, sizeof(*otlp->functions), function_compare_numbers);
	if (!otlp->field)
		return STATUS_DONE;
	pp_session_arguments(session, trace_id_find, &search);
	if (search.found)
		return STATUS_DONE;
	ui_error(options, "--trace-id: no probe has an argument '%s'; list the arguments with probe-list", otlp->field);
	return STATUS_USAGE;
}

static void entry_take(struct otlp *otlp, const struct pp_event *event)
{
	const char *probe = pp_event_probe(event);
	size_t length = strlen(probe);
	uint64_t number;

	if (!otlp->nfunctions || otlp->options->latency[0])
		return;
	number = hash_fnv1a(probe, text_has_end(probe, "__entry") ? length - strlen("__entry") : length);
	if (bsearch(&number, otlp->functions, otlp->nfunctions, sizeof(number), function_compare_numbers))
		otlp_calls_enter(otlp->calls, pp_event_pid(event), pp_event_tid(event), number, pp_event_time(event));
}

static struct otlp_span *span_make(struct otlp *otlp, const struct pp_event *event, size_t duration)
{
	struct otlp_span *span = xcalloc(1, sizeof(*span));
	struct ids ids;

	ids_find(&ids, otlp, event);
	memcpy(span->trace, ids.trace, sizeof(span->trace));
	memcpy(span->parent, ids.parent, sizeof(span->parent));
	span->name = span_name(otlp, pp_event_probe(event));
	span->attributes = attributes_make(event, duration, &span->dropped);
	span->resource = json_object_get(otlp_resource(otlp->resources, pp_event_pid(event), pp_event_comm(event)));
	span->ended = pp_event_time(event);
	span->taken = clock_local_ns();
	span->end = pp_event_time_of_day(event);
	span->begin = span->end - pp_event_arg_int(event, duration);
	pp_event_mark(event, &span->mark);
	return span;
}

/* Prints a span and its children. A span is in the trace of its parent, unless an argument names another one. */
static void span_put(FILE *out, struct otlp *otlp, const struct otlp_span *span, const struct ids *parent,
                     otlp_line_fn *line, void *arg)
{
	json_object *object = json_new_object();
	bool is_child = parent && (!*span->trace || !strcmp(span->trace, parent->trace));
	struct ids ids = { .trace = "" };

	memcpy(ids.trace, is_child ? parent->trace : span->trace, sizeof(ids.trace));
	memcpy(ids.parent, is_child ? parent->span : span->parent, sizeof(ids.parent));
	if (!*ids.trace)
		snprintf(ids.trace, sizeof(ids.trace), "%016" PRIx64 "%016" PRIx64, id_random(otlp), id_random(otlp));
	snprintf(ids.span, sizeof(ids.span), "%016" PRIx64, id_random(otlp));
	json_add_text(object, "traceId", ids.trace);
	json_add_text(object, "spanId", ids.span);
	if (*ids.parent)
		json_add_text(object, "parentSpanId", ids.parent);
	json_add(object, "name", json_object_get(span->name));
	json_add_int(object, "kind", SPAN_KIND_INTERNAL);
	json_add_ns(object, "startTimeUnixNano", span->begin);
	json_add_ns(object, "endTimeUnixNano", span->end);
	json_add(object, "attributes", json_object_get(span->attributes));
	if (span->dropped)
		json_add_uint(object, "droppedAttributesCount", span->dropped);
	json_add(object, "status", json_new_object());
	request_put(out, span->resource, "resourceSpans", "scopeSpans", "spans", object);
	line(&span->mark, arg);
	for (const struct otlp_span *child = span->children; child; child = child->next)
		span_put(out, otlp, child, &ids, line, arg);
}

/* Prints and frees a list of spans without parents. */
static void spans_put(FILE *out, struct otlp *otlp, struct otlp_span *list, otlp_line_fn *line, void *arg)
{
	while (list) {
		struct otlp_span *span = list;

		list = span->next;
		span_put(out, otlp, span, NULL, line, arg);
		otlp_span_free(span);
	}
}

void otlp_put(FILE *out, struct otlp *otlp, const struct pp_event *event, otlp_line_fn *line, void *arg)
{
	size_t duration = duration_find(otlp, event);
	struct otlp_span *span;
	struct pp_mark mark;

	if (duration == SIZE_MAX) {
		entry_take(otlp, event);
		record_put(out, otlp, event);
		pp_event_mark(event, &mark);
		line(&mark, arg);
		return;
	}
	span = span_make(otlp, event, duration);
	if (!otlp->options->latency[0])
		span = otlp_calls_leave(otlp->calls, pp_event_pid(event), pp_event_tid(event),
		                        return_number(pp_event_probe(event)),
		                        span->ended - (uint64_t)pp_event_arg_int(event, duration), span);
	spans_put(out, otlp, span, line, arg);
}

void otlp_put_waiting(FILE *out, struct otlp *otlp, bool all, otlp_line_fn *line, void *arg)
{
	spans_put(out, otlp, otlp_calls_expire(otlp->calls, all ? UINT64_MAX : clock_local_ns() - WAIT_NS), line, arg);
}

void otlp_put_account(FILE *out, struct otlp *otlp, const char *session, uint64_t recorded, uint64_t lost)
{
	char *text = xasprintf("%" PRIu64 " recorded, %" PRIu64 " lost", recorded, lost);
	json_object *record = log_make(0, lost ? SEVERITY_WARN : SEVERITY_INFO, json_text(text));
	json_object *attributes = json_new_array();

	otlp_add_text(attributes, "probepoint.session", session);
	unsigned_add(attributes, "probepoint.recorded", recorded);
	unsigned_add(attributes, "probepoint.lost", lost);
	json_add(record, "attributes", attributes);
	json_add_text(record, "eventName", "probepoint.account");
	log_put(out, otlp_resource(otlp->resources, 0, "probe-trace"), record);
	free(text);
}
