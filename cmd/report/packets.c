/* SPDX-License-Identifier: MIT */
#include "cmd/report/packets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/report/grow.h"

enum { PAGE = 4096, MAGIC_BYTES = 4, HEADER_BYTES = 24, HEADER_MOST = 1024, CONTEXT_MOST = 4096 };

#define PACKET_MAGIC 0xc1fc1fc1u
#define TIME_MOST (INT64_C(1) << 62)

static const char packet_header[] =
	"packet.header := struct {\n\t\tx32 magic;\n\t\tu8 uuid[16];\n\t\tu32 stream_id;\n\t};";

/* ---- the layout ---- */

/* Returns the size of a type in bytes. 0: it is unknown. */
static size_t type_size(const char *type, size_t length)
{
	unsigned bits;

	if (length == strlen("clock_ns") && !strncmp(type, "clock_ns", length))
		return sizeof(uint64_t);
	if (length < 2 || !strchr("usx", type[0]) || sscanf(type + 1, "%u", &bits) != 1)
		return 0;
	return bits == 8 || bits == 16 || bits == 32 || bits == 64 ? bits / 8 : 0;
}

/* Reads the lines "TYPE NAME;" of the packet context. */
static bool layout_read_context(const char *text, struct packet_layout *layout)
{
	char context[CONTEXT_MOST], type[32], name[64];
	size_t at = HEADER_BYTES, length = strcspn(text, "}");
	const char *line = context;
	int used = 0;

	if (!text[length] || length >= sizeof(context))
		return false;
	memcpy(context, text, length);
	context[length] = 0;
	for (; sscanf(line, " %31[a-z0-9_] %63[a-z0-9_];%n", type, name, &used) == 2 && used; line += used, used = 0) {
		size_t size = type_size(type, strlen(type));
		size_t *field = !strcmp(name, "timestamp_begin") ? &layout->begin
		                : !strcmp(name, "timestamp_end") ? &layout->end
		                : !strcmp(name, "content_size")  ? &layout->content
		                : !strcmp(name, "packet_size")   ? &layout->size
		                                                 : NULL;

		if (!size || (field && size != sizeof(uint64_t)))
			return false;
		if (field)
			*field = at;
		at += size;
	}
	layout->header = at;
	return !line[strspn(line, " \t\n")] && layout->begin && layout->end && layout->content && layout->size &&
	       at <= HEADER_MOST;
}

static bool layout_read_uuid(const char *metadata, struct packet_layout *layout)
{
	const char *at = strstr(metadata, "uuid = \"");
	size_t n = 0;

	if (!at)
		return false;
	for (at += strlen("uuid = \""); n < sizeof(layout->uuid) && *at; at++) {
		if (*at == '-')
			continue;
		if (sscanf(at, "%2hhx", &layout->uuid[n++]) != 1)
			return false;
		at++;
	}
	return n == sizeof(layout->uuid) && *at == '"';
}

bool packets_layout(const char *metadata, struct packet_layout *layout)
{
	const char *context = strstr(metadata, "packet.context := struct {"), *clock = strstr(metadata, "\nclock {");
	long long seconds, ns;
	bool swapped = strstr(metadata, __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? "byte_order = le" : "byte_order = be");

	*layout = (struct packet_layout){ 0 };
	if (!context || !clock || swapped || !strstr(metadata, "tracer_name = \"probepoint\"") ||
	    !strstr(metadata, packet_header) || !layout_read_uuid(metadata, layout) ||
	    !layout_read_context(context + strlen("packet.context := struct {"), layout))
		return false;
	clock = strstr(clock, "offset_s = ");
	if (!clock || sscanf(clock, "offset_s = %lld;\n\toffset = %lld;", &seconds, &ns) != 2 || ns < 0 ||
	    ns >= 1000000000 || llabs(seconds) > TIME_MOST / 2000000000)
		return false;
	layout->offset = seconds * 1000000000 + ns;
	return true;
}

/* ---- packets ---- */

static uint64_t number_at(const char *bytes, size_t at)
{
	uint64_t number;

	memcpy(&number, bytes + at, sizeof(number));
	return number;
}

/* Returns the size of the packet there, 0 if it is damaged. Stores its times. */
static uint64_t packet_check(const struct packet_layout *layout, int fd, off_t at, off_t file,
                             struct packet_part *times)
{
	char bytes[HEADER_MOST];
	uint64_t content, size, begin, end;
	uint32_t magic;

	if (pread(fd, bytes, layout->header, at) != (ssize_t)layout->header)
		return 0;
	memcpy(&magic, bytes, sizeof(magic));
	content = number_at(bytes, layout->content);
	size = number_at(bytes, layout->size);
	begin = number_at(bytes, layout->begin);
	end = number_at(bytes, layout->end);
	if (magic != PACKET_MAGIC || memcmp(bytes + MAGIC_BYTES, layout->uuid, sizeof(layout->uuid)) ||
	    content > size || size % 8 || content < 8 * layout->header || size / 8 > (uint64_t)(file - at) ||
	    begin > end || end > (uint64_t)TIME_MOST)
		return 0;
	times->begin = (int64_t)begin + layout->offset;
	times->end = (int64_t)end + layout->offset;
	return size / 8;
}

size_t packets_check(const struct packet_layout *layout, int fd, off_t file, struct packet_part **parts)
{
	struct packet_part *last = NULL;
	size_t n = 0, room = 0;
	int64_t before = INT64_MIN;

	*parts = NULL;
	for (off_t at = 0; at < file;) {
		struct packet_part part = { .from = at };
		uint64_t size = packet_check(layout, fd, at, file, &part);

		/* Times in a stream do not decrease. */
		part.is_good = size && part.begin >= before;
		part.to = part.is_good ? at + (off_t)size : at + PAGE < file ? at + PAGE : file;
		at = part.to;
		if (!part.is_good) {
			part.begin = before;
			part.end = INT64_MAX;
		} else {
			if (last && !last->is_good)
				last->end = part.begin;
			before = part.end;
		}
		if (last && last->is_good == part.is_good) {
			last->to = part.to;
			last->end = part.end;
			continue;
		}
		GROW(*parts, n + 1, room);
		last = &(*parts)[n++];
		*last = part;
	}
	return n;
}
