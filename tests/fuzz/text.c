/* SPDX-License-Identifier: MIT */
/*
 * A libFuzzer target (tests/fuzz/run.sh) for texts in files. The first byte chooses how the rest is read: as the
 * operands of one of seven CPUs, or as a C++ name, a newline and a pattern. If the environment
 * has SEEDS=DIR, it first writes valid texts to DIR.
 */
#include "sdt/cxx-name.h"
#include "sdt/image.h"
#include "sdt/operand.h"
#include "tests/unit/elf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CPUS 7

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
	uint16_t machine;
	bool is_32, big;
	const char *text;
} cpus[CPUS] = {
	{ EM_X86_64, false, false, "-4@%edi 8@-16(%rbp) 8@g+4(%rip) 8@(%rdx,%rdi,4) 1@%ah 4@$-7 8@%fs:-8" },
	{ EM_386, true, false, "-4@$-1 2@g@GOTOFF(%ebx) 4@-4@g 1@%ch 4@-12+3+1(%ebp)" },
	{ EM_AARCH64, false, false, "8@x0 4@[sp, #16] 8@[x0, #:lo12:g] 4@[x1, w2, sxtw 2] 8@7" },
	{ EM_ARM, true, false, "4@r0 4@[sp, #16] 4@#5 -1@[r1, r2]" },
	{ EM_PPC64, false, false, "8@9 4@i5 8@-88(31) 8@9,10 8@g+8" },
	{ EM_S390, false, true, "8@%r2 4@160(%r15) 8@0(%r1,%r2) -4@-5" },
	{ EM_RISCV, false, false, "8@a0 4@-88(s0) 8@%lo(g+4)(a5) -2@7" },
};

static struct pp_image *images[CPUS];

static void seed(const char *directory, int i, const char *text)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/text-%d", directory, i);
	file = fopen(path, "w");
	if (!file)
		return;
	fputc(i, file);
	fputs(text, file);
	fclose(file);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *directory = getenv("SEEDS");

	(void)argc;
	(void)argv;
	for (int i = 0; i < CPUS; i++) {
		struct elf elf = { .is_32 = cpus[i].is_32, .big = cpus[i].big, .machine = cpus[i].machine };
		uint64_t address;

		elf_symbol(&elf, "g", DATA, 8, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT));
		elf_symbol(&elf, "_GLOBAL_OFFSET_TABLE_", DATA + 64, 8, ELF64_ST_INFO(STB_LOCAL, STT_OBJECT));
		if (pp_image_open(elf_path(&elf), &images[i]) || image_symbol(images[i], "g", &address))
			abort();
		elf_free(&elf);
		if (directory)
			seed(directory, i, cpus[i].text);
	}
	if (directory)
		seed(directory, CPUS,
		     "std::vector<int, std::allocator<int> > shop::Cart::add(char const*, int) const\nshop::Cart::a*(const char *, int)");
	return 0;
}

/* Checks the limits that users of an operand rely on. */
static void check_operand(const struct operand *o, const struct cpu *cpu)
{
	if ((o->size != 1 && o->size != 2 && o->size != 4 && o->size != 8) || o->reg < -1 || o->index < -1 ||
	    (o->reg >= 0 && (size_t)o->reg >= cpu->numbers) || (o->index >= 0 && (size_t)o->index >= cpu->numbers) ||
	    (o->kind == OPERAND_REG && o->reg < 0) || o->shift > 8)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct operand operands[OPERANDS_MAX];
	char *text, *pattern;
	size_t nbad;
	int which, n;

	if (!size)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	if (!text)
		return 0;
	which = data[0] % (CPUS + 1);
	if (which < CPUS) {
		n = operands_read(images[which], text, operands, &nbad);
		for (int i = 0; i < n; i++)
			check_operand(&operands[i], cpu_of(images[which]->machine, images[which]->is_64));
	} else {
		pattern = strchr(text, '\n');
		if (pattern) {
			*pattern++ = '\0';
			pattern_colon(pattern);
			cxx_matches_probe(pattern, text);
			cxx_matches_demangled(pattern, text);
		}
	}
	free(text);
	return 0;
}
