/* SPDX-License-Identifier: MIT */
/* The file of an attachment, segment-N: what one command armed. */
#ifndef RUNTIME_AGENT_ATTACHMENT_FILE_H
#define RUNTIME_AGENT_ATTACHMENT_FILE_H

#include "runtime/agent/session-files.h"

/* The contents of a file, checked. Zeroed: empty. */
struct agent_file {
	struct agent_attachment *attachment; /* the whole file */
	struct manifest *manifest;           /* inside it */
	uint8_t *on;                         /* inside it */
};

/*
 * Makes the contents for points, and sets the points' spec in the file's manifest. Points with an error are off.
 * Takes the sizes of tables and of the flight recorder from the options. Returns -ENOMEM, -EFBIG, or -ESRCH if a process has
 * ended. The caller releases the file.
 */
int agent_file_make(struct agent_file *file, const struct manifest *manifest, uint32_t flags,
                    const struct arm_options *options, uint32_t ring_size, struct arm_point *const *points,
                    size_t npoints);
/* Reads and checks segment-N. Returns 0 or an error with a message. The caller releases the file. */
int agent_file_read(const struct agent_dir *dir, uint32_t number, struct agent_file *file);
int agent_file_write(const struct agent_dir *dir, const struct agent_file *file);
void agent_file_release(struct agent_file *file);
/* Returns the processes of an attachment, nprocesses of them. */
const struct agent_process *agent_file_processes(const struct agent_file *file);

#endif
