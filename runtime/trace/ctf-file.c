/* SPDX-License-Identifier: MIT */
/*
 * The files of streams. A reader finds a complete trace at any time, whatever happens to the writer:
 *
 * 1. A packet is one page, at a page boundary of its file. The kernel copies a page to a file as a whole or not at all,
 *    even if the process is killed meanwhile. A larger packet could be cut off, and readers refuse a file that ends in
 *    one, so only an event that does not fit into a page (long strings) has one, of its own. After a write that fails (a
 *    full disk), the file is truncated to its last complete packet.
 * 2. Times in a stream must not decrease. Packets go to a stream that ends before they begin. If no stream does, a new one
 *    is created. A stream is only a file; readers merge streams.
 * 3. Each packet contains the number of events that its stream has lost up to the packet's end. Readers report only how
 *    much this number grows after the first packet, so it is 0 there, and later packets have more.
 * 4. The index of a stream, index/NAME.idx, is what LTTng writes (format 1.0): the sizes and times of all packets, so that
 *    readers need not visit each of them. It has the name index/.NAME.idx until the stream has ended, because readers warn
 *    about an index that does not describe the whole file. Without it they visit all packets.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/trace/ctf.h"

/* All numbers are big-endian. */
struct index_head {
	uint32_t magic, major, minor, entry_size;
};

struct index_entry {
	uint64_t offset;                    /* bytes */
	uint64_t packet_size, content_size; /* bits */
	uint64_t timestamp_begin, timestamp_end, events_discarded, stream_id;
};

#define INDEX_MAGIC 0xc1f1dcc1u

_Static_assert(sizeof(struct index_head) == 16 && sizeof(struct index_entry) == 56, "layout of the index");

void ctf_files_init(struct ctf_files *files, const char *path, int dir, const uint8_t uuid[16])
{
	*files = (struct ctf_files){ .path = path, .dir = dir, .index = -1, .uuid = uuid };
	if (!mkdirat(dir, "index", 0755))
		files->index = openat(dir, "index", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Gives the indexes their names. */
static void files_end_indexes(const struct ctf_files *files)
{
	char name[40];

	for (size_t i = 0; i < files->nstreams && files->index >= 0; i++) {
		snprintf(name, sizeof(name), ".stream_%zu.idx", i);
		renameat(files->index, name, files->index, name + 1);
	}
}

void ctf_files_release(struct ctf_files *files)
{
	files_end_indexes(files);
	if (files->index >= 0)
		close(files->index);
	free(files->streams);
	*files = (struct ctf_files){ .dir = -1, .index = -1 };
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
		n -= (size_t)done;
	}
	return 0;
}

struct ctf_stream *ctf_files_choose(struct ctf_files *files, enum ctf_stream_class class, uint64_t time, size_t max,
                                    int *err)
{
	struct ctf_stream *best = NULL;
	size_t n = 0;

	for (size_t i = 0; i < files->nstreams; i++) {
		struct ctf_stream *stream = &files->streams[i];

		n += stream->class == class;
		if (stream->class == class && stream->end <= time && (!best || stream->end > best->end))
			best = stream;
	}
	if (best || n >= max)
		return best;
	*err = ALLOC_GROW(files->streams, files->nstreams + 1, files->room);
	if (*err)
		return NULL;
	best = &files->streams[files->nstreams++];
	*best = (struct ctf_stream){ .class = class };
	return best;
}

static void stream_name(const struct ctf_files *files, const struct ctf_stream *stream, char name[40])
{
	snprintf(name, 40, "stream_%zu", (size_t)(stream - files->streams));
}

/* ---- the index ---- */

static void index_name(const struct ctf_files *files, const struct ctf_stream *stream, char name[40])
{
	snprintf(name, 40, ".stream_%zu.idx", (size_t)(stream - files->streams));
}

/* Appends entries. `first`: the stream has no index yet. After an error there is no index. */
static void index_append(struct ctf_files *files, const struct ctf_stream *stream, bool first,
                         const struct index_entry *entries, size_t n)
{
	const struct index_head head = { htobe32(INDEX_MAGIC), htobe32(1), 0, htobe32(sizeof(*entries)) };
	char name[40];
	int fd, err = 0;

	index_name(files, stream, name);
	fd = openat(files->index, name, O_WRONLY | O_APPEND | O_CLOEXEC | (first ? O_CREAT | O_EXCL : 0), 0644);
	if (fd < 0)
		return;
	if (first)
		err = ctf_write(fd, (const char *)&head, sizeof(head));
	if (!err)
		err = ctf_write(fd, (const char *)entries, n * sizeof(*entries));
	if (close(fd) || err)
		unlinkat(files->index, name, 0);
	else
		files->size += n * sizeof(*entries) + first * sizeof(head);
}

static void index_add_packets(struct ctf_files *files, const struct ctf_stream *stream, const struct iovec *packets,
                              size_t n)
{
	struct index_entry entries[CTF_WRITE_PACKETS];
	uint64_t at = stream->size;

	if (files->index < 0 || !n)
		return;
	for (size_t i = n; i--;) {
		const struct ctf_packet *packet = packets[i].iov_base;

		at -= packets[i].iov_len;
		entries[i] = (struct index_entry){
			.offset = htobe64(at),
			.packet_size = htobe64(packet->packet_size),
			.content_size = htobe64(packet->content_size),
			.timestamp_begin = htobe64(packet->timestamp_begin),
			.timestamp_end = htobe64(packet->timestamp_end),
			.events_discarded = htobe64(packet->events_discarded),
			.stream_id = htobe64(packet->stream_id),
		};
	}
	index_append(files, stream, !at, entries, n);
}

/* Sets the number of lost events of the stream's last packet. */
static void index_set_discarded(const struct ctf_files *files, const struct ctf_stream *stream, uint64_t discarded)
{
	off_t at = (off_t)(sizeof(struct index_head) + (stream->npackets - 1) * sizeof(struct index_entry) +
	                   offsetof(struct index_entry, events_discarded));
	char name[40];
	int fd;

	index_name(files, stream, name);
	fd = files->index < 0 ? -1 : openat(files->index, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	discarded = htobe64(discarded);
	if (pwrite(fd, &discarded, sizeof(discarded), at) != sizeof(discarded))
		unlinkat(files->index, name, 0);
	close(fd);
}

/* ---- packets ---- */

/* Writes the packets. Returns 0 or a negative errno. *bytes: how many bytes were written. */
static int packets_write(int fd, const struct iovec *packets, size_t n, uint64_t *bytes)
{
	struct iovec rest[CTF_WRITE_PACKETS];
	size_t i = 0;

	memcpy(rest, packets, n * sizeof(*rest));
	for (*bytes = 0; i < n;) {
		ssize_t done = writev(fd, rest + i, (int)(n - i));

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -ENOSPC;
		*bytes += (uint64_t)done;
		for (; i < n && (size_t)done >= rest[i].iov_len; i++)
			done -= (ssize_t)rest[i].iov_len;
		if (i < n) {
			rest[i].iov_base = (char *)rest[i].iov_base + done;
			rest[i].iov_len -= (size_t)done;
		}
	}
	return 0;
}

/* Accounts for n packets that are in the file. */
static void stream_add_packets(struct ctf_files *files, struct ctf_stream *stream, const struct iovec *packets,
                               size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct ctf_packet *packet = packets[i].iov_base;

		stream->end = packet->timestamp_end;
		stream->last = stream->size;
		stream->size += packets[i].iov_len;
		stream->npackets++;
		stream->discarded = packet->events_discarded;
		files->size += packets[i].iov_len;
	}
}

static void packets_complete(const struct ctf_files *files, const struct ctf_stream *stream,
                             const struct iovec *packets, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct ctf_packet *packet = packets[i].iov_base;

		packet->magic = CTF_MAGIC;
		memcpy(packet->uuid, files->uuid, sizeof(packet->uuid));
		packet->stream_id = stream->class;
		packet->events_discarded = stream->size || i ? stream->lost : 0;
	}
}

int ctf_stream_append(struct ctf_files *files, struct ctf_stream *stream, const struct iovec *packets, size_t n,
                      size_t *done)
{
	uint64_t bytes = 0;
	char name[40];
	int fd, err;

	*done = 0;
	stream_name(files, stream, name);
	fd = openat(files->dir, name, O_WRONLY | O_APPEND | O_CLOEXEC | (stream->size ? 0 : O_CREAT | O_EXCL), 0644);
	if (fd < 0)
		return error_set(errno, "cannot open '%s/%s': %s", files->path, name, strerror(errno));
	packets_complete(files, stream, packets, n);
	err = packets_write(fd, packets, n, &bytes);
	while (*done < n && bytes >= packets[*done].iov_len)
		bytes -= packets[(*done)++].iov_len;
	if (err) {
		uint64_t size = stream->size;

		for (size_t i = 0; i < *done; i++)
			size += packets[i].iov_len;
		(void)!ftruncate(fd, (off_t)size); /* the first error is reported */
	}
	if (close(fd) && !err) {
		err = -errno; /* of a delayed write: it is not known which one, so none counts */
		*done = 0;
	}
	stream_add_packets(files, stream, packets, *done);
	index_add_packets(files, stream, packets, *done);
	if (!stream->size)
		unlinkat(files->dir, name, 0);
	if (err)
		return error_set(-err, "cannot write '%s/%s': %s; the trace is complete up to the last packet",
		                 files->path, name, strerror(-err));
	return 0;
}

/* ---- lost events ---- */

uint64_t ctf_files_discarded(const struct ctf_files *files)
{
	uint64_t discarded = 0;

	for (size_t i = 0; i < files->nstreams; i++)
		discarded += files->streams[i].discarded;
	return discarded;
}

void ctf_files_discard_in_place(struct ctf_files *files, uint64_t lost)
{
	struct ctf_stream *last = NULL;
	uint64_t discarded;
	char name[40];
	off_t at;
	int fd;

	for (size_t i = 0; i < files->nstreams; i++)
		if (files->streams[i].last && (!last || files->streams[i].end > last->end))
			last = &files->streams[i];
	if (!last || !lost)
		return;
	stream_name(files, last, name);
	fd = openat(files->dir, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	discarded = last->discarded + lost;
	at = (off_t)(last->last + offsetof(struct ctf_packet, events_discarded));
	if (pwrite(fd, &discarded, sizeof(discarded), at) == sizeof(discarded)) {
		last->discarded = discarded;
		index_set_discarded(files, last, discarded);
	}
	close(fd);
}

/* ---- removing ---- */

/* Removes the files in a directory that this file and ctf-metadata.c create. */
static void directory_clear(int dir, const char *prefix)
{
	int copy = dup(dir);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);

	if (!list && copy >= 0)
		close(copy);
	for (const struct dirent *entry; list && (entry = readdir(list));)
		if (!strncmp(entry->d_name, prefix, strlen(prefix)))
			unlinkat(dir, entry->d_name, 0);
	if (list)
		closedir(list);
}

void ctf_directory_remove(const char *path)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), index;

	if (dir < 0)
		return;
	/* A directory without metadata is not a trace, so a reader never finds a part of one. */
	unlinkat(dir, "metadata", 0);
	unlinkat(dir, ".metadata", 0);
	directory_clear(dir, "stream_");
	index = openat(dir, "index", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (index >= 0) {
		directory_clear(index, "stream_");
		directory_clear(index, ".stream_");
		close(index);
	}
	unlinkat(dir, "index", AT_REMOVEDIR);
	close(dir);
	rmdir(path);
}
