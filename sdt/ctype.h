/* SPDX-License-Identifier: MIT */
/*
 * Types of C and C++ as expressions see them.
 *
 * A type has one of two sources: a note of the plugin, where a type is a text such as "struct conn *", or DWARF, of the
 * file or of its debug file (dwarf.h). Notes are used first. DWARF supplies what they lack: the fields of a structure that
 * only a field points to, and the size of a typedef.
 *
 * A type is made when it is asked for. Everything in these files is hostile: recursion is bounded, and a type that is
 * not understood is CTYPE_UNKNOWN.
 */
#ifndef SDT_CTYPE_H
#define SDT_CTYPE_H

#include <stdbool.h>
#include <stdint.h>

#include "sdt/image.h"

enum ctype_kind {
	CTYPE_UNKNOWN,
	CTYPE_VOID,
	CTYPE_INTEGER,
	CTYPE_BOOL,
	CTYPE_CHAR, /* plain char, which is a character */
	CTYPE_FLOAT,
	CTYPE_ENUM,
	CTYPE_POINTER, /* and references */
	CTYPE_ARRAY,
	CTYPE_STRUCT, /* and classes and unions */
};

/* A reference to a DIE: a Dwarf_Die of libdw. */
struct dwarf_die {
	uint64_t words[4];
};

struct ctype_member {
	const char *name;
	uint64_t offset;
	uint8_t bit, bits;           /* as in struct pp_field */
	const struct pp_field *note; /* NULL: from DWARF */
	struct dwarf_die die;        /* the member's */
};

struct ctype {
	enum ctype_kind kind;
	const char *name; /* as the source writes it */
	uint64_t size;    /* bytes; 0: not known */
	uint64_t count;   /* of an array's elements; 0: not known */
	bool is_signed;
	bool is_const;     /* of a pointer: what it points to is const */
	bool by_reference; /* of a structure: parameters of the type are passed by their address */
	bool has_die;
	struct dwarf_die die;       /* of a structure, pointer, array or enumeration; without typedefs */
	const char *target_text;    /* the pointed-to type or the element, from a note; NULL: from DWARF */
	const struct pp_type *note; /* of a structure or an enumeration; NULL: from DWARF */
	struct ctype_member *members;
	size_t nmembers;
	struct pp_enumerator *values;
	size_t nvalues;
	bool loaded; /* members and values are set */
};

/* Makes types for expressions at an address of an image. Starts as zeros, but for image, which may be NULL, and address. */
struct ctypes {
	const struct pp_image *image;
	uint64_t address;
	struct arena arena; /* owns the types */
};

void ctypes_release(struct ctypes *types);

/* These functions return NULL if memory allocation fails. */

/* Returns the type of an argument whose operand has size bytes. */
struct ctype *ctype_of_arg(struct ctypes *types, const struct pp_arg *arg, unsigned size);
/* Returns what a pointer points to, or the element of an array. */
struct ctype *ctype_target(struct ctypes *types, const struct ctype *type);
/* Returns the type of a member of a structure. */
struct ctype *ctype_of_member(struct ctypes *types, const struct ctype_member *member);

/*
 * Sets the members of a structure and the values of an enumeration, which may have none. Returns 0 or -ENOMEM.
 */
int ctype_load(struct ctypes *types, struct ctype *type);

/*
 * Returns the enumeration that a type is, which belongs to the image; NULL if it is another type, has no values, or memory
 * allocation fails.
 */
const struct pp_type *ctype_enumeration(struct ctypes *types, const struct ctype *type);

/* Returns NULL if the structure, which is loaded, has no member of this name. */
const struct ctype_member *ctype_member(const struct ctype *type, const char *name);

/*
 * Returns true if a structure, which is loaded, is std::string or std::string_view. Sets the offsets of the pointer to its
 * content and of its length.
 */
bool ctype_is_string(const struct ctype *type, uint64_t *pointer, uint64_t *length);

#endif
