/* SPDX-License-Identifier: MIT */
/*
 * A libFuzzer target: any text as a filter. What compiles must keep the rules of
 * fetch programs, and can be run. Built with
 *
 *     clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -DPP_VERSION='""' -Iinclude -I. \
 *         tests/fuzz_filter.c runtime/fetch.c runtime/filter.c runtime/filter-token.c $(find sdt -name '*.c') -lelf
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/filter.h"
#include "sdt/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pp_arg args[] = {
	{ "i", "int", 'i' },          { "u", "unsigned long", 'u' }, { "s", "char *", 's' },
	{ "p", "void *", 'p' },       { "f", "double", 'f' },        { "c", "char", 'c' },
};
static struct pp_image image = { .path = "it", .machine = EM_X86_64, .is_64 = true };
static struct pp_probe probe = { .image = &image, .provider = "it", .name = "here", .args = args, .nargs = 6 };
static struct pp_site site = {
	.probe = &probe,
	.operands = "-4@-4(%rbp) 8@8(%rdx,%rcx,8) 8@%rsi 8@%rdi 8@%r8 -1@%ah 8@%r9",
};

/* One byte in eight is a NUL; one address in sixteen cannot be read. */
static int read_memory(void *arg, uint64_t address, void *to, size_t size)
{
	(void)arg;
	memset(to, 0, size);
	if (address % 16 == 15)
		return -1;
	for (size_t i = 0; i < size; i++)
		((char *)to)[i] = (address + i) % 8 ? 'a' + (address + i) % 3 : 0;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t registers[17] = { 0x1234, 3, 0x1000, 4, 5, 0x2004, 0x3001, 0x300f, 8, 0x3008 };
	struct fetch_machine machine = { .registers = registers, .read = read_memory, .pid = 7, .tid = 8, .comm = "a" };
	union {
		struct record record;
		char room[RECORD_SIZE_MAX];
	} out;
	struct fetch_program program;
	char *expr = malloc(size + 1);
	uint8_t *depths;

	memcpy(expr, data, size);
	expr[size] = 0;
	if (fetch_compile(&site, &program))
		abort();
	if (!filter_compile(expr, &site, &program)) {
		depths = malloc(program.nsteps);
		if (fetch_check(&program, 17, depths))
			abort();
		fetch_run(&program, &machine, &out.record);
		free(depths);
	}
	fetch_release(&program);
	free(expr);
	return 0;
}
