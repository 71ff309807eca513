/* SPDX-License-Identifier: MIT */
#ifndef CMD_IMAGES_H
#define CMD_IMAGES_H

#include <probepoint.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct options;

/* The images of a set of files, each file once. */
struct images {
	struct images_entry {
		struct pp_image *image;
		char *name; /* the path to print */
		dev_t device;
		ino_t inode;
	} * entry;
	size_t n;
	struct options *report; /* errors and damaged notes are reported with these options; NULL: not reported */
	bool failed;            /* a file or a note could not be read */
};

void images_add_file(struct images *images, const char *path);
/* Adds all ELF files that the process maps. */
void images_add_process(struct images *images, pid_t pid);
void images_free(struct images *images);

#endif
