/* SPDX-License-Identifier: MIT */
#include "cmd/sink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/event-format.h"
#include "cmd/ui.h"

enum { FULL = 1 << 15 }; /* bytes */

int sink_put(struct sink *sink, struct pp_reader *reader, const struct pp_event *event, bool json)
{
	if (!sink->memory)
		sink->memory = open_memstream(&sink->bytes, &sink->size);
	if (sink->nmarks == sink->room) {
		size_t room = sink->room ? 2 * sink->room : 256;
		struct pp_mark *more = reallocarray(sink->marks, room, sizeof(*more));

		if (!more)
			no_memory();
		sink->marks = more;
		sink->room = room;
	}
	if (!sink->memory)
		no_memory();
	pp_event_mark(event, &sink->marks[sink->nmarks++]);
	(json ? event_put_json : event_put_text)(sink->memory, event);
	return ftell(sink->memory) > FULL ? sink_flush(sink, reader) : sink->error;
}

int sink_flush(struct sink *sink, struct pp_reader *reader)
{
	size_t done = 0, lines = 0;
	long size = sink->memory ? ftell(sink->memory) : 0;

	if (!sink->nmarks)
		return sink->error;
	if (fflush(sink->memory) || ferror(sink->memory) || size < 0)
		no_memory();
	if (!sink->error)
		sink->error = write_results(sink->bytes, (size_t)size, &done);
	/* Only the end of a line is a newline: text and JSON escape all others. */
	for (size_t i = 0; i < done; i++)
		lines += sink->bytes[i] == '\n';
	sink->written += lines;
	for (size_t i = lines; i < sink->nmarks; i++)
		pp_reader_lose(reader, &sink->marks[i]);
	sink->nmarks = 0;
	rewind(sink->memory);
	return sink->error;
}

void sink_free(struct sink *sink)
{
	if (sink->memory)
		fclose(sink->memory);
	free(sink->bytes);
	free(sink->marks);
}
