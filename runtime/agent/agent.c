/* SPDX-License-Identifier: MIT */
/*
 * The agent's life in its process.
 *
 * A thread of its own does all there is to do. It has every signal blocked (by
 * pthread_sigmask, which leaves the C library its own: setuid() waits for them) and
 * a table of descriptors to itself, and sleeps until somebody comes to its socket
 * or a wrapper wakes it. The waking is by a signal sent to this one thread, where
 * it is blocked, and read from a signalfd: it needs no descriptor in the process's
 * table, and nothing that chroot() or a namespace could take away. SIGSTKFLT is used
 * by nothing on Linux.
 *
 * fork: the child's pages of `life` are wiped, so slots do nothing there until a new
 * thread has put areas of the child's own in the place of the parent's.
 *
 * unshare(CLONE_NEWUSER) and setns() want a process of one thread: ours ends and
 * starts again behind them.
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
#include <string.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent/slot.h"

#define STACK (256u << 10)
#define WAKE SIGSTKFLT
#define READER_MS 1000 /* a reader that hangs is waited for no longer */

enum mode { MODE_START, MODE_CHILD, MODE_BACK };

struct agent agent = { .key = -1 };

static struct {
	pthread_t thread;
	enum mode mode;
	uint32_t running; /* there is a thread, or will be */
	uint32_t ready;   /* it has looked for the first time */
	uint32_t quit;
	uint32_t wanted, done; /* looks asked for, and served */
	uint32_t late;         /* and some to come */
	uint32_t aside;        /* a wrapper has sent it away */
	uint32_t awaits;       /* readers, who are to know us before we go on */
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

		session->awaited = session->name[0] && session->area && is_read(store, session);
		if (session->awaited)
			__atomic_store_n(&life.awaits, 1, __ATOMIC_RELEASE);
	}
}

/* Whether each reader that there was when we began has our area, and lets us record. */
static bool readers_came(void)
{
	bool came = true;

	if (!lock_try(&agent.lock, 100))
		return false;
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		const struct session *session = &agent.sessions[i];

		if (session->awaited && session->area &&
		    (!session->area->asked || !shared_acquire(session->area->at->record_until)))
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

static void come_to_life(void)
{
	for (unsigned i = 0; i < AREAS_MAX; i++) {
		agent.areas[i].fd = -1;
		if (agent.areas[i].at && area_renew(&agent.areas[i], life.mode == MODE_BACK))
			return;
	}
	regions_alive(true);
}

static void look_now(int store)
{
	uint32_t wanted = __atomic_load_n(&life.wanted, __ATOMIC_ACQUIRE);

	lock_get(&agent.lock);
	agent_look(store);
	lock_put(&agent.lock);
	__atomic_store_n(&life.done, wanted, __ATOMIC_RELEASE);
	word_wake(&life.done);
}

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

static void serve(int store, int listener, int wake)
{
	struct pollfd polled[2] = { { .fd = wake, .events = POLLIN }, { .fd = listener, .events = POLLIN } };
	struct signalfd_siginfo info;
	int64_t due = 0;

	while (!__atomic_load_n(&life.quit, __ATOMIC_ACQUIRE)) {
		int n = poll(polled, 2, late_look(store, &due));

		if (n < 0 && errno != EINTR)
			break;
		if (n > 0 && polled[0].revents && read(wake, &info, sizeof(info)) < 0 && errno == EAGAIN)
			polled[0].fd = -1; /* somebody else's, and not for us to take */
		if (life.wanted != life.done)
			look_now(store);
		if (n > 0 && polled[1].revents && !life.quit)
			control_serve(listener, wake, store);
	}
}

static void agent_thread_run(void)
{
	int store, listener, wake;
	sigset_t set;

	prctl(PR_SET_NAME, "probepoint");
	if (!own_descriptors()) {
		__atomic_store_n(&life.running, 0, __ATOMIC_RELEASE);
		__atomic_store_n(&life.ready, 1, __ATOMIC_RELEASE);
		word_wake(&life.ready);
		return;
	}
	__atomic_store_n(&agent.tid, syscall(SYS_gettid), __ATOMIC_RELEASE);
	agent.start_time = process_start_time(0);
	modules_open();
	sigemptyset(&set);
	sigaddset(&set, WAKE);
	wake = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	lock_get(&agent.lock);
	if (life.ended) {
		lock_put(&agent.lock);
		return;
	}
	if (life.mode != MODE_START)
		come_to_life();
	store = store_open();
	listener = store < 0 ? -1 : control_open(store);
	agent.begins = life.mode == MODE_START;
	agent_look(store);
	agent.begins = false;
	if (life.mode == MODE_CHILD && store >= 0)
		sessions_inherit(store);
	if (life.mode != MODE_BACK && store >= 0)
		expect_readers(store);
	lock_put(&agent.lock);
	__atomic_store_n(&life.ready, 1, __ATOMIC_RELEASE);
	word_wake(&life.ready);
	if (wake >= 0)
		serve(store, listener, wake);
}

static void *agent_main(void *unused)
{
	__atomic_store_n(&agent.own_threads, 1, __ATOMIC_RELEASE);
	agent_thread_run();
	__atomic_store_n(&agent.own_threads, 0, __ATOMIC_RELEASE);
	return unused;
}

static bool start(enum mode mode)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int err;

	life.mode = mode;
	life.quit = life.ready = life.awaits = 0;
	life.running = 1;
	life.done = life.wanted;
	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&life.thread, &attr, agent_main, NULL);
	if (err == EINVAL) { /* much thread-local storage */
		pthread_attr_setstacksize(&attr, 32 * STACK);
		err = pthread_create(&life.thread, &attr, agent_main, NULL);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (err)
		__atomic_store_n(&life.running, 0, __ATOMIC_RELEASE);
	return !err;
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

bool agent_awake(void)
{
	return __atomic_load_n(&life.running, __ATOMIC_ACQUIRE) && !calls_sealed() && agent.pid == (uint32_t)getpid();
}

static void wake(void)
{
	syscall(SYS_tgkill, agent.pid, __atomic_load_n(&agent.tid, __ATOMIC_ACQUIRE), WAKE);
}

void agent_look_soon(bool wait)
{
	uint32_t wanted;

	if (!agent_awake() || !__atomic_load_n(&life.ready, __ATOMIC_ACQUIRE))
		return;
	if (!wait) {
		__atomic_store_n(&life.late, 4, __ATOMIC_RELEASE);
		wake();
		return;
	}
	wanted = __atomic_add_fetch(&life.wanted, 1, __ATOMIC_ACQ_REL);
	wake();
	wait_word(&life.done, wanted, 2000);
}

static unsigned nthreads(void)
{
	struct stat st;

	return stat("/proc/self/task", &st) ? 0 : st.st_nlink - 2;
}

/* Joined, a thread may still hold what the kernel looks at. */
bool agent_step_aside(void)
{
	uint32_t none = 0;

	if (!agent_awake() || nthreads() != 2 ||
	    !__atomic_compare_exchange_n(&life.aside, &none, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return false;
	wait_word(&life.ready, 1, 2000);
	__atomic_store_n(&life.quit, 1, __ATOMIC_RELEASE);
	wake();
	pthread_join(life.thread, NULL);
	for (unsigned i = 0; i < 1000 && nthreads() != 1; i++)
		poll(NULL, 0, 1);
	return true;
}

/* For good: what is armed counts on, and nobody is there to be asked. */
void agent_leave(void)
{
	uint32_t none = 0;

	if (!agent_awake() ||
	    !__atomic_compare_exchange_n(&life.aside, &none, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return;
	wait_word(&life.ready, 1, 2000);
	__atomic_store_n(&life.quit, 1, __ATOMIC_RELEASE);
	wake();
	pthread_join(life.thread, NULL);
	__atomic_store_n(&life.running, 0, __ATOMIC_RELEASE);
}

void agent_step_back(void)
{
	start(MODE_BACK);
	wait_word(&life.ready, 1, 2000);
	__atomic_store_n(&life.aside, 0, __ATOMIC_RELEASE);
}

/* ---- fork ---- */

/* What the thread that forks remembers: a signal handler in the middle may fork as well. */
static __thread struct {
	sigset_t signals;
	bool locked, begun;
} forking;

static void before_fork(void)
{
	int saved = errno;
	sigset_t all, before;

	forking.begun = !calls_sealed();
	if (!forking.begun)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	forking.locked = lock_try(&agent.lock, 1000);
	forking.signals = before;
	errno = saved;
}

static void after_fork(void)
{
	sigset_t before = forking.signals;

	if (!forking.begun)
		return;
	if (forking.locked)
		lock_put(&agent.lock);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void in_child(void)
{
	bool was_running = life.running && forking.begun && forking.locked && !life.aside;
	sigset_t before = forking.signals;
	int saved = errno;

	memset(&agent_thread, 0, sizeof(agent_thread));
	memset(agent.flight, 0, sizeof(agent.flight));
	agent.lock.word = 0;
	agent.unloading = 0;
	life.running = life.late = agent.own_threads = 0;
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		for (size_t k = 0; k < nsegments(&agent.sessions[i]); k++) {
			struct segment *segment = segments_of(&agent.sessions[i])[k];

			if (segment->desc && segment->header->flags & AGENT_SEGMENT_CHILDREN && !segment->inherited &&
			    segment_names(segment, agent.pid, agent.start_time))
				segment->inherited = agent.pid;
		}
	regions_close();
	if (!forking.begun) {
		agent.pid = 0; /* nothing is known of it, and nothing counts in it */
		return;
	}
	agent.pid = getpid();
	if (was_running && start(MODE_CHILD) && agent.narmed) {
		wait_word(&life.ready, 1, 1000);
		wait_for_readers();
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = saved;
}

/* ---- start and end ---- */

static enum agent_reason able(void)
{
	if (!slot_cpu_ok())
		return AGENT_CPU;
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0))
		return AGENT_MEMBARRIER;
	return AGENT_OK;
}

static int found_session(int dir, const char *name, void *unused)
{
	(void)dir, (void)unused;
	return store_session_ok(name);
}

/* What is to be armed is to be armed before main(); where there is nothing, nobody waits. */
static bool is_wanted(void)
{
	int store = store_open(), wanted;

	if (store < 0)
		return false;
	wanted = store_list(store, found_session, NULL);
	close(store);
	return wanted;
}

__attribute__((constructor)) static void begin(void)
{
	int saved = errno;
	pthread_key_t key;

	if (getauxval(AT_SECURE))
		return;
	agent.pid = getpid();
	agent.reason = able();
	agent.behind = !wrap_hears();
	calls_begin();
	agent.nthreads = dlvsym(RTLD_DEFAULT, "__nptl_nthreads", "GLIBC_PRIVATE");
	agent.heap_end = dlsym(RTLD_DEFAULT, "__curbrk");
	if (!pthread_key_create(&key, rings_at_exit))
		agent.key = key;
	if (!pthread_atfork(before_fork, after_fork, in_child) && start(MODE_START) && is_wanted()) {
		wait_word(&life.ready, 1, 2000);
		wait_for_readers();
	}
	errno = saved;
}

__attribute__((destructor)) static void end(void)
{
	int saved = errno;

	if (agent_awake() && lock_try(&agent.lock, 500)) {
		life.ended = true;
		sessions_leave();
		lock_put(&agent.lock);
	}
	errno = saved;
}
