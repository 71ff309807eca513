/* SPDX-License-Identifier: MIT */
#ifndef SDT_OVERLAYFS_H
#define SDT_OVERLAYFS_H

#include <sys/stat.h>
#include <sys/types.h>

/*
 * Finds the file that backs an open file. On overlayfs that is the file of a layer, at which the kernel registers uprobes;
 * it changes when the file is copied up. Privileged users get it from the kernel (inode.h). Otherwise it is derived from
 * the mount options. On other file systems, and if the layers are not visible, *device and *inode are the file's own.
 */
void overlayfs_real(const char *path, int fd, const struct stat *st, dev_t *device, ino_t *inode);

#endif
