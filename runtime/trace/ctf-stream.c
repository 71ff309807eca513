/* SPDX-License-Identifier: MIT */
/*
 * The streams of a trace. A reader finds a complete trace at any time, whatever happens to the writer:
 *
 * 1. A packet is one page, at a page boundary of its file. The kernel copies a page to a file as a whole or not at all,
 *    even if the process is killed meanwhile. A larger packet could be cut off, and readers refuse a file that ends in
 *    one, so only an event that does not fit into a page (long strings) has one, of its own. After a write that fails (a full disk), the file is truncated to its last complete packet.
 * 2. Times in a stream must not decrease, but events arrive in the order in which they were drained: from several CPUs,
 *    or ring by ring. So a batch of events is sorted, and goes to a stream that ends before the batch begins. If no
 *    stream does, a new one is created. A stream is only a file; readers merge streams. Two are usual.
 * 3. Each packet contains the number of events that its stream has lost up to the packet's end. Readers report only how
 *    much this number grows after the first packet, so it is 0 there, and later packets have more.
 */
#include "runtime/trace/ctf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"

#define BATCH_BYTES (64 * CTF_PACKET_SIZE)
#define BATCH_EVENTS 8192

/* A packet of one event, at most. */
#define PACKET_MAX \
	((sizeof(struct ctf_packet) + CTF_EVENT_MAX + CTF_PACKET_SIZE - 1) / CTF_PACKET_SIZE * CTF_PACKET_SIZE)

_Static_assert(CTF_EVENT_MAX <= BATCH_BYTES, "an event fits into a batch");

/* An event of the batch. */
struct held {
	uint64_t time;
	uint32_t at, size; /* its place in the batch's bytes */
	struct pp_mark mark;
};

struct stream {
	uint64_t end;  /* the time at which its last packet ends */
	uint64_t size; /* of the file */
	uint64_t last; /* where its last packet begins */
	uint64_t lost;
	uint64_t discarded; /* lost events that the last packet reports */
};

struct ctf_streams {
	const char *path;
	int dir;
	uint8_t uuid[16];
	struct stream *streams;
	size_t nstreams, room;
	uint64_t written; /* events in the files */
	size_t nheld, nbytes;
	struct held held[BATCH_EVENTS];
	char bytes[BATCH_BYTES];
	_Alignas(CTF_PACKET_SIZE) char packet[PACKET_MAX];
};

int ctf_streams_new(const char *path, int dir, const uint8_t uuid[16], struct ctf_streams **streams)
{
	struct ctf_streams *made = aligned_alloc(CTF_PACKET_SIZE, sizeof(*made));

	*streams = made;
	if (!made)
		return error_nomem();
	memset(made, 0, sizeof(*made));
	made->path = path;
	made->dir = dir;
	memcpy(made->uuid, uuid, sizeof(made->uuid));
	return 0;
}

void ctf_streams_free(struct ctf_streams *streams)
{
	if (!streams)
		return;
	free(streams->streams);
	free(streams);
}

int ctf_write(int fd, const char *bytes, size_t n)
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

/* Returns the stream for a batch that begins at this time: the one that ends last before it, or a new one. */
static struct stream *streams_choose(struct ctf_streams *streams, uint64_t time)
{
	struct stream *best = NULL;

	for (size_t i = 0; i < streams->nstreams; i++)
		if (streams->streams[i].end <= time && (!best || streams->streams[i].end > best->end))
			best = &streams->streams[i];
	if (best)
		return best;
	if (ALLOC_GROW(streams->streams, streams->nstreams + 1, streams->room))
		return NULL;
	best = &streams->streams[streams->nstreams++];
	*best = (struct stream){ 0 };
	return best;
}

static void stream_name(const struct ctf_streams *streams, const struct stream *stream, char name[32])
{
	snprintf(name, 32, "stream_%zu", (size_t)(stream - streams->streams));
}

/*
 * Writes a packet with as many of the n events as fit. A packet without events ends at the time `end`. Returns the number
 * of events, or a negative errno.
 */
static int packet_write(struct ctf_streams *streams, struct stream *stream, int fd, const struct held *held, size_t n,
                        uint64_t end)
{
	struct ctf_packet *packet = (struct ctf_packet *)streams->packet;
	size_t used = sizeof(*packet), size = CTF_PACKET_SIZE, i;
	int err;

	while (n && used + held[0].size > size)
		size += CTF_PACKET_SIZE;
	for (i = 0; i < n && used + held[i].size <= size && (!i || size == CTF_PACKET_SIZE); i++) {
		memcpy(streams->packet + used, streams->bytes + held[i].at, held[i].size);
		used += held[i].size;
	}
	memset(streams->packet + used, 0, size - used);
	if (i)
		end = held[i - 1].time;
	else if (end < stream->end)
		end = stream->end;
	*packet = (struct ctf_packet){
		.magic = CTF_MAGIC,
		.timestamp_begin = i ? held[0].time : end,
		.timestamp_end = end,
		.content_size = 8 * used,
		.packet_size = 8 * size,
		.events_discarded = stream->size ? stream->lost : 0,
	};
	memcpy(packet->uuid, streams->uuid, sizeof(packet->uuid));
	err = ctf_write(fd, streams->packet, size);
	if (err)
		return err;
	stream->end = end;
	stream->last = stream->size;
	stream->size += size;
	stream->discarded = packet->events_discarded;
	return i;
}

/* Writes the batch to the open file of a stream. Adds the number of events written to *done. */
static int stream_write_packets(struct ctf_streams *streams, struct stream *stream, int fd, uint64_t end, size_t *done)
{
	while (*done < streams->nheld || stream->discarded != stream->lost) {
		int n = packet_write(streams, stream, fd, streams->held + *done, streams->nheld - *done, end);

		if (n < 0)
			return n;
		*done += n;
	}
	return 0;
}

/* Writes the batch to a stream. Events that are written leave the batch. */
static int stream_write(struct ctf_streams *streams, struct stream *stream, uint64_t end)
{
	char name[32];
	size_t done = 0;
	int fd, err;

	stream_name(streams, stream, name);
	fd = openat(streams->dir, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | (stream->size ? 0 : O_EXCL), 0644);
	if (fd < 0)
		return error_set(errno, "cannot open '%s/%s': %s", streams->path, name, strerror(errno));
	err = stream_write_packets(streams, stream, fd, end, &done);
	if (err)
		(void)!ftruncate(fd, stream->size); /* the first error is reported */
	if (close(fd) && !err) {
		err = -errno; /* of a delayed write: it is not known which one, so none counts */
		done = 0;
	}
	streams->written += done;
	memmove(streams->held, streams->held + done, (streams->nheld - done) * sizeof(*streams->held));
	streams->nheld -= done;
	if (!stream->size)
		unlinkat(streams->dir, name, 0);
	if (err)
		return error_set(-err, "cannot write '%s/%s': %s; the trace is complete up to the last packet",
		                 streams->path, name, strerror(-err));
	return 0;
}

static int held_compare_time(const void *a, const void *b)
{
	const struct held *p = a, *q = b;

	if (p->time != q->time)
		return p->time < q->time ? -1 : 1;
	return p->at < q->at ? -1 : p->at > q->at;
}

static void batch_sort(struct ctf_streams *streams)
{
	bool sorted = true;

	for (size_t i = 1; i < streams->nheld && sorted; i++)
		sorted = streams->held[i - 1].time <= streams->held[i].time;
	if (!sorted)
		qsort(streams->held, streams->nheld, sizeof(*streams->held), held_compare_time);
}

int ctf_streams_flush(struct ctf_streams *streams, uint64_t now, uint64_t lost)
{
	struct stream *stream;
	int err;

	if (!streams->nheld && !lost)
		return 0;
	batch_sort(streams);
	stream = streams_choose(streams, streams->nheld ? streams->held[0].time : UINT64_MAX);
	if (!stream)
		return -ENOMEM;
	stream->lost += lost;
	err = stream_write(streams, stream, now);
	if (!err)
		streams->nheld = streams->nbytes = 0;
	return err;
}

uint64_t ctf_streams_written(const struct ctf_streams *streams)
{
	return streams->written;
}

uint64_t ctf_streams_discarded(const struct ctf_streams *streams)
{
	uint64_t discarded = 0;

	for (size_t i = 0; i < streams->nstreams; i++)
		discarded += streams->streams[i].discarded;
	return discarded;
}

const struct pp_mark *ctf_streams_unwritten(const struct ctf_streams *streams, size_t i)
{
	return i < streams->nheld ? &streams->held[i].mark : NULL;
}

void ctf_streams_discard_in_place(struct ctf_streams *streams, uint64_t lost)
{
	struct stream *last = NULL;
	uint64_t discarded;
	char name[32];
	off_t at;
	int fd;

	for (size_t i = 0; i < streams->nstreams; i++)
		if (streams->streams[i].last && (!last || streams->streams[i].end > last->end))
			last = &streams->streams[i];
	if (!last || !lost)
		return;
	stream_name(streams, last, name);
	fd = openat(streams->dir, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	discarded = last->discarded + lost;
	at = (off_t)(last->last + offsetof(struct ctf_packet, events_discarded));
	if (pwrite(fd, &discarded, sizeof(discarded), at) == sizeof(discarded))
		last->discarded = discarded;
	close(fd);
}

int ctf_streams_add(struct ctf_streams *streams, uint64_t time, const char *event, size_t size,
                    const struct pp_mark *mark)
{
	int err;

	if (streams->nheld == BATCH_EVENTS || size > BATCH_BYTES - streams->nbytes) {
		err = ctf_streams_flush(streams, 0, 0);
		if (err)
			return err;
	}
	memcpy(streams->bytes + streams->nbytes, event, size);
	streams->held[streams->nheld++] = (struct held){ time, streams->nbytes, size, *mark };
	streams->nbytes += size;
	return 0;
}
