/* SPDX-License-Identifier: MIT */
/*
 * The counts of a session: what the regions of its target processes hold, and the files of processes that have ended. A
 * process that has ended left counts-N-PID, if it could write it. If it was killed, last-N-PID has what a controller
 * saw last. past-N-PID has what a process counted in regions that it has left.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/agent/counts-file.h"
#include "runtime/agent/keeper.h"
#include "runtime/agent/session.h"
#include "runtime/process.h"

#define REFRESH_NS 200000000u /* new processes are looked for at most this often */

typedef int counted_fn(pid_t pid, const struct agent_count *counts, void *arg);
typedef int counts_file_fn(const struct agent_counts *file, void *arg);

struct counts_walk {
	struct agent_loaded *loaded;
	const struct manifest *manifest;
	const char *name; /* of the files */
	counts_file_fn *fn;
	void *arg;
};

static bool session_maps(const struct agent_session *session, pid_t pid, uint64_t start_time)
{
	for (size_t i = 0; i < session->ntargets; i++) {
		const struct target_process *target = session->targets[i];

		if (!target->kept && !shm_is_claimed(&target->shm) && target->peer.pid == pid &&
		    target->peer.start_time == start_time)
			return true;
	}
	return false;
}

/* Whether last-N-PID counts: neither the region is mapped, nor has the process written counts-N-PID. */
static bool last_file_counts(const struct counts_walk *walk, const struct agent_counts *last)
{
	const struct agent_session *session = walk->loaded->session;
	struct agent_counts *own;
	bool counts;

	if (session_maps(session, (pid_t)last->pid, last->start_time))
		return false;
	own = counts_file_read(&session->dir, COUNTS_ENDED, walk->manifest, (pid_t)last->pid);
	counts = !own || own->start_time != last->start_time;
	free(own);
	return counts;
}

static int counts_walk_file(uint32_t number, pid_t pid, void *arg)
{
	const struct counts_walk *walk = arg;
	const struct agent_session *session = walk->loaded->session;
	struct agent_counts *c;
	bool counts;
	int err = 0;

	if (number != walk->manifest->attachment || !pid)
		return 0;
	c = counts_file_read(&session->dir, walk->name, walk->manifest, pid);
	if (!c)
		return 0;
	if (!strcmp(walk->name, COUNTS_PAST))
		counts = true;
	else if (!strcmp(walk->name, COUNTS_LAST))
		counts = last_file_counts(walk, c);
	else
		counts = !session_maps(session, pid, c->start_time);
	if (counts)
		err = walk->fn(c, walk->arg);
	free(c);
	return err;
}

/* Calls fn with all files of the attachment that count. */
static int counts_walk_files(struct counts_walk *walk)
{
	static const char *const names[] = { COUNTS_ENDED, COUNTS_LAST, COUNTS_PAST };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		int err;

		walk->name = names[i];
		err = agent_dir_each_file(&walk->loaded->session->dir, names[i], counts_walk_file, walk);
		if (err)
			return err;
	}
	return 0;
}

struct each_counts {
	counted_fn *fn;
	void *arg;
};

static int each_counts_file(const struct agent_counts *file, void *arg)
{
	const struct each_counts *each = arg;

	return each->fn((pid_t)file->pid, counts_of(file), each->arg);
}

int agent_session_each_counts(struct agent_loaded *loaded, const struct manifest *manifest, counted_fn *fn, void *arg)
{
	struct agent_session *session = loaded->session;
	struct each_counts each = { fn, arg };
	struct counts_walk walk = { .loaded = loaded, .manifest = manifest, .fn = each_counts_file, .arg = &each };
	struct agent_count *counts = calloc(manifest->npoints + 1, sizeof(*counts));
	int err = 0;

	if (!counts)
		return error_nomem();
	for (size_t i = 0; i < session->ntargets && !err; i++) {
		const struct target_process *target = session->targets[i];

		if (!target_counts(target))
			continue;
		memset(counts, 0, manifest->npoints * sizeof(*counts));
		shm_count(&target->shm, manifest->attachment, counts, manifest->npoints);
		err = fn(target->peer.pid, counts, arg);
	}
	free(counts);
	return err ? err : counts_walk_files(&walk);
}

static int loaded_add_counts(const struct agent_counts *file, void *arg)
{
	const struct agent_loaded *loaded = arg;

	counts_add(loaded->counts, counts_of(file), file->npoints);
	return 0;
}

/* Finds processes that have appeared or ended. */
static int session_look(struct agent_session *session)
{
	if (clock_ns() - session->refreshed <= REFRESH_NS)
		return 0;
	agent_keeper_settle(&session->dir);
	return agent_targets_refresh(session);
}

int agent_session_count(struct agent_loaded *loaded, const struct manifest *manifest)
{
	struct agent_session *session = loaded->session;
	struct counts_walk walk = { .loaded = loaded, .manifest = manifest, .fn = loaded_add_counts, .arg = loaded };
	int err = session_look(session);

	if (err)
		return err;
	memset(loaded->counts, 0, manifest->npoints * sizeof(*loaded->counts));
	for (size_t i = 0; i < session->ntargets; i++) {
		const struct target_process *target = session->targets[i];

		if (!target_counts(target))
			continue;
		shm_count(&target->shm, manifest->attachment, loaded->counts, manifest->npoints);
		/* A reader saves the counts after it has read the last records. */
		if (!session->reader && session->owner < 0)
			counts_file_save(&session->dir, &target->shm, target->peer.pid, target->peer.start_time,
			                 manifest, COUNTS_LAST);
	}
	err = counts_walk_files(&walk);
	loaded->counted = clock_ns();
	return err;
}

/* ---- aggregates ---- */

static int cells_add_file(const struct agent_counts *file, void *cells)
{
	return agent_cells_add_stored(cells, counts_cells(file), file->ncells);
}

int agent_session_cells(struct agent_loaded *loaded, struct agent_cells *cells)
{
	const struct agent_session *session = loaded->session;
	struct counts_walk walk = { .loaded = loaded, .manifest = cells->manifest, .fn = cells_add_file, .arg = cells };
	int err = session_look(loaded->session);

	for (size_t i = 0; i < session->ntargets && !err; i++)
		if (target_counts(session->targets[i]))
			err = agent_cells_add_shm(cells, &session->targets[i]->shm);
	return err ? err : counts_walk_files(&walk);
}

/* ---- processes that were not counted ---- */

struct uncounted {
	const struct agent_session *session;
	size_t n;
};

static int uncounted_add(uint32_t number, pid_t pid, void *arg)
{
	struct uncounted *u = arg;
	const struct agent_child *child;
	void *bytes = NULL;
	size_t size;

	if (agent_dir_read(&u->session->dir, "unkept", number, pid, sizeof(*child), &bytes, &size))
		return 0;
	child = bytes;
	/* A process that has ended still counts if its region is mapped here. */
	if (size == sizeof(*child) && child->magic == AGENT_CHILD_MAGIC &&
	    process_start_time(pid) != child->start_time &&
	    !session_maps(u->session, (pid_t)child->pid, child->start_time))
		u->n++;
	free(bytes);
	return 0;
}

size_t agent_session_uncounted(const struct agent_session *session)
{
	struct uncounted u = { session, 0 };

	agent_dir_each_file(&session->dir, "unkept", uncounted_add, &u);
	return u.n;
}
