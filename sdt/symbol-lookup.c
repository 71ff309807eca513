/* SPDX-License-Identifier: MIT */
/* Lookups of symbols and functions by name and by address, for image.h. */
#include "sdt/cxx-name.h"
#include "sdt/symbols.h"

#include "base/array.h"
#include "base/error.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FUNCTIONS_NESTED 16 /* symbols before an address that are checked for containing it */

/* Itanium C++ ABI, 3.4. libstdc++ and libc++abi define it. The caller frees the result, which may be NULL. */
char *__cxa_demangle(const char *mangled, char *buffer, size_t *length, int *status);

struct symbol_key {
	const char *name;
	uint64_t address;
};

static int symbol_compare_key(const void *symbol, const void *key)
{
	const struct symbol *s = *(struct symbol *const *)symbol;
	const struct symbol_key *k = key;
	int order = strcmp(s->name, k->name);

	return order ? order : (s->address > k->address) - (s->address < k->address);
}

/* Returns the index in names of the first symbol of the name at or after the address, else of the symbol after those. */
static size_t symbols_find_name(const struct image_symbols *symbols, const char *name, uint64_t address)
{
	struct symbol_key key = { name, address };

	return lower_bound(symbols->names, symbols->n, sizeof(*symbols->names), &key, symbol_compare_key);
}

int image_symbol(const struct pp_image *image, const char *name, uint64_t *address)
{
	struct image_symbols *symbols;
	size_t i;
	int err = symbols_get(image, &symbols);

	if (err)
		return err;
	if (symbols_index_names(symbols))
		return error_nomem();
	i = symbols_find_name(symbols, name, 0);
	if (i == symbols->n || strcmp(symbols->names[i]->name, name))
		return error_set(ENOENT, "'%s' has no symbol \"%s\"%s", image->path, name,
		                 symbols->n ? "" : "; it has no symbols");
	*address = symbols->names[i]->address;
	while (++i < symbols->n && !strcmp(symbols->names[i]->name, name))
		if (symbols->names[i]->address != *address)
			return error_set(EEXIST, "'%s' has several symbols \"%s\", at %#llx, %#llx and maybe more",
			                 image->path, name, (unsigned long long)*address,
			                 (unsigned long long)symbols->names[i]->address);
	return 0;
}

bool image_names_place(const struct pp_image *image, const char *name, uint64_t address)
{
	struct image_symbols *symbols;
	size_t i;

	if (symbols_get(image, &symbols) || symbols_index_names(symbols))
		return false;
	i = symbols_find_name(symbols, name, address);
	return i < symbols->n && symbols->names[i]->address == address && !strcmp(symbols->names[i]->name, name);
}

bool image_names_object(const struct pp_image *image, const char *name, uint64_t address, uint64_t size)
{
	struct image_symbols *symbols;

	if (symbols_get(image, &symbols) || symbols_index_names(symbols))
		return false;
	for (size_t i = symbols_find_name(symbols, name, address); i < symbols->n; i++) {
		const struct symbol *s = symbols->names[i];

		if (s->address != address || strcmp(s->name, name))
			return false;
		if (s->type == STT_OBJECT && s->size >= size)
			return true;
	}
	return false;
}

/* Cuts off the parameters of a function's name and what follows them: const, & and the compiler's [clone .x]. */
static void demangled_cut_parameters(char *name)
{
	char *end = strrchr(name, ')'), *at;
	int depth = 0;

	for (at = end; at && at >= name; at--) {
		depth += (*at == ')') - (*at == '(');
		if (!depth)
			break;
	}
	/* operator()(int): the rest must still be a name */
	if (at && at > name)
		*at = 0;
}

/* Returns the name without the result type that an instance of a template has before it. */
static const char *demangled_skip_result(const char *name)
{
	const char *from = name;
	int depth = 0;

	for (const char *at = name; *at; at++) {
		if (!strncmp(at, "operator", 8))
			break;
		depth += (*at == '<' || *at == '(') - (*at == '>' || *at == ')');
		if (*at == ' ' && !depth)
			from = at + 1;
	}
	return from;
}

static bool symbol_has_name(const struct symbol *s, const char *name)
{
	char *demangled;
	bool yes;

	if (!strcmp(s->name, name))
		return true;
	if (strncmp(s->name, "_Z", 2) || !(demangled = __cxa_demangle(s->name, NULL, NULL, NULL)))
		return false;
	if (strstr(demangled, " [clone"))
		*strstr(demangled, " [clone") = 0;
	yes = !strcmp(demangled, name) ||
	      (cxx_has_parameters(name) && !strpbrk(name, "*?[") && cxx_matches_demangled(name, demangled));
	if (!yes) {
		demangled_cut_parameters(demangled);
		yes = !strcmp(demangled, name) || !strcmp(demangled_skip_result(demangled), name);
	}
	free(demangled);
	return yes;
}

/* Stores the addresses of all functions of this symbol name (exact) or demangled name. Returns how many. */
static size_t symbols_find_functions(const struct image_symbols *symbols, const char *name, bool exact,
                                     uint64_t *addresses, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < symbols->nfunctions && n < room; i++) {
		const struct symbol *s = symbols->functions[i];

		if ((exact ? !strcmp(s->name, name) : symbol_has_name(s, name)) &&
		    (!n || addresses[n - 1] != s->address))
			addresses[n++] = s->address;
	}
	return n;
}

int image_functions_named(const struct pp_image *image, const char *name, uint64_t *addresses, size_t room)
{
	struct image_symbols *symbols;
	int err = symbols_get(image, &symbols);
	size_t n;

	if (err)
		return err;
	n = symbols_find_functions(symbols, name, true, addresses, room);
	return (int)(n ? n : symbols_find_functions(symbols, name, false, addresses, room));
}

char *image_demangle(const char *name)
{
	char *demangled = strncmp(name, "_Z", 2) ? NULL : __cxa_demangle(name, NULL, NULL, NULL);

	if (demangled && !text_is_clean(demangled, strlen(demangled))) {
		free(demangled);
		return NULL;
	}
	return demangled;
}

uint64_t image_function_address(const struct pp_image *image, size_t i)
{
	return i < pp_image_functions(image) ? image->symbols->functions[i]->address : 0;
}

char *image_function_written(const struct pp_image *image, uint64_t address)
{
	const char *name = image_function(image, address);
	char *demangled = name ? image_demangle(name) : NULL;

	return demangled ? demangled : strdup(name ? name : "?");
}

const char *image_function(const struct pp_image *image, uint64_t address)
{
	uint64_t start, end;

	return image_function_range(image, address, &start, &end);
}

/* Orders a function at the address before it, so that lower_bound() finds the function after the wanted one. */
static int symbol_compare_address(const void *symbol, const void *address)
{
	return (*(struct symbol *const *)symbol)->address <= *(const uint64_t *)address ? -1 : 1;
}

const char *image_function_range(const struct pp_image *image, uint64_t address, uint64_t *start, uint64_t *end)
{
	struct image_symbols *symbols;
	size_t after;

	if (symbols_get(image, &symbols))
		return NULL;
	after = lower_bound(symbols->functions, symbols->nfunctions, sizeof(*symbols->functions), &address,
	                    symbol_compare_address);
	for (size_t i = 0; i < FUNCTIONS_NESTED && after > 0; i++) {
		const struct symbol *s = symbols->functions[--after];

		if (address - s->address < s->size || (!s->size && i == 0)) { /* assembly often sets no size */
			*start = s->address;
			*end = s->address + s->size;
			return text_is_clean(s->name, strlen(s->name)) ? s->name : NULL;
		}
	}
	return NULL;
}

bool image_code_start(const struct pp_image *image, uint64_t address, uint64_t *start)
{
	const struct frame_range *frame =
		symbols_get_frames(image) ? frames_before(&image->symbols->frames, address) : NULL;
	uint64_t from, end;

	/* Unwind tables are preferred, because a label may be in the middle of a function. */
	*start = frame ? frame->start : 0;
	if ((!frame || address >= frame->end) && image_function_range(image, address, &from, &end) &&
	    (!frame || from > *start)) {
		*start = from;
		return true;
	}
	return frame != NULL;
}

const char *image_code_range(const struct pp_image *image, uint64_t address, uint64_t *start, uint64_t *end)
{
	const char *name = image_function_range(image, address, start, end);
	struct image_symbols *symbols = image->symbols;
	const struct frame_range *frame;

	if (name && *end > *start)
		return name;
	frame = symbols_get_frames(image) ? frames_before(&symbols->frames, address) : NULL;
	if (!frame || address >= frame->end || (name && frame->start != *start))
		return name;
	*start = frame->start;
	*end = frame->end;
	return name ? name : arena_printf(&symbols->strings, "0x%llx", (unsigned long long)frame->start);
}

bool image_is_ifunc(const struct pp_image *image, const char *name, uint64_t *address)
{
	struct image_symbols *symbols;

	if (symbols_get(image, &symbols))
		return false;
	for (size_t i = 0; i < symbols->nfunctions; i++)
		if (symbols->functions[i]->type == STT_GNU_IFUNC && !strcmp(symbols->functions[i]->name, name)) {
			*address = symbols->functions[i]->address;
			return true;
		}
	return false;
}

bool image_ifunc_slot(const struct pp_image *image, uint64_t resolver, uint64_t *slot)
{
	const uint32_t type = image->machine == EM_AARCH64 ? R_AARCH64_IRELATIVE : R_X86_64_IRELATIVE;
	Elf_Scn *scn = NULL;
	GElf_Shdr section;
	struct elf_file file;
	bool found = false;

	if (elf_file_open(image->path, &file))
		return false;
	while (!image_unchanged(image, &file.stat) && !found && (scn = elf_nextscn(file.elf, scn)) != NULL) {
		Elf_Data *data;
		GElf_Rela rela;

		if (!gelf_getshdr(scn, &section) || section.sh_type != SHT_RELA ||
		    section.sh_size > ELF_FILE_PART_MAX || !elf_file_has(&file, section.sh_offset, section.sh_size) ||
		    !(data = elf_getdata(scn, NULL)))
			continue;
		for (int i = 0; !found && gelf_getrela(data, i, &rela); i++) {
			found = GELF_R_TYPE(rela.r_info) == type && (uint64_t)rela.r_addend == resolver;
			*slot = rela.r_offset;
		}
	}
	elf_file_close(&file);
	return found;
}

size_t pp_image_functions(const struct pp_image *image)
{
	struct image_symbols *symbols;

	return symbols_get(image, &symbols) ? 0 : symbols->nfunctions;
}

const char *pp_image_function(const struct pp_image *image, size_t i)
{
	const char *name = i < pp_image_functions(image) ? image->symbols->functions[i]->name : NULL;

	return name && text_is_clean(name, strlen(name)) ? name : NULL;
}
