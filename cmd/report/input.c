/* SPDX-License-Identifier: MIT */
#include "cmd/report/input.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/alloc.h"
#include "cmd/report/packets.h"

enum { DIRECTORIES_DEPTH = 8, METADATA_MOST = 64 << 20, DAMAGES_MOST = 100000 };

static int input_fail(struct input *input, int err, char *message)
{
	free(input->error);
	input->error = message;
	return -err;
}

static void input_notice(struct input *input, char *text)
{
	input->notices = xreallocarray(input->notices, input->nnotices + 1, sizeof(*input->notices));
	input->notices[input->nnotices++] = text;
}

/* ---- copies of damaged traces ---- */

/* Makes a directory for the copy of a trace. Returns its path, NULL after an error. */
static char *copy_directory(struct input *input, size_t number)
{
	const char *tmp = getenv("TMPDIR");
	char *path;

	if (!input->copies) {
		path = xasprintf("%s/probe-report.XXXXXX", tmp && *tmp ? tmp : "/tmp");
		if (!mkdtemp(path)) {
			input_fail(input, errno,
			           xasprintf("cannot copy the undamaged parts of the trace to '%s': %s; set TMPDIR",
			                     path, strerror(errno)));
			free(path);
			return NULL;
		}
		input->copies = path;
	}
	path = xasprintf("%s/%zu", input->copies, number);
	if (!mkdir(path, 0700))
		return path;
	input_fail(input, errno, xasprintf("cannot create '%s': %s", path, strerror(errno)));
	free(path);
	return NULL;
}

static int range_copy(int from, int to, off_t at, off_t end)
{
	static char bytes[1 << 16];

	while (at < end) {
		size_t size = (size_t)(end - at) < sizeof(bytes) ? (size_t)(end - at) : sizeof(bytes);
		ssize_t n = pread(from, bytes, size, at);

		if (n < 0)
			return -errno;
		if (!n)
			return -EIO;
		for (ssize_t done = 0, wrote; done < n; done += wrote) {
			wrote = write(to, bytes + done, (size_t)(n - done));
			if (wrote < 0)
				return -errno;
		}
		at += n;
	}
	return 0;
}

/* Copies the good parts of a stream into a directory. */
static int stream_copy(struct input *input, int from, const char *directory, const char *name,
                       const struct packet_part *parts, size_t n)
{
	char *path = xasprintf("%s/%s", directory, name);
	int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), err = to < 0 ? -errno : 0;

	for (size_t i = 0; i < n && !err; i++)
		if (parts[i].is_good)
			err = range_copy(from, to, parts[i].from, parts[i].to);
	if (to >= 0)
		close(to);
	if (err)
		input_fail(input, -err,
		           xasprintf("cannot copy '%s' to '%s': %s; set TMPDIR", name, path, strerror(-err)));
	free(path);
	return err;
}

static int stream_link(struct input *input, const char *trace, const char *directory, const char *name)
{
	char *target = xasprintf("%s/%s", trace, name), *full = realpath(target, NULL);
	char *path = xasprintf("%s/%s", directory, name);
	int err = full && !symlink(full, path) ? 0 : -errno;

	if (err)
		input_fail(input, -err, xasprintf("cannot create '%s': %s", path, strerror(-err)));
	free(target);
	free(full);
	free(path);
	return err;
}

/* ---- one trace ---- */

/* The streams of a trace and their parts. */
struct stream_check {
	char *name;
	int fd;
	struct packet_part *parts;
	size_t n;
	bool is_damaged;
};

static int damage_compare(const void *a, const void *b)
{
	const struct report_loss *x = a, *y = b;

	return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Notes the damaged parts of a stream, and the times of its good packets. */
static void stream_account(struct input *input, struct input_trace *trace, struct stream_check *stream)
{
	uint64_t bytes = 0;
	size_t places = 0;

	for (size_t i = 0; i < stream->n; i++) {
		const struct packet_part *part = &stream->parts[i];

		if (part->is_good) {
			if (!trace->has_range || part->begin < trace->begin)
				trace->begin = part->begin;
			if (!trace->has_range || part->end > trace->end)
				trace->end = part->end;
			trace->has_range = true;
			continue;
		}
		stream->is_damaged = true;
		bytes += (uint64_t)(part->to - part->from);
		places++;
		if (input->ndamages == DAMAGES_MOST) {
			input->damages[DAMAGES_MOST - 1].end = INT64_MAX;
			continue;
		}
		input->damages = xreallocarray(input->damages, input->ndamages + 1, sizeof(*input->damages));
		input->damages[input->ndamages++] =
			(struct report_loss){ .begin = part->begin, .end = part->end, .is_damage = true };
	}
	if (stream->is_damaged)
		input_notice(input, xasprintf("'%s/%s' is damaged at %zu place%s: %" PRIu64 " bytes are left out",
		                              trace->name, stream->name, places, places == 1 ? "" : "s", bytes));
}

/* Opens and checks the streams of a trace. Returns their number, or a negative errno. */
static ssize_t streams_check(struct input *input, struct input_trace *trace, const struct packet_layout *layout,
                             struct stream_check **streams)
{
	DIR *directory = opendir(trace->name);
	const struct dirent *entry;
	ssize_t n = 0;

	*streams = NULL;
	if (!directory)
		return input_fail(input, errno, xasprintf("cannot open '%s': %s", trace->name, strerror(errno)));
	while ((entry = readdir(directory))) {
		struct stream_check stream = { 0 };
		struct stat st;

		if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "metadata"))
			continue;
		stream.fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (stream.fd < 0 || fstat(stream.fd, &st) || !S_ISREG(st.st_mode)) {
			if (stream.fd >= 0)
				close(stream.fd);
			continue;
		}
		stream.name = xstrdup(entry->d_name);
		stream.n = packets_check(layout, stream.fd, st.st_size, &stream.parts);
		stream_account(input, trace, &stream);
		*streams = xreallocarray(*streams, (size_t)n + 1, sizeof(**streams));
		(*streams)[n++] = stream;
	}
	closedir(directory);
	return n;
}

/* Makes a directory with the metadata, the streams that are not damaged, and copies of the good parts of the others. */
static int trace_copy(struct input *input, struct input_trace *trace, const struct stream_check *streams, ssize_t n)
{
	char *path = copy_directory(input, (size_t)(trace - input->traces));
	int err;

	if (!path)
		return -EIO;
	free(trace->path);
	trace->path = path;
	err = stream_link(input, trace->name, path, "metadata");
	for (ssize_t i = 0; i < n && !err; i++)
		err = streams[i].is_damaged
		              ? stream_copy(input, streams[i].fd, path, streams[i].name, streams[i].parts, streams[i].n)
		              : stream_link(input, trace->name, path, streams[i].name);
	return err;
}

/* Reads a metadata file. Returns its text, NULL if it cannot be read or is too large. */
static char *metadata_read(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t n;

	if (!file)
		return NULL;
	text = xreallocarray(NULL, METADATA_MOST, 1);
	n = fread(text, 1, METADATA_MOST - 1, file);
	text[n] = 0;
	fclose(file);
	return text;
}

/*
 * Makes a trace use the offset of the first trace with the same clock. The parts of a trace have different offsets if the
 * time of day was adjusted between them, and durations must not include that.
 */
static void trace_use_clock(const struct input *input, struct input_trace *trace, struct packet_layout *layout)
{
	const struct input_trace *first = input->traces;

	memcpy(trace->clock, layout->clock, sizeof(trace->clock));
	trace->offset = layout->offset;
	if (!*trace->clock)
		return;
	while (strcmp(first->clock, trace->clock))
		first++;
	trace->shift = first->offset - trace->offset;
	layout->offset = first->offset;
}

static int input_check_trace(struct input *input, struct input_trace *trace)
{
	char *path = xasprintf("%s/metadata", trace->name), *text = metadata_read(path);
	struct packet_layout layout;
	struct stream_check *streams = NULL;
	bool damaged = false;
	ssize_t n = 0;
	int err = 0;

	free(path);
	if (text && packets_layout(text, &layout)) {
		trace_use_clock(input, trace, &layout);
		n = streams_check(input, trace, &layout, &streams);
	}
	free(text);
	if (n < 0)
		return (int)n;
	for (ssize_t i = 0; i < n; i++)
		damaged |= streams[i].is_damaged;
	if (damaged)
		err = trace_copy(input, trace, streams, n);
	for (ssize_t i = 0; i < n; i++) {
		close(streams[i].fd);
		free(streams[i].name);
		free(streams[i].parts);
	}
	free(streams);
	return err;
}

/* ---- finding traces ---- */

static int input_search(struct input *input, const char *directory, unsigned depth)
{
	DIR *entries = opendir(directory);
	const struct dirent *entry;
	struct stat st;
	int err = 0;

	if (!entries)
		return input_fail(input, errno, xasprintf("cannot open '%s': %s", directory, strerror(errno)));
	if (!fstatat(dirfd(entries), "metadata", &st, 0) && S_ISREG(st.st_mode)) {
		if (input->ntraces == TRACES_MAX)
			err = input_fail(input, E2BIG,
			                 xasprintf("more than %d traces; name a directory below", TRACES_MAX));
		else {
			input->traces = xreallocarray(input->traces, input->ntraces + 1, sizeof(*input->traces));
			input->traces[input->ntraces++] =
				(struct input_trace){ .name = xstrdup(directory), .path = xstrdup(directory) };
		}
		closedir(entries);
		return err;
	}
	while (!err && depth < DIRECTORIES_DEPTH && (entry = readdir(entries))) {
		char *path;

		if (entry->d_name[0] == '.' || fstatat(dirfd(entries), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		    !S_ISDIR(st.st_mode))
			continue;
		path = xasprintf("%s/%s", directory, entry->d_name);
		err = input_search(input, path, depth + 1);
		free(path);
	}
	closedir(entries);
	return err;
}

static int trace_compare(const void *a, const void *b)
{
	return strcmp(((const struct input_trace *)a)->name, ((const struct input_trace *)b)->name);
}

int input_find(struct input *input, const char *directory)
{
	int err = input_search(input, directory, 0);

	if (err)
		return err;
	if (!input->ntraces)
		return input_fail(input, ENOENT,
		                  xasprintf("'%s' is not a trace: it has no file 'metadata', nor has a directory below",
		                            directory));
	qsort(input->traces, input->ntraces, sizeof(*input->traces), trace_compare);
	for (size_t i = 0; i < input->ntraces && !err; i++)
		err = input_check_trace(input, &input->traces[i]);
	if (input->ndamages)
		qsort(input->damages, input->ndamages, sizeof(*input->damages), damage_compare);
	return err;
}

static int copy_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

void input_release(struct input *input)
{
	if (input->copies)
		nftw(input->copies, copy_remove, 16, FTW_DEPTH | FTW_PHYS);
	for (size_t i = 0; i < input->ntraces; i++) {
		free(input->traces[i].name);
		free(input->traces[i].path);
	}
	for (size_t i = 0; i < input->nnotices; i++)
		free(input->notices[i]);
	free(input->traces);
	free(input->damages);
	free(input->notices);
	free(input->copies);
	free(input->error);
	*input = (struct input){ 0 };
}
