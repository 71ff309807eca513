/* SPDX-License-Identifier: MIT */
/*
 * The owner process of attachments that end by themselves (pp_session_hold()).
 *
 * 1. The owner has the only descriptors of the links, which are not pinned. When the process ends, however it ends,
 *    nothing is armed any more. owner-lock.c describes its lock.
 * 2. It waits for the deadline, for the end of the given processes, for a signal to end, and for requests of other
 *    commands.
 * 3. It replaces links for commands that have switched off points (owner_serve).
 * 4. It checks the budget of its attachments, if there is one (budget.c).
 * 5. At the end it disarms its attachments, under the session's lock (owner_end). That is the only time at which it
 *    takes this lock, because commands that wait for it hold the lock.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/kernel/budget.h"
#include "runtime/kernel/kernel.h"

#define WAIT_MAX_NS 60000000000

/* Returns the state of an attachment that this process owns, else NULL. */
static struct kernel_attachment *attachment_owned(const struct attachment *attachment)
{
	struct kernel_attachment *s = attachment->backend == &backend_kernel ? attachment->state : NULL;

	return s && s->owner_fd >= 0 ? s : NULL;
}

static bool attachment_is_owned(const struct attachment *attachment)
{
	return attachment_owned(attachment) != NULL;
}

/* Returns true if a point is armed, or was disarmed because of the budget, which probe-stat still reports. */
static bool owner_is_needed(const struct pp_session *session)
{
	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];

		if (!attachment_is_owned(attachment))
			continue;
		for (uint32_t p = 0; p < attachment->manifest->npoints; p++)
			if (kernel_armed(attachment, p) || kernel_over_budget(attachment, p))
				return true;
	}
	return false;
}

/* Does what other commands have asked for: see owner_ask(). */
static void owner_serve(struct pp_session *session)
{
	for (size_t i = 0; i < session->nattachments; i++) {
		struct kernel_attachment *s = attachment_owned(session->attachments[i]);
		uint64_t asked = s ? __atomic_load_n(&s->control->asked, __ATOMIC_SEQ_CST) : 0;

		if (!s || s->control->done >= asked)
			continue;
		kernel_links_renew(s, session->attachments[i]);
		__atomic_store_n(&s->control->done, asked, __ATOMIC_SEQ_CST);
	}
}

/* ---- the end ---- */

/* Returns true if the attachment's directory is still the one that this process has locked. */
static bool owner_has_pins(const struct kernel_attachment *s, int number)
{
	struct stat ours, current;

	return !fstat(s->owner_fd, &ours) && !stat(pin_path(&s->session->pins, "held", number, -1), &current) &&
	       ours.st_ino == current.st_ino;
}

static int pin_is_manifest(const char *name, int attachment, int link, void *arg)
{
	(void)attachment;
	(void)link;
	*(bool *)arg |= !strcmp(name, "desc");
	return 0;
}

/*
 * Disarms the attachments, and removes the session if no attachment is left. If the session was removed, or made anew,
 * its pins belong to others, and the links end with this process.
 */
static void owner_end(struct pp_session *session)
{
	struct kernel_session *k = kernel_of(session);
	bool has_manifest = false;
	int err;

	do
		err = pins_lock(&k->pins, false);
	while (err == -EBUSY);
	if (err)
		return;
	for (size_t i = 0; i < session->nattachments; i++) {
		struct kernel_attachment *s = attachment_owned(session->attachments[i]);

		if (s && owner_has_pins(s, (int)session->attachments[i]->number))
			kernel_disarm(session, session->attachments[i], NULL, true);
	}
	pins_each(&k->pins, pin_is_manifest, &has_manifest);
	if (!has_manifest)
		pins_remove(&k->pins);
	pins_unlock(&k->pins);
}

/* ---- waiting ---- */

struct owner_wait {
	struct pollfd *fds; /* the signals, and after them the processes */
	size_t n, alive;    /* processes; how many of them have not ended */
	uint64_t deadline;  /* 0: none */
	struct budget *budget;
	uint64_t next_check; /* of the budget */
	bool ended;          /* by a signal */
};

static int owner_wait_open(struct owner_wait *w, struct kernel_session *k, const struct hold_options *options)
{
	sigset_t set;

	w->fds = calloc(options->npidfds + 1, sizeof(*w->fds));
	if (!w->fds)
		return error_nomem();
	w->n = w->alive = options->npidfds;
	w->deadline = options->deadline;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	owner_signals_block(k, &set);
	w->fds[0] = (struct pollfd){ .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN };
	for (size_t i = 0; i < w->n; i++)
		w->fds[i + 1] = (struct pollfd){ .fd = options->pidfds[i], .events = POLLIN };
	return 0;
}

static void owner_wait_close(struct owner_wait *w)
{
	budget_free(w->budget);
	close(w->fds[0].fd);
	free(w->fds);
}

/* Reads the signals and the ends of processes that poll(2) has reported. */
static void owner_wait_read(struct owner_wait *w)
{
	struct signalfd_siginfo signal;

	while (read(w->fds[0].fd, &signal, sizeof(signal)) == sizeof(signal))
		w->ended |= signal.ssi_signo != SIGUSR1;
	for (size_t i = 1; i <= w->n; i++)
		if (w->fds[i].fd >= 0 && w->fds[i].revents) {
			w->fds[i].fd = -1;
			w->alive--;
		}
}

static void owner_loop(struct owner_wait *w, struct pp_session *session)
{
	while (!w->ended && owner_is_needed(session) && (!w->n || w->alive)) {
		uint64_t now = clock_ns();
		int64_t rest = w->deadline ? (int64_t)(w->deadline - now) : WAIT_MAX_NS;

		if (rest <= 0)
			return;
		if (w->budget && now >= w->next_check)
			w->next_check = clock_ns() + budget_check(w->budget, session, NULL, NULL);
		if (w->budget && rest > (int64_t)(w->next_check - now))
			rest = (int64_t)(w->next_check - now);
		if (ppoll(w->fds, w->n + 1, &(struct timespec){ rest / 1000000000, rest % 1000000000 }, NULL) < 0)
			continue;
		owner_wait_read(w);
		owner_serve(session);
	}
}

int kernel_hold(struct pp_session *session, const struct hold_options *options)
{
	struct kernel_session *k = kernel_of(session);
	struct owner_wait w = { 0 };
	int err = owner_wait_open(&w, k, options);

	if (err)
		return err;
	owner_serve(session);
	/* If memory allocation fails, disarms at once, because hits must not exceed the budget. */
	if (options->budget > 0)
		w.ended = budget_new(&w.budget, attachment_is_owned, options->budget,
		                     options->strict ? 0 : BUDGET_CREDIT) != 0;
	owner_loop(&w, session);
	owner_wait_close(&w);
	owner_end(session);
	owner_signals_restore(k);
	return 0;
}
