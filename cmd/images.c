/* SPDX-License-Identifier: MIT */
#include "cmd/images.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/options.h"
#include "cmd/ui.h"

enum { WARNINGS_SHOWN = 3 };

static void tell_warnings(struct images *images, const struct pp_image *image)
{
	size_t n = pp_image_warnings(image), shown = n;

	if (!n)
		return;
	images->failed = true;
	if (!images->tell->verbose && n > WARNINGS_SHOWN + 1)
		shown = WARNINGS_SHOWN;
	for (size_t i = 0; i < shown; i++)
		complain(images->tell, "%s", pp_image_warning(image, i));
	if (shown < n)
		complain(images->tell, "%s: %zu more of its notes are damaged; -v shows them", pp_image_path(image),
		         n - shown);
}

static void add(struct images *images, const char *path, const char *name)
{
	struct images_entry *more;
	struct pp_image *image;
	struct stat st;

	if (stat(path, &st))
		memset(&st, 0, sizeof(st));
	for (size_t i = 0; i < images->n && st.st_ino; i++)
		if (images->entry[i].device == st.st_dev && images->entry[i].inode == st.st_ino)
			return;
	if (pp_image_open(path, &image)) {
		images->failed = true;
		if (images->tell)
			complain(images->tell, "%s", pp_error());
		return;
	}
	if (images->tell)
		tell_warnings(images, image);
	more = reallocarray(images->entry, images->n + 1, sizeof(*more));
	if (!more)
		no_memory();
	images->entry = more;
	more[images->n] = (struct images_entry){ image, strdup(name), st.st_dev, st.st_ino };
	if (!more[images->n++].name)
		no_memory();
}

void images_add_file(struct images *images, const char *path)
{
	add(images, path, path);
}

static int add_mapped(const char *path, const char *name, void *arg)
{
	add(arg, path, name);
	return 0;
}

void images_add_process(struct images *images, pid_t pid)
{
	if (!pp_process_images(pid, add_mapped, images))
		return;
	images->failed = true;
	if (images->tell)
		complain(images->tell, "%s", pp_error());
}

void images_free(struct images *images)
{
	for (size_t i = 0; i < images->n; i++) {
		pp_image_free(images->entry[i].image);
		free(images->entry[i].name);
	}
	free(images->entry);
	*images = (struct images){ 0 };
}
