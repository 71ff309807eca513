/* SPDX-License-Identifier: MIT */
/*
 * Keeps the CPU time of hits below a budget.
 *
 * A BPF program could measure time and return early, but the trap around it takes five to twenty times as long, and
 * only removing the link ends the trap. So a process checks the budget:
 *
 * - The owner process (owner.c) checks the budget that `--budget SHARE%` sets.
 * - The watcher (watcher.c), one process per session, checks the default budget of what stays armed without an owner.
 *
 * Each check works in five steps:
 *
 * 1. It multiplies the hits since the last check by the measured time of a trap (overhead.c).
 * 2. If that is more than an eighth of the budget, it measures the programs for a moment. It also measures them at
 *    every check if processes out of scope have traps too, because no counter has their hits.
 * 3. It limits the result to the CPU time that the targets used, if they are known.
 * 4. It compares the result with the budget. The watcher has a credit of four seconds of the budget, because a short
 *    burst is harmless. The owner has no credit if the budget was given explicitly.
 * 5. If the credit is used up, it disarms the points with the most hits, until the others take less than the budget. A
 *    program that is no longer slowed down hits the other points more often. So the next check comes soon; and if the
 *    result was more than twice the budget, the check expects that the program uses the time that it gains.
 */
#include "runtime/kernel/budget.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/error.h"

#define CHECK_NS 1000000000
#define CHECK_AGAIN_NS 250000000 /* after a check that found too much */
#define MEASURE_MS 50
#define TRAP_UNKNOWN_NS 1000.0 /* if the trap cannot be measured */

/* The hits of an attachment at the last two checks. The session may have loaded the attachment again in between. */
struct budget_hits {
	uint32_t number, npoints;
	uint64_t *total, *since; /* of each point: at the last check, and between the last two */
};

struct budget {
	double limit;           /* share of one CPU */
	double seconds, credit; /* credit: in CPU seconds, at most limit * seconds */
	attachment_choice *mine;
	uint64_t time; /* of the last check; 0: no check yet */
	struct budget_hits *hits;
	size_t nhits, room;
	struct targets_cpu targets;
	double program_ns;
	double used; /* by the targets since the last check, as a share of one CPU; below 0: unknown */
};

int budget_new(struct budget **budget, attachment_choice *mine, double limit, double credit)
{
	struct budget *b = calloc(1, sizeof(*b));

	if (!b)
		return error_nomem();
	*b = (struct budget){ .limit = limit, .seconds = credit, .credit = limit * credit, .mine = mine };
	*budget = b;
	return 0;
}

void budget_set_limit(struct budget *b, double limit)
{
	b->limit = limit;
}

static void hits_remove(struct budget *b, size_t i)
{
	free(b->hits[i].total);
	free(b->hits[i].since);
	b->hits[i] = b->hits[--b->nhits];
}

void budget_free(struct budget *b)
{
	if (!b)
		return;
	while (b->nhits)
		hits_remove(b, 0);
	free(b->hits);
	targets_cpu_release(&b->targets);
	free(b);
}

/* Returns the hits of an attachment, or NULL if the last check has not seen it. */
static const struct budget_hits *hits_find(const struct budget *b, const struct attachment *attachment)
{
	for (size_t i = 0; i < b->nhits; i++)
		if (b->hits[i].number == attachment->number && b->hits[i].npoints == attachment->manifest->npoints)
			return &b->hits[i];
	return NULL;
}

/* Adds an attachment. Returns NULL if memory allocation fails. */
static const struct budget_hits *hits_add(struct budget *b, const struct attachment *attachment)
{
	uint32_t n = attachment->manifest->npoints;
	struct budget_hits *hits;

	if (ALLOC_GROW(b->hits, b->nhits + 1, b->room))
		return NULL;
	hits = &b->hits[b->nhits];
	*hits = (struct budget_hits){ .number = attachment->number,
		                      .npoints = n,
		                      .total = calloc(n, sizeof(*hits->total)),
		                      .since = calloc(n, sizeof(*hits->since)) };
	if (!hits->total || !hits->since) {
		free(hits->total);
		free(hits->since);
		return NULL;
	}
	for (uint32_t p = 0; p < n; p++)
		hits->total[p] = overhead_hits(attachment, p);
	b->nhits++;
	return hits;
}

/* Returns the hits of an attachment that the budget is for, else NULL. */
static const struct budget_hits *hits_of_mine(const struct budget *b, const struct attachment *attachment)
{
	return b->mine(attachment) ? hits_find(b, attachment) : NULL;
}

static double hit_ns(const struct budget *b, const struct attachment *attachment, uint32_t point)
{
	double trap = overhead_point_ns(attachment, point);

	return (trap > 0 ? trap : TRAP_UNKNOWN_NS) + b->program_ns;
}

/* ---- steps 1 to 3: measure ---- */

static uint64_t budget_total_hits(const struct budget *b, const struct pp_session *session)
{
	uint64_t total = 0;

	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];

		for (uint32_t p = 0; b->mine(attachment) && p < attachment->manifest->npoints; p++)
			total += overhead_hits(attachment, p);
	}
	return total;
}

/* Removes the hits of attachments that the session no longer has. */
static void hits_remove_gone(struct budget *b, const struct pp_session *session)
{
	for (size_t k = b->nhits; k > 0; k--) {
		bool found = false;

		for (size_t i = 0; i < session->nattachments && !found; i++)
			found = session->attachments[i]->number == b->hits[k - 1].number &&
			        b->mine(session->attachments[i]);
		if (!found)
			hits_remove(b, k - 1);
	}
}

/* Counts the hits since the last check. Returns true if there may be hits that no counter has. */
static bool budget_count(struct budget *b, const struct pp_session *session)
{
	bool unseen = false;

	hits_remove_gone(b, session);
	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];
		const struct budget_hits *hits;

		if (!b->mine(attachment))
			continue;
		hits = hits_find(b, attachment);
		if (!hits)
			hits = hits_add(b, attachment);
		if (!hits)
			continue;
		unseen |= ((const struct kernel_attachment *)attachment->state)->control->unseen;
		for (uint32_t p = 0; p < hits->npoints; p++) {
			uint64_t total = overhead_hits(attachment, p);

			hits->since[p] = total - hits->total[p];
			hits->total[p] = total;
		}
	}
	return unseen;
}

/* Returns the ns that the counted hits since the last check took, of points that are still armed. */
static double budget_counted_ns(const struct budget *b, const struct pp_session *session)
{
	double ns = 0;

	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];
		const struct budget_hits *hits = hits_of_mine(b, attachment);

		for (uint32_t p = 0; hits && p < hits->npoints; p++)
			if (hits->since[p] && kernel_armed(attachment, p))
				ns += (double)hits->since[p] * hit_ns(b, attachment, p);
	}
	return ns;
}

/* Measures the programs. Returns the share of one CPU that hits without a counter take. */
static double budget_measure(struct budget *b, const struct pp_session *session, bool unseen)
{
	uint64_t before = budget_total_hits(b, session), counted;
	struct overhead measured;
	double trap = overhead_trap_ns();

	if (overhead_measure(session, b->mine, MEASURE_MS, &measured) || !measured.runs || !measured.time)
		return 0;
	b->program_ns = measured.program_ns;
	counted = budget_total_hits(b, session) - before;
	if (!unseen || measured.runs <= counted)
		return 0;
	return (double)(measured.runs - counted) * ((trap > 0 ? trap : TRAP_UNKNOWN_NS) + b->program_ns) /
	       (double)measured.time;
}

/* Returns the share of one CPU that hits took since the last check. */
static double budget_share(struct budget *b, const struct pp_session *session)
{
	struct targets_cpu targets = { 0 };
	uint64_t now = clock_ns(), elapsed = now - b->time;
	bool unseen, first = !b->time;
	double share = 0, used;

	targets_cpu_read(&targets, session, b->mine);
	unseen = budget_count(b, session);
	used = targets_cpu_used(&b->targets, &targets);
	b->used = used < 0 || !elapsed ? -1 : used / (double)elapsed;
	targets_cpu_release(&b->targets);
	b->targets = targets;
	b->time = now;
	if (first || !elapsed)
		return 0;
	if (unseen || budget_counted_ns(b, session) > b->limit * (double)elapsed / 8)
		share = budget_measure(b, session, unseen);
	share += budget_counted_ns(b, session) / (double)elapsed;
	if (b->used >= 0 && share > b->used)
		share = b->used;
	b->credit += (b->limit - share) * (double)elapsed / 1e9;
	if (b->credit > b->limit * b->seconds)
		b->credit = b->limit * b->seconds;
	return share;
}

/* ---- step 5: disarm ---- */

struct candidate {
	struct attachment *attachment;
	uint32_t point;
	double ns;
};

static int candidate_compare(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return (x->ns < y->ns) - (x->ns > y->ns);
}

/*
 * Lists the armed points, those with the most expensive hits first. *ns is their sum. Returns NULL if memory allocation
 * fails.
 */
static struct candidate *candidates_list(const struct budget *b, const struct pp_session *session, size_t *n,
                                         double *ns)
{
	struct candidate *all;
	size_t room = 0;

	*n = 0;
	*ns = 0;
	for (size_t i = 0; i < session->nattachments; i++)
		room += b->mine(session->attachments[i]) ? session->attachments[i]->manifest->npoints : 0;
	all = calloc(room + 1, sizeof(*all));
	if (!all)
		return NULL;
	for (size_t i = 0; i < session->nattachments; i++) {
		struct attachment *attachment = session->attachments[i];
		const struct budget_hits *hits = hits_of_mine(b, attachment);

		for (uint32_t p = 0; hits && p < attachment->manifest->npoints; p++) {
			double cost = (double)hits->since[p] * hit_ns(b, attachment, p);

			if (!kernel_armed(attachment, p))
				continue;
			*ns += cost;
			all[(*n)++] = (struct candidate){ attachment, p, cost };
		}
	}
	qsort(all, *n, sizeof(*all), candidate_compare);
	return all;
}

/* Disarms the point, with the other sites of the function if its returns are armed. Returns the ns that they took. */
static double candidate_disarm(struct budget *b, const struct candidate *c, uint64_t why)
{
	const struct manifest_point *points = manifest_points(c->attachment->manifest), *point = &points[c->point];
	const struct budget_hits *hits = hits_find(b, c->attachment);
	double ns = 0;

	if (!manifest_point_role(point)) {
		kernel_switch_off(c->attachment->state, c->point, why);
		return c->ns;
	}
	for (uint32_t p = 0; p < c->attachment->manifest->npoints; p++)
		if (manifest_point_role(&points[p]) && points[p].probe == point->probe && points[p].pid == point->pid &&
		    kernel_armed(c->attachment, p)) {
			kernel_switch_off(c->attachment->state, p, why);
			ns += hits ? (double)hits->since[p] * hit_ns(b, c->attachment, p) : 0;
		}
	return ns;
}

/* Returns the share that is expected when only `rest` of the share stays armed. */
static double budget_expected(const struct budget *b, double share, double rest)
{
	double other =
		b->used - share; /* the targets' time without hits; uncertain, because the share is an estimate */

	if (rest <= 0 || share <= 2 * b->limit || b->used <= 0)
		return rest;
	if (other < 0.02 * b->used)
		other = 0.02 * b->used;
	return rest * b->used / (rest + other);
}

static uint64_t share_units(double share)
{
	double n = share * KERNEL_SHARE + 0.5;

	return n < KERNEL_SHARE_MAX ? (uint64_t)n : KERNEL_SHARE_MAX;
}

/* The caller holds the session's lock and has loaded its attachments. */
static void budget_disarm(struct budget *b, struct pp_session *session, double share)
{
	uint64_t why = kernel_off_why(share_units(b->limit), share_units(share));
	double ns, left = share;
	size_t n;
	struct candidate *all = candidates_list(b, session, &n, &ns);

	if (!all)
		return;
	/*
	 * The time of hits without a counter is distributed over the points in proportion to their counted hits. If
	 * there are no counted hits, any point may have been hit, and all are disarmed.
	 */
	for (size_t i = 0; i < n && budget_expected(b, share, left) > b->limit && (all[i].ns > 0 || ns <= 0); i++) {
		struct kernel_attachment *s = all[i].attachment->state;
		double took;

		if (!kernel_armed(all[i].attachment, all[i].point))
			continue;
		__atomic_store_n(&s->control->unfinished, 1, __ATOMIC_SEQ_CST);
		took = candidate_disarm(b, &all[i], why);
		left -= ns > 0 ? share * took / ns : 0;
	}
	free(all);
	for (size_t i = 0; i < session->nattachments; i++) {
		struct attachment *attachment = session->attachments[i];
		struct kernel_attachment *s = b->mine(attachment) ? attachment->state : NULL;

		if (s && s->control->unfinished)
			kernel_links_renew(s, attachment);
	}
}

uint64_t budget_check(struct budget *b, struct pp_session *session, int (*lock)(struct pp_session *session),
                      void (*unlock)(struct pp_session *session))
{
	double share = budget_share(b, session);

	if (share <= b->limit)
		return CHECK_NS;
	if (b->credit >= 0 || (lock && lock(session)))
		return CHECK_AGAIN_NS;
	budget_disarm(b, session, share);
	b->credit = 0;
	if (unlock)
		unlock(session);
	return CHECK_AGAIN_NS;
}
