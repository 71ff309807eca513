/* SPDX-License-Identifier: MIT */
/*
 * What stands behind the image functions of <probepoint.h>, for runtime/. All of
 * it is read once, by pp_image_open(), and does not change afterwards. Sites are
 * checked: an offset lies in a PT_LOAD segment that is executable and inside the
 * file, an operand string ends.
 */
#ifndef SDT_IMAGE_H
#define SDT_IMAGE_H

#include "base/arena.h"

#include <probepoint-note.h>
#include <probepoint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

/* A field of a structure: size bytes at offset; or bits from bit on of the byte there. */
struct pp_field {
	const char *name, *type;
	char class;        /* PPN_CLASS_*; PPN_CLASS_NONE: its value is no number */
	uint8_t bit, bits; /* bits: 0 where it is none of a bit-field's */
	uint32_t offset, size;
};

struct pp_enumerator {
	const char *name;
	int64_t value; /* of unsigned ones: the same bits */
};

/* An enumeration or a structure that arguments have or point to. */
struct pp_type {
	uint64_t key;
	const char *name;
	uint32_t size;
	struct pp_field *fields;
	struct pp_enumerator *values;
	size_t nfields, nvalues;
};

struct pp_arg {
	char *name;
	char *type;
	char class;                      /* PPN_CLASS_*; PPN_CLASS_NONE where no signature tells */
	const struct pp_type *described; /* its type, or what it points to; NULL where unknown */
};

struct pp_site {
	const struct pp_probe *probe;
	uint64_t address; /* as linked, prelink undone */
	uint64_t offset;
	bool has_semaphore;
	uint64_t semaphore;        /* its address as linked */
	uint64_t semaphore_offset; /* ... and where the file holds it */
	bool semaphore_in_bss;     /* the file does not hold it: has_semaphore is false, and it is raised by hand */
	uint32_t flags;            /* PPN_FLAG_* */
	uint32_t floats;           /* bit i: operand i is a float or double, though its text has no `f` */
	uint8_t role;              /* enum site_role, runtime/function.h; 0 for all that notes tell of */
	uint8_t code[16];          /* the file's bytes from offset on, zeroes past its end */
	bool noted;                /* a note names it; else a request does, as func:SYMBOL */
	char *refused;             /* why it must not be armed, by what the note says; NULL: nothing is wrong */
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
	char *path; /* by which it was opened */
	char *name; /* what it is called in reports: an absolute path, without /proc/PID/map_files */
	char build_id[2 * 64 + 1];
	dev_t device;
	ino_t inode;
	dev_t real_device; /* the same, but on an overlay: of the layer's file, to which points belong */
	ino_t real_inode;
	uint64_t size;
	int machine; /* EM_* */
	bool is_64;
	struct pp_probe *probes;
	size_t nprobes;
	char **warnings;
	size_t nwarnings;
	const char *dropped; /* the warning, if there is one, of notes whose code the linker dropped: no harm */
	struct image_symbols *symbols; /* read when first needed; see image_symbol() */
	struct image_segment {
		uint64_t address, offset, filesz, memsz;
		unsigned flags; /* PF_* */
	} * segments;
	size_t nsegments;
	uint16_t type;            /* ET_EXEC or ET_DYN */
	struct timespec changed;  /* the file's mtime */
	uint64_t hidden_warnings; /* that came when there were enough of them */
	struct pp_type *types;    /* by key */
	size_t ntypes;
	struct pp_arg *unnamed; /* arg0, arg1, ..., that probes without a signature share */
	struct arena arena;     /* whose strings all of the above are */
};

/* Sets the name. -ENOMEM. */
int image_rename(struct pp_image *image, const char *name);

/* -ESTALE: what is at its path now, as fstat(2) tells, is another file or has other contents. */
int image_unchanged(const struct pp_image *image, const struct stat *now);
/* A descriptor of the file, while it is the one that was read; negative errno. */
int image_reopen(const struct pp_image *image);

/* Address as linked -> file offset, in any PT_LOAD that the file holds there. -EINVAL: in none. */
int image_offset(const struct pp_image *image, uint64_t address, uint64_t *offset);

/*
 * The address of a defined symbol that is no section, file or thread-local. The
 * symbol tables are read when they are first asked for. -ENOENT; -EEXIST: several
 * places have that name, and nothing decides; -ESTALE: the file is another by now.
 */
int image_symbol(const struct pp_image *image, const char *name, uint64_t *address);

/* The name of the function that an address is in, the image's; NULL where unknown. */
const char *image_function(const struct pp_image *image, uint64_t address);
/* ... and where it is, *start to before *end; both are the same where its size is not known. */
const char *image_function_range(const struct pp_image *image, uint64_t address, uint64_t *start, uint64_t *end);
/*
 * The addresses of the functions of this name: a symbol's own, else what C++ calls it,
 * as "ns::f(int)" or "ns::f". How many, at most room, or a negative errno.
 */
int image_functions_named(const struct pp_image *image, const char *name, uint64_t *addresses, size_t room);
/*
 * As image_function_range(), and where no symbol covers the address, by the file's unwind
 * tables; the name is then its address, as "0x1130".
 */
const char *image_code_range(const struct pp_image *image, uint64_t address, uint64_t *start, uint64_t *end);
/*
 * Finds the last place at or before the address where an instruction is known to begin: a
 * function, by the symbols or the unwind tables, or a section of code. False: there is none.
 */
bool image_code_start(const struct pp_image *image, uint64_t address, uint64_t *start);
/* True where a symbol of this name is at the address. */
bool image_names_place(const struct pp_image *image, const char *name, uint64_t address);
/* True where a variable (STT_OBJECT) of this name and at least this size begins at the address. */
bool image_names_object(const struct pp_image *image, const char *name, uint64_t address, uint64_t size);
/* True where the name is that of an indirect function (STT_GNU_IFUNC), whose resolver is at *address. */
bool image_is_ifunc(const struct pp_image *image, const char *name, uint64_t *address);
/* Finds where the loader writes what the resolver at this address chooses (R_X86_64_IRELATIVE). False: nowhere. */
bool image_ifunc_slot(const struct pp_image *image, uint64_t resolver, uint64_t *slot);
/* As people write it; the caller frees it. */
char *image_function_written(const struct pp_image *image, uint64_t address);

/* Adds to the warnings, "FILE: " in front. Beyond a few they are only counted. */
__attribute__((format(printf, 2, 3))) void image_warn(struct pp_image *image, const char *format, ...);

#endif
