/* SPDX-License-Identifier: MIT */
/* The agent backend: arming, disarming and counts. session.c says how a session is kept. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/agent/counts-file.h"
#include "runtime/agent/keeper.h"
#include "runtime/agent/reach.h"
#include "runtime/agent/session.h"
#include "runtime/agent/snapshot.h"
#include "runtime/function.h"

#define COUNTS_AGE_NS 50000000u /* counts that were read at most this long ago are not read again */

/* ---- arming ---- */

/* Refuses an attachment that differs from the session's others in overwriting: rings belong to a session. */
static int check_overwrite(const struct pp_session *session, bool overwrite)
{
	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];
		bool before;

		if (attachment->backend != &backend_agent || !agent_loaded(attachment))
			continue;
		before = agent_loaded(attachment)->file.attachment->flags & AGENT_ATTACHMENT_OVERWRITE;
		if (before != overwrite)
			return error_set(
				EEXIST,
				"session '%s' was begun %s --overwrite, which applies to the whole session; use "
				"another session (-s)",
				session->name, before ? "with" : "without");
	}
	return 0;
}

/*
 * Sets *size to that of the session's rings, which later attachments must agree with. wanted: 0 for that of the session, or the
 * default.
 */
static int session_ring_size(const struct pp_session *session, size_t wanted, uint32_t *size)
{
	*size = (uint32_t)wanted;
	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];
		uint32_t has;

		if (attachment->backend != &backend_agent || !agent_loaded(attachment))
			continue;
		has = agent_loaded(attachment)->file.attachment->ring_size;
		if (wanted && has != wanted && has)
			return error_set(
				EEXIST,
				"session '%s' has buffers of %u bytes for each thread, which applies to the whole "
				"session; use another session (-s)",
				session->name, has);
		if (wanted && !has)
			return error_set(EEXIST,
			                 "session '%s' has buffers of the default size, which applies to the whole "
			                 "session; use another session (-s)",
			                 session->name);
		*size = has;
	}
	return 0;
}

static uint32_t attachment_flags(const struct arm_options *options)
{
	uint32_t flags = 0;

	if (options->scope->kind == SCOPE_CHILDREN)
		flags |= AGENT_ATTACHMENT_CHILDREN;
	if (options->record)
		flags |= AGENT_ATTACHMENT_RECORD;
	if (options->overwrite)
		flags |= AGENT_ATTACHMENT_OVERWRITE;
	if (options->calls)
		flags |= AGENT_ATTACHMENT_CALLS;
	return flags;
}

/* Makes the attachment's file and writes it. From then on processes that start are armed. */
static int loaded_write(struct pp_session *session, struct agent_loaded *loaded, const struct manifest *manifest,
                        const struct arm_options *options, struct arm_point *const *points, size_t npoints)
{
	const struct agent_dir *dir = &loaded->session->dir;
	uint32_t ring_size;
	int err = session_ring_size(session, options->buffer, &ring_size);

	if (!err)
		err = agent_file_make(&loaded->file, manifest, attachment_flags(options), options, ring_size, points,
		                      npoints);
	if (err)
		return err;
	if (session_interrupted(session))
		return error_set(EINTR, "interrupted");
	if (!session->is_private) {
		err = agent_dir_mark(dir);
		if (err)
			return err;
	}
	err = agent_file_write(dir, &loaded->file);
	if (err)
		agent_dir_unmark(dir);
	return err;
}

/* Wakes the agents of the attachment's processes, which may have fallen asleep since the request was checked. */
static void loaded_wake(const struct agent_loaded *loaded)
{
	const struct agent_process *processes = agent_file_processes(&loaded->file);
	struct agent_peer peer;

	for (uint32_t i = 0; i < loaded->file.attachment->nprocesses; i++)
		if (!agent_wake_and_connect(&loaded->session->dir, (pid_t)processes[i].pid, &peer))
			agent_disconnect(&peer);
}

/* Makes the agents arm what was written. */
static int loaded_arm(const struct agent_loaded *loaded, const struct manifest *manifest, bool keep)
{
	struct agent_session *s = loaded->session;
	int err;

	if (keep)
		agent_keeper_start(&s->dir);
	err = agent_session_find_pids(s);
	agent_sleepers_free(&s->sleepers);
	/* Agents that sleep do not know of the session. */
	if (!err)
		err = manifest_has_global_point(manifest) ? agent_wake_all(&s->dir, &s->sleepers) : 0;
	loaded_wake(loaded);
	agent_session_rescan(s, loaded);
	agent_dir_unmark(&s->dir);
	return err;
}

static int agent_arm(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
                     size_t npoints, const struct arm_options *options)
{
	struct agent_session *s = agent_of(session);
	struct agent_loaded *loaded;
	int err = check_overwrite(session, options->overwrite);

	for (size_t i = 0; i < options->scope->npids && options->flight && !err; i++)
		err = agent_flight_check(options->scope->pids[i], options->flight);
	if (err)
		return err;
	if (agent_session_refuse_points(s, points, npoints) == npoints)
		return error_set(-points[0]->error, "%s",
		                 points[0]->reason ? points[0]->reason : strerror(-points[0]->error));
	err = agent_dir_next_number(&s->dir, &attachment->number);
	if (err)
		return err;
	attachment->manifest->attachment = attachment->number;
	loaded = agent_loaded_new(s, attachment->manifest->npoints);
	if (!loaded)
		return error_nomem();
	err = loaded_write(session, loaded, attachment->manifest, options, points, npoints);
	if (err) {
		agent_loaded_free(loaded);
		return err;
	}
	attachment->state = loaded;
	/* A private session that records has a reader, which holds the regions. */
	return loaded_arm(loaded, attachment->manifest, !session->is_private || !options->record);
}

/* ---- disarming ---- */

struct counts_unlink {
	const struct agent_dir *dir;
	const char *name;
	uint32_t number;
};

static int counts_unlink_one(const struct agent_file_id *id, void *arg)
{
	const struct counts_unlink *f = arg;

	if (id->number == f->number)
		agent_dir_unlink(f->dir, f->name, *id);
	return 0;
}

static void counts_unlink_all(const struct agent_dir *dir, uint32_t number)
{
	static const char *const names[] = { COUNTS_ENDED, COUNTS_LAST, COUNTS_PAST };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		agent_dir_each_file(dir, names[i], counts_unlink_one, &(struct counts_unlink){ dir, names[i], number });
}

static int agent_disarm(struct pp_session *session, struct attachment *attachment, const bool *take, bool all)
{
	struct agent_session *s = agent_of(session);
	struct agent_loaded *loaded = agent_loaded(attachment);
	int err = session->is_private ? 0 : agent_dir_mark(&s->dir);

	if (err)
		return err;
	for (uint32_t i = 0; i < attachment->manifest->npoints; i++)
		if (all || take[i])
			loaded->file.on[i] = 0;
	if (all)
		agent_dir_unlink(&s->dir, "segment", (struct agent_file_id){ attachment->number, 0, 0 });
	else
		err = agent_file_write(&s->dir, &loaded->file);
	if (!err)
		agent_session_rescan(s, loaded);
	agent_dir_unmark(&s->dir);
	if (err)
		return err;
	if (all)
		counts_unlink_all(&s->dir, attachment->number);
	return 0;
}

/* ---- counts ---- */

static uint64_t count_hits(const struct agent_count *c)
{
	return c->filtered + c->unsampled + c->idle + c->recorded + c->lost;
}

struct hits_report {
	const struct manifest *manifest;
	int (*fn)(uint32_t point, pid_t pid, uint64_t hits, void *arg);
	void *arg;
};

static int report_hits(pid_t pid, const struct agent_count *counts, void *arg)
{
	const struct hits_report *r = arg;
	int err = 0;

	for (uint32_t i = 0; i < r->manifest->npoints && !err; i++) {
		uint64_t hits = count_hits(&counts[i]);

		if (hits && manifest_point_role(&manifest_points(r->manifest)[i]) != SITE_CALL &&
		    !manifest_points(r->manifest)[i].pid)
			err = r->fn(i, pid, hits, r->arg);
	}
	return err;
}

static int agent_processes(const struct attachment *attachment,
                           int (*fn)(uint32_t point, pid_t pid, uint64_t hits, void *arg), void *arg)
{
	return agent_session_each_counts(agent_loaded(attachment), attachment->manifest, report_hits,
	                                 &(struct hits_report){ attachment->manifest, fn, arg });
}

static uint64_t agent_start_time(const struct attachment *attachment, uint32_t pid)
{
	const struct agent_file *file = &agent_loaded(attachment)->file;
	const struct agent_process *processes = agent_file_processes(file);

	for (uint32_t i = 0; i < file->attachment->nprocesses; i++)
		if (processes[i].pid == pid)
			return processes[i].start_time;
	return 0;
}

static bool agent_armed(const struct attachment *attachment, uint32_t point)
{
	return agent_loaded(attachment)->file.on[point] == 1;
}

static uint32_t agent_foreign_namespace(const struct attachment *attachment)
{
	uint32_t own = agent_pid_namespace(), theirs = agent_loaded(attachment)->file.attachment->pid_namespace;

	return own && theirs != own ? theirs : 0;
}

static void agent_counts(const struct attachment *attachment, uint32_t point, struct pp_counts *counts)
{
	struct agent_loaded *loaded = agent_loaded(attachment);
	const struct agent_count *c = &loaded->counts[point];

	if (!loaded->counted || clock_ns() - loaded->counted > COUNTS_AGE_NS)
		agent_session_count(loaded, attachment->manifest);
	if (manifest_point_role(&manifest_points(attachment->manifest)[point]) == SITE_CALL) {
		*counts = (struct pp_counts){ .entries = c->recorded + c->lost,
			                      .missed = c->lost,
			                      .abandoned = c->filtered,
			                      .under_way = c->recorded - c->filtered };
		return;
	}
	*counts = (struct pp_counts){ .hits = count_hits(c),
		                      .filtered = c->filtered,
		                      .unsampled = c->unsampled,
		                      .idle = c->idle,
		                      .recorded = c->recorded,
		                      .lost = c->lost,
		                      .unmatched = c->unmatched };
	/* The calls that this point ends are not in flight any more. The sum over all points of the call is 0 or more. */
	if (manifest_point_role(&manifest_points(attachment->manifest)[point]) == SITE_LEAVE)
		counts->under_way = -counts->hits;
}

/* A file layout-N-PID. */
struct layout_search {
	uint32_t number;
	pid_t pid; /* 0: not found */
};

static int layout_note(const struct agent_file_id *id, void *arg)
{
	struct layout_search *search = arg;

	if (id->number == search->number)
		search->pid = id->pid;
	return search->pid != 0;
}

/* A process that has no file has the code of a process of the same image, which it was forked from or has forked. */
static int agent_layout_load(const struct attachment *attachment, pid_t pid, uint64_t exec, char **text)
{
	const struct agent_dir *dir = &agent_loaded(attachment)->session->dir;
	struct layout_search search = { layout_number(exec), 0 };
	char wanted[48];
	size_t size;
	void *bytes;
	int err = agent_dir_read(dir, "layout", (struct agent_file_id){ search.number, pid, 0 }, 2 * LAYOUT_SIZE_MAX,
	                         &bytes, &size);

	*text = NULL;
	if (err == -ENOENT) {
		agent_dir_each_file(dir, "layout", layout_note, &search);
		err = search.pid ? agent_dir_read(dir, "layout", (struct agent_file_id){ search.number, search.pid, 0 },
		                                  2 * LAYOUT_SIZE_MAX, &bytes, &size)
		                 : -ENOENT;
	}
	if (err)
		return err == -ENOMEM ? err : 0;
	*text = strndup(bytes, size);
	free(bytes);
	if (!*text)
		return error_nomem();
	snprintf(wanted, sizeof(wanted), LAYOUT_EXEC "%" PRIu64 "\n", exec);
	if (strncmp(*text, wanted, strlen(wanted))) { /* another image of the process, or damaged */
		free(*text);
		*text = NULL;
	}
	return 0;
}

static void agent_layout_store(const struct attachment *attachment, pid_t pid, uint64_t exec, const char *text)
{
	bool has_head = !strncmp(text, LAYOUT_EXEC, strlen(LAYOUT_EXEC));
	char *whole;
	int n = has_head ? asprintf(&whole, "%s", text) : asprintf(&whole, LAYOUT_EXEC "%" PRIu64 "\n%s", exec, text);

	if (n < 0)
		return;
	agent_dir_write(&agent_loaded(attachment)->session->dir, "layout",
	                (struct agent_file_id){ layout_number(exec), pid, 0 }, whole, (size_t)n);
	free(whole);
}

static int agent_aggregates(const struct attachment *attachment, agg_cell_fn *cell, agg_misfit_fn *misfit, void *arg)
{
	struct agent_cells cells;
	int err;

	if (!attachment->manifest->ngroups)
		return 0;
	err = agent_cells_init(&cells, attachment->manifest);
	if (err)
		return err;
	err = agent_session_cells(agent_loaded(attachment), &cells);
	if (!err)
		err = agent_cells_each(&cells, cell, misfit, arg);
	agent_cells_release(&cells);
	return err;
}

static size_t agent_uncounted(struct pp_session *session)
{
	return agent_session_uncounted(agent_of(session));
}

const struct backend backend_agent = {
	.name = "agent",
	.open = agent_open,
	.close = agent_close,
	.lock = agent_lock,
	.unlock = agent_unlock,
	.remove = agent_remove,
	.names = agent_names,
	.permitted = backend_always_permitted,
	.usable = agent_usable,
	.foresee = agent_foresee,
	.takes = agent_takes,
	.semaphore_key = backend_semaphore_offset,
	.check = agent_check,
	.arm = agent_arm,
	.readback = agent_readback,
	.verify = agent_readback,
	.disarm = agent_disarm,
	.release = agent_release,
	.hold = backend_holds_nothing,
	.cost = backend_cost_unknown,
	.trap_ns = backend_trap_is_cheap,
	.over_budget = backend_never_over_budget,
	.stopped = backend_never_stopped,
	.watch = backend_watches_nothing,
	.limit = backend_has_no_limit,
	.unlimit = backend_unlimits_nothing,
	.armed = agent_armed,
	.counts = agent_counts,
	.processes = agent_processes,
	.aggregates = agent_aggregates,
	.layout_load = agent_layout_load,
	.layout_store = agent_layout_store,
	.start_time = agent_start_time,
	.pid_namespace = agent_foreign_namespace,
	.uncounted = agent_uncounted,
	.record = backend_records_with_reader,
	.reader_open = agent_reader_open,
	.reader_next = agent_reader_next,
	.reader_close = agent_reader_close,
	.reader_stop = agent_reader_stop,
	.reader_drop = agent_reader_drop,
	.reader_leave = agent_reader_leave,
	.reader_done = agent_reader_done,
	.reader_keeps = agent_reader_keeps,
	.reader_damaged = agent_reader_damaged,
	.lose = agent_lose,
	.flight = agent_flight,
	.snapshot = agent_snapshot,
	.held = agent_held,
};
