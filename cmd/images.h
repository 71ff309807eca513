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
	const char *const *patterns; /* only probes that match one of them are kept; npatterns 0: all */
	size_t npatterns;
	bool counts;            /* sites are counted only, except in images of which a session arms a site */
	struct pp_armed *armed; /* NULL: not known */
	struct images_entry {
		struct pp_image *image;
		char *name; /* the path to print */
		dev_t device;
		ino_t inode;
		size_t processes; /* that map it */
	} * entry;
	size_t n;
	bool checks;            /* damaged notes are not reported, because the caller does it */
	struct options *report; /* errors and damaged notes are reported with these options; NULL: not reported */
	bool failed;            /* a file or a note could not be read */
};

void images_add_file(struct images *images, const char *path);
/* Adds all ELF files that the process maps. */
void images_add_process(struct images *images, pid_t pid);
/* Adds all ELF files that processes map. Reports how many processes cannot be read. */
void images_add_all_processes(struct images *images);
void images_free(struct images *images);

#endif
