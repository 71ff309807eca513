/* SPDX-License-Identifier: MIT */
#include "cmd/images.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/alloc.h"
#include "cmd/find-file.h"
#include "cmd/options.h"
#include "cmd/ui.h"

static void image_report_warnings(struct images *images, const struct pp_image *image)
{
	size_t n = pp_image_warnings(image), shown = options_warnings_shown(images->report, n);

	if (!n)
		return;
	images->failed = true;
	for (size_t i = 0; i < shown; i++)
		ui_error(images->report, "%s", pp_image_warning(image, i));
	if (shown < n)
		ui_error(images->report, "%s: %zu more damaged notes; list them with -v", pp_image_path(image),
		         n - shown);
}

static int image_open(const struct images *images, const char *path, struct pp_image **image)
{
	int err = pp_image_open_matching(path, images->patterns, images->npatterns,
	                                 images->counts ? PP_IMAGE_COUNTS : 0, image);

	if (err || !images->counts || !images->armed || !pp_armed_any(images->armed, *image))
		return err;
	pp_image_free(*image);
	return pp_image_open_matching(path, images->patterns, images->npatterns, 0, image);
}

/* Opens the file, unless the same inode is there already. */
static void images_add(struct images *images, const char *path, const char *name)
{
	struct pp_image *image;
	struct stat st;

	if (stat(path, &st))
		memset(&st, 0, sizeof(st));
	for (size_t i = 0; i < images->n && st.st_ino; i++)
		if (images->entry[i].device == st.st_dev && images->entry[i].inode == st.st_ino) {
			images->entry[i].processes++;
			return;
		}
	if (image_open(images, path, &image)) {
		images->failed = true;
		if (images->report)
			ui_error(images->report, "%s", pp_error());
		return;
	}
	if (images->report && !images->checks)
		image_report_warnings(images, image);
	images->entry = xreallocarray(images->entry, images->n + 1, sizeof(*images->entry));
	images->entry[images->n++] = (struct images_entry){ image, xstrdup(name), st.st_dev, st.st_ino, 1 };
}

static int images_add_member(const char *path, void *images)
{
	images_add(images, path, path);
	return 0;
}

void images_add_file(struct images *images, const char *path)
{
	size_t n = images->n;
	bool failed = images->failed;
	char *missing = find_file_error(path, images->report ? images->report->npids : 0);
	int err;

	if (missing) {
		images->failed = true;
		if (images->report)
			ui_error(images->report, "%s", missing);
		free(missing);
		return;
	}
	err = pp_archive_members(path, images_add_member, images);

	if (err == 1 || err == -ENOENT) { /* not an archive, or a member of one */
		images_add(images, path, path);
		return;
	}
	if (err) {
		images->failed = true;
		if (images->report)
			ui_error(images->report, "%s", pp_error());
		return;
	}
	if (images->n > n || images->failed != failed)
		return;
	images->failed = true;
	if (images->report)
		ui_error(images->report, "'%s' is an archive without object files", path);
}

static int images_add_mapped(const char *path, const char *name, void *images)
{
	images_add(images, path, name);
	return 0;
}

void images_add_process(struct images *images, pid_t pid)
{
	if (!pp_process_images(pid, images_add_mapped, images))
		return;
	images->failed = true;
	if (images->report)
		ui_error(images->report, "%s", pp_error());
}

void images_add_all_processes(struct images *images)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char *reason = NULL;
	size_t unread = 0;

	while (proc && (entry = readdir(proc)) != NULL) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		int err = pid > 0 ? pp_process_images(pid, images_add_mapped, images) : 0;

		if (!err || err == -ESRCH)
			continue;
		if (!unread++)
			reason = xstrdup(pp_error());
	}
	if (!proc)
		ui_error(images->report, "cannot read /proc: %s", strerror(errno));
	else
		closedir(proc);
	if (unread == 1)
		ui_error(images->report, "%s", reason);
	else if (unread)
		ui_error(images->report, "%zu processes cannot be read; the first: %s", unread, reason);
	images->failed |= !proc || unread;
	free(reason);
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
