/* SPDX-License-Identifier: MIT */
#ifndef CMD_FIND_FILE_H
#define CMD_FIND_FILE_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Finds a file that a user has named. A path that exists, or that has a slash, is the path. Any other name is searched
 * among the files that the processes map, then in PATH, then where the dynamic loader finds libraries. Sets *path,
 * which is not freed, to the path, or to the name itself if the file is not found. Returns NULL, or an error message if
 * the processes map different files of this name. The caller frees it.
 */
char *find_file(const char *name, const pid_t *pids, size_t npids, const char **path);

/*
 * Returns the error message for a file that find_file() did not find, which lists the places that were searched.
 * Returns NULL if the file was found or is a path. The caller frees the message.
 */
char *find_file_error(const char *path, size_t npids);

#endif
