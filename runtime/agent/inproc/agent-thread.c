/* SPDX-License-Identifier: MIT */
/*
 * The agent's thread arms points and answers controllers.
 *
 * 1. It begins with its own table of descriptors (so that neither the program nor the
 *    agent sees the other's), reads the sessions' files and arms.
 * 2. Then it serves: it sleeps in poll(2) until a peer comes to its socket or a thread
 *    of the program wakes it.
 * 3. It ends if nothing is armed and no peer has spoken to it for GRACE_MS; if it is
 *    stopped (agent_stop()); if the program has given up rights that it cannot give up
 *    as well; or if it is the last thread of the process.
 *
 * All its signals are blocked. To wake it, a thread sends WAKE_SIGNAL to this thread
 * alone, which reads it from a signalfd. That needs no descriptor in the process's
 * table, and nothing that chroot() or a namespace could take away. No other software
 * uses SIGSTKFLT on Linux.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/agent-thread.h"
#include "runtime/agent/inproc/calls.h"
#include "runtime/agent/inproc/change.h"
#include "runtime/agent/inproc/control.h"
#include "runtime/agent/inproc/files.h"
#include "runtime/agent/inproc/fit.h"
#include "runtime/agent/inproc/keeper.h"
#include "runtime/agent/inproc/proc.h"
#include "runtime/agent/inproc/readers.h"
#include "runtime/agent/inproc/regions.h"
#include "runtime/agent/inproc/rights.h"
#include "runtime/agent/inproc/scan.h"
#include "runtime/agent/inproc/state-dir.h"
#include "runtime/agent/inproc/thread.h"
#include "runtime/agent/inproc/trampoline.h"

#define GRACE_MS 1000 /* how long the thread stays if nothing is armed */
#define TICK_MS 1000  /* between checks of whether the thread may stay */

struct lifecycle lifecycle;

struct thread_files {
	int store, listener, wake;
};

/* ---- beginning ---- */

static int descriptor_close(int dir, const char *name, void *unused)
{
	int fd = parse_number(name);

	(void)unused;
	if (fd >= 0 && fd != dir)
		close(fd);
	return 0;
}

/* Gives the thread an empty table of descriptors. */
static bool descriptors_unshare(void)
{
	int dir;

	if (!syscall(SYS_close_range, 0u, ~0u, CLOSE_RANGE_UNSHARE))
		return true;
	if (syscall(SYS_unshare, CLONE_FILES))
		return false;
	dir = open("/proc/thread-self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return false;
	dir_list(dir, descriptor_close, NULL);
	close(dir);
	return true;
}

/*
 * The thread replaces one that has ended, or the thread of the parent, and the memfds
 * have ended with that thread. In the same process, the regions keep their counts. In a
 * child, regions are revived only if all were replaced, because trampolines must not
 * write to regions of the parent. A child that has half of a change revives nothing.
 */
static void shms_renew(bool child)
{
	bool failed = false;

	for (unsigned i = 0; i < SHMS_MAX; i++) {
		agent.shms[i].fd = agent.shms[i].keep = -1;
		agent.shms[i].inherited |= child && agent.shms[i].at;
	}
	if (lifecycle.raw || lifecycle.broken)
		return;
	for (unsigned i = 0; i < SHMS_MAX; i++)
		failed |= agent.shms[i].at && agent.shms[i].session && shm_renew(&agent.shms[i], !child);
	if (!child || !failed)
		regions_revive();
}

/* Returns why nothing can be armed in this process, or AGENT_OK. */
static enum agent_reason agent_ability(void)
{
	if (lifecycle.broken)
		return AGENT_HALF_FORKED;
	if (lifecycle.raw)
		return AGENT_FORKED;
	if (!trampoline_cpu_ok())
		return AGENT_CPU;
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0))
		return AGENT_MEMBARRIER;
	return AGENT_OK;
}

/* pthread_key_create(3) takes the key by a compare and exchange only, so the agent's thread may call it. */
static void ring_key_create(void)
{
	pthread_key_t key;

	if (agent.key < 0 && !pthread_key_create(&key, rings_release))
		agent.key = key;
}

/* A real-time policy, inherited from the thread that made this one, would take the CPU from the program. */
static void policy_leave_real_time(void)
{
	const struct sched_param none = { 0 };
	long policy = syscall(SYS_sched_getscheduler, 0) & ~SCHED_RESET_ON_FORK;

	if (policy == SCHED_FIFO || policy == SCHED_RR)
		syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &none);
}

/* Scans for the first time. The change has begun. */
static void thread_scan(struct thread_files *files, bool child)
{
	agent.reason = agent_ability();
	if (lifecycle.begun)
		shms_renew(child);
	files->store = state_dir_open(true);
	/* At once, because what is counted in a region that is not kept is lost if the process is killed. */
	if (lifecycle.begun && !child)
		shms_keep(files->store);
	agent.begins = __atomic_exchange_n(&lifecycle.begins, 0, __ATOMIC_ACQ_REL);
	if (agent.begins)
		calls_rescan();
	sessions_rescan(files->store);
	shms_keep(files->store);
	if (child && files->store >= 0)
		sessions_inherit(files->store);
	if ((agent.begins || child) && files->store >= 0)
		readers_expect(files->store);
	agent.begins = false;
	lifecycle.begun = 1;
}

/* Becomes the agent of this process, and scans. Returns false if there is nothing to do for this thread. */
static bool thread_take_over(struct thread_files *files)
{
	uint32_t pid = getpid(), tid = syscall(SYS_gettid);
	bool child = lifecycle.begun && agent.pid != pid;

	lifecycle.raw |= child && lifecycle.forked != pid;
	change_begin();
	agent.pid = pid;
	thread_set_pid(pid);
	if (lifecycle.ended || !rights_covered(pid, tid)) {
		change_end();
		return false;
	}
	agent.start_time = process_start_time(0);
	agent.exec = process_exec();
	__atomic_store_n(&agent.tid, tid, __ATOMIC_RELEASE);
	if (!lifecycle.begun) {
		ring_key_create();
		calls_settle();
	}
	thread_scan(files, child);
	change_end();
	return true;
}

static bool thread_begin(struct thread_files *files)
{
	bool inside = __atomic_exchange_n(&lifecycle.inside, 0, __ATOMIC_ACQ_REL);
	uint64_t set = 1ull << (WAKE_SIGNAL - 1);

	syscall(SYS_prctl, PR_SET_NAME, "probepoint", 0, 0, 0);
	policy_leave_real_time();
	if (!descriptors_unshare())
		return false;
	proc_open();
	files->wake = signalfd(-1, (const sigset_t *)&set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (!thread_take_over(files))
		return false;
	if ((change_active() || lifecycle.listens || !inside) && files->store >= 0)
		files->listener = control_open(files->store);
	return files->wake >= 0;
}

/* ---- scanning again ---- */

static void rescan_now(int store)
{
	uint32_t wanted = __atomic_load_n(&lifecycle.wanted, __ATOMIC_ACQUIRE);

	change_begin();
	sessions_rescan(store);
	shms_keep(store);
	change_end();
	__atomic_store_n(&lifecycle.done, wanted, __ATOMIC_RELEASE);
	word_wake(&lifecycle.done);
}

static int64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

/*
 * Makes the late scans, whose intervals double. *due: when the next one is due. Returns
 * the milliseconds until then, or -1 if no scan is to come.
 */
static int rescan_late(int store, int64_t *due)
{
	uint32_t late = __atomic_exchange_n(&lifecycle.late, 0, __ATOMIC_ACQ_REL);
	static uint32_t left;

	if (late) {
		left = late;
		*due = clock_ms() + (1000 >> left);
	}
	if (left && clock_ms() >= *due) {
		rescan_now(store);
		left--;
		*due = clock_ms() + (1000 >> left);
	}
	return !left ? -1 : *due > clock_ms() ? *due - clock_ms() : 0;
}

/* ---- ending ---- */

/*
 * Returns whether a thread of the program may do all that this thread may, because a
 * process that has given up rights must not keep a thread that has them; and whether
 * the process has another thread, because the agent must not keep it alive.
 */
static bool thread_may_stay(void)
{
	if (proc_is_last_thread(agent.pid))
		return false;
	/* A thread of the program that has given up rights may be about to ask this one to follow. */
	for (unsigned i = 0; i < 20; i++) {
		if (rights_covered(agent.pid, agent.tid))
			return true;
		if (!rights_wait_request(5) && !rights_follow())
			return false;
	}
	return false;
}

/* Closes the socket, unless a thread or a peer has just asked for something. Returns whether the thread may end. */
static bool thread_leave(struct thread_files *files)
{
	__atomic_store_n(&lifecycle.leaving, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&lifecycle.wanted, __ATOMIC_SEQ_CST) != lifecycle.done ||
	    __atomic_load_n(&lifecycle.late, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&lifecycle.leaving, 0, __ATOMIC_SEQ_CST);
		return false;
	}
	if (files->listener < 0)
		return true;
	control_close(files->store);
	if (!control_serve(files->listener, files->wake, files->store))
		return true;
	close(files->listener);
	files->listener = control_open(files->store);
	__atomic_store_n(&lifecycle.leaving, 0, __ATOMIC_SEQ_CST);
	return false;
}

/* ---- serving ---- */

/* Times in milliseconds. */
struct service {
	int64_t due;     /* of the next late scan */
	int64_t spoken;  /* when a peer last spoke */
	int64_t checked; /* when the thread last found that it may stay */
};

/* Returns whether the thread has nothing to do any more. late: scans are to come. */
static bool service_is_over(struct thread_files *files, const struct service *s, bool late)
{
	int64_t grace = files->listener < 0 ? 0 : GRACE_MS;

	return !late && !change_active() && !lifecycle.listens && clock_ms() - s->spoken >= grace &&
	       thread_leave(files);
}

/* Handles what poll() found, n descriptors. Returns false if the thread has to end. */
static bool service_step(struct thread_files *files, struct service *s, struct pollfd polled[2], int n)
{
	struct signalfd_siginfo info;

	if (n > 0 && polled[0].revents && read(files->wake, &info, sizeof(info)) < 0 && errno == EAGAIN)
		polled[0].fd = -1; /* the signal was sent to the process, so it is the program's */
	if (!rights_follow())
		return false;
	if (n > 0 || clock_ms() - s->checked >= TICK_MS) {
		s->checked = clock_ms();
		if (!thread_may_stay())
			return false;
		/* Another process, or a system call that the agent does not see, may have changed the limit. */
		if (lock_try(&agent.lock, 100)) {
			regions_fit();
			lock_put(&agent.lock);
		}
		if (files->store >= 0 && sessions_have_orphan(files->store))
			rescan_now(files->store);
	}
	if (lifecycle.wanted != lifecycle.done)
		rescan_now(files->store);
	if (n > 0 && polled[1].revents) {
		control_serve(files->listener, files->wake, files->store);
		s->spoken = clock_ms();
	}
	return true;
}

static void thread_serve(struct thread_files *files)
{
	struct pollfd polled[2] = { { .fd = files->wake, .events = POLLIN } };
	struct service s = { .spoken = clock_ms() };

	s.checked = s.spoken;
	while (!__atomic_load_n(&lifecycle.stopped, __ATOMIC_SEQ_CST)) {
		int wait = rescan_late(files->store, &s.due), n;

		if (change_active() && files->listener < 0)
			files->listener = control_open(files->store);
		if (service_is_over(files, &s, wait >= 0))
			return;
		polled[1] = (struct pollfd){ .fd = files->listener, .events = POLLIN };
		n = poll(polled, 2, wait < 0 || wait > TICK_MS ? TICK_MS : wait);
		if ((n < 0 && errno != EINTR) || !service_step(files, &s, polled, n))
			break;
	}
	if (files->listener >= 0)
		control_close(files->store);
}

void agent_thread_run(void)
{
	struct thread_files files = { -1, -1, -1 };
	uint32_t wanted;
	bool good;

	__atomic_store_n(&lifecycle.leaving, 0, __ATOMIC_SEQ_CST);
	wanted = __atomic_load_n(&lifecycle.wanted, __ATOMIC_SEQ_CST);
	good = !__atomic_load_n(&lifecycle.stopped, __ATOMIC_SEQ_CST) && thread_begin(&files);
	__atomic_store_n(&lifecycle.done, wanted, __ATOMIC_RELEASE);
	__atomic_store_n(&lifecycle.ready, 1, __ATOMIC_RELEASE);
	word_wake(&lifecycle.ready);
	word_wake(&lifecycle.done);
	if (good)
		thread_serve(&files);
	__atomic_store_n(&lifecycle.leaving, 1, __ATOMIC_SEQ_CST);
}
