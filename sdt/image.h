/* SPDX-License-Identifier: MIT */
/*
 * What stands behind the image functions of <probepoint.h>, for runtime/. All of
 * it is read once, by pp_image_open(), and does not change afterwards. Sites are
 * checked: an offset lies in a PT_LOAD segment that is executable and inside the
 * file, an operand string ends.
 */
#ifndef SDT_IMAGE_H
#define SDT_IMAGE_H

#include <probepoint-note.h>
#include <probepoint.h>

struct pp_arg {
	char *name;
	char *type;
	char class; /* PPN_CLASS_*; PPN_CLASS_NONE where no signature tells */
};

struct pp_site {
	const struct pp_probe *probe;
	uint64_t address; /* as linked, prelink undone */
	uint64_t offset;
	bool has_semaphore;
	uint64_t semaphore;        /* its address as linked */
	uint64_t semaphore_offset; /* ... and where the file holds it */
	uint32_t flags;            /* PPN_FLAG_* */
	uint8_t code[16];          /* the file's bytes from offset on, zeroes past its end */
	char *operands;
	char *function;
	char *source;
};

struct pp_probe {
	const struct pp_image *image;
	char *provider, *name;
	char *signature; /* NULL where unknown */
	struct pp_arg *args;
	size_t nargs;
	struct pp_site *sites;
	size_t nsites;
};

struct pp_image {
	char *path;
	char build_id[2 * 64 + 1];
	dev_t device;
	ino_t inode;
	uint64_t size;
	int machine;      /* EM_* */
	bool is_64;
	struct pp_probe *probes;
	size_t nprobes;
	char **warnings;
	size_t nwarnings;
	struct image_symbols *symbols; /* sorted by address; see image_symbol() */
	struct image_segment {
		uint64_t address, offset, filesz, memsz;
		unsigned flags; /* PF_* */
	} *segments;
	size_t nsegments;
};

/* Address as linked -> file offset, in any PT_LOAD that the file holds there. -EINVAL: in none. */
int image_offset(const struct pp_image *image, uint64_t address, uint64_t *offset);

/*
 * The address of a symbol's start; section: the section index that it should be in
 * where several have the name, -1 for any. -ENOENT; -EEXIST: several, and nothing decides.
 */
int image_symbol(const struct pp_image *image, const char *name, uint64_t *address);

#endif
