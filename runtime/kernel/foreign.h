/* SPDX-License-Identifier: MIT */
/* Uprobes of other tools, and of private sessions. */
#ifndef RUNTIME_KERNEL_FOREIGN_H
#define RUNTIME_KERNEL_FOREIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pp_image;

enum foreign {
	FOREIGN_NONE, /* no uprobe is at this offset */
	FOREIGN_UPROBE,
	FOREIGN_UNKNOWN, /* the kernel does not report it, or not to this user */
};

/* The uprobes that the kernel reports. Initialize with zeros. The first foreign_uprobe() reads the list. */
struct foreign_list {
	struct foreign_entry {
		dev_t device;
		ino_t inode; /* 0: the path that the kernel reports leads to no file here */
		char *name;  /* if inode is 0: the last component of that path, or "" */
		uint64_t offset;
	} * list;
	size_t n, room;
	bool read, incomplete;
};

/* Returns whether a uprobe is registered at the offset in the image's file. */
enum foreign foreign_uprobe(struct foreign_list *list, const struct pp_image *image, uint64_t offset);
void foreign_release(struct foreign_list *list);

#endif
