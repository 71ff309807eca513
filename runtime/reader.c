/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "runtime/event.h"
#include "runtime/session.h"
#include "base/error.h"

#define PAUSE_NS 5000000
#define LOOK_NS 500000000u /* how often a backend that the session had nothing of is looked at again */

struct source {
	const struct backend *backend;
	void *state; /* NULL: not open */
};

struct pp_reader {
	struct pp_session *session;
	struct source sources[2];
	unsigned turn; /* whose it is next */
	uint64_t looked;
	uint64_t recorded, lost; /* the session's totals when it was opened */
	uint64_t damaged;        /* records that this file passed over */
	bool stopped;
	struct wall wall;
	struct pp_event event;
};

#define NSOURCES (sizeof(((struct pp_reader *)0)->sources) / sizeof(struct source))

static bool is_there(const struct pp_session *session, const struct backend *backend)
{
	return backend == &backend_kernel ? session->kernel : session->agent;
}

int pp_reader_open(struct pp_session *session, struct pp_reader **reader)
{
	struct pp_reader *r = calloc(1, sizeof(*r));
	int err = 0, opened = 0;

	if (!r)
		return error_nomem();
	r->session = session;
	session_totals(session, &r->recorded, &r->lost);
	session->nreaders++;
	r->looked = clock_ns();
	wall_sample(&r->wall);
	r->sources[0].backend = &backend_agent;
	r->sources[1].backend = &backend_kernel;
	for (size_t i = 0; i < NSOURCES && !err; i++) {
		struct source *s = &r->sources[i];

		if (is_there(session, s->backend))
			err = s->backend->reader_open(session, &s->state);
		opened += s->state != NULL;
	}
	if (!err && !opened)
		err = error_set(ENOENT, "session '%s' has nothing armed to read from", session->name);
	if (err)
		pp_reader_free(r);
	else
		*reader = r;
	return err;
}

void pp_reader_free(struct pp_reader *reader)
{
	if (!reader)
		return;
	for (size_t i = 0; i < NSOURCES; i++)
		if (reader->sources[i].state)
			reader->sources[i].backend->reader_close(reader->sources[i].state);
	reader->session->nreaders--;
	free(reader);
}

/* Other commands may arm by a backend that the session had nothing of. */
static void look_again(struct pp_reader *reader, uint64_t now)
{
	bool missing = false;

	for (size_t i = 0; i < NSOURCES; i++)
		missing |= !reader->sources[i].state;
	if (!missing || reader->stopped || now - reader->looked < LOOK_NS)
		return;
	reader->looked = now;
	session_look(reader->session);
	for (size_t i = 0; i < NSOURCES; i++) {
		struct source *s = &reader->sources[i];

		if (!s->state && is_there(reader->session, s->backend))
			s->backend->reader_open(reader->session, &s->state);
	}
}

static int next(struct pp_reader *r, int timeout_ms, const struct record_thread **thread, const struct record **record,
                size_t *size)
{
	uint64_t until = timeout_ms > 0 ? clock_ns() + timeout_ms * 1000000ull : 0;

	for (;;) {
		uint64_t now;

		/* A source is read until it has no more, so that its batches stay together. */
		for (size_t i = 0; i < NSOURCES; i++) {
			const struct source *s = &r->sources[r->turn];
			int n = s->state ? s->backend->reader_next(s->state, thread, record, size) : 0;

			if (n)
				return n;
			r->turn = (r->turn + 1) % NSOURCES;
		}
		now = clock_ns();
		look_again(r, now);
		if (timeout_ms >= 0 && now >= until)
			return 0;
		if (nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL) && errno == EINTR)
			return -EINTR;
	}
}

int pp_reader_next(struct pp_reader *reader, int timeout_ms, const struct pp_event **event)
{
	const struct record_thread *thread;
	const struct record *record;
	const struct attachment *attachment;
	size_t size;
	int n = next(reader, timeout_ms, &thread, &record, &size);

	if (!n)
		wall_sample(&reader->wall);
	if (n <= 0)
		return n;
	attachment = session_attachment(reader->session, thread->attachment);
	if (!attachment) {
		reader->damaged++;
		return error_set(EBADMSG, "a record names segment %u, which is gone", thread->attachment);
	}
	n = event_set(&reader->event, attachment->manifest, thread, record, size);
	reader->damaged += n != 0;
	reader->event.wall = &reader->wall;
	*event = &reader->event;
	return n ? n : 1;
}

void pp_reader_stop(struct pp_reader *reader)
{
	for (size_t i = 0; i < NSOURCES && !reader->stopped; i++)
		if (reader->sources[i].state)
			reader->sources[i].backend->reader_stop(reader->sources[i].state);
	reader->stopped = true;
}

void pp_reader_lose(struct pp_reader *reader, const struct pp_mark *mark)
{
	session_lose(reader->session, mark);
}

void pp_reader_drop(struct pp_reader *reader)
{
	pp_reader_stop(reader);
	for (size_t i = 0; i < NSOURCES; i++)
		if (reader->sources[i].state && reader->sources[i].backend->reader_drop)
			reader->sources[i].backend->reader_drop(reader->sources[i].state);
}

void pp_reader_counts(struct pp_reader *reader, struct pp_reader_counts *counts)
{
	uint64_t recorded, lost, damaged = reader->damaged;

	for (size_t i = 0; i < NSOURCES; i++)
		if (reader->sources[i].state)
			damaged += reader->sources[i].backend->reader_damaged(reader->sources[i].state);
	session_totals(reader->session, &recorded, &lost);
	/* Less than before: an attachment is gone, and its counts with it. */
	*counts = (struct pp_reader_counts){ .recorded = recorded > reader->recorded ? recorded - reader->recorded : 0,
		                             .lost = (lost > reader->lost ? lost - reader->lost : 0) + damaged,
		                             .damaged = damaged };
}
