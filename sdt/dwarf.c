/* SPDX-License-Identifier: MIT */
/*
 * Reads types and parameters from DWARF.
 *
 * 1. dwarf_get() opens the DWARF of an image once, and finds the unit of an address.
 * 2. A search for a name visits the top level of units, and the namespaces and classes that the name leads through.
 *    search_visit() counts, so that a file cannot keep the search busy.
 * 3. type_set() makes a struct ctype from a DIE. Typedefs and qualifiers are skipped first.
 */
#include "sdt/dwarf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "base/text.h"
#include "sdt/debuglink.h"
#include "sdt/elf-file.h"

#ifdef HAVE_LIBDW

#include <dwarf.h>
#include <elfutils/libdw.h>

#define VISITS_MAX 4000000 /* DIEs of one search */
#define SKIPS_MAX 32       /* typedefs and qualifiers before a type */
#define NESTING_MAX 16     /* bases of bases */
#define MEMBERS_MAX 4096   /* of a structure, and values of an enumeration */

_Static_assert(sizeof(struct dwarf_die) == sizeof(Dwarf_Die), "struct dwarf_die holds a Dwarf_Die");

struct image_dwarf {
	bool opened;
	struct elf_file file; /* elf NULL: not open */
	Dwarf *dwarf;         /* NULL: the file has none */
	struct enumeration {  /* those that were asked for */
		uint64_t die;
		struct pp_type type;
		struct enumeration *next;
	} * enumerations;
	struct arena arena; /* owns them */
	Dwarf_Die unit;     /* the last one that unit_of() found */
	bool has_unit;
};

static Dwarf_Die die_of(const struct dwarf_die *die)
{
	Dwarf_Die copy;

	memcpy(&copy, die, sizeof(copy));
	return copy;
}

static struct dwarf_die die_kept(const Dwarf_Die *die)
{
	struct dwarf_die copy;

	memcpy(&copy, die, sizeof(copy));
	return copy;
}

/* ---- opening ---- */

struct image_dwarf *dwarf_new(void)
{
	return calloc(1, sizeof(struct image_dwarf));
}

void dwarf_free(struct image_dwarf *dwarf)
{
	if (!dwarf)
		return;
	dwarf_end(dwarf->dwarf);
	if (dwarf->file.elf)
		elf_file_close(&dwarf->file);
	arena_release(&dwarf->arena);
	free(dwarf);
}

/* Sets dwarf->dwarf to the DWARF of the file that is open. Returns false if it has no units. */
static bool dwarf_begin_units(struct image_dwarf *dwarf)
{
	Dwarf_CU *unit = NULL;
	Dwarf_Half version;
	uint8_t kind;
	Dwarf_Die die;

	dwarf->dwarf = dwarf_begin_elf(dwarf->file.elf, DWARF_C_READ, NULL);
	if (dwarf->dwarf && dwarf_get_units(dwarf->dwarf, unit, &unit, &version, &kind, &die, NULL) == 0)
		return true;
	dwarf_end(dwarf->dwarf);
	dwarf->dwarf = NULL;
	return false;
}

/* Returns the image's DWARF, NULL if it has none. */
static struct image_dwarf *dwarf_get(const struct pp_image *image)
{
	struct image_dwarf *dwarf = image ? image->dwarf : NULL;
	struct elf_file debug;

	if (!dwarf || dwarf->opened)
		return dwarf && dwarf->dwarf ? dwarf : NULL;
	dwarf->opened = true;
	if (elf_file_open(image->path, &dwarf->file))
		return NULL;
	if (!image_unchanged(image, &dwarf->file.stat) && dwarf_begin_units(dwarf))
		return dwarf;
	if (!image_unchanged(image, &dwarf->file.stat) && !debuglink_open(image, &dwarf->file, &debug)) {
		elf_file_close(&dwarf->file);
		dwarf->file = debug;
		if (dwarf_begin_units(dwarf))
			return dwarf;
	}
	elf_file_close(&dwarf->file);
	dwarf->file.elf = NULL;
	return NULL;
}

/* ---- searches ---- */

struct die_search {
	long visits;
	Dwarf_Die found;
};

static bool search_visit(struct die_search *search)
{
	return ++search->visits <= VISITS_MAX;
}

/* Returns a DIE's name that is fit for output, "" if it has none. */
static const char *die_name(Dwarf_Die *die)
{
	Dwarf_Attribute attribute;
	const char *name = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_name, &attribute));

	return name && text_is_clean(name, strlen(name)) ? name : "";
}

static bool die_flag(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute attribute;
	bool flag = false;

	return dwarf_attr_integrate(die, name, &attribute) && !dwarf_formflag(&attribute, &flag) && flag;
}

/* Reads an attribute that is a constant. Returns false if it is missing or negative. */
static bool die_number(Dwarf_Die *die, unsigned name, uint64_t *number)
{
	Dwarf_Attribute attribute;
	Dwarf_Word word;

	if (!dwarf_attr_integrate(die, name, &attribute) || dwarf_formudata(&attribute, &word))
		return false;
	*number = word;
	return true;
}

/* Reads the value of an enumerator. A form without a sign has an unsigned value: libdw would extend the sign of all. */
static bool die_value(Dwarf_Die *die, int64_t *value)
{
	Dwarf_Attribute attribute;
	Dwarf_Sword signed_word;
	Dwarf_Word word;

	if (!dwarf_attr(die, DW_AT_const_value, &attribute))
		return false;
	if (dwarf_whatform(&attribute) == DW_FORM_sdata || dwarf_whatform(&attribute) == DW_FORM_implicit_const) {
		if (dwarf_formsdata(&attribute, &signed_word))
			return false;
		*value = signed_word;
		return true;
	}
	if (dwarf_formudata(&attribute, &word))
		return false;
	*value = (int64_t)word;
	return true;
}

static bool tag_is_type(int tag, const char *keyword, size_t length)
{
	if (length)
		return (!strncmp(keyword, "struct", length) &&
		        (tag == DW_TAG_structure_type || tag == DW_TAG_class_type)) ||
		       (!strncmp(keyword, "union", length) && tag == DW_TAG_union_type) ||
		       (!strncmp(keyword, "enum", length) && tag == DW_TAG_enumeration_type);
	return tag == DW_TAG_typedef || tag == DW_TAG_base_type || tag == DW_TAG_structure_type ||
	       tag == DW_TAG_class_type || tag == DW_TAG_union_type || tag == DW_TAG_enumeration_type;
}

/* A name that is searched: "struct conn" has the keyword "struct". */
struct type_name {
	const char *keyword, *name;
	size_t keyword_length;
};

static struct type_name type_name_split(const char *text)
{
	static const char *const keywords[] = { "struct ", "union ", "enum ", "class " };
	struct type_name split = { .keyword = text, .name = text };

	for (size_t i = 0; i < sizeof(keywords) / sizeof(*keywords); i++) {
		size_t n = strlen(keywords[i]);

		if (strncmp(text, keywords[i], n))
			continue;
		split.keyword = *text == 'c' ? "struct" : text;
		split.keyword_length = *text == 'c' ? 6 : n - 1;
		split.name = text + n;
	}
	return split;
}

/* Returns the text after "NAME::" if the text begins so. */
static const char *scope_skip(const char *text, const char *name)
{
	size_t n = strlen(name);

	return n && !strncmp(text, name, n) && text[n] == ':' && text[n + 1] == ':' ? text + n + 2 : NULL;
}

/* Searches a type below a DIE: a unit, a namespace or a class. */
static bool search_below(struct die_search *search, Dwarf_Die *parent, const struct type_name *wanted, int nesting)
{
	Dwarf_Die child;

	if (nesting > NESTING_MAX || dwarf_child(parent, &child))
		return false;
	do {
		int tag = dwarf_tag(&child);
		bool is_scope = tag == DW_TAG_namespace || tag == DW_TAG_structure_type || tag == DW_TAG_class_type;
		struct type_name inner = *wanted;

		if (!search_visit(search))
			return false;
		if (!is_scope && !tag_is_type(tag, wanted->keyword, wanted->keyword_length))
			continue;
		if (tag_is_type(tag, wanted->keyword, wanted->keyword_length) &&
		    !strcmp(die_name(&child), wanted->name) && !dwarf_hasattr(&child, DW_AT_declaration)) {
			search->found = child;
			return true;
		}
		inner.name = is_scope ? scope_skip(wanted->name, die_name(&child)) : NULL;
		if (inner.name && search_below(search, &child, &inner, nesting + 1))
			return true;
	} while (!dwarf_siblingof(&child, &child));
	return false;
}

/* Sets *die to the unit that contains the address. Not every compiler writes .debug_aranges, so units are asked. */
static bool unit_of(struct image_dwarf *dwarf, uint64_t address, Dwarf_Die *die)
{
	Dwarf_CU *unit = NULL;
	Dwarf_Half version;
	uint8_t kind;

	*die = dwarf->unit;
	if (dwarf->has_unit && dwarf_haspc(die, address) == 1)
		return true;
	dwarf->has_unit = dwarf_addrdie(dwarf->dwarf, address, die) && dwarf_tag(die) == DW_TAG_compile_unit;
	while (!dwarf->has_unit && !dwarf_get_units(dwarf->dwarf, unit, &unit, &version, &kind, die, NULL))
		dwarf->has_unit = dwarf_tag(die) == DW_TAG_compile_unit && dwarf_haspc(die, address) == 1;
	dwarf->unit = *die;
	return dwarf->has_unit;
}

/* Searches the unit of the address, then all others. */
static bool search_type(struct die_search *search, struct image_dwarf *dwarf, uint64_t address, const char *text)
{
	struct type_name wanted = type_name_split(text);
	Dwarf_CU *unit = NULL;
	Dwarf_Half version;
	uint8_t kind;
	Dwarf_Die die;

	if (!*wanted.name)
		return false;
	if (unit_of(dwarf, address, &die) && search_below(search, &die, &wanted, 0))
		return true;
	while (!dwarf_get_units(dwarf->dwarf, unit, &unit, &version, &kind, &die, NULL))
		if (search_below(search, &die, &wanted, 0))
			return true;
	return false;
}

/* ---- types ---- */

static void base_type_set(Dwarf_Die *die, struct ctype *type)
{
	uint64_t encoding = 0;

	if (!die_number(die, DW_AT_encoding, &encoding) || !type->size || type->size > 8)
		return;
	switch (encoding) {
	case DW_ATE_boolean: type->kind = CTYPE_BOOL; break;
	case DW_ATE_float: type->kind = CTYPE_FLOAT; break;
	case DW_ATE_signed:
	case DW_ATE_signed_char:
		type->kind = strcmp(type->name, "char") ? CTYPE_INTEGER : CTYPE_CHAR;
		type->is_signed = true;
		break;
	case DW_ATE_unsigned:
	case DW_ATE_unsigned_char:
	case DW_ATE_UTF: type->kind = strcmp(type->name, "char") ? CTYPE_INTEGER : CTYPE_CHAR; break;
	}
	/* Only values of these sizes can be read. */
	if (type->size & (type->size - 1) || (type->kind == CTYPE_FLOAT && type->size < 2))
		type->kind = CTYPE_UNKNOWN;
}

/* Sets the number of elements, of the first dimension, and the size. */
static void array_set(Dwarf_Die *die, struct ctype *type)
{
	uint64_t count = 0;
	Dwarf_Die child;

	type->kind = CTYPE_ARRAY;
	if (dwarf_child(die, &child))
		return;
	if (die_number(&child, DW_AT_count, &count))
		type->count = count;
	else if (die_number(&child, DW_AT_upper_bound, &count) && count < UINT64_MAX)
		type->count = count + 1;
}

/* Skips typedefs and qualifiers. Sets *named to the last typedef. Returns false if nothing or too much follows. */
static bool die_skip_typedefs(Dwarf_Die *die, Dwarf_Die *named, bool *has_name)
{
	*has_name = false;
	for (int i = 0; i < SKIPS_MAX; i++) {
		Dwarf_Attribute attribute;

		switch (dwarf_tag(die)) {
		case DW_TAG_typedef:
			*named = *die;
			*has_name = true;
			/* fall through */
		case DW_TAG_const_type:
		case DW_TAG_volatile_type:
		case DW_TAG_restrict_type:
		case DW_TAG_atomic_type:
			if (!dwarf_formref_die(dwarf_attr_integrate(die, DW_AT_type, &attribute), die))
				return false;
			break;
		default: return true;
		}
	}
	return false;
}

/* Returns the name of a type as the source writes it. */
static const char *type_name(struct ctypes *types, Dwarf_Die *die, Dwarf_Die *named)
{
	const Dwarf_Die *unit_die;
	Dwarf_Die unit;
	const char *name = die_name(die);
	int tag = dwarf_tag(die), language;

	if (!*name)
		return named ? die_name(named) : "";
	unit_die = dwarf_diecu(die, &unit, NULL, NULL);
	language = unit_die ? dwarf_srclang(&unit) : -1;
	if (language != DW_LANG_C && language != DW_LANG_C89 && language != DW_LANG_C99 && language != DW_LANG_C11)
		return name;
	if (tag != DW_TAG_structure_type && tag != DW_TAG_union_type && tag != DW_TAG_enumeration_type)
		return name;
	return arena_printf(&types->arena, "%s %s",
	                    tag == DW_TAG_structure_type ? "struct"
	                    : tag == DW_TAG_union_type   ? "union"
	                                                 : "enum",
	                    name);
}

/* A structure that this unit only declares may be defined in another one. */
static void declaration_resolve(struct ctypes *types, Dwarf_Die *die, const char *name)
{
	struct die_search search = { .visits = 0 };

	if (dwarf_hasattr(die, DW_AT_declaration) &&
	    search_type(&search, dwarf_get(types->image), types->address, name))
		*die = search.found;
}

/* Sets *type to the type of a DIE. */
static int type_set(struct ctypes *types, Dwarf_Die *from, struct ctype *type)
{
	Dwarf_Die die = *from, named, target;
	Dwarf_Attribute attribute;
	uint64_t convention;
	bool has_name;

	if (!die_skip_typedefs(&die, &named, &has_name))
		return 0;
	type->name = type_name(types, &die, has_name ? &named : NULL);
	if (!type->name)
		return error_nomem();
	switch (dwarf_tag(&die)) {
	case DW_TAG_structure_type:
	case DW_TAG_class_type:
	case DW_TAG_union_type:
	case DW_TAG_enumeration_type: declaration_resolve(types, &die, type->name); break;
	}
	type->has_die = true;
	type->die = die_kept(&die);
	die_number(&die, DW_AT_byte_size, &type->size);
	switch (dwarf_tag(&die)) {
	case DW_TAG_base_type: base_type_set(&die, type); break;
	case DW_TAG_pointer_type:
	case DW_TAG_reference_type:
	case DW_TAG_rvalue_reference_type:
		type->kind = CTYPE_POINTER;
		type->size = types->image->is_64 ? 8 : 4;
		type->is_const = dwarf_formref_die(dwarf_attr_integrate(&die, DW_AT_type, &attribute), &target) &&
		                 dwarf_tag(&target) == DW_TAG_const_type;
		break;
	case DW_TAG_array_type: array_set(&die, type); break;
	case DW_TAG_enumeration_type: type->kind = CTYPE_ENUM; break;
	case DW_TAG_structure_type:
	case DW_TAG_class_type:
	case DW_TAG_union_type:
		type->kind = CTYPE_STRUCT;
		type->by_reference = die_number(&die, DW_AT_calling_convention, &convention) &&
		                     convention == DW_CC_pass_by_reference;
		break;
	}
	if (type->kind == CTYPE_ENUM)
		return ctype_load(types, type);
	return 0;
}

int dwarf_find_type(struct ctypes *types, const char *name, struct ctype *type)
{
	struct die_search search = { .visits = 0 };
	struct image_dwarf *dwarf = dwarf_get(types->image);

	if (!dwarf || !search_type(&search, dwarf, types->address, name))
		return -ENOENT;
	return type_set(types, &search.found, type);
}

int dwarf_type_of(struct ctypes *types, const struct dwarf_die *of, struct ctype *type)
{
	Dwarf_Die die = die_of(of), target;
	Dwarf_Attribute attribute;

	if (!dwarf_formref_die(dwarf_attr_integrate(&die, DW_AT_type, &attribute), &target))
		return -ENOENT;
	return type_set(types, &target, type);
}

/* The element of an array of several dimensions is an array of the others; here it is not known. */
static bool array_has_one_dimension(Dwarf_Die *die)
{
	Dwarf_Die child, next;

	return !dwarf_child(die, &child) && dwarf_siblingof(&child, &next);
}

int dwarf_target(struct ctypes *types, const struct ctype *of, struct ctype *type)
{
	Dwarf_Die die = die_of(&of->die);
	Dwarf_Attribute attribute;

	if (of->kind == CTYPE_ARRAY && !array_has_one_dimension(&die))
		return -ENOENT;
	if (!dwarf_attr_integrate(&die, DW_AT_type, &attribute)) {
		type->kind = CTYPE_VOID;
		type->name = "void";
		return 0;
	}
	return dwarf_type_of(types, &of->die, type);
}

/* ---- members ---- */

struct members {
	struct ctypes *types;
	struct ctype_member *list; /* on the heap, until all are known */
	size_t n, room;
	int error;
};

/* Finds the place of a bit-field in the structure. Returns false if the member is not a bit-field. */
static bool member_bits(Dwarf_Die *die, uint64_t *bit, uint64_t *bits)
{
	uint64_t offset = 0, old, storage;

	if (!die_number(die, DW_AT_bit_size, bits) || !*bits || *bits > 64)
		return false;
	if (die_number(die, DW_AT_data_bit_offset, bit))
		return true;
	/* Until DWARF 3: counted from the most significant bit of the storage unit. Files here are little-endian. */
	die_number(die, DW_AT_data_member_location, &offset);
	if (!die_number(die, DW_AT_bit_offset, &old) || !die_number(die, DW_AT_byte_size, &storage) ||
	    old + *bits > 8 * storage || storage > 16)
		return false;
	*bit = 8 * offset + 8 * storage - old - *bits;
	return true;
}

static void members_add(struct members *members, Dwarf_Die *die, const char *name, uint64_t base)
{
	struct ctype_member member = { .offset = base, .die = die_kept(die) };
	uint64_t at = 0, bits;

	if (members->n >= MEMBERS_MAX)
		return;
	if (dwarf_hasattr(die, DW_AT_bit_size)) {
		if (!member_bits(die, &at, &bits))
			return;
		member.bit = at % 8;
		member.bits = (uint8_t)bits;
		at /= 8;
	} else if (dwarf_hasattr(die, DW_AT_data_member_location) &&
	           !die_number(die, DW_AT_data_member_location, &at)) {
		return; /* its place is computed */
	}
	member.offset += at;
	member.name = arena_strndup(&members->types->arena, name, strlen(name));
	if (!member.name || ALLOC_GROW(members->list, members->n + 1, members->room)) {
		members->error = error_nomem();
		return;
	}
	members->list[members->n++] = member;
}

static void members_read(struct members *members, Dwarf_Die *structure, uint64_t base, int nesting);

/* The fields of a base, or of a member without a name, count as fields of the structure. */
static void members_read_inside(struct members *members, Dwarf_Die *die, uint64_t base, int nesting)
{
	Dwarf_Attribute attribute;
	Dwarf_Die inside, named;
	uint64_t at = 0, virtual = 0;
	bool has_name;

	if (die_number(die, DW_AT_virtuality, &virtual) && virtual)
		return;
	if (dwarf_hasattr(die, DW_AT_data_member_location) && !die_number(die, DW_AT_data_member_location, &at))
		return;
	if (dwarf_formref_die(dwarf_attr_integrate(die, DW_AT_type, &attribute), &inside) &&
	    die_skip_typedefs(&inside, &named, &has_name))
		members_read(members, &inside, base + at, nesting + 1);
}

static void members_read(struct members *members, Dwarf_Die *structure, uint64_t base, int nesting)
{
	Dwarf_Die child;

	if (nesting > NESTING_MAX || dwarf_child(structure, &child))
		return;
	do {
		int tag = dwarf_tag(&child);
		const char *name = tag == DW_TAG_member ? die_name(&child) : "";

		if (members->error || members->n >= MEMBERS_MAX)
			return;
		if (tag == DW_TAG_member && (die_flag(&child, DW_AT_external) || die_flag(&child, DW_AT_declaration)))
			continue; /* static */
		if (*name)
			members_add(members, &child, name, base);
		else if (tag == DW_TAG_member || tag == DW_TAG_inheritance)
			members_read_inside(members, &child, base, nesting);
	} while (!dwarf_siblingof(&child, &child));
}

static int values_read(struct ctypes *types, Dwarf_Die *die, struct ctype *type)
{
	Dwarf_Die child;
	size_t room = 0;
	struct pp_enumerator *values = NULL;

	for (int more = dwarf_child(die, &child); !more && type->nvalues < MEMBERS_MAX;
	     more = dwarf_siblingof(&child, &child)) {
		const char *name = die_name(&child);
		int64_t value;

		if (dwarf_tag(&child) != DW_TAG_enumerator || !*name || !die_value(&child, &value))
			continue;
		if (ALLOC_GROW(values, type->nvalues + 1, room)) {
			free(values);
			return error_nomem();
		}
		values[type->nvalues++] = (struct pp_enumerator){ name, value };
		type->is_signed |= value < 0;
	}
	type->values = arena_alloc(&types->arena, type->nvalues * sizeof(*values) + 1);
	if (type->values && values)
		memcpy(type->values, values, type->nvalues * sizeof(*values));
	free(values);
	return type->values ? 0 : error_nomem();
}

int dwarf_load(struct ctypes *types, struct ctype *type)
{
	Dwarf_Die die = die_of(&type->die);
	struct members members = { .types = types };

	if (type->kind == CTYPE_ENUM)
		return values_read(types, &die, type);
	members_read(&members, &die, 0, 0);
	if (!members.error && members.n) {
		type->members = arena_alloc(&types->arena, members.n * sizeof(*members.list));
		if (type->members)
			memcpy(type->members, members.list, members.n * sizeof(*members.list));
		else
			members.error = error_nomem();
		type->nmembers = members.error ? 0 : members.n;
	}
	free(members.list);
	return members.error;
}

const struct pp_type *dwarf_enumeration(struct ctypes *types, const struct ctype *type)
{
	struct image_dwarf *dwarf = types->image->dwarf;
	struct enumeration *made;

	if (!type->has_die || !type->nvalues)
		return NULL;
	for (struct enumeration *e = dwarf->enumerations; e; e = e->next)
		if (e->die == type->die.words[0])
			return &e->type;
	made = arena_alloc(&dwarf->arena, sizeof(*made));
	if (!made)
		return NULL;
	made->die = type->die.words[0];
	made->type = (struct pp_type){ .name = arena_strndup(&dwarf->arena, type->name, strlen(type->name)),
		                       .size = (uint32_t)type->size,
		                       .values = arena_alloc(&dwarf->arena, type->nvalues * sizeof(*type->values)) };
	if (!made->type.name || !made->type.values)
		return NULL;
	/* The names belong to libdw, which keeps them as long as the image. */
	memcpy(made->type.values, type->values, type->nvalues * sizeof(*type->values));
	made->type.nvalues = type->nvalues;
	made->next = dwarf->enumerations;
	dwarf->enumerations = made;
	return &made->type;
}

/* ---- parameters ---- */

/* Finds where a function begins. If its cold part is elsewhere, it has only ranges, and begins with the first. */
static bool function_entry(Dwarf_Die *die, Dwarf_Addr *entry)
{
	Dwarf_Addr base, end;

	return !dwarf_entrypc(die, entry) || dwarf_ranges(die, 0, &base, entry, &end) > 0;
}

static bool search_function(struct die_search *search, Dwarf_Die *parent, uint64_t address, int nesting)
{
	Dwarf_Die child;

	if (nesting > NESTING_MAX || dwarf_child(parent, &child))
		return false;
	do {
		int tag = dwarf_tag(&child);
		Dwarf_Addr entry;

		if (!search_visit(search))
			return false;
		if (tag == DW_TAG_subprogram && function_entry(&child, &entry) && entry == address) {
			search->found = child;
			return true;
		}
		if ((tag == DW_TAG_namespace || tag == DW_TAG_structure_type || tag == DW_TAG_class_type) &&
		    search_function(search, &child, address, nesting + 1))
			return true;
	} while (!dwarf_siblingof(&child, &child));
	return false;
}

/* Returns DWARF's number of the register that has the parameter at the entry; -1 if it is not in one. */
static int parameter_register(Dwarf_Die *die, uint64_t address)
{
	Dwarf_Attribute attribute;
	Dwarf_Op *op;
	size_t n;

	if (!dwarf_attr_integrate(die, DW_AT_location, &attribute) ||
	    dwarf_getlocation_addr(&attribute, address, &op, &n, 1) != 1 || n != 1)
		return -1;
	if (op->atom >= DW_OP_reg0 && op->atom <= DW_OP_reg31)
		return op->atom - DW_OP_reg0;
	return op->atom == DW_OP_regx && op->number < 1000 ? (int)op->number : -1;
}

int dwarf_parameters(struct ctypes *types, struct dwarf_parameter *parameters, size_t room, struct dwarf_die *function)
{
	struct die_search search = { .visits = 0 };
	struct image_dwarf *dwarf = dwarf_get(types->image);
	Dwarf_Die unit, child;
	int n = 0;

	if (!dwarf || !unit_of(dwarf, types->address, &unit) || !search_function(&search, &unit, types->address, 0))
		return -ENOENT;
	*function = die_kept(&search.found);
	for (int more = dwarf_child(&search.found, &child); !more && (size_t)n < room;
	     more = dwarf_siblingof(&child, &child)) {
		const char *name = die_name(&child);

		if (dwarf_tag(&child) != DW_TAG_formal_parameter)
			continue;
		parameters[n].name = arena_strndup(&types->arena, name, strlen(name));
		if (!parameters[n].name)
			return error_nomem();
		parameters[n].reg = parameter_register(&child, types->address);
		parameters[n++].die = die_kept(&child);
	}
	return n;
}

#else

struct image_dwarf {
	char none;
};

struct image_dwarf *dwarf_new(void)
{
	return calloc(1, sizeof(struct image_dwarf));
}

void dwarf_free(struct image_dwarf *dwarf)
{
	free(dwarf);
}

int dwarf_find_type(struct ctypes *types, const char *name, struct ctype *type)
{
	(void)types, (void)name, (void)type;
	return -ENOENT;
}

int dwarf_type_of(struct ctypes *types, const struct dwarf_die *die, struct ctype *type)
{
	(void)types, (void)die, (void)type;
	return -ENOENT;
}

int dwarf_target(struct ctypes *types, const struct ctype *of, struct ctype *type)
{
	(void)types, (void)of, (void)type;
	return -ENOENT;
}

int dwarf_load(struct ctypes *types, struct ctype *type)
{
	(void)types, (void)type;
	return 0;
}

const struct pp_type *dwarf_enumeration(struct ctypes *types, const struct ctype *type)
{
	(void)types, (void)type;
	return NULL;
}

int dwarf_parameters(struct ctypes *types, struct dwarf_parameter *parameters, size_t room, struct dwarf_die *function)
{
	(void)types, (void)parameters, (void)room, (void)function;
	return -ENOENT;
}

#endif
