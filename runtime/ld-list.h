/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_LD_LIST_H
#define RUNTIME_LD_LIST_H

/*
 * Calls fn for an executable that is about to be started and for each library that
 * the dynamic loader will map for it, as the loader itself tells (its --list).
 */
int loader_images(const char *file, int (*fn)(const char *path, const char *name, void *arg), void *arg);

#endif
