/* SPDX-License-Identifier: MIT */
#include "runtime/event.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/half.h"
#include "runtime/fetch/program.h"
#include "runtime/session.h"

static inline const struct manifest_layout *event_layout(const struct pp_event *event)
{
	return &manifest_layouts(event->manifest)[manifest_points(event->manifest)[event->record->point].layout];
}

static const struct manifest_probe *event_manifest_probe(const struct pp_event *event)
{
	return &manifest_probes(event->manifest)[manifest_points(event->manifest)[event->record->point].probe];
}

/* Sets the event's strings. Checks that they are in the record. */
static int event_set_strings(struct pp_event *event)
{
	const struct record *record = event->record;
	const struct manifest_layout *layout = event_layout(event);
	const char *end = (const char *)record + record_words(record) * 8u;
	const char *string = (const char *)&record->value[layout->nargs];
	char *text = event->text;

	if (string > end)
		return error_set(EBADMSG, "damaged record: too short for its %u arguments", layout->nargs);
	for (uint32_t i = 0; i < layout->nargs; i++) {
		uint64_t length = record->value[i];

		event->strings[i] = NULL;
		if (layout->kind[i] != PP_STRING || record->faults >> i & 1)
			continue;
		if (length > layout->string_max + 1u || ((length + 7) & ~7ull) > (size_t)(end - string))
			return error_set(EBADMSG, "damaged record: a string of %llu bytes does not fit in it",
			                 (unsigned long long)length);
		if (length > layout->string_max)
			length--;
		event->strings[i] = text;
		memcpy(text, string, length);
		text += length;
		*text++ = 0;
		string += (record->value[i] + 7) & ~7ull;
	}
	return 0;
}

int event_set(struct pp_event *event, const struct manifest *manifest, const struct record_thread *thread,
              const struct record *record, size_t size)
{
	size_t bytes = size < sizeof(*record) ? 0 : record_words(record) * (size_t)8;

	if (bytes > size || bytes < sizeof(*record))
		return error_set(EBADMSG, "damaged record: it has %zu bytes in a space of %zu", bytes, size);
	if (record->point >= manifest->npoints)
		return error_set(EBADMSG, "damaged record: point %u of %u", record->point, manifest->npoints);
	if (manifest_point_role(&manifest_points(manifest)[record->point]) == SITE_CALL)
		return error_set(EBADMSG, "damaged record: point %u begins a call, which has no record", record->point);
	event->manifest = manifest;
	event->record = record;
	event->time = record->time;
	event->thread = *thread;
	event->thread.comm[sizeof(event->thread.comm) - 1] = 0;
	return event_set_strings(event);
}

uint64_t pp_event_time(const struct pp_event *event)
{
	return event->time;
}

int64_t pp_event_time_of_day(const struct pp_event *event)
{
	struct wall now = { 0 };

	return wall_time(event->wall ? event->wall : &now, event->time);
}

void pp_event_mark(const struct pp_event *event, struct pp_mark *mark)
{
	*mark = (struct pp_mark){ event->thread.attachment, event->record->point, event->thread.pid };
}

pid_t pp_event_pid(const struct pp_event *event)
{
	return event->thread.pid;
}

pid_t pp_event_tid(const struct pp_event *event)
{
	return event->thread.tid;
}

const char *pp_event_comm(const struct pp_event *event)
{
	return event->thread.comm;
}

const char *pp_event_probe(const struct pp_event *event)
{
	return manifest_string(event->manifest, event_manifest_probe(event)->name);
}

size_t pp_event_args(const struct pp_event *event)
{
	return event_layout(event)->nargs;
}

/* Returns the name of an argument of records of the probe. */
static const char *argument_name(const struct manifest *manifest, const struct manifest_probe *probe, size_t i)
{
	static const char *const unnamed[RECORD_ARGS_MAX] = {
		"arg0",  "arg1",  "arg2",  "arg3",  "arg4",  "arg5",  "arg6",  "arg7",
		"arg8",  "arg9",  "arg10", "arg11", "arg12", "arg13", "arg14", "arg15",
		"arg16", "arg17", "arg18", "arg19", "arg20", "arg21", "arg22", "arg23",
	};

	if (i < probe->nargs)
		return manifest_string(manifest, manifest_args(manifest)[probe->args + i].name);
	return i < RECORD_ARGS_MAX ? unnamed[i] : NULL;
}

const char *pp_event_arg_name(const struct pp_event *event, size_t i)
{
	if (i >= pp_event_args(event) && i >= event_manifest_probe(event)->nargs)
		return NULL;
	return argument_name(event->manifest, event_manifest_probe(event), i);
}

int pp_session_arguments(struct pp_session *session, int (*fn)(const char *probe, const char *argument, void *arg),
                         void *arg)
{
	for (size_t i = 0; i < session_attachments(session); i++) {
		const struct manifest *m = session_manifest(session, i);
		const struct manifest_point *points = manifest_points(m);

		for (uint32_t p = 0; p < m->npoints; p++) {
			const struct manifest_probe *probe = &manifest_probes(m)[points[p].probe];
			size_t nargs = manifest_layouts(m)[points[p].layout].nargs;

			/* Most probes have several points with the same arguments. */
			if (p && points[p].probe == points[p - 1].probe && points[p].layout == points[p - 1].layout)
				continue;
			for (size_t a = 0; a < nargs; a++) {
				int stop = fn(manifest_string(m, probe->name), argument_name(m, probe, a), arg);

				if (stop)
					return stop;
			}
		}
	}
	return 0;
}

const char *pp_event_arg_value_name(const struct pp_event *event, size_t i)
{
	const struct manifest_probe *probe = event_manifest_probe(event);
	const struct manifest_arg *arg;
	enum pp_kind kind = pp_event_arg_kind(event, i);

	if (i >= probe->nargs || (kind != PP_SIGNED && kind != PP_UNSIGNED))
		return NULL;
	arg = &manifest_args(event->manifest)[probe->args + i];
	for (uint32_t k = 0; k < arg->nnames; k++) {
		const struct manifest_name *name = &manifest_names(event->manifest)[arg->names + k];

		if (name->value == (int64_t)event->record->value[i])
			return manifest_string(event->manifest, name->name);
	}
	return NULL;
}

enum pp_kind pp_event_arg_kind(const struct pp_event *event, size_t i)
{
	enum pp_kind kind = i < pp_event_args(event) ? event_layout(event)->kind[i] : PP_MISSING;

	if (kind == PP_FAULT || kind == PP_MISSING)
		return PP_MISSING;
	return event->record->faults >> i & 1 ? PP_FAULT : kind;
}

int64_t pp_event_arg_int(const struct pp_event *event, size_t i)
{
	return i < pp_event_args(event) ? (int64_t)event->record->value[i] : 0;
}

double pp_event_arg_float(const struct pp_event *event, size_t i)
{
	if (i >= pp_event_args(event))
		return 0;
	if (event_layout(event)->size[i] == 2)
		return half_to_double((uint16_t)event->record->value[i]);
	if (event_layout(event)->size[i] == 4) {
		float value;

		memcpy(&value, &event->record->value[i], sizeof(value));
		return value;
	}
	double value;

	memcpy(&value, &event->record->value[i], sizeof(value));
	return value;
}

const char *pp_event_arg_string(const struct pp_event *event, size_t i, size_t *length, bool *cut)
{
	bool exists = i < pp_event_args(event);
	bool is_string = exists && event->strings[i];
	bool is_cut = is_string && event->record->value[i] > event_layout(event)->string_max;

	if (length)
		*length = is_string ? event->record->value[i] - is_cut : 0;
	if (cut)
		*cut = is_cut;
	return is_string ? event->strings[i] : exists ? "" : NULL;
}
