/* SPDX-License-Identifier: MIT */
/* Reads symbol tables and unwind tables (symbols.h). */
#include "sdt/symbols.h"

#include "base/array.h"
#include "base/error.h"
#include "sdt/debuglink.h"
#include "sdt/notes.h"
#include "sdt/object-file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct image_symbols *symbols_new(void)
{
	return calloc(1, sizeof(struct image_symbols));
}

void symbols_free(struct image_symbols *symbols)
{
	if (!symbols)
		return;
	arena_release(&symbols->strings);
	free(symbols->symbols);
	free(symbols->names);
	free(symbols->functions);
	frames_release(&symbols->frames);
	free(symbols);
}

static int symbol_compare_names(const void *a, const void *b)
{
	const struct symbol *x = *(struct symbol *const *)a, *y = *(struct symbol *const *)b;
	int order = strcmp(x->name, y->name);

	return order ? order : (x->address > y->address) - (x->address < y->address);
}

static int symbol_compare_addresses(const void *a, const void *b)
{
	const struct symbol *x = *(struct symbol *const *)a, *y = *(struct symbol *const *)b;

	if (x->address != y->address)
		return x->address > y->address ? 1 : -1;
	if ((x->bind == STB_GLOBAL) != (y->bind == STB_GLOBAL))
		return x->bind == STB_GLOBAL ? 1 : -1;
	return strcmp(y->name, x->name);
}

/* Returns false if memory allocation fails. */
static bool symbols_add(const struct elf_file *file, struct image_symbols *symbols, const GElf_Sym *from, char *name)
{
	unsigned char type = GELF_ST_TYPE(from->st_info);
	char *version;

	if (!*name || from->st_shndx == SHN_UNDEF || from->st_shndx == SHN_ABS || from->st_shndx == SHN_COMMON ||
	    type == STT_SECTION || type == STT_FILE || type == STT_TLS)
		return true;
	version = strchr(name, '@');
	if (version && version != name)
		*version = '\0';
	if (ALLOC_GROW(symbols->symbols, symbols->n + 1, symbols->room))
		return false;
	symbols->symbols[symbols->n++] = (struct symbol){ name, elf_file_symbol_address(file, from), from->st_size,
		                                          GELF_ST_BIND(from->st_info), type };
	return true;
}

/* *size is the size of all tables so far. If it exceeds the file, tables overlap and could fill the memory. */
static int symbols_read_table(const struct elf_file *file, Elf_Scn *scn, const GElf_Shdr *table, uint64_t *size,
                              struct image_symbols *symbols)
{
	GElf_Shdr strings;
	Elf_Data *data;
	GElf_Sym symbol;
	char *names;
	size_t room;
	int err;

	if (!table->sh_size)
		return 0;
	if (table->sh_size > ELF_FILE_PART_MAX || !elf_file_has(file, table->sh_offset, table->sh_size) ||
	    !gelf_getshdr(elf_getscn(file->elf, table->sh_link), &strings) || strings.sh_type != SHT_STRTAB ||
	    strings.sh_size > ELF_FILE_PART_MAX || !elf_file_has(file, strings.sh_offset, strings.sh_size))
		return error_set(ENOEXEC, "the symbol table of '%s' is damaged", file->path);
	*size += table->sh_size + strings.sh_size;
	if (!elf_file_has(file, 0, *size / 2)) /* two tables may share their strings */
		return error_set(ENOEXEC, "the symbol tables of '%s' overlap", file->path);
	names = arena_alloc(&symbols->strings, strings.sh_size + 1);
	if (!names)
		return -ENOMEM;
	err = elf_file_read(file, strings.sh_offset, strings.sh_size, names);
	if (err)
		return err;
	data = elf_getdata(scn, NULL);
	if (!data || !data->d_buf)
		return error_set(ENOEXEC, "the symbol table of '%s' is damaged: \"%s\"", file->path, elf_errmsg(-1));
	for (int i = 1; gelf_getsym(data, i, &symbol); i++) {
		if (symbol.st_name >= strings.sh_size)
			continue;
		room = strings.sh_size - symbol.st_name + 1;
		if (memchr(names + symbol.st_name, '\0', room < NOTE_NAME_MAX ? room : NOTE_NAME_MAX) &&
		    !symbols_add(file, symbols, &symbol, names + symbol.st_name))
			return -ENOMEM;
	}
	return 0;
}

static int symbols_index_functions(struct image_symbols *symbols)
{
	size_t n = 0;

	symbols->functions = calloc(symbols->n + 1, sizeof(*symbols->functions));
	if (!symbols->functions)
		return -ENOMEM;
	for (size_t i = 0; i < symbols->n; i++)
		if (symbols->symbols[i].type == STT_FUNC || symbols->symbols[i].type == STT_GNU_IFUNC)
			symbols->functions[n++] = &symbols->symbols[i];
	qsort(symbols->functions, n, sizeof(*symbols->functions), symbol_compare_addresses);
	symbols->nfunctions = n;
	return 0;
}

int symbols_index_names(struct image_symbols *symbols)
{
	if (symbols->names)
		return 0;
	symbols->names = calloc(symbols->n + 1, sizeof(*symbols->names));
	if (!symbols->names)
		return -ENOMEM;
	for (size_t i = 0; i < symbols->n; i++)
		symbols->names[i] = &symbols->symbols[i];
	qsort(symbols->names, symbols->n, sizeof(*symbols->names), symbol_compare_names);
	return 0;
}

/* Sets *stripped if the file has no .symtab. */
static int symbols_read_tables(const struct elf_file *file, struct image_symbols *symbols, bool *stripped)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr section;
	uint64_t size = 0;
	int err;

	*stripped = true;
	while ((scn = elf_nextscn(file->elf, scn)) != NULL) {
		if (!gelf_getshdr(scn, &section) || (section.sh_type != SHT_SYMTAB && section.sh_type != SHT_DYNSYM))
			continue;
		*stripped &= section.sh_type != SHT_SYMTAB;
		err = symbols_read_table(file, scn, &section, &size, symbols);
		if (err)
			return err;
	}
	return 0;
}

/* Adds the symbols of the debug file if there is one. Damage in that file is ignored. Returns 0 or -ENOMEM. */
static int symbols_read_debug(const struct elf_file *file, const struct pp_image *image)
{
	struct image_symbols *symbols = image->symbols;
	size_t n = symbols->n;
	struct elf_file debug;
	bool stripped;
	int err;

	if (debuglink_open(image, file, &debug))
		return 0;
	err = symbols_read_tables(&debug, symbols, &stripped);
	if (err != -ENOMEM && stripped)
		symbols->n = n;
	elf_file_close(&debug);
	return err == -ENOMEM ? err : 0;
}

static int symbols_read(const struct elf_file *file, const struct pp_image *image)
{
	bool stripped;
	int err = symbols_read_tables(file, image->symbols, &stripped);

	if (err)
		return err;
	if (stripped && symbols_read_debug(file, image))
		return -ENOMEM;
	return symbols_index_functions(image->symbols);
}

int symbols_load(const struct elf_file *file, const struct pp_image *image)
{
	struct image_symbols *symbols = image->symbols;
	int err = symbols_read(file, image);

	symbols->loaded = true;
	symbols->error = err;
	return err == -ENOMEM ? error_nomem() : err;
}

int symbols_get(const struct pp_image *image, struct image_symbols **result)
{
	struct image_symbols *symbols = *result = image->symbols;
	struct elf_file file;
	int err;

	if (symbols->loaded && symbols->error)
		return error_set(-symbols->error, "cannot read the symbols of '%s'", image->path);
	if (symbols->loaded)
		return 0;
	err = elf_file_open(image->path, &file);
	if (err)
		return err;
	err = image_unchanged(image, &file.stat);
	if (!err)
		err = symbols_load(&file, image);
	elf_file_close(&file);
	return err;
}

bool symbols_get_frames(const struct pp_image *image)
{
	struct image_symbols *symbols = image->symbols;
	struct elf_file file;

	if (symbols->framed)
		return true;
	if (elf_file_open(image->path, &file))
		return false;
	symbols->framed = !image_unchanged(image, &file.stat) && !frames_read(&file, image, &symbols->frames);
	elf_file_close(&file);
	return symbols->framed;
}
