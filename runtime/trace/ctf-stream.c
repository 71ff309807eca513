/* SPDX-License-Identifier: MIT */
/*
 * The streams of a trace, so written that a reader finds a whole trace at any
 * moment, whatever becomes of the writer.
 *
 * Packets are of one page, and stand on page boundaries of their file: the kernel
 * copies a page into a file whole or not at all, even if the process is killed in
 * the middle. A larger packet could stay cut off, and readers refuse a file that
 * ends in one. A write that fails in part (a full disk) is taken back to the last
 * whole packet.
 *
 * Times in a stream must not go back, and events come in the order in which they
 * were drained: by several CPUs, or ring by ring. So a batch of events is held
 * and sorted, and goes to a stream that ends before the batch begins; where there
 * is none, another is begun. A stream is a file and nothing more, and readers
 * merge them. Two are usual.
 *
 * A packet tells how many events its stream has lost up to its end. Readers take
 * the first packet's number for a start, so it is 0 and the rest say more.
 */
#include "runtime/trace/ctf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

#define BATCH_BYTES (64 * CTF_PACKET_SIZE)
#define BATCH_EVENTS 8192

_Static_assert(CTF_EVENT_MAX <= CTF_PACKET_SIZE - sizeof(struct ctf_packet), "an event fits into a packet");

struct held {
	uint64_t time;
	uint32_t at, size; /* in the batch's bytes */
	struct pp_mark mark;
};

struct stream {
	uint64_t end; /* of its last packet */
	uint64_t size;
	uint64_t lost, told; /* events; the last packet told of so many */
};

struct ctf_streams {
	const char *path;
	int dir;
	uint8_t uuid[16];
	struct stream *streams;
	size_t nstreams;
	uint64_t written; /* events */
	size_t nheld, nbytes;
	struct held held[BATCH_EVENTS];
	char bytes[BATCH_BYTES];
	_Alignas(CTF_PACKET_SIZE) char packet[CTF_PACKET_SIZE];
};

int ctf_streams_new(const char *path, int dir, const uint8_t uuid[16], struct ctf_streams **streams)
{
	struct ctf_streams *made = aligned_alloc(CTF_PACKET_SIZE, sizeof(*made));

	*streams = made;
	if (!made)
		return error_set(ENOMEM, "out of memory writing the trace '%s'", path);
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

/* Of the streams that end before this time the one that ends last, else a new one. */
static struct stream *stream_for(struct ctf_streams *streams, uint64_t time)
{
	struct stream *best = NULL, *grown;

	for (size_t i = 0; i < streams->nstreams; i++)
		if (streams->streams[i].end <= time && (!best || streams->streams[i].end > best->end))
			best = &streams->streams[i];
	if (best)
		return best;
	grown = reallocarray(streams->streams, streams->nstreams + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	streams->streams = grown;
	best = &grown[streams->nstreams++];
	*best = (struct stream){ 0 };
	return best;
}

/* One packet of as many of the events as it holds; returns their number, or an error. Without any it ends at end. */
static int packet_write(struct ctf_streams *streams, struct stream *stream, int fd, const struct held *held, size_t n,
                        uint64_t end)
{
	struct ctf_packet *packet = (struct ctf_packet *)streams->packet;
	size_t used = sizeof(*packet), i;
	int error;

	for (i = 0; i < n && used + held[i].size <= CTF_PACKET_SIZE; i++) {
		memcpy(streams->packet + used, streams->bytes + held[i].at, held[i].size);
		used += held[i].size;
	}
	memset(streams->packet + used, 0, CTF_PACKET_SIZE - used);
	if (i)
		end = held[i - 1].time;
	else if (end < stream->end)
		end = stream->end;
	*packet = (struct ctf_packet){
		.magic = CTF_MAGIC,
		.timestamp_begin = i ? held[0].time : end,
		.timestamp_end = end,
		.content_size = 8 * used,
		.packet_size = 8 * CTF_PACKET_SIZE,
		.events_discarded = stream->size ? stream->lost : 0,
	};
	memcpy(packet->uuid, streams->uuid, sizeof(packet->uuid));
	error = ctf_write(fd, streams->packet, CTF_PACKET_SIZE);
	if (error)
		return error;
	stream->end = end;
	stream->size += CTF_PACKET_SIZE;
	stream->told = packet->events_discarded;
	return i;
}

static int stream_write(struct ctf_streams *streams, struct stream *stream, uint64_t end)
{
	char name[32];
	size_t done = 0;
	int n, fd, error = 0;

	snprintf(name, sizeof(name), "stream_%zu", (size_t)(stream - streams->streams));
	fd = openat(streams->dir, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | (stream->size ? 0 : O_EXCL), 0644);
	if (fd < 0)
		return error_set(errno, "cannot open '%s/%s': %s", streams->path, name, strerror(errno));
	while (!error && (done < streams->nheld || stream->told != stream->lost)) {
		n = packet_write(streams, stream, fd, streams->held + done, streams->nheld - done, end);
		if (n < 0)
			error = n;
		else
			done += n;
	}
	if (error)
		n = ftruncate(fd, stream->size); /* if that fails too, the first error is the one to tell */
	if (close(fd) && !error) {
		error = -errno; /* of a write that was put off: nobody knows of which */
		done = 0;
	}
	streams->written += done;
	memmove(streams->held, streams->held + done, (streams->nheld - done) * sizeof(*streams->held));
	streams->nheld -= done;
	if (!stream->size)
		unlinkat(streams->dir, name, 0);
	if (error)
		return error_set(-error, "cannot write '%s/%s': %s; what was written before is a whole trace",
		                 streams->path, name, strerror(-error));
	return 0;
}

static int by_time(const void *a, const void *b)
{
	const struct held *p = a, *q = b;

	if (p->time != q->time)
		return p->time < q->time ? -1 : 1;
	return p->at < q->at ? -1 : p->at > q->at;
}

int ctf_streams_flush(struct ctf_streams *streams, uint64_t now, uint64_t lost)
{
	struct stream *stream;
	bool sorted = true;
	int error;

	if (!streams->nheld && !lost)
		return 0;
	for (size_t i = 1; i < streams->nheld && sorted; i++)
		sorted = streams->held[i - 1].time <= streams->held[i].time;
	if (!sorted)
		qsort(streams->held, streams->nheld, sizeof(*streams->held), by_time);
	stream = stream_for(streams, streams->nheld ? streams->held[0].time : UINT64_MAX);
	if (!stream)
		return error_set(ENOMEM, "out of memory writing the trace '%s'", streams->path);
	stream->lost += lost;
	error = stream_write(streams, stream, now);
	if (!error)
		streams->nheld = streams->nbytes = 0;
	return error;
}

uint64_t ctf_streams_written(const struct ctf_streams *streams)
{
	return streams->written;
}

uint64_t ctf_streams_told(const struct ctf_streams *streams)
{
	uint64_t told = 0;

	for (size_t i = 0; i < streams->nstreams; i++)
		told += streams->streams[i].told;
	return told;
}

const struct pp_mark *ctf_streams_unwritten(const struct ctf_streams *streams, size_t i)
{
	return i < streams->nheld ? &streams->held[i].mark : NULL;
}

void ctf_streams_tell_in_place(struct ctf_streams *streams, uint64_t lost)
{
	struct stream *last = NULL;
	uint64_t told;
	char name[32];
	int fd;

	for (size_t i = 0; i < streams->nstreams; i++)
		if (streams->streams[i].size >= 2 * CTF_PACKET_SIZE && (!last || streams->streams[i].end > last->end))
			last = &streams->streams[i];
	if (!last || !lost)
		return;
	snprintf(name, sizeof(name), "stream_%zu", (size_t)(last - streams->streams));
	fd = openat(streams->dir, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	told = last->told + lost;
	if (pwrite(fd, &told, sizeof(told),
	           (off_t)(last->size - CTF_PACKET_SIZE + offsetof(struct ctf_packet, events_discarded))) ==
	    sizeof(told))
		last->told = told;
	close(fd);
}

int ctf_streams_add(struct ctf_streams *streams, uint64_t time, const char *event, size_t size,
                    const struct pp_mark *mark)
{
	int error;

	if (streams->nheld == BATCH_EVENTS || size > BATCH_BYTES - streams->nbytes) {
		error = ctf_streams_flush(streams, 0, 0);
		if (error)
			return error;
	}
	memcpy(streams->bytes + streams->nbytes, event, size);
	streams->held[streams->nheld++] = (struct held){ time, streams->nbytes, size, *mark };
	streams->nbytes += size;
	return 0;
}
