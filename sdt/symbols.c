/* SPDX-License-Identifier: MIT */
/*
 * Symbols: the names that operands mention, and the functions that sites are in.
 *
 * Most images are asked for neither, so the tables are read at the first
 * question, from the file opened anew: it must still be the one whose probes were
 * read. Where it was stripped, they come from the file that has what was taken out.
 * They are kept in two orders, by name and by address. C++ names are kept mangled;
 * functions are found by what people write as well, with their parameters or without.
 */
#include "sdt/symbols.h"

#include "sdt/debuglink.h"
#include "base/error.h"
#include "sdt/frames.h"
#include "base/text.h"
#include "sdt/notes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FUNCTIONS_NESTED 16

/* Itanium C++ ABI, 3.4: new memory, or NULL. libstdc++ and libc++abi have it. */
char *__cxa_demangle(const char *mangled, char *buffer, size_t *length, int *status);

struct symbol {
	const char *name;
	uint64_t address, size;
	unsigned char bind, type;
};

struct image_symbols {
	bool loaded;
	int error; /* of reading them */
	struct arena strings;
	struct symbol *symbols;
	size_t n, room;
	struct symbol **names;     /* by name, address; NULL until asked for */
	struct symbol **functions; /* by address; the best name of several last */
	size_t nfunctions;
	bool framed;
	struct frames frames; /* read when first needed */
};

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

static bool symbols_add(struct image_symbols *symbols, const GElf_Sym *from, char *name)
{
	unsigned char type = GELF_ST_TYPE(from->st_info);
	struct symbol *larger;
	char *version;

	if (!*name || from->st_shndx == SHN_UNDEF || from->st_shndx == SHN_ABS || from->st_shndx == SHN_COMMON ||
	    type == STT_SECTION || type == STT_FILE || type == STT_TLS)
		return true;
	version = strchr(name, '@');
	if (version && version != name)
		*version = '\0';
	if (symbols->n == symbols->room) {
		larger = reallocarray(symbols->symbols, symbols->room ? 2 * symbols->room : 256, sizeof(*larger));
		if (!larger)
			return false;
		symbols->symbols = larger;
		symbols->room = symbols->room ? 2 * symbols->room : 256;
	}
	symbols->symbols[symbols->n++] =
		(struct symbol){ name, from->st_value, from->st_size, GELF_ST_BIND(from->st_info), type };
	return true;
}

/* size: of all tables so far; far more than the file has means that they overlap, and fill any memory. */
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
		    !symbols_add(symbols, &symbol, names + symbol.st_name))
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

static int symbols_index_names(struct image_symbols *symbols)
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

static int symbols_read_tables(const struct elf_file *file, struct image_symbols *symbols, bool *stripped)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr section;
	uint64_t size = 0;
	int err = 0;

	*stripped = true;
	while (!err && (scn = elf_nextscn(file->elf, scn)) != NULL)
		if (gelf_getshdr(scn, &section) && (section.sh_type == SHT_SYMTAB || section.sh_type == SHT_DYNSYM)) {
			*stripped &= section.sh_type != SHT_SYMTAB;
			err = symbols_read_table(file, scn, &section, &size, symbols);
		}
	return err;
}

int symbols_load(const struct elf_file *file, const struct pp_image *image)
{
	struct image_symbols *symbols = image->symbols;
	struct elf_file debug;
	bool stripped;
	int err = symbols_read_tables(file, symbols, &stripped);

	if (!err && stripped && !debuglink_open(image, file, &debug)) {
		size_t n = symbols->n;

		/* What is damaged there says nothing of the image. */
		if (symbols_read_tables(&debug, symbols, &stripped) == -ENOMEM)
			err = -ENOMEM;
		else if (stripped)
			symbols->n = n;
		elf_file_close(&debug);
	}
	if (!err)
		err = symbols_index_functions(symbols);
	if (err == -ENOMEM)
		error_set(ENOMEM, "not enough memory for the symbols of '%s'", image->path);
	symbols->loaded = true;
	symbols->error = err;
	return err;
}

/* Reads them now if nobody has. */
static int symbols_get(const struct pp_image *image, struct image_symbols **result)
{
	struct image_symbols *symbols = *result = image->symbols;
	struct elf_file file;
	int err;

	if (symbols->loaded && symbols->error)
		return error_set(-symbols->error, "the symbols of '%s' could not be read", image->path);
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

int image_symbol(const struct pp_image *image, const char *name, uint64_t *address)
{
	struct image_symbols *symbols;
	size_t low = 0, high;
	int err = symbols_get(image, &symbols);

	if (err)
		return err;
	if (symbols_index_names(symbols))
		return error_set(ENOMEM, "not enough memory for the symbols of '%s'", image->path);
	high = symbols->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(symbols->names[middle]->name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == symbols->n || strcmp(symbols->names[low]->name, name))
		return error_set(ENOENT, "'%s' has no symbol \"%s\"%s", image->path, name,
		                 symbols->n ? "" : ", or any at all");
	*address = symbols->names[low]->address;
	while (++low < symbols->n && !strcmp(symbols->names[low]->name, name))
		if (symbols->names[low]->address != *address)
			return error_set(EEXIST, "'%s' has several symbols \"%s\", at %#llx, %#llx and maybe more",
			                 image->path, name, (unsigned long long)*address,
			                 (unsigned long long)symbols->names[low]->address);
	return 0;
}

/* The first symbol of the name at or behind the address, an index among those by name; symbols->n: there is none. */
static size_t symbols_find_name(const struct image_symbols *symbols, const char *name, uint64_t address)
{
	size_t low = 0, high = symbols->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(symbols->names[middle]->name, name);

		if (order < 0 || (!order && symbols->names[middle]->address < address))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
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

/* Behind a name and its parameters may stand const, & and the compiler's [clone .x]; the name is cut off in front of '('. */
static void demangled_cut_parameters(char *name)
{
	char *end = strrchr(name, ')'), *at;
	int depth = 0;

	for (at = end; at && at >= name; at--) {
		depth += (*at == ')') - (*at == '(');
		if (!depth)
			break;
	}
	/* operator()(int): what is left must be a name yet */
	if (at && at > name)
		*at = 0;
}

/* What stands in front of the name of an instance of a template: its result. */
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
	yes = !strcmp(demangled, name);
	if (!yes) {
		demangled_cut_parameters(demangled);
		yes = !strcmp(demangled, name) || !strcmp(demangled_skip_result(demangled), name);
	}
	free(demangled);
	return yes;
}

/* The addresses of all functions of that name, exactly or as people write it. */
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

char *image_function_written(const struct pp_image *image, uint64_t address)
{
	const char *name = image_function(image, address);
	char *demangled = name && !strncmp(name, "_Z", 2) ? __cxa_demangle(name, NULL, NULL, NULL) : NULL;

	return demangled ? demangled : strdup(name ? name : "?");
}

const char *image_function(const struct pp_image *image, uint64_t address)
{
	uint64_t start, end;

	return image_function_range(image, address, &start, &end);
}

const char *image_function_range(const struct pp_image *image, uint64_t address, uint64_t *start, uint64_t *end)
{
	struct image_symbols *symbols;
	size_t low = 0, high;

	if (symbols_get(image, &symbols))
		return NULL;
	high = symbols->nfunctions;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (symbols->functions[middle]->address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t i = 0; i < FUNCTIONS_NESTED && low > 0; i++) {
		const struct symbol *s = symbols->functions[--low];

		if (address - s->address < s->size || (!s->size && i == 0)) { /* assembly often gives no size */
			*start = s->address;
			*end = s->address + s->size;
			return text_is_clean(s->name, strlen(s->name)) ? s->name : NULL;
		}
	}
	return NULL;
}

/* Reads the unwind tables unless they were read. Returns false if they cannot be read. */
static bool symbols_get_frames(const struct pp_image *image)
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

bool image_code_start(const struct pp_image *image, uint64_t address, uint64_t *start)
{
	const struct frame_range *frame =
		symbols_get_frames(image) ? frames_before(&image->symbols->frames, address) : NULL;
	uint64_t from, end;

	/* The compiler's tables know better than labels, which may be in the middle of anything. */
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
			found = GELF_R_TYPE(rela.r_info) == R_X86_64_IRELATIVE && (uint64_t)rela.r_addend == resolver;
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
