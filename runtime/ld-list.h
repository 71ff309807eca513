/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_LD_LIST_H
#define RUNTIME_LD_LIST_H

/*
 * Calls fn for an executable that is going to be started, and for each library that the dynamic loader is going to map for
 * it. The loader itself lists them (ld.so --list). Stops at the first error of fn and returns it. Libraries are omitted if
 * the executable has no loader or the loader does not run.
 */
int loader_images(const char *file, int (*fn)(const char *path, const char *name, void *arg), void *arg);

#endif
