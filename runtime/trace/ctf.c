/* SPDX-License-Identifier: MIT */
/*
 * The public interface of traces. A trace is a directory with a metadata file and stream files. Events are collected in
 * packets of busy threads (ctf-thread.c) and in a batch of all others (ctf-stream.c). Full packets are written at once, all
 * others when they are FLUSH_NS old. After the first error nothing more is written, and pp_trace_write() and
 * pp_trace_close() return that error.
 *
 * A trace in parts is a directory of traces, part-000001 and so on. A part ends before a write that could make it larger
 * than the limit. Events that are not written yet go to the next part, so none is lost between two parts. Each part has its own
 * metadata. A trace whose metadata would take more than half of the limit is refused, because its parts would be many and small. If
 * the metadata grows above that later, because attachments were added to the session, each part has the metadata and half of the
 * limit for events.
 */
#include "runtime/trace/ctf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/event.h"
#include "runtime/session.h"

#define FLUSH_NS 1000000000u         /* pp_trace_write() writes events that are older */
#define COUNTERS_NS 1000000000u      /* the session's counters are read at most once in this time */
#define CLOCK_EVENTS 64              /* pp_trace_write() reads the clock once in so many calls */
#define TIME_MAX (UINT64_C(1) << 62) /* trace readers add the clock's offset to a time, and have 63 bits for the sum */
#define SIZE_MIN (UINT64_C(1) << 20) /* of a part */

struct trace_part {
	uint32_t number;
	uint64_t events;
};

struct pp_trace {
	char *path;      /* of the trace */
	char *directory; /* of the part, or the trace */
	int dir;
	uint64_t max_size; /* of a part; 0: the trace has no parts */
	uint32_t max_files;
	struct trace_part *parts; /* those before this one that were not removed, with max_files */
	size_t nparts, parts_room;
	uint64_t events_before; /* in earlier parts, removed or not */
	uint64_t removed;       /* of them */
	struct pp_session *session;
	struct wall wall;
	struct ctf_head head;
	struct ctf_metadata *metadata;
	struct ctf_files files;
	struct ctf_threads *threads;
	struct ctf_batch *batch;
	uint64_t lost_before; /* records that the session had lost when the trace began */
	uint64_t lost_passed; /* lost events that were passed to the streams */
	uint64_t lost_parts;  /* lost events that earlier parts report */
	uint64_t lost;        /* the argument of pp_trace_lost() */
	bool lost_is_set;     /* pp_trace_lost() was called */
	uint64_t counted;     /* when the session's counters were last read */
	uint64_t flushed;     /* when all events were last written */
	unsigned calls;       /* of pp_trace_write() since the clock was read */
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

/* ---- directories ---- */

/* Makes a random UUID, version 4. */
static int uuid_make(uint8_t uuid[16])
{
	if (getrandom(uuid, 16, 0) != 16)
		return -EIO;
	uuid[6] = (uuid[6] & 0x0f) | 0x40;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
	return 0;
}

/*
 * Creates and opens a directory. Only its owner can enter it, because arguments can hold secrets of the traced processes. This also
 * protects the files in it, whatever their modes. Returns the descriptor, or a negative errno with an error message.
 */
static int directory_create(const char *path)
{
	int err, dir;

	if (mkdir(path, 0700))
		return errno == EEXIST
		               ? error_set(EEXIST,
		                           "'%s' already exists: a trace creates its own directory; name another one",
		                           path)
		               : error_set(errno, "cannot create '%s': %s", path, strerror(errno));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir >= 0)
		return dir;
	err = error_set(errno, "cannot open '%s': %s", path, strerror(errno));
	rmdir(path);
	return err;
}

static char *part_path(const struct pp_trace *trace, uint32_t number)
{
	char *path;

	if (!trace->max_size)
		return strdup(trace->path);
	return asprintf(&path, "%s/part-%06u", trace->path, number) < 0 ? NULL : path;
}

/* Removes the oldest parts if there are too many. */
static void trace_remove_parts(struct pp_trace *trace)
{
	size_t n = 0;

	while (trace->max_files && trace->nparts - n + 1 > trace->max_files) {
		char *path = part_path(trace, trace->parts[n].number);

		if (path)
			ctf_directory_remove(path);
		free(path);
		trace->removed += trace->parts[n++].events;
	}
	trace->nparts -= n;
	memmove(trace->parts, trace->parts + n, trace->nparts * sizeof(*trace->parts));
}

/* Makes the directory of the next part, or of the trace, with its metadata. The part before stays as it is on an error. */
static int trace_begin_directory(struct pp_trace *trace)
{
	const struct ctf_head before = trace->head;
	char *path = part_path(trace, trace->head.part + 1);
	int dir, err = path ? 0 : error_nomem();

	if (err)
		return err;
	dir = directory_create(path);
	if (dir < 0) {
		free(path);
		return dir;
	}
	trace->head.began = trace->wall.steps[trace->wall.nsteps - 1];
	trace->head.part += trace->max_size != 0;
	err = uuid_make(trace->head.uuid) ? error_set(EIO, "cannot create '%s': no random bytes for its UUID", path)
	                                  : ctf_metadata_write(trace->metadata, path, dir);
	if (err) {
		trace->head = before;
		close(dir);
		rmdir(path);
		free(path);
		return err;
	}
	ctf_files_release(&trace->files);
	if (trace->dir >= 0)
		close(trace->dir);
	free(trace->directory);
	trace->directory = path;
	trace->dir = dir;
	ctf_files_init(&trace->files, path, dir, trace->head.uuid);
	return 0;
}

static int trace_begin_part(struct pp_trace *trace)
{
	struct trace_part ended = { trace->head.part, trace->files.written };
	uint64_t discarded = ctf_files_discarded(&trace->files);
	int err = trace->max_files ? ALLOC_GROW(trace->parts, trace->nparts + 1, trace->parts_room) : 0;

	if (!err)
		err = trace_begin_directory(trace);
	if (err)
		return err;
	trace->events_before += ended.events;
	trace->lost_parts += discarded;
	if (trace->max_files) {
		trace->parts[trace->nparts++] = ended;
		trace_remove_parts(trace);
	}
	return 0;
}

/* ---- writing ---- */

/* Returns the largest size of a part, including its metadata. */
static uint64_t trace_part_limit(const struct pp_trace *trace)
{
	uint64_t metadata = ctf_metadata_size(trace->metadata), half = trace->max_size / 2;

	return metadata > half ? metadata + half : trace->max_size;
}

/* Refuses metadata that would leave a part too little room for events. */
static int trace_check_limit(const struct pp_trace *trace)
{
	size_t size;
	int err = trace->max_size ? ctf_metadata_measure(trace->metadata, &size) : 0;

	if (err || !trace->max_size || size <= trace->max_size / 2)
		return err;
	return error_set(EINVAL,
	                 "each part of the trace describes all probes, which takes %zu KiB, so parts of %" PRIu64
	                 " KiB would have little room for records; give them %zu KiB or more, or arm fewer probes",
	                 size / 1024 + 1, trace->max_size / 1024, 2 * (size / 1024 + 1));
}

/* Begins a new part if the current one has no room for `bytes` more. Writes the metadata if it has changed. */
static int trace_prepare(struct pp_trace *trace, uint64_t bytes)
{
	int err = ctf_threads_describe(trace->threads, trace->metadata);

	if (err)
		return err;
	if (trace->max_size && trace->files.size &&
	    trace->files.size + ctf_metadata_size(trace->metadata) + bytes > trace_part_limit(trace)) {
		err = trace_begin_part(trace);
		if (err)
			return err;
	}
	return ctf_metadata_has_changed(trace->metadata)
	               ? ctf_metadata_write(trace->metadata, trace->directory, trace->dir)
	               : 0;
}

/* Writes the batch, and lost events. */
static int trace_write_batch(struct pp_trace *trace, uint64_t since, uint64_t now, uint64_t lost)
{
	int err = trace_prepare(trace, ctf_batch_size(trace->batch));

	return err ? err : ctf_batch_flush(trace->batch, &trace->files, since, now, lost);
}

/* Adds an event to the batch. */
static int trace_batch(uint64_t time, const char *event, size_t size, const struct pp_mark *mark, void *arg)
{
	struct pp_trace *trace = arg;
	int err = ctf_batch_has_room(trace->batch, size) ? 0 : trace_write_batch(trace, 0, 0, 0);

	if (!err)
		ctf_batch_add(trace->batch, time, event, size, mark);
	return err;
}

/* Writes the packets that are full. */
static int trace_write_threads(struct pp_trace *trace)
{
	int err = trace_prepare(trace, ctf_threads_size(trace->threads));

	return err ? err : ctf_threads_write(trace->threads, trace->metadata, &trace->files, trace_batch, trace);
}

/* Writes the packets that are full, or all if too many are not. */
static int trace_relieve(struct pp_trace *trace)
{
	int err = 0;

	if (!ctf_threads_size(trace->threads))
		err = ctf_threads_settle(trace->threads, trace->metadata, trace_batch, trace);
	return err ? err : trace_write_threads(trace);
}

/*
 * Writes all events and the number of lost events. Reads the session's counters only if COUNTERS_NS have passed or this
 * is the last flush, because the session may have many points.
 */
static int ctf_trace_flush(struct pp_trace *trace, bool last)
{
	uint64_t before = trace->lost_passed, since = trace->counted, time = clock_ns();
	int err;

	trace->flushed = time;
	trace->calls = 0;
	if (wall_sample(&trace->wall)) {
		err = ctf_metadata_write(trace->metadata, trace->directory, trace->dir);
		if (err)
			return err;
	}
	if (last || time - trace->counted >= COUNTERS_NS) {
		trace->counted = time;
		trace->lost_passed = trace_lost(trace);
	}
	if (trace->lost_passed < before)
		trace->lost_passed = before;
	err = ctf_threads_settle(trace->threads, trace->metadata, trace_batch, trace);
	if (!err)
		err = trace_write_threads(trace);
	return err ? err : trace_write_batch(trace, since, time, trace->lost_passed - before);
}

static void trace_free(struct pp_trace *trace)
{
	ctf_metadata_free(trace->metadata);
	ctf_files_release(&trace->files);
	ctf_threads_free(trace->threads);
	ctf_batch_free(trace->batch);
	if (trace->dir >= 0)
		close(trace->dir);
	free(trace->parts);
	free(trace->message);
	free(trace->directory);
	free(trace->path);
	free(trace);
}

static void trace_lose(const struct pp_mark *mark, void *arg)
{
	struct pp_trace *trace = arg;

	session_lose(trace->session, mark);
}

/*
 * Keeps the first error. Counts as lost what is not written, and the event that was to be added (NULL: none). Returns err.
 */
static int trace_fail(struct pp_trace *trace, int err, const struct pp_event *event)
{
	struct pp_mark mark;

	if (!err)
		return 0;
	trace->error = err;
	trace->message = strdup(pp_error());
	ctf_batch_unwritten(trace->batch, trace_lose, trace);
	ctf_threads_unwritten(trace->threads, trace_lose, trace);
	if (event) {
		pp_event_mark(event, &mark);
		session_lose(trace->session, &mark);
	}
	return err;
}

/* ---- the interface ---- */

/* Prepares the parts of the trace, and writes the metadata of the session's attachments. */
static int ctf_trace_begin(struct pp_trace *trace)
{
	struct pp_session *session = trace->session;
	uint64_t recorded;
	int err;

	wall_sample(&trace->wall);
	trace->head = (struct ctf_head){ .session = pp_session_name(session), .wall = &trace->wall };
	err = ctf_metadata_new(&trace->head, &trace->metadata);
	if (!err)
		err = ctf_threads_new(&trace->threads);
	if (!err)
		err = ctf_batch_new(&trace->batch);
	for (size_t i = 0; !err && i < session_attachments(session); i++)
		err = ctf_metadata_add(trace->metadata, session_manifest(session, i),
		                       session_attachment_id(session, i));
	if (!err)
		err = trace_check_limit(trace);
	if (!err)
		err = trace_begin_directory(trace);
	session_totals(session, &recorded, &trace->lost_before);
	trace->flushed = trace->counted = clock_ns();
	return err;
}

static int trace_create(const char *dir, struct pp_session *session, uint64_t max_size, uint32_t max_files,
                        struct pp_trace **made)
{
	struct pp_trace *trace = calloc(1, sizeof(*trace));
	int err, parts;

	*made = NULL;
	if (!trace)
		return error_nomem();
	trace->dir = trace->files.index = -1;
	trace->session = session;
	trace->max_size = max_size;
	trace->max_files = max_files;
	trace->path = strdup(dir);
	parts = trace->path && max_size ? directory_create(dir) : 0;
	err = trace->path ? parts : error_nomem();
	if (parts > 0)
		err = close(parts);
	if (!err)
		err = ctf_trace_begin(trace);
	if (!err) {
		*made = trace;
		return 0;
	}
	if (parts > 0)
		rmdir(dir);
	trace_free(trace);
	return err;
}

int pp_trace_create(const char *dir, struct pp_session *session, struct pp_trace **trace)
{
	return trace_create(dir, session, 0, 0, trace);
}

int pp_trace_create_parts(const char *dir, struct pp_session *session, uint64_t max_size, unsigned max_files,
                          struct pp_trace **trace)
{
	*trace = NULL;
	if (max_size < SIZE_MIN)
		return error_set(EINVAL, "a part of a trace cannot be smaller than 1 MiB");
	return trace_create(dir, session, max_size, max_files, trace);
}

/* Sets the first error's message again. Returns that error. */
static int trace_failed(const struct pp_trace *trace)
{
	return error_set(-trace->error, "%s", trace->message ? trace->message : strerror(-trace->error));
}

/* Adds an event to the packet of its thread or to the batch. */
static int trace_add(struct pp_trace *trace, const struct pp_event *event)
{
	static _Thread_local char bytes[CTF_EVENT_MAX];
	const struct ctf_class *class;
	struct pp_mark mark;
	int err = 0, added;

	class = ctf_metadata_class(trace->metadata, event->manifest, event->thread.attachment, event->record->point,
	                           &err);
	if (!class)
		return err;
	added = ctf_threads_add(trace->threads, event, class);
	if (added < 0)
		return added;
	if (added)
		return 0;
	pp_event_mark(event, &mark);
	return trace_batch(event->time, bytes, ctf_event_encode(event, class->id, bytes), &mark, trace);
}

/* Returns whether FLUSH_NS have passed. Reads the clock only sometimes, because that takes as long as adding an event. */
static bool trace_is_due(struct pp_trace *trace, const struct pp_event *event)
{
	if (++trace->calls < CLOCK_EVENTS && event->time < trace->flushed + FLUSH_NS)
		return false;
	trace->calls = 0;
	return clock_ns() - trace->flushed >= FLUSH_NS;
}

int pp_trace_write(struct pp_trace *trace, const struct pp_event *event)
{
	int err;

	if (trace->error)
		return trace_failed(trace);
	if (!event)
		return trace_fail(trace, ctf_trace_flush(trace, false), NULL);
	if (event->time >= TIME_MAX)
		return error_set(EBADMSG, "an event of '%s' has an invalid time", pp_event_probe(event));
	err = trace_add(trace, event);
	if (err)
		return trace_fail(trace, err, event);
	if (trace_is_due(trace, event))
		return trace_fail(trace, ctf_trace_flush(trace, false), NULL);
	return ctf_threads_are_full(trace->threads) ? trace_fail(trace, trace_relieve(trace), NULL) : 0;
}

uint64_t pp_trace_events(const struct pp_trace *trace)
{
	return trace->events_before + trace->files.written;
}

uint64_t pp_trace_removed(const struct pp_trace *trace)
{
	return trace->removed;
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
		discarded = trace->lost_parts + ctf_files_discarded(&trace->files);
		ctf_files_discard_in_place(&trace->files, lost > discarded ? lost - discarded : 0);
	}
	trace_free(trace);
	return err;
}
