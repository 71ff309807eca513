/* SPDX-License-Identifier: MIT */
/*
 * Traces, in three parts: ctf.c makes events, ctf-stream.c packs them into
 * streams, and ctf-metadata.c says in TSDL what the two have written:
 *
 *     packet   CTF_PACKET_SIZE bytes: struct ctf_packet, events, zeroes
 *     event    u32 id, u64 time, i32 pid, i32 tid, comm\0
 *              the arguments, in their order (see enum ctf_field)
 *              u32 faults   where there are arguments
 *              u32 cut      where one of them is a string
 *
 * in the byte order of the machine, nothing aligned.
 */
#ifndef RUNTIME_TRACE_CTF_H
#define RUNTIME_TRACE_CTF_H

#include <stdint.h>
#include <stdio.h>

#include <probepoint.h>

#include "runtime/manifest.h"

#define CTF_PACKET_SIZE 4096
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

enum ctf_field {
	CTF_NONE,   /* never readable: not in the trace */
	CTF_SIGNED, /* of the argument's size */
	CTF_UNSIGNED,
	CTF_HEX,
	CTF_FLOAT,
	CTF_STRING, /* bytes\0 */
	CTF_BOOL,   /* one byte: 0, 1 */
	CTF_LETTER, /* one byte */
};

#define CTF_EVENT_MAX (4 + 8 + 4 + 4 + 16 + 8 * RECORD_ARGS_MAX + RECORD_STRING_CUT * RECORD_STRINGS_MAX + 4 + 4)

/* How argument i of the layout is written. */
enum ctf_field ctf_field(const struct manifest_layout *layout, uint32_t i);

#define CTF_CLOCK_DESCRIPTION "CLOCK_MONOTONIC"

/* offset: ns since 1970 at the zero of CLOCK_MONOTONIC. */
void ctf_metadata_begin(FILE *to, const uint8_t uuid[16], const char *session, int64_t offset);
/* The events with this id: of one probe, in one layout. */
void ctf_metadata_event(FILE *to, uint32_t id, const struct manifest *manifest, const struct manifest_probe *probe,
                        const struct manifest_layout *layout);

/* ---- streams ---- */

struct ctf_streams;

/* Into the folder dir, called path in errors; both stay the caller's and must outlive the streams. */
int ctf_streams_new(const char *path, int dir, const uint8_t uuid[16], struct ctf_streams **streams);
void ctf_streams_free(struct ctf_streams *streams);
/* Holds an event of at most CTF_EVENT_MAX bytes. What is held is written out when there is much of it. */
int ctf_streams_add(struct ctf_streams *streams, uint64_t time, const char *event, size_t size,
                    const struct pp_mark *mark);
/* Writes out what is held, and that lost events more were lost up to now. */
int ctf_streams_flush(struct ctf_streams *streams, uint64_t now, uint64_t lost);
/* How many events are in the files, and of how many lost ones the files say. */
uint64_t ctf_streams_written(const struct ctf_streams *streams);
uint64_t ctf_streams_told(const struct ctf_streams *streams);
/* After an error: the i-th event that was held and is in no file; NULL: there are no more. */
const struct pp_mark *ctf_streams_unwritten(const struct ctf_streams *streams, size_t i);
/*
 * Says of lost events more in the last packet of a stream, in place: that works on a full disk. It does nothing if no
 * stream has two packets, because readers take the number of the first as a start.
 */
void ctf_streams_tell_in_place(struct ctf_streams *streams, uint64_t lost);

/* All n bytes, or a negative errno. */
int ctf_write(int fd, const char *bytes, size_t n);

#endif
