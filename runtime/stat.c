/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/process.h"
#include "runtime/session.h"
#include "runtime/sized.h"
#include "base/error.h"

_Static_assert((int)PP_LIVES == (int)PROCESS_LIVES && (int)PP_ENDED == (int)PROCESS_ENDED &&
                       (int)PP_OTHER == (int)PROCESS_OTHER,
               "two names for one thing");

struct row {
	const char *probe, *file; /* in the descriptions */
	const char *backend;
	pid_t pid;
	uint64_t start_time;   /* of the process; 0: not known, or every process */
	uint64_t offset, role; /* of the site; unused after merge() */
	const struct manifest_file *of;
	enum pp_life life;
	enum pp_file_state file_state;
	size_t sites, over_budget;
	double share, limit; /* of those over budget */
	struct pp_counts counts;
	size_t first_share, nshares;
};

struct share {
	struct row row; /* as far as compare_rows() looks at it */
	pid_t pid;
	uint64_t hits;
};

struct pp_stat {
	struct manifest **manifests; /* copies: the session may change while the rows are looked at */
	size_t ndescs;
	struct row *rows;
	size_t nrows;
	struct share *shares; /* in the order of the rows, then of their processes */
	size_t nshares, shares_room;
	size_t uncounted; /* processes */
};

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int by = strcmp(x->probe, y->probe);

	if (!by)
		by = strcmp(x->file, y->file);
	if (!by)
		by = x->pid < y->pid ? -1 : x->pid > y->pid;
	if (!by) /* a pid may have meant several processes, one after the other */
		by = x->start_time < y->start_time ? -1 : x->start_time > y->start_time;
	if (!by) /* and a path several files */
		by = x->of->inode < y->of->inode ? -1 : x->of->inode > y->of->inode;
	return by ? by : strcmp(x->backend, y->backend);
}

static bool is_one_site(const struct row *x, const struct row *y)
{
	return x->offset == y->offset && x->role == y->role;
}

/* By rows, then sites; of one site, what is armed first. */
static int compare_sites(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int by = compare_rows(x, y);

	if (!by)
		by = x->offset < y->offset ? -1 : x->offset > y->offset;
	if (!by)
		by = x->role < y->role ? -1 : x->role > y->role;
	return by ? by : (x->sites < y->sites) - (x->sites > y->sites);
}

static void merge(struct pp_stat *stat)
{
	size_t n = 0;

	if (stat->nrows)
		qsort(stat->rows, stat->nrows, sizeof(*stat->rows), compare_sites);
	/* A site that was stopped, and armed again since, counts once, as armed. */
	for (size_t i = 1, first = 0; i < stat->nrows; i++) {
		if (compare_rows(&stat->rows[first], &stat->rows[i]) ||
		    !is_one_site(&stat->rows[first], &stat->rows[i]))
			first = i;
		else
			stat->rows[i].over_budget = 0;
	}
	for (size_t i = 0; i < stat->nrows; i++) {
		struct row *from = &stat->rows[i], *to = n ? &stat->rows[n - 1] : NULL;

		if (!to || compare_rows(from, to)) {
			stat->rows[n++] = *from;
			continue;
		}
		to->sites += from->sites;
		if (from->over_budget) {
			to->share = from->share;
			to->limit = from->limit;
		}
		to->over_budget += from->over_budget;
		to->counts.hits += from->counts.hits;
		to->counts.filtered += from->counts.filtered;
		to->counts.idle += from->counts.idle;
		to->counts.recorded += from->counts.recorded;
		to->counts.lost += from->counts.lost;
		to->counts.entries += from->counts.entries;
		to->counts.missed += from->counts.missed;
		to->counts.under_way += from->counts.under_way;
		to->counts.abandoned += from->counts.abandoned;
		to->counts.other += from->counts.other;
	}
	stat->nrows = n;
}

static int compare_shares(const void *a, const void *b)
{
	const struct share *x = a, *y = b;
	int rows = compare_rows(&x->row, &y->row);

	return rows ? rows : (x->pid > y->pid) - (x->pid < y->pid);
}

static void merge_shares(struct pp_stat *stat)
{
	size_t n = 0, row = 0;

	if (stat->nshares)
		qsort(stat->shares, stat->nshares, sizeof(*stat->shares), compare_shares);
	for (size_t i = 0; i < stat->nshares; i++) {
		if (n && !compare_shares(&stat->shares[n - 1], &stat->shares[i]))
			stat->shares[n - 1].hits += stat->shares[i].hits;
		else
			stat->shares[n++] = stat->shares[i];
	}
	stat->nshares = n;
	for (size_t i = 0; i < n; i++) {
		while (row < stat->nrows && compare_rows(&stat->rows[row], &stat->shares[i].row) < 0)
			row++;
		if (row == stat->nrows || compare_rows(&stat->rows[row], &stat->shares[i].row))
			continue;
		if (!stat->rows[row].nshares++)
			stat->rows[row].first_share = i;
	}
}

struct adding {
	struct pp_stat *stat;
	const struct attachment *attachment;
	const struct manifest *d; /* the copy */
};

static int add_share(uint32_t i, pid_t pid, uint64_t hits, void *arg)
{
	struct adding *a = arg;
	struct pp_stat *stat = a->stat;
	const struct manifest_probe *probe = &manifest_probes(a->d)[manifest_points(a->d)[i].probe];

	if (!a->attachment->backend->armed(a->attachment, i) && !a->attachment->backend->over_budget(a->attachment, i))
		return 0;
	if (stat->nshares == stat->shares_room) {
		size_t room = 2 * stat->shares_room + 64;
		void *more = realloc(stat->shares, room * sizeof(*stat->shares));

		if (!more)
			return error_nomem();
		stat->shares = more;
		stat->shares_room = room;
	}
	stat->shares[stat->nshares++] = (struct share){
		.row = { .probe = manifest_string(a->d, probe->name),
		         .file = manifest_string(a->d, manifest_files(a->d)[probe->file].path),
		         .of = &manifest_files(a->d)[probe->file],
		         .backend = a->attachment->backend->name,
		         .pid = manifest_points(a->d)[i].pid }, /* 0: shares are of rows for all */
		.pid = pid,
		.hits = hits,
	};
	return 0;
}

/* Points of one process stand together mostly. */
static uint64_t start_time(const struct attachment *attachment, uint32_t pid, uint32_t *last_pid, uint64_t *last)
{
	if (!pid)
		return 0;
	if (*last_pid != pid) {
		*last_pid = pid;
		*last = attachment->backend->start_time(attachment, pid);
	}
	return *last;
}

static enum pp_file_state file_state(const struct manifest_file *file, const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return errno == ENOENT || errno == ENOTDIR ? PP_FILE_DELETED : PP_FILE_PRESENT;
	/* Device numbers differ between stat(2) and mappings on some file systems. While it is armed, the inode is held. */
	return st.st_ino == file->inode || st.st_ino == file->real_inode ? PP_FILE_PRESENT : PP_FILE_REPLACED;
}

/* Finds out what can still be hit. */
static void look_at_life(struct pp_stat *stat)
{
	const struct row *last = NULL;

	for (size_t i = 0; i < stat->nrows; i++) {
		struct row *row = &stat->rows[i];
		bool same_file = last && !strcmp(last->file, row->file) && last->of->inode == row->of->inode;

		row->file_state = same_file ? last->file_state : file_state(row->of, row->file);
		if (last && row->pid && last->pid == row->pid && last->start_time == row->start_time)
			row->life = last->life;
		else if (row->pid)
			row->life = (enum pp_life)process_life(row->pid, row->start_time);
		last = row;
	}
}

static int add_attachment(struct pp_stat *stat, const struct attachment *attachment)
{
	struct manifest *d = malloc((attachment->manifest->size + 7) & ~7ull);
	struct manifest **manifests = realloc(stat->manifests, (stat->ndescs + 1) * sizeof(*manifests));
	struct row *rows =
		manifests ? realloc(stat->rows, (stat->nrows + attachment->manifest->npoints) * sizeof(*rows)) : NULL;

	if (manifests)
		stat->manifests = manifests;
	if (rows)
		stat->rows = rows;
	if (!d || !rows) {
		free(d);
		return error_nomem();
	}
	uint32_t started_pid = 0;
	uint64_t started = 0;

	memcpy(d, attachment->manifest, attachment->manifest->size);
	manifests[stat->ndescs++] = d;
	for (uint32_t i = 0; i < d->npoints; i++) {
		const struct manifest_point *point = &manifest_points(d)[i];
		const struct manifest_probe *probe = &manifest_probes(d)[point->probe];
		struct row *row = &rows[stat->nrows];

		bool armed = attachment->backend->armed(attachment, i);

		if (!armed && !attachment->backend->over_budget(attachment, i))
			continue;
		*row = (struct row){ .probe = manifest_string(d, probe->name),
			             .file = manifest_string(d, manifest_files(d)[probe->file].path),
			             .backend = attachment->backend->name,
			             .of = &manifest_files(d)[probe->file],
			             .offset = point->offset,
			             .role = point->role,
			             .pid = point->pid,
			             .start_time = start_time(attachment, point->pid, &started_pid, &started),
			             .sites = armed,
			             .over_budget = !armed };
		if (!armed)
			attachment->backend->stopped(attachment, i, &row->share, &row->limit);
		attachment->backend->counts(attachment, i, &row->counts);
		stat->nrows++;
	}
	return attachment->backend->processes(attachment, add_share, &(struct adding){ stat, attachment, d });
}

int pp_session_stat(struct pp_session *session, struct pp_stat **stat)
{
	struct pp_stat *s = calloc(1, sizeof(*s));
	int err = s ? session_refresh(session) : error_nomem();

	for (size_t i = 0; !err && i < session->nattachments; i++)
		err = add_attachment(s, session->attachments[i]);
	if (err) {
		pp_stat_free(s);
		return err;
	}
	for (size_t i = 0; i < nbackends; i++)
		if (session_has_attachments(session, backends[i]))
			s->uncounted += backends[i]->uncounted(session);
	merge(s);
	merge_shares(s);
	look_at_life(s);
	*stat = s;
	return 0;
}

void pp_stat_free(struct pp_stat *stat)
{
	if (!stat)
		return;
	for (size_t i = 0; i < stat->ndescs; i++)
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
	return compare_rows(&a->rows[i], &b->rows[j]);
}

/* An index out of range gives a row of zeros. */
static const struct row *stat_row(const struct pp_stat *stat, size_t i)
{
	static const struct row none = { .life = PP_OTHER, .file_state = PP_FILE_DELETED };

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
	const struct row *of = stat_row(stat, row);

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
