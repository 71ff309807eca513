/* SPDX-License-Identifier: MIT */
/* Uprobes of other tools, and of sessions that nobody else sees. */
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
	FOREIGN_UNKNOWN, /* the kernel does not say, to this user or at all */
};

/* What is known of uprobes; begins as zeros, read when it is first asked. */
struct foreign_list {
	struct foreign_entry {
		dev_t device;
		ino_t inode; /* 0: of a file whose name leads nowhere */
		uint64_t offset;
	} * list;
	size_t n, room;
	bool read, incomplete;
};

/* Finds out whether a uprobe is registered at this offset of the image's file. */
enum foreign foreign_uprobe(struct foreign_list *list, const struct pp_image *image, uint64_t offset);
void foreign_release(struct foreign_list *list);

#endif
