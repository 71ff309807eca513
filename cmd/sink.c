/* SPDX-License-Identifier: MIT */
#include "cmd/sink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/ui.h"

/* The argument of sink_add_line(). */
struct sink_lines {
	struct sink *sink;
	struct pp_reader *reader;
};

/* Notes the record of a line that was printed to the memory. Writes all lines if there are many. */
static void sink_add_line(const struct pp_mark *mark, void *arg)
{
	const struct sink_lines *lines = arg;
	struct sink *sink = lines->sink;

	sink->marks[sink->nmarks++] = *mark;
	if (sink->nmarks == SINK_LINES || ftell(sink->memory) > SINK_BYTES)
		sink_flush(sink, lines->reader);
}

static void sink_open(struct sink *sink)
{
	if (!sink->memory)
		sink->memory = xmemstream(&sink->bytes, &sink->size);
}

void sink_put_waiting(struct sink *sink, struct pp_reader *reader, bool all)
{
	if (!sink->otlp)
		return;
	sink_open(sink);
	otlp_put_waiting(sink->memory, sink->otlp, all, sink_add_line, &(struct sink_lines){ sink, reader });
}

int sink_put(struct sink *sink, struct pp_reader *reader, const struct pp_event *event)
{
	struct sink_lines lines = { sink, reader };
	struct pp_mark mark;

	sink_open(sink);
	if (sink->otlp) {
		otlp_put(sink->memory, sink->otlp, event, sink_add_line, &lines);
		return sink->error;
	}
	if (sink->json) {
		event_put_json(sink->memory, event, pp_event_time(event) >= sink->complete_since);
	} else if (sink->format) {
		format_put(sink->memory, sink->format, event);
		putc('\n', sink->memory);
	} else {
		event_put_text(sink->memory, event, &sink->look);
	}
	pp_event_mark(event, &mark);
	sink_add_line(&mark, &lines);
	return sink->error;
}

int sink_flush(struct sink *sink, struct pp_reader *reader)
{
	size_t done = 0, lines = 0;
	long size = sink->memory ? ftell(sink->memory) : 0;

	if (!sink->nmarks)
		return sink->error;
	if (fflush(sink->memory) || ferror(sink->memory) || size < 0)
		alloc_failed();
	if (!sink->error)
		sink->error = ui_write(sink->bytes, (size_t)size, &done);
	/* Every newline ends a line, because text and JSON escape all others. */
	for (size_t i = 0; i < done; i++)
		lines += sink->bytes[i] == '\n';
	sink->written += lines;
	for (size_t i = lines; i < sink->nmarks; i++)
		pp_reader_lose(reader, &sink->marks[i]);
	pp_reader_done(reader);
	sink->nmarks = 0;
	rewind(sink->memory);
	return sink->error;
}

void sink_put_account(struct sink *sink, struct pp_reader *reader, const char *session, uint64_t lost)
{
	char *line = NULL;
	size_t size, done;
	FILE *out;

	if (sink_flush(sink, reader))
		return;
	out = xmemstream(&line, &size);
	otlp_put_account(out, sink->otlp, session, sink->written, lost);
	xmemstream_close(out);
	sink->error = ui_write(line, size, &done);
	free(line);
}

void sink_free(struct sink *sink)
{
	if (sink->memory)
		fclose(sink->memory);
	free(sink->bytes);
	event_look_release(&sink->look);
	otlp_free(sink->otlp);
}
