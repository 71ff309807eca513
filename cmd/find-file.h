/* SPDX-License-Identifier: MIT */
#ifndef CMD_FIND_FILE_H
#define CMD_FIND_FILE_H

/*
 * Returns the path of a file that a user has named. A name without a slash that is not in the working directory is searched
 * in PATH, as the shell does, and then as the dynamic loader does. Returns the name itself if it is not found. The path is
 * not freed.
 */
const char *find_file(const char *name);

#endif
