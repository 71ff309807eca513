/* SPDX-License-Identifier: MIT */
#include "base/text.h"
#include "sdt/image.h"
#include "sdt/notes.h"
#include "sdt/operand.h"
#include "tests/unit/elf.h"
#include "tests/unit/random.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define FUNCTION ELF64_ST_INFO(STB_GLOBAL, STT_FUNC)

static struct pp_image *open_elf(struct elf *elf)
{
	struct pp_image *image;
	int err = pp_image_open(elf_path(elf), &image);

	ck_assert_msg(err == 0, "%d: %s", err, pp_error());
	return image;
}

static const struct pp_probe *find(const struct pp_image *image, const char *provider, const char *name)
{
	for (size_t i = 0; i < pp_image_probes(image); i++) {
		const struct pp_probe *probe = pp_image_probe(image, i);

		if (!strcmp(pp_probe_provider(probe), provider) && !strcmp(pp_probe_name(probe), name))
			return probe;
	}
	ck_abort_msg("no %s:%s", provider, name);
}

static void no_warnings(const struct pp_image *image)
{
	ck_assert_msg(pp_image_warnings(image) == 0, "%s", pp_image_warning(image, 0));
}

static void warns(const struct pp_image *image, size_t i, const char *text)
{
	ck_assert_uint_gt(pp_image_warnings(image), i);
	ck_assert_msg(strstr(pp_image_warning(image, i), text) != NULL, "%s", pp_image_warning(image, i));
	ck_assert_msg(strstr(pp_image_warning(image, i), pp_image_path(image)) != NULL, "%s",
	              pp_image_warning(image, i));
}

/* ---- sound files --------------------------------------------------------------- */

START_TEST(probes_and_sites)
{
	struct elf elf = { 0 };
	struct pp_image *image;
	const struct pp_probe *probe;
	const struct pp_site *site;
	uint64_t semaphore = 77;

	elf_note(&elf, CODE + 32, BASE, 0, "b", "two", "-4@%edi");
	elf_note(&elf, CODE + 16, BASE, DATA + 4, "b", "one", "8@%rax 8@(%rdx, %rdi)");
	elf_note(&elf, CODE + 8, BASE, DATA + 4, "b", "one", "8@%rbx");
	elf_note(&elf, CODE + 255, BASE, 0, "a", "zero", "");
	elf_note(&elf, CODE, BASE, 0, "b", "one", "8@%rcx");
	image = open_elf(&elf);
	no_warnings(image);
	ck_assert_uint_eq(pp_image_probes(image), 3);
	ck_assert_str_eq(pp_image_build_id(image), "");

	probe = pp_image_probe(image, 0);
	ck_assert_str_eq(pp_probe_provider(probe), "a");
	ck_assert_str_eq(pp_probe_name(probe), "zero");
	ck_assert_uint_eq(pp_probe_args(probe), 0);
	ck_assert(pp_probe_signature(probe) == NULL);
	site = pp_probe_site(probe, 0);
	ck_assert_uint_eq(pp_site_offset(site), CODE_AT + 255);
	ck_assert_uint_eq(site->code[0], 255);
	ck_assert_uint_eq(site->code[1], 0); /* the data after it is 0 */
	ck_assert_uint_eq(site->code[2], 1);

	probe = pp_image_probe(image, 1);
	ck_assert_str_eq(pp_probe_name(probe), "one");
	ck_assert_uint_eq(pp_probe_sites(probe), 3);
	ck_assert_uint_eq(pp_probe_args(probe), 2);
	ck_assert_str_eq(pp_arg_name(pp_probe_arg(probe, 0)), "arg0");
	ck_assert_str_eq(pp_arg_name(pp_probe_arg(probe, 1)), "arg1");
	ck_assert_str_eq(pp_arg_type(pp_probe_arg(probe, 1)), "");
	ck_assert(pp_probe_arg(probe, 2) == NULL);
	site = pp_probe_site(probe, 0);
	ck_assert_uint_eq(pp_site_address(site), CODE);
	ck_assert_uint_eq(pp_site_offset(site), CODE_AT);
	ck_assert(!pp_site_semaphore(site, &semaphore));
	ck_assert_str_eq(pp_site_operands(site), "8@%rcx");
	ck_assert(pp_site_function(site) == NULL);
	ck_assert(pp_site_source(site) == NULL);
	ck_assert(site->probe == probe);
	ck_assert(probe->image == image);
	site = pp_probe_site(probe, 2);
	ck_assert_uint_eq(pp_site_address(site), CODE + 16);
	ck_assert(pp_site_semaphore(site, &semaphore));
	ck_assert_uint_eq(semaphore, DATA_AT + 4);
	for (int i = 0; i < 16; i++)
		ck_assert_uint_eq(site->code[i], 16 + i);
	ck_assert(pp_probe_site(probe, 3) == NULL);
	ck_assert(pp_image_probe(image, 3) == NULL);
	ck_assert(pp_image_warning(image, 0) == NULL);
	pp_image_free(image);
	elf_free(&elf);
}
END_TEST

START_TEST(equal_sites)
{
	struct elf elf = { 0 };
	struct pp_image *image;

	for (int i = 0; i < 3; i++) {
		elf_note(&elf, CODE + 1, BASE, 0, "p", "n", "8@%rax");
		elf_note(&elf, CODE + 1, BASE, 0, "p", "n", "8@%rbx");
		elf_note(&elf, CODE + 1, BASE, DATA, "p", "n", "8@%rax");
		elf_note(&elf, CODE + 1, BASE, DATA + 2, "p", "n", "8@%rax");
		elf_note(&elf, CODE + 1, BASE, 0, "p", "m", "8@%rax");
	}
	image = open_elf(&elf);
	ck_assert_uint_eq(pp_image_probes(image), 2);
	ck_assert_uint_eq(pp_probe_sites(find(image, "p", "m")), 1);
	ck_assert_uint_eq(pp_probe_sites(find(image, "p", "n")), 4);
	pp_image_free(image);
	elf_free(&elf);
}
END_TEST

/* Adds random notes, of which some are equal, dead, or have a semaphore that is not writable. */
static void add_random_notes(struct elf *elf, unsigned n)
{
	static const char *const operands[] = { "", "8@%rax", "8@%rax -4@%ebx", "8@(%rax, %rbx) 1@%cl 2@$3" };
	static const uint64_t semaphores[] = { 0, 0, 0, DATA, DATA + 2, CODE };
	char provider[16], name[16];

	while (n--) {
		snprintf(provider, sizeof(provider), "p%u", below(4));
		snprintf(name, sizeof(name), "n%.*s%u", (int)below(3), "ab", below(8));
		elf_note(elf, below(10) ? CODE + below(32) : 4 + below(8), BASE, semaphores[below(COUNT(semaphores))],
		         provider, name, operands[below(COUNT(operands))]);
	}
}

static void same_probe(const struct pp_probe *all, const struct pp_probe *some, bool counts)
{
	ck_assert_str_eq(some->provider, all->provider);
	ck_assert_str_eq(some->name, all->name);
	ck_assert_uint_eq(pp_probe_args(some), pp_probe_args(all));
	ck_assert_uint_eq(pp_probe_sites(some), pp_probe_sites(all));
	ck_assert_msg(!counts == (pp_probe_site(some, 0) != NULL), "sites of %s:%s", all->provider, all->name);
	for (size_t i = 0; !counts && i < pp_probe_sites(all); i++) {
		const struct pp_site *a = pp_probe_site(all, i), *b = pp_probe_site(some, i);

		ck_assert_uint_eq(b->address, a->address);
		ck_assert_uint_eq(b->offset, a->offset);
		ck_assert_uint_eq(b->has_semaphore, a->has_semaphore);
		ck_assert_uint_eq(b->semaphore, a->semaphore);
		ck_assert_str_eq(b->operands, a->operands);
		ck_assert(!memcmp(b->code, a->code, sizeof(a->code)));
	}
}

/* Opening with patterns gives what opening without and then matching gives. */
START_TEST(matching)
{
	static const char *const patterns[] = { "p1:n3", "p?:n*", "p[02]:na*", "n5", "*", "p3:*", "p:n", "*:nab?", "" };
	struct elf elf = { 0 };

	seed_set();
	add_random_notes(&elf, 1 + below(400));
	for (unsigned round = 0; round < 40; round++) {
		const char *wanted[3];
		size_t n = 1 + below(3), next = 0;
		unsigned flags = below(2) ? PP_IMAGE_COUNTS : 0;
		struct pp_image *all = open_elf(&elf), *some;

		for (size_t i = 0; i < n; i++)
			wanted[i] = patterns[below(COUNT(patterns))];
		ck_assert_int_eq(pp_image_open_matching(elf_path(&elf), wanted, n, flags, &some), 0);
		for (size_t i = 0; i < pp_image_probes(all); i++) {
			const struct pp_probe *probe = pp_image_probe(all, i);
			bool matches = false;

			for (size_t k = 0; k < n; k++)
				matches |= pp_probe_matches(probe, wanted[k]);
			if (!matches)
				continue;
			ck_assert_uint_lt(next, pp_image_probes(some));
			same_probe(probe, pp_image_probe(some, next++), flags & PP_IMAGE_COUNTS);
		}
		ck_assert_uint_eq(next, pp_image_probes(some));
		pp_image_free(all);
		pp_image_free(some);
	}
	elf_free(&elf);
}
END_TEST

/* The kernel backend counts the sites of a semaphore, so none is left out if there may be too many. */
START_TEST(matching_with_many_semaphores)
{
	const char *wanted = "p:n1";

	for (int more = 0; more < 2; more++) {
		struct elf elf = { .more_code = 40000 };
		struct pp_image *image;

		for (int i = 0; i < SEMAPHORE_MAX + more; i++)
			elf_note(&elf, CODE + (uint64_t)i, BASE, DATA, "p", i % 2 ? "n1" : "n2", "");
		ck_assert_int_eq(pp_image_open_matching(elf_path(&elf), &wanted, 1, 0, &image), 0);
		ck_assert_uint_eq(pp_image_probes(image), 1u + (unsigned)more);
		pp_image_free(image);
		elf_free(&elf);
	}
}
END_TEST

START_TEST(far_sites)
{
	static const uint64_t at[] = { 0, 1, 65530, 65536, 65520, 131072, 131071, 131060, 199999, 200255 };
	struct elf elf = { .more_code = 200000 };
	const struct pp_probe *probe;
	struct pp_image *image;

	for (size_t i = 0; i < COUNT(at); i++)
		elf_note(&elf, CODE + at[i], BASE, DATA, "p", "n", "");
	image = open_elf(&elf);
	probe = find(image, "p", "n");
	ck_assert_uint_eq(pp_probe_sites(probe), COUNT(at));
	for (size_t i = 0; i < COUNT(at); i++)
		for (size_t j = 0; j < 16; j++) {
			const struct pp_site *site = pp_probe_site(probe, i);

			ck_assert_uint_eq(site->code[j], (pp_site_address(site) - CODE + j) & 0xff);
		}
	pp_image_free(image);
	elf_free(&elf);
}
END_TEST

START_TEST(prelink)
{
	static const struct {
		bool is_32, no_base;
		uint64_t base, moved;
	} cases[] = {
		{ false, false, BASE, 0 },
		{ false, false, BASE + 0x10000, 0x10000 },
		{ false, false, BASE - 0x10000, -0x10000 },
		{ true, false, BASE + 0x10000, 0x10000 },
		{ true, false, BASE - 0x10000, -0x10000 },
		{ true, false, BASE + 0x700000, 0x700000 }, /* the old addresses are just below 4 GiB */
		{ false, true, BASE + 0x10000, 0 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct elf elf = { .is_32 = cases[i].is_32, .no_base = cases[i].no_base };
		struct pp_image *image;
		const struct pp_site *site;
		uint64_t semaphore;

		/* the notes have the old addresses; the file has moved by this distance since */
		elf.base = cases[i].base;
		elf_note(&elf, CODE + 5 - cases[i].moved, BASE, DATA + 6 - cases[i].moved, "p", "n", "");
		elf_note(&elf, CODE + 7, 0, DATA + 8, "p", "unmoved", "");
		image = open_elf(&elf);
		no_warnings(image);
		site = pp_probe_site(find(image, "p", "n"), 0);
		ck_assert_uint_eq(pp_site_address(site), CODE + 5);
		ck_assert_uint_eq(pp_site_offset(site), CODE_AT + 5);
		ck_assert(pp_site_semaphore(site, &semaphore));
		ck_assert_uint_eq(site->semaphore, DATA + 6);
		ck_assert_uint_eq(semaphore, DATA_AT + 6);
		site = pp_probe_site(find(image, "p", "unmoved"), 0);
		ck_assert_uint_eq(pp_site_address(site), CODE + 7);
		pp_image_free(image);
		elf_free(&elf);
	}
}
END_TEST

START_TEST(machines)
{
	static const struct {
		bool is_32, big;
		uint16_t machine, type;
	} cases[] = {
		{ false, false, EM_X86_64, ET_EXEC }, { true, false, EM_386, ET_DYN },
		{ true, false, EM_386, ET_EXEC },     { true, false, EM_X86_64, ET_DYN },
		{ false, false, EM_AARCH64, ET_DYN }, { false, true, EM_S390, ET_DYN },
		{ false, true, EM_PPC64, ET_DYN },    { true, true, EM_PPC, ET_EXEC },
		{ false, false, 0x7fff, ET_DYN },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct elf elf = { cases[i].is_32, cases[i].big, .type = cases[i].type, .machine = cases[i].machine };
		struct pp_image *image;
		const struct pp_site *site;
		uint64_t semaphore;

		elf_note(&elf, CODE + 5, BASE, DATA + 6, "p", "f__entry", "-4@[sp, 12] 8@x0");
		elf_signature(&elf, ppn_key("p", "f"), 7, PPN_KIND_FUNCTION, 0, "f.c", "", "i:int",
		              (const char *[]){ "ia:int", "pb:void *", NULL });
		if (_i)
			elf_signatures(&elf, 0, "f.c");
		elf_site(&elf, CODE + 5, 9, 4);
		elf_symbol(&elf, "f", CODE, 16, FUNCTION);
		image = open_elf(&elf);
		no_warnings(image);
		ck_assert_int_eq(image->machine, cases[i].machine);
		ck_assert_int_eq(image->is_64, !cases[i].is_32);
		site = pp_probe_site(find(image, "p", "f__entry"), 0);
		ck_assert_uint_eq(pp_site_address(site), CODE + 5);
		ck_assert(pp_site_semaphore(site, &semaphore));
		ck_assert_uint_eq(semaphore, DATA_AT + 6);
		ck_assert_str_eq(pp_probe_signature(site->probe), "(int a, void *b)");
		ck_assert_str_eq(pp_site_source(site), "f.c:9");
		ck_assert_uint_eq(site->flags, 4);
		ck_assert_str_eq(image_function(image, CODE + 15), "f");
		pp_image_free(image);
		elf_free(&elf);
	}
}
END_TEST

START_TEST(no_notes)
{
	struct elf elf = { 0 }, bare = { .no_sections = true };
	struct pp_image *image = open_elf(&elf);

	ck_assert_uint_eq(pp_image_probes(image), 0);
	no_warnings(image);
	pp_image_free(image);
	elf_free(&elf);

	elf_note(&bare, CODE, BASE, 0, "p", "n", "");
	image = open_elf(&bare);
	ck_assert_uint_eq(pp_image_probes(image), 0);
	warns(image, 0, "no section headers");
	pp_image_free(image);
	elf_free(&bare);
}
END_TEST

START_TEST(build_ids)
{
	struct elf elf = { 0 };
	struct bytes id = { 0 };
	struct pp_image *image;

	put_bytes(&id, "\x01\x23\xab\xff", 4);
	put_note(&elf, &elf.ppn, "GNU", NT_GNU_BUILD_ID, &id);
	image = open_elf(&elf);
	ck_assert_str_eq(pp_image_build_id(image), "0123abff");
	pp_image_free(image);
	elf_free(&elf);

	for (int i = 0; i < 6; i++)
		put_bytes(&id, "0123456789abcdef", 16);
	put_note(&elf, &elf.ppn, "GNU", NT_GNU_BUILD_ID, &id);
	image = open_elf(&elf);
	ck_assert_str_eq(pp_image_build_id(image), "");
	pp_image_free(image);
	elf_free(&elf);
	free(id.data);
}
END_TEST

START_TEST(symbols)
{
	struct elf elf = { 0 };
	struct pp_image *image;
	uint64_t address;

	elf_symbol(&elf, "outer", CODE, 0x40, FUNCTION);
	elf_symbol(&elf, "inner", CODE + 0x10, 0x10, FUNCTION);
	elf_symbol(&elf, "__outer_alias", CODE, 0x40, ELF64_ST_INFO(STB_LOCAL, STT_FUNC));
	elf_symbol(&elf, "unsized", CODE + 0x60, 0, FUNCTION);
	elf_symbol(&elf, "bad\033[31m", CODE + 0x80, 0x10, FUNCTION);
	elf_symbol(&elf, "data", CODE + 0x90, 0x10, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT));
	elf_symbol(&elf, "static", CODE, 1, ELF64_ST_INFO(STB_LOCAL, STT_FUNC));
	elf_symbol(&elf, "static", CODE + 1, 1, ELF64_ST_INFO(STB_LOCAL, STT_FUNC));
	elf_note(&elf, CODE + 0x18, BASE, 0, "p", "n", "");
	image = open_elf(&elf);
	ck_assert_str_eq(pp_site_function(pp_probe_site(pp_image_probe(image, 0), 0)), "inner");
	ck_assert_str_eq(image_function(image, CODE + 2), "outer");
	ck_assert_str_eq(image_function(image, CODE + 0x20), "outer");
	ck_assert(image_function(image, CODE + 0x40) == NULL);
	ck_assert(image_function(image, CODE - 1) == NULL);
	ck_assert(image_function(image, 0) == NULL);
	ck_assert_str_eq(image_function(image, CODE + 0x64), "unsized");
	ck_assert(image_function(image, CODE + 0x81) == NULL);
	ck_assert(image_function(image, CODE + 0x98) == NULL);
	ck_assert_int_eq(image_symbol(image, "inner", &address), 0);
	ck_assert_uint_eq(address, CODE + 0x10);
	ck_assert_int_eq(image_symbol(image, "data", &address), 0);
	ck_assert_int_eq(image_symbol(image, "static", &address), -EEXIST);
	ck_assert_int_eq(image_symbol(image, "inne", &address), -ENOENT);
	ck_assert_int_eq(image_symbol(image, "innerr", &address), -ENOENT);
	ck_assert_int_eq(image_symbol(image, "", &address), -ENOENT);
	pp_image_free(image);
	elf_free(&elf);
}
END_TEST

/* Symbols are read later than the rest, but only if the file is still the same. */
START_TEST(symbols_of_another_file)
{
	struct elf elf = { 0 }, other = { 0 };
	struct pp_image *image;
	uint64_t address;

	elf_symbol(&elf, "f", CODE, 8, FUNCTION);
	image = open_elf(&elf);
	put_bytes(&elf.file, "more", 4);
	elf_write(&elf, elf.file.n);
	ck_assert_int_eq(image_symbol(image, "f", &address), -ESTALE);
	ck_assert_str_eq(strstr(pp_error(), elf.path) ? elf.path : pp_error(), elf.path);
	pp_image_free(image);
	elf_free(&elf);

	elf_finish(&other);
	ck_assert_int_eq(pp_image_open(elf_path(&other), &image), 0);
	elf_free(&other);
	ck_assert_int_eq(image_symbol(image, "f", &address), -ENOENT);
	pp_image_free(image);
}
END_TEST

START_TEST(offsets)
{
	struct elf elf = { 0 };
	struct pp_image *image = open_elf(&elf);
	uint64_t offset;

	ck_assert_int_eq(image_offset(image, CODE, &offset), 0);
	ck_assert_uint_eq(offset, CODE_AT);
	ck_assert_int_eq(image_offset(image, CODE + 0xff, &offset), 0);
	ck_assert_int_eq(image_offset(image, CODE + 0x100, &offset), -EINVAL);
	ck_assert_int_eq(image_offset(image, DATA + 3, &offset), 0);
	ck_assert_uint_eq(offset, DATA_AT + 3);
	ck_assert_int_eq(image_offset(image, DATA + 0x100, &offset), -EINVAL);
	ck_assert_int_eq(image_offset(image, 0, &offset), -EINVAL);
	ck_assert_int_eq(image_offset(image, UINT64_MAX, &offset), -EINVAL);
	pp_image_free(image);
	elf_free(&elf);
}
END_TEST

START_TEST(patterns)
{
	static const struct {
		const char *pattern;
		bool matches;
	} cases[] = {
		{ "prov:name", true },   { "*:*", true },
		{ "*", true },           { "name", true },
		{ "n*", true },          { "pr?v:n[a-z]me", true },
		{ "prov:*", true },      { "*:name", true },
		{ "name:", false },      { "prov", false },
		{ "prov:", false },      { ":name", false },
		{ "", false },           { "prov:nam", false },
		{ "Prov:name", false },  { "prov:name:x", false },
		{ "*:n*e", true },       { "[", false },
		{ "prov:[!n]*", false },
	};
	struct elf elf = { 0 };
	struct pp_image *image;

	elf_note(&elf, CODE, BASE, 0, "prov", "name", "");
	image = open_elf(&elf);
	for (size_t i = 0; i < COUNT(cases); i++)
		ck_assert_msg(pp_probe_matches(pp_image_probe(image, 0), cases[i].pattern) == cases[i].matches, "%s",
		              cases[i].pattern);
	pp_image_free(image);
	elf_free(&elf);
}
END_TEST

/* ---- signatures ------------------------------------------------------------------ */

static const struct pp_probe *with_types(struct elf *elf, const char *const *args, struct pp_image **image)
{
	elf_note(elf, CODE, BASE, 0, "p", "n", "");
	elf_signature(elf, ppn_key("p", "n"), 3, PPN_KIND_PROBE, 0, "dir/n.c", "", NULL, args);
	*image = open_elf(elf);
	no_warnings(*image);
	return find(*image, "p", "n");
}

START_TEST(declarations)
{
	static const struct {
		const char *arg, *text;
	} cases[] = {
		{ "ifd:int", "int fd" },
		{ "spath:const char *", "const char *path" },
		{ "px:struct s **", "struct s **x" },
		{ "px:char *const", "char *const x" },
		{ "pr:int &", "int &r" },
		{ "pcb:int (*)(int)", "int (*cb)(int)" },
		{ "pcb:int (*)(int (*)(char), void *)", "int (*cb)(int (*)(char), void *)" },
		{ "pcb:void (*(*)(int))(char)", "void (*(*cb)(int))(char)" },
		{ "pcb:int (**)(int)", "int (**cb)(int)" },
		{ "pcb:int (*const)(int)", "int (*const cb)(int)" },
		{ "pa:int (*)[4]", "int (*a)[4]" },
		{ "pa:int (&)[4]", "int (&a)[4]" },
		{ "pa:char [16]", "char *a" },
		{ "pa:char[16]", "char *a" },
		{ "pa:char *[16]", "char **a" },
		{ "pa:int [3][4]", "int (*a)[4]" },
		{ "pm:int (Foo::*)(int)", "int (Foo::*m)(int)" },
		{ "pm:int (ns::Foo::*)(int) const", "int (ns::Foo::*m)(int) const" },
		{ "pf:std::function<int (*)(int)> &", "std::function<int (*)(int)> &f" },
		{ "pf:std::vector<int [3]>", "std::vector<int [3]> f" },
		{ "bflag:_Bool", "_Bool flag" },
		{ "xv:__m128", "__m128 v" },
		{ "i:int", "int arg0" },
		{ "in:", "n" },
		{ "uxs:unsigned int", "unsigned int xs" },
		{ "pt:std::pair<int, char>::type *", "std::pair<int, char>::type *t" },
		{ "p\xc3\xa9:struct \xc3\xa9t\xc3\xa9 *", "struct \xc3\xa9t\xc3\xa9 *\xc3\xa9" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct elf elf = { 0 };
		struct pp_image *image;
		const struct pp_probe *probe = with_types(&elf, (const char *[]){ cases[i].arg, NULL }, &image);
		char text[128];

		snprintf(text, sizeof(text), "(%s)", cases[i].text);
		ck_assert_str_eq(pp_probe_signature(probe), text);
		pp_image_free(image);
		elf_free(&elf);
	}
}
END_TEST

START_TEST(arguments)
{
	static const char *const args[] = { "ifd:int", "xv:__m128", "spath:const char *", "u:size_t", NULL };
	struct elf elf = { 0 };
	struct pp_image *image;
	const struct pp_probe *probe = with_types(&elf, args, &image);

	ck_assert_str_eq(pp_probe_signature(probe), "(int fd, __m128 v, const char *path, size_t arg3)");
	ck_assert_uint_eq(pp_probe_args(probe), 3); /* v has no operand */
	ck_assert_str_eq(pp_arg_name(pp_probe_arg(probe, 0)), "fd");
	ck_assert_str_eq(pp_arg_type(pp_probe_arg(probe, 0)), "int");
	ck_assert_int_eq(pp_probe_arg(probe, 0)->class, PPN_CLASS_SIGNED);
	ck_assert_str_eq(pp_arg_name(pp_probe_arg(probe, 1)), "path");
	ck_assert_str_eq(pp_arg_type(pp_probe_arg(probe, 1)), "const char *");
	ck_assert_int_eq(pp_probe_arg(probe, 1)->class, PPN_CLASS_STRING);
	ck_assert_str_eq(pp_arg_name(pp_probe_arg(probe, 2)), "arg3");
	ck_assert_str_eq(pp_site_source(pp_probe_site(probe, 0)), "dir/n.c:3");
	pp_image_free(image);
	elf_free(&elf);
}
END_TEST

START_TEST(functions)
{
	struct elf elf = { 0 };
	struct pp_image *image;
	const struct pp_probe *probe;
	const struct pp_site *site;

	elf_note(&elf, CODE, BASE, 0, "p", "f__entry", "-4@%edi 8@%rsi");
	elf_note(&elf, CODE + 1, BASE, 0, "p", "f__return", "-4@%eax");
	elf_note(&elf, CODE + 2, BASE, 0, "p", "f__return", "");
	elf_note(&elf, CODE + 3, BASE, 0, "p", "f__unwind", "");
	elf_note(&elf, CODE + 4, BASE, 0, "p", "f", "8@%rax");
	elf_note(&elf, CODE + 5, BASE, 0, "p", "v__return", "");
	elf_note(&elf, CODE + 6, BASE, 0, "p", "tail__return", "");
	elf_note(&elf, CODE + 7, BASE, 0, "q", "f__entry", "-4@%edi 8@%rsi");
	elf_note(&elf, CODE + 8, BASE, 0, "p", "__entry", "");
	elf_note(&elf, CODE + 9, BASE, 0, "p", "d__entry__entry", "");
	elf_signature(&elf, ppn_key("p", "f"), 10, PPN_KIND_FUNCTION, PPN_FLAG_CALL_SAFE, "f.c", "ns::f(int)", "i:int",
	              (const char *[]){ "ia:int", "sb:char *", NULL });
	elf_signature(&elf, ppn_key("p", "v"), 20, PPN_KIND_FUNCTION, 0, "f.c", "", "v:void", NULL);
	elf_signature(&elf, ppn_key("p", "tail"), 30, PPN_KIND_FUNCTION, PPN_FLAG_TAIL, "f.c", "", "i:int", NULL);
	elf_signature(&elf, ppn_key("p", ""), 40, PPN_KIND_FUNCTION, 0, "f.c", "", "v:void", NULL);
	elf_signature(&elf, ppn_key("p", "d__entry"), 0, PPN_KIND_FUNCTION, 0, "f.c", "", "v:void", NULL);
	if (_i)
		elf_signatures(&elf, 0, "f.c");
	elf_site(&elf, CODE + 2, 12, PPN_FLAG_TAIL);
	elf_symbol(&elf, "machine_code", CODE, 0x100, FUNCTION);
	image = open_elf(&elf);
	no_warnings(image);

	probe = find(image, "p", "f__entry");
	ck_assert_str_eq(pp_probe_signature(probe), "(int a, char *b)");
	site = pp_probe_site(probe, 0);
	ck_assert_str_eq(pp_site_function(site), "ns::f(int)");
	ck_assert_str_eq(pp_site_source(site), "f.c:10");
	ck_assert_uint_eq(site->flags, PPN_FLAG_CALL_SAFE);

	probe = find(image, "p", "f__return");
	ck_assert_str_eq(pp_probe_signature(probe), "(int result)");
	ck_assert_uint_eq(pp_probe_args(probe), 1);
	ck_assert_str_eq(pp_arg_name(pp_probe_arg(probe, 0)), "result");
	ck_assert_str_eq(pp_site_source(pp_probe_site(probe, 0)), "f.c:10");
	site = pp_probe_site(probe, 1);
	ck_assert_str_eq(pp_site_source(site), "f.c:12");
	ck_assert_uint_eq(site->flags, PPN_FLAG_TAIL);

	ck_assert_str_eq(pp_probe_signature(find(image, "p", "f__unwind")), "()");
	ck_assert_uint_eq(pp_probe_args(find(image, "p", "f__unwind")), 0);
	ck_assert_str_eq(pp_probe_signature(find(image, "p", "v__return")), "()");
	ck_assert_str_eq(pp_site_function(pp_probe_site(find(image, "p", "v__return"), 0)), "v");
	ck_assert_str_eq(pp_probe_signature(find(image, "p", "tail__return")), "()");
	ck_assert_uint_eq(pp_probe_site(find(image, "p", "tail__return"), 0)->flags, PPN_FLAG_TAIL);
	ck_assert_str_eq(pp_site_function(pp_probe_site(find(image, "p", "d__entry__entry"), 0)), "d__entry");
	ck_assert_str_eq(pp_site_source(pp_probe_site(find(image, "p", "d__entry__entry"), 0)), "f.c");

	/* names without a signature */
	ck_assert(pp_probe_signature(find(image, "p", "f")) == NULL);
	ck_assert_str_eq(pp_site_function(pp_probe_site(find(image, "p", "f"), 0)), "machine_code");
	ck_assert(pp_probe_signature(find(image, "q", "f__entry")) == NULL);
	ck_assert(pp_probe_signature(find(image, "p", "__entry")) == NULL);
	pp_image_free(image);
	elf_free(&elf);
}
END_TEST

START_TEST(disputed_signatures)
{
	static const char *const a[] = { "ia:int", NULL }, *const b[] = { "ib:int", NULL };
	static const struct {
		uint32_t line;
		uint16_t flags;
		const char *file, *function;
		const char *const *args;
		bool agrees;
	} second[] = {
		{ 1, 0, "f.c", "g", a, true },     { 2, 0, "f.c", "g", a, false }, { 1, 1, "f.c", "g", a, false },
		{ 1, 0, "h.c", "g", a, false },    { 1, 0, "f.c", "", a, false },  { 1, 0, "f.c", "g", b, false },
		{ 1, 0, "f.c", "g", NULL, false },
	};

	for (size_t i = 0; i < COUNT(second); i++) {
		struct elf elf = { 0 };
		struct pp_image *image;
		const struct pp_probe *probe;

		elf_note(&elf, CODE, BASE, 0, "p", "n", "-4@%edi");
		elf_note(&elf, CODE, BASE, 0, "p", "other", "-4@%edi");
		elf_signature(&elf, ppn_key("p", "n"), 1, PPN_KIND_PROBE, 0, "f.c", "g", NULL, a);
		elf_signature(&elf, ppn_key("p", "other"), 1, PPN_KIND_PROBE, 0, "f.c", "g", NULL, a);
		elf_signature(&elf, ppn_key("p", "n"), second[i].line, PPN_KIND_PROBE, second[i].flags, second[i].file,
		              second[i].function, NULL, second[i].args);
		elf_signature(&elf, ppn_key("p", "n"), 1, PPN_KIND_PROBE, 0, "f.c", "g", NULL, a);
		image = open_elf(&elf);
		probe = find(image, "p", "n");
		if (second[i].agrees) {
			no_warnings(image);
			ck_assert_str_eq(pp_probe_signature(probe), "(int a)");
		} else {
			ck_assert_uint_eq(pp_image_warnings(image), 1);
			warns(image, 0, "differ");
			ck_assert(pp_probe_signature(probe) == NULL);
			ck_assert_str_eq(pp_arg_name(pp_probe_arg(probe, 0)), "arg0");
			ck_assert(pp_site_source(pp_probe_site(probe, 0)) == NULL);
		}
		ck_assert_str_eq(pp_probe_signature(find(image, "p", "other")), "(int a)");
		pp_image_free(image);
		elf_free(&elf);
	}
}
END_TEST

START_TEST(disputed_function)
{
	struct elf elf = { 0 };
	struct pp_image *image;

	elf_note(&elf, CODE, BASE, 0, "p", "f__entry", "-4@%edi");
	elf_signature(&elf, ppn_key("p", "f"), 1, PPN_KIND_FUNCTION, 0, "a.c", "", "i:int",
	              (const char *[]){ "ia:int", NULL });
	elf_signature(&elf, ppn_key("p", "f"), 1, PPN_KIND_FUNCTION, 0, "b.c", "", "i:int",
	              (const char *[]){ "ia:int", NULL });
	image = open_elf(&elf);
	warns(image, 0, "a.c:1");
	warns(image, 0, "b.c:1");
	ck_assert(pp_probe_signature(find(image, "p", "f__entry")) == NULL);
	pp_image_free(image);
	elf_free(&elf);
}
END_TEST

START_TEST(signature_with_too_few_arguments)
{
	struct elf elf = { 0 };
	struct pp_image *image;

	elf_note(&elf, CODE, BASE, 0, "p", "n", "-4@%edi 8@%rax");
	elf_signature(&elf, ppn_key("p", "n"), 1, PPN_KIND_PROBE, 0, "f.c", "", NULL,
	              (const char *[]){ "ia:int", NULL });
	image = open_elf(&elf);
	warns(image, 0, "p:n");
	ck_assert(pp_probe_signature(find(image, "p", "n")) == NULL);
	ck_assert_uint_eq(pp_probe_args(find(image, "p", "n")), 2);
	pp_image_free(image);
	elf_free(&elf);
}
END_TEST

START_TEST(newer_notes)
{
	static const char later[] = "after the known fields";
	struct elf elf = { 0 };
	struct bytes desc = { 0 };
	struct pp_image *image;

	elf_note(&elf, CODE, BASE, 0, "p", "n", "-4@%edi");
	put_bytes(&desc, "a type of the future", 20);
	put_note(&elf, &elf.ppn, "ppn", 99, &desc);
	desc.n = 0;
	put(&elf, &desc, 8, ppn_key("p", "n"));
	put(&elf, &desc, 8, 5 | (uint64_t)1 << 40); /* line 5, a probe, 1 argument */
	put_string(&desc, "f.c");
	put_string(&desc, "g");
	put_string(&desc, "ia:int");
	put_bytes(&desc, later, sizeof(later));
	put_note(&elf, &elf.ppn, "ppn", PPN_SIGNATURE, &desc);
	desc.n = 0;
	put(&elf, &desc, 8, CODE);
	put(&elf, &desc, 8, 6);
	put_bytes(&desc, later, sizeof(later));
	put_note(&elf, &elf.ppn, "ppn", PPN_SITE, &desc);
	image = open_elf(&elf);
	no_warnings(image);
	ck_assert_str_eq(pp_probe_signature(find(image, "p", "n")), "(int a)");
	ck_assert_str_eq(pp_site_source(pp_probe_site(find(image, "p", "n"), 0)), "f.c:6");
	pp_image_free(image);
	elf_free(&elf);
	free(desc.data);
}
END_TEST

START_TEST(floats)
{
	static const struct {
		uint64_t base, moved;
	} cases[] = { { BASE, 0 }, { BASE + 0x10000, 0x10000 } };

	for (size_t i = 0; i < 2 * COUNT(cases); i++) {
		struct elf elf = { .is_32 = i % 2, .base = cases[i / 2].base };
		uint64_t moved = cases[i / 2].moved;
		struct pp_image *image;
		struct bytes desc = { 0 };
		const struct pp_probe *probe;

		/* the flags use the address in the site's note, before it is moved */
		elf_note(&elf, CODE + 5 - moved, BASE, 0, "p", "n", "4@%eax 8@%rdx");
		elf_note(&elf, CODE + 6 - moved, BASE, 0, "p", "n", "4@%eax 8@%rdx");
		elf_note(&elf, CODE + 7 - moved, BASE, 0, "p", "twice", "4@%eax");
		elf_note(&elf, CODE + 8 - moved, BASE, 0, "p", "same", "4@%eax");
		elf_note(&elf, CODE + 9 - moved, BASE, 0, "p", "none", "4@%eax");
		elf_floats(&elf, CODE + 8 - moved, 1, 0);
		elf_floats(&elf, CODE + 5 - moved, 3, 7); /* with unknown bits */
		elf_floats(&elf, CODE + 7 - moved, 1, 0); /* contradicts another one */
		elf_floats(&elf, CODE + 7 - moved, 2, 0);
		elf_floats(&elf, CODE + 8 - moved, 1, 0);
		elf_floats(&elf, CODE + 100, UINT32_MAX, 0); /* an address without a site */
		put_string(&desc, "short");
		put_note(&elf, &elf.ppn, "ppn", PPN_FLOATS, &desc);
		image = open_elf(&elf);
		warns(image, 0, "it is too short");
		probe = find(image, "p", "n");
		ck_assert_uint_eq(pp_probe_sites(probe), 2);
		ck_assert_uint_eq(pp_probe_site(probe, 0)->floats, 3);
		ck_assert_uint_eq(pp_probe_site(probe, 1)->floats, 0);
		ck_assert_str_eq(pp_site_operands(pp_probe_site(probe, 0)), "4@%eax 8@%rdx");
		ck_assert_uint_eq(pp_probe_site(find(image, "p", "twice"), 0)->floats, 0);
		ck_assert_uint_eq(pp_probe_site(find(image, "p", "same"), 0)->floats, 1);
		ck_assert_uint_eq(pp_probe_site(find(image, "p", "none"), 0)->floats, 0);
		pp_image_free(image);
		elf_free(&elf);
		free(desc.data);
	}
}
END_TEST

/* ---- damage ------------------------------------------------------------------------ */

START_TEST(not_probed_files)
{
	static const struct {
		const char *content;
		size_t n;
		const char *why;
	} cases[] = {
		{ "", 0, "not an ELF file" },
		{ "\177ELF", 4, "not an ELF file" },
		{ "#!/bin/sh\necho\n", 15, "not an ELF file" },
		{ "!<arch>\n", 8, "archive" },
		{ "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0", 16, "truncated" },
	};
	struct pp_image *image = (void *)1;
	char folder[] = "/tmp/check-image-XXXXXX", pipe[64];

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct elf elf = { 0 };

		put_bytes(&elf.file, cases[i].content, cases[i].n);
		ck_assert_int_eq(pp_image_open(elf_write(&elf, cases[i].n), &image), -ENOEXEC);
		ck_assert_msg(strstr(pp_error(), cases[i].why) && strstr(pp_error(), elf.path), "%s", pp_error());
		ck_assert(image == NULL);
		elf_free(&elf);
	}
	for (int type = 0; type < 6; type++) {
		struct elf elf = { .type = type ? (uint16_t)type : 0xfe00 };

		if (type == ET_EXEC || type == ET_DYN || type == ET_REL)
			continue;
		elf_note(&elf, CODE, BASE, 0, "p", "n", "");
		ck_assert_int_eq(pp_image_open(elf_path(&elf), &image), -ENOEXEC);
		ck_assert_msg(strstr(pp_error(), type == ET_CORE ? "core dump" : "neither"), "%s", pp_error());
		elf_free(&elf);
	}
	ck_assert(mkdtemp(folder) != NULL);
	ck_assert_int_eq(pp_image_open(folder, &image), -EISDIR);
	snprintf(pipe, sizeof(pipe), "%s/pipe", folder);
	ck_assert_int_eq(mkfifo(pipe, 0600), 0);
	ck_assert_int_eq(pp_image_open(pipe, &image), -ENOEXEC); /* without waiting */
	unlink(pipe);
	ck_assert_int_eq(pp_image_open(pipe, &image), -ENOENT);
	ck_assert(strstr(pp_error(), "No such file") != NULL);
	ck_assert_int_eq(pp_image_open("/dev/null", &image), -ENOEXEC);
	rmdir(folder);
}
END_TEST

/* A bad note between two good ones is skipped with a warning. The others are read. */
struct damage {
	const char *what, *why;
	int at;        /* byte of the note, or -1 */
	unsigned size; /* of value */
	uint64_t value;
};

static void spoil(const struct damage *damage, const char *provider, const char *name, const char *operands)
{
	struct elf elf = { 0 };
	struct pp_image *image;
	char offset[32];
	size_t start;

	elf_note(&elf, CODE, BASE, 0, "good", "before", "8@%rax");
	start = elf_note(&elf, CODE + 1, BASE, 0, provider, name, operands);
	elf_note(&elf, CODE + 2, BASE, 0, "good", "after", "8@%rbx");
	elf_note(&elf, CODE + 3, BASE, 0, "good", "last", "8@%rbx");
	if (damage->at >= 0)
		memcpy(elf.stapsdt.data + start + damage->at, &damage->value, damage->size);
	image = open_elf(&elf);
	ck_assert_msg(pp_image_probes(image) == 3, "%s: %zu probes", damage->what, pp_image_probes(image));
	find(image, "good", "before");
	find(image, "good", "after");
	find(image, "good", "last");
	ck_assert_msg(pp_image_warnings(image) == 1, "%s: %zu warnings: %s", damage->what, pp_image_warnings(image),
	              pp_image_warnings(image) ? pp_image_warning(image, 1) : "");
	warns(image, 0, damage->why);
	snprintf(offset, sizeof(offset), "offset %#zx ", ELF_STAPSDT_AT + start);
	if (strstr(damage->why, "code") == NULL)
		warns(image, 0, offset);
	pp_image_free(image);
	elf_free(&elf);
}

START_TEST(bad_notes)
{
	static const struct damage cases[] = {
		{ "owner's size 7", "not a probe", 0, 4, 7 },
		{ "owner's size 9", "not a probe", 0, 4, 9 },
		{ "owner's size 0", "not a probe", 0, 4, 0 },
		{ "owner's size huge", "past its section", 0, 4, 0xffffffff },
		{ "owner's size nearly huge", "past its section", 0, 4, 0xfffffff0 },
		{ "size 0", "too short", 4, 4, 0 },
		{ "size 26", "too short", 4, 4, 26 },
		{ "size 27", "provider is not terminated", 4, 4, 27 },
		{ "size cuts the name", "name is not terminated", 4, 4, 24 + 5 + 2 },
		{ "size cuts the operands", "operands are not terminated", 4, 4, 24 + 5 + 5 + 2 },
		{ "size covers the next", "differs from", 4, 4, 24 + 5 + 5 + 8 + 62 },
		{ "size covers a little of the next", "differs from", 4, 4, 24 + 5 + 5 + 8 + 8 },
		{ "size huge", "past its section", 4, 4, 0xffffffff },
		{ "type 2", "not a probe", 8, 4, 2 },
		{ "type 4", "not a probe", 8, 4, 4 },
		{ "owner", "not a probe", 12, 1, 'S' },
		{ "owner without end", "not a probe", 19, 1, 'x' },
		{ "location 0", "code is not in the file", 20, 8, 0 },
		{ "location 4", "code is not in the file", 20, 8, 4 },
		{ "location 7", "code is not in the file", 20, 8, 7 },
		{ "location in headers", "code is not in the file", 20, 8, CODE - 0x180 },
		{ "location in data", "code is not in the file", 20, 8, DATA },
		{ "location after the end", "code is not in the file", 20, 8, CODE + 0x100 },
		{ "location wraps", "code is not in the file", 20, 8, UINT64_MAX },
		{ "semaphore in code", "semaphore", 36, 8, CODE },
		{ "semaphore nowhere", "semaphore", 36, 8, 1 },
		{ "semaphore after the end", "semaphore", 36, 8, DATA + 0x100 },
		{ "no provider", "provider is empty", 44, 1, 0 },
		{ "provider unprintable", "provider is not terminated or not text", 45, 1, 27 },
		{ "provider delete", "provider is not terminated or not text", 45, 1, 127 },
		{ "provider broken UTF-8", "provider is not terminated or not text", 45, 1, 0xc3 },
		{ "provider with colon", "colon", 45, 1, ':' },
		{ "no name", "name is empty", 49, 1, 0 },
		{ "name unprintable", "name is not terminated or not text", 50, 1, '\n' },
		{ "operands unprintable", "operands are not terminated or not text", 55, 1, 8 },
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		spoil(&cases[i], "prov", "name", "-4@%edi");
}
END_TEST

START_TEST(rounded_sizes)
{
	for (size_t padding = 0; padding < 12; padding++) {
		struct elf elf = { 0 };
		struct bytes desc = { 0 };
		struct pp_image *image;

		put(&elf, &desc, 8, CODE);
		put(&elf, &desc, 8, BASE);
		put(&elf, &desc, 8, 0);
		put_bytes(&desc,
		          "p\0n\0"
		          "8@%rax\0"
		          "\0\0\0\0\0\0\0\0\0\0\0\0",
		          11 + padding);
		put_note(&elf, &elf.stapsdt, "stapsdt", 3, &desc);
		elf_note(&elf, CODE + 2, BASE, 0, "good", "after", "8@%rbx");
		image = open_elf(&elf);
		ck_assert_uint_eq(pp_image_probes(image), padding < 8 ? 2 : 1);
		ck_assert_uint_eq(pp_image_warnings(image), padding < 8 ? 0 : 1);
		pp_image_free(image);
		elf_free(&elf);
		free(desc.data);
	}
}
END_TEST

START_TEST(bad_strings)
{
	static const char *const bad[] = { "\xc0\x80",     "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
		                           "\xff",         "\x80",         "\xc2",         "\xc2\x85",
		                           "\xf0\x9f\x98", "\xc2\x9bm",    "a\tb",         "a\r" };
	static const char *const good[] = { "\xc2\xa0", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf",
		                            "\xf0\x9f\x98\x80" };
	struct damage damage = { .at = -1 };
	char many[65 * 5 + 1] = "", longest[5000];

	for (size_t i = 0; i < COUNT(bad); i++) {
		damage.what = bad[i];
		damage.why = "is not terminated or not text";
		spoil(&damage, bad[i], "name", "");
		spoil(&damage, "prov", bad[i], "");
		damage.why = "are not terminated or not text";
		spoil(&damage, "prov", "name", bad[i]);
	}
	for (size_t i = 0; i < COUNT(good); i++)
		ck_assert_msg(text_is_clean(good[i], strlen(good[i])), "%zu", i);
	for (int i = 0; i < 65; i++)
		strcat(many, "1@$1 ");
	damage = (struct damage){ .what = "65 operands", .why = "too many operands", .at = -1 };
	spoil(&damage, "prov", "name", many);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	damage = (struct damage){ .what = "long name", .why = "name is not terminated", .at = -1 };
	spoil(&damage, "prov", longest, "");
	damage = (struct damage){ .what = "long provider", .why = "provider is not terminated", .at = -1 };
	spoil(&damage, longest, "name", "");
}
END_TEST

START_TEST(bad_signatures)
{
	static const struct {
		const char *why;
		int at;
		unsigned size;
		uint64_t value;
	} cases[] = {
		{ "too short", 4, 4, 10 },         { "kind is unknown", 28, 1, 9 },
		{ "CLASSNAME:TYPE", 29, 1, 2 },    { "CLASSNAME:TYPE", 29, 1, 255 },
		{ "file or function", 33, 1, 10 }, { "CLASSNAME:TYPE", 38, 1, 'Q' },
		{ "CLASSNAME:TYPE", 40, 1, ';' },  { "past its section", 4, 4, 1 << 20 },
		{ "CLASSNAME:TYPE", 28, 1, 1 },    { "CLASSNAME:TYPE", 38, 1, 'v' },
		{ "CLASSNAME:TYPE", 38, 1, 0 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct elf elf = { 0 };
		struct pp_image *image;
		size_t start;

		elf_note(&elf, CODE, BASE, 0, "p", "n", "-4@%edi");
		elf_note(&elf, CODE, BASE, 0, "p", "m", "-4@%edi");
		start = elf_signature(&elf, ppn_key("p", "n"), 1, PPN_KIND_PROBE, 0, "f.c", "g", NULL,
		                      (const char *[]){ "ia:int", NULL });
		elf_signature(&elf, ppn_key("p", "m"), 1, PPN_KIND_PROBE, 0, "f.c", "g", NULL,
		              (const char *[]){ "ia:int", NULL });
		memcpy(elf.ppn.data + start + cases[i].at, &cases[i].value, cases[i].size);
		image = open_elf(&elf);
		ck_assert_msg(pp_image_warnings(image) == 1, "%zu: %zu warnings", i, pp_image_warnings(image));
		warns(image, 0, cases[i].why);
		ck_assert(pp_probe_signature(find(image, "p", "n")) == NULL);
		ck_assert_str_eq(pp_probe_signature(find(image, "p", "m")), "(int a)");
		pp_image_free(image);
		elf_free(&elf);
	}
}
END_TEST

/* A bad signature in a note with several is skipped. If its size is wrong, the ones after it are not found either. */
START_TEST(bad_signatures_of_a_unit)
{
	static const struct {
		const char *why;
		int at;
		unsigned size;
		uint64_t value;
		bool last;
	} cases[] = {
		{ "kind is unknown", 34, 1, 9, true },
		{ "CLASSNAME:TYPE", 35, 1, 2, true },
		{ "CLASSNAME:TYPE", 35, 1, 255, true },
		{ "file or function", 38, 1, 10, true },
		{ "CLASSNAME:TYPE", 40, 1, 'Q', true },
		{ "too short or too long", 20, 2, 16, false },
		{ "too short or too long", 20, 2, 0xffff, false },
		{ "its file", 16, 1, 10, false },
		{ "too short or too long", 20, 2, 0, false },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct elf elf = { 0 };
		struct pp_image *image;

		elf_note(&elf, CODE, BASE, 0, "p", "n", "-4@%edi");
		elf_note(&elf, CODE, BASE, 0, "p", "m", "-4@%edi");
		elf_note(&elf, CODE, BASE, 0, "p", "o", "-4@%edi");
		elf_signature(&elf, ppn_key("p", "n"), 1, PPN_KIND_PROBE, 0, "f.c", "g", NULL,
		              (const char *[]){ "ia:int", NULL });
		elf_signature(&elf, ppn_key("p", "m"), 1, PPN_KIND_PROBE, 0, "f.c", "g", NULL,
		              (const char *[]){ "ia:int", NULL });
		elf_signatures(&elf, 0, "f.c");
		elf_signature(&elf, ppn_key("p", "o"), 1, PPN_KIND_PROBE, 0, "f.c", "g", NULL,
		              (const char *[]){ "ia:int", NULL });
		memcpy(elf.ppn.data + cases[i].at, &cases[i].value, cases[i].size);
		image = open_elf(&elf);
		ck_assert_msg(pp_image_warnings(image) == 1, "%zu: %zu warnings", i, pp_image_warnings(image));
		warns(image, 0, cases[i].why);
		ck_assert(pp_probe_signature(find(image, "p", "n")) == NULL);
		ck_assert_msg(!pp_probe_signature(find(image, "p", "m")) == !cases[i].last, "%zu", i);
		ck_assert_str_eq(pp_probe_signature(find(image, "p", "o")), "(int a)");
		pp_image_free(image);
		elf_free(&elf);
	}
}
END_TEST

START_TEST(many_warnings)
{
	struct elf elf = { 0 };
	struct pp_image *image;

	for (int i = 0; i < 5000; i++) {
		elf_note(&elf, (uint64_t)(i % 3) * 4, BASE, 0, "p", "dead", "");
		elf_note(&elf, CODE + (uint64_t)(i & 0xff), BASE, 0, "p", i < 100 ? "\n" : "alive", "");
	}
	image = open_elf(&elf);
	ck_assert_uint_eq(pp_image_warnings(image), 21);
	warns(image, 0, "not text");
	warns(image, 20, "81 more");
	ck_assert_uint_eq(pp_image_probes(image), 1);
	pp_image_free(image);
	elf_free(&elf);

	for (int i = 0; i < 5000; i++)
		elf_note(&elf, 4, BASE, 0, "p", "dead", "");
	image = open_elf(&elf);
	ck_assert_uint_eq(pp_image_warnings(image), 1);
	warns(image, 0, "5000 notes");
	pp_image_free(image);
	elf_free(&elf);
}
END_TEST

START_TEST(shrinking_file)
{
	struct elf elf = { 0 };
	struct elf_file file;
	char buffer[64], *data;

	ck_assert_int_eq(elf_file_open(elf_path(&elf), &file), 0);
	ck_assert_int_eq(elf_file_read(&file, 0x200, sizeof(buffer), buffer), 0);
	elf_write(&elf, 0x210);
	ck_assert_int_eq(elf_file_read(&file, 0x200, sizeof(buffer), buffer), -EIO);
	ck_assert(strstr(pp_error(), "truncated") != NULL);
	ck_assert_int_eq(elf_file_load(&file, 0x200, UINT64_MAX, &data), -EIO);
	ck_assert_int_eq(elf_file_load(&file, UINT64_MAX, 2, &data), -EIO);
	ck_assert_int_eq(elf_file_load(&file, elf.file.n, 1, &data), -EIO);
	elf_file_close(&file);
	elf_free(&elf);
}
END_TEST

START_TEST(segment_tables)
{
	struct elf elf = { .no_sections = true };
	struct pp_image *image;

	elf_finish(&elf);
	for (size_t n = 64; n < 64 + 2 * 56; n++)
		ck_assert_msg(pp_image_open(elf_write(&elf, n), &image) == -ENOEXEC, "%zu bytes", n);
	memcpy(elf.file.data + 0x20, &(uint64_t){ elf.file.n }, 8);
	memcpy(elf.file.data + 0x38, &(uint16_t){ 5000 }, 2);
	for (int i = 0; i < 5000; i++)
		put_segment(&elf, PF_R | PF_X, 0x1000000 + (uint64_t)i * 0x1000, 0, 0x1000);
	ck_assert_int_eq(pp_image_open(elf_write(&elf, elf.file.n), &image), -ENOEXEC);
	ck_assert_msg(strstr(pp_error(), "segments") != NULL, "%s", pp_error());
	elf_free(&elf);
}
END_TEST

/* A small file cannot make the reader allocate many times its size. */
START_TEST(overlapping_sections)
{
	struct elf elf = { 0 };
	struct pp_image *image;
	uint64_t sections, offset = 0;

	elf_note(&elf, CODE, BASE, 0, "p", "n", "");
	elf_finish(&elf);
	memcpy(&sections, elf.file.data + 0x28, 8);
	for (int i = 1; i < 9; i++) { /* each section is the whole file */
		uint64_t size = i < 4 ? 0x100 : elf.file.n;

		if (i == 8)
			continue;
		memcpy(elf.file.data + sections + (size_t)i * 64 + 4, &(uint32_t){ i < 4 ? SHT_PROGBITS : SHT_NOTE },
		       4);
		if (i >= 4)
			memcpy(elf.file.data + sections + (size_t)i * 64 + 0x18, &offset, 8);
		memcpy(elf.file.data + sections + (size_t)i * 64 + 0x20, &size, 8);
	}
	image = open_elf(&elf);
	ck_assert_uint_ge(pp_image_warnings(image), 3);
	warns(image, pp_image_warnings(image) - 1, "overlap");
	pp_image_free(image);
	elf_free(&elf);
}
END_TEST

/* Calls all functions that read an image. */
static void exercise(const char *path)
{
	struct operand operands[OPERANDS_MAX];
	struct pp_image *image;
	uint64_t value;
	size_t length = 0;
	int err = pp_image_open(path, &image);

	if (err) {
		ck_assert(err < 0 && image == NULL && *pp_error());
		return;
	}
	for (size_t i = 0; i < pp_image_warnings(image); i++)
		length += strlen(pp_image_warning(image, i));
	for (size_t i = 0; i < pp_image_probes(image); i++) {
		const struct pp_probe *probe = pp_image_probe(image, i);

		ck_assert(*pp_probe_provider(probe) && *pp_probe_name(probe));
		length += pp_probe_signature(probe) ? strlen(pp_probe_signature(probe)) : 0;
		for (size_t j = 0; j < pp_probe_args(probe); j++)
			length += strlen(pp_arg_name(pp_probe_arg(probe, j))) +
			          strlen(pp_arg_type(pp_probe_arg(probe, j)));
		ck_assert_uint_gt(pp_probe_sites(probe), 0);
		for (size_t j = 0; j < pp_probe_sites(probe); j++) {
			const struct pp_site *site = pp_probe_site(probe, j);

			ck_assert_uint_lt(pp_site_offset(site), image->size);
			if (pp_site_semaphore(site, &value))
				ck_assert_uint_lt(value, image->size);
			length += strlen(pp_site_operands(site));
			length += pp_site_function(site) ? strlen(pp_site_function(site)) : 0;
			length += pp_site_source(site) ? strlen(pp_site_source(site)) : 0;
			err = operands_parse(image, pp_site_operands(site), operands);
			ck_assert(err >= 0 || *pp_error());
		}
	}
	image_symbol(image, "f", &value);
	image_offset(image, CODE, &value);
	(void)length;
	pp_image_free(image);
}

/* A file with all kinds of notes, so that damage anywhere matters. */
static void busy(struct elf *elf)
{
	size_t start;

	elf_note(elf, CODE, BASE, DATA, "p", "f__entry", "-4@%edi 8@-16(%rbp) 8@g+4(%rip)");
	elf_note(elf, CODE + 1, BASE, DATA, "p", "f__return", "-4@%eax");
	elf_note(elf, CODE + 2, BASE, 0, "p", "f__return", "");
	elf_note(elf, CODE + 3, BASE, 0, "q", "n", "2@$7 8@(%rdx,%rdi,4)");
	elf_note(elf, CODE + 4, 0, 0, "q", "m", "1@%ah");
	elf_signature(elf, ppn_key("p", "f"), 10, PPN_KIND_FUNCTION, 0, "f.c", "", "i:int",
	              (const char *[]){ "ia:int", "sb:char *", "pc:int (*)(int)", NULL });
	elf_signature(elf, ppn_key("q", "n"), 10, PPN_KIND_PROBE, 0, "f.c", "g", NULL,
	              (const char *[]){ "ca:char [3]", "sb:char *", NULL });
	start = elf_signature(elf, ppn_key("q", "m"), 11, PPN_KIND_PROBE, 0, "h.c", "", NULL,
	                      (const char *[]){ "ia:int", NULL });
	elf_signature(elf, ppn_key("p", "g"), 12, PPN_KIND_FUNCTION, 0, "h.c", "g(int)", "v:void", NULL);
	elf_signatures(elf, start, "h.c");
	elf_site(elf, CODE + 2, 12, PPN_FLAG_TAIL);
	elf_floats(elf, CODE + 3, 1, 0);
	elf_symbol(elf, "f", CODE, 3, FUNCTION);
	elf_symbol(elf, "g", DATA, 8, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT));
	elf_finish(elf);
}

START_TEST(cut_anywhere)
{
	struct elf elf = { .is_32 = _i };
	struct pp_image *image;

	busy(&elf);
	for (size_t n = 0; n < elf.file.n; n++) {
		exercise(elf_write(&elf, n));
		ck_assert_msg(pp_image_open(elf.path, &image) == -ENOEXEC, "%zu bytes of %zu", n, elf.file.n);
	}
	elf_free(&elf);
}
END_TEST

static unsigned seed_of_today(void)
{
	const char *given = getenv("SEED");
	unsigned state = given ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);

	printf("damaged_anywhere: SEED=%u\n", state);
	fflush(stdout);
	return state;
}

START_TEST(damaged_anywhere)
{
	static const uint64_t nasty[] = { 0,
		                          1,
		                          3,
		                          4,
		                          7,
		                          8,
		                          0x7f,
		                          0x80,
		                          0xff,
		                          0x7fff,
		                          0x8000,
		                          0xffff,
		                          0x7fffffff,
		                          0x80000000,
		                          0xffffffff,
		                          0xfffffffe,
		                          0x7fffffffffffffff,
		                          0x8000000000000000,
		                          0xffffffffffffffff,
		                          0xfffffffffffffff8,
		                          CODE,
		                          DATA,
		                          0x400 };
	unsigned state = seed_of_today();
	struct elf elf = { .is_32 = _i & 1, .big = _i & 2 };
	unsigned char *sound;

	busy(&elf);
	sound = malloc(elf.file.n);
	memcpy(sound, elf.file.data, elf.file.n);
	for (int round = 0; round < 3000; round++) {
		for (int n = 1 + rand_r(&state) % 4; n > 0; n--) {
			/* code and data are not parsed, all else is */
			size_t room = elf.file.n - 0x200, at = (size_t)rand_r(&state) % (room - 8),
			       size = 1u << rand_r(&state) % 4;
			uint64_t value = rand_r(&state) % 2 ? nasty[(size_t)rand_r(&state) % COUNT(nasty)]
			                                    : (uint64_t)rand_r(&state) << rand_r(&state) % 33;

			at = at < 0x200 ? at : at + 0x200;
			memcpy(elf.file.data + at, &value, size);
		}
		exercise(elf_write(&elf, rand_r(&state) % 8 ? elf.file.n : (size_t)rand_r(&state) % elf.file.n));
		memcpy(elf.file.data, sound, elf.file.n);
	}
	free(sound);
	elf_free(&elf);
}
END_TEST

/* ---- real files, against readelf ---------------------------------------------------- */

static const char *const real_files[] = {
	"/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
	"/usr/lib/x86_64-linux-gnu/libc.so.6",
	"/usr/lib/x86_64-linux-gnu/libm.so.6",
	"/lib64/ld-linux-x86-64.so.2",
	"/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0",
	"/usr/bin/python3",
	"/usr/lib/postgresql/15/bin/postgres",
	"/usr/lib/gcc/x86_64-linux-gnu/12/lto-wrapper",
	"/usr/bin/gdb",
	"/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so",
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct lines {
	char **line;
	size_t n;
};

static void lines_add(struct lines *lines, const char *provider, const char *name, uint64_t location, uint64_t base,
                      uint64_t semaphore, const char *operands)
{
	lines->line = realloc(lines->line, (lines->n + 1) * sizeof(*lines->line));
	ck_assert_int_gt(asprintf(&lines->line[lines->n++], "%s:%s %llx %llx %llx %s", provider, name,
	                          (unsigned long long)location, (unsigned long long)base, (unsigned long long)semaphore,
	                          operands),
	                 0);
}

static void lines_free(struct lines *lines)
{
	for (size_t i = 0; i < lines->n; i++)
		free(lines->line[i]);
	free(lines->line);
}

static bool read_by_readelf(const char *path, struct lines *lines)
{
	char command[512], line[8192], provider[4096] = "", name[4096] = "";
	unsigned long long location = 0, base = 0, semaphore = 0;
	FILE *from;

	snprintf(command, sizeof(command), "LC_ALL=C readelf -n '%s' 2>/dev/null", path);
	from = popen(command, "r");
	while (from && fgets(line, sizeof(line), from)) {
		line[strcspn(line, "\n")] = '\0';
		sscanf(line, " Provider: %4095s", provider);
		sscanf(line, " Name: %4095s", name);
		sscanf(line, " Location: %llx, Base: %llx, Semaphore: %llx", &location, &base, &semaphore);
		if (strstr(line, "    Arguments: "))
			lines_add(lines, provider, name, location, base, semaphore,
			          strstr(line, "Arguments: ") + strlen("Arguments: "));
	}
	return from && pclose(from) == 0;
}

static void compare_with_readelf(const char *path, size_t *compared)
{
	struct lines theirs = { 0 }, ours = { 0 };
	struct pp_image *image, scratch = { .path = (char *)path };
	struct notes_filter all = { 0 };
	struct note *decoded;
	struct notes notes;
	struct elf_file file;
	size_t sites = 0;

	ck_assert_msg(read_by_readelf(path, &theirs), "readelf -n %s failed", path);
	ck_assert_int_eq(elf_file_open(path, &file), 0);
	ck_assert_int_eq(notes_read(&file, &all, &scratch, &notes), 0);
	decoded = calloc(notes.nnotes + 1, sizeof(*decoded));
	for (size_t i = 0; i < notes.nnotes; i++) {
		note_decode(&file, &notes, i, &decoded[i]);
		lines_add(&ours, decoded[i].provider, decoded[i].name, decoded[i].location, decoded[i].base,
		          decoded[i].semaphore, decoded[i].operands);
	}
	ck_assert_msg(ours.n == theirs.n, "%s: %zu notes, readelf has %zu", path, ours.n, theirs.n);
	if (ours.n) {
		qsort(ours.line, ours.n, sizeof(*ours.line), by_text);
		qsort(theirs.line, theirs.n, sizeof(*theirs.line), by_text);
	}
	for (size_t i = 0; i < ours.n; i++)
		ck_assert_str_eq(ours.line[i], theirs.line[i]);

	/* each note is a site */
	ck_assert_int_eq(pp_image_open(path, &image), 0);
	no_warnings(image);
	for (size_t i = 0; i < pp_image_probes(image); i++)
		for (size_t j = 0; j < pp_probe_sites(pp_image_probe(image, i)); j++) {
			const struct pp_site *site = pp_probe_site(pp_image_probe(image, i), j);
			struct operand operands[OPERANDS_MAX];
			bool found = false;

			for (size_t k = 0; k < notes.nnotes && !found; k++)
				found = decoded[k].location == site->address &&
				        decoded[k].semaphore == (site->has_semaphore ? site->semaphore : 0) &&
				        !strcmp(decoded[k].operands, site->operands) &&
				        !strcmp(decoded[k].provider, site->probe->provider) &&
				        !strcmp(decoded[k].name, site->probe->name);
			ck_assert(found);
			ck_assert_msg(operands_parse(image, site->operands, operands) >= 0, "%s", pp_error());
			ck_assert_msg(site->code[0] == 0x90, "%s: no nop at %#llx", path,
			              (unsigned long long)site->offset);
			sites++;
		}
	ck_assert_uint_le(sites, notes.nnotes);
	*compared += notes.nnotes;
	pp_image_free(image);
	free(decoded);
	notes_release(&notes);
	arena_release(&scratch.arena);
	elf_file_close(&file);
	lines_free(&ours);
	lines_free(&theirs);
}

START_TEST(real_ones)
{
	size_t compared = 0, files = 0;

	if (system("readelf --version >/dev/null 2>&1")) {
		printf("real_ones: skipped: readelf is not installed\n");
		return;
	}
	for (size_t i = 0; i < COUNT(real_files); i++) {
		if (access(real_files[i], R_OK))
			continue;
		compare_with_readelf(real_files[i], &compared);
		files++;
	}
	if (compared)
		printf("real_ones: %zu notes in %zu files as readelf has them\n", compared, files);
	else
		printf("real_ones: skipped: none of the known files with probes is installed\n");
}
END_TEST

START_TEST(real_one_cut)
{
	struct stat stat;
	struct elf copy = { 0 };
	unsigned state = 1;
	int fd = -1;

	for (size_t i = 0; i < COUNT(real_files) && fd < 0; i++)
		fd = open(real_files[i], O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		printf("real_one_cut: skipped: none of the libraries to cut is installed\n");
		return;
	}
	ck_assert_int_eq(fstat(fd, &stat), 0);
	copy.file.n = (size_t)stat.st_size;
	copy.file.data = malloc(copy.file.n);
	ck_assert_int_eq(pread(fd, copy.file.data, copy.file.n, 0), (ssize_t)copy.file.n);
	close(fd);
	elf_write(&copy, copy.file.n);
	for (size_t n = copy.file.n; n > 0;) { /* each byte of the section headers, then in steps */
		n -= copy.file.n - n < 3000                   ? 1
		     : (size_t)rand_r(&state) % 20000 + 1 < n ? (size_t)rand_r(&state) % 20000 + 1
		                                              : n;
		ck_assert_int_eq(ftruncate(copy.fd, (off_t)n), 0);
		exercise(copy.path);
	}
	elf_free(&copy);
}
END_TEST

/* Compiles a program with probes, or an object file. The caller frees copy. */
static bool real_one_compile(struct elf *copy, const char *option)
{
	char path[] = "/tmp/probepoint-image.XXXXXX", command[512];
	int fd = mkstemp(path);
	struct stat stat;

	snprintf(command, sizeof(command),
	         "printf '#include <sys/sdt.h>\nint g; int main(int n, char **v)"
	         "{ STAP_PROBE3(a, b, n, *v, g); STAP_PROBE(a, c); return 0; }' | "
	         "${CC:-gcc} -O1 -g -Iinclude -xc - %s -o %s",
	         option, path);
	if (fd < 0 || system(command))
		return false;
	close(fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fstat(fd, &stat), 0);
	copy->file.n = (size_t)stat.st_size;
	copy->file.data = malloc(copy->file.n);
	ck_assert_int_eq(pread(fd, copy->file.data, copy->file.n, 0), (ssize_t)copy->file.n);
	close(fd);
	unlink(path);
	return true;
}

/* Changes each byte of a real file, one at a time. With PROBEPOINT_LONG each bit too. No file takes a second. */
START_TEST(real_one_flipped)
{
	static const unsigned char masks[] = { 0xff, 1, 2, 4, 8, 16, 32, 64, 128 };
	struct elf copy = { 0 };
	bool is_long = getenv("PROBEPOINT_LONG");
	struct timespec before, after;

	if (!real_one_compile(&copy, _i ? "-c" : "")) {
		printf("real_one_flipped: skipped: no compiler\n");
		return;
	}
	elf_write(&copy, copy.file.n);
	for (size_t at = 0; at < copy.file.n; at += is_long ? 1 : 7) {
		for (size_t i = 0; i < (is_long ? COUNT(masks) : 1); i++) {
			unsigned char byte = copy.file.data[at] ^ masks[i];

			ck_assert_int_eq(pwrite(copy.fd, &byte, 1, (off_t)at), 1);
			clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
			exercise(copy.path);
			clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
			ck_assert_msg(after.tv_sec - before.tv_sec < 2, "byte %zu ^ %#x takes a second", at, masks[i]);
		}
		ck_assert_int_eq(pwrite(copy.fd, copy.file.data + at, 1, (off_t)at), 1);
	}
	elf_free(&copy);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("image");
	TCase *tcase = tcase_create("image");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 300);
	tcase_add_test(tcase, probes_and_sites);
	tcase_add_test(tcase, equal_sites);
	tcase_add_test(tcase, far_sites);
	tcase_add_test(tcase, matching);
	tcase_add_test(tcase, matching_with_many_semaphores);
	tcase_add_test(tcase, prelink);
	tcase_add_test(tcase, floats);
	tcase_add_loop_test(tcase, machines, 0, 2);
	tcase_add_test(tcase, no_notes);
	tcase_add_test(tcase, build_ids);
	tcase_add_test(tcase, symbols);
	tcase_add_test(tcase, symbols_of_another_file);
	tcase_add_test(tcase, offsets);
	tcase_add_test(tcase, patterns);
	tcase_add_test(tcase, declarations);
	tcase_add_test(tcase, arguments);
	tcase_add_loop_test(tcase, functions, 0, 2);
	tcase_add_test(tcase, disputed_signatures);
	tcase_add_test(tcase, disputed_function);
	tcase_add_test(tcase, signature_with_too_few_arguments);
	tcase_add_test(tcase, newer_notes);
	tcase_add_test(tcase, not_probed_files);
	tcase_add_test(tcase, bad_notes);
	tcase_add_test(tcase, rounded_sizes);
	tcase_add_test(tcase, bad_strings);
	tcase_add_test(tcase, bad_signatures);
	tcase_add_test(tcase, bad_signatures_of_a_unit);
	tcase_add_test(tcase, many_warnings);
	tcase_add_test(tcase, shrinking_file);
	tcase_add_test(tcase, segment_tables);
	tcase_add_test(tcase, overlapping_sections);
	tcase_add_loop_test(tcase, cut_anywhere, 0, 2);
	tcase_add_loop_test(tcase, damaged_anywhere, 0, 4);
	tcase_add_test(tcase, real_ones);
	tcase_add_test(tcase, real_one_cut);
	tcase_add_loop_test(tcase, real_one_flipped, 0, 2);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
