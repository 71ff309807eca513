/* SPDX-License-Identifier: MIT */
/*
 * The contents of an image (see <probepoint.h>), for sdt/ and runtime/.
 *
 * pp_image_open() reads and checks everything except symbols and unwind tables, which are read at the first lookup.
 * After that an image does not change. Each site's offset is inside the file and in an executable PT_LOAD segment. All
 * strings belong to the image's arena, end inside their note and are printable UTF-8.
 */
#ifndef SDT_IMAGE_H
#define SDT_IMAGE_H

#include "base/arena.h"

#include <probepoint-note.h>
#include <probepoint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

/* A field of a structure: size bytes at offset. A bit-field has `bits` bits, from bit number `bit` of the byte at offset. */
struct pp_field {
	const char *name, *type;
	char class;        /* PPN_CLASS_*; PPN_CLASS_NONE: the value is not a number */
	uint8_t bit, bits; /* bits: 0 if the field is not a bit-field */
	uint32_t offset, size;
};

struct pp_enumerator {
	const char *name;
	int64_t value; /* an unsigned value is stored as the same bits */
};

/* An enumeration or a structure that is the type, or the pointed-to type, of an argument. */
struct pp_type {
	uint64_t key;
	const char *name;
	uint32_t size;
	struct pp_field *fields;
	struct pp_enumerator *values;
	size_t nfields, nvalues;
	const struct dwarf_die
		*die; /* of a parameter that has the type, which DWARF describes; NULL: fields and values do */
};

struct pp_arg {
	char *name;
	char *type;
	char class;                      /* PPN_CLASS_*; PPN_CLASS_NONE: not known */
	const struct pp_type *described; /* the type or pointed-to type; NULL: not known */
	uint16_t length;                 /* 0, or 1 + the index of the argument that is the length of this string */
};

struct pp_site {
	const struct pp_probe *probe;
	uint64_t address; /* as linked; the effect of prelink is undone */
	uint64_t offset;
	bool has_semaphore;
	uint64_t semaphore;        /* address as linked */
	uint64_t semaphore_offset; /* offset in the file */
	bool semaphore_in_bss;     /* not in the file: has_semaphore is false and runtime/ writes it in each process */
	uint32_t flags;            /* PPN_FLAG_* */
	uint32_t floats;           /* bit i: operand i is a float or double without an `f` in its text */
	uint8_t role;              /* enum site_role of runtime/function.h; 0 for sites of notes */
	bool by_return;            /* hit when the function that begins here returns, by a uretprobe */
	uint8_t code[16];          /* the file's bytes at offset, padded with zeroes */
	const struct call *call;   /* the call that the site begins or ends (runtime/call.h); NULL for most sites */
	uint8_t skipped; /* bytes of endbr64 between the begin of the function and the site; 0 for most sites */
	bool noted;      /* true: from a note; false: from a request such as func:SYMBOL */
	char *refused;   /* why the site must not be armed; NULL: it may be */
	char *operands;
	char *function;
	char *source;
};

#define SEMAPHORE_MAX 32767 /* armed sites on one semaphore; programs read the number as signed */

struct pp_probe {
	const struct pp_image *image;
	char *provider, *name;
	char *signature; /* NULL: not known */
	struct pp_arg *args;
	size_t nargs;
	struct pp_site *sites; /* NULL if they were only counted (PP_IMAGE_COUNTS) */
	size_t nsites;
};

struct pp_image {
	char *path; /* as passed to pp_image_open() */
	char *name; /* the absolute path that reports show, never in /proc/PID/map_files */
	char build_id[2 * 64 + 1];
	dev_t device;
	ino_t inode;
	dev_t real_device; /* the file that uprobes are registered at: on overlayfs, the layer's (overlayfs.h) */
	ino_t real_inode;
	uint64_t size;
	int machine; /* EM_* */
	bool is_64;
	struct pp_probe *probes;
	size_t nprobes;
	char **warnings;
	size_t nwarnings;
	const char *dropped; /* the one warning that is harmless: notes whose code the linker dropped; may be NULL */
	struct image_symbols *symbols; /* see symbols.c */
	struct image_dwarf *dwarf;     /* see dwarf.h */
	struct image_cfi *cfi;         /* see cfi.h */
	struct image_segment {
		uint64_t address, offset, filesz, memsz;
		unsigned flags; /* PF_* */
	} * segments;
	size_t nsegments;
	uint16_t type;            /* ET_EXEC or ET_DYN */
	struct timespec changed;  /* the file's mtime */
	uint64_t hidden_warnings; /* warnings beyond the limit, which are only counted */
	struct pp_type *types;    /* by key */
	size_t ntypes;
	struct pp_arg *unnamed; /* arg0, arg1, ...: shared by all probes without a signature */
	struct arena arena;     /* owns all strings above */
};

/* Sets the name. Returns 0 or -ENOMEM. */
int image_rename(struct pp_image *image, const char *name);

/* Compares a file's status with that of the file that was read. Returns 0, or -ESTALE if the file or its contents differ. */
int image_unchanged(const struct pp_image *image, const struct stat *now);
/* Opens the file again. Returns a descriptor, -ESTALE if the path leads to another file now, or another negative errno. */
int image_reopen(const struct pp_image *image);

/* Converts an address as linked to an offset in the file. Returns 0, or -EINVAL if no PT_LOAD segment has it in the file. */
int image_offset(const struct pp_image *image, uint64_t address, uint64_t *offset);
/* Does the same in a segment that has the flag (PF_X, PF_W). Returns false if not found, without an error message. */
bool image_segment_offset(const struct pp_image *image, uint64_t address, unsigned flag, uint64_t *offset);

/*
 * Finds the address of a defined symbol other than sections, files and thread-local variables. Reads the symbol tables at
 * the first call. Returns 0, -ENOENT if not found, -EEXIST if symbols of this name have several addresses, -ESTALE if
 * the file has changed, or another negative errno.
 */
int image_symbol(const struct pp_image *image, const char *name, uint64_t *address);

/* Returns the name of the function that contains the address, NULL if it is not known. The image owns the string. */
const char *image_function(const struct pp_image *image, uint64_t address);
/* Does the same and sets *start and the exclusive *end. They are equal if the function's size is not known. */
const char *image_function_range(const struct pp_image *image, uint64_t address, uint64_t *start, uint64_t *end);
/*
 * Finds the functions of a name: the symbol's own name, else the C++ name with or without parameters ("ns::f(int)",
 * "ns::f"). Stores at most `room` addresses. Returns how many it stored, or a negative errno.
 */
int image_functions_named(const struct pp_image *image, const char *name, uint64_t *addresses, size_t room);
/*
 * Does the same as image_function_range(), and searches the unwind tables if no symbol contains the address. The name is
 * then the address of the function's start, as in "0x1130".
 */
const char *image_code_range(const struct pp_image *image, uint64_t address, uint64_t *start, uint64_t *end);
/*
 * Finds the last address, up to the given one, where an instruction is known to begin: a function by the symbols or the
 * unwind tables, or a section of code. Returns false if none is known.
 */
bool image_code_start(const struct pp_image *image, uint64_t address, uint64_t *start);
/* Returns true if a symbol of this name has this address. */
bool image_names_place(const struct pp_image *image, const char *name, uint64_t address);
/* Returns true if a variable (STT_OBJECT) of this name, of at least this size, begins at the address. */
bool image_names_object(const struct pp_image *image, const char *name, uint64_t address, uint64_t size);
/* Returns true if the name is that of an indirect function (STT_GNU_IFUNC), and sets *address to its resolver. */
bool image_is_ifunc(const struct pp_image *image, const char *name, uint64_t *address);
/* Finds the GOT slot where the loader stores the result of this resolver (R_X86_64_IRELATIVE, R_AARCH64_IRELATIVE). Returns false if none. */
bool image_ifunc_slot(const struct pp_image *image, uint64_t resolver, uint64_t *slot);
/* Returns the address of the i-th function (pp_image_function()), 0 if there is none. */
uint64_t image_function_address(const struct pp_image *image, size_t i);
/* Returns the demangled form of a symbol, NULL if it is not that of a C++ function. The caller frees it. */
char *image_demangle(const char *name);
/* Returns the demangled name of the function at the address, "?" if it is not known. The caller frees it. */
char *image_function_written(const struct pp_image *image, uint64_t address);

/* Adds the warning "FILE: MESSAGE". After the first WARNINGS_MAX, counts warnings without keeping them. */
#define WARNINGS_MAX 20
__attribute__((format(printf, 2, 3))) void image_warn(struct pp_image *image, const char *format, ...);
/* If warnings were only counted, adds a last warning with their number. */
void image_warn_hidden(struct pp_image *image);

#endif
