/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "runtime/backend.h"
#include "sdt/image.h"

bool backend_later_permitted(const struct backend *backend)
{
	bool later = false;

	for (size_t i = 0; i < nbackends; i++) {
		if (later && backends[i]->permitted())
			return true;
		later |= backends[i] == backend;
	}
	return false;
}

bool backend_always_permitted(void)
{
	return true;
}

bool backend_takes_all(const struct pp_site *site)
{
	(void)site;
	return true;
}

uint64_t backend_semaphore_offset(const struct pp_site *site)
{
	return site->has_semaphore ? site->semaphore_offset : 0;
}

int backend_checks_nothing(struct pp_session *session, struct arm_point *const *points, size_t npoints)
{
	(void)session, (void)points, (void)npoints;
	return 0;
}

int backend_holds_nothing(struct pp_session *session, const struct hold_options *options)
{
	(void)session, (void)options;
	return 0;
}

int backend_cost_unknown(struct pp_session *session, int ms, struct pp_cost *cost)
{
	(void)session, (void)ms, (void)cost;
	return -ENOSYS;
}

double backend_trap_is_cheap(void)
{
	return 0;
}

bool backend_never_over_budget(const struct attachment *attachment, uint32_t point)
{
	(void)attachment, (void)point;
	return false;
}

void backend_never_stopped(const struct attachment *attachment, uint32_t point, double *share, double *limit)
{
	(void)attachment, (void)point;
	*share = *limit = 0;
}

int backend_watches_nothing(struct pp_session *session, void (*ready)(void *arg), void *arg)
{
	(void)session, (void)ready, (void)arg;
	return 0;
}

double backend_has_no_limit(const struct pp_session *session, bool *watched)
{
	(void)session, (void)watched;
	return 0;
}

void backend_unlimits_nothing(struct pp_session *session)
{
	(void)session;
}

int backend_knows_no_process(const struct attachment *attachment,
                             int (*fn)(uint32_t point, pid_t pid, uint64_t hits, void *arg), void *arg)
{
	(void)attachment, (void)fn, (void)arg;
	return 0;
}

uint64_t backend_knows_no_start(const struct attachment *attachment, uint32_t pid)
{
	(void)attachment, (void)pid;
	return 0;
}

size_t backend_counts_all(struct pp_session *session)
{
	(void)session;
	return 0;
}

void backend_records_with_reader(struct pp_session *session)
{
	(void)session;
}

void backend_drops_nothing(void *reader)
{
	(void)reader;
}

bool backend_loses_nothing(const struct attachment *attachment, uint32_t point, pid_t pid)
{
	(void)attachment, (void)point, (void)pid;
	return false;
}
