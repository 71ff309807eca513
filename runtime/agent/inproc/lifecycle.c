/* SPDX-License-Identifier: MIT */
/*
 * The agent's life in its process.
 *
 * As long as nothing is to be armed the agent sleeps: it has no thread, no socket
 * and no descriptor. What arms, and speaks to controllers, is a thread of its own
 * (thread.c), which is made when it is wanted: at the start of a process whose state
 * folder has something for it, behind dlopen(3) where a point waits for a library,
 * in a forked child that goes on being armed, or by a controller (wake.c). It
 * ends when nothing is armed and nobody has spoken to it for a moment.
 *
 * The thread has every signal blocked and a table of descriptors to itself, and
 * sleeps until somebody comes to its socket or a wrapper wakes it. The waking is by
 * a signal sent to this one thread, where it is blocked, and read from a signalfd:
 * it needs no descriptor in the process's table, and nothing that chroot() or a
 * namespace could take away. SIGSTKFLT is used by nothing on Linux.
 *
 * fork: the child's pages of `life` are wiped, so trampolines do nothing there until a new
 * thread has put shared memory regions of the child's own in the place of the parent's. No lock is
 * held across fork: the parent waits for a change under way to end, and a change that
 * is about to begin waits for the fork, both for a limited time. A child that finds
 * itself in the middle of a change arms nothing any more.
 *
 * unshare(CLONE_NEWUSER) and setns() want a process of one thread: ours ends, and
 * starts again behind them. A process that changes its user changes the threads that
 * its C library knows; ours follows before the call returns, and ends if it cannot.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent/inproc/trampoline.h"
#include "runtime/agent/inproc/thread.h"

#define WAKE SIGSTKFLT
#define READER_MS 1000 /* a reader that hangs is waited for no longer */
#define GRACE_MS 1000  /* the thread stays so long where nothing is armed */
#define TICK_MS 1000   /* whether it should be there at all is looked at that often */

struct agent agent = { .key = -1 };

static struct {
	uint32_t inside;           /* the program's own thread has asked for the next thread */
	uint32_t begins;           /* the same, and main() has not begun */
	uint32_t begun;            /* there has been a thread in this process */
	uint32_t leaving;          /* the thread is about to end */
	uint32_t ready;            /* it has looked for the first time */
	uint32_t wanted, done;     /* looks asked for, and served */
	uint32_t late;             /* and some to come */
	struct lock door;          /* who sends the thread away, or has it back */
	uint32_t aside;            /* callers that want it away */
	uint32_t away;             /* it was there before */
	uint32_t follow, followed; /* changes of rights, asked for and made */
	uint32_t awaits;           /* readers, who are to know us before we go on */
	uint32_t forking;          /* threads in fork(2) */
	uint32_t changing;         /* the agent's thread is in the middle of a change, or about to be */
	uint32_t active;           /* something is armed, or counted */
	bool listens;              /* from the start, whatever there is to arm */
	bool broken;               /* forked in the middle of a change */
	bool ended;
} life;

/* ---- readers ---- */

static bool is_read(int store, const struct session *session)
{
	int dir = store_folder(store, session->name, false);
	int fd = dir < 0 ? -1 : openat(dir, "reader", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;

	if (fd >= 0)
		close(fd);
	if (dir >= 0)
		close(dir);
	return locked;
}

static void expect_readers(int store)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		struct session *session = &agent.sessions[i];

		session->awaited = session->name[0] && session->shm && is_read(store, session);
		if (session->awaited)
			__atomic_store_n(&life.awaits, 1, __ATOMIC_RELEASE);
	}
}

/* Whether each reader that there was when we began has our shared memory region, and lets us record. */
static bool readers_came(void)
{
	bool came = true;

	if (!lock_try(&agent.lock, 100))
		return false;
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		const struct session *session = &agent.sessions[i];

		if (session->awaited && session->shm &&
		    (!session->shm->asked || !shared_acquire(session->shm->at->record_until)))
			came = false;
	}
	lock_put(&agent.lock);
	return came;
}

/* What is short-lived would end before its reader knew of it. */
static void wait_for_readers(void)
{
	uint32_t never = 0;

	for (unsigned i = 0; i < READER_MS && __atomic_load_n(&life.awaits, __ATOMIC_ACQUIRE) && !readers_came(); i++)
		word_wait(&never, 0, 1);
	__atomic_store_n(&life.awaits, 0, __ATOMIC_RELEASE);
}

/* ---- the thread ---- */

static int close_one(int dir, const char *name, void *unused)
{
	int fd = parse_number(name);

	(void)unused;
	if (fd >= 0 && fd != dir)
		close(fd);
	return 0;
}

static bool own_descriptors(void)
{
	int dir;

	if (!syscall(SYS_close_range, 0u, ~0u, CLOSE_RANGE_UNSHARE))
		return true;
	if (unshare(CLONE_FILES))
		return false;
	dir = open("/proc/thread-self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return false;
	store_list(dir, close_one, NULL);
	close(dir);
	return true;
}

/*
 * Another thread in the place of one that has ended, or of the parent's: memfds and
 * descriptors have ended with that one. What has been counted is kept in the same process.
 */
static void come_to_life(bool child)
{
	for (unsigned i = 0; i < SHMS_MAX; i++) {
		agent.shms[i].fd = agent.shms[i].keep = -1;
		if (agent.shms[i].at && agent.shms[i].session && shm_renew(&agent.shms[i], !child))
			return;
	}
	regions_alive(true);
}

/*
 * Not while somebody forks, but he is not waited for too long either. Who forks says so
 * first, then looks whether we are changing something; we the other way round.
 */
void change_begin(void)
{
	for (unsigned i = 0; i < 300; i++) {
		uint32_t forking = __atomic_load_n(&life.forking, __ATOMIC_SEQ_CST);

		if (!forking) {
			__atomic_store_n(&life.changing, 1, __ATOMIC_SEQ_CST);
			if (!__atomic_load_n(&life.forking, __ATOMIC_SEQ_CST))
				break;
			__atomic_store_n(&life.changing, 0, __ATOMIC_SEQ_CST);
		} else {
			word_wait(&life.forking, forking, 1);
		}
	}
	__atomic_store_n(&life.changing, 1, __ATOMIC_SEQ_CST);
	lock_get(&agent.lock);
}

void change_end(void)
{
	bool active = false;

	for (unsigned i = 0; i < SHMS_MAX; i++)
		active |= agent.shms[i].session != NULL;
	__atomic_store_n(&life.active, active, __ATOMIC_RELEASE);
	lock_put(&agent.lock);
	__atomic_store_n(&life.changing, 0, __ATOMIC_SEQ_CST);
}

static void look_now(int store)
{
	uint32_t wanted = __atomic_load_n(&life.wanted, __ATOMIC_ACQUIRE);

	change_begin();
	agent_look(store);
	shms_keep(store);
	change_end();
	__atomic_store_n(&life.done, wanted, __ATOMIC_RELEASE);
	word_wake(&life.done);
}

/* ---- following the program's rights ---- */

#define GROUPS_MAX 65536

/* What a thread may do, and what was asked of ours: of the wrapper that has the door's lock. */
static struct rights {
	long option, a, b, c, d; /* of prctl(2), where it is that */
	uint32_t tid;
	uint32_t uid[3], gid[3], fsuid, fsgid;
	int ngroups;
	struct {
		uint32_t effective, permitted, inheritable;
	} caps[2];
	uint32_t groups[GROUPS_MAX];
} rights;

struct caps_header {
	uint32_t version;
	int pid;
};

#define CAPS_VERSION 0x20080522u

static void rights_read(struct rights *r)
{
	struct caps_header h = { CAPS_VERSION, 0 };

	r->tid = syscall(SYS_gettid);
	syscall(SYS_getresuid, &r->uid[0], &r->uid[1], &r->uid[2]);
	syscall(SYS_getresgid, &r->gid[0], &r->gid[1], &r->gid[2]);
	r->fsuid = syscall(SYS_setfsuid, -1);
	r->fsgid = syscall(SYS_setfsgid, -1);
	r->ngroups = syscall(SYS_getgroups, GROUPS_MAX, r->groups);
	syscall(SYS_capget, &h, r->caps);
}

/* Groups, then users, then capabilities: each needs what the next may take. Whether it went well is looked at behind it. */
static void rights_take(const struct rights *r)
{
	struct caps_header h = { CAPS_VERSION, 0 };

	if (r->option) {
		syscall(SYS_prctl, r->option, r->a, r->b, r->c, r->d);
		return;
	}
	syscall(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
	for (int again = 0; again < 2; again++) { /* rights may come back with the user */
		if (r->ngroups >= 0)
			syscall(SYS_setgroups, r->ngroups, r->groups);
		syscall(SYS_setresgid, r->gid[0], r->gid[1], r->gid[2]);
		syscall(SYS_setresuid, r->uid[0], r->uid[1], r->uid[2]);
		syscall(SYS_setfsgid, r->fsgid);
		syscall(SYS_setfsuid, r->fsuid);
	}
	syscall(SYS_capset, &h, r->caps);
	syscall(SYS_prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0);
}

/* In the thread; false: it is not what the program's thread is, and has to end. */
static bool follow(void)
{
	uint32_t wanted = __atomic_load_n(&life.follow, __ATOMIC_ACQUIRE);
	bool same;

	if (wanted == life.followed)
		return true;
	rights_take(&rights);
	same = modules_covers(rights.tid, agent.tid);
	__atomic_store_n(&life.followed, wanted, __ATOMIC_RELEASE);
	word_wake(&life.followed);
	return same;
}

/* ---- serving ---- */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

/* How long until the next late look; it is made when it is due. -1: there is none to come. */
static int late_look(int store, int64_t *due)
{
	uint32_t late = __atomic_exchange_n(&life.late, 0, __ATOMIC_ACQ_REL);
	static uint32_t left;

	if (late) {
		left = late;
		*due = now_ms() + (1000 >> left);
	}
	if (left && now_ms() >= *due) {
		look_now(store);
		left--;
		*due = now_ms() + (1000 >> left);
	}
	return !left ? -1 : *due > now_ms() ? *due - now_ms() : 0;
}

/*
 * Whether a thread of the program may do all that ours may: a process that has given up
 * rights must not keep one that has them. And one that nobody but us is left of is to end.
 */
static bool may_stay(void)
{
	if (modules_last(agent.pid))
		return false;
	/* A wrapper may be about to ask us to follow. */
	for (unsigned i = 0; i < 20; i++) {
		uint32_t followed = life.followed;

		if (modules_covered(agent.tid))
			return true;
		if (life.follow == followed)
			word_wait(&life.follow, followed, 5);
		else if (!follow())
			return false;
	}
	return false;
}

struct thread_files {
	int store, listener, wake;
};

/* Nobody comes any more, unless he was just about to. */
static bool leave(struct thread_files *files)
{
	__atomic_store_n(&life.leaving, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&life.wanted, __ATOMIC_SEQ_CST) != life.done ||
	    __atomic_load_n(&life.late, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&life.leaving, 0, __ATOMIC_SEQ_CST);
		return false;
	}
	if (files->listener < 0)
		return true;
	control_close(files->store);
	if (!control_serve(files->listener, files->wake, files->store))
		return true;
	close(files->listener);
	files->listener = control_open(files->store);
	__atomic_store_n(&life.leaving, 0, __ATOMIC_SEQ_CST);
	return false;
}

static void serve(struct thread_files *files)
{
	struct pollfd polled[2] = { { .fd = files->wake, .events = POLLIN } };
	int64_t due = 0, spoken = now_ms(), looked = spoken;
	struct signalfd_siginfo info;

	while (!__atomic_load_n(&life.aside, __ATOMIC_SEQ_CST)) {
		int wait = late_look(files->store, &due), n;
		bool late = wait >= 0;

		if (life.active && files->listener < 0)
			files->listener = control_open(files->store);
		if (!late && !life.active && !life.listens &&
		    now_ms() - spoken >= (files->listener < 0 ? 0 : GRACE_MS) && leave(files))
			return;
		polled[1] = (struct pollfd){ .fd = files->listener, .events = POLLIN };
		n = poll(polled, 2, wait < 0 || wait > TICK_MS ? TICK_MS : wait);
		if (n < 0 && errno != EINTR)
			break;
		if (n > 0 && polled[0].revents && read(files->wake, &info, sizeof(info)) < 0 && errno == EAGAIN)
			polled[0].fd = -1; /* somebody else's, and not for us to take */
		if (!follow())
			break;
		if (n > 0 || now_ms() - looked >= TICK_MS) {
			looked = now_ms();
			if (!may_stay())
				break;
		}
		if (life.wanted != life.done)
			look_now(files->store);
		if (n > 0 && polled[1].revents) {
			control_serve(files->listener, files->wake, files->store);
			spoken = now_ms();
		}
	}
	if (files->listener >= 0)
		control_close(files->store);
}

static enum agent_reason able(void)
{
	if (life.broken)
		return AGENT_BUSY;
	if (!trampoline_cpu_ok())
		return AGENT_CPU;
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0))
		return AGENT_MEMBARRIER;
	return AGENT_OK;
}

/* The key is taken by compare and exchange alone: any thread may do that, ours too. */
static void take_key(void)
{
	pthread_key_t key;

	if (agent.key < 0 && !pthread_key_create(&key, rings_at_exit))
		agent.key = key;
}

/* The thread that made ours may have a real-time policy, under which ours would take the CPU from the program. */
static void leave_real_time(void)
{
	const struct sched_param none = { 0 };
	long policy = syscall(SYS_sched_getscheduler, 0) & ~SCHED_RESET_ON_FORK;

	if (policy == SCHED_FIFO || policy == SCHED_RR)
		syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &none);
}

/* false: there is nothing to do for this thread. */
static bool begin_thread(struct thread_files *files)
{
	bool inside = __atomic_exchange_n(&life.inside, 0, __ATOMIC_ACQ_REL);
	uint32_t pid = getpid(), tid = syscall(SYS_gettid);
	bool child = life.begun && agent.pid != pid, wanted;
	uint64_t set = 1ull << (WAKE - 1);

	syscall(SYS_prctl, PR_SET_NAME, "probepoint", 0, 0, 0);
	leave_real_time();
	if (!own_descriptors())
		return false;
	modules_open();
	files->wake = signalfd(-1, (const sigset_t *)&set, SFD_CLOEXEC | SFD_NONBLOCK);
	change_begin();
	agent.pid = agent_door.pid = pid;
	if (life.ended || !modules_covered(tid)) {
		change_end();
		return false;
	}
	/* From here on it is this process's agent. */
	agent.start_time = process_start_time(0);
	__atomic_store_n(&agent.tid, tid, __ATOMIC_RELEASE);
	if (!life.begun) {
		take_key();
		calls_settle();
	}
	agent.reason = able();
	if (life.begun)
		come_to_life(child);
	files->store = store_open(true);
	agent.begins = __atomic_exchange_n(&life.begins, 0, __ATOMIC_ACQ_REL);
	if (agent.begins)
		calls_look();
	agent_look(files->store);
	shms_keep(files->store);
	if (child && files->store >= 0)
		sessions_inherit(files->store);
	if ((agent.begins || child) && files->store >= 0)
		expect_readers(files->store);
	agent.begins = false;
	life.begun = 1;
	change_end();
	wanted = life.active || life.listens || !inside;
	if (wanted && files->store >= 0)
		files->listener = control_open(files->store);
	return files->wake >= 0;
}

void agent_run(void)
{
	struct thread_files files = { -1, -1, -1 };
	uint32_t wanted;
	bool good;

	__atomic_store_n(&life.leaving, 0, __ATOMIC_SEQ_CST);
	wanted = __atomic_load_n(&life.wanted, __ATOMIC_SEQ_CST);
	good = !__atomic_load_n(&life.aside, __ATOMIC_SEQ_CST) && begin_thread(&files);
	__atomic_store_n(&life.done, wanted, __ATOMIC_RELEASE);
	__atomic_store_n(&life.ready, 1, __ATOMIC_RELEASE);
	word_wake(&life.ready);
	word_wake(&life.done);
	if (good)
		serve(&files);
	__atomic_store_n(&life.leaving, 1, __ATOMIC_SEQ_CST);
}

/*
 * Has a thread made; where there is one already, nothing. It would have the filter of
 * system calls that the caller has: none is made behind one but at the beginning, when
 * the process was given it.
 */
static bool start(bool begins)
{
	if (life.ended || calls_sealed() || (!begins && !agent.began_filtered && calls_filtered()))
		return false;
	__atomic_store_n(&life.ready, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&life.begins, begins, __ATOMIC_RELEASE);
	__atomic_store_n(&life.inside, 1, __ATOMIC_RELEASE);
	return thread_start();
}

static void wait_word(uint32_t *word, uint32_t until, unsigned ms)
{
	for (unsigned i = 0; i < ms / 50; i++) {
		uint32_t now = __atomic_load_n(word, __ATOMIC_ACQUIRE);

		if ((int32_t)(now - until) >= 0)
			return;
		word_wait(word, now, 50);
	}
}

/* ---- for wrappers ---- */

static bool is_here(void)
{
	return thread_tid() && agent.pid == (uint32_t)getpid();
}

bool agent_awake(void)
{
	return !calls_sealed() && is_here();
}

/* Whether a new library may be wanted: by the thread, or by points that wait for it. */
bool agent_waits(void)
{
	return __atomic_load_n(&agent.npending, __ATOMIC_RELAXED) && !calls_sealed() && agent.pid == (uint32_t)getpid();
}

static void wake(void)
{
	syscall(SYS_tgkill, agent.pid, __atomic_load_n(&agent.tid, __ATOMIC_ACQUIRE), WAKE);
}

/* Wakes the thread for what was asked of it, or has one made. */
static void have_it_done(void)
{
	if (thread_tid() && __atomic_load_n(&life.leaving, __ATOMIC_SEQ_CST))
		thread_wait_gone(500);
	if (thread_tid())
		wake();
	else
		start(false);
}

void agent_look_soon(bool wait)
{
	uint32_t wanted;

	if (__atomic_load_n(&life.aside, __ATOMIC_ACQUIRE))
		return;
	if (!wait) {
		__atomic_store_n(&life.late, 4, __ATOMIC_SEQ_CST);
		have_it_done();
		return;
	}
	wanted = __atomic_add_fetch(&life.wanted, 1, __ATOMIC_SEQ_CST);
	have_it_done();
	wait_word(&life.done, wanted, 2000);
}

/* A thread that has ended may still hold what the kernel looks at. */
static bool is_alone(void)
{
	struct stat st;

	return !stat("/proc/self/task", &st) && st.st_nlink == 3; /* two for the folder, one for its thread */
}

bool agent_step_aside(bool alone)
{
	struct stat st;

	if (!is_here() && !__atomic_load_n(&life.aside, __ATOMIC_ACQUIRE))
		return false;
	if (alone && (stat("/proc/self/task", &st) || st.st_nlink != 4))
		return false;
	if (!lock_try(&life.door, 2000))
		return false;
	__atomic_add_fetch(&life.aside, 1, __ATOMIC_SEQ_CST);
	if (is_here()) {
		wake();
		thread_wait_gone(5000);
		for (unsigned i = 0; alone && i < 1000 && !is_alone(); i++)
			poll(NULL, 0, 1);
		life.away = 1;
	}
	lock_put(&life.door);
	return true;
}

void agent_step_back(void)
{
	bool locked = lock_try(&life.door, 2000);

	if (!__atomic_sub_fetch(&life.aside, 1, __ATOMIC_ACQ_REL) && life.away) {
		life.away = 0;
		if (start(false))
			wait_word(&life.ready, 1, 2000);
	}
	if (locked)
		lock_put(&life.door);
}

static void have_followed(long option, long a, long b, long c, long d)
{
	uint32_t wanted;

	if (!agent_awake() || !lock_try(&life.door, 2000))
		return;
	rights.option = option;
	rights.a = a;
	rights.b = b;
	rights.c = c;
	rights.d = d;
	rights_read(&rights);
	wanted = __atomic_add_fetch(&life.follow, 1, __ATOMIC_SEQ_CST);
	wake();
	for (unsigned i = 0; i < 2000 && agent_awake() && __atomic_load_n(&life.followed, __ATOMIC_ACQUIRE) != wanted;
	     i++)
		word_wait(&life.followed, wanted - 1, 1);
	lock_put(&life.door);
}

void agent_follow(void)
{
	have_followed(0, 0, 0, 0, 0);
}

void agent_follow_prctl(long option, long a, long b, long c, long d)
{
	have_followed(option, a, b, c, d);
}

/* As that, but nobody comes back by it. */
void agent_stay_aside(void)
{
	if (!__atomic_sub_fetch(&life.aside, 1, __ATOMIC_ACQ_REL))
		life.away = 0;
}

/* For good: what is armed counts on, and nobody is there to be asked. */
void agent_leave(void)
{
	if (agent_step_aside(false))
		agent_stay_aside();
}

/* ---- fork ---- */

static __thread uint32_t forks; /* under way in this thread: a handler may fork as well */

static void before_fork(void)
{
	if (!__atomic_load_n(&life.active, __ATOMIC_ACQUIRE) || calls_sealed())
		return;
	forks++;
	__atomic_add_fetch(&life.forking, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < 1000 && __atomic_load_n(&life.changing, __ATOMIC_SEQ_CST); i++)
		word_wait(&life.changing, 1, 1);
}

static void after_fork(void)
{
	if (!forks)
		return;
	forks--;
	__atomic_sub_fetch(&life.forking, 1, __ATOMIC_SEQ_CST);
}

/* Whether something is armed in the child as it is in the parent. */
static bool child_is_meant(void)
{
	bool meant = false;

	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		for (size_t k = 0; k < nattachments(&agent.sessions[i]); k++) {
			struct loaded_attachment *attachment = attachments_of(&agent.sessions[i])[k];

			if (!attachment->manifest)
				continue;
			if (attachment->header->flags & AGENT_ATTACHMENT_CHILDREN && !attachment->inherited &&
			    attachment_names(attachment, agent.pid, agent.start_time))
				attachment->inherited = agent.pid;
			for (uint32_t p = 0; p < attachment->manifest->npoints && !meant; p++) {
				const struct manifest_point *point = &manifest_points(attachment->manifest)[p];

				meant = attachment->on[p] && (!point->pid || point->pid == attachment->inherited);
			}
		}
	return meant;
}

static void in_child(void)
{
	bool meant;

	if (!life.begun)
		calls_forked();
	if (!life.begun && !thread_tid())
		return;
	thread_forget();
	life.broken |= life.changing != 0;
	life.changing = 0;
	agent.lock.word = 0;
	agent.unloading = 0;
	forks = 0;
	life.forking = life.aside = life.late = 0;
	life.done = life.wanted;
	life.followed = life.follow;
	life.door.word = 0;
	memset(agent.flight, 0, sizeof(agent.flight));
	if (calls_sealed()) {
		regions_close();
		agent.pid = 0; /* nothing is known of it, and nothing counts in it */
		return;
	}
	if (!life.active)
		return;
	memset(&agent_thread, 0, sizeof(agent_thread));
	meant = !life.broken && child_is_meant();
	regions_close();
	if (meant && start(false)) {
		wait_word(&life.ready, 1, 1000);
		if (agent.narmed)
			wait_for_readers();
	}
}

/* ---- start and end ---- */

static bool listens(void)
{
	const char *text = secure_getenv("PROBEPOINT_LISTEN");

	return text && !strcmp(text, "1");
}

/* What is to be armed is to be armed before main(). Where there is nothing for this process, there is no thread. */
static bool is_wanted(void)
{
	int store = store_look();
	bool wanted;

	if (store < 0)
		return false;
	agent.begins = true;
	agent.pid = getpid();
	agent.start_time = process_start_time(0);
	wanted = sessions_concern(store);
	agent.begins = false;
	close(store);
	return wanted;
}

__attribute__((constructor)) static void begin(void)
{
	bool wanted;

	if (getauxval(AT_SECURE) || !thread_prepare()) {
		thread_close();
		return;
	}
	store_remember(secure_getenv("XDG_RUNTIME_DIR"));
	wrap_begin();
	agent.behind = !wrap_hears();
	calls_begin();
	agent.nthreads = dlvsym(RTLD_DEFAULT, "__nptl_nthreads", "GLIBC_PRIVATE");
	agent.heap_end = dlsym(RTLD_DEFAULT, "__curbrk");
	life.listens = listens();
	if (pthread_atfork(before_fork, after_fork, in_child)) {
		thread_close();
		return;
	}
	wanted = is_wanted() || life.listens;
	thread_open();
	if (wanted && start(true)) {
		wait_word(&life.ready, 1, 2000);
		wait_for_readers();
		if (!life.active && !life.listens)
			thread_wait_gone(1000);
	}
}

__attribute__((destructor)) static void end(void)
{
	if (life.begun && !calls_sealed() && agent.pid == (uint32_t)getpid() && lock_try(&agent.lock, 500)) {
		life.ended = true;
		sessions_leave();
		lock_put(&agent.lock);
	}
}
