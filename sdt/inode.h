/* SPDX-License-Identifier: MIT */
#ifndef SDT_INODE_H
#define SDT_INODE_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Finds the inode that backs a mapping of the file. On overlayfs that is the inode of the layer's file, at which uprobes
 * are registered. Needs CAP_BPF and CAP_PERFMON. Returns false if it cannot be found. Threads may call it at the same time.
 */
bool inode_of_mapping(int fd, dev_t *device, ino_t *inode);

#endif
