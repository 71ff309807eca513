/* SPDX-License-Identifier: MIT */
/*
 * The lock of an owner process, and requests to it. owner.c is the process.
 *
 * 1. The owner keeps the directory `held-S` of its attachment locked as long as it lives. The kernel releases the lock
 *    when the process ends, however it ends, and the links end with it.
 * 2. The next command that opens the session finds the lock free and removes the rest of the attachment.
 * 3. Other commands can read the counters and switch off points, but they cannot replace links. So they switch off,
 *    increment control->asked, send SIGUSR1 to the owner, and wait until control->done has caught up.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/namespace.h"

#define ANSWER_MS 10000
#define POLL_MS 5

/* ---- signals ---- */

void owner_signals_block(struct kernel_session *k, const sigset_t *set)
{
	pthread_sigmask(SIG_BLOCK, set, k->masked ? NULL : &k->mask);
	k->masked = true;
}

void owner_signals_restore(struct kernel_session *k)
{
	sigset_t set;

	if (!k->masked)
		return;
	/* A late SIGUSR1 of another command must not reach the caller, because its default action kills. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	while (!sigismember(&k->mask, SIGUSR1) && sigtimedwait(&set, NULL, &(struct timespec){ 0 }) == SIGUSR1)
		;
	pthread_sigmask(SIG_SETMASK, &k->mask, NULL);
	k->masked = false;
}

/* ---- the lock ---- */

static int owner_lock_open(const struct kernel_attachment *s, int number)
{
	return open(pin_path(&s->session->pins, "held", number, -1), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int owner_begin(struct kernel_attachment *s, int number)
{
	const char *path = pin_path(&s->session->pins, "held", number, -1);
	sigset_t set;

	/* From here on other commands may send SIGUSR1. kernel_hold() receives it. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	owner_signals_block(s->session, &set);
	if (mkdir(path, 0700))
		return error_set(errno, "cannot create '%s': %s", path, strerror(errno));
	s->owner_fd = owner_lock_open(s, number);
	if (s->owner_fd < 0 || flock(s->owner_fd, LOCK_EX | LOCK_NB))
		return error_set(errno, "cannot lock '%s': %s", path, strerror(errno));
	s->control->owner = (uint64_t)getpid();
	return 0;
}

static bool owner_is_alive(const struct kernel_attachment *s, int number)
{
	int fd = owner_lock_open(s, number);
	bool alive;

	/* The owner counts as alive if this process lacks descriptors, because callers remove what a dead one owned. */
	if (fd < 0)
		return errno != ENOENT;
	alive = flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
	close(fd);
	return alive;
}

int owner_find(struct kernel_attachment *s, int number)
{
	s->owned = !access(pin_path(&s->session->pins, "held", number, -1), F_OK);
	return s->owned && !owner_is_alive(s, number) ? -ENOENT : 0;
}

/* ---- requests ---- */

/* Waits until the owner has done what it was asked, and reminds it now and then. */
static int owner_wait(const struct kernel_attachment *s, int number, uint64_t asked, int pidfd)
{
	pid_t pid = (pid_t)s->control->owner;

	for (int i = 0; __atomic_load_n(&s->control->done, __ATOMIC_SEQ_CST) < asked; i++) {
		/* While the owner lives, its pid is its own, so the pidfd, which was opened before, is the owner's. */
		if (!owner_is_alive(s, number))
			return 0;
		if (i == ANSWER_MS / POLL_MS)
			return error_set(EBUSY,
			                 "pid %d: the process, which owns the armed points, does not reply; it may be "
			                 "stopped",
			                 pid);
		if (!(i % 50) && (pidfd < 0 || syscall(SYS_pidfd_send_signal, pidfd, SIGUSR1, NULL, 0)))
			return error_set(errno, "pid %d: cannot signal the process, which owns the armed points: %s",
			                 pid, strerror(errno));
		nanosleep(&(struct timespec){ .tv_nsec = POLL_MS * 1000000 }, NULL);
	}
	return 0;
}

int owner_ask(struct kernel_attachment *s, int number)
{
	uint64_t asked;
	int pidfd, err;

	if (namespace_is_foreign(s->session))
		return error_set(EXDEV,
		                 "the process that owns the armed points is in another pid namespace; disarm there, or "
		                 "end it");
	pidfd = syscall(SYS_pidfd_open, (pid_t)s->control->owner, 0);
	asked = __atomic_add_fetch(&s->control->asked, 1, __ATOMIC_SEQ_CST);
	err = owner_wait(s, number, asked, pidfd);
	if (pidfd >= 0)
		close(pidfd);
	return err;
}
