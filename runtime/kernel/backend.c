/* SPDX-License-Identifier: MIT */
/* The operations of the kernel backend that do not have a file of their own. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/kernel/fast.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/namespace.h"
#include "runtime/kernel/overhead.h"
#include "runtime/kernel/semaphore.h"
#include "runtime/kernel/stacks.h"
#include "runtime/kernel/verify.h"
#include "runtime/request.h"

#define USER_INIT_INO 0xeffffffdu /* PROC_USER_INIT_INO of linux/proc_ns.h */

/* Returns true also if the file does not exist, as in kernels without this kind of namespace. */
static bool namespace_is_first(const char *path, ino_t first)
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
	/* In a user namespace, capabilities are those of that namespace. */
	if (!namespace_is_first("/proc/self/ns/user", USER_INIT_INO) || !namespace_has_proc())
		return false;
	/* CAP_SYS_ADMIN, or CAP_PERFMON and CAP_BPF */
	return caps >> 21 & 1 || (caps >> 38 & 3) == 3;
}

static int kernel_foresee(const struct pp_request *request, struct arm_point *const *points, size_t npoints)
{
	(void)points, (void)npoints;
	if (request->overwrite)
		return error_set(
			EOPNOTSUPP,
			"the kernel backend cannot overwrite records, because the kernel's ring buffer keeps the "
			"oldest ones; use -b agent");
	return 0;
}

static int kernel_usable(const struct pp_request *request, bool any)
{
	int err = kernel_foresee(request, NULL, 0);

	(void)any;
	if (err)
		return err;
	if (!namespace_has_proc())
		return error_set(EPERM,
		                 "the kernel backend needs the /proc of this pid namespace; mount it (mount -t proc "
		                 "proc /proc), or run the command outside of the container");
	return 0;
}

static int kernel_readback(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
                           size_t npoints, struct arm_misses *misses)
{
	int done = semaphore_owner_start(attachment, points, npoints);
	int err = semaphores_raise(points, npoints, semaphore_raised_record, attachment);

	(void)session;
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
	int err = fast_choose(points, npoints);

	if (!err)
		err = semaphores_check(session, points, npoints);
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
	int err = namespace_check(k, session->name, "arm probes in");

	if (err)
		return err;
	if (options->buffer && kernel_ring_size(k) != options->buffer)
		return error_set(
			EEXIST,
			"session '%s' has a buffer of %zu bytes, which applies to the whole session; use another "
			"session (-s)",
			session->name, kernel_ring_size(k));
	/* The reader of a private session moves the time, and must be able to end the recording. */
	if (options->record && !session->is_private)
		__atomic_store_n(&k->config->record_until, ~0ull, __ATOMIC_RELEASE);
	attachment->number = (uint32_t)k->config->next_attachment++;
	attachment->manifest->attachment = attachment->number;
	return kernel_arm(session, attachment, points, npoints, options);
}

static void kernel_counts(const struct attachment *attachment, uint32_t point, struct pp_counts *counts)
{
	const struct kernel_attachment *s = attachment->state;
	uint32_t role;

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
	counts->unsampled = kernel_unsampled(s, point);
	role = manifest_point_role(&manifest_points(attachment->manifest)[point]);
	if (role == SITE_CALL) {
		counts->entries = counts->hits;
		counts->hits = 0;
	}
	if (role != SITE_HIT)
		returns_counts(&s->returns, point, role == SITE_CALL, counts);
}

static uint32_t kernel_pid_namespace(const struct attachment *attachment)
{
	const struct kernel_session *k = ((const struct kernel_attachment *)attachment->state)->session;

	return namespace_is_foreign(k) ? (k->config->pid_namespace ? (uint32_t)k->config->pid_namespace : PID_INIT_INO)
	                               : 0;
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

	/* Programs that add an element at once on several CPUs can exceed the maximum. */
	for (int n = 0; s->processes_fd >= 0 && n < 2 * KERNEL_PROCESSES_MAX && !err; n++) {
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
	kernel_prepare_disarm(attachment, NULL);
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
	.open = kernel_session_open,
	.close = kernel_session_close,
	.lock = kernel_session_lock,
	.unlock = kernel_session_unlock,
	.remove = kernel_session_remove,
	.names = pins_names,
	.permitted = kernel_permitted,
	.usable = kernel_usable,
	.foresee = kernel_foresee,
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
	.trap_ns = overhead_trap_ns,
	.over_budget = kernel_over_budget,
	.stopped = kernel_stopped,
	.watch = kernel_watch,
	.limit = kernel_limit,
	.unlimit = kernel_unlimit,
	.armed = kernel_armed,
	.counts = kernel_counts,
	.processes = kernel_processes,
	.aggregates = kernel_aggregates,
	.layout_load = kernel_layout_load,
	.layout_store = kernel_layout_store,
	.start_time = kernel_start_time,
	.pid_namespace = kernel_pid_namespace,
	.uncounted = backend_counts_all,
	.record = kernel_record,
	.reader_open = kernel_reader_open,
	.reader_next = kernel_reader_next,
	.reader_close = kernel_reader_close,
	.reader_stop = kernel_reader_stop,
	.reader_drop = backend_drops_nothing,
	.reader_leave = backend_drops_nothing,
	.reader_done = backend_has_taken,
	.reader_keeps = backend_keeps_nothing,
	.reader_damaged = kernel_reader_damaged,
	.lose = kernel_lose,
	.flight = kernel_flight,
	.snapshot = kernel_snapshot,
	.held = kernel_held,
};
