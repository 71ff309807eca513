/* SPDX-License-Identifier: MIT */
/*
 * CTF 1.8 traces. ctf.c is the public interface. The other files each do one part:
 *
 *     ctf-event.c       encodes events
 *     ctf-stream.c      packs events into the packets of streams
 *     ctf-metadata.c    keeps the metadata file, and the ids of the event classes
 *     ctf-tsdl.c        writes the text of the metadata, in TSDL
 *
 * The format, in the byte order of the machine and without alignment:
 *
 *     packet   CTF_PACKET_SIZE bytes: struct ctf_packet, events, zeroes; a multiple of that for one event that needs it
 *     event    u32 id, u64 time, i32 pid, i32 tid, comm\0
 *              the arguments in their order (see enum ctf_field)
 *              u32 faults   if there are arguments
 *              u32 cut      if one of them is a string
 */
#ifndef RUNTIME_TRACE_CTF_H
#define RUNTIME_TRACE_CTF_H

#include <stdint.h>
#include <stdio.h>

#include <probepoint.h>

#include "base/clock.h"
#include "runtime/manifest.h"

#define CTF_PACKET_SIZE 4096u
#define CTF_MAGIC 0xc1fc1fc1u

struct ctf_packet {
	uint32_t magic;
	uint8_t uuid[16];
	uint32_t stream_id;
	uint64_t timestamp_begin, timestamp_end;
	uint64_t content_size, packet_size; /* bits */
	uint64_t events_discarded;
};

_Static_assert(sizeof(struct ctf_packet) == 64, "packet layout");

/* The type of an argument in the trace. */
enum ctf_field {
	CTF_NONE,   /* not in the trace, because it can never be read */
	CTF_SIGNED, /* integers have the size of the argument */
	CTF_UNSIGNED,
	CTF_HEX,
	CTF_FLOAT,
	CTF_STRING, /* bytes\0 */
	CTF_BOOL,   /* one byte: 0, 1 */
	CTF_LETTER, /* one byte */
};

enum ctf_field ctf_field(const struct manifest_layout *layout, uint32_t i);

/* ---- events ---- */

#define CTF_EVENT_MAX (4 + 8 + 4 + 4 + 16 + 8 * RECORD_ARGS_MAX + (RECORD_STRING_MAX + 1) * RECORD_STRINGS_MAX + 4 + 4)

/* Encodes an event of the class with this id. Returns its size. */
size_t ctf_event_encode(const struct pp_event *event, uint32_t id, char bytes[CTF_EVENT_MAX]);

/* ---- TSDL ---- */

#define CTF_CLOCK_DESCRIPTION "CLOCK_MONOTONIC"

/* Writes the text before the event classes. offset is the time since 1970, in ns, at the zero of CLOCK_MONOTONIC. */
void ctf_tsdl_begin(FILE *to, const uint8_t uuid[16], const char *session, int64_t offset);
/* Writes the event class with this id: the events of one probe with one layout. */
void ctf_tsdl_event(FILE *to, uint32_t id, const struct manifest *manifest, const struct manifest_probe *probe,
                    const struct manifest_layout *layout);

/* ---- the metadata file ---- */

struct ctf_metadata;

/*
 * Makes the text of the metadata, without events. Writes no file yet. dir is the trace's directory, path its name for error
 * messages: both belong to the caller and must outlive *metadata. Returns 0 or -ENOMEM.
 */
int ctf_metadata_new(const char *path, int dir, const uint8_t uuid[16], const char *session, int64_t offset,
                     struct ctf_metadata **metadata);
void ctf_metadata_free(struct ctf_metadata *metadata);

/* Adds the event classes of an attachment to the text. Returns 0 or -ENOMEM. */
int ctf_metadata_add(struct ctf_metadata *metadata, const struct manifest *manifest, uint32_t attachment);

/* Writes the file. Returns 0 or a negative errno, with an error message. */
int ctf_metadata_write(const struct ctf_metadata *metadata);

/* Adds the last step of the wall clock to the clock's description and writes the file. Returns as ctf_metadata_write(). */
int ctf_metadata_add_step(struct ctf_metadata *metadata, const struct wall *wall);

/*
 * Returns the event class ids of an attachment's points. If the attachment is new, adds it and writes the file. Returns
 * NULL after an error, which is in *err.
 */
const uint32_t *ctf_metadata_ids(struct ctf_metadata *metadata, const struct manifest *manifest, uint32_t attachment,
                                 int *err);

/* ---- streams ---- */

struct ctf_streams;

/* path and dir as for ctf_metadata_new(). Returns 0 or -ENOMEM. */
int ctf_streams_new(const char *path, int dir, const uint8_t uuid[16], struct ctf_streams **streams);
void ctf_streams_free(struct ctf_streams *streams);

/* Adds an event of at most CTF_EVENT_MAX bytes to the batch. First flushes the batch if it is full. */
int ctf_streams_add(struct ctf_streams *streams, uint64_t time, const char *event, size_t size,
                    const struct pp_mark *mark);

/*
 * Writes the batch to a stream, and `lost` as the number of further events that are lost. now: the time at which the
 * last packet ends.
 */
int ctf_streams_flush(struct ctf_streams *streams, uint64_t now, uint64_t lost);

/* Returns the number of events in the files. */
uint64_t ctf_streams_written(const struct ctf_streams *streams);

/* Returns the number of lost events that the files report. */
uint64_t ctf_streams_discarded(const struct ctf_streams *streams);

/* After an error: returns the mark of the i-th event of the batch that was not written, NULL after the last. */
const struct pp_mark *ctf_streams_unwritten(const struct ctf_streams *streams, size_t i);

/*
 * Adds lost events to the last packet of a stream, in place, which works on a full disk. Does nothing if no stream has
 * two packets, because readers use the number in a stream's first packet as the base of the others.
 */
void ctf_streams_discard_in_place(struct ctf_streams *streams, uint64_t lost);

/* Writes all n bytes. Returns 0 or a negative errno, without an error message. */
int ctf_write(int fd, const char *bytes, size_t n);

#endif
