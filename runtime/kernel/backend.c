/* SPDX-License-Identifier: MIT */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/request.h"
#include "runtime/kernel/overhead.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/semaphore.h"
#include "runtime/kernel/verify.h"
#include "base/error.h"

static bool there(const struct store *store, const char *name, uint32_t attachment, size_t link)
{
	return !access(store_path(store, name, (int)attachment, (int)link), F_OK);
}

/* -ENOENT: it is not whole. */
static int load_attachment(struct pp_session *session, struct manifest *d)
{
	struct kernel_session *k = kernel_of(session);
	struct kernel_attachment *s = calloc(1, sizeof(*s));
	int err = s ? 0 : error_nomem();

	if (!err) {
		s->session = k;
		s->counts_fd = s->switch_fd = s->processes_fd = s->raised_fd = -1;
		s->members.map = s->members.fork_link = s->members.exit_link = -1;
		s->calls = CALLS_NONE;
		s->hold_fd = -1;
		err = kernel_hold_find(s, (int)d->attachment);
	}
	if (!err)
		err = kernel_attachment_maps_get(s, d->attachment, d->npoints);
	if (!err) {
		err = calls_get(&s->calls, &k->store, (int)d->attachment, d->npoints);
	}
	for (uint32_t i = 0; i < d->npoints && !err; i++)
		if (manifest_points(d)[i].link >= s->nlinks && manifest_points(d)[i].link < d->npoints)
			s->nlinks = manifest_points(d)[i].link + 1;
	if (!err && !(s->links = calloc(s->nlinks + 1, sizeof(*s->links))))
		err = error_nomem();
	for (size_t i = 0; !err && i < s->nlinks; i++) {
		s->links[i].fd = s->links[i].prog_fd = -1;
		if (s->held)
			continue;
		s->links[i].dead = !there(&k->store, "prog", d->attachment, i);
		bool even = there(&k->store, link_sides[0], d->attachment, i),
		     odd = there(&k->store, link_sides[1], d->attachment, i);

		/* Where both are there, one was to take over when its maker was killed. */
		s->links[i].side = even && odd ? s->change->overlap == 1 : odd;
		if (s->links[i].dead) {
			store_unlink(&k->store, link_sides[0], (int)d->attachment, (int)i);
			store_unlink(&k->store, link_sides[1], (int)d->attachment, (int)i);
		} else if (!even && !odd) {
			err = -ENOENT;
		}
	}
	if (!err && !session_add_attachment(session, &backend_kernel, d->attachment, d, s))
		err = error_nomem();
	if (err)
		kernel_attachment_close(s);
	return err;
}

struct scan {
	struct pp_session *session;
	uint32_t *numbers;
	size_t n;
	int remove;
};

static int remove_attachment(const char *name, int attachment, int link, void *arg)
{
	struct scan *scan = arg;

	if (attachment == scan->remove && !strcmp(name, "raised"))
		kernel_raised_lower_left(&kernel_of(scan->session)->store, attachment);
	if (attachment == scan->remove)
		store_unlink(&kernel_of(scan->session)->store, name, attachment, link);
	return 0;
}

static int note_desc(const char *name, int attachment, int link, void *arg)
{
	struct scan *scan = arg;
	uint32_t *more;

	(void)link;
	if (strcmp(name, "desc") || attachment < 0)
		return 0;
	more = realloc(scan->numbers, (scan->n + 1) * sizeof(*more));
	if (!more)
		return error_nomem();
	scan->numbers = more;
	more[scan->n++] = attachment;
	return 0;
}

/* What has no description was left by a command that was killed. */
static int remove_unfinished(const char *name, int attachment, int link, void *arg)
{
	struct scan *scan = arg;

	if (attachment < 0)
		return 0;
	for (size_t i = 0; i < scan->n; i++)
		if (scan->numbers[i] == (uint32_t)attachment)
			return 0;
	if (!strcmp(name, "raised"))
		kernel_raised_lower_left(&kernel_of(scan->session)->store, attachment);
	store_unlink(&kernel_of(scan->session)->store, name, attachment, link);
	return 0;
}

static int compare_numbers(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Under the lock. */
static int load(struct pp_session *session)
{
	struct kernel_session *k = kernel_of(session);
	struct scan scan = { .session = session };
	int err;

	session_forget_attachments(session, &backend_kernel);
	err = store_each(&k->store, note_desc, &scan);
	if (!err)
		err = store_each(&k->store, remove_unfinished, &scan);
	if (scan.n)
		qsort(scan.numbers, scan.n, sizeof(*scan.numbers), compare_numbers);
	for (size_t i = 0; i < scan.n && !err; i++) {
		struct manifest *d = NULL;

		err = kernel_desc_get(k, scan.numbers[i], &d);
		if (!err && (err = load_attachment(session, d)))
			free(d);
		if (err == -ENOENT) {
			scan.remove = (int)scan.numbers[i];
			err = store_each(&k->store, remove_attachment, &scan);
			continue;
		}
		if (!err)
			err = kernel_repair(session->attachments[session->nattachments - 1]);
	}
	free(scan.numbers);
	return err;
}

static void kernel_close(struct pp_session *session)
{
	struct kernel_session *k = kernel_of(session);

	if (!k)
		return;
	session_forget_attachments(session, &backend_kernel);
	kernel_maps_close(k);
	kernel_signals_restore(k);
	store_close(&k->store);
	free(k);
	session_set_state(session, &backend_kernel, NULL);
}

static int kernel_open(struct pp_session *session, bool create)
{
	struct kernel_session *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return error_nomem();
	k->store.root = k->store.dir = -1;
	k->config_fd = k->ring_fd = k->mark_fd = k->scratch_fd = -1;
	session_set_state(session, &backend_kernel, k);
	if (session->is_private) {
		err = kernel_maps_create(k);
		if (err)
			kernel_close(session);
		return err;
	}
	err = store_open(&k->store, session->name, create);
	if (!err)
		err = store_lock(&k->store, session->hasty);
	if (!err) {
		err = kernel_maps_get(k);
		if (err == -ENOENT && create) {
			/* New, or what a killed command began: begin anew. */
			store_unlink(&k->store, "ring", -1, -1);
			store_unlink(&k->store, "mark", -1, -1);
			store_unlink(&k->store, "scratch", -1, -1);
			err = kernel_maps_create(k);
			if (err)
				store_remove(&k->store);
		} else if (err == -ENOENT) {
			store_remove(&k->store); /* its maker was killed */
		}
		/* The folder of one that was killed before it had made anything in it. */
		if (err == -ENOENT && !create && k->config_fd < 0)
			store_remove(&k->store);
		if (!err)
			err = load(session);
		/* Nothing in it: a command was killed before it armed, or after it disarmed. */
		if (!err && !create && !session->nattachments && !store_remove(&k->store))
			err = -ENOENT;
		store_unlock(&k->store);
		/* The folder is ours to read: what is not, in it, is a foreign thing. */
		if (err == -EACCES)
			err = -EBADMSG;
	}
	if (err)
		kernel_close(session);
	return err;
}

static int kernel_lock(struct pp_session *session)
{
	struct kernel_session *k = kernel_of(session);
	int err;

	if (session->is_private)
		return 0;
	err = store_lock(&k->store, session->hasty);
	if (!err && (err = load(session)))
		store_unlock(&k->store);
	return err;
}

static void kernel_unlock(struct pp_session *session)
{
	store_unlock(&kernel_of(session)->store);
}

static int kernel_remove(struct pp_session *session)
{
	return store_remove(&kernel_of(session)->store);
}

/* PROC_USER_INIT_INO and PROC_PID_INIT_INO of linux/proc_ns.h */
#define USER_INIT_INO 0xeffffffdu
#define PID_INIT_INO 0xeffffffcu

/* True also if there is no such file. */
static bool is_first_namespace(const char *path, ino_t first)
{
	struct stat st;

	return stat(path, &st) || st.st_ino == first;
}

static bool kernel_permitted(void)
{
	unsigned long long caps = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "CapEff: %llx", &caps);
	if (f)
		fclose(f);
	/* In a container, capabilities are those of another user namespace, and process ids differ from the kernel's. */
	if (!is_first_namespace("/proc/self/ns/user", USER_INIT_INO) ||
	    !is_first_namespace("/proc/self/ns/pid", PID_INIT_INO))
		return false;
	/* CAP_SYS_ADMIN, or CAP_PERFMON and CAP_BPF */
	return caps >> 21 & 1 || (caps >> 38 & 3) == 3;
}

static int kernel_usable(const struct pp_request *request, bool any)
{
	(void)any;
	if (request->overwrite)
		return error_set(EOPNOTSUPP,
		                 "the kernel's ring buffer keeps the oldest records and loses new ones: -b agent "
		                 "overwrites");
	/* Process ids in cookies and filters are those of the first pid namespace. */
	if (!is_first_namespace("/proc/self/ns/pid", PID_INIT_INO))
		return error_set(EPERM,
		                 "the kernel backend works from the machine's first pid namespace only, and this is "
		                 "another (a container): run the command outside");
	return 0;
}

static int kernel_readback(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
                           size_t npoints, struct arm_misses *misses)
{
	int done, err = kernel_owner_start(attachment, points, npoints, &done);

	(void)session;
	if (!err)
		err = semaphores_raise(points, npoints, kernel_raised_record, attachment);
	if (done >= 0)
		close(done);
	return err ? err : verify_armed(points, npoints, misses);
}

static int kernel_verify(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
                         size_t npoints, struct arm_misses *misses)
{
	(void)session, (void)attachment;
	return verify_armed(points, npoints, misses);
}

static int kernel_check(struct pp_session *session, struct arm_point *const *points, size_t npoints)
{
	int err = semaphores_check(session, points, npoints);

	return err ? err : verify_unchanged(points, npoints, session);
}

static void kernel_record(struct pp_session *session)
{
	__atomic_store_n(&kernel_of(session)->config->record_until, ~0ull, __ATOMIC_RELEASE);
}

static int kernel_arm_new(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
                          size_t npoints, const struct arm_options *options)
{
	struct kernel_session *k = kernel_of(session);

	if (options->record)
		__atomic_store_n(&k->config->record_until, ~0ull, __ATOMIC_RELEASE);
	attachment->number = (uint32_t)k->config->next_attachment++;
	attachment->manifest->attachment = attachment->number;
	return kernel_arm(session, attachment, points, npoints, options);
}

static void kernel_counts(const struct attachment *attachment, uint32_t point, struct pp_counts *counts)
{
	const struct kernel_attachment *s = attachment->state;

	memset(counts, 0, sizeof(*counts));
	for (unsigned i = 0; i < s->shards; i++) {
		const struct kernel_counts *c = &s->counts[(size_t)point * s->shards + i];

		counts->hits += __atomic_load_n(&c->hits, __ATOMIC_RELAXED);
		counts->filtered += __atomic_load_n(&c->filtered, __ATOMIC_RELAXED);
		counts->idle += __atomic_load_n(&c->idle, __ATOMIC_RELAXED);
		counts->recorded += __atomic_load_n(&c->recorded, __ATOMIC_RELAXED);
		counts->lost += __atomic_load_n(&c->lost, __ATOMIC_RELAXED);
		counts->other += __atomic_load_n(&c->other, __ATOMIC_RELAXED);
	}
	if (manifest_points(attachment->manifest)[point].role == SITE_CALL) {
		counts->entries = counts->hits;
		counts->hits = 0;
		calls_counts(&s->calls, point, counts);
	}
}

static uint64_t kernel_start_time(const struct attachment *attachment, uint32_t pid)
{
	return manifest_start_time(attachment->manifest, pid);
}

static int kernel_processes(const struct attachment *attachment,
                            int (*fn)(uint32_t point, pid_t pid, uint64_t hits, void *arg), void *arg)
{
	const struct kernel_attachment *s = attachment->state;
	struct kernel_process key, *at = NULL;
	uint64_t hits;
	int err = 0;

	for (int n = 0; s->processes_fd >= 0 && n < KERNEL_PROCESSES_MAX && !err; n++) {
		if (bpf_map_get_next_key(s->processes_fd, at, &key))
			break;
		at = &key;
		if (key.point < attachment->manifest->npoints && !bpf_map_lookup_elem(s->processes_fd, &key, &hits))
			err = fn(key.point, (pid_t)key.pid, hits, arg);
	}
	return err;
}

static void kernel_release(struct attachment *attachment)
{
	kernel_settle(attachment, NULL);
	kernel_attachment_close(attachment->state);
	attachment->state = NULL;
}

const struct backend backend_kernel = {
	.name = "kernel",
	.arms_inodes = true,
	.records_sessions = true,
	.has_budgets = true,
	.names_processes = true,
	.hits_trap = true,
	.open = kernel_open,
	.close = kernel_close,
	.lock = kernel_lock,
	.unlock = kernel_unlock,
	.remove = kernel_remove,
	.names = store_names,
	.permitted = kernel_permitted,
	.usable = kernel_usable,
	.takes = backend_takes_all,
	.semaphore_key = semaphore_key,
	.check = kernel_check,
	.arm = kernel_arm_new,
	.readback = kernel_readback,
	.verify = kernel_verify,
	.disarm = kernel_disarm,
	.release = kernel_release,
	.hold = kernel_hold,
	.cost = kernel_cost,
	.trap_ns = cost_trap,
	.over_budget = kernel_over_budget,
	.stopped = kernel_stopped,
	.watch = kernel_watch,
	.limit = kernel_limit,
	.unlimit = kernel_unlimit,
	.armed = kernel_armed,
	.counts = kernel_counts,
	.processes = kernel_processes,
	.start_time = kernel_start_time,
	.uncounted = backend_counts_all,
	.record = kernel_record,
	.reader_open = kernel_reader_open,
	.reader_next = kernel_reader_next,
	.reader_close = kernel_reader_close,
	.reader_stop = kernel_reader_stop,
	.reader_drop = backend_drops_nothing,
	.reader_damaged = kernel_reader_damaged,
	.lose = kernel_lose,
};
