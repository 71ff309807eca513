/* SPDX-License-Identifier: MIT */
/*
 * Holders. What is to end by itself has a process that holds its links, and pins them
 * nowhere: when that process ends, however it does, nothing is armed any more. It
 * keeps a folder `held-S` locked meanwhile, which says that it lives: a lock dies with
 * its holder, and whoever looks at the store next removes the rest.
 *
 * Others can read the counters and switch points off, but cannot make links anew. So
 * they switch off, ask for the rest, wake the holder, and wait until it is done. They
 * have the session's lock then; the holder takes it only to end by itself.
 *
 * A holder with a budget keeps it (brake.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "runtime/kernel/budget.h"
#include "runtime/kernel/kernel.h"
#include "base/error.h"

#define ANSWER_MS 10000

static int folder(const struct kernel_attachment *s, int number)
{
	return open(store_path(&s->session->store, "held", number, -1),
	            O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Blocks the signal for this thread. The first call keeps the mask for kernel_signals_restore(). */
static void signals_block(struct kernel_session *k, const sigset_t *set)
{
	pthread_sigmask(SIG_BLOCK, set, k->masked ? NULL : &k->mask);
	k->masked = true;
}

void kernel_signals_restore(struct kernel_session *k)
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

int kernel_hold_begin(struct kernel_attachment *s, int number)
{
	const char *path = store_path(&s->session->store, "held", number, -1);
	sigset_t set;

	/* Others may ask from here on; kernel_hold() hears it. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	signals_block(s->session, &set);
	if (mkdir(path, 0700) || (s->hold_fd = folder(s, number)) < 0 || flock(s->hold_fd, LOCK_EX | LOCK_NB))
		return error_set(errno, "cannot hold %s: %s", path, strerror(errno));
	s->change->holder = (uint64_t)getpid();
	return 0;
}

static bool is_alive(const struct kernel_attachment *s, int number)
{
	int fd = folder(s, number);
	/* If it cannot be opened (no descriptors), it must count as alive, because callers remove what a dead one held. */
	bool alive = fd >= 0 ? flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK : errno != ENOENT;

	if (fd >= 0)
		close(fd);
	return alive;
}

int kernel_hold_find(struct kernel_attachment *s, int number)
{
	s->held = !access(store_path(&s->session->store, "held", number, -1), F_OK);
	return s->held && !is_alive(s, number) ? -ENOENT : 0;
}

int kernel_hold_ask(struct kernel_attachment *s, int number)
{
	pid_t pid = (pid_t)s->change->holder;
	int pidfd = syscall(SYS_pidfd_open, pid, 0), err = 0;
	uint64_t asked = __atomic_add_fetch(&s->change->asked, 1, __ATOMIC_SEQ_CST);

	for (int i = 0; __atomic_load_n(&s->change->done, __ATOMIC_SEQ_CST) < asked; i++) {
		/* It is alive, so the number is its own, and so is what the pidfd was opened by before. */
		if (!is_alive(s, number))
			break;
		if (i == ANSWER_MS / 5) {
			err = error_set(EBUSY, "process %d, which holds what is armed, does not answer: is it stopped?",
			                pid);
			break;
		}
		if (!(i % 50) && (pidfd < 0 || syscall(SYS_pidfd_send_signal, pidfd, SIGUSR1, NULL, 0))) {
			err = error_set(errno, "cannot tell process %d, which holds what is armed: %s", pid,
			                strerror(errno));
			break;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
	if (pidfd >= 0)
		close(pidfd);
	return err;
}

/* ---- the holder ------------------------------------------------------------------- */

static struct kernel_attachment *held(const struct attachment *attachment)
{
	struct kernel_attachment *s = attachment->backend == &backend_kernel ? attachment->state : NULL;

	return s && s->hold_fd >= 0 ? s : NULL;
}

static bool any_armed(const struct pp_session *session)
{
	for (size_t i = 0; i < session->nattachments; i++)
		for (uint32_t p = 0; held(session->attachments[i]) && p < session->attachments[i]->manifest->npoints;
		     p++)
			if (kernel_armed(session->attachments[i], p) || kernel_over_budget(session->attachments[i], p))
				return true;
	return false;
}

static void do_what_was_asked(struct pp_session *session)
{
	for (size_t i = 0; i < session->nattachments; i++) {
		struct kernel_attachment *s = held(session->attachments[i]);
		uint64_t asked = s ? __atomic_load_n(&s->change->asked, __ATOMIC_SEQ_CST) : 0;

		if (!s || s->change->done >= asked)
			continue;
		kernel_change(s, session->attachments[i]);
		__atomic_store_n(&s->change->done, asked, __ATOMIC_SEQ_CST);
	}
}

static int note_any(const char *name, int attachment, int link, void *arg)
{
	(void)attachment;
	(void)link;
	*(bool *)arg |= !strcmp(name, "desc");
	return 0;
}

/* Under the session's lock, unless the session is gone: then nothing in the store is ours any more. */
static int end(struct pp_session *session)
{
	struct kernel_session *k = kernel_of(session);
	bool left = false;
	int err;

	do
		err = store_lock(&k->store, false);
	while (err == -EBUSY);
	for (size_t i = 0; i < session->nattachments; i++) {
		struct kernel_attachment *s = held(session->attachments[i]);
		struct stat ours, there;

		if (!s)
			continue;
		if (err || fstat(s->hold_fd, &ours) ||
		    stat(store_path(&k->store, "held", (int)session->attachments[i]->number, -1), &there) ||
		    ours.st_ino != there.st_ino)
			continue; /* the links go with this process */
		kernel_disarm(session, session->attachments[i], NULL, true);
	}
	if (err)
		return 0;
	store_each(&k->store, note_any, &left);
	if (!left)
		store_remove(&k->store);
	store_unlock(&k->store);
	return 0;
}

static bool is_held(const struct attachment *attachment)
{
	return held(attachment) != NULL;
}

int kernel_hold(struct pp_session *session, const struct hold_options *options)
{
	const size_t n = options->npidfds;
	struct pollfd *fds = calloc(n + 1, sizeof(*fds));
	struct signalfd_siginfo signal;
	struct brake *brake = NULL;
	uint64_t look = 0;
	size_t alive = n;
	bool told = false;
	sigset_t set;
	int err;

	if (!fds)
		return error_nomem();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	signals_block(kernel_of(session), &set);
	fds[0] = (struct pollfd){ .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN };
	for (size_t i = 0; i < n; i++)
		fds[i + 1] = (struct pollfd){ .fd = options->pidfds[i], .events = POLLIN };
	do_what_was_asked(session);
	if (options->budget > 0 && brake_new(&brake, is_held, options->budget, options->strict ? 0 : BRAKE_CREDIT))
		told = true; /* better nothing than more than was allowed */
	while (!told && any_armed(session) && (!n || alive)) {
		uint64_t t = clock_ns();
		int64_t rest = options->deadline ? (int64_t)(options->deadline - t) : 60000000000;

		if (rest <= 0)
			break;
		if (brake && t >= look)
			look = clock_ns() + brake_look(brake, session, NULL, NULL);
		if (brake && rest > (int64_t)(look - t))
			rest = (int64_t)(look - t);
		if (ppoll(fds, n + 1, &(struct timespec){ rest / 1000000000, rest % 1000000000 }, NULL) < 0)
			continue;
		while (read(fds[0].fd, &signal, sizeof(signal)) == sizeof(signal))
			told |= signal.ssi_signo != SIGUSR1;
		for (size_t i = 1; i <= n; i++)
			if (fds[i].fd >= 0 && fds[i].revents) {
				fds[i].fd = -1;
				alive--;
			}
		do_what_was_asked(session);
	}
	brake_free(brake);
	close(fds[0].fd);
	free(fds);
	err = end(session);
	kernel_signals_restore(kernel_of(session));
	return err;
}
