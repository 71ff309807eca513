/* SPDX-License-Identifier: MIT */
#include "runtime/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/record.h"
#include "runtime/session.h"

/* ---- copies ---- */

struct snapshot_entry {
	uint64_t time;
	size_t at; /* of a struct snapshot_record in `bytes` */
};

/* Followed by the record. */
struct snapshot_record {
	const struct backend *backend;
	size_t size;
	struct record_thread thread;
};

struct snapshot {
	const struct backend *backend; /* whose records are being copied */
	struct snapshot_entry *entries;
	size_t n, room, next;
	char *bytes;
	size_t nbytes, bytes_room;
	struct snapshot_gaps gaps;
};

static int snapshot_add(const struct record_thread *thread, const struct record *record, size_t size, void *arg)
{
	struct snapshot *s = arg;
	const struct snapshot_record head = { s->backend, size, *thread };
	const size_t room = sizeof(head) + ((size + 7) & ~(size_t)7);

	if (ALLOC_GROW(s->entries, s->n + 1, s->room) || ALLOC_GROW(s->bytes, s->nbytes + room, s->bytes_room))
		return -ENOMEM;
	s->entries[s->n++] = (struct snapshot_entry){ record->time, s->nbytes };
	memcpy(s->bytes + s->nbytes, &head, sizeof(head));
	memcpy(s->bytes + s->nbytes + sizeof(head), record, size);
	s->nbytes += room;
	return 0;
}

/* Records of one time keep the order in which they were copied: that of their thread. */
static int snapshot_entry_compare(const void *a, const void *b)
{
	const struct snapshot_entry *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

int snapshot_take(struct pp_session *session, struct snapshot **snapshot)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	int err = 0;

	*snapshot = NULL;
	if (!s)
		return error_nomem();
	for (size_t i = 0; i < nbackends && !err; i++) {
		s->backend = backends[i];
		if (session->states[i])
			err = backends[i]->snapshot(session, snapshot_add, s, &s->gaps);
	}
	if (err) {
		snapshot_free(s);
		return err;
	}
	if (s->n)
		qsort(s->entries, s->n, sizeof(*s->entries), snapshot_entry_compare);
	*snapshot = s;
	return 0;
}

void snapshot_free(struct snapshot *snapshot)
{
	if (!snapshot)
		return;
	free(snapshot->entries);
	free(snapshot->bytes);
	free(snapshot);
}

uint64_t snapshot_records(const struct snapshot *snapshot)
{
	return snapshot->n;
}

uint64_t snapshot_passed(const struct snapshot *snapshot)
{
	return snapshot->gaps.passed;
}

uint64_t snapshot_since(const struct snapshot *snapshot)
{
	return snapshot->gaps.since;
}

int snapshot_next(struct snapshot *s, const struct backend **backend, const struct record_thread **thread,
                  const struct record **record, size_t *size)
{
	const struct snapshot_record *head;

	if (s->next == s->n)
		return 0;
	head = (const struct snapshot_record *)(s->bytes + s->entries[s->next++].at);
	*backend = head->backend;
	*thread = &head->thread;
	*record = (const struct record *)(head + 1);
	*size = head->size;
	return 1;
}

/* ---- counts ---- */

struct snapshot_counts {
	const struct pp_session *session;
	const struct backend *backend; /* whose records are being counted */
	uint64_t **overwritten;        /* for each attachment of the session: for each point */
	size_t n;                      /* attachments */
};

void snapshot_counts_free(struct snapshot_counts *counts)
{
	if (!counts)
		return;
	for (size_t i = 0; i < counts->n; i++)
		free(counts->overwritten[i]);
	free(counts->overwritten);
	free(counts);
}

static int snapshot_count_one(const struct record_thread *thread, const struct record *record, size_t size, void *arg)
{
	struct snapshot_counts *counts = arg;

	(void)size;
	for (size_t i = 0; i < counts->n; i++) {
		const struct attachment *attachment = counts->session->attachments[i];

		if (attachment->number == thread->attachment && attachment->backend == counts->backend &&
		    record->point < attachment->manifest->npoints && counts->overwritten[i][record->point])
			counts->overwritten[i][record->point]--;
	}
	return 0;
}

/*
 * Makes room for the counts of an attachment, and sets them to the recorded hits. They are read before the memory, so that records
 * that are written meanwhile do not count as overwritten.
 */
static int snapshot_count_recorded(struct snapshot_counts *counts, const struct attachment *attachment)
{
	uint64_t *recorded = calloc(attachment->manifest->npoints + (size_t)1, sizeof(*recorded));

	if (!recorded)
		return -ENOMEM;
	for (uint32_t p = 0; p < attachment->manifest->npoints; p++) {
		struct pp_counts now = { 0 };

		attachment->backend->counts(attachment, p, &now);
		recorded[p] = now.recorded;
	}
	counts->overwritten[counts->n++] = recorded;
	return 0;
}

struct snapshot_counts *snapshot_count(struct pp_session *session)
{
	struct snapshot_counts *counts;
	struct snapshot_gaps gaps = { 0 };
	int err = 0;

	if (!session_flight(session))
		return NULL;
	counts = calloc(1, sizeof(*counts));
	if (!counts)
		return NULL;
	counts->session = session;
	counts->overwritten = calloc(session->nattachments, sizeof(*counts->overwritten));
	for (size_t i = 0; counts->overwritten && i < session->nattachments && !err; i++)
		err = snapshot_count_recorded(counts, session->attachments[i]);
	for (size_t i = 0; i < nbackends && counts->n && !err; i++) {
		counts->backend = backends[i];
		if (session->states[i])
			err = backends[i]->snapshot(session, snapshot_count_one, counts, &gaps);
	}
	if (!err)
		return counts;
	snapshot_counts_free(counts);
	return NULL;
}

uint64_t snapshot_overwritten(const struct snapshot_counts *counts, const struct attachment *attachment, uint32_t point)
{
	for (size_t i = 0; counts && i < counts->n; i++)
		if (counts->session->attachments[i] == attachment)
			return counts->overwritten[i][point];
	return 0;
}

/* ---- the memory ---- */

size_t pp_session_flight_recorder(struct pp_session *session, uint64_t *held)
{
	size_t flight = session_flight(session);

	*held = 0;
	for (size_t i = 0; flight && i < nbackends; i++)
		if (session->states[i])
			*held += backends[i]->held(session);
	return flight;
}
