/* SPDX-License-Identifier: MIT */
#ifndef CMD_IMAGES_H
#define CMD_IMAGES_H

#include <probepoint.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct options;

/* Images opened for their probes, each file once. */
struct images {
	struct images_entry {
		struct pp_image *image;
		char *name; /* what people call the file */
		dev_t device;
		ino_t inode;
	} * entry;
	size_t n;
	struct options *tell; /* who complains of what cannot be read; NULL: it is passed over */
	bool failed;          /* something could not be read */
};

void images_add_file(struct images *images, const char *path);
/* All that the process maps. */
void images_add_process(struct images *images, pid_t pid);
void images_free(struct images *images);

#endif
