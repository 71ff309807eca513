/* SPDX-License-Identifier: MIT */
/*
 * Random expressions over the arguments of a site, and the memory that they read. Include it after programs.h and
 * tests/kernel/hit.h.
 */
#ifndef TESTS_UNIT_EXPRESSIONS_H
#define TESTS_UNIT_EXPRESSIONS_H

#include <check.h>
#include <elf.h>
#include <sys/mman.h>

#include "sdt/image.h"
#include "tests/kernel/hit.h"
#include "tests/unit/programs.h"

#define PAGE 4096

/* ---- memory and registers ---- */

static char *memory;                 /* two pages of bytes, between pages that cannot be read */
static uint64_t word_copies[NWORDS]; /* addresses of the words, in a page of their own */
static uint64_t registers[17];

/*
 * Expressions can add a constant to an address, and read there. What they read must be the same for the kernel and for
 * the interpreter, so counters of this program must not be there. Most constants have 32 bits, so the memory is far
 * from all other mappings, if the address is free.
 */
#define FAR_AWAY ((void *)(1ul << 36))

static void map_memory(void)
{
	char *at = mmap(FAR_AWAY, 6 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(at, MAP_FAILED);
	memory = at + PAGE;
	at += 4 * PAGE;
	ck_assert(!mprotect(memory, 2 * PAGE, PROT_READ | PROT_WRITE));
	ck_assert(!mprotect(at, PAGE, PROT_READ | PROT_WRITE));
	for (size_t i = 0; i < NWORDS; i++) {
		word_copies[i] = (uint64_t)at;
		at = stpcpy(at, words[i]) + 1;
	}
}

static uint64_t some_address(void)
{
	switch (below(12)) {
	case 0: return interesting();
	case 1: return (uint64_t)memory - below(140);
	case 2: return (uint64_t)memory + 2 * PAGE - below(10);
	case 3: return (uint64_t)memory + PAGE - below(140);
	case 4: return (uint64_t)memory + 2 * PAGE - below(200);
	case 5: return word_copies[below(NWORDS)];
	case 6: return random_bits() | 1ull << 63; /* the kernel's half of the address space */
	default: return (uint64_t)memory + below(2 * PAGE);
	}
}

static void new_registers(void)
{
	for (int i = 0; i < 16; i++)
		registers[i] = below(2) ? some_address() : interesting();
	registers[4] = hit_canonical(registers[4]);
	registers[16] = (uint64_t)hit_here;
}

/* The last register is the program counter. The code around it does not change while it is armed. */
static void near_register(struct maker *m)
{
	step(m, FETCH_REG, below(PROGRAM_REGISTERS), 0, 0, 0);
	if (below(2)) {
		step(m, FETCH_IMM, 0, 0, 0, (int64_t)below(64) - 32);
		step(m, FETCH_ADD, 0, 0, 0, 0);
	}
}

/* ---- expressions ---- */

static struct pp_field fields[] = {
	{ "b", "signed char", 'i', 0, 0, 3, 1 },   { "h", "unsigned short", 'u', 0, 0, 5, 2 },
	{ "i", "int", 'i', 0, 0, 8, 4 },           { "l", "unsigned long", 'u', 0, 0, 0, 8 },
	{ "s", "const char *", 's', 0, 0, 16, 8 }, { "t", "char [8]", 'x', 0, 0, 24, 8 },
	{ "far", "long", 'i', 5, 60, 33, 9 },      { "bit", "unsigned", 'u', 7, 1, 42, 1 },
	{ "five", "int", 'i', 3, 30, 44, 5 },      { "before", "int", 'i', 0, 0, 0xffffff00, 4 },
};
static struct pp_enumerator states[] = { { "UP", 1 }, { "DOWN", -1 } };
static struct pp_type type = { .name = "struct r", .fields = fields, .nfields = sizeof(fields) / sizeof(*fields) };
static struct pp_type state = { .name = "enum s", .values = states, .nvalues = 2 };
static struct pp_arg filter_args[] = {
	{ "r", "struct r *", 'p', &type, 0 },
	{ "q", "struct r *", 'p', &type, 0 },
	{ "e", "enum s", 'i', &state, 0 },
};
static struct pp_image filter_image = { .path = "it", .machine = EM_X86_64, .is_64 = true };
static struct pp_probe filter_probe = {
	.image = &filter_image, .provider = "it", .name = "here", .args = filter_args, .nargs = 3
};
static struct pp_site filter_site = { .probe = &filter_probe, .operands = "8@%rdi 8@8(%rsi) -4@%edx" };

static void put_expression(char **to, int depth)
{
	static const char *const integers[] = { "r->b",
		                                "r->h",
		                                "r->i",
		                                "r->l",
		                                "q->far",
		                                "r->far",
		                                "r->bit",
		                                "q->five",
		                                "r->five",
		                                "r->before",
		                                "q->l",
		                                "e",
		                                "UP",
		                                "DOWN",
		                                "pid",
		                                "0",
		                                "1",
		                                "-1",
		                                "255",
		                                "r",
		                                "(r->s == \"ab\")",
		                                "(r->s =~ \"a*\")",
		                                "(q->t == \"abc\")",
		                                "(r->t =~ \"G*\")",
		                                "(comm == \"a\")" };
	static const char *const operators[] = { "+",  "-",  "&&", "||", "&&", "||", "<",
		                                 ">=", "==", "!=", "&",  "|",  ">>", "%" };

	if (!depth || below(5) == 0) {
		*to += sprintf(*to, "%s", integers[below(sizeof(integers) / sizeof(*integers))]);
		return;
	}
	*to += sprintf(*to, "%s(", below(4) ? "" : "!");
	put_expression(to, depth - 1);
	*to += sprintf(*to, " %s ", operators[below(sizeof(operators) / sizeof(*operators))]);
	put_expression(to, depth - 1);
	*to += sprintf(*to, ")");
}

#endif
