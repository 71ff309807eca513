/* SPDX-License-Identifier: MIT */
/* For unit/trampoline.c: reaches a site with known values in all registers, and stores the registers after it. */
#include <sys/auxv.h>

#define TRAMPOLINE_STACK REGISTER_SP
#define TRAMPOLINE_ONE 0
#define TRAMPOLINE_TWO 1
#define TRAMPOLINE_SCRATCH 5
#define TRAMPOLINE_GENERAL 32
#define STACK_ALIGN 16
#define FLAGS 0xf0000000u

uint64_t trampoline_registers[33], trampoline_got[33], trampoline_flags, trampoline_flags_got, trampoline_own_stack,
	trampoline_has_sve, trampoline_vector_size;
uint8_t trampoline_vectors[32 * 256], trampoline_vectors_got[32 * 256], trampoline_predicates[17 * 32],
	trampoline_predicates_got[17 * 32];

/* clang-format off */
#define PAIRS(F)                                                                            \
	F(2, 3) F(4, 5) F(6, 7) F(8, 9) F(10, 11) F(12, 13) F(14, 15) F(18, 19) F(20, 21)   \
	F(22, 23) F(24, 25) F(26, 27) F(28, 29)
#define LOAD(a, b) "ldp x" #a ", x" #b ", [x0, #8 * " #a "]\n"
#define STORE(a, b) "stp x" #a ", x" #b ", [x0, #8 * " #a "]\n"
#define EACH(F)                                                                             \
	F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14)     \
	F(15) F(16) F(17) F(18) F(19) F(20) F(21) F(22) F(23) F(24) F(25) F(26) F(27) F(28) \
	F(29) F(30) F(31)
#define SIXTEEN(F)                                                                          \
	F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
#define Q_LOAD(n) "ldr q" #n ", [x0, #16 * " #n "]\n"
#define Q_STORE(n) "str q" #n ", [x0, #16 * " #n "]\n"
#define Z_LOAD(n) "ldr z" #n ", [x0, #" #n ", mul vl]\n"
#define Z_STORE(n) "str z" #n ", [x0, #" #n ", mul vl]\n"
#define P_LOAD(n) "ldr p" #n ", [x1, #" #n ", mul vl]\n"
#define P_STORE(n) "str p" #n ", [x1, #" #n ", mul vl]\n"
#define ADDRESS(reg, name) "adrp " #reg ", " #name "\nadd " #reg ", " #reg ", :lo12:" #name "\n"

/*
 * The instruction before the site restores x17 from below the stack pointer. The code
 * after the site stores x16 and x17 there.
 */
__asm__(".pushsection .text\n"
        ".arch_extension sve\n"
        ".globl trampoline_run, trampoline_back, trampoline_rdvl\n"
        ".type trampoline_run, %function\n"
        ".type trampoline_back, %function\n"
        ".type trampoline_rdvl, %function\n"
        "trampoline_run:\n"
        "stp x29, x30, [sp, #-160]!\n"
        "stp x19, x20, [sp, #16]\nstp x21, x22, [sp, #32]\nstp x23, x24, [sp, #48]\n"
        "stp x25, x26, [sp, #64]\nstp x27, x28, [sp, #80]\nstp d8, d9, [sp, #96]\n"
        "stp d10, d11, [sp, #112]\nstp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\n"
        "mov x2, sp\n"
        ADDRESS(x0, trampoline_own_stack) "str x2, [x0]\n"
        ADDRESS(x0, trampoline_has_sve) "ldr x2, [x0]\n"
        ADDRESS(x0, trampoline_vectors)
        ADDRESS(x1, trampoline_predicates)
        "cbnz x2, 1f\n"
        EACH(Q_LOAD)
        "b 2f\n"
        "1: ldr p0, [x1, #16, mul vl]\nwrffr p0.b\n"
        EACH(Z_LOAD)
        SIXTEEN(P_LOAD)
        "2:\n"
        ADDRESS(x0, trampoline_flags) "ldr x1, [x0]\nmsr nzcv, x1\n"
        ADDRESS(x0, trampoline_registers) "ldr x1, [x0, #8 * 31]\nmov sp, x1\n"
        "ldp x16, x17, [x0, #8 * 16]\nstr x17, [sp, #-8]\n"
        ADDRESS(x17, trampoline_site) "ldr x17, [x17]\nsub x17, x17, #4\n"
        "ldr x30, [x0, #8 * 30]\n"
        PAIRS(LOAD)
        "ldp x0, x1, [x0]\n"
        "br x17\n"
        "trampoline_back:\n"
        "stp x0, x1, [sp, #-32]\n"
        ADDRESS(x0, trampoline_got) "str x30, [x0, #8 * 30]\n"
        PAIRS(STORE)
        "mov x1, sp\nstr x1, [x0, #8 * 31]\n"
        "ldp x2, x3, [sp, #-16]\nstp x2, x3, [x0, #8 * 16]\n"
        "ldp x2, x3, [sp, #-32]\nstp x2, x3, [x0]\n"
        ADDRESS(x0, trampoline_flags_got) "mrs x1, nzcv\nstr x1, [x0]\n"
        ADDRESS(x0, trampoline_has_sve) "ldr x2, [x0]\n"
        ADDRESS(x0, trampoline_vectors_got)
        ADDRESS(x1, trampoline_predicates_got)
        "cbnz x2, 1f\n"
        EACH(Q_STORE)
        "b 2f\n"
        "1:"
        EACH(Z_STORE)
        SIXTEEN(P_STORE)
        "rdffr p0.b\nstr p0, [x1, #16, mul vl]\n"
        "2:\n"
        ADDRESS(x0, trampoline_own_stack) "ldr x0, [x0]\nmov sp, x0\n"
        "ldp x19, x20, [sp, #16]\nldp x21, x22, [sp, #32]\nldp x23, x24, [sp, #48]\n"
        "ldp x25, x26, [sp, #64]\nldp x27, x28, [sp, #80]\nldp d8, d9, [sp, #96]\n"
        "ldp d10, d11, [sp, #112]\nldp d12, d13, [sp, #128]\nldp d14, d15, [sp, #144]\n"
        "ldp x29, x30, [sp], #160\n"
        "ret\n"
        "trampoline_rdvl: rdvl x0, #1\n"
        "ret\n"
        ".popsection");
/* clang-format on */

uint64_t trampoline_rdvl(void);

static void trampoline_flags_random(uint64_t random)
{
	trampoline_flags = random & FLAGS;
}

static void trampoline_vectors_random(uint64_t (*random)(void))
{
	trampoline_has_sve = !!(getauxval(AT_HWCAP) & 1u << 22);
	trampoline_vector_size = trampoline_has_sve ? trampoline_rdvl() : 16;
	for (size_t i = 0; i < 32 * trampoline_vector_size; i++)
		trampoline_vectors[i] = random();
	for (size_t i = 0; i < sizeof(trampoline_predicates); i++)
		trampoline_predicates[i] = i < 2 * trampoline_vector_size ? random() : 0;
}

/* Returns the first vector register that changed, 100 for a predicate, -1 for none. */
static int trampoline_vectors_differ(void)
{
	for (unsigned i = 0; i < 32; i++)
		if (memcmp(&trampoline_vectors[i * trampoline_vector_size],
		           &trampoline_vectors_got[i * trampoline_vector_size], trampoline_vector_size))
			return i;
	if (trampoline_has_sve &&
	    memcmp(trampoline_predicates, trampoline_predicates_got, sizeof(trampoline_predicates)))
		return 100;
	return -1;
}

/* Writes a site that jumps to the trampoline, and after it a jump to trampoline_back. */
static void trampoline_site_make(uint8_t *site, const uint8_t *trampoline)
{
	uint32_t before = 0xf85f83f1; /* ldr x17, [sp, -8] */
	uint32_t code[] = {
		0x14000000 | ((trampoline - site) / 4 & 0x3ffffff), /* b trampoline */
		0xa93f47f0,                                         /* stp x16, x17, [sp, -16] */
		0x58000050,                                         /* ldr x16, .+8 */
		0xd61f0200,                                         /* br x16 */
	};
	void *to = trampoline_back;

	memcpy(site - 4, &before, 4);
	memcpy(site, code, sizeof(code));
	memcpy(site + sizeof(code), &to, 8);
	cpu_code_written(site - 4, 64);
	trampoline_site = site;
}
