/* SPDX-License-Identifier: MIT */
/* The names in a folder, for the stores of sessions. */
#ifndef RUNTIME_FOLDER_H
#define RUNTIME_FOLDER_H

/*
 * Lists the names in a directory, without "." and "..", sorted, with NULL after the last; for folder_names_free(). A
 * directory that does not exist, or may not be read, has no names. NULL: it cannot be read now, errno says why.
 */
char **folder_names(int dir);
void folder_names_free(char **names);

#endif
