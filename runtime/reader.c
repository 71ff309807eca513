/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "runtime/event.h"
#include "runtime/session.h"
#include "sdt/error.h"

struct pp_reader {
	struct pp_session *session;
	const struct backend *backend;
	void *state;
	struct pp_event event;
};

int pp_reader_open(struct pp_session *session, struct pp_reader **reader)
{
	struct pp_reader *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return error_set(ENOMEM, "out of memory");
	r->session = session;
	r->backend = &backend_kernel;
	err = session->kernel ? r->backend->reader_open(session, &r->state)
	                      : error_set(ENOENT, "session '%s' has nothing armed to read from", session->name);
	if (err)
		free(r);
	else
		*reader = r, session->nreaders++;
	return err;
}

void pp_reader_free(struct pp_reader *reader)
{
	if (!reader)
		return;
	reader->backend->reader_close(reader->state);
	reader->session->nreaders--;
	free(reader);
}

int pp_reader_next(struct pp_reader *reader, int timeout_ms, const struct pp_event **event)
{
	const struct record_thread *thread;
	const struct record *record;
	const struct segment *segment;
	size_t size;
	int n = reader->backend->reader_next(reader->state, timeout_ms, &thread, &record, &size);

	if (n <= 0)
		return n;
	segment = session_segment(reader->session, thread->segment);
	if (!segment)
		return error_set(EBADMSG, "a record names segment %u, which is gone", thread->segment);
	n = event_set(&reader->event, segment->desc, thread, record, size);
	*event = &reader->event;
	return n ? n : 1;
}
