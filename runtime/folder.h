/* SPDX-License-Identifier: MIT */
/* The names in a folder, for the stores of sessions. */
#ifndef RUNTIME_FOLDER_H
#define RUNTIME_FOLDER_H

/* Without "." and "..", sorted, NULL behind the last; for folder_names_free(). NULL: no memory. No folder: no names. */
char **folder_names(int dir);
void folder_names_free(char **names);

#endif
