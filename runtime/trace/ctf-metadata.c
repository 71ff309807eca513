/* SPDX-License-Identifier: MIT */
/*
 * The metadata file. It is written to a temporary file and renamed, before a packet holds an event that it describes. So
 * a reader always finds it complete.
 *
 * A probe has an event class for each layout of its records. An attachment that is added to the session later adds its
 * classes to the end. The classes of an attachment are described for packets of threads when the first of these packets
 * has one of them, because many programs have no busy thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/fetch/program.h"
#include "runtime/trace/ctf.h"

/* The event classes of an attachment's points. */
struct attachment_classes {
	uint32_t attachment; /* attachment_id() */
	uint64_t size;       /* of its manifest */
	uint32_t npoints;
	uint32_t *ids;            /* of the points */
	uint32_t first, nclasses; /* ids */
	char *thread_text;        /* describes the classes for packets of threads; NULL: the metadata has it */
};

struct ctf_metadata {
	const struct ctf_head *head;
	char *images, *classes; /* text */
	uint32_t nimages;
	struct ctf_class *class;
	size_t nclasses, class_room;
	struct attachment_classes *attachments;
	size_t nattachments, room;
	size_t size;  /* of the file when it was last written */
	bool changed; /* since then */
};

int ctf_metadata_new(const struct ctf_head *head, struct ctf_metadata **metadata)
{
	struct ctf_metadata *m = calloc(1, sizeof(*m));

	*metadata = m;
	if (!m)
		return error_nomem();
	m->head = head;
	m->images = strdup("");
	m->classes = strdup("");
	if (m->images && m->classes)
		return 0;
	ctf_metadata_free(m);
	*metadata = NULL;
	return error_nomem();
}

void ctf_metadata_free(struct ctf_metadata *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->nattachments; i++) {
		free(m->attachments[i].ids);
		free(m->attachments[i].thread_text);
	}
	free(m->attachments);
	free(m->class);
	free(m->images);
	free(m->classes);
	free(m);
}

/* ---- the file ---- */

static int metadata_make_text(const struct ctf_metadata *m, char **text, size_t *size)
{
	FILE *to = open_memstream(text, size);

	if (!to)
		return error_nomem();
	ctf_tsdl_begin(to, m->head, m->images);
	fputs(m->classes, to);
	if (ferror(to) | fclose(to)) {
		free(*text);
		return error_nomem();
	}
	return 0;
}

int ctf_metadata_write(struct ctf_metadata *m, const char *path, int dir)
{
	char *text;
	size_t size;
	int fd, err = metadata_make_text(m, &text, &size);

	if (err)
		return err;
	fd = openat(dir, ".metadata", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0) {
		free(text);
		return error_set(errno, "cannot create '%s/.metadata': %s", path, strerror(errno));
	}
	err = ctf_write(fd, text, size);
	free(text);
	if (close(fd) && !err)
		err = -errno;
	if (err || renameat(dir, ".metadata", dir, "metadata")) {
		err = err ? -err : errno;
		unlinkat(dir, ".metadata", 0);
		return error_set(err, "cannot write '%s/metadata': %s", path, strerror(err));
	}
	m->size = size;
	m->changed = false;
	return 0;
}

bool ctf_metadata_has_changed(const struct ctf_metadata *m)
{
	return m->changed;
}

size_t ctf_metadata_size(const struct ctf_metadata *m)
{
	return m->size;
}

int ctf_metadata_measure(const struct ctf_metadata *m, size_t *size)
{
	char *text;
	int err = metadata_make_text(m, &text, size);

	if (err)
		return err;
	free(text);
	for (size_t i = 0; i < m->nattachments; i++)
		*size += m->attachments[i].thread_text ? strlen(m->attachments[i].thread_text) : 0;
	return 0;
}

/* ---- classes ---- */

static int point_compare_class(const void *a, const void *b, void *manifest)
{
	const struct manifest_point *points = manifest_points(manifest);
	const struct manifest_point *p = &points[*(const uint32_t *)a], *q = &points[*(const uint32_t *)b];

	if (p->probe != q->probe)
		return p->probe < q->probe ? -1 : 1;
	return p->layout < q->layout ? -1 : p->layout > q->layout;
}

static void class_init(struct ctf_class *class, uint32_t id, const struct manifest_layout *layout)
{
	*class = (struct ctf_class){
		.id = id, .has_arguments = layout->nargs, .has_words = true, .nargs = (uint8_t)layout->nargs
	};
	for (uint32_t i = 0; i < layout->nargs; i++) {
		enum ctf_field field = ctf_field(layout, i);

		class->sizes[i] = layout->size[i];
		class->has_words &= (field == CTF_SIGNED || field == CTF_UNSIGNED || field == CTF_HEX) &&
		                    (layout->size[i] == 4 || layout->size[i] == 8);
		switch (field) {
		case CTF_NONE: break;
		case CTF_SIGNED:
		case CTF_UNSIGNED:
		case CTF_HEX: class->size += layout->size[i]; break;
		case CTF_FLOAT: class->size += layout->size[i] == 2 ? 4 : layout->size[i]; break;
		case CTF_STRING: class->has_strings = true; break;
		case CTF_BOOL:
		case CTF_LETTER: class->size++; break;
		}
	}
}

/*
 * Gives each pair of probe and layout an id and describes it. Sets a->ids[i] to the id of point i. A point that begins a call has no
 * class, because its hits make no records.
 */
static int metadata_describe(struct ctf_metadata *m, const struct manifest *manifest, struct attachment_classes *a,
                             FILE *mixed, FILE *thread)
{
	const struct manifest_point *points = manifest_points(manifest), *before = NULL;
	uint32_t *order = malloc(sizeof(*order) * manifest->npoints + 1);

	if (!order || ALLOC_GROW(m->class, m->nclasses + manifest->npoints + 1, m->class_room)) {
		free(order);
		return error_nomem();
	}
	for (uint32_t i = 0; i < manifest->npoints; i++)
		order[i] = i;
	qsort_r(order, manifest->npoints, sizeof(*order), point_compare_class, (void *)manifest);
	for (uint32_t i = 0; i < manifest->npoints; i++) {
		const struct manifest_point *point = &points[order[i]];
		const struct manifest_probe *probe = &manifest_probes(manifest)[point->probe];
		const struct manifest_layout *layout = &manifest_layouts(manifest)[point->layout];
		uint32_t id = a->first + a->nclasses;

		if (manifest_point_role(point) == SITE_CALL)
			continue;
		if (!before || point->probe != before->probe || point->layout != before->layout) {
			ctf_tsdl_event(mixed, id, CTF_MIXED, manifest, probe, layout);
			if (id <= CTF_THREAD_ID_MAX)
				ctf_tsdl_event(thread, id, CTF_THREAD, manifest, probe, layout);
			class_init(&m->class[id], id, layout);
			a->nclasses++;
		}
		a->ids[order[i]] = a->first + a->nclasses - 1;
		before = point;
	}
	free(order);
	return 0;
}

/* Replaces a text by it and another. */
static int text_append(char **text, const char *more)
{
	char *joined;

	if (asprintf(&joined, "%s%s", *text, more) < 0)
		return error_nomem();
	free(*text);
	*text = joined;
	return 0;
}

static int metadata_add_images(struct ctf_metadata *m, const struct manifest *manifest)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);
	int err;

	if (!to)
		return error_nomem();
	for (uint32_t i = 0; i < manifest->nfiles; i++) {
		const struct manifest_file *file = &manifest_files(manifest)[i];

		ctf_tsdl_image(to, m->nimages + i, manifest_string(manifest, file->path),
		               manifest_string(manifest, file->build_id));
	}
	err = ferror(to) | fclose(to) ? error_nomem() : text_append(&m->images, text);
	free(text);
	if (!err)
		m->nimages += manifest->nfiles;
	return err;
}

static int metadata_describe_text(struct ctf_metadata *m, const struct manifest *manifest, struct attachment_classes *a)
{
	char *text = NULL;
	size_t size, thread_size;
	FILE *mixed = open_memstream(&text, &size), *thread = open_memstream(&a->thread_text, &thread_size);
	int err = mixed && thread ? metadata_describe(m, manifest, a, mixed, thread) : error_nomem();

	if (mixed && (ferror(mixed) | fclose(mixed)) && !err)
		err = error_nomem();
	if (thread && (ferror(thread) | fclose(thread)) && !err)
		err = error_nomem();
	if (!err)
		err = text_append(&m->classes, text);
	free(text);
	return err;
}

int ctf_metadata_add(struct ctf_metadata *m, const struct manifest *manifest, uint32_t attachment)
{
	struct attachment_classes a = { attachment, manifest->size, manifest->npoints, NULL, (uint32_t)m->nclasses, 0,
		                        NULL };
	int err = ALLOC_GROW(m->attachments, m->nattachments + 1, m->room);

	if (err)
		return err;
	a.ids = malloc(sizeof(*a.ids) * manifest->npoints + 1);
	if (!a.ids)
		return error_nomem();
	err = metadata_describe_text(m, manifest, &a);
	if (!err)
		err = metadata_add_images(m, manifest);
	if (err) {
		free(a.ids);
		free(a.thread_text);
		return err;
	}
	m->attachments[m->nattachments++] = a;
	m->nclasses += a.nclasses;
	m->changed = true;
	return 0;
}

bool ctf_metadata_has_all_thread_classes(const struct ctf_metadata *m)
{
	for (size_t i = 0; i < m->nattachments; i++)
		if (m->attachments[i].thread_text)
			return false;
	return true;
}

int ctf_metadata_add_thread_classes(struct ctf_metadata *m, uint32_t id)
{
	for (size_t i = 0; i < m->nattachments; i++) {
		struct attachment_classes *a = &m->attachments[i];
		int err;

		if (!a->thread_text || id < a->first || id >= a->first + a->nclasses)
			continue;
		err = text_append(&m->classes, a->thread_text);
		if (err)
			return err;
		free(a->thread_text);
		a->thread_text = NULL;
		m->changed = true;
	}
	return 0;
}

const struct ctf_class *ctf_metadata_class_by_id(const struct ctf_metadata *m, uint32_t id)
{
	return &m->class[id];
}

const struct ctf_class *ctf_metadata_class(struct ctf_metadata *m, const struct manifest *manifest, uint32_t attachment,
                                           uint32_t point, int *err)
{
	for (size_t i = m->nattachments; i--;) {
		const struct attachment_classes *a = &m->attachments[i];

		if (a->attachment == attachment && a->size == manifest->size && a->npoints == manifest->npoints)
			return &m->class[a->ids[point]];
	}
	*err = ctf_metadata_add(m, manifest, attachment);
	return *err ? NULL : &m->class[m->attachments[m->nattachments - 1].ids[point]];
}
