/* SPDX-License-Identifier: MIT */
/*
 * CTF 1.8 traces. ctf.c is the public interface. The other files each do one part:
 *
 *     ctf-event.c       encodes events
 *     ctf-thread.c      packs the events of busy threads into packets that belong to one thread
 *     ctf-stream.c      packs all other events, sorted by time
 *     ctf-file.c        writes packets to the files of streams, and the index of packets
 *     ctf-metadata.c    keeps the metadata file, and the classes of events
 *     ctf-tsdl.c        writes the text of the metadata, in TSDL
 *
 * The format, in the byte order of the machine and without alignment. There are two classes of streams:
 *
 *     mixed     packet   struct ctf_packet, events, zeroes: CTF_PACKET_SIZE bytes, or a multiple for one event that needs it
 *               event    u32 id, u64 time, i32 pid, i32 tid, comm\0
 *                        the arguments in their order (see enum ctf_field)
 *                        u32 faults   if there are arguments
 *                        u32 cut      if one of them is a string
 *     thread    packet   struct ctf_thread_packet, events, zeroes: CTF_PACKET_SIZE bytes
 *               event    u16 id, u32 low-order bytes of the time, the arguments
 */
#ifndef RUNTIME_TRACE_CTF_H
#define RUNTIME_TRACE_CTF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <probepoint.h>

#include "base/clock.h"
#include "runtime/manifest.h"

#define CTF_PACKET_SIZE 4096u
#define CTF_MAGIC 0xc1fc1fc1u

enum ctf_stream_class { CTF_MIXED, CTF_THREAD };

struct ctf_packet {
	uint32_t magic;
	uint8_t uuid[16];
	uint32_t stream_id; /* enum ctf_stream_class */
	uint64_t timestamp_begin, timestamp_end;
	uint64_t content_size, packet_size; /* bits */
	uint64_t events_discarded;
};

struct ctf_thread_packet {
	struct ctf_packet packet;
	int32_t pid, tid;
	char comm[16];
};

_Static_assert(sizeof(struct ctf_packet) == 64 && sizeof(struct ctf_thread_packet) == 88, "packet layout");

/* The type of an argument in the trace. */
enum ctf_field {
	CTF_NONE,   /* no bytes, because it can never be read */
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

/* The class of the events of one probe with one layout. */
struct ctf_class {
	uint32_t id;
	bool has_arguments, has_strings;
	bool has_words; /* all arguments are integers of 4 or 8 bytes */
	uint8_t nargs;
	uint8_t sizes[RECORD_ARGS_MAX];
	size_t size; /* of the arguments, if there are no strings */
};

#define CTF_ARGUMENTS_MAX (8 * RECORD_ARGS_MAX + (RECORD_STRING_MAX + 1) * RECORD_STRINGS_MAX)
#define CTF_EVENT_MAX (4 + 8 + 4 + 4 + 16 + CTF_ARGUMENTS_MAX + 4 + 4)

/* Encodes an event for a mixed stream. Returns its size. */
size_t ctf_event_encode(const struct pp_event *event, uint32_t id, char bytes[CTF_EVENT_MAX]);

/* Encodes the arguments of an event without faults only. *cuts: bit i: argument i is a string that was cut. Returns the end of the bytes. */
char *ctf_event_arguments(const struct pp_event *event, const struct ctf_class *class, char *to, uint32_t *cuts);

/* The header of an event in a thread's packet: id and time. */
#define CTF_THREAD_HEADER 6
#define CTF_THREAD_ID_MAX 65535u

/*
 * Encodes for a mixed stream an event of a thread's packet: its class, its time, and its arguments of n bytes. Returns its
 * size.
 */
size_t ctf_event_widen(const struct ctf_class *class, uint64_t time, const struct ctf_thread_packet *thread,
                       const char *arguments, size_t n, char bytes[CTF_EVENT_MAX]);

/* ---- TSDL ---- */

#define CTF_CLOCK_DESCRIPTION "CLOCK_MONOTONIC"

/* What the metadata says before the classes. */
struct ctf_head {
	uint8_t uuid[16];
	const char *session;
	const struct wall *wall; /* steps[0] is the time of day when the trace began */
	struct wall_step began;
	uint32_t part; /* of a trace in parts; 0: the trace has no parts */
};

/* Writes the text before the classes of events. images: what ctf_tsdl_image() has written. */
void ctf_tsdl_begin(FILE *to, const struct ctf_head *head, const char *images);
/* Writes the lines of the environment about an image, the i-th of the trace. */
void ctf_tsdl_image(FILE *to, uint32_t i, const char *path, const char *build_id);
/* Writes the event class with this id, of one probe with one layout, for a class of streams. */
void ctf_tsdl_event(FILE *to, uint32_t id, enum ctf_stream_class stream, const struct manifest *manifest,
                    const struct manifest_probe *probe, const struct manifest_layout *layout);

/* ---- the metadata file ---- */

struct ctf_metadata;

/*
 * Makes the text of the metadata, without events. Writes no file yet. head, with what it refers to, belongs to the caller
 * and must outlive *metadata. Returns 0 or -ENOMEM.
 */
int ctf_metadata_new(const struct ctf_head *head, struct ctf_metadata **metadata);
void ctf_metadata_free(struct ctf_metadata *metadata);

/* Adds the event classes of an attachment to the text. Returns 0 or -ENOMEM. */
int ctf_metadata_add(struct ctf_metadata *metadata, const struct manifest *manifest, uint32_t attachment);

/* Writes the file to the directory dir with the name path. Returns 0 or a negative errno, with an error message. */
int ctf_metadata_write(struct ctf_metadata *metadata, const char *path, int dir);

/* Returns whether classes were added since the file was written. */
bool ctf_metadata_has_changed(const struct ctf_metadata *metadata);

/* Returns the size of the text when it was last written. */
size_t ctf_metadata_size(const struct ctf_metadata *metadata);

/* Computes the size of the text if all classes were described for packets of threads, too. Returns 0 or -ENOMEM. */
int ctf_metadata_measure(const struct ctf_metadata *metadata, size_t *size);

/*
 * Returns the class of an attachment's point. If the attachment is new, adds it. Returns NULL after an error, which is in
 * *err.
 */
const struct ctf_class *ctf_metadata_class(struct ctf_metadata *metadata, const struct manifest *manifest,
                                           uint32_t attachment, uint32_t point, int *err);

/* Returns the class with an id that ctf_metadata_class() has returned. */
const struct ctf_class *ctf_metadata_class_by_id(const struct ctf_metadata *metadata, uint32_t id);

/* Returns whether all classes are described for packets of threads. */
bool ctf_metadata_has_all_thread_classes(const struct ctf_metadata *metadata);

/* Describes the class for packets of threads, too, with all classes of its attachment. Returns 0 or -ENOMEM. */
int ctf_metadata_add_thread_classes(struct ctf_metadata *metadata, uint32_t id);

/* ---- the files of streams ---- */

struct ctf_stream {
	enum ctf_stream_class class;
	uint64_t end;  /* the time at which its last packet ends */
	uint64_t size; /* of the file */
	uint64_t last; /* where its last packet begins */
	uint64_t npackets;
	uint64_t lost;
	uint64_t discarded; /* lost events that the last packet reports */
};

/* The streams of a directory. */
struct ctf_files {
	const char *path; /* for error messages */
	int dir;
	int index; /* the directory of the index; -1: there is none */
	const uint8_t *uuid;
	struct ctf_stream *streams;
	size_t nstreams, room;
	uint64_t size;    /* of all files and their indexes */
	uint64_t written; /* events */
};

/* The largest number of packets that are written at once. */
#define CTF_WRITE_PACKETS 64

/* path, dir and uuid belong to the caller and must outlive *files. */
void ctf_files_init(struct ctf_files *files, const char *path, int dir, const uint8_t uuid[16]);
void ctf_files_release(struct ctf_files *files);

/*
 * Returns the stream of a class for packets that begin at this time: the one that ends last before it, or a new one if
 * there are fewer than max. NULL: there are not, or -ENOMEM, which is in *err.
 */
struct ctf_stream *ctf_files_choose(struct ctf_files *files, enum ctf_stream_class class, uint64_t time, size_t max,
                                    int *err);

/*
 * Appends n packets, each a struct ctf_packet with its events, to a stream, and sets what the writer of all streams knows:
 * magic, uuid, stream_id, events_discarded. *done: how many packets are in the file. Returns 0 or a negative errno, with an
 * error message. The file then ends with the last complete packet.
 */
int ctf_stream_append(struct ctf_files *files, struct ctf_stream *stream, const struct iovec *packets, size_t n,
                      size_t *done);

/* Returns the number of lost events that the files report. */
uint64_t ctf_files_discarded(const struct ctf_files *files);

/*
 * Adds lost events to the last packet of a stream, in place, which works on a full disk. Does nothing if no stream has
 * two packets, because readers use the number in a stream's first packet as the base of the others.
 */
void ctf_files_discard_in_place(struct ctf_files *files, uint64_t lost);

/* Removes the files of the directory and the directory, which is `path`. */
void ctf_directory_remove(const char *path);

/* ---- mixed streams ---- */

struct ctf_batch;

/* Returns 0 or -ENOMEM. */
int ctf_batch_new(struct ctf_batch **batch);
void ctf_batch_free(struct ctf_batch *batch);

/* Returns whether the batch has room for an event of this size. */
bool ctf_batch_has_room(const struct ctf_batch *batch, size_t size);

/* Adds an event of at most CTF_EVENT_MAX bytes to the batch, which has room for it. */
void ctf_batch_add(struct ctf_batch *batch, uint64_t time, const char *event, size_t size, const struct pp_mark *mark);

/*
 * Writes the batch to a stream, and `lost` as the number of further events that were lost in the time from `since` to now.
 * Returns as ctf_stream_append().
 */
int ctf_batch_flush(struct ctf_batch *batch, struct ctf_files *files, uint64_t since, uint64_t now, uint64_t lost);

/* Returns how many bytes a flush writes, at most. */
uint64_t ctf_batch_size(const struct ctf_batch *batch);

/* Calls fn with the mark of each event that is not written. */
void ctf_batch_unwritten(const struct ctf_batch *batch, void (*fn)(const struct pp_mark *mark, void *arg), void *arg);

/* ---- packets of threads ---- */

struct ctf_threads;

/* Returns 0 or -ENOMEM. */
int ctf_threads_new(struct ctf_threads **threads);
void ctf_threads_free(struct ctf_threads *threads);

/*
 * Adds an event to its thread's packet. Returns 1, 0 if the event belongs into the batch (it has faults, is too large or
 * out of order), or -ENOMEM.
 */
int ctf_threads_add(struct ctf_threads *threads, const struct pp_event *event, const struct ctf_class *class);

/* Returns whether as many packets are full as are written at once, or so many are begun that memory runs out. */
bool ctf_threads_are_full(const struct ctf_threads *threads);

/* Puts the packets that are not full in line to be written if they have enough events; gives all others to fn. */
int ctf_threads_settle(struct ctf_threads *threads, struct ctf_metadata *metadata,
                       int (*fn)(uint64_t time, const char *event, size_t size, const struct pp_mark *mark, void *arg),
                       void *arg);

/*
 * Writes the full packets. Packets for which there is no stream, because there are too many, are given to fn. Returns as
 * ctf_stream_append().
 */
int ctf_threads_write(struct ctf_threads *threads, struct ctf_metadata *metadata, struct ctf_files *files,
                      int (*fn)(uint64_t time, const char *event, size_t size, const struct pp_mark *mark, void *arg),
                      void *arg);

/* Describes the classes of full packets in the metadata. Returns 0 or -ENOMEM. */
int ctf_threads_describe(struct ctf_threads *threads, struct ctf_metadata *metadata);

/* Returns how many bytes ctf_threads_write() writes. */
uint64_t ctf_threads_size(const struct ctf_threads *threads);

/* Calls fn with the mark of each event that is not written. */
void ctf_threads_unwritten(const struct ctf_threads *threads, void (*fn)(const struct pp_mark *mark, void *arg),
                           void *arg);

/* Writes all n bytes. Returns 0 or a negative errno, without an error message. */
int ctf_write(int fd, const char *bytes, size_t n);

#endif
