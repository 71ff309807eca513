/* SPDX-License-Identifier: MIT */
#ifndef SDT_OVERLAYFS_H
#define SDT_OVERLAYFS_H

#include <sys/stat.h>
#include <sys/types.h>

/*
 * A file on an overlay file system is, to whoever arms it, the file of one of the layers: *device and
 * *inode are that one's, which change when the file is copied up. They come from the kernel
 * (inode.h), or, without the privilege, from the mount's options. Elsewhere, and where it
 * cannot be found (its layers are not to be seen from here), they are the file's own.
 */
void overlay_real(const char *path, int fd, const struct stat *st, dev_t *device, ino_t *inode);

#endif
