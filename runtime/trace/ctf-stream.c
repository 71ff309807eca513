/* SPDX-License-Identifier: MIT */
/*
 * Mixed streams: events of all threads, in the order of time. Events arrive in the order in which they were drained: from
 * several CPUs, or ring by ring. So a batch of events is sorted, and goes to a stream that ends before the batch begins
 * (ctf-file.c). Two streams are usual.
 *
 * Lost events are reported here, too, whichever thread lost them: in a packet that begins when the number of lost events was
 * last read and ends when it was read again, so that readers know when events are missing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/trace/ctf.h"

#define BATCH_BYTES (128 * CTF_PACKET_SIZE)
#define BATCH_EVENTS 16384

/* A packet of one event, at most. */
#define PACKET_MAX \
	((sizeof(struct ctf_packet) + CTF_EVENT_MAX + CTF_PACKET_SIZE - 1) / CTF_PACKET_SIZE * CTF_PACKET_SIZE)

#define PACKETS_BYTES (CTF_WRITE_PACKETS * CTF_PACKET_SIZE)

_Static_assert(CTF_EVENT_MAX <= BATCH_BYTES && PACKET_MAX <= PACKETS_BYTES, "an event fits");

/* An event of the batch. */
struct held {
	uint64_t time;
	uint32_t at, size; /* its place in the batch's bytes */
	struct pp_mark mark;
};

struct ctf_batch {
	size_t nheld, nbytes;
	struct held held[BATCH_EVENTS];
	char bytes[BATCH_BYTES];
	_Alignas(CTF_PACKET_SIZE) char packets[PACKETS_BYTES];
};

int ctf_batch_new(struct ctf_batch **batch)
{
	struct ctf_batch *made = aligned_alloc(CTF_PACKET_SIZE, sizeof(*made));

	*batch = made;
	if (!made)
		return error_nomem();
	made->nheld = made->nbytes = 0;
	return 0;
}

void ctf_batch_free(struct ctf_batch *batch)
{
	free(batch);
}

bool ctf_batch_has_room(const struct ctf_batch *batch, size_t size)
{
	return batch->nheld < BATCH_EVENTS && size <= BATCH_BYTES - batch->nbytes;
}

void ctf_batch_add(struct ctf_batch *batch, uint64_t time, const char *event, size_t size, const struct pp_mark *mark)
{
	memcpy(batch->bytes + batch->nbytes, event, size);
	batch->held[batch->nheld++] = (struct held){ time, batch->nbytes, size, *mark };
	batch->nbytes += size;
}

uint64_t ctf_batch_size(const struct ctf_batch *batch)
{
	return batch->nbytes + batch->nbytes / 4 + 4ull * CTF_PACKET_SIZE;
}

void ctf_batch_unwritten(const struct ctf_batch *batch, void (*fn)(const struct pp_mark *mark, void *arg), void *arg)
{
	for (size_t i = 0; i < batch->nheld; i++)
		fn(&batch->held[i].mark, arg);
}

/* ---- packets ---- */

/* Packets that are made and not written. */
struct made {
	struct iovec packets[CTF_WRITE_PACKETS];
	size_t nevents[CTF_WRITE_PACKETS]; /* of each packet */
	size_t n, bytes;
};

/* Makes a packet without events that ends at a time. */
static void made_add_empty(struct ctf_batch *batch, struct made *made, uint64_t end)
{
	struct ctf_packet *packet = (struct ctf_packet *)(batch->packets + made->bytes);

	memset(packet, 0, CTF_PACKET_SIZE);
	packet->timestamp_begin = packet->timestamp_end = end;
	packet->content_size = 8 * sizeof(*packet);
	packet->packet_size = 8 * CTF_PACKET_SIZE;
	made->packets[made->n] = (struct iovec){ packet, CTF_PACKET_SIZE };
	made->nevents[made->n++] = 0;
	made->bytes += CTF_PACKET_SIZE;
}

static size_t packet_size_for(const struct held *held)
{
	return (sizeof(struct ctf_packet) + held->size + CTF_PACKET_SIZE - 1) / CTF_PACKET_SIZE * CTF_PACKET_SIZE;
}

/* Makes a packet with as many of the n events as fit. Returns the number of events. */
static size_t made_add(struct ctf_batch *batch, struct made *made, const struct held *held, size_t n)
{
	char *bytes = batch->packets + made->bytes;
	struct ctf_packet *packet = (struct ctf_packet *)bytes;
	size_t used = sizeof(*packet), size = packet_size_for(held), i;

	for (i = 0; i < n && used + held[i].size <= size && (!i || size == CTF_PACKET_SIZE); i++) {
		memcpy(bytes + used, batch->bytes + held[i].at, held[i].size);
		used += held[i].size;
	}
	memset(bytes + used, 0, size - used);
	packet->timestamp_begin = held[0].time;
	packet->timestamp_end = held[i - 1].time;
	packet->content_size = 8 * used;
	packet->packet_size = 8 * size;
	made->packets[made->n] = (struct iovec){ bytes, size };
	made->nevents[made->n++] = i;
	made->bytes += size;
	return i;
}

/* Writes what was made. Adds the number of events written to *done. */
static int made_write(struct made *made, struct ctf_files *files, struct ctf_stream *stream, size_t *done)
{
	size_t n;
	int err = ctf_stream_append(files, stream, made->packets, made->n, &n);

	for (size_t i = 0; i < n; i++)
		*done += made->nevents[i];
	made->n = made->bytes = 0;
	return err;
}

/* Writes all events. *done: how many are in the file. */
static int batch_write_events(struct ctf_batch *batch, struct ctf_files *files, struct ctf_stream *stream, size_t *done)
{
	struct made made;
	size_t taken = 0;
	int err;

	made.n = made.bytes = 0;
	while (taken < batch->nheld) {
		if (made.n == CTF_WRITE_PACKETS || made.bytes + packet_size_for(&batch->held[taken]) > PACKETS_BYTES) {
			err = made_write(&made, files, stream, done);
			if (err)
				return err;
		}
		taken += made_add(batch, &made, batch->held + taken, batch->nheld - taken);
	}
	return made.n ? made_write(&made, files, stream, done) : 0;
}

/*
 * Writes that events were lost between two times: a packet without events that ends at each. The stream must end before the
 * first time, because readers take the end of its packet before for the first time.
 */
static int lost_write(struct ctf_batch *batch, struct ctf_files *files, uint64_t since, uint64_t now, uint64_t lost)
{
	struct made made;
	struct ctf_stream *stream;
	size_t done = 0;
	int err = 0;

	made.n = made.bytes = 0;
	stream = ctf_files_choose(files, CTF_MIXED, since, SIZE_MAX, &err);
	if (!stream)
		return err;
	if (!stream->size || stream->end < since) {
		made_add_empty(batch, &made, since);
		err = made_write(&made, files, stream, &done);
	}
	if (err)
		return err;
	stream->lost += lost;
	made_add_empty(batch, &made, now > stream->end ? now : stream->end);
	return made_write(&made, files, stream, &done);
}

/* ---- the order of time ---- */

static int held_compare_time(const void *a, const void *b)
{
	const struct held *p = a, *q = b;

	if (p->time != q->time)
		return p->time < q->time ? -1 : 1;
	return p->at < q->at ? -1 : p->at > q->at;
}

static void batch_sort(struct ctf_batch *batch)
{
	bool sorted = true;

	for (size_t i = 1; i < batch->nheld && sorted; i++)
		sorted = batch->held[i - 1].time <= batch->held[i].time;
	if (!sorted)
		qsort(batch->held, batch->nheld, sizeof(*batch->held), held_compare_time);
}

int ctf_batch_flush(struct ctf_batch *batch, struct ctf_files *files, uint64_t since, uint64_t now, uint64_t lost)
{
	struct ctf_stream *stream;
	size_t done = 0;
	int err = 0;

	if (batch->nheld) {
		batch_sort(batch);
		stream = ctf_files_choose(files, CTF_MIXED, batch->held[0].time, SIZE_MAX, &err);
		if (stream)
			err = batch_write_events(batch, files, stream, &done);
		files->written += done;
		memmove(batch->held, batch->held + done, (batch->nheld - done) * sizeof(*batch->held));
		batch->nheld -= done;
		if (!batch->nheld)
			batch->nbytes = 0;
	}
	return err || !lost ? err : lost_write(batch, files, since, now, lost);
}
