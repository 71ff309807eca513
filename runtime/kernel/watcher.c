/* SPDX-License-Identifier: MIT */
/*
 * The watcher of a session: a process that checks the default budget (budget.c) of attachments without an owner.
 *
 * 1. A session has at most one watcher. The watcher keeps the session's directory `watch` locked, which shows commands
 *    that it runs.
 * 2. The watcher does not hold a link. If it is killed, everything stays armed, and probe-stat reports that no process
 *    watches the budget.
 * 3. It ends when no armed point has a budget. It checks that under the session's lock, because a command may be adding
 *    points. A command that arms after that finds no watcher and starts another one.
 * 4. It ends the budgets of attachments whose processes have all ended.
 * 5. It ends when no command can reach the session any more (watcher_is_alone).
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/kernel/budget.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/namespace.h"

#define ALONE_NS 1000000000 /* how often watcher_is_alone() is called */

static bool attachment_is_watched(const struct attachment *attachment)
{
	const struct kernel_attachment *s = attachment->backend == &backend_kernel ? attachment->state : NULL;

	return s && kernel_is_pinned(s) && s->control->limit;
}

static bool attachment_is_armed(const struct attachment *attachment)
{
	for (uint32_t p = 0; p < attachment->manifest->npoints; p++)
		if (kernel_armed(attachment, p))
			return true;
	return false;
}

/* Returns the greatest budget of the watched attachments that are armed, or 0 if none is armed. */
static double watcher_limit(const struct pp_session *session)
{
	uint64_t limit = 0;

	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];
		const struct kernel_attachment *s = attachment->state;

		if (attachment_is_watched(attachment) && s->control->limit > limit && attachment_is_armed(attachment))
			limit = s->control->limit;
	}
	return (double)limit / KERNEL_SHARE;
}

/* ---- the lock ---- */

static int watcher_lock_open(const struct kernel_session *k)
{
	return open(pin_path(&k->pins, "watch", -1, -1), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool watcher_is_running(const struct kernel_session *k)
{
	int fd = watcher_lock_open(k);
	bool running;

	if (fd < 0)
		return false;
	running = flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
	close(fd);
	return running;
}

/*
 * Makes this process the watcher. The caller holds the session's lock. Returns a descriptor that keeps the directory
 * locked, or a negative errno with an error message: -EALREADY if another process is the watcher.
 */
static int watcher_lock(const struct kernel_session *k)
{
	const char *path = pin_path(&k->pins, "watch", -1, -1);
	int fd, err = 0;

	if (mkdir(path, 0700) && errno != EEXIST)
		return error_set(errno, "cannot create '%s': %s", path, strerror(errno));
	fd = watcher_lock_open(k);
	if (fd < 0)
		return error_set(errno, "cannot open '%s': %s", path, strerror(errno));
	/* watcher_is_running() of a command holds the lock for a moment. */
	for (int try = 0; try < 20; try++) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return fd;
		err = errno == EWOULDBLOCK ? EALREADY : errno;
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	close(fd);
	return error_set(err, "cannot lock '%s': %s", path, strerror(err));
}

/* ---- operations of the backend ---- */

double kernel_limit(const struct pp_session *session, bool *watched)
{
	double limit = watcher_limit(session);

	*watched = limit <= 0 || watcher_is_running(kernel_of(session));
	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];
		const struct kernel_attachment *s = attachment->backend == &backend_kernel ? attachment->state : NULL;
		double own =
			s && s->owned && attachment_is_armed(attachment) ? (double)s->control->limit / KERNEL_SHARE : 0;

		limit = own > limit ? own : limit;
	}
	return limit;
}

void kernel_unlimit(struct pp_session *session)
{
	for (size_t i = 0; i < session->nattachments; i++)
		if (attachment_is_watched(session->attachments[i]))
			((struct kernel_attachment *)session->attachments[i]->state)->control->limit = 0;
}

/* ---- when the watcher ends ---- */

static bool session_is_removed(const struct session_pins *pins)
{
	struct stat ours, current;

	return fstat(pins->dir, &ours) || stat(pins->path, &current) || ours.st_ino != current.st_ino;
}

/*
 * Returns true if all other processes of this mount namespace run this program. Then no command can reach the session,
 * and the watcher would keep the namespace, its bpffs and the links for ever. Processes that this process may not
 * inspect do not count. Returns false if this process cannot inspect any process of another namespace.
 */
static bool watcher_is_alone(void)
{
	struct stat space, own, st;
	bool alone = true, others = false;
	DIR *proc;

	if (stat("/proc/self/ns/mnt", &space) || stat("/proc/self/exe", &own))
		return false;
	proc = opendir("/proc");
	if (!proc)
		return false;
	for (struct dirent *entry; alone && (entry = readdir(proc));) {
		char path[320];

		snprintf(path, sizeof(path), "/proc/%s/ns/mnt", entry->d_name);
		if (!isdigit((unsigned char)entry->d_name[0]) || stat(path, &st))
			continue;
		if (st.st_dev != space.st_dev || st.st_ino != space.st_ino) {
			others = true;
			continue;
		}
		/* Kernel threads do not have a file. */
		snprintf(path, sizeof(path), "/proc/%s/exe", entry->d_name);
		alone = !stat(path, &st) && st.st_dev == own.st_dev && st.st_ino == own.st_ino;
	}
	closedir(proc);
	return alone && others;
}

/* Returns true if all processes that can hit the attachment's points have ended. */
static bool attachment_is_over(const struct attachment *attachment)
{
	const struct kernel_attachment *s = attachment->state;
	pid_t last = 0;

	for (uint32_t p = 0; p < attachment->manifest->npoints; p++) {
		pid_t pid = (pid_t)manifest_points(attachment->manifest)[p].pid;
		clockid_t clock;

		if (!pid || s->control->unseen || (pid != last && clock_getcpuclockid(pid, &clock) != ESRCH))
			return false;
		last = pid;
	}
	return true;
}

/*
 * Ends the budget of attachments that cannot be hit any more. A new process with the same pid is not hit, because the
 * kernel's filter refers to the process, not to its pid.
 */
static void watcher_end_budgets(const struct pp_session *session)
{
	for (size_t i = 0; i < session->nattachments; i++)
		if (attachment_is_watched(session->attachments[i]) && attachment_is_over(session->attachments[i]))
			((struct kernel_attachment *)session->attachments[i]->state)->control->limit = 0;
}

/* ---- the process ---- */

struct watcher {
	struct pp_session *session;
	struct budget *budget;
	int signals;
	uint64_t attachments; /* kernel_config.next_attachment when the attachments were loaded */
};

/*
 * Loads the attachments again if that may change the budget, which goes to *limit. Returns 0; 1 with the session locked
 * if there is nothing to watch; or a negative errno.
 */
static int watcher_reload(struct watcher *w, double *limit)
{
	const struct kernel_session *k = kernel_of(w->session);
	int err;

	*limit = watcher_limit(w->session);
	if (*limit > 0 && w->attachments == k->config->next_attachment)
		return 0;
	err = kernel_session_lock(w->session);
	if (err)
		return err == -EBUSY ? 0 : err;
	w->attachments = k->config->next_attachment;
	*limit = watcher_limit(w->session);
	if (*limit <= 0)
		return 1;
	kernel_session_unlock(w->session);
	return 0;
}

/* Returns 0 with the session locked if there is nothing to watch any more, -EINTR after a signal, or another errno. */
static int watcher_loop(struct watcher *w)
{
	const struct kernel_session *k = kernel_of(w->session);
	struct pollfd fd = { .fd = w->signals, .events = POLLIN };
	uint64_t next = 0, alone = clock_ns() + ALONE_NS;

	w->attachments = k->config->next_attachment;
	for (;;) {
		int64_t rest = (int64_t)(next - clock_ns());
		double limit;
		int ended = watcher_reload(w, &limit);

		if (ended)
			return ended < 0 ? ended : 0;
		if (rest <= 0) {
			budget_set_limit(w->budget, limit);
			next = clock_ns() +
			       budget_check(w->budget, w->session, kernel_session_lock, kernel_session_unlock);
			rest = (int64_t)(next - clock_ns());
		}
		if (rest > 0 && poll(&fd, 1, (int)(rest / 1000000 + 1)) > 0)
			return -EINTR;
		if (session_is_removed(&k->pins))
			return -ENOENT;
		if (clock_ns() < alone)
			continue;
		if (watcher_is_alone())
			return -ENOENT;
		watcher_end_budgets(w->session);
		alone = clock_ns() + ALONE_NS;
	}
}

/* Blocks the signals that end the watcher. Returns a descriptor that receives them. */
static int watcher_signals_block(sigset_t *before)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, before);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Reads pending signals before it restores the mask, because their default action would kill the caller. */
static void watcher_signals_restore(int fd, const sigset_t *before)
{
	struct signalfd_siginfo signal;

	while (read(fd, &signal, sizeof(signal)) == sizeof(signal))
		;
	close(fd);
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

int kernel_watch(struct pp_session *session, void (*ready)(void *arg), void *arg)
{
	struct kernel_session *k = kernel_of(session);
	struct watcher w = { .session = session };
	int err = namespace_check(k, session->name, "watch"), lock;
	sigset_t before;

	if (!err)
		err = kernel_session_lock(session);
	if (err)
		return err;
	lock = watcher_lock(k);
	kernel_session_unlock(session);
	if (lock < 0)
		return lock;
	ready(arg);
	w.signals = watcher_signals_block(&before);
	err = budget_new(&w.budget, attachment_is_watched, watcher_limit(session), BUDGET_CREDIT);
	if (!err)
		err = watcher_loop(&w);
	budget_free(w.budget);
	watcher_signals_restore(w.signals, &before);
	/*
	 * The session's lock is held if err is 0: no command arms between the end of the loop and the end of the lock.
	 */
	if (!err)
		pin_unlink(&k->pins, "watch", -1, -1);
	close(lock);
	if (!err)
		kernel_session_unlock(session);
	return err;
}
