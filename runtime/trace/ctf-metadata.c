/* SPDX-License-Identifier: MIT */
/*
 * The metadata file. It is written to a temporary file and renamed, before a packet holds an event that it describes. So
 * a reader always finds it complete.
 *
 * A probe has an event class for each layout of its records. An attachment that is added to the session later adds its
 * classes to the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/trace/ctf.h"

/* The event class ids of an attachment's points. */
struct attachment_ids {
	uint32_t attachment; /* attachment_id() */
	uint64_t size;       /* of its manifest */
	uint32_t npoints;
	uint32_t *ids;
};

struct ctf_metadata {
	const char *path;
	int dir;
	char *text;
	size_t size;
	uint32_t nids;
	struct attachment_ids *attachments;
	size_t nattachments, room;
};

static int metadata_begin(struct ctf_metadata *m, const uint8_t uuid[16], const char *session, int64_t offset)
{
	FILE *to = open_memstream(&m->text, &m->size);

	if (!to)
		return error_nomem();
	ctf_tsdl_begin(to, uuid, session, offset);
	return ferror(to) | fclose(to) ? error_nomem() : 0;
}

int ctf_metadata_new(const char *path, int dir, const uint8_t uuid[16], const char *session, int64_t offset,
                     struct ctf_metadata **metadata)
{
	int err;

	*metadata = calloc(1, sizeof(**metadata));
	if (!*metadata)
		return error_nomem();
	(*metadata)->path = path;
	(*metadata)->dir = dir;
	err = metadata_begin(*metadata, uuid, session, offset);
	if (err) {
		ctf_metadata_free(*metadata);
		*metadata = NULL;
	}
	return err;
}

void ctf_metadata_free(struct ctf_metadata *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->nattachments; i++)
		free(m->attachments[i].ids);
	free(m->attachments);
	free(m->text);
	free(m);
}

int ctf_metadata_write(const struct ctf_metadata *m)
{
	int err, fd = openat(m->dir, ".metadata", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return error_set(errno, "cannot create '%s/.metadata': %s", m->path, strerror(errno));
	err = ctf_write(fd, m->text, m->size);
	if (close(fd) && !err)
		err = -errno;
	if (!err) {
		if (!renameat(m->dir, ".metadata", m->dir, "metadata"))
			return 0;
		err = -errno;
	}
	unlinkat(m->dir, ".metadata", 0);
	return error_set(-err, "cannot write '%s/metadata': %s", m->path, strerror(-err));
}

static int point_compare_class(const void *a, const void *b, void *manifest)
{
	const struct manifest_point *points = manifest_points(manifest);
	const struct manifest_point *p = &points[*(const uint32_t *)a], *q = &points[*(const uint32_t *)b];

	if (p->probe != q->probe)
		return p->probe < q->probe ? -1 : 1;
	return p->layout < q->layout ? -1 : p->layout > q->layout;
}

/* Gives each pair of probe and layout an id and describes it. Sets ids[i] to the id of point i. */
static int metadata_describe(struct ctf_metadata *m, const struct manifest *manifest, uint32_t *ids, FILE *to)
{
	const struct manifest_point *points = manifest_points(manifest), *before = NULL;
	uint32_t *order = malloc(sizeof(*order) * manifest->npoints + 1);

	if (!order)
		return error_nomem();
	for (uint32_t i = 0; i < manifest->npoints; i++)
		order[i] = i;
	qsort_r(order, manifest->npoints, sizeof(*order), point_compare_class, (void *)manifest);
	for (uint32_t i = 0; i < manifest->npoints; i++) {
		const struct manifest_point *point = &points[order[i]];

		if (!before || point->probe != before->probe || point->layout != before->layout)
			ctf_tsdl_event(to, m->nids++, manifest, &manifest_probes(manifest)[point->probe],
			               &manifest_layouts(manifest)[point->layout]);
		ids[order[i]] = m->nids - 1;
		before = point;
	}
	free(order);
	return 0;
}

/* Appends the classes of an attachment to the text. */
static int metadata_append(struct ctf_metadata *m, const struct manifest *manifest, uint32_t *ids)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	int err;

	if (!to)
		return error_nomem();
	fwrite(m->text, 1, m->size, to);
	err = metadata_describe(m, manifest, ids, to);
	if ((ferror(to) | fclose(to)) && !err)
		err = error_nomem();
	if (err) {
		free(text);
		return err;
	}
	free(m->text);
	m->text = text;
	m->size = size;
	return 0;
}

int ctf_metadata_add(struct ctf_metadata *m, const struct manifest *manifest, uint32_t attachment)
{
	uint32_t *ids;
	int err = ALLOC_GROW(m->attachments, m->nattachments + 1, m->room);

	if (err)
		return err;
	ids = malloc(sizeof(*ids) * manifest->npoints + 1);
	if (!ids)
		return error_nomem();
	err = metadata_append(m, manifest, ids);
	if (err) {
		free(ids);
		return err;
	}
	m->attachments[m->nattachments++] =
		(struct attachment_ids){ attachment, manifest->size, manifest->npoints, ids };
	return 0;
}

/*
 * A trace has one offset from its clock to the time of day: the one at its beginning. The clock's description lists the
 * steps that the time of day has made since.
 */
int ctf_metadata_add_step(struct ctf_metadata *m, const struct wall *wall)
{
	const struct wall_step *step = &wall->steps[wall->nsteps - 1];
	const char *at = strstr(m->text, CTF_CLOCK_DESCRIPTION), *end = at ? strchr(at, '"') : NULL;
	int64_t change = step->offset - step[-1].offset;
	char *text = NULL;
	int size;

	if (!end)
		return 0;
	size = asprintf(&text, "%.*s; the time of day steps by %s%lld.%09lld s after %llu.%09llu%s",
	                (int)(end - m->text), m->text, change < 0 ? "-" : "+", llabs(change) / 1000000000,
	                llabs(change) % 1000000000, (unsigned long long)step->from / 1000000000,
	                (unsigned long long)step->from % 1000000000, end);
	if (size < 0)
		return error_nomem();
	free(m->text);
	m->text = text;
	m->size = (size_t)size;
	return ctf_metadata_write(m);
}

const uint32_t *ctf_metadata_ids(struct ctf_metadata *m, const struct manifest *manifest, uint32_t attachment, int *err)
{
	for (size_t i = m->nattachments; i--;)
		if (m->attachments[i].attachment == attachment && m->attachments[i].size == manifest->size &&
		    m->attachments[i].npoints == manifest->npoints)
			return m->attachments[i].ids;
	*err = ctf_metadata_add(m, manifest, attachment);
	if (*err)
		return NULL;
	*err = ctf_metadata_write(m);
	return *err ? NULL : m->attachments[m->nattachments - 1].ids;
}
