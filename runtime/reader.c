/* SPDX-License-Identifier: MIT */
/*
 * The reader of a session: merges the readers of its backends.
 *
 * Hits do not wake readers, because that would cost each hit a system call. So the backends are polled: every BUSY_NS while
 * there are many records, because a thread's ring is full after 1.6 ms of 5 million records per second; every ACTIVE_NS while
 * there were records in the last ACTIVE_FOR; else every POLL_NS. A
 * backend is read until it has no more records, so that its batches stay together, and then the next one. A backend
 * that had no part of the session is looked for again every REOPEN_NS, because other commands may arm through it
 * meanwhile.
 *
 * pp_reader_order() makes the reader sort records by time:
 *
 * 1. A pass moves the backends' records to a heap (reorder.c), so that the rings have room again however slow the output is.
 * 2. For each backend, `reached` is the time up to which its records are in the heap: the time of the pass if it found no more
 *    records, else that of the last record.
 * 3. A record is given out when all backends have reached its time plus the delay. A record that comes later than that is
 *    given out at once, out of order.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/event.h"
#include "runtime/reorder.h"
#include "runtime/session.h"
#include "runtime/snapshot.h"
#include "runtime/sized.h"

#define POLL_NS 5000000
#define ACTIVE_NS 1000000
#define ACTIVE_FOR 10000000000u
#define BUSY_NS 200000
#define BUSY_RECORDS 256 /* between two polls */
#define REOPEN_NS 500000000u
#define PASS_NS 1000000u     /* passes are made this often while records are given out ... */
#define HELD_MAX (64u << 20) /* ... unless so many bytes are held back: then the earliest record is given out */
#define PASS_RECORDS 20000   /* of one backend in one pass */
#define UNDONE_MAX 4096      /* records that are returned until they count as delivered */

struct pp_reader {
	struct pp_session *session;
	void *sources[BACKENDS_MAX]; /* the backends' readers, by index in the list; NULL: not open */
	size_t turn;                 /* the backend to read next */
	int timer;                   /* see pp_reader_fd(); -1: not asked for */
	uint64_t reopened;           /* when backends were last looked for */
	uint64_t recorded, lost;     /* the session's totals when the reader was opened */
	uint64_t damaged;            /* records that this file passed over */
	uint64_t active;             /* when a poll last found records */
	unsigned found;              /* records since the last poll that found none, at most BUSY_RECORDS */
	bool stopped;
	uint64_t limit;         /* pp_reader_limit(); 0: none */
	uint64_t returned;      /* records */
	bool keeps;             /* pp_reader_keep() was called */
	unsigned undone;        /* records that were returned since the backends were told that all are delivered */
	bool ordered;           /* pp_reader_order() was called; for the rest: */
	uint64_t delay, passed; /* ns */
	uint64_t reached[BACKENDS_MAX]; /* ns */
	struct reorder held;
	uint64_t dropped;          /* the time of the earliest record that pp_reader_drop() left in the session */
	struct held_record *given; /* what the event refers to */
	struct wall wall;
	struct pp_event event;
	struct snapshot *snapshot; /* of a flight recorder; NULL: the reader takes records out of the session */
};

static int reader_open_source(struct pp_reader *reader, size_t backend)
{
	int err = backends[backend]->reader_open(reader->session, &reader->sources[backend]);

	if (err)
		return err;
	if (reader->limit)
		backends[backend]->reader_leave(reader->sources[backend]);
	return 0;
}

/* Opens the readers of backends that have a part of the session and no reader yet. *opened: how many are open. */
static int reader_open_sources(struct pp_reader *reader, size_t *opened)
{
	int err = 0;

	*opened = 0;
	for (size_t i = 0; i < nbackends && !err; i++) {
		if (!reader->sources[i] && reader->session->states[i])
			err = reader_open_source(reader, i);
		*opened += reader->sources[i] != NULL;
	}
	return err;
}

int pp_reader_open(struct pp_session *session, struct pp_reader **reader)
{
	struct pp_reader *r = calloc(1, sizeof(*r));
	size_t opened;
	int err;

	if (!r)
		return error_nomem();
	if (session_flight(session)) {
		free(r);
		return error_set(EOPNOTSUPP,
		                 "session '%s' is a flight recorder, whose records stay in memory; read them by "
		                 "probe-trace --snapshot",
		                 session->name);
	}
	r->session = session;
	r->timer = -1;
	r->dropped = UINT64_MAX;
	session_totals(session, &r->recorded, &r->lost);
	session->nreaders++;
	r->reopened = r->active = clock_ns();
	wall_sample(&r->wall);
	err = reader_open_sources(r, &opened);
	if (err || !opened) {
		pp_reader_free(r);
		return err ? err : error_set(ENOENT, "session '%s' has nothing armed to read from", session->name);
	}
	*reader = r;
	return 0;
}

int pp_reader_open_snapshot(struct pp_session *session, struct pp_reader **reader)
{
	struct pp_reader *r;
	int err;

	err = session_refresh(session);
	if (err)
		return err;
	if (!session_flight(session))
		return error_set(EOPNOTSUPP,
		                 "session '%s' is not a flight recorder; arm its probes with --flight-recorder",
		                 session->name);
	r = calloc(1, sizeof(*r));
	if (!r)
		return error_nomem();
	r->session = session;
	r->timer = -1;
	r->dropped = UINT64_MAX;
	session->nreaders++;
	session->nsnapshots++;
	wall_sample(&r->wall);
	err = snapshot_take(session, &r->snapshot);
	if (err) {
		session->nsnapshots--;
		pp_reader_free(r);
		return err;
	}
	r->damaged = snapshot_passed(r->snapshot);
	*reader = r;
	return 0;
}

int pp_reader_limit(struct pp_reader *reader, uint64_t count)
{
	if (!count || reader->ordered)
		return error_set(EINVAL, "a limit of records must be above 0, and their order that of the threads");
	reader->limit = count;
	for (size_t i = 0; i < nbackends; i++)
		if (reader->sources[i])
			backends[i]->reader_leave(reader->sources[i]);
	return 0;
}

void pp_reader_keep(struct pp_reader *reader)
{
	reader->keeps = true;
}

void pp_reader_done(struct pp_reader *reader)
{
	uint64_t until = reader->held.n ? reorder_time(&reader->held) : reader->dropped;

	reader->undone = 0;
	for (size_t i = 0; i < nbackends; i++)
		if (reader->sources[i])
			backends[i]->reader_done(reader->sources[i], until);
}

void pp_reader_free(struct pp_reader *reader)
{
	if (!reader)
		return;
	if (!reader->keeps)
		pp_reader_done(reader);
	reader->session->nsnapshots -= reader->snapshot != NULL;
	snapshot_free(reader->snapshot);
	for (size_t i = 0; i < nbackends; i++)
		if (reader->sources[i])
			backends[i]->reader_close(reader->sources[i]);
	if (reader->timer >= 0)
		close(reader->timer);
	reorder_release(&reader->held);
	free(reader->given);
	reader->session->nreaders--;
	free(reader);
}

int pp_reader_fd(struct pp_reader *reader)
{
	const struct itimerspec period = { .it_interval.tv_nsec = POLL_NS, .it_value.tv_nsec = POLL_NS };
	int fd;

	if (reader->timer >= 0)
		return reader->timer;
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (fd < 0)
		return error_set(errno, "cannot create a timer: %s", strerror(errno));
	timerfd_settime(fd, 0, &period, NULL);
	reader->timer = fd;
	return fd;
}

/* The caller of pp_reader_fd() has read all records, and may wait for the next expiration. */
static void reader_rearm(struct pp_reader *reader)
{
	uint64_t expirations;

	if (reader->timer >= 0 && read(reader->timer, &expirations, sizeof(expirations)) < 0)
		return; /* it has not expired yet */
}

static void reader_reopen(struct pp_reader *reader, uint64_t now)
{
	bool missing = false;
	size_t opened;

	for (size_t i = 0; i < nbackends; i++)
		missing |= !reader->sources[i];
	if (!missing || reader->stopped || now - reader->reopened < REOPEN_NS)
		return;
	reader->reopened = now;
	session_open_new_parts(reader->session);
	reader_open_sources(reader, &opened);
}

/* ---- in the order of the backends ---- */

/* Takes a record that is ready. Returns as pp_reader_next(); *backend: the one that the record comes from. */
static int reader_take_ready(struct pp_reader *r, const struct backend **backend, const struct record_thread **thread,
                             const struct record **record, size_t *size)
{
	for (size_t i = 0; i < nbackends; i++) {
		void *source = r->sources[r->turn];
		int n = source ? backends[r->turn]->reader_next(source, thread, record, size) : 0;

		*backend = backends[r->turn];
		if (n)
			return n;
		r->turn = (r->turn + 1) % nbackends;
	}
	return 0;
}

/* ---- in the order of time ---- */

int pp_reader_order(struct pp_reader *reader, int delay_ms)
{
	if (delay_ms < 0 || delay_ms > 60000)
		return error_set(EINVAL, "invalid delay of %d ms", delay_ms);
	if (reader->limit)
		return error_set(EINVAL, "a reader with a limit returns records in the order of the threads");
	reader->ordered = true;
	reader->delay = delay_ms * 1000000ull;
	return 0;
}

/* Moves a backend's records to the heap. Returns 0 or a negative errno. */
static int reader_hold(struct pp_reader *r, size_t backend, uint64_t now)
{
	const struct record_thread *thread;
	const struct record *record;
	size_t size;
	int n = 1;

	for (int i = 0; i < PASS_RECORDS && r->held.nbytes < HELD_MAX; i++) {
		n = backends[backend]->reader_next(r->sources[backend], &thread, &record, &size);
		if (n <= 0)
			break;
		if (reorder_add(&r->held, backends[backend], thread, record, size))
			return -ENOMEM;
		/* A record's time can be another process's data. */
		if (record->time > r->reached[backend] && record->time < now)
			r->reached[backend] = record->time;
	}
	if (!n)
		r->reached[backend] = now;
	return n < 0 ? n : 0;
}

/* Moves the records of all backends to the heap. Returns 0 or a negative errno. */
static int reader_pass_all(struct pp_reader *r, uint64_t now)
{
	int err = 0;

	r->passed = now;
	for (size_t i = 0; i < nbackends && !err; i++)
		if (r->sources[i])
			err = reader_hold(r, i, now);
	return err;
}

/* Returns the time up to which records are given out. */
static uint64_t reader_ripe_until(const struct pp_reader *r)
{
	uint64_t reached = UINT64_MAX;

	for (size_t i = 0; i < nbackends; i++)
		if (r->sources[i] && r->reached[i] < reached)
			reached = r->reached[i];
	/* No later record comes after the end of recording, if all rings are empty. */
	if (r->stopped && reached == r->passed)
		return UINT64_MAX;
	return reached > r->delay ? reached - r->delay : 0;
}

static bool reader_is_empty(const struct pp_reader *r)
{
	for (size_t i = 0; i < nbackends; i++)
		if (r->sources[i] && r->reached[i] != r->passed)
			return false;
	return true;
}

/* Returns whether a record can be passed on: no earlier one is expected, or the heap is full. */
static bool reader_is_ripe(const struct pp_reader *r)
{
	return r->held.n && (reorder_time(&r->held) <= reader_ripe_until(r) || r->held.nbytes >= HELD_MAX);
}

/* Does the same as reader_take_ready(), in the order of time. Returns 0 only if all rings are empty. */
static int reader_take_ordered(struct pp_reader *r, const struct backend **backend, const struct record_thread **thread,
                               const struct record **record, size_t *size)
{
	uint64_t now = clock_ns();

	if (now - r->passed >= PASS_NS || !reader_is_ripe(r)) {
		do {
			int err = reader_pass_all(r, now);

			if (err)
				return err;
			now = clock_ns();
		} while (!reader_is_ripe(r) && !reader_is_empty(r));
	}
	if (!reader_is_ripe(r))
		return 0;
	free(r->given);
	r->given = reorder_take(&r->held);
	*backend = r->given->backend;
	*thread = &r->given->thread;
	*record = (const struct record *)r->given->record;
	*size = r->given->size;
	return 1;
}

/* ---- both ---- */

/* Returns how long to wait until the next poll, in ns. */
static long reader_pause(struct pp_reader *r, uint64_t now)
{
	bool is_busy = r->found == BUSY_RECORDS;

	if (r->found)
		r->active = now;
	r->found = 0;
	return is_busy ? BUSY_NS : now - r->active < ACTIVE_FOR ? ACTIVE_NS : POLL_NS;
}

/* Returns as pp_reader_next(); *backend: the one that the record comes from. */
static int reader_take(struct pp_reader *r, int timeout_ms, const struct backend **backend,
                       const struct record_thread **thread, const struct record **record, size_t *size)
{
	uint64_t until = timeout_ms > 0 ? clock_ns() + timeout_ms * 1000000ull : 0;

	for (;;) {
		uint64_t now;
		int n = r->snapshot  ? snapshot_next(r->snapshot, backend, thread, record, size)
		        : r->ordered ? reader_take_ordered(r, backend, thread, record, size)
		                     : reader_take_ready(r, backend, thread, record, size);

		if (n || r->snapshot) {
			r->found += r->found < BUSY_RECORDS;
			return n;
		}
		now = clock_ns();
		reader_reopen(r, now);
		if (timeout_ms >= 0 && now >= until)
			return 0;
		if (nanosleep(&(struct timespec){ .tv_nsec = reader_pause(r, now) }, NULL) && errno == EINTR)
			return -EINTR;
	}
}

int pp_reader_next(struct pp_reader *reader, int timeout_ms, const struct pp_event **event)
{
	const struct attachment *attachment;
	const struct backend *backend = NULL;
	const struct record_thread *thread;
	const struct record *record;
	size_t size;
	int n;

	if (!reader->keeps && reader->undone >= UNDONE_MAX)
		pp_reader_done(reader);
	if (reader->limit && reader->returned >= reader->limit)
		return 0;
	n = reader_take(reader, timeout_ms, &backend, &thread, &record, &size);
	if (!n && !reader->keeps && reader->undone)
		pp_reader_done(reader);
	reader->undone += n > 0;
	reader->returned += n > 0;
	if (!n) {
		wall_sample(&reader->wall);
		reader_rearm(reader);
	}
	if (n == -EINTR)
		return error_set(EINTR, "interrupted by a signal");
	if (n <= 0)
		return n;
	attachment = session_attachment(reader->session, backend, thread->attachment);
	if (!attachment) {
		reader->damaged++;
		return error_set(EBADMSG, "a record names attachment %u, which has ended", thread->attachment);
	}
	n = event_set(&reader->event, attachment->manifest, thread, record, size);
	reader->damaged += n != 0;
	reader->event.thread.attachment = attachment_id(attachment);
	reader->event.wall = &reader->wall;
	*event = &reader->event;
	return n ? n : 1;
}

void pp_reader_stop(struct pp_reader *reader)
{
	for (size_t i = 0; i < nbackends && !reader->stopped; i++)
		if (reader->sources[i])
			backends[i]->reader_stop(reader->sources[i]);
	reader->stopped = true;
}

void pp_reader_lose(struct pp_reader *reader, const struct pp_mark *mark)
{
	session_lose(reader->session, mark);
}

void pp_reader_drop(struct pp_reader *reader)
{
	pp_reader_stop(reader);
	for (size_t i = 0; i < nbackends; i++)
		if (reader->sources[i])
			backends[i]->reader_drop(reader->sources[i]);
	if (reader->held.n)
		reader->dropped = reorder_time(&reader->held);
	while (reader->held.n) {
		struct held_record *held = reorder_take(&reader->held);
		const struct record *record = (const struct record *)held->record;

		if (!held->backend->reader_keeps(reader->sources[backend_index(held->backend)], &held->thread))
			session_lose(reader->session,
			             &(struct pp_mark){
					     .attachment = attachment_id_of(held->backend, held->thread.attachment),
					     .pid = (pid_t)held->thread.pid,
					     .point = record->point });
		free(held);
	}
}

int pp_reader_complete_since(struct pp_reader *reader, uint64_t *time, int64_t *time_of_day)
{
	*time = 0;
	*time_of_day = 0;
	if (!reader->snapshot)
		return error_set(EINVAL, "the reader does not read a snapshot");
	if (snapshot_since(reader->snapshot) == UINT64_MAX)
		return error_set(ENODATA, "records of processes that have ended may be missing");
	*time = snapshot_since(reader->snapshot);
	if (*time)
		*time_of_day = wall_time(&reader->wall, *time);
	return 0;
}

/* An attachment that ended took its counts with it, so that totals may be lower than before. */
static uint64_t total_since(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

void pp_reader_counts(struct pp_reader *reader, struct pp_record_counts *counts, size_t size)
{
	uint64_t recorded, lost, damaged = reader->damaged;

	for (size_t i = 0; i < nbackends; i++)
		if (reader->sources[i])
			damaged += backends[i]->reader_damaged(reader->sources[i]);
	if (reader->snapshot)
		recorded = snapshot_records(reader->snapshot), lost = 0;
	else
		session_totals(reader->session, &recorded, &lost);
	sized_copy(counts, size,
	           &(struct pp_record_counts){ .recorded = total_since(recorded, reader->recorded),
	                                       .lost = total_since(lost, reader->lost) + damaged,
	                                       .damaged = damaged },
	           sizeof(*counts));
}
