/* SPDX-License-Identifier: MIT */
/*
 * The counts of a session: what the regions of its target processes hold, and the files of processes that have ended. A
 * process that has ended left counts-N-PID-REGION, if it could write it. If it was killed, last-N-PID-START has what a
 * controller saw last. past-N-PID-START has what a process counted in regions that it has left.
 */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/error.h"
#include "runtime/agent/counts-file.h"
#include "runtime/agent/keeper.h"
#include "runtime/agent/session.h"
#include "runtime/process.h"

#define REFRESH_NS 200000000u /* new processes are looked for at most this often */

typedef int counted_fn(pid_t pid, const struct agent_count *counts, void *arg);
typedef int counts_file_fn(const struct agent_counts *file, void *arg);

/* A process whose counts were written when it ended. */
struct ended_process {
	pid_t pid;
	uint64_t start_time, region;
};

struct counts_walk {
	struct agent_loaded *loaded;
	const struct manifest *manifest;
	const char *name; /* of the files */
	counts_file_fn *fn;
	void *arg;
	struct ended_process *ended; /* those whose files were walked */
	size_t nended, ended_room;
};

/* Whether counts of the target are those of its region here, and not those of a file. */
static bool target_is_mapped(const struct target_process *target, pid_t pid, uint64_t start_time)
{
	return !target->kept && !shm_is_claimed(&target->shm) && target->peer.pid == pid &&
	       target->peer.start_time == start_time;
}

static bool session_maps(const struct agent_session *session, pid_t pid, uint64_t start_time)
{
	for (size_t i = 0; i < session->ntargets; i++)
		if (target_is_mapped(session->targets[i], pid, start_time))
			return true;
	return false;
}

/*
 * Whether counts-N-PID-REGION counts: its region is not mapped, and no other file counts it. The process and the keeper both write
 * one if they know the process by other pids, because they are in different pid namespaces. Notes its process. Returns 1, 0 or
 * -ENOMEM.
 */
static int ended_file_counts(struct counts_walk *walk, const struct agent_counts *file, uint64_t region)
{
	const struct agent_session *session = walk->loaded->session;
	int err = ALLOC_GROW(walk->ended, walk->nended + 1, walk->ended_room);

	if (err)
		return err;
	for (size_t i = 0; i < walk->nended; i++)
		if (walk->ended[i].region == region && walk->ended[i].start_time == file->start_time)
			return 0;
	walk->ended[walk->nended++] = (struct ended_process){ (pid_t)file->pid, file->start_time, region };
	for (size_t i = 0; i < session->ntargets; i++)
		if (target_is_mapped(session->targets[i], session->targets[i]->peer.pid, file->start_time) &&
		    shm_id(&session->targets[i]->shm) == region)
			return 0;
	return 1;
}

/* Whether last-N-PID-START counts: neither is a region of the process mapped, nor was counts-N-PID-REGION written. */
static bool last_file_counts(const struct counts_walk *walk, const struct agent_counts *last)
{
	for (size_t i = 0; i < walk->nended; i++)
		if (walk->ended[i].pid == (pid_t)last->pid && walk->ended[i].start_time == last->start_time)
			return false;
	return !session_maps(walk->loaded->session, (pid_t)last->pid, last->start_time);
}

static int counts_walk_file(const struct agent_file_id *id, void *arg)
{
	struct counts_walk *walk = arg;
	struct agent_counts *c;
	int counts = 1;

	if (id->number != walk->manifest->attachment || !id->pid)
		return 0;
	c = counts_file_read(&walk->loaded->session->dir, walk->name, walk->manifest, *id);
	if (!c)
		return 0;
	if (!strcmp(walk->name, COUNTS_LAST))
		counts = last_file_counts(walk, c);
	else if (!strcmp(walk->name, COUNTS_ENDED))
		counts = ended_file_counts(walk, c, id->id);
	if (counts > 0)
		counts = walk->fn(c, walk->arg);
	free(c);
	return counts;
}

/* Calls fn with all files of the attachment that count. */
static int counts_walk_files(struct counts_walk *walk)
{
	static const char *const names[] = { COUNTS_ENDED, COUNTS_LAST, COUNTS_PAST };
	int err = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && !err; i++) {
		walk->name = names[i];
		err = agent_dir_each_file(&walk->loaded->session->dir, names[i], counts_walk_file, walk);
	}
	free(walk->ended);
	walk->ended = NULL;
	walk->nended = walk->ended_room = 0;
	return err;
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

static int uncounted_add(const struct agent_file_id *id, void *arg)
{
	struct uncounted *u = arg;
	const struct agent_child *child;
	void *bytes = NULL;
	size_t size;

	if (agent_dir_read(&u->session->dir, "unkept", *id, sizeof(*child), &bytes, &size))
		return 0;
	child = bytes;
	/* A process that has ended still counts if its region is mapped here. */
	if (size == sizeof(*child) && child->magic == AGENT_CHILD_MAGIC &&
	    process_start_time(id->pid) != child->start_time &&
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
