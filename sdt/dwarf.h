/* SPDX-License-Identifier: MIT */
/*
 * Types and parameters from DWARF, by libdw. Without libdw (HAVE_LIBDW is not defined) nothing is found.
 *
 * The DWARF of a file is opened at the first question. It comes from the file itself or else from its debug file
 * (debuglink.h). Files are hostile: each search visits at most a fixed number of DIEs, and split DWARF is not followed,
 * because its names are paths that the file chose.
 */
#ifndef SDT_DWARF_H
#define SDT_DWARF_H

#include "sdt/ctype.h"

struct image_dwarf;

struct image_dwarf *dwarf_new(void);
void dwarf_free(struct image_dwarf *dwarf);

/*
 * Finds a type by its name without qualifiers, such as "struct conn", "size_t" or "shop::Cart": first in the unit of the
 * address, then in the others. Sets *type, whose name the caller has set. Returns 0, -ENOENT or -ENOMEM.
 */
int dwarf_find_type(struct ctypes *types, const char *name, struct ctype *type);
/* Sets *type to the type that a DIE has. Returns 0, -ENOENT if it has none, or -ENOMEM. */
int dwarf_type_of(struct ctypes *types, const struct dwarf_die *die, struct ctype *type);
/* Sets *type to the pointed-to type, or to the type of the elements. Returns 0, -ENOENT or -ENOMEM. */
int dwarf_target(struct ctypes *types, const struct ctype *of, struct ctype *type);
/* Sets the members or the values of the type, which has a DIE. Returns 0 or -ENOMEM. */
int dwarf_load(struct ctypes *types, struct ctype *type);

/* Returns the enumeration, which is loaded and has a DIE, for as long as the image exists. Returns NULL if it has no values. */
const struct pp_type *dwarf_enumeration(struct ctypes *types, const struct ctype *type);

/* A parameter of a function, at the function's entry. */
struct dwarf_parameter {
	const char *name; /* in the arena of the types */
	int reg;          /* DWARF's number of the register that it is in; -1: not in one by the location list */
	struct dwarf_die die;
};

/*
 * Finds the parameters of the function whose code begins at the address of the types. Sets *function to its DIE, whose
 * type is that of the result. Returns how many there are, at most room; -ENOENT if no function is known to begin there; or
 * -ENOMEM.
 */
int dwarf_parameters(struct ctypes *types, struct dwarf_parameter *parameters, size_t room, struct dwarf_die *function);

#endif
