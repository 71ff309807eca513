/* SPDX-License-Identifier: MIT */
/* What a session has armed with a label. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "runtime/file-state.h"
#include "runtime/process.h"
#include "runtime/session.h"

/* Sets the file, process and counts. Returns false if no point of the attachment is in the session. */
static bool labelled_fill(struct pp_labelled *labelled, const struct attachment *attachment)
{
	const struct manifest *d = attachment->manifest;
	const struct manifest_file *file;
	const struct backend *backend = attachment->backend;
	const struct manifest_point *points = manifest_points(d);

	for (uint32_t i = 0; i < d->npoints; i++) {
		struct pp_counts counts = { 0 };

		backend->counts(attachment, i, &counts);
		labelled->hits += counts.hits;
		labelled->sites += backend->armed(attachment, i) || backend->over_budget(attachment, i);
	}
	if (!d->npoints || !labelled->sites)
		return false;
	file = &manifest_files(d)[manifest_probes(d)[points[0].probe].file];
	labelled->file = manifest_string(d, file->path);
	labelled->build_id = manifest_string(d, file->build_id);
	labelled->pid = (pid_t)points[0].pid;
	if (backend->pid_namespace(attachment))
		return true; /* neither the pid nor the path means the same here */
	labelled->file_state = file_state_read(file, labelled->file);
	if (labelled->pid)
		labelled->life =
			(enum pp_life)process_life(labelled->pid, backend->start_time(attachment, points[0].pid));
	return true;
}

static int attachment_label(const struct attachment *attachment,
                            int (*fn)(const struct pp_labelled *labelled, void *arg), void *arg)
{
	struct pp_labelled labelled = { .attachment = attachment_id(attachment),
		                        .label = manifest_label(attachment->manifest),
		                        .backend = attachment->backend->name };

	if (!labelled.label || !labelled_fill(&labelled, attachment))
		return 0;
	return fn(&labelled, arg);
}

int pp_session_labels(struct pp_session *session, int (*fn)(const struct pp_labelled *labelled, void *arg), void *arg)
{
	const bool hasty = session->hasty;
	int err;

	session->hasty = true; /* pp_session_open() has waited for the locks of these parts */
	err = session_open_all(session);
	session->hasty = hasty;
	if (!err)
		err = session_refresh(session);
	for (size_t i = 0; i < session->nattachments && !err; i++)
		err = attachment_label(session->attachments[i], fn, arg);
	return err;
}
