/* SPDX-License-Identifier: MIT */
/*
 * The brake: it keeps what hits cost below a budget.
 *
 * Where it is. A BPF program could count time and return early, but the trap around it costs five to twenty times as
 * much, and only removing the link ends the trap. So a process looks. For `--budget SHARE%` it is the holder (hold.c);
 * for what stays armed without a holder it is a watcher, one for each session. A watcher holds no link: if it is
 * killed, everything stays armed, and probe-stat says that nothing watches. It keeps the directory `watch` of the
 * session locked, so that commands know whether it lives.
 *
 * What it does at each look:
 *
 * 1. It adds up the hits since the last look, at the calibrated cost of their traps (cost.c).
 * 2. If that is more than an eighth of the budget, it measures the programs for a moment. It does so at every look if
 *    processes that are not meant have traps too, because their hits are in no counter.
 * 3. The cost is not more than the CPU time that the targets used, if they are known.
 * 4. A watcher has a credit of four seconds of the budget, because a short burst harms nobody. The holder of an explicit
 *    budget has none.
 * 5. If the credit is used up, it disarms the points that were hit most, until the rest costs less than the budget. A
 *    program that is no longer slowed down hits the rest more often. So it looks again soon, and if the cost is more than
 *    twice the budget, it expects that the program uses the time that is saved.
 */
#include <ctype.h>
#include <dirent.h>
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
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "runtime/kernel/budget.h"
#include "runtime/kernel/kernel.h"
#include "base/error.h"

#define LOOK_NS 1000000000
#define AGAIN_NS 250000000 /* after a look that found too much */
#define MEASURE_MS 50
#define ALONE_NS 1000000000
#define TRAP_UNKNOWN 1000.0 /* ns, if it cannot be calibrated */

/* What the looks saw of an attachment. The session may have loaded it anew meanwhile. */
struct seen {
	uint32_t number, npoints;
	uint64_t *hits, *since; /* of each point: in all, and between the last two looks */
};

struct brake {
	double limit, seconds, credit; /* credit: in CPU seconds, at most limit * seconds */
	cost_choice *mine;
	uint64_t time; /* of the last look; 0: there was none */
	struct seen *seen;
	size_t nseen;
	struct targets_cpu targets;
	double program_ns;
	double used; /* by the targets since the last look, as a share of one CPU; below 0: unknown */
};

int brake_new(struct brake **brake, cost_choice *mine, double limit, double credit)
{
	struct brake *b = calloc(1, sizeof(*b));

	if (!b)
		return error_nomem();
	*b = (struct brake){ .limit = limit, .seconds = credit, .credit = limit * credit, .mine = mine };
	*brake = b;
	return 0;
}

static void forget(struct brake *b, size_t i)
{
	free(b->seen[i].hits);
	free(b->seen[i].since);
	b->seen[i] = b->seen[--b->nseen];
}

void brake_free(struct brake *b)
{
	if (!b)
		return;
	while (b->nseen)
		forget(b, 0);
	free(b->seen);
	targets_cpu_release(&b->targets);
	free(b);
}

static const struct seen *seen_find(const struct brake *b, const struct attachment *attachment)
{
	for (size_t i = 0; i < b->nseen; i++)
		if (b->seen[i].number == attachment->number && b->seen[i].npoints == attachment->manifest->npoints)
			return &b->seen[i];
	return NULL;
}

/* An attachment that was not seen before. NULL: no memory. */
static const struct seen *seen_add(struct brake *b, const struct attachment *attachment)
{
	struct seen *more = realloc(b->seen, (b->nseen + 1) * sizeof(*more)), *seen;
	uint32_t n = attachment->manifest->npoints;

	if (!more)
		return NULL;
	b->seen = more;
	seen = &more[b->nseen];
	*seen = (struct seen){ attachment->number, n, calloc(n, sizeof(*seen->hits)), calloc(n, sizeof(*seen->since)) };
	if (!seen->hits || !seen->since) {
		free(seen->hits);
		free(seen->since);
		return NULL;
	}
	for (uint32_t p = 0; p < n; p++)
		seen->hits[p] = cost_hits(attachment, p);
	b->nseen++;
	return seen;
}

static double hit_ns(const struct brake *b, const struct attachment *attachment, uint32_t point)
{
	double trap = cost_trap_of(attachment, point);

	return (trap > 0 ? trap : TRAP_UNKNOWN) + b->program_ns;
}

/* ---- a look --------------------------------------------------------------------- */

static uint64_t all_hits(const struct brake *b, const struct pp_session *session)
{
	uint64_t hits = 0;

	for (size_t i = 0; i < session->nattachments; i++)
		for (uint32_t p = 0; b->mine(session->attachments[i]) && p < session->attachments[i]->manifest->npoints;
		     p++)
			hits += cost_hits(session->attachments[i], p);
	return hits;
}

/* Counts the hits since the last look. *unseen: there may be others. */
static void count(struct brake *b, const struct pp_session *session, bool *unseen)
{
	*unseen = false;
	for (size_t k = b->nseen; k > 0; k--) {
		bool there = false;

		for (size_t i = 0; i < session->nattachments && !there; i++)
			there = session->attachments[i]->number == b->seen[k - 1].number &&
			        b->mine(session->attachments[i]);
		if (!there)
			forget(b, k - 1);
	}
	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];
		const struct seen *seen = b->mine(attachment) ? seen_find(b, attachment) : NULL;

		if (!b->mine(attachment) || (!seen && !(seen = seen_add(b, attachment))))
			continue;
		*unseen |= ((const struct kernel_attachment *)attachment->state)->change->unseen;
		for (uint32_t p = 0; p < seen->npoints; p++) {
			uint64_t hits = cost_hits(attachment, p);

			seen->since[p] = hits - seen->hits[p];
			seen->hits[p] = hits;
		}
	}
}

/* ns that the hits since the last look took, of points that can still be stopped. */
static double counted_ns(const struct brake *b, const struct pp_session *session)
{
	double ns = 0;

	for (size_t i = 0; i < session->nattachments; i++) {
		const struct seen *seen =
			b->mine(session->attachments[i]) ? seen_find(b, session->attachments[i]) : NULL;

		for (uint32_t p = 0; seen && p < seen->npoints; p++)
			if (seen->since[p] && kernel_armed(session->attachments[i], p))
				ns += (double)seen->since[p] * hit_ns(b, session->attachments[i], p);
	}
	return ns;
}

/* Measures the programs. Returns the share of hits that are in no counter. */
static double measure(struct brake *b, const struct pp_session *session, bool unseen)
{
	uint64_t before = all_hits(b, session), counted;
	struct cost cost;

	if (cost_measure(session, b->mine, MEASURE_MS, &cost) || !cost.runs || !cost.time)
		return 0;
	b->program_ns = cost.program_ns;
	counted = all_hits(b, session) - before;
	if (!unseen || cost.runs <= counted)
		return 0;
	return (double)(cost.runs - counted) * ((cost_trap() > 0 ? cost_trap() : TRAP_UNKNOWN) + b->program_ns) /
	       (double)cost.time;
}

/* The share of one CPU that hits took since the last look. */
static double look(struct brake *b, const struct pp_session *session)
{
	struct targets_cpu targets = { 0 };
	uint64_t now = clock_ns(), elapsed = now - b->time;
	double share = 0, used;
	bool unseen, first = !b->time;

	targets_cpu_read(&targets, session, b->mine);
	count(b, session, &unseen);
	used = targets_cpu_used(&b->targets, &targets);
	b->used = used < 0 || !elapsed ? -1 : used / (double)elapsed;
	targets_cpu_release(&b->targets);
	b->targets = targets;
	b->time = now;
	if (first || !elapsed)
		return 0;
	if (unseen || counted_ns(b, session) > b->limit * (double)elapsed / 8)
		share = measure(b, session, unseen);
	share += counted_ns(b, session) / (double)elapsed;
	if (b->used >= 0 && share > b->used)
		share = b->used;
	b->credit += (b->limit - share) * (double)elapsed / 1e9;
	if (b->credit > b->limit * b->seconds)
		b->credit = b->limit * b->seconds;
	return share;
}

/* ---- disarming ------------------------------------------------------------------ */

struct candidate {
	struct attachment *attachment;
	uint32_t point;
	double ns;
};

static int by_cost(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return (x->ns < y->ns) - (x->ns > y->ns);
}

/* Stops the point. The sites of a function whose returns are armed go together. Returns the ns that they took. */
static double stop(struct brake *b, const struct candidate *c, uint64_t why)
{
	const struct manifest_point *points = manifest_points(c->attachment->manifest), *point = &points[c->point];
	const struct seen *seen = seen_find(b, c->attachment);
	double ns = 0;

	if (!point->role) {
		kernel_switch_off(c->attachment->state, c->point, why);
		return c->ns;
	}
	for (uint32_t p = 0; p < c->attachment->manifest->npoints; p++)
		if (points[p].role && points[p].probe == point->probe && points[p].pid == point->pid &&
		    kernel_armed(c->attachment, p)) {
			kernel_switch_off(c->attachment->state, p, why);
			ns += seen ? (double)seen->since[p] * hit_ns(b, c->attachment, p) : 0;
		}
	return ns;
}

/* What the rest will cost when all but that is saved. */
static double expected(const struct brake *b, double share, double rest)
{
	double other = b->used - share; /* what the targets do beside hits: a calibrated cost leaves some doubt */

	if (rest <= 0 || share <= 2 * b->limit || b->used <= 0)
		return rest;
	if (other < 0.02 * b->used)
		other = 0.02 * b->used;
	return rest * b->used / (rest + other);
}

static uint64_t units(double share)
{
	double n = share * KERNEL_SHARE + 0.5;

	return n < KERNEL_SHARE_MAX ? (uint64_t)n : KERNEL_SHARE_MAX;
}

/* The session's attachments are as the store has them, and nobody else changes them. */
static void stop_worst(struct brake *b, struct pp_session *session, double share)
{
	struct candidate *all;
	size_t n = 0, room = 0;
	double ns = 0, left = share;
	uint64_t why = kernel_off_why(units(b->limit), units(share));

	for (size_t i = 0; i < session->nattachments; i++)
		room += b->mine(session->attachments[i]) ? session->attachments[i]->manifest->npoints : 0;
	all = calloc(room + 1, sizeof(*all));
	if (!all)
		return;
	for (size_t i = 0; i < session->nattachments; i++) {
		struct attachment *attachment = session->attachments[i];
		const struct seen *seen = b->mine(attachment) ? seen_find(b, attachment) : NULL;

		for (uint32_t p = 0; seen && p < attachment->manifest->npoints; p++) {
			double cost = (double)seen->since[p] * hit_ns(b, attachment, p);

			if (!kernel_armed(attachment, p))
				continue;
			ns += cost;
			all[n++] = (struct candidate){ attachment, p, cost };
		}
	}
	qsort(all, n, sizeof(*all), by_cost);
	/*
	 * Hits of processes that are not meant are attributed to the points by their shares. If nothing else was hit, they
	 * may be hits of any point, and all are stopped.
	 */
	for (size_t i = 0; i < n && expected(b, share, left) > b->limit && (all[i].ns > 0 || ns <= 0); i++) {
		struct kernel_attachment *s = all[i].attachment->state;

		if (!kernel_armed(all[i].attachment, all[i].point))
			continue;
		__atomic_store_n(&s->change->unfinished, 1, __ATOMIC_SEQ_CST);

		double took = stop(b, &all[i], why);

		left -= ns > 0 ? share * took / ns : 0;
	}
	free(all);
	for (size_t i = 0; i < session->nattachments; i++) {
		struct kernel_attachment *s = b->mine(session->attachments[i]) ? session->attachments[i]->state : NULL;

		if (s && s->change->unfinished)
			kernel_change(s, session->attachments[i]);
	}
}

uint64_t brake_look(struct brake *b, struct pp_session *session, int (*lock)(struct pp_session *session),
                    void (*unlock)(struct pp_session *session))
{
	double share = look(b, session);

	if (share <= b->limit)
		return LOOK_NS;
	if (b->credit >= 0 || (lock && lock(session)))
		return AGAIN_NS;
	stop_worst(b, session, share);
	b->credit = 0;
	if (unlock)
		unlock(session);
	return AGAIN_NS;
}

void brake_limit(struct brake *b, double limit)
{
	b->limit = limit;
}

/* ---- the watcher ---------------------------------------------------------------- */

static bool is_watched(const struct attachment *attachment)
{
	const struct kernel_attachment *s = attachment->backend == &backend_kernel ? attachment->state : NULL;

	return s && kernel_is_pinned(s) && s->change->limit;
}

static bool any_armed(const struct attachment *attachment)
{
	for (uint32_t p = 0; p < attachment->manifest->npoints; p++)
		if (kernel_armed(attachment, p))
			return true;
	return false;
}

/* The greatest budget of what is armed and is_watched(). 0: there is nothing to watch. */
static double watched_limit(const struct pp_session *session)
{
	uint64_t limit = 0;

	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];
		const struct kernel_attachment *s = attachment->state;

		if (is_watched(attachment) && s->change->limit > limit && any_armed(attachment))
			limit = s->change->limit;
	}
	return (double)limit / KERNEL_SHARE;
}

static int watch_open(const struct kernel_session *k)
{
	return open(store_path(&k->store, "watch", -1, -1), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

double kernel_limit(const struct pp_session *session, bool *watched)
{
	double limit = watched_limit(session);
	int fd = limit > 0 ? watch_open(kernel_of(session)) : -1;

	*watched = limit <= 0 || (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK);
	if (fd >= 0)
		close(fd);
	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];
		const struct kernel_attachment *s = attachment->backend == &backend_kernel ? attachment->state : NULL;
		double own = s && s->held && any_armed(attachment) ? (double)s->change->limit / KERNEL_SHARE : 0;

		limit = own > limit ? own : limit;
	}
	return limit;
}

void kernel_unlimit(struct pp_session *session)
{
	for (size_t i = 0; i < session->nattachments; i++)
		if (is_watched(session->attachments[i]))
			((struct kernel_attachment *)session->attachments[i]->state)->change->limit = 0;
}

/* Under the session's lock: a descriptor of the locked directory. -EALREADY: another process watches. */
static int watch_begin(const struct kernel_session *k)
{
	const char *path = store_path(&k->store, "watch", -1, -1);
	int fd, err = 0;

	if (mkdir(path, 0700) && errno != EEXIST)
		return error_set(errno, "cannot make %s: %s", path, strerror(errno));
	fd = watch_open(k);
	if (fd < 0)
		return error_set(errno, "cannot open %s: %s", path, strerror(errno));
	/* A command that only wants to know has the lock for a moment (kernel_limit()). */
	for (int try = 0; try < 20; try++) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return fd;
		err = errno == EWOULDBLOCK ? EALREADY : errno;
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	close(fd);
	return error_set(err, "cannot lock %s: %s", path, strerror(err));
}

static bool is_gone(const struct store *store)
{
	struct stat ours, there;

	return fstat(store->dir, &ours) || stat(store->path, &there) || ours.st_ino != there.st_ino;
}

/*
 * Whether this mount namespace has no other processes than such as this one. Then no command can reach the session, and
 * a watcher would keep the namespace, its bpffs and the links alive for ever. Processes that may not be looked at do not
 * count; if there are only such, the answer is no.
 */
static bool is_alone(void)
{
	struct stat space, own, st;
	bool alone = true, others = false;
	DIR *proc;

	if (stat("/proc/self/ns/mnt", &space) || stat("/proc/self/exe", &own) || !(proc = opendir("/proc")))
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
		/* A kernel thread has no file. */
		snprintf(path, sizeof(path), "/proc/%s/exe", entry->d_name);
		alone = !stat(path, &st) && st.st_dev == own.st_dev && st.st_ino == own.st_ino;
	}
	closedir(proc);
	return alone && others;
}

/* Whether no process is left that the attachment's points can be hit in. */
static bool is_over(const struct attachment *attachment)
{
	const struct kernel_attachment *s = attachment->state;
	pid_t last = 0;

	for (uint32_t p = 0; p < attachment->manifest->npoints; p++) {
		pid_t pid = (pid_t)manifest_points(attachment->manifest)[p].pid;
		clockid_t clock;

		if (!pid || s->change->unseen || (pid != last && clock_getcpuclockid(pid, &clock) != ESRCH))
			return false;
		last = pid;
	}
	return true;
}

/* The kernel's filter holds the process, not the number, so that a new process with the number is not hit. */
static void end_budgets(const struct pp_session *session)
{
	for (size_t i = 0; i < session->nattachments; i++)
		if (is_watched(session->attachments[i]) && is_over(session->attachments[i]))
			((struct kernel_attachment *)session->attachments[i]->state)->change->limit = 0;
}

/* Until a signal comes or nothing is left to be watched. */
static int watch(struct pp_session *session, struct brake *b, int signals)
{
	struct kernel_session *k = kernel_of(session);
	struct pollfd fd = { .fd = signals, .events = POLLIN };
	uint64_t attachments = k->config->next_attachment, next = 0, alone = clock_ns() + ALONE_NS;

	for (;;) {
		int64_t rest = (int64_t)(next - clock_ns());
		double limit = watched_limit(session);

		/* The store has the last word, under the lock: a command may be adding points. */
		if (limit <= 0 || attachments != k->config->next_attachment) {
			int err = backend_kernel.lock(session);

			if (err && err != -EBUSY)
				return err;
			if (!err) {
				attachments = k->config->next_attachment;
				limit = watched_limit(session);
				if (limit <= 0)
					return 0; /* with the lock */
				backend_kernel.unlock(session);
			}
		}
		if (rest <= 0) {
			brake_limit(b, limit);
			next = clock_ns() + brake_look(b, session, backend_kernel.lock, backend_kernel.unlock);
			rest = (int64_t)(next - clock_ns());
		}
		if (rest > 0 && poll(&fd, 1, (int)(rest / 1000000 + 1)) > 0)
			return -EINTR;
		if (is_gone(&k->store))
			return -ENOENT;
		if (clock_ns() >= alone) {
			if (is_alone())
				return -ENOENT;
			end_budgets(session);
			alone = clock_ns() + ALONE_NS;
		}
	}
}

int kernel_watch(struct pp_session *session, void (*ready)(void *arg), void *arg)
{
	struct kernel_session *k = kernel_of(session);
	struct brake *brake = NULL;
	int err = backend_kernel.lock(session), lock, signals;
	struct signalfd_siginfo signal;
	sigset_t set, before;

	if (err)
		return err;
	lock = watch_begin(k);
	backend_kernel.unlock(session);
	if (lock < 0)
		return lock;
	ready(arg);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	err = brake_new(&brake, is_watched, watched_limit(session), BRAKE_CREDIT);
	if (!err)
		err = watch(session, brake, signals);
	brake_free(brake);
	/* A signal that ended the watching is taken, because its default action would kill the caller. */
	while (read(signals, &signal, sizeof(signal)) == sizeof(signal))
		;
	close(signals);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	/* Ended under the lock: a command that arms next finds that nothing watches, and starts another watcher. */
	if (!err)
		store_unlink(&k->store, "watch", -1, -1);
	close(lock);
	if (!err)
		backend_kernel.unlock(session);
	return err;
}
