/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_FILE_STATE_H
#define RUNTIME_FILE_STATE_H

#include <probepoint.h>

struct manifest_file;

/* Returns whether the path is still this file. */
enum pp_file_state file_state_read(const struct manifest_file *file, const char *path);

#endif
