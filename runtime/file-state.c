/* SPDX-License-Identifier: MIT */
#include "runtime/file-state.h"

#include <errno.h>
#include <sys/stat.h>

#include "runtime/manifest.h"

enum pp_file_state file_state_read(const struct manifest_file *file, const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return errno == ENOENT || errno == ENOTDIR ? PP_FILE_DELETED : PP_FILE_PRESENT;
	/* On some file systems the device differs between stat(2) and maps. The inode is not reused while it is armed. */
	return st.st_ino == file->inode || st.st_ino == file->real_inode ? PP_FILE_PRESENT : PP_FILE_REPLACED;
}
