/* SPDX-License-Identifier: MIT */
/*
 * Reads the records of a session's processes in the order of their times.
 *
 *  1. Each thread has a ring. A pass moves the complete records of all rings to queues in this process (rings.c,
 *     record-queue.c), so that the rings have room again however slow the output is.
 *  2. The queues are merged by time. A thread may lose the CPU between reading the clock and writing the record, so
 *     records are held back a little longer than that usually takes. If it takes longer still, a record comes late, but
 *     never with wrong contents.
 *  3. Records of a process that has ended, and all records if the caller asks for it (agent_reader_leave()), stay in their rings
 *     until they are delivered (agent_reader_done()), so that another reader finds them if this one ends before.
 *  4. The reader moves record_until of each region ahead while it reads, so that a reader that is killed stops the
 *     recording.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/notice.h"
#include "runtime/agent/counts-file.h"
#include "runtime/agent/keeper.h"
#include "runtime/agent/record-clock.h"
#include "runtime/agent/record-queue.h"
#include "runtime/agent/rings.h"
#include "runtime/agent/session.h"

#define RECORD_NS 2000000000ull /* recording continues for so long after record_until was last moved */
#define LATE_NS 2000000ull      /* a record that comes at most this late is still put in order */
#define REFRESH_NS 200000000ull /* processes are looked for at least this often */
#define PASS_NS 400000ull       /* passes are made this often while records are taken ... */
#define QUEUED_MAX (32u << 20)  /* ... unless so many bytes are queued */
#define PAUSE_NS 1000000        /* between passes that find nothing */
#define KEPT_MAX \
	(32u << 20) /* delivered records of ended processes are waited for while they have fewer bytes than this */
#define KEPT_TARGET (128u << 10) /* a process counts as so many bytes in addition, because the keeper holds few */
#define CLOCK_RECORDS 64 /* the clock is read once for so many records, because that takes as long as a record */

/* Records that were read and then lost, of a process whose counts are in a file. */
struct reader_loss {
	pid_t pid;
	uint32_t attachment;
	uint64_t *points; /* how many of each point; owned */
};

struct agent_reader {
	struct agent_session *session;
	int lock;                      /* descriptor that holds the lock of the session's reader file */
	uint64_t extended;             /* ns: when record_until was last moved */
	uint64_t passed;               /* ns: the last pass */
	unsigned given;                /* records that were given out since the clock was read */
	struct timespec socket_change; /* mtime of the agents' directory */
	struct record_clock clock;
	struct record_merge merge;
	uint64_t ordered_until; /* ns: no earlier record than this will come */
	uint64_t ndamaged;      /* records that were skipped, except those that rings_unread() counts */
	bool is_damaged;        /* a ring holds invalid data, and pp_reader_next() has not reported it yet */
	bool stopped;
	bool leaves;       /* agent_reader_leave() was called */
	uint32_t nregions; /* regions that were read so far */
	bool is_given;     /* the caller has the first record of the merge; the next call removes it */
	struct reader_loss *losses;
	size_t nlosses, losses_room;
};

/* ---- recording ---- */

/* Sets record_until of a region: ns of CLOCK_MONOTONIC, or 0. */
static void target_record_until(const struct agent_reader *r, const struct target_process *target, uint64_t until)
{
	uint64_t *at = &target->shm.header->record_until;
	uint64_t was = __atomic_load_n(at, __ATOMIC_ACQUIRE);
	bool ends = r->stopped && r->session->session->is_private;
	uint64_t will = until ? record_clock_from_ns(&r->clock, &target->shm, until) : ends ? AGENT_RECORD_ENDED : 0;

	/* The agent may set AGENT_RECORD_ALWAYS meanwhile. Only the end of a private session ends that. */
	while ((was != AGENT_RECORD_ALWAYS || ends) &&
	       !__atomic_compare_exchange_n(at, &was, will, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
		;
}

static void reader_extend_recording(struct agent_reader *r, uint64_t now)
{
	if (r->stopped || now - r->extended < RECORD_NS / 8)
		return;
	r->extended = now;
	for (size_t i = 0; i < r->session->ntargets; i++)
		target_record_until(r, r->session->targets[i], now + RECORD_NS);
}

/* ---- passes ---- */

/* Refreshes the target processes, at once if there is a new socket, because its process may wait for the reader. */
static int reader_refresh(struct agent_reader *r, uint64_t now)
{
	struct timespec changed = { 0, 0 };
	struct stat st;

	if (r->session->dir.agents >= 0 && !fstat(r->session->dir.agents, &st))
		changed = st.st_mtim;
	if (now - r->session->refreshed < REFRESH_NS && changed.tv_sec == r->socket_change.tv_sec &&
	    changed.tv_nsec == r->socket_change.tv_nsec)
		return 0;
	r->socket_change = changed;
	return agent_targets_refresh(r->session);
}

/* Returns how much the rings of ended processes hold that was read and not delivered. */
static uint64_t reader_kept_bytes(const struct agent_reader *r)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < r->session->ntargets; i++) {
		const struct target_process *target = r->session->targets[i];
		uint64_t bytes = target->gone && target->rings ? rings_kept_bytes(target->rings) : 0;

		sum += bytes ? bytes + KEPT_TARGET : 0;
	}
	return sum;
}

/* Drains the rings of all processes. Stores whether a process is alive and how many rings had records. */
static int reader_drain(struct agent_reader *r, bool *alive, size_t *nactive)
{
	struct agent_session *session = r->session;
	struct rings_pass pass = { .clock = &r->clock, .merge = &r->merge };
	uint64_t kept = reader_kept_bytes(r);
	int err = 0;

	*alive = false;
	for (size_t i = 0; i < session->ntargets && !err; i++) {
		struct target_process *target = session->targets[i];

		pass.now = r->passed = clock_ns();
		if (!target_is_current(session, target))
			target->gone = true;
		else if (target->rings) {
			pass.ended = target->gone;
			pass.leave = r->leaves || (pass.ended && kept < KEPT_MAX);
			err = rings_drain(target->rings, &pass);
			target->drained = pass.ended;
		}
		*alive |= !target->gone;
	}
	*nactive = pass.nactive;
	r->ndamaged += pass.ndamaged;
	r->is_damaged |= pass.is_damaged;
	return err;
}

static int reader_pass(struct agent_reader *r)
{
	uint64_t before = clock_ns();
	size_t nactive;
	bool alive;
	int err;

	reader_extend_recording(r, before);
	err = reader_refresh(r, before);
	if (err)
		return err;
	record_clock_update(&r->clock);
	err = reader_drain(r, &alive, &nactive);
	r->passed = clock_ns();
	record_merge_sort(&r->merge);
	/* The records of a single ring are in order. */
	r->ordered_until = !alive || (r->merge.nheap <= 1 && nactive <= 1) ? ~0ull : before - LATE_NS;
	return err;
}

/* Removes the record that the caller has, if any. */
static void reader_remove_given(struct agent_reader *r)
{
	if (r->is_given)
		record_merge_pop(&r->merge);
	r->is_given = false;
}

static bool reader_has_ordered(const struct agent_reader *r)
{
	const struct queued_record *q = record_merge_first(&r->merge);

	return q && q->time <= r->ordered_until;
}

/* Waits until a record can be given out. Returns 1, 0 if no record waits, or a negative errno. */
static int reader_wait(struct agent_reader *r)
{
	for (;;) {
		int err;

		if (r->is_damaged) {
			r->is_damaged = false;
			return error_set(EBADMSG, "session '%s': a ring holds invalid data", r->session->name);
		}
		if (reader_has_ordered(r))
			return 1;
		err = reader_pass(r);
		if (err)
			return err;
		if (r->is_damaged || reader_has_ordered(r))
			continue;
		/* Records that are held back are given out before the reader reports that no record waits. */
		if (!r->merge.nheap)
			return 0;
		if (nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS / 4 }, NULL) && errno == EINTR)
			return -EINTR;
	}
}

int agent_reader_next(void *reader, const struct record_thread **thread, const struct record **record, size_t *size)
{
	struct agent_reader *r = reader;
	const struct queued_record *q;
	int got;

	reader_remove_given(r);
	if (r->given++ == CLOCK_RECORDS || !reader_has_ordered(r)) {
		r->given = 0;
		if (r->merge.nbytes < QUEUED_MAX && clock_ns() - r->passed > PASS_NS) {
			int err = reader_pass(r);

			if (err)
				return err;
		}
	}
	for (;;) {
		got = reader_wait(r);
		if (got <= 0)
			return got;
		if (rings_return(r->merge.heap[0]))
			break;
		record_merge_pop(&r->merge);
	}
	q = record_merge_first(&r->merge);
	r->is_given = true;
	*thread = &q->thread;
	*record = (const struct record *)q->record;
	*size = q->size;
	return 1;
}

/* ---- target processes ---- */

/* Returns the rings of the region that the process has left for this one; NULL: none. */
static const struct rings *target_earlier_rings(const struct agent_session *session,
                                                const struct target_process *target)
{
	for (size_t i = session->ntargets; i-- > 0;) {
		const struct target_process *other = session->targets[i];

		if (other != target && other->peer.pid == target->peer.pid &&
		    other->peer.start_time == target->peer.start_time && other->rings && shm_has_moved(&other->shm))
			return other->rings;
	}
	return NULL;
}

static int reader_add_target(struct agent_session *session, struct target_process *target)
{
	struct agent_reader *r = session->reader;
	int err = rings_new(&target->shm, target->peer.pid, target_earlier_rings(session, target), ++r->nregions,
	                    &target->rings);

	if (err)
		return err;
	target_record_until(r, target, r->stopped ? 0 : clock_ns() + RECORD_NS);
	return 0;
}

/* The rings of a process are read once more after the reader knows that it is gone, and their records are delivered. */
static bool reader_is_done(struct agent_session *session, struct target_process *target)
{
	if (target->rings && target_is_current(session, target) && !target->drained)
		return false;
	if (target->rings && rings_are_queued(target->rings))
		return false;
	if (target->rings && rings_kept_bytes(target->rings) && target_is_current(session, target))
		return false;
	if (target->rings)
		rings_pass_over(target->rings);
	return true;
}

static void reader_remove_target(struct agent_session *session, struct target_process *target)
{
	if (!target->rings)
		return;
	session->reader->ndamaged += rings_unread(target->rings);
	rings_free(target->rings);
	target->rings = NULL;
}

static const struct target_observer reader_observer = {
	.add = reader_add_target,
	.is_done = reader_is_done,
	.remove = reader_remove_target,
};

/* ---- the reader ---- */

/* Locks the session's reader file. Returns a descriptor or a negative errno. */
static int reader_lock_session(const struct agent_session *session)
{
	int lock;

	/* An agent that starts takes the lock for a moment to see whether a reader holds it. */
	for (int try = 0; (lock = agent_dir_hold_file(&session->dir, "reader")) == -EWOULDBLOCK && try < 10; try++)
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
	if (lock == -EWOULDBLOCK)
		return error_set(EBUSY, "session '%s' already has a reader: only one can read its records",
		                 session->session->name);
	return lock;
}

/* The file has a byte while a reader reads. Adds a notice if an earlier reader was killed. */
static void reader_mark_begin(const struct agent_reader *r)
{
	struct stat st;

	if (!fstat(r->lock, &st) && st.st_size)
		notice_add(
			"an earlier reader of the session was killed: records of processes that run may be missing, others may be "
			"shown again");
	else if (pwrite(r->lock, "1", 1, 0) < 0) {
	} /* then there is no notice */
}

static void reader_mark_end(const struct agent_reader *r)
{
	if (ftruncate(r->lock, 0)) {} /* then there is a notice too many */
}

int agent_reader_open(struct pp_session *session, void **reader)
{
	struct agent_session *s = agent_of(session);
	struct agent_reader *r = calloc(1, sizeof(*r));
	int err = 0;

	if (!r)
		return error_nomem();
	r->session = s;
	r->lock = reader_lock_session(s);
	if (r->lock < 0) {
		err = r->lock;
		free(r);
		return err;
	}
	reader_mark_begin(r);
	record_clock_open(&r->clock);
	agent_keeper_settle_records(&s->dir);
	s->refreshed = s->kept_next = 0;
	s->reader = r;
	s->observer = &reader_observer;
	for (size_t i = 0; i < s->ntargets && !err; i++)
		err = reader_add_target(s, s->targets[i]);
	if (!err)
		err = reader_refresh(r, clock_ns());
	if (err)
		agent_reader_close(r);
	else
		*reader = r;
	return err;
}

/* ---- records that are lost after they were read ---- */

/* Notes a record of a process whose counts are in a file. Returns false without memory. */
static bool reader_lose(struct agent_reader *r, const struct attachment *attachment, uint32_t point, pid_t pid)
{
	size_t i = 0;

	while (i < r->nlosses && (r->losses[i].pid != pid || r->losses[i].attachment != attachment->number))
		i++;
	if (i == r->nlosses) {
		uint64_t *points = calloc(attachment->manifest->npoints + (size_t)1, sizeof(*points));

		if (!points || ALLOC_GROW(r->losses, r->nlosses + 1, r->losses_room)) {
			free(points);
			return false;
		}
		r->losses[r->nlosses++] = (struct reader_loss){ pid, attachment->number, points };
	}
	r->losses[i].points[point]++;
	return true;
}

/* Moves what was noted from recorded to lost. */
static void reader_save_losses(struct agent_reader *r)
{
	const struct agent_dir *dir = &r->session->dir;

	for (size_t i = 0; i < r->nlosses; i++) {
		const struct reader_loss *loss = &r->losses[i];
		struct agent_file file;

		if (!agent_file_read(dir, loss->attachment, &file)) {
			counts_files_lose(dir, file.manifest, loss->pid, loss->points);
			agent_file_release(&file);
		}
		free(loss->points);
	}
	free(r->losses);
	r->losses = NULL;
	r->nlosses = r->losses_room = 0;
}

void agent_reader_close(void *reader)
{
	struct agent_reader *r = reader;
	struct agent_session *session = r->session;

	for (size_t i = 0; i < session->ntargets; i++) {
		target_record_until(r, session->targets[i], 0);
		reader_remove_target(session, session->targets[i]);
	}
	reader_save_losses(r);
	session->reader = NULL;
	session->observer = NULL;
	reader_mark_end(r);
	close(r->lock);
	record_merge_release(&r->merge);
	free(r);
}

void agent_reader_stop(void *reader)
{
	struct agent_reader *r = reader;

	r->stopped = true;
	for (size_t i = 0; i < r->session->ntargets; i++)
		target_record_until(r, r->session->targets[i], 0);
	/* The next pass gets what processes have left that ended just now. */
	agent_keeper_settle(&r->session->dir);
	r->session->refreshed = 0;
}

void agent_reader_drop(void *reader)
{
	struct agent_reader *r = reader;
	struct pp_session *session = r->session->session;

	reader_remove_given(r);
	for (record_merge_sort(&r->merge); r->merge.nheap; record_merge_pop(&r->merge)) {
		const struct queued_record *q = record_merge_first(&r->merge);

		if (!rings_queue_is_kept(r->merge.heap[0]))
			session_lose(session, &(struct pp_mark){ .attachment = attachment_id_of(&backend_agent,
			                                                                        q->thread.attachment),
			                                         .pid = (pid_t)q->thread.pid,
			                                         .point = ((const struct record *)q->record)->point });
	}
}

void agent_reader_leave(void *reader)
{
	struct agent_reader *r = reader;

	r->leaves = true;
}

void agent_reader_done(void *reader, uint64_t until)
{
	struct agent_reader *r = reader;

	for (size_t i = 0; i < r->session->ntargets; i++) {
		const struct target_process *target = r->session->targets[i];

		if (target->rings && target_is_current(r->session, target))
			rings_done(target->rings, until);
	}
}

bool agent_reader_keeps(void *reader, const struct record_thread *thread)
{
	const struct agent_reader *r = reader;

	for (size_t i = 0; i < r->session->ntargets && thread->kept; i++) {
		const struct target_process *target = r->session->targets[i];

		if (target->rings && rings_number(target->rings) == thread->kept)
			return rings_kept_bytes(target->rings) && target_is_current(r->session, target);
	}
	return false;
}

uint64_t agent_reader_damaged(void *reader)
{
	struct agent_reader *r = reader;
	const struct pp_session *session = r->session->session;
	uint64_t ndamaged = r->ndamaged;

	reader_save_losses(r);
	/* Makes the next call for counts read them again. */
	for (size_t i = 0; i < session->nattachments; i++)
		if (session->attachments[i]->backend == &backend_agent)
			agent_loaded(session->attachments[i])->counted = 0;
	for (size_t i = 0; i < r->session->ntargets; i++)
		if (r->session->targets[i]->rings)
			ndamaged += rings_unread(r->session->targets[i]->rings);
	return ndamaged;
}

/*
 * The counts of a process that has ended are in a file, and here those of its region as long as it is mapped. Returns false if there
 * are neither.
 */
bool agent_lose(const struct attachment *attachment, uint32_t point, pid_t pid)
{
	struct agent_loaded *loaded = agent_loaded(attachment);
	const struct agent_session *session = loaded->session;

	for (size_t i = 0; i < session->ntargets; i++) {
		const struct target_process *target = session->targets[i];

		if (target->peer.pid != pid || target->kept || !target_is_current(session, target) ||
		    !shm_lose(&target->shm, attachment->number, point))
			continue;
		loaded->counted = 0;
		if (!target->gone)
			return true;
		break;
	}
	return session->reader && point < attachment->manifest->npoints &&
	       reader_lose(session->reader, attachment, point, pid);
}
