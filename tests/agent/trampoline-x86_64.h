/* SPDX-License-Identifier: MIT */
/* For unit/trampoline.c: reaches a site with known values in all registers, and stores the registers after it. */
#define TRAMPOLINE_STACK REGISTER_SP
#define TRAMPOLINE_ONE 7 /* registers that tests use */
#define TRAMPOLINE_TWO 6
#define TRAMPOLINE_SCRATCH 0
#define TRAMPOLINE_GENERAL 16 /* registers that are compared */
#define STACK_ALIGN 1
#define FLAGS 0x8d5

uint64_t trampoline_registers[17], trampoline_got[17], trampoline_flags, trampoline_flags_got, trampoline_own_stack;
uint8_t trampoline_vectors[16][16], trampoline_vectors_got[16][16];

__asm__(".pushsection .text\n"
        "trampoline_run:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "mov %rsp, trampoline_own_stack(%rip)\n"
        "lea trampoline_vectors(%rip), %rax\n"
        "movdqu (%rax), %xmm0; movdqu 16(%rax), %xmm1; movdqu 32(%rax), %xmm2; movdqu 48(%rax), %xmm3\n"
        "movdqu 240(%rax), %xmm15\n"
        "push trampoline_flags(%rip); popf\n"
        "lea trampoline_registers(%rip), %rax\n"
        "mov 8(%rax), %rcx; mov 16(%rax), %rdx; mov 24(%rax), %rbx; mov 32(%rax), %rsp; mov 40(%rax), %rbp\n"
        "mov 48(%rax), %rsi; mov 56(%rax), %rdi; mov 64(%rax), %r8; mov 72(%rax), %r9; mov 80(%rax), %r10\n"
        "mov 88(%rax), %r11; mov 96(%rax), %r12; mov 104(%rax), %r13; mov 112(%rax), %r14; mov 120(%rax), %r15\n"
        "mov (%rax), %rax\n"
        "jmp *trampoline_site(%rip)\n"
        "trampoline_back:\n"
        "mov %rax, trampoline_got(%rip)\n"
        "mov %rsp, 32+trampoline_got(%rip)\n"
        "mov trampoline_own_stack(%rip), %rsp\n"
        "lea trampoline_got(%rip), %rax\n"
        "mov %rcx, 8(%rax); mov %rdx, 16(%rax); mov %rbx, 24(%rax); mov %rbp, 40(%rax)\n"
        "mov %rsi, 48(%rax); mov %rdi, 56(%rax); mov %r8, 64(%rax); mov %r9, 72(%rax); mov %r10, 80(%rax)\n"
        "mov %r11, 88(%rax); mov %r12, 96(%rax); mov %r13, 104(%rax); mov %r14, 112(%rax); mov %r15, 120(%rax)\n"
        "pushf; pop trampoline_flags_got(%rip)\n"
        "lea trampoline_vectors_got(%rip), %rax\n"
        "movdqu %xmm0, (%rax); movdqu %xmm1, 16(%rax); movdqu %xmm2, 32(%rax); movdqu %xmm3, 48(%rax)\n"
        "movdqu %xmm15, 240(%rax)\n"
        "cld\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "ret\n"
        ".popsection");

static void trampoline_flags_random(uint64_t random)
{
	trampoline_flags = 0x202 | (random & FLAGS);
}

static void trampoline_vectors_random(uint64_t (*random)(void))
{
	for (size_t i = 0; i < sizeof(trampoline_vectors); i++)
		((uint8_t *)trampoline_vectors)[i] = random();
}

/* Returns the first vector register that changed, or -1. */
static int trampoline_vectors_differ(void)
{
	for (int i = 0; i < 16; i++)
		if ((i < 4 || i == 15) && memcmp(trampoline_vectors[i], trampoline_vectors_got[i], 16))
			return i;
	return -1;
}

/* Writes a site that jumps to the trampoline, and after it a jump to trampoline_back. */
static void trampoline_site_make(uint8_t *site, const uint8_t *trampoline)
{
	static const uint8_t nop[11] = { 0x90, 0xe9 };
	uint8_t back[14] = { 0xff, 0x25 };
	void *to = trampoline_back;
	int32_t disp = trampoline - (site + 6);

	memcpy(site, nop, sizeof(nop));
	memcpy(site + 2, &disp, 4);
	memcpy(back + 6, &to, 8);
	memcpy(site + 11, back, sizeof(back));
	trampoline_site = site;
}
