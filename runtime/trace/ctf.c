/* SPDX-License-Identifier: MIT */
/*
 * The public interface of traces. A trace is a directory with a metadata file and stream files. Events are collected in
 * a batch, which is sorted and written to a stream when it is full or old (ctf-stream.c). After the first error nothing
 * more is written, and pp_trace_write() and pp_trace_close() return that error.
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

#include "base/error.h"
#include "runtime/event.h"
#include "runtime/session.h"

#define FLUSH_NS 1000000000u         /* pp_trace_write() writes a batch that is older */
#define COUNTERS_NS 1000000000u      /* the session's counters are read at most once in this time */
#define TIME_MAX (UINT64_C(1) << 62) /* trace readers add the clock's offset to a time, and have 63 bits for the sum */

struct pp_trace {
	char *path;
	int dir;
	struct pp_session *session;
	struct wall wall;
	struct ctf_metadata *metadata;
	struct ctf_streams *streams;
	uint64_t lost_before; /* records that the session had lost when the trace began */
	uint64_t lost_passed; /* lost events that were passed to the streams */
	uint64_t lost;        /* the argument of pp_trace_lost() */
	bool lost_is_set;     /* pp_trace_lost() was called */
	uint64_t counted;     /* when the session's counters were last read */
	uint64_t flushed;     /* when the batch was last written */
	int error;            /* the first error, a negative errno */
	char *message;        /* its error message */
};

/* Returns the number of events lost since the trace began: of pp_trace_lost(), or else of the session's counters. */
static uint64_t trace_lost(const struct pp_trace *trace)
{
	uint64_t recorded, lost;

	if (trace->lost_is_set)
		return trace->lost;
	session_totals(trace->session, &recorded, &lost);
	return lost > trace->lost_before ? lost - trace->lost_before : 0;
}

/*
 * Writes the batch and the number of lost events. Reads the session's counters only if COUNTERS_NS have passed or this
 * is the last flush, because the session may have many points.
 */
static int ctf_trace_flush(struct pp_trace *trace, bool last)
{
	uint64_t before = trace->lost_passed, time = clock_ns();

	trace->flushed = time;
	if (wall_sample(&trace->wall)) {
		int err = ctf_metadata_add_step(trace->metadata, &trace->wall);

		if (err)
			return err;
	}
	if (last || time - trace->counted >= COUNTERS_NS) {
		trace->counted = time;
		trace->lost_passed = trace_lost(trace);
	}
	if (trace->lost_passed < before)
		trace->lost_passed = before;
	return ctf_streams_flush(trace->streams, time, trace->lost_passed - before);
}

static void trace_free(struct pp_trace *trace)
{
	ctf_metadata_free(trace->metadata);
	ctf_streams_free(trace->streams);
	if (trace->dir >= 0)
		close(trace->dir);
	free(trace->message);
	free(trace->path);
	free(trace);
}

/*
 * Keeps the first error. Counts the batch as lost, and the event that was to be added (NULL: none). Returns err.
 */
static int trace_fail(struct pp_trace *trace, int err, const struct pp_event *event)
{
	const struct pp_mark *unwritten;
	struct pp_mark mark;

	if (!err)
		return 0;
	trace->error = err;
	trace->message = strdup(pp_error());
	for (size_t i = 0; (unwritten = ctf_streams_unwritten(trace->streams, i)); i++)
		session_lose(trace->session, unwritten);
	if (event) {
		pp_event_mark(event, &mark);
		session_lose(trace->session, &mark);
	}
	return err;
}

/* Creates and opens the trace's directory. */
static int trace_create_dir(struct pp_trace *trace)
{
	const char *path = trace->path;
	int err;

	if (mkdir(path, 0755))
		return errno == EEXIST
		               ? error_set(EEXIST,
		                           "'%s' already exists: a trace creates its own directory; name another one",
		                           path)
		               : error_set(errno, "cannot create '%s': %s", path, strerror(errno));
	trace->dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (trace->dir >= 0)
		return 0;
	err = error_set(errno, "cannot open '%s': %s", path, strerror(errno));
	rmdir(path);
	return err;
}

/* Makes a random UUID, version 4. */
static int uuid_make(uint8_t uuid[16])
{
	if (getrandom(uuid, 16, 0) != 16)
		return -EIO;
	uuid[6] = (uuid[6] & 0x0f) | 0x40;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
	return 0;
}

/* Writes the metadata of the session's attachments and prepares the streams. */
static int ctf_trace_begin(struct pp_trace *trace)
{
	struct pp_session *session = trace->session;
	uint64_t recorded;
	uint8_t uuid[16];
	int err;

	if (uuid_make(uuid))
		return error_set(EIO, "cannot create '%s': no random bytes for its UUID", trace->path);
	err = ctf_streams_new(trace->path, trace->dir, uuid, &trace->streams);
	if (err)
		return err;
	wall_sample(&trace->wall);
	err = ctf_metadata_new(trace->path, trace->dir, uuid, pp_session_name(session), trace->wall.steps[0].offset,
	                       &trace->metadata);
	for (size_t i = 0; !err && i < session_attachments(session); i++)
		err = ctf_metadata_add(trace->metadata, session_manifest(session, i),
		                       session_attachment_id(session, i));
	if (err)
		return err;
	err = ctf_metadata_write(trace->metadata);
	session_totals(session, &recorded, &trace->lost_before);
	trace->flushed = trace->counted = clock_ns();
	return err;
}

int pp_trace_create(const char *dir, struct pp_session *session, struct pp_trace **made)
{
	struct pp_trace *trace = calloc(1, sizeof(*trace));
	int err;

	*made = NULL;
	if (!trace)
		return error_nomem();
	trace->dir = -1;
	trace->session = session;
	trace->path = strdup(dir);
	err = trace->path ? trace_create_dir(trace) : error_nomem();
	if (err)
		goto out;
	err = ctf_trace_begin(trace);
	if (!err) {
		*made = trace;
		return 0;
	}
	rmdir(dir);
out:
	trace_free(trace);
	return err;
}

/* Sets the first error's message again. Returns that error. */
static int trace_failed(const struct pp_trace *trace)
{
	return error_set(-trace->error, "%s", trace->message ? trace->message : strerror(-trace->error));
}

int pp_trace_write(struct pp_trace *trace, const struct pp_event *event)
{
	char bytes[CTF_EVENT_MAX];
	const uint32_t *ids;
	struct pp_mark mark;
	size_t size;
	int err = 0;

	if (trace->error)
		return trace_failed(trace);
	if (!event)
		return trace_fail(trace, ctf_trace_flush(trace, false), NULL);
	if (event->time >= TIME_MAX)
		return error_set(EBADMSG, "an event of '%s' has an invalid time", pp_event_probe(event));
	pp_event_mark(event, &mark);
	ids = ctf_metadata_ids(trace->metadata, event->manifest, event->thread.attachment, &err);
	if (err)
		return trace_fail(trace, err, event);
	size = ctf_event_encode(event, ids[event->record->point], bytes);
	err = ctf_streams_add(trace->streams, event->time, bytes, size, &mark);
	if (err)
		return trace_fail(trace, err, event);
	return clock_ns() - trace->flushed >= FLUSH_NS ? trace_fail(trace, ctf_trace_flush(trace, false), NULL) : 0;
}

uint64_t pp_trace_events(const struct pp_trace *trace)
{
	return ctf_streams_written(trace->streams);
}

int pp_trace_lost(struct pp_trace *trace, uint64_t lost)
{
	trace->lost = lost;
	trace->lost_is_set = true;
	return 0;
}

int pp_trace_close(struct pp_trace *trace)
{
	uint64_t lost, discarded;
	int err;

	if (!trace)
		return 0;
	if (!trace->error)
		trace_fail(trace, ctf_trace_flush(trace, true), NULL);
	err = trace->error ? trace_failed(trace) : 0;
	if (err) {
		lost = trace_lost(trace);
		discarded = ctf_streams_discarded(trace->streams);
		ctf_streams_discard_in_place(trace->streams, lost > discarded ? lost - discarded : 0);
	}
	trace_free(trace);
	return err;
}
