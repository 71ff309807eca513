/* SPDX-License-Identifier: MIT */
#ifndef SDT_INODE_H
#define SDT_INODE_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Asks the kernel which inode backs a mapping of the file: on an overlay, that of the layer's file, which is also the
 * one where uprobes are. Needs CAP_BPF and CAP_PERFMON. Returns false if it cannot be known.
 */
bool inode_mapped(int fd, dev_t *device, ino_t *inode);

#endif
