/* SPDX-License-Identifier: MIT */
/*
 * The counts of a session, in rows. A row is one probe in one file, for one process or for all, armed by one backend.
 *
 * 1. Add a row for each point of each attachment, and a share for each process that the backend counts separately.
 * 2. Merge rows, then shares, that belong to the same row, and refer from rows to their shares.
 * 3. Find out which rows' processes and files still exist.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/file-state.h"
#include "runtime/process.h"
#include "runtime/session.h"
#include "runtime/sized.h"
#include "runtime/snapshot.h"

_Static_assert((int)PP_LIVES == (int)PROCESS_LIVES && (int)PP_ENDED == (int)PROCESS_ENDED &&
                       (int)PP_OTHER == (int)PROCESS_OTHER,
               "enum pp_life and enum process_life have the same values");

struct stat_row {
	const char *probe, *file; /* in a manifest */
	const char *backend, *build_id;
	pid_t pid;
	uint64_t start_time;   /* of the process; 0: not known, or all processes */
	uint64_t offset, role; /* of the site; not used after rows_merge() */
	const struct manifest_file *of;
	uint32_t pid_namespace; /* of the pid; 0: this process's */
	enum pp_life life;
	enum pp_file_state file_state;
	size_t sites, over_budget;
	double share, limit; /* of the sites over budget */
	struct pp_counts counts;
	struct fetch_sample sample;
	size_t first_share, nshares;
};

/* The hits of one process in a row for all processes. */
struct stat_share {
	struct stat_row row; /* only what row_compare() reads */
	pid_t pid;
	uint64_t hits;
};

struct pp_stat {
	struct manifest **manifests; /* copies, because the session may change while the rows are in use */
	size_t nmanifests, manifests_room;
	struct stat_row *rows;
	size_t nrows, rows_room;
	struct stat_share *shares; /* in the order of the rows, then of their processes */
	size_t nshares, shares_room;
	size_t uncounted; /* processes */
};

static int row_compare(const void *a, const void *b)
{
	const struct stat_row *x = a, *y = b;
	int by = strcmp(x->probe, y->probe);

	if (!by)
		by = strcmp(x->file, y->file);
	if (!by)
		by = x->pid < y->pid ? -1 : x->pid > y->pid;
	if (!by) /* several processes may have had the pid, one after the other */
		by = x->start_time < y->start_time ? -1 : x->start_time > y->start_time;
	if (!by) /* several files may have had the path */
		by = x->of->inode < y->of->inode ? -1 : x->of->inode > y->of->inode;
	return by ? by : strcmp(x->backend, y->backend);
}

/* Orders by row, then by site. Armed points of a site come first. */
static int row_compare_site(const void *a, const void *b)
{
	const struct stat_row *x = a, *y = b;
	int by = row_compare(x, y);

	if (!by)
		by = x->offset < y->offset ? -1 : x->offset > y->offset;
	if (!by)
		by = x->role < y->role ? -1 : x->role > y->role;
	return by ? by : (x->sites < y->sites) - (x->sites > y->sites);
}

/* Counts a site that was stopped and then armed again only once, as armed. The rows are sorted by site. */
static void rows_count_sites_once(struct pp_stat *stat)
{
	for (size_t i = 1, first = 0; i < stat->nrows; i++) {
		const struct stat_row *x = &stat->rows[first], *y = &stat->rows[i];

		if (row_compare(x, y) || x->offset != y->offset || x->role != y->role)
			first = i;
		else
			stat->rows[i].over_budget = 0;
	}
}

static void row_add(struct stat_row *to, const struct stat_row *from)
{
	to->sites += from->sites;
	if (from->over_budget) {
		to->share = from->share;
		to->limit = from->limit;
	}
	to->over_budget += from->over_budget;
	to->counts.hits += from->counts.hits;
	to->counts.filtered += from->counts.filtered;
	to->counts.unsampled += from->counts.unsampled;
	to->counts.idle += from->counts.idle;
	to->counts.recorded += from->counts.recorded;
	to->counts.lost += from->counts.lost;
	to->counts.entries += from->counts.entries;
	to->counts.missed += from->counts.missed;
	to->counts.under_way += from->counts.under_way;
	to->counts.abandoned += from->counts.abandoned;
	to->counts.unmatched += from->counts.unmatched;
	to->counts.other += from->counts.other;
	to->counts.overwritten += from->counts.overwritten;
}

static void rows_merge(struct pp_stat *stat)
{
	size_t n = 0;

	if (stat->nrows)
		qsort(stat->rows, stat->nrows, sizeof(*stat->rows), row_compare_site);
	rows_count_sites_once(stat);
	for (size_t i = 0; i < stat->nrows; i++) {
		if (n && !row_compare(&stat->rows[i], &stat->rows[n - 1]))
			row_add(&stat->rows[n - 1], &stat->rows[i]);
		else
			stat->rows[n++] = stat->rows[i];
	}
	stat->nrows = n;
	/* A call may have ended between two reads of its counters. */
	for (size_t i = 0; i < n; i++)
		if ((int64_t)stat->rows[i].counts.under_way < 0)
			stat->rows[i].counts.under_way = 0;
}

static int share_compare(const void *a, const void *b)
{
	const struct stat_share *x = a, *y = b;
	int rows = row_compare(&x->row, &y->row);

	return rows ? rows : (x->pid > y->pid) - (x->pid < y->pid);
}

/* Refers from each row to its shares. Both are sorted. */
static void rows_find_shares(struct pp_stat *stat)
{
	size_t row = 0;

	for (size_t i = 0; i < stat->nshares; i++) {
		while (row < stat->nrows && row_compare(&stat->rows[row], &stat->shares[i].row) < 0)
			row++;
		if (row == stat->nrows || row_compare(&stat->rows[row], &stat->shares[i].row))
			continue;
		if (!stat->rows[row].nshares++)
			stat->rows[row].first_share = i;
	}
}

static void shares_merge(struct pp_stat *stat)
{
	size_t n = 0;

	if (stat->nshares)
		qsort(stat->shares, stat->nshares, sizeof(*stat->shares), share_compare);
	for (size_t i = 0; i < stat->nshares; i++) {
		if (n && !share_compare(&stat->shares[n - 1], &stat->shares[i]))
			stat->shares[n - 1].hits += stat->shares[i].hits;
		else
			stat->shares[n++] = stat->shares[i];
	}
	stat->nshares = n;
	rows_find_shares(stat);
}

/* Sets the rows' life and file_state. Adjacent rows often have the same process or file. */
static void rows_check_targets(struct pp_stat *stat)
{
	const struct stat_row *last = NULL;

	for (size_t i = 0; i < stat->nrows; i++) {
		struct stat_row *row = &stat->rows[i];
		bool same_file = last && !strcmp(last->file, row->file) && last->of->inode == row->of->inode;

		if (row->pid_namespace) /* neither the pid nor the path means the same here */
			continue;
		row->file_state = same_file ? last->file_state : file_state_read(row->of, row->file);
		if (last && row->pid && last->pid == row->pid && last->start_time == row->start_time)
			row->life = last->life;
		else if (row->pid)
			row->life = (enum pp_life)process_life(row->pid, row->start_time);
		last = row;
	}
}

/* An attachment that is being added. */
struct stat_source {
	struct pp_stat *stat;
	const struct attachment *attachment;
	const struct manifest *d;                /* the copy */
	const struct snapshot_counts *in_memory; /* NULL: the session is not a flight recorder */
	/* the last process whose start time was looked up */
	uint32_t last_pid;
	uint64_t last_start_time;
};

static bool source_is_armed(const struct stat_source *source, uint32_t point)
{
	return source->attachment->backend->armed(source->attachment, point);
}

static bool source_is_over_budget(const struct stat_source *source, uint32_t point)
{
	const struct backend *backend = source->attachment->backend;

	return backend->over_budget(source->attachment, point);
}

/* Returns the start time of a process. Points of the same process are usually adjacent. */
static uint64_t source_start_time(struct stat_source *source, uint32_t pid)
{
	const struct backend *backend = source->attachment->backend;

	if (!pid)
		return 0;
	if (source->last_pid != pid) {
		source->last_pid = pid;
		source->last_start_time = backend->start_time(source->attachment, pid);
	}
	return source->last_start_time;
}

static void row_init(struct stat_row *row, const struct stat_source *source, uint32_t point)
{
	const struct manifest *d = source->d;
	const struct manifest_probe *probe = &manifest_probes(d)[manifest_points(d)[point].probe];

	*row = (struct stat_row){
		.probe = manifest_string(d, probe->name),
		.file = manifest_string(d, manifest_files(d)[probe->file].path),
		.of = &manifest_files(d)[probe->file],
		.backend = source->attachment->backend->name,
		.build_id = manifest_string(d, manifest_files(d)[probe->file].build_id),
		.pid = manifest_points(d)[point].pid,
		.sample = d->sample,
		.pid_namespace = source->attachment->backend->pid_namespace(source->attachment),
	};
}

/* A callback of backend->processes(). Shares belong to rows for all processes, whose start time is 0. */
static int source_add_share(uint32_t point, pid_t pid, uint64_t hits, void *arg)
{
	const struct stat_source *source = arg;
	struct pp_stat *stat = source->stat;
	struct stat_share *share;

	if (!source_is_armed(source, point) && !source_is_over_budget(source, point))
		return 0;
	if (ALLOC_GROW(stat->shares, stat->nshares + 1, stat->shares_room))
		return -ENOMEM;
	share = &stat->shares[stat->nshares++];
	row_init(&share->row, source, point);
	share->pid = pid;
	share->hits = hits;
	return 0;
}

static int source_add_row(struct stat_source *source, uint32_t point)
{
	const struct manifest_point *p = &manifest_points(source->d)[point];
	const struct attachment *attachment = source->attachment;
	bool armed = source_is_armed(source, point);
	struct pp_stat *stat = source->stat;
	struct stat_row *row;

	if (!armed && !source_is_over_budget(source, point))
		return 0;
	if (ALLOC_GROW(stat->rows, stat->nrows + 1, stat->rows_room))
		return -ENOMEM;
	row = &stat->rows[stat->nrows++];
	row_init(row, source, point);
	row->offset = p->offset;
	row->role = manifest_point_role(p);
	row->start_time = source_start_time(source, p->pid);
	row->sites = armed;
	row->over_budget = !armed;
	if (!armed)
		attachment->backend->stopped(attachment, point, &row->share, &row->limit);
	attachment->backend->counts(attachment, point, &row->counts);
	row->counts.overwritten = snapshot_overwritten(source->in_memory, attachment, point);
	return 0;
}

/* Adds a copy of the attachment's manifest. Returns it, or NULL. */
static const struct manifest *stat_copy_manifest(struct pp_stat *stat, const struct manifest *manifest)
{
	struct manifest *copy;

	if (ALLOC_GROW(stat->manifests, stat->nmanifests + 1, stat->manifests_room))
		return NULL;
	copy = malloc((manifest->size + 7) & ~7ull);
	if (!copy) {
		error_nomem();
		return NULL;
	}
	memcpy(copy, manifest, manifest->size);
	stat->manifests[stat->nmanifests++] = copy;
	return copy;
}

static int stat_add_attachment(struct pp_stat *stat, const struct attachment *attachment,
                               const struct snapshot_counts *in_memory)
{
	struct stat_source source = { .stat = stat, .attachment = attachment, .in_memory = in_memory };

	source.d = stat_copy_manifest(stat, attachment->manifest);
	if (!source.d)
		return -ENOMEM;
	for (uint32_t i = 0; i < source.d->npoints; i++) {
		int err = source_add_row(&source, i);

		if (err)
			return err;
	}
	return attachment->backend->processes(attachment, source_add_share, &source);
}

int pp_session_stat(struct pp_session *session, struct pp_stat **stat)
{
	struct pp_stat *s = calloc(1, sizeof(*s));
	struct snapshot_counts *in_memory;
	int err;

	if (!s)
		return error_nomem();
	err = session_refresh(session);
	in_memory = err ? NULL : snapshot_count(session);
	for (size_t i = 0; !err && i < session->nattachments; i++)
		err = stat_add_attachment(s, session->attachments[i], in_memory);
	snapshot_counts_free(in_memory);
	if (err) {
		pp_stat_free(s);
		return err;
	}
	for (size_t i = 0; i < nbackends; i++)
		if (session_has_attachments(session, backends[i]))
			s->uncounted += backends[i]->uncounted(session);
	rows_merge(s);
	shares_merge(s);
	rows_check_targets(s);
	*stat = s;
	return 0;
}

void pp_stat_free(struct pp_stat *stat)
{
	if (!stat)
		return;
	for (size_t i = 0; i < stat->nmanifests; i++)
		free(stat->manifests[i]);
	free(stat->manifests);
	free(stat->rows);
	free(stat->shares);
	free(stat);
}

size_t pp_stat_uncounted(const struct pp_stat *stat)
{
	return stat->uncounted;
}

size_t pp_stat_rows(const struct pp_stat *stat)
{
	return stat->nrows;
}

int pp_stat_order(const struct pp_stat *a, size_t i, const struct pp_stat *b, size_t j)
{
	return row_compare(&a->rows[i], &b->rows[j]);
}

/* An index out of range gives a row of zeros. */
static const struct stat_row *stat_row(const struct pp_stat *stat, size_t i)
{
	static const struct stat_row none = { .life = PP_OTHER, .file_state = PP_FILE_DELETED };

	return i < stat->nrows ? &stat->rows[i] : &none;
}

const char *pp_stat_probe(const struct pp_stat *stat, size_t row)
{
	return stat_row(stat, row)->probe;
}

pid_t pp_stat_pid(const struct pp_stat *stat, size_t row)
{
	return stat_row(stat, row)->pid;
}

uint32_t pp_stat_pid_namespace(const struct pp_stat *stat, size_t row)
{
	return stat_row(stat, row)->pid_namespace;
}

enum pp_life pp_stat_life(const struct pp_stat *stat, size_t row)
{
	return stat_row(stat, row)->life;
}

enum pp_file_state pp_stat_file_state(const struct pp_stat *stat, size_t row)
{
	return stat_row(stat, row)->file_state;
}

const char *pp_stat_file(const struct pp_stat *stat, size_t row)
{
	return stat_row(stat, row)->file;
}

const char *pp_stat_backend(const struct pp_stat *stat, size_t row)
{
	return stat_row(stat, row)->backend;
}

const char *pp_stat_build_id(const struct pp_stat *stat, size_t row)
{
	return stat_row(stat, row)->build_id;
}

size_t pp_stat_sites(const struct pp_stat *stat, size_t row)
{
	return stat_row(stat, row)->sites;
}

size_t pp_stat_processes(const struct pp_stat *stat, size_t row)
{
	return stat_row(stat, row)->nshares;
}

pid_t pp_stat_process(const struct pp_stat *stat, size_t row, size_t i, uint64_t *hits)
{
	const struct stat_row *of = stat_row(stat, row);

	*hits = i < of->nshares ? stat->shares[of->first_share + i].hits : 0;
	return i < of->nshares ? stat->shares[of->first_share + i].pid : 0;
}

size_t pp_stat_over_budget(const struct pp_stat *stat, size_t row)
{
	return stat_row(stat, row)->over_budget;
}

size_t pp_stat_stopped(const struct pp_stat *stat, size_t row, double *share, double *limit)
{
	*share = stat_row(stat, row)->share;
	*limit = stat_row(stat, row)->limit;
	return stat_row(stat, row)->over_budget;
}

void pp_stat_counts(const struct pp_stat *stat, size_t row, struct pp_counts *counts, size_t size)
{
	sized_copy(counts, size, &stat_row(stat, row)->counts, sizeof(*counts));
}

void pp_stat_sample(const struct pp_stat *stat, size_t row, unsigned *every, unsigned *rate)
{
	*every = stat_row(stat, row)->sample.every;
	*rate = stat_row(stat, row)->sample.rate;
}
