/* SPDX-License-Identifier: MIT */
/*
 * A trace is a folder: metadata, and the streams of ctf-stream.c. The metadata is
 * written beside and renamed into place, and describes an event before a packet
 * holds one; so it too is whole at any moment. Each probe is an event class for
 * each layout that its records have; attachments that are added to the session later
 * add theirs.
 *
 * The first error is kept: from then on nothing is written, and every call
 * returns it.
 */
#include "runtime/trace/ctf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <probepoint.h>

#include "base/clock.h"
#include "runtime/event.h"
#include "runtime/session.h"
#include "base/error.h"

#define HELD_NS 1000000000u          /* how long an event is held back, as long as others come */
#define LOST_NS 1000000000u          /* how often the session's counters are read */
#define TIME_MAX (UINT64_C(1) << 62) /* readers add the wall clock's offset, in 63 bits */

/* The ids of an attachment's points. */
struct attachment_ids {
	uint32_t number;
	uint64_t size; /* of its description */
	uint32_t npoints;
	uint32_t *ids;
};

struct pp_trace {
	char *path;
	int dir;
	struct pp_session *session;
	uint8_t uuid[16];
	char *metadata;
	size_t metadata_size;
	struct wall wall;
	uint32_t nids;
	struct attachment_ids *attachments;
	size_t nattachments;
	struct ctf_streams *streams;
	uint64_t lost_before; /* the session's lost records when the trace was made */
	uint64_t said_lost;   /* events that the streams were told of as lost */
	uint64_t lost;        /* see pp_trace_lost() */
	bool lost_is_told;
	uint64_t asked;   /* when that was */
	uint64_t flushed; /* when the batch was last written */
	int error;
	char *sentence;
};

static int out_of_memory(const struct pp_trace *trace)
{
	return error_set(ENOMEM, "out of memory writing the trace '%s'", trace->path);
}

/* ---- metadata ---- */

static int metadata_write(struct pp_trace *trace)
{
	int error = 0, fd = openat(trace->dir, ".metadata", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return error_set(errno, "cannot make '%s/.metadata': %s", trace->path, strerror(errno));
	error = ctf_write(fd, trace->metadata, trace->metadata_size);
	if (close(fd) && !error)
		error = -errno;
	if (!error && renameat(trace->dir, ".metadata", trace->dir, "metadata"))
		error = -errno;
	if (!error)
		return 0;
	unlinkat(trace->dir, ".metadata", 0);
	return error_set(-error, "cannot write '%s/metadata': %s", trace->path, strerror(-error));
}

static int by_class(const void *a, const void *b, void *manifest)
{
	const struct manifest_point *points = manifest_points(manifest);
	const struct manifest_point *p = &points[*(const uint32_t *)a], *q = &points[*(const uint32_t *)b];

	if (p->probe != q->probe)
		return p->probe < q->probe ? -1 : 1;
	return p->layout < q->layout ? -1 : p->layout > q->layout;
}

/* Gives each probe and layout of the attachment an id, and writes what they are to the metadata. */
static int attachment_describe(struct pp_trace *trace, const struct manifest *manifest, uint32_t *ids, FILE *to)
{
	const struct manifest_point *points = manifest_points(manifest), *before = NULL;
	uint32_t *order = malloc(sizeof(*order) * manifest->npoints + 1);

	if (!order)
		return out_of_memory(trace);
	for (uint32_t i = 0; i < manifest->npoints; i++)
		order[i] = i;
	qsort_r(order, manifest->npoints, sizeof(*order), by_class, (void *)manifest);
	for (uint32_t i = 0; i < manifest->npoints; i++) {
		const struct manifest_point *point = &points[order[i]];

		if (!before || point->probe != before->probe || point->layout != before->layout)
			ctf_metadata_event(to, trace->nids++, manifest, &manifest_probes(manifest)[point->probe],
			                   &manifest_layouts(manifest)[point->layout]);
		ids[order[i]] = trace->nids - 1;
		before = point;
	}
	free(order);
	return 0;
}

static int attachment_add(struct pp_trace *trace, const struct manifest *manifest)
{
	struct attachment_ids *grown = reallocarray(trace->attachments, trace->nattachments + 1, sizeof(*grown));
	struct attachment_ids *added;
	char *text = NULL;
	size_t size = 0;
	int error;
	FILE *to;

	if (!grown)
		return out_of_memory(trace);
	trace->attachments = grown;
	added = &grown[trace->nattachments];
	*added = (struct attachment_ids){ manifest->attachment, manifest->size, manifest->npoints, NULL };
	added->ids = malloc(sizeof(*added->ids) * manifest->npoints + 1);
	if (!added->ids)
		return out_of_memory(trace);
	to = open_memstream(&text, &size);
	if (!to) {
		free(added->ids);
		return out_of_memory(trace);
	}
	fwrite(trace->metadata, 1, trace->metadata_size, to);
	error = attachment_describe(trace, manifest, added->ids, to);
	if ((ferror(to) | fclose(to)) && !error)
		error = out_of_memory(trace);
	if (error) {
		free(added->ids);
		free(text);
		return error;
	}
	free(trace->metadata);
	trace->metadata = text;
	trace->metadata_size = size;
	trace->nattachments++;
	return 0;
}

/*
 * A trace has one offset from its clock to the time of day, which is what it was in the beginning. Steps that the time
 * of day has made since are told in the description of the clock.
 */
static int metadata_step(struct pp_trace *trace)
{
	static const char clock[] = CTF_CLOCK_DESCRIPTION;
	const struct wall_step *step = &trace->wall.steps[trace->wall.nsteps - 1];
	const char *at = strstr(trace->metadata, clock), *end = at ? strchr(at, '"') : NULL;
	int64_t change = step->offset - step[-1].offset;
	char *text = NULL;
	int size;

	if (!end)
		return 0;
	size = asprintf(&text, "%.*s; the time of day steps by %s%lld.%09lld s after %llu.%09llu%s",
	                (int)(end - trace->metadata), trace->metadata, change < 0 ? "-" : "+",
	                llabs(change) / 1000000000, llabs(change) % 1000000000,
	                (unsigned long long)step->from / 1000000000, (unsigned long long)step->from % 1000000000, end);
	if (size < 0)
		return out_of_memory(trace);
	free(trace->metadata);
	trace->metadata = text;
	trace->metadata_size = (size_t)size;
	return metadata_write(trace);
}

static int metadata_begin(struct pp_trace *trace)
{
	FILE *to = open_memstream(&trace->metadata, &trace->metadata_size);

	if (!to)
		return out_of_memory(trace);
	wall_sample(&trace->wall);
	ctf_metadata_begin(to, trace->uuid, pp_session_name(trace->session), trace->wall.steps[0].offset);
	return ferror(to) | fclose(to) ? out_of_memory(trace) : 0;
}

/* Its ids; NULL: see the error. An attachment that was added after the trace began is described now. */
static const uint32_t *attachment_ids(struct pp_trace *trace, const struct manifest *manifest, int *error)
{
	for (size_t i = trace->nattachments; i--;)
		if (trace->attachments[i].number == manifest->attachment &&
		    trace->attachments[i].size == manifest->size && trace->attachments[i].npoints == manifest->npoints)
			return trace->attachments[i].ids;
	*error = attachment_add(trace, manifest);
	if (!*error)
		*error = metadata_write(trace);
	return *error ? NULL : trace->attachments[trace->nattachments - 1].ids;
}

/* ---- what was lost ---- */

/* Since the trace was made: by what it was told, or else by the session's counters. */
static uint64_t trace_lost(const struct pp_trace *trace)
{
	uint64_t recorded, lost;

	if (trace->lost_is_told)
		return trace->lost;
	session_totals(trace->session, &recorded, &lost);
	return lost > trace->lost_before ? lost - trace->lost_before : 0;
}

/* Writes out what is held, and how many were lost; that not every time, for there may be many points to ask. */
static int flush(struct pp_trace *trace, bool last)
{
	uint64_t before = trace->said_lost, time = clock_ns();
	int error;

	trace->flushed = time;
	if (wall_sample(&trace->wall)) {
		error = metadata_step(trace);
		if (error)
			return error;
	}
	if (last || time - trace->asked >= LOST_NS) {
		trace->asked = time;
		trace->said_lost = trace_lost(trace);
	}
	if (trace->said_lost < before)
		trace->said_lost = before;
	return ctf_streams_flush(trace->streams, time, trace->said_lost - before);
}

/* ---- events ---- */

static char *put(char *to, const void *bytes, size_t n)
{
	memcpy(to, bytes, n);
	return to + n;
}

static char *put_string(char *to, const char *string, size_t room)
{
	size_t n = strnlen(string, room);

	to = put(to, string, n);
	*to = 0;
	return to + 1;
}

/* The last bytes of a number are the first in memory, or the last. */
static char *put_number(char *to, uint64_t value, size_t size)
{
	size_t skip = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? sizeof(value) - size : 0;

	return put(to, (const char *)&value + skip, size);
}

static size_t event_encode(const struct pp_event *event, uint32_t id, char *bytes)
{
	const struct manifest_layout *layout =
		&manifest_layouts(event->manifest)[manifest_points(event->manifest)[event->record->point].layout];
	uint32_t faults = event->record->faults, cuts = 0;
	bool strings = false;
	char *to = bytes;

	to = put_number(to, id, 4);
	to = put_number(to, event->time, 8);
	to = put_number(to, event->thread.pid, 4);
	to = put_number(to, event->thread.tid, 4);
	to = put_string(to, event->thread.comm, sizeof(event->thread.comm) - 1);
	for (uint32_t i = 0; i < layout->nargs; i++) {
		bool fault = faults >> i & 1;
		uint64_t value = fault ? 0 : event->record->value[i];

		switch (ctf_field(layout, i)) {
		case CTF_NONE: break;
		case CTF_SIGNED:
		case CTF_UNSIGNED:
		case CTF_HEX: to = put_number(to, value, layout->size[i]); break;
		case CTF_FLOAT: to = put(to, &value, layout->size[i]); break;
		case CTF_BOOL: *to++ = value != 0; break;
		case CTF_LETTER: *to++ = value; break;
		case CTF_STRING: {
			size_t length = 0;
			bool cut = false;
			const char *string = fault ? "" : pp_event_arg_string(event, i, &length, &cut);

			to = put_string(to, string, length);
			cuts |= (uint32_t)cut << i;
			strings = true;
			break;
		}
		}
	}
	if (layout->nargs)
		to = put_number(to, faults, 4);
	if (strings)
		to = put_number(to, cuts, 4);
	return to - bytes;
}

/* ---- the trace ---- */

static void trace_free(struct pp_trace *trace)
{
	if (trace->dir >= 0)
		close(trace->dir);
	for (size_t i = 0; i < trace->nattachments; i++)
		free(trace->attachments[i].ids);
	free(trace->attachments);
	ctf_streams_free(trace->streams);
	free(trace->metadata);
	free(trace->sentence);
	free(trace->path);
	free(trace);
}

/* Keeps the first error, to be told again. What is held, and the event at hand, is lost then. */
static int trace_fail(struct pp_trace *trace, int error, const struct pp_event *event)
{
	const struct pp_mark *held;
	struct pp_mark mark;

	if (!error)
		return 0;
	trace->error = error;
	trace->sentence = strdup(pp_error());
	for (size_t i = 0; (held = ctf_streams_unwritten(trace->streams, i)); i++)
		session_lose(trace->session, held);
	if (event) {
		pp_event_mark(event, &mark);
		session_lose(trace->session, &mark);
	}
	return error;
}

int pp_trace_create(const char *dir, struct pp_session *session, struct pp_trace **made)
{
	struct pp_trace *trace = calloc(1, sizeof(*trace));
	bool is_there = false;
	uint64_t recorded;
	int error = 0;

	*made = NULL;
	if (!trace)
		return error_set(ENOMEM, "out of memory making the trace '%s'", dir);
	trace->dir = -1;
	trace->session = session;
	trace->path = strdup(dir);
	if (!trace->path) {
		error = error_set(ENOMEM, "out of memory making the trace '%s'", dir);
		goto out;
	}
	if (mkdir(dir, 0755)) {
		error = errno == EEXIST
		                ? error_set(EEXIST,
		                            "'%s' is there already: a trace makes a folder of its own, name another",
		                            dir)
		                : error_set(errno, "cannot make the folder '%s': %s", dir, strerror(errno));
		goto out;
	}
	is_there = true;
	trace->dir = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (trace->dir < 0) {
		error = error_set(errno, "cannot open the folder '%s': %s", dir, strerror(errno));
		goto out;
	}
	if (getrandom(trace->uuid, sizeof(trace->uuid), 0) != sizeof(trace->uuid)) {
		error = error_set(EIO, "no random bytes to name the trace '%s' by", dir);
		goto out;
	}
	trace->uuid[6] = (trace->uuid[6] & 0x0f) | 0x40;
	trace->uuid[8] = (trace->uuid[8] & 0x3f) | 0x80;
	error = ctf_streams_new(trace->path, trace->dir, trace->uuid, &trace->streams);
	if (!error)
		error = metadata_begin(trace);
	for (size_t i = 0; !error && i < session_attachments(session); i++)
		error = attachment_add(trace, session_manifest(session, i));
	if (!error)
		error = metadata_write(trace);
	session_totals(session, &recorded, &trace->lost_before);
	trace->flushed = trace->asked = clock_ns();
out:
	if (!error) {
		*made = trace;
		return 0;
	}
	trace_free(trace);
	if (is_there)
		rmdir(dir);
	return error;
}

/* What the first error said, again. */
static int trace_failed(const struct pp_trace *trace)
{
	return error_set(-trace->error, "%s", trace->sentence ? trace->sentence : strerror(-trace->error));
}

int pp_trace_write(struct pp_trace *trace, const struct pp_event *event)
{
	char bytes[CTF_EVENT_MAX];
	const uint32_t *ids;
	struct pp_mark mark;
	int error = 0;

	if (trace->error)
		return trace_failed(trace);
	if (!event)
		return trace_fail(trace, flush(trace, false), NULL);
	if (event->time >= TIME_MAX)
		return error_set(EBADMSG, "an event of '%s' has a time that cannot be", pp_event_probe(event));
	pp_event_mark(event, &mark);
	ids = attachment_ids(trace, event->manifest, &error);
	if (!error)
		error = ctf_streams_add(trace->streams, event->time, bytes,
		                        event_encode(event, ids[event->record->point], bytes), &mark);
	if (error)
		return trace_fail(trace, error, event);
	return clock_ns() - trace->flushed >= HELD_NS ? trace_fail(trace, flush(trace, false), NULL) : 0;
}

uint64_t pp_trace_events(const struct pp_trace *trace)
{
	return ctf_streams_written(trace->streams);
}

void pp_trace_lost(struct pp_trace *trace, uint64_t lost)
{
	trace->lost = lost;
	trace->lost_is_told = true;
}

int pp_trace_close(struct pp_trace *trace)
{
	uint64_t lost, told;
	int error;

	if (!trace)
		return 0;
	if (!trace->error)
		trace_fail(trace, flush(trace, true), NULL);
	error = trace->error ? trace_failed(trace) : 0;
	if (error) {
		lost = trace_lost(trace);
		told = ctf_streams_told(trace->streams);
		ctf_streams_tell_in_place(trace->streams, lost > told ? lost - told : 0);
	}
	trace_free(trace);
	return error;
}
