/* SPDX-License-Identifier: MIT */
/*
 * Traces on disk, so written that a reader finds a whole trace at any moment,
 * whatever becomes of the writer.
 *
 * Packets are of one page, and stand on page boundaries of their file: the kernel
 * copies a page into a file whole or not at all, even if the process is killed in
 * the middle. A larger packet could stay cut off, and readers refuse a file that
 * ends in one. Metadata is written beside and renamed into place; it describes an
 * event before a packet holds one. A write that fails in part (a full disk) is
 * taken back to the last whole packet.
 *
 * Times in a stream must not go back, and events come in the order in which they
 * were drained: by several CPUs, or ring by ring. So a batch of events is held
 * and sorted, and goes to a stream that ends before the batch begins; where there
 * is none, another is begun. A stream is a file and nothing more, and readers
 * merge them. In practice two are enough.
 *
 * The first error is kept: from then on nothing is written and every call
 * returns it.
 */
#include "runtime/ctf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <probepoint.h>

#include "runtime/event.h"
#include "runtime/session.h"
#include "sdt/error.h"

#define BATCH_BYTES (64 * CTF_PACKET_SIZE)
#define BATCH_EVENTS 8192
#define BATCH_NS 1000000000u /* how long an event is held at most, as long as others come */
#define LOST_NS 1000000000u  /* how often the session's counters are read */
#define TIME_MAX (UINT64_C(1) << 62) /* readers add the wall clock's offset, in 63 bits */
#define EVENT_MAX (4 + 8 + 4 + 4 + 16 + 8 * RECORD_ARGS_MAX + RECORD_STRING_CUT * RECORD_STRINGS_MAX + 4 + 4)

_Static_assert(EVENT_MAX <= CTF_PACKET_SIZE - sizeof(struct ctf_packet), "an event fits into a packet");

struct held {
	uint64_t time;
	uint32_t at, size; /* in the batch's bytes */
};

struct stream {
	uint64_t end; /* time of its last event */
	uint64_t size;
	uint64_t discarded;
};

/* The ids of a segment's points. */
struct segment_ids {
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
	uint32_t nids;
	struct segment_ids *segments;
	size_t nsegments;
	struct stream *streams;
	size_t nstreams;
	uint64_t lost; /* what the session's counters said when they were last read */
	uint64_t asked; /* when that was */
	uint64_t flushed; /* when the batch was last written */
	int error;
	char *sentence;
	size_t nheld, nbytes;
	struct held held[BATCH_EVENTS];
	char bytes[BATCH_BYTES];
	_Alignas(CTF_PACKET_SIZE) char packet[CTF_PACKET_SIZE];
};

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

static int out_of_memory(const struct pp_trace *trace)
{
	return error_set(ENOMEM, "out of memory writing the trace '%s'", trace->path);
}

static int write_whole(int fd, const char *bytes, size_t n)
{
	while (n) {
		ssize_t done = write(fd, bytes, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -ENOSPC;
		bytes += done;
		n -= done;
	}
	return 0;
}

/* ---- metadata ---- */

static int metadata_write(struct pp_trace *trace)
{
	int error = 0, fd = openat(trace->dir, ".metadata", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return error_set(errno, "cannot make '%s/.metadata': %s", trace->path, strerror(errno));
	error = write_whole(fd, trace->metadata, trace->metadata_size);
	if (close(fd) && !error)
		error = -errno;
	if (!error && renameat(trace->dir, ".metadata", trace->dir, "metadata"))
		error = -errno;
	if (!error)
		return 0;
	unlinkat(trace->dir, ".metadata", 0);
	return error_set(-error, "cannot write '%s/metadata': %s", trace->path, strerror(-error));
}

static int by_class(const void *a, const void *b, void *desc)
{
	const struct desc_point *points = desc_points(desc);
	const struct desc_point *p = &points[*(const uint32_t *)a], *q = &points[*(const uint32_t *)b];

	if (p->probe != q->probe)
		return p->probe < q->probe ? -1 : 1;
	return p->layout < q->layout ? -1 : p->layout > q->layout;
}

/* Gives each probe and layout of the segment an id, and writes what they are to the metadata. */
static int segment_describe(struct pp_trace *trace, const struct desc *desc, uint32_t *ids, FILE *to)
{
	const struct desc_point *points = desc_points(desc), *before = NULL;
	uint32_t *order = malloc(sizeof(*order) * desc->npoints + 1);

	if (!order)
		return out_of_memory(trace);
	for (uint32_t i = 0; i < desc->npoints; i++)
		order[i] = i;
	qsort_r(order, desc->npoints, sizeof(*order), by_class, (void *)desc);
	for (uint32_t i = 0; i < desc->npoints; i++) {
		const struct desc_point *point = &points[order[i]];

		if (!before || point->probe != before->probe || point->layout != before->layout)
			ctf_metadata_event(to, trace->nids++, desc, &desc_probes(desc)[point->probe],
			                   &desc_layouts(desc)[point->layout]);
		ids[order[i]] = trace->nids - 1;
		before = point;
	}
	free(order);
	return 0;
}

static int segment_add(struct pp_trace *trace, const struct desc *desc)
{
	struct segment_ids *grown = reallocarray(trace->segments, trace->nsegments + 1, sizeof(*grown));
	struct segment_ids *added;
	char *text = NULL;
	size_t size = 0;
	int error;
	FILE *to;

	if (!grown)
		return out_of_memory(trace);
	trace->segments = grown;
	added = &grown[trace->nsegments];
	*added = (struct segment_ids){ desc->segment, desc->size, desc->npoints, NULL };
	added->ids = malloc(sizeof(*added->ids) * desc->npoints + 1);
	if (!added->ids)
		return out_of_memory(trace);
	to = open_memstream(&text, &size);
	if (!to) {
		free(added->ids);
		return out_of_memory(trace);
	}
	fwrite(trace->metadata, 1, trace->metadata_size, to);
	error = segment_describe(trace, desc, added->ids, to);
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
	trace->nsegments++;
	return 0;
}

static int metadata_begin(struct pp_trace *trace)
{
	FILE *to = open_memstream(&trace->metadata, &trace->metadata_size);

	if (!to)
		return out_of_memory(trace);
	ctf_metadata_begin(to, trace->uuid, pp_session_name(trace->session));
	return ferror(to) | fclose(to) ? out_of_memory(trace) : 0;
}

/* Its ids; NULL: see the error. A segment that was added after the trace began is described now. */
static const uint32_t *segment_ids(struct pp_trace *trace, const struct desc *desc, int *error)
{
	for (size_t i = trace->nsegments; i--;)
		if (trace->segments[i].number == desc->segment && trace->segments[i].size == desc->size &&
		    trace->segments[i].npoints == desc->npoints)
			return trace->segments[i].ids;
	*error = segment_add(trace, desc);
	if (!*error)
		*error = metadata_write(trace);
	return *error ? NULL : trace->segments[trace->nsegments - 1].ids;
}

/* ---- streams ---- */

static uint64_t session_lost(const struct pp_session *session)
{
	uint64_t lost = 0;

	for (size_t i = 0; i < session->nsegments; i++) {
		const struct segment *segment = session->segments[i];

		for (uint32_t p = 0; p < segment->desc->npoints; p++) {
			struct pp_counts counts = { 0 };

			segment->backend->counts(segment, p, &counts);
			lost += counts.lost;
		}
	}
	return lost;
}

/* What was lost since it was last asked: not at every batch, for there may be many points to ask. */
static uint64_t newly_lost(struct pp_trace *trace, uint64_t time, bool last)
{
	uint64_t before = trace->lost;

	if (!last && time - trace->asked < LOST_NS)
		return 0;
	trace->asked = time;
	trace->lost = session_lost(trace->session);
	return trace->lost > before ? trace->lost - before : 0;
}

/* Of the streams that end before this time the one that ends last, else a new one. */
static struct stream *stream_for(struct pp_trace *trace, uint64_t time)
{
	struct stream *best = NULL, *grown;

	for (size_t i = 0; i < trace->nstreams; i++)
		if (trace->streams[i].end <= time && (!best || trace->streams[i].end > best->end))
			best = &trace->streams[i];
	if (best)
		return best;
	grown = reallocarray(trace->streams, trace->nstreams + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	trace->streams = grown;
	best = &grown[trace->nstreams++];
	*best = (struct stream){ 0 };
	return best;
}

/* One packet of as many of the events as it holds; returns their number, or an error. */
static int packet_write(struct pp_trace *trace, struct stream *stream, int fd, const struct held *held, size_t n)
{
	struct ctf_packet *packet = (struct ctf_packet *)trace->packet;
	uint64_t time = stream->end > trace->flushed ? stream->end : trace->flushed; /* of one without events */
	size_t used = sizeof(*packet), i;
	int error;

	for (i = 0; i < n && used + held[i].size <= CTF_PACKET_SIZE; i++) {
		memcpy(trace->packet + used, trace->bytes + held[i].at, held[i].size);
		used += held[i].size;
	}
	memset(trace->packet + used, 0, CTF_PACKET_SIZE - used);
	*packet = (struct ctf_packet){
		.magic = CTF_MAGIC,
		.timestamp_begin = i ? held[0].time : time,
		.timestamp_end = i ? held[i - 1].time : time,
		.content_size = 8 * used,
		.packet_size = 8 * CTF_PACKET_SIZE,
		.events_discarded = stream->discarded,
	};
	memcpy(packet->uuid, trace->uuid, sizeof(packet->uuid));
	error = write_whole(fd, trace->packet, CTF_PACKET_SIZE);
	if (error)
		return error;
	stream->end = packet->timestamp_end;
	stream->size += CTF_PACKET_SIZE;
	return i;
}

static int by_time(const void *a, const void *b)
{
	const struct held *p = a, *q = b;

	if (p->time != q->time)
		return p->time < q->time ? -1 : 1;
	return p->at < q->at ? -1 : p->at > q->at;
}

static int stream_write(struct pp_trace *trace, struct stream *stream)
{
	char name[32];
	size_t done = 0;
	int n, fd, error = 0;

	snprintf(name, sizeof(name), "stream_%zu", (size_t)(stream - trace->streams));
	fd = openat(trace->dir, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | (stream->size ? 0 : O_EXCL), 0644);
	if (fd < 0)
		return error_set(errno, "cannot open '%s/%s': %s", trace->path, name, strerror(errno));
	do {
		n = packet_write(trace, stream, fd, trace->held + done, trace->nheld - done);
		if (n < 0)
			error = n;
		else
			done += n;
	} while (!error && done < trace->nheld);
	if (error && ftruncate(fd, stream->size))
		error = -errno;
	if (close(fd) && !error)
		error = -errno;
	if (!stream->size)
		unlinkat(trace->dir, name, 0);
	if (error)
		return error_set(-error, "cannot write '%s/%s': %s; what is there up to now is a readable trace",
		                 trace->path, name, strerror(-error));
	return 0;
}

/* Writes out what is held. */
static int flush(struct pp_trace *trace, bool last)
{
	uint64_t time = now(CLOCK_MONOTONIC_COARSE), lost = newly_lost(trace, time, last);
	bool sorted = true;
	struct stream *stream;
	int error;

	trace->flushed = time;
	if (!trace->nheld && !lost)
		return 0;
	for (size_t i = 1; i < trace->nheld && sorted; i++)
		sorted = trace->held[i - 1].time <= trace->held[i].time;
	if (!sorted)
		qsort(trace->held, trace->nheld, sizeof(*trace->held), by_time);
	stream = stream_for(trace, trace->nheld ? trace->held[0].time : TIME_MAX);
	if (!stream)
		return out_of_memory(trace);
	stream->discarded += lost;
	error = stream_write(trace, stream);
	trace->nheld = trace->nbytes = 0;
	return error;
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
	const struct desc_layout *layout = &desc_layouts(event->desc)[desc_points(event->desc)[event->record->point].layout];
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
		case CTF_NONE:
			break;
		case CTF_SIGNED:
		case CTF_UNSIGNED:
		case CTF_HEX:
			to = put_number(to, value, layout->size[i]);
			break;
		case CTF_FLOAT:
			to = put(to, &value, layout->size[i]);
			break;
		case CTF_BOOL:
			*to++ = value != 0;
			break;
		case CTF_LETTER:
			*to++ = value;
			break;
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
	for (size_t i = 0; i < trace->nsegments; i++)
		free(trace->segments[i].ids);
	free(trace->segments);
	free(trace->streams);
	free(trace->metadata);
	free(trace->sentence);
	free(trace->path);
	free(trace);
}

/* Keeps the first error, to be told again. */
static int trace_fail(struct pp_trace *trace, int error)
{
	if (error && !trace->error) {
		trace->error = error;
		trace->sentence = strdup(pp_error());
	}
	return error;
}

int pp_trace_create(const char *dir, struct pp_session *session, struct pp_trace **made)
{
	struct pp_trace *trace = aligned_alloc(CTF_PACKET_SIZE, sizeof(*trace));
	bool is_there = false;
	int error = 0;

	*made = NULL;
	if (!trace)
		return error_set(ENOMEM, "out of memory making the trace '%s'", dir);
	memset(trace, 0, sizeof(*trace));
	trace->dir = -1;
	trace->session = session;
	trace->path = strdup(dir);
	if (!trace->path) {
		error = error_set(ENOMEM, "out of memory making the trace '%s'", dir);
		goto out;
	}
	if (mkdir(dir, 0755)) {
		error = errno == EEXIST ?
			error_set(EEXIST, "'%s' is there already: a trace makes a folder of its own, name another", dir) :
			error_set(errno, "cannot make the folder '%s': %s", dir, strerror(errno));
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
	error = metadata_begin(trace);
	for (size_t i = 0; !error && i < session_segments(session); i++)
		error = segment_add(trace, session_desc(session, i));
	if (!error)
		error = metadata_write(trace);
	trace->lost = session_lost(session);
	trace->flushed = trace->asked = now(CLOCK_MONOTONIC_COARSE);
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

int pp_trace_write(struct pp_trace *trace, const struct pp_event *event)
{
	const uint32_t *ids;
	size_t size;
	int error = 0;

	if (trace->error)
		return error_set(-trace->error, "%s", trace->sentence ? trace->sentence : strerror(-trace->error));
	if (!event)
		return trace_fail(trace, flush(trace, false));
	if (event->time >= TIME_MAX)
		return error_set(EBADMSG, "an event of '%s' has a time that cannot be", pp_event_probe(event));
	ids = segment_ids(trace, event->desc, &error);
	if (!ids)
		return trace_fail(trace, error);
	if (trace->nheld == BATCH_EVENTS || trace->nbytes + EVENT_MAX > BATCH_BYTES)
		error = flush(trace, false);
	if (error)
		return trace_fail(trace, error);
	size = event_encode(event, ids[event->record->point], trace->bytes + trace->nbytes);
	trace->held[trace->nheld++] = (struct held){ event->time, trace->nbytes, size };
	trace->nbytes += size;
	if (now(CLOCK_MONOTONIC_COARSE) - trace->flushed >= BATCH_NS)
		error = flush(trace, false);
	return trace_fail(trace, error);
}

int pp_trace_close(struct pp_trace *trace)
{
	int error;

	if (!trace)
		return 0;
	error = trace->error ? error_set(-trace->error, "%s", trace->sentence ? trace->sentence : strerror(-trace->error)) :
			       flush(trace, true);
	trace_free(trace);
	return error;
}
