/* SPDX-License-Identifier: MIT */
/*
 * Verification before arming: does memory differ from the file?
 *
 * 1. The rest of the instruction, after the bytes of a breakpoint, must be the file's.
 * 2. The bytes of a breakpoint must be the file's, or a breakpoint.
 * 3. A breakpoint must belong to a uprobe: of this session, of another session, or of another tool (foreign.c). A
 *    breakpoint of a killed session may still disappear, so the check waits a second for that.
 * 4. If it is not known whether another tool has a uprobe there, the point is refused, because the breakpoint may be the
 *    program's own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/armed.h"
#include "runtime/cpu.h"
#include "runtime/kernel/foreign.h"
#include "runtime/kernel/link.h"
#include "runtime/kernel/text-places.h"
#include "runtime/kernel/verify.h"
#include "runtime/point.h"
#include "runtime/process.h"
#include "runtime/session.h"
#include "sdt/image.h"

#define REMOVAL_NS 1000000000ull

/* The known owners of breakpoints, read when the first breakpoint is found. */
struct trappers {
	const struct pp_session *session;
	struct registry own;         /* the points of the session */
	struct pp_armed *others;     /* those of other sessions */
	struct foreign_list foreign; /* those of other tools */
	bool read;
	uint64_t until; /* when to stop waiting for breakpoints to disappear; 0: has not waited yet */
};

static void trappers_read(struct trappers *t)
{
	if (t->read)
		return;
	t->read = true;
	if (registry_add_session(&t->own, t->session, 0))
		registry_release(&t->own);
	if (armed_read(&t->others, t->session->name))
		t->others = NULL;
}

/* Returns whether a uprobe owns the breakpoint. */
static enum foreign breakpoint_owner(struct trappers *t, const struct arm_point *point)
{
	const struct pp_image *image = point->image;
	bool fresh = !t->foreign.read;
	enum foreign owner = foreign_uprobe(&t->foreign, image, arm_point_offset(point));
	size_t n;

	/* Another command may have armed the point since the list was read. */
	if (owner == FOREIGN_NONE && !fresh) {
		foreign_release(&t->foreign);
		owner = foreign_uprobe(&t->foreign, image, arm_point_offset(point));
	}
	/* All uprobes at the second instruction that this project makes are in the list. */
	if (owner == FOREIGN_UPROBE || point->fast)
		return owner;
	trappers_read(t);
	if (registry_find(&t->own, image->real_device, image->real_inode, point->site->offset, &n) ||
	    (t->others && pp_armed_session(t->others, image, point->site, 0)))
		return FOREIGN_UPROBE;
	return owner;
}

/*
 * Waits until the breakpoint disappears: the kernel removes those of a killed session some ms after it has forgotten
 * the links. All calls together wait at most a second. Returns true if the file's bytes are there now.
 */
static bool breakpoint_disappears(struct trappers *t, const struct process *process, uint64_t address,
                                  const struct arm_point *point)
{
	const struct cpu_code *cpu = cpu_code(point->image->machine);
	uint8_t bytes[BREAKPOINT_SIZE_MAX];

	if (!t->until)
		t->until = clock_ns() + REMOVAL_NS;
	for (;;) {
		if (process_read(process, address, bytes, cpu->breakpoint_size))
			return false;
		if (!cpu->is_breakpoint(bytes) || clock_ns() >= t->until)
			return text_start_is_files(point, bytes);
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
}

static char *breakpoint_reason(const struct process *process, pid_t tracer, enum foreign owner)
{
	if (tracer)
		return error_format("pid %d, which debugs pid %d, has a breakpoint there; remove it first", tracer,
		                    process->pid);
	if (owner == FOREIGN_UNKNOWN)
		return error_format(
			"pid %d has a trap there that is not the file's. It may be the program's own, because the "
			"kernel does not report whether a uprobe of another tool is there; end other uses of "
			"perf and BPF, or run as root in the initial namespaces",
			process->pid);
	return error_format("pid %d has a trap there that is neither the file's nor a uprobe's: the program's own, or "
	                    "one that a debugger left",
	                    process->pid);
}

/* Returns true if the point may be armed. If not, sets *reason, which is NULL without memory; the caller frees it. */
static bool place_is_unchanged(struct trappers *t, const struct process *process, pid_t tracer,
                               const struct arm_point *point, const struct text_place *place, char **reason)
{
	bool trapped =
		cpu_code(point->image->machine)->is_breakpoint(place->bytes) || text_is_armed(point, place->bytes);
	enum foreign owner;

	if (!text_rest_is_files(point, place->bytes) || (!trapped && !text_start_is_files(point, place->bytes)) ||
	    !text_before_is_files(process, point, place->address)) {
		*reason = text_reason_changed(process, point->image);
		return false;
	}
	if (!trapped)
		return true;
	owner = breakpoint_owner(t, point);
	if (owner == FOREIGN_UPROBE)
		return true;
	if (!tracer && breakpoint_disappears(t, process, place->address, point))
		return true;
	*reason = breakpoint_reason(process, tracer, owner);
	return false;
}

/*
 * A hit of a perf uprobe keeps its CPU's buffer for arguments while it waits for a page. If the thread that serves the page hits
 * a probe on that CPU, both wait until one is killed.
 */
static void points_refuse_userfaultfd(struct arm_point *const *run, size_t n, const struct process *process)
{
	for (size_t i = 0; i < n; i++)
		if (!run[i]->error)
			arm_point_refuse(
				run[i], -EOPNOTSUPP,
				error_format("pid %d has a userfaultfd(2): on kernels without uprobe-multi links "
			                     "(before Linux 6.6), a hit that waits for a page of the program could "
			                     "wait forever; use -b agent",
			                     process->pid));
}

/* Refuses points whose memory in the process differs, and points whose hits could harm it. */
static int process_check(struct arm_point *const *run, size_t n, const struct process *process, struct trappers *t)
{
	pid_t tracer = process_tracer(process);
	struct text_places p = { 0 };
	int err = text_places_find(&p, process, run, n), denied;

	if (err || !p.n)
		goto out;
	if (!link_multi_supported() && process_has_userfaultfd(process->pid)) {
		points_refuse_userfaultfd(run, n, process);
		goto out;
	}
	denied = text_places_read(&p, process, run);
	/* A process that cannot be read is found by verify_armed(). Without memory, a changed one could be overlooked. */
	if (denied) {
		err = denied == -ENOMEM ? error_nomem() : 0;
		goto out;
	}
	for (size_t k = 0; k < p.n; k++) {
		struct arm_point *point = run[p.list[k].point];
		char *reason;

		if (point->error || !p.list[k].got)
			continue;
		if (!place_is_unchanged(t, process, tracer, point, &p.list[k], &reason))
			arm_point_refuse(point, -EBUSY, reason);
	}
out:
	text_places_release(&p);
	return err;
}

/* Checks the points of one image and process. */
static int run_check(struct arm_point *const *run, size_t n, struct trappers *t)
{
	const struct process *process = run[0]->process;
	struct process **all = NULL;
	size_t nall = 0;
	int err;

	if (process && process->is_command)
		return 0;
	/* A process whose first thread has exited gets a link for every process: see arm-links.c. */
	if (process && !process->leader_gone)
		return process_check(run, n, process, t);
	err = processes_mapping(run[0]->image->device, run[0]->image->inode, &all, &nall);
	for (size_t k = 0; k < nall; k++) {
		if (!err)
			err = process_check(run, n, all[k], t);
		process_free(all[k]);
	}
	free(all);
	return err;
}

int verify_unchanged(struct arm_point *const *points, size_t npoints, const struct pp_session *session)
{
	struct trappers trappers = { .session = session };
	int err = 0;

	for (size_t i = 0, n; i < npoints && !err; i += n) {
		n = arm_points_run(points + i, npoints - i);
		err = run_check(points + i, n, &trappers);
	}
	registry_release(&trappers.own);
	foreign_release(&trappers.foreign);
	pp_armed_free(trappers.others);
	return err;
}
