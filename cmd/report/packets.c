/* SPDX-License-Identifier: MIT */
#include "cmd/report/packets.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/report/grow.h"

enum { PAGE = 4096, MAGIC_BYTES = 4, HEADER_BYTES = 24, HEADER_MOST = 256, CONTEXT_MOST = 4096 };

#define PACKET_MAGIC 0xc1fc1fc1u
#define TIME_MOST (INT64_C(1) << 62)

static const char packet_header[] =
	"packet.header := struct {\n\t\tx32 magic;\n\t\tu8 uuid[16];\n\t\tu32 stream_id;\n\t};";

/* ---- the layout ---- */

/* Returns the size of a type in bytes. 0: it is unknown. */
static size_t type_size(const char *type)
{
	unsigned bits;

	if (!strcmp(type, "clock_ns"))
		return sizeof(uint64_t);
	if (!strcmp(type, "letter"))
		return 1;
	if (!strchr("usx", type[0]) || sscanf(type + 1, "%u", &bits) != 1)
		return 0;
	return bits == 8 || bits == 16 || bits == 32 || bits == 64 ? bits / 8 : 0;
}

/* Reads a field, "TYPE NAME;" or "TYPE NAME[N];". Returns the text after it. NULL: it is another text. */
static const char *field_read(const char *line, char type[32], char name[64], unsigned *n)
{
	int used = 0;

	*n = 1;
	if (sscanf(line, " %31[a-z0-9_] %63[a-z0-9_]%n", type, name, &used) != 2 || !used)
		return NULL;
	line += used;
	used = 0;
	if (*line == '[' && (sscanf(line, "[%4u]%n", n, &used) != 1 || !used))
		return NULL;
	line += used;
	return *line == ';' ? line + 1 : NULL;
}

/* Reads the fields of a packet context, which end with '}'. */
static bool class_read(const char *text, struct packet_class *class)
{
	char context[CONTEXT_MOST], type[32], name[64];
	size_t length = strcspn(text, "}");
	const char *line = context, *next;
	unsigned n;

	if (!text[length] || length >= sizeof(context))
		return false;
	memcpy(context, text, length);
	context[length] = 0;
	class->header = HEADER_BYTES;
	for (; (next = field_read(line, type, name, &n)); line = next) {
		size_t size = n * type_size(type);
		size_t *field = !strcmp(name, "timestamp_begin") ? &class->begin
		                : !strcmp(name, "timestamp_end") ? &class->end
		                : !strcmp(name, "content_size")  ? &class->content
		                : !strcmp(name, "packet_size")   ? &class->size
		                                                 : NULL;

		if (!size || (field && size != sizeof(uint64_t)) || size > HEADER_MOST - class->header)
			return false;
		if (field)
			*field = class->header;
		class->header += size;
	}
	return !line[strspn(line, " \t\n")] && class->begin && class->end && class->content && class->size;
}

/* Reads the classes of streams. */
static bool layout_read_classes(const char *metadata, struct packet_layout *layout)
{
	static const char stream[] = "\nstream {\n\tid = ", context[] = "packet.context := struct {";

	for (const char *at = metadata; (at = strstr(at, stream));) {
		struct packet_class class = { 0 };

		at += strlen(stream);
		if (layout->nclasses == PACKET_CLASSES_MAX || sscanf(at, "%" SCNu32, &class.stream) != 1)
			return false;
		at = strstr(at, context);
		if (!at || !class_read(at + strlen(context), &class))
			return false;
		layout->classes[layout->nclasses++] = class;
	}
	return layout->nclasses;
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
	const char *clock = strstr(metadata, "\nclock {");
	long long seconds, ns;
	bool swapped = strstr(metadata, __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? "byte_order = le" : "byte_order = be");

	*layout = (struct packet_layout){ 0 };
	if (!clock || swapped || !strstr(metadata, "tracer_name = \"probepoint\"") ||
	    !strstr(metadata, packet_header) || !layout_read_uuid(metadata, layout) ||
	    !layout_read_classes(metadata, layout))
		return false;
	sscanf(clock, "\nclock {\n\tname = monotonic;\n\tuuid = \"%36[0-9a-f-]\";", layout->clock);
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

static const struct packet_class *layout_class(const struct packet_layout *layout, const char *header)
{
	uint32_t stream;

	memcpy(&stream, header + HEADER_BYTES - sizeof(stream), sizeof(stream));
	for (size_t i = 0; i < layout->nclasses; i++)
		if (layout->classes[i].stream == stream)
			return &layout->classes[i];
	return NULL;
}

/* Returns the class of the packet there, and reads its header. NULL: it is damaged. */
static const struct packet_class *packet_read_header(const struct packet_layout *layout, int fd, off_t at,
                                                     char bytes[HEADER_MOST])
{
	const struct packet_class *class;
	ssize_t n = pread(fd, bytes, HEADER_MOST, at);
	uint32_t magic;

	if (n < HEADER_BYTES)
		return NULL;
	memcpy(&magic, bytes, sizeof(magic));
	if (magic != PACKET_MAGIC || memcmp(bytes + MAGIC_BYTES, layout->uuid, sizeof(layout->uuid)))
		return NULL;
	class = layout_class(layout, bytes);
	return class && (size_t)n >= class->header ? class : NULL;
}

/* Returns the size of the packet there, 0 if it is damaged. Stores its class and times. */
static uint64_t packet_check(const struct packet_layout *layout, int fd, off_t at, off_t file,
                             const struct packet_class **class, struct packet_part *times)
{
	char bytes[HEADER_MOST];
	uint64_t content, size, begin, end;

	*class = packet_read_header(layout, fd, at, bytes);
	if (!*class)
		return 0;
	content = number_at(bytes, (*class)->content);
	size = number_at(bytes, (*class)->size);
	begin = number_at(bytes, (*class)->begin);
	end = number_at(bytes, (*class)->end);
	if (content > size || size % 8 || content < 8 * (*class)->header || size / 8 > (uint64_t)(file - at) ||
	    begin > end || end > (uint64_t)TIME_MOST)
		return 0;
	times->begin = (int64_t)begin + layout->offset;
	times->end = (int64_t)end + layout->offset;
	return size / 8;
}

size_t packets_check(const struct packet_layout *layout, int fd, off_t file, struct packet_part **parts)
{
	const struct packet_class *class, *first = NULL;
	struct packet_part *last = NULL;
	size_t n = 0, room = 0;
	int64_t before = INT64_MIN;

	*parts = NULL;
	for (off_t at = 0; at < file;) {
		struct packet_part part = { .from = at };
		uint64_t size = packet_check(layout, fd, at, file, &class, &part);

		/* Times in a stream do not decrease, and its packets have one class. */
		part.is_good = size && part.begin >= before && (!first || class == first);
		if (part.is_good)
			first = class;
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
