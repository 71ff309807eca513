/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "runtime/backend.h"
#include "sdt/image.h"

size_t backend_index(const struct backend *backend)
{
	size_t i = 0;

	while (i < nbackends && backends[i] != backend)
		i++;
	return i;
}

uint32_t attachment_id_of(const struct backend *backend, uint32_t number)
{
	return (uint32_t)backend_index(backend) << 28 | (number & ATTACHMENT_NUMBER_MAX);
}

uint32_t attachment_id(const struct attachment *attachment)
{
	return attachment_id_of(attachment->backend, attachment->number);
}

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

int backend_needs_no_lock(struct pp_session *session)
{
	(void)session;
	return 0;
}

void backend_needs_no_unlock(struct pp_session *session)
{
	(void)session;
}

bool backend_always_permitted(void)
{
	return true;
}

int backend_foresees_nothing(const struct pp_request *request, struct arm_point *const *points, size_t npoints)
{
	(void)request, (void)points, (void)npoints;
	return 0;
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

void backend_releases_nothing(struct attachment *attachment)
{
	(void)attachment;
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

void backend_counts_zero(const struct attachment *attachment, uint32_t point, struct pp_counts *counts)
{
	(void)attachment, (void)point;
	*counts = (struct pp_counts){ 0 };
}

int backend_knows_no_process(const struct attachment *attachment,
                             int (*fn)(uint32_t point, pid_t pid, uint64_t hits, void *arg), void *arg)
{
	(void)attachment, (void)fn, (void)arg;
	return 0;
}

int backend_aggregates_nothing(const struct attachment *attachment, agg_cell_fn *cell, agg_misfit_fn *misfit, void *arg)
{
	(void)attachment, (void)cell, (void)misfit, (void)arg;
	return 0;
}

int backend_loads_no_layout(const struct attachment *attachment, pid_t pid, uint64_t exec, char **text)
{
	(void)attachment, (void)pid, (void)exec;
	*text = NULL;
	return 0;
}

void backend_stores_no_layout(const struct attachment *attachment, pid_t pid, uint64_t exec, const char *text)
{
	(void)attachment, (void)pid, (void)exec, (void)text;
}

uint64_t backend_knows_no_start(const struct attachment *attachment, uint32_t pid)
{
	(void)attachment, (void)pid;
	return 0;
}

uint32_t backend_shares_pids(const struct attachment *attachment)
{
	(void)attachment;
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

int backend_reads_nothing(void *reader, const struct record_thread **thread, const struct record **record, size_t *size)
{
	(void)reader, (void)thread, (void)record, (void)size;
	return 0;
}

void backend_drops_nothing(void *reader)
{
	(void)reader;
}

void backend_has_taken(void *reader, uint64_t until)
{
	(void)reader;
	(void)until;
}

bool backend_keeps_nothing(void *reader, const struct record_thread *thread)
{
	(void)reader;
	(void)thread;
	return false;
}

uint64_t backend_damages_nothing(void *reader)
{
	(void)reader;
	return 0;
}

bool backend_loses_nothing(const struct attachment *attachment, uint32_t point, pid_t pid)
{
	(void)attachment, (void)point, (void)pid;
	return false;
}

size_t backend_has_no_flight(const struct attachment *attachment)
{
	(void)attachment;
	return 0;
}

int backend_snapshots_nothing(struct pp_session *session, snapshot_fn *fn, void *arg, struct snapshot_gaps *gaps)
{
	(void)session, (void)fn, (void)arg, (void)gaps;
	return 0;
}

uint64_t backend_holds_no_records(struct pp_session *session)
{
	(void)session;
	return 0;
}
