/* SPDX-License-Identifier: MIT */
/*
 * The controller's half of the agent backend. What is armed is what the session's
 * files say; agents are only told to look at them. So whatever command is killed at
 * whatever moment, the files are whole, and a process that starts later reads the
 * same. While files have changed and agents have not been told there is a mark, so
 * the next command that opens the session tells them. A session's folder goes when
 * nothing is armed in it any more.
 *
 * A private session is a folder as well, whose owner holds a lock on it. The
 * folder of one that was killed is found without the lock by the next command, and
 * taken down.
 */
#include <elf.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/agent/keeper.h"
#include "runtime/agent/session.h"
#include "runtime/agent/wake.h"
#include "runtime/agent/inproc/cpu.h"
#include "base/clock.h"
#include "runtime/function.h"
#include "runtime/process.h"
#include "runtime/request.h"
#include "base/error.h"
#include "sdt/image.h"

#ifdef __aarch64__
#define OWN_MACHINE EM_AARCH64
#else
#define OWN_MACHINE EM_X86_64
#endif
#define COUNTS_AGE_NS 50000000u /* counts that were read this shortly before are given again */

static void loaded_free(struct agent_loaded *loaded)
{
	if (!loaded)
		return;
	agent_file_release(&loaded->file);
	free(loaded->counts);
	free(loaded);
}

static struct manifest *manifest_copy(const struct manifest *from, uint32_t number)
{
	struct manifest *d = malloc((from->size + 7) & ~7ull);

	if (d) {
		memcpy(d, from, from->size);
		d->attachment = number;
	}
	return d;
}

static int load_attachment(uint32_t number, pid_t pid, void *arg)
{
	struct pp_session *session = arg;
	struct agent_loaded *loaded;
	struct manifest *d = NULL;
	int err = 0;

	if (pid)
		return 0;
	loaded = calloc(1, sizeof(*loaded));
	if (!loaded)
		return error_nomem();
	loaded->session = agent_of(session);
	err = agent_file_read(&loaded->session->store, number, &loaded->file);
	if (!err) {
		loaded->counts = calloc(loaded->file.manifest->npoints + 1, sizeof(*loaded->counts));
		d = manifest_copy(loaded->file.manifest, number);
		if (!loaded->counts || !d || !session_add_attachment(session, &backend_agent, number, d, loaded))
			err = error_nomem();
	}
	if (err) {
		loaded_free(loaded);
		free(d);
	}
	return err;
}

/* Whom an attachment concerns, so that others are left in peace: adds their pids. 1: everybody. */
static int add_pids(const struct agent_loaded *loaded, pid_t **pids, size_t *n)
{
	const struct agent_attachment *s = loaded->file.attachment;
	const struct agent_process *processes = (const struct agent_process *)((const char *)s + s->processes_at);
	const struct manifest *d = loaded->file.manifest;
	pid_t *more;

	if (s->flags & AGENT_ATTACHMENT_CHILDREN)
		return 1;
	for (uint32_t i = 0; i < d->npoints; i++)
		if (!manifest_points(d)[i].pid)
			return 1;
	more = realloc(*pids, (*n + s->nprocesses + 1) * sizeof(*more));
	if (!more)
		return error_nomem();
	*pids = more;
	for (uint32_t i = 0; i < s->nprocesses; i++)
		more[(*n)++] = (pid_t)processes[i].pid;
	return 0;
}

/* The same of all attachments; no pids: everybody. */
static int find_pids(struct pp_session *session)
{
	struct agent_session *k = agent_of(session);
	int err = 0;

	free(k->pids);
	k->pids = NULL;
	k->npids = 0;
	for (size_t i = 0; i < session->nattachments && !err; i++)
		if (session->attachments[i]->backend == &backend_agent && agent_loaded(session->attachments[i]))
			err = add_pids(agent_loaded(session->attachments[i]), &k->pids, &k->npids);
	if (err)
		k->npids = 0;
	return err < 0 ? err : 0;
}

/* Under the lock. */
static int load(struct pp_session *session)
{
	struct agent_session *k = agent_of(session);
	int err;

	/* A command was killed between changing files and saying so. */
	if (agent_store_marked(&k->store)) {
		agent_look_all(&k->store, k->name, NULL, 0);
		agent_store_tidy(&k->store);
		agent_store_unmark(&k->store);
	}
	session_forget_attachments(session, &backend_agent);
	err = agent_store_each(&agent_of(session)->store, "segment", load_attachment, session);
	return err ? err : find_pids(session);
}

/* ---- sessions ---- */

static int unlink_attachment(uint32_t number, pid_t pid, void *arg)
{
	if (!pid)
		agent_store_unlink(arg, "segment", number, 0);
	return 0;
}

/* Without its folder a session is nobody's, so nothing may be armed in it by then. */
static int end_session(struct agent_store *store, const char *name, const pid_t *pids, size_t npids)
{
	int err;

	agent_store_each(store, "segment", unlink_attachment, store);
	agent_look_all(store, name, pids, npids);
	err = agent_store_remove(store);
	/* Then agents forget it. */
	if (!err)
		agent_look_all(store, name, pids, npids);
	return err;
}

static void take_down(const char *name)
{
	struct agent_store store;

	if (agent_store_open(&store, name, false))
		return;
	end_session(&store, name, NULL, 0);
	agent_store_close(&store);
}

static int orphan(const char *name, void *arg)
{
	(void)arg;
	take_down(name);
	return 0;
}

static void agent_close(struct pp_session *session)
{
	struct agent_session *k = agent_of(session);

	if (!k)
		return;
	session_forget_attachments(session, &backend_agent);
	members_release(k);
	if (k->owner >= 0) {
		end_session(&k->store, k->name, k->pids, k->npids);
		close(k->owner);
	}
	agent_store_close(&k->store);
	agent_sleepers_free(&k->sleepers);
	free(k->pids);
	free(k);
	session_set_state(session, &backend_agent, NULL);
}

/* Nobody takes it for an orphan: it gets its name when it is locked. */
static int open_private(struct agent_session *k)
{
	static unsigned made;
	char hidden[AGENT_SESSION_MAX + 2];
	int err;

	for (int try = 0; try < 1000; try++) {
		snprintf(k->name, sizeof(k->name), "private-%d-%u", getpid(), made++);
		snprintf(hidden, sizeof(hidden), ".%s", k->name);
		err = agent_store_open(&k->store, hidden, true);
		if (err)
			return err;
		k->owner = agent_store_hold(&k->store, "private");
		if (k->owner < 0)
			return error_set(-k->owner, "%s: %s", k->store.path, strerror(-k->owner));
		if (!agent_store_rename(&k->store, k->name))
			return 0;
		/* One of an earlier process with our number that was killed. */
		agent_store_remove(&k->store);
		close(k->owner);
		k->owner = -1;
		agent_store_close(&k->store);
	}
	return error_set(EEXIST, "cannot make a private session beside %s", k->name);
}

static int agent_open(struct pp_session *session, bool create)
{
	struct agent_session *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return error_nomem();
	*k = (struct agent_session){ .session = session, .store = { -1, -1, -1, "" }, .owner = -1 };
	agent_store_orphans(orphan, NULL);
	session_set_state(session, &backend_agent, k);
	if (session->is_private) {
		err = open_private(k);
	} else {
		snprintf(k->name, sizeof(k->name), "%s", session->name);
		err = agent_store_open(&k->store, session->name, create);
		if (!err)
			err = agent_store_lock(&k->store, session->hasty);
		if (!err) {
			err = load(session);
			/* Nothing in it: a command was killed before it armed, or after it disarmed. */
			if (!err && !create && !session_has_attachments(session, &backend_agent))
				err = end_session(&k->store, k->name, NULL, 0) ? 0 : -ENOENT;
			agent_store_unlock(&k->store);
		}
	}
	if (err)
		agent_close(session);
	return err;
}

static int agent_lock(struct pp_session *session)
{
	struct agent_session *k = agent_of(session);
	int err;

	if (session->is_private)
		return 0;
	err = agent_store_lock(&k->store, session->hasty);
	if (!err && (err = load(session)))
		agent_store_unlock(&k->store);
	return err;
}

static void agent_unlock(struct pp_session *session)
{
	if (!session->is_private)
		agent_store_unlock(&agent_of(session)->store);
}

static int agent_remove(struct pp_session *session)
{
	struct agent_session *k = agent_of(session);

	return end_session(&k->store, k->name, k->pids, k->npids);
}

static int agent_names(int (*fn)(const char *name, void *arg), void *arg)
{
	agent_store_orphans(orphan, NULL);
	return agent_store_names(fn, arg);
}

/* ---- who can be armed ---- */

static int any_answers(pid_t pid, uint64_t key, void *arg)
{
	struct agent_peer peer;

	(void)key;
	if (agent_connect(arg, pid, &peer))
		return 0;
	agent_disconnect(&peer);
	return 1;
}

static int any_mapped(pid_t pid, void *unused)
{
	(void)pid, (void)unused;
	return 1;
}

/* Agents are found, and asked, by their own user. */
static int no_agent(pid_t pid)
{
	char path[32];
	struct stat st;
	struct passwd *user;

	const char *other = agent_other_namespace(pid);

	if (other)
		return error_set(ENOENT,
		                 "process %d is in another %s namespace (a container), and %s: agents there answer to "
		                 "commands in the same container, so run this one inside, or use -b kernel",
		                 pid, other, agent_is_loaded(pid) ? "has an agent" : "has no agent");
	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (stat(path, &st) || st.st_uid == geteuid())
		return error_set(ENOENT,
		                 "process %d has no agent: load it by --inject, or start the process by -b agent "
		                 "-- COMMAND or with the agent in LD_PRELOAD",
		                 pid);
	user = getpwuid(st.st_uid);
	return error_set(EPERM, "process %d belongs to user '%s' (%u): its agent answers to commands of that user", pid,
	                 user ? user->pw_name : "?", st.st_uid);
}

/* 0, or why its points cannot be armed. any: -b kernel would do. */
static int process_usable(const struct agent_store *store, const struct process *process, bool any)
{
	struct agent_peer peer;
	int err;

	if (process->is_command)
		return any ? error_set(EOPNOTSUPP, "a command has no agent before it runs") : 0;
	err = agent_connect_new(store, process->pid, &peer);
	if (err == -ENOENT)
		return no_agent(process->pid);
	if (err)
		return err;
	agent_disconnect(&peer);
	if (peer.reason && any)
		return error_set(EOPNOTSUPP, "process %d: %s", process->pid, agent_reason_text(peer.reason, NULL));
	return 0;
}

static bool site_is_nop(const struct pp_site *site)
{
	static const uint8_t nop[SITE_NOP] = SITE_NOP_BYTES;

	return !memcmp(site->code + SITE_AT, nop, SITE_NOP);
}

static bool site_is_armable(const struct pp_site *site)
{
	/* Where two bytes do not lie in one block of 8, the jump cannot be begun. */
	return site->probe->image->is_64 && site->role == SITE_HIT && site_is_nop(site) &&
	       (!SITE_AT || (site->address + SITE_AT) % 8 != 7);
}

static bool agent_takes(const struct pp_site *site)
{
	return site_is_armable(site) && !site->semaphore_in_bss;
}

static int agent_usable(const struct pp_request *request, bool any)
{
	struct agent_store store = { -1, -1, -1, "" };
	size_t good = 0;
	bool create = !any;
	int err = 0, trouble = 0;

	if (request->scope == SCOPE_PGRP || request->scope == SCOPE_CGROUP)
		return error_set(EOPNOTSUPP, "the agent knows no process groups and control groups: -b kernel does");
	if (request->hold)
		return error_set(EOPNOTSUPP, "the agent arms nothing that ends with its command: -b kernel does");
	for (size_t i = 0; i < request->npatterns; i++)
		if (function_name(request->patterns[i]))
			return error_set(EOPNOTSUPP, "the agent arms probes, not functions as '%s': -b kernel does",
			                 request->patterns[i]);
	/* An agent that has just begun may be about to make it. */
	for (size_t i = 0; i < request->nprocesses && !create; i++)
		create = !request->processes[i]->is_command && agent_is_loaded(request->processes[i]->pid);
	if (agent_store_open(&store, NULL, create))
		return -ENOENT;
	/* Who may use the kernel reaches every process by it, with an agent or not. */
	if (!request->nprocesses && any &&
	    (backend_later_permitted(&backend_agent) ||
	     (!agent_each(&store, any_answers, &store) && !agent_each_mapped(any_mapped, NULL))))
		err = error_set(ENOENT, "no process has an agent");
	for (size_t i = 0; i < request->nprocesses && (!any || !trouble); i++) {
		int bad = process_usable(&store, request->processes[i], any);

		good += !bad;
		trouble = bad ? bad : trouble;
	}
	agent_store_close(&store);
	return err ? err : trouble && (any || !good) ? trouble : 0;
}

/* ---- arming ---- */

static void look(const struct agent_session *k, const struct agent_loaded *loaded)
{
	pid_t *pids = NULL;
	size_t n = 0;
	int everybody = add_pids(loaded, &pids, &n);

	agent_look_all(&k->store, k->name, pids, everybody ? 0 : n);
	free(pids);
}

/* 0, or why no agent can have it, whatever the process. */
static int point_usable(const struct arm_point *point)
{
	const struct pp_image *image = point->image;

	if (point->site->role != SITE_HIT)
		return error_set(EOPNOTSUPP, "the agent arms probes, not calls of functions: -b kernel does");
	/* A process that runs has the last word on its own memory. */
	if ((!point->process || point->process->is_command) && image->machine == OWN_MACHINE && image->is_64 &&
	    !site_is_armable(point->site))
		return error_set(EOPNOTSUPP, "%s",
		                 agent_reason_text(site_is_nop(point->site) ? AGENT_BLOCK : AGENT_BYTES,
		                                   point->site->code + SITE_AT));
	if (image->machine != OWN_MACHINE || !image->is_64)
		return error_set(EOPNOTSUPP,
		                 "'%s' is of another kind than the agent, which can be in no process that runs it: "
		                 "-b kernel may do",
		                 image->path);
	return 0;
}

/* Points that no agent can have, or of a process without one. */
static size_t refuse_strangers(const struct agent_session *k, struct arm_point *const *points, size_t npoints)
{
	const struct process *process = NULL;
	size_t refused = 0;
	int trouble = 0;

	for (size_t i = 0; i < npoints; i++) {
		int err = point_usable(points[i]);

		if (points[i]->process && points[i]->process != process && !err)
			trouble = process_usable(&k->store, process = points[i]->process, false);
		if (err)
			process = NULL; /* its sentence is gone, and it is asked anew */
		else if (points[i]->process)
			err = trouble;
		if (!err)
			continue;
		points[i]->error = err;
		free(points[i]->reason);
		points[i]->reason = strdup(pp_error());
		refused++;
	}
	return refused;
}

static int agent_check(struct pp_session *session, struct arm_point *const *points, size_t npoints)
{
	(void)session;
	for (size_t i = 0; i < npoints; i++)
		if (points[i]->site->semaphore_in_bss)
			arm_point_refuse(
				points[i], -EOPNOTSUPP,
				error_format("its semaphore, at %#llx, is in .bss, where the agent cannot raise "
			                     "it: use -b kernel",
			                     (unsigned long long)points[i]->site->semaphore));
	return 0;
}

/* Rings are a session's, and do the one or the other. */
static int check_overwrite(const struct pp_session *session, bool overwrite)
{
	for (size_t i = 0; i < session->nattachments; i++) {
		const struct agent_loaded *loaded = agent_loaded(session->attachments[i]);
		bool agents = session->attachments[i]->backend == &backend_agent && loaded;
		bool overwrites = agents && loaded->file.attachment->flags & AGENT_ATTACHMENT_OVERWRITE;

		if (agents && overwrites != overwrite)
			return error_set(
				EEXIST,
				"session '%s' was begun %s --overwrite, which holds for all of it: use another (-s)",
				session->name, overwrites ? "with" : "without");
	}
	return 0;
}

static bool is_everybodys(const struct manifest *d)
{
	for (uint32_t i = 0; i < d->npoints; i++)
		if (!manifest_points(d)[i].pid)
			return true;
	return false;
}

static int agent_arm(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
                     size_t npoints, const struct arm_options *options)
{
	struct agent_session *k = agent_of(session);
	struct agent_loaded *loaded = calloc(1, sizeof(*loaded));
	uint32_t flags = 0;
	int err = loaded ? 0 : error_nomem();

	if (options->scope->kind == SCOPE_CHILDREN)
		flags |= AGENT_ATTACHMENT_CHILDREN;
	if (options->record || session->is_private)
		flags |= AGENT_ATTACHMENT_RECORD;
	if (options->overwrite)
		flags |= AGENT_ATTACHMENT_OVERWRITE;
	if (options->calls)
		flags |= AGENT_ATTACHMENT_CALLS;
	if (!err)
		err = check_overwrite(session, options->overwrite);
	if (!err && refuse_strangers(k, points, npoints) == npoints)
		err = error_set(-points[0]->error, "%s",
		                points[0]->reason ? points[0]->reason : strerror(-points[0]->error));
	if (!err)
		err = agent_store_number(&k->store, &attachment->number);
	if (!err) {
		attachment->manifest->attachment = attachment->number;
		loaded->session = k;
		loaded->counts = calloc(attachment->manifest->npoints + 1, sizeof(*loaded->counts));
		err = loaded->counts ? agent_file_make(&loaded->file, attachment->manifest, flags, points, npoints)
		                     : error_nomem();
	}
	if (!err && session_interrupted(session))
		err = error_set(EINTR, "interrupted");
	if (!err && !session->is_private)
		err = agent_store_mark(&k->store);
	if (!err)
		err = agent_file_write(&k->store, &loaded->file);
	if (err) {
		agent_store_unmark(&k->store);
		loaded_free(loaded);
		return err;
	}
	attachment->state = loaded;
	if (!session->is_private)
		agent_keeper_start(&k->store);
	err = find_pids(session);
	/* Those that sleep know of nothing that they could arm. */
	agent_sleepers_free(&k->sleepers);
	if (!err && is_everybodys(attachment->manifest))
		err = agent_wake_all(&k->store, &k->sleepers);
	look(k, loaded);
	agent_store_unmark(&k->store);
	return err;
}

struct forget {
	const struct agent_store *store;
	const char *name;
	uint32_t number;
};

static int forget(uint32_t number, pid_t pid, void *arg)
{
	const struct forget *f = arg;

	if (number == f->number)
		agent_store_unlink(f->store, f->name, number, pid);
	return 0;
}

static void forget_counts(const struct agent_store *store, uint32_t number)
{
	static const char *const names[] = { "counts", "last", "past" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		agent_store_each(store, names[i], forget, &(struct forget){ store, names[i], number });
}

static int agent_disarm(struct pp_session *session, struct attachment *attachment, const bool *take, bool all)
{
	struct agent_session *k = agent_of(session);
	struct agent_loaded *loaded = agent_loaded(attachment);
	int err = session->is_private ? 0 : agent_store_mark(&k->store);

	if (err)
		return err;
	for (uint32_t i = 0; i < attachment->manifest->npoints; i++)
		if (all || take[i])
			loaded->file.on[i] = 0;
	if (all)
		agent_store_unlink(&k->store, "segment", attachment->number, 0);
	else
		err = agent_file_write(&k->store, &loaded->file);
	if (!err)
		look(k, loaded);
	agent_store_unmark(&k->store);
	if (err)
		return err;
	if (all)
		forget_counts(&k->store, attachment->number);
	return 0;
}

static void agent_release(struct attachment *attachment)
{
	loaded_free(attachment->state);
	attachment->state = NULL;
}

struct telling {
	const struct manifest *manifest;
	int (*fn)(uint32_t point, pid_t pid, uint64_t hits, void *arg);
	void *arg;
};

static int tell_process(pid_t pid, const struct agent_count *counts, void *arg)
{
	const struct telling *t = arg;
	int err = 0;

	for (uint32_t i = 0; i < t->manifest->npoints && !err; i++) {
		uint64_t hits = counts[i].filtered + counts[i].idle + counts[i].recorded + counts[i].lost;

		if (hits && !manifest_points(t->manifest)[i].pid)
			err = t->fn(i, pid, hits, t->arg);
	}
	return err;
}

static int agent_processes(const struct attachment *attachment,
                           int (*fn)(uint32_t point, pid_t pid, uint64_t hits, void *arg), void *arg)
{
	return members_each(agent_loaded(attachment), attachment->manifest, tell_process,
	                    &(struct telling){ attachment->manifest, fn, arg });
}

static uint64_t agent_start_time(const struct attachment *attachment, uint32_t pid)
{
	const struct agent_attachment *s = agent_loaded(attachment)->file.attachment;
	const struct agent_process *processes = (const struct agent_process *)((const char *)s + s->processes_at);

	for (uint32_t i = 0; i < s->nprocesses; i++)
		if (processes[i].pid == pid)
			return processes[i].start_time;
	return 0;
}

static bool agent_armed(const struct attachment *attachment, uint32_t point)
{
	return agent_loaded(attachment)->file.on[point] == 1;
}

static void agent_counts(const struct attachment *attachment, uint32_t point, struct pp_counts *counts)
{
	struct agent_loaded *loaded = agent_loaded(attachment);
	const struct agent_count *c = &loaded->counts[point];

	if (!loaded->counted || clock_ns() - loaded->counted > COUNTS_AGE_NS)
		members_count(loaded, attachment->manifest);
	*counts = (struct pp_counts){ .hits = c->filtered + c->idle + c->recorded + c->lost,
		                      .filtered = c->filtered,
		                      .idle = c->idle,
		                      .recorded = c->recorded,
		                      .lost = c->lost };
}

struct unkept {
	const struct agent_session *session;
	size_t n;
};

/* One whose shared memory region is mapped here counts, though it has ended. */
static bool is_mapped(const struct agent_session *k, const struct agent_child *child)
{
	for (size_t i = 0; i < k->nmembers; i++)
		if ((uint32_t)k->members[i]->peer.pid == child->pid &&
		    k->members[i]->peer.start_time == child->start_time)
			return true;
	return false;
}

static int count_unkept(uint32_t number, pid_t pid, void *arg)
{
	struct unkept *u = arg;
	void *bytes = NULL;
	size_t size;

	if (agent_store_read(&u->session->store, "unkept", number, pid, sizeof(struct agent_child), &bytes, &size))
		return 0;
	if (size == sizeof(struct agent_child)) {
		const struct agent_child *child = bytes;

		u->n += child->magic == AGENT_CHILD_MAGIC && process_start_time(pid) != child->start_time &&
		        !is_mapped(u->session, child);
	}
	free(bytes);
	return 0;
}

static size_t agent_uncounted(struct pp_session *session)
{
	struct unkept u = { agent_of(session), 0 };

	agent_store_each(&u.session->store, "unkept", count_unkept, &u);
	return u.n;
}

int pp_agent_inject(pid_t pid, const char *library)
{
	return agent_inject(pid, library);
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
	.start_time = agent_start_time,
	.uncounted = agent_uncounted,
	.record = backend_records_with_reader,
	.reader_open = agent_reader_open,
	.reader_next = agent_reader_next,
	.reader_close = agent_reader_close,
	.reader_stop = agent_reader_stop,
	.reader_drop = agent_reader_drop,
	.reader_damaged = agent_reader_damaged,
	.lose = agent_lose,
};
