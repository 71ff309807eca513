/* SPDX-License-Identifier: MIT */
/* For unit/trampoline.c: how a site is reached with every register set, and what is found in them behind it. */
#define SLOT_STACK 4 /* the stack pointer */
#define SLOT_ONE 7   /* some others */
#define SLOT_TWO 6
#define SLOT_SCRATCH 0
#define SLOT_GENERAL 16 /* registers that are compared */
#define RED_ZONE 128
#define STACK_ALIGN 1
#define FLAGS 0x8d5

uint64_t slot_registers[17], slot_got[17], slot_flags, slot_flags_got, slot_own_stack;
uint8_t slot_vectors[16][16], slot_vectors_got[16][16];

__asm__(".pushsection .text\n"
        "slot_run:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "mov %rsp, slot_own_stack(%rip)\n"
        "lea slot_vectors(%rip), %rax\n"
        "movdqu (%rax), %xmm0; movdqu 16(%rax), %xmm1; movdqu 32(%rax), %xmm2; movdqu 48(%rax), %xmm3\n"
        "movdqu 240(%rax), %xmm15\n"
        "push slot_flags(%rip); popf\n"
        "lea slot_registers(%rip), %rax\n"
        "mov 8(%rax), %rcx; mov 16(%rax), %rdx; mov 24(%rax), %rbx; mov 32(%rax), %rsp; mov 40(%rax), %rbp\n"
        "mov 48(%rax), %rsi; mov 56(%rax), %rdi; mov 64(%rax), %r8; mov 72(%rax), %r9; mov 80(%rax), %r10\n"
        "mov 88(%rax), %r11; mov 96(%rax), %r12; mov 104(%rax), %r13; mov 112(%rax), %r14; mov 120(%rax), %r15\n"
        "mov (%rax), %rax\n"
        "jmp *slot_site(%rip)\n"
        "slot_back:\n"
        "mov %rax, slot_got(%rip)\n"
        "mov %rsp, 32+slot_got(%rip)\n"
        "mov slot_own_stack(%rip), %rsp\n"
        "lea slot_got(%rip), %rax\n"
        "mov %rcx, 8(%rax); mov %rdx, 16(%rax); mov %rbx, 24(%rax); mov %rbp, 40(%rax)\n"
        "mov %rsi, 48(%rax); mov %rdi, 56(%rax); mov %r8, 64(%rax); mov %r9, 72(%rax); mov %r10, 80(%rax)\n"
        "mov %r11, 88(%rax); mov %r12, 96(%rax); mov %r13, 104(%rax); mov %r14, 112(%rax); mov %r15, 120(%rax)\n"
        "pushf; pop slot_flags_got(%rip)\n"
        "lea slot_vectors_got(%rip), %rax\n"
        "movdqu %xmm0, (%rax); movdqu %xmm1, 16(%rax); movdqu %xmm2, 32(%rax); movdqu %xmm3, 48(%rax)\n"
        "movdqu %xmm15, 240(%rax)\n"
        "cld\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "ret\n"
        ".popsection");

static void slot_flags_random(uint64_t random)
{
	slot_flags = 0x202 | (random & FLAGS);
}

static void slot_vectors_random(uint64_t (*random)(void))
{
	for (size_t i = 0; i < sizeof(slot_vectors); i++)
		((uint8_t *)slot_vectors)[i] = random();
}

/* -1: all are what they were; else the first that is not. */
static int slot_vectors_differ(void)
{
	for (int i = 0; i < 16; i++)
		if ((i < 4 || i == 15) && memcmp(slot_vectors[i], slot_vectors_got[i], 16))
			return i;
	return -1;
}

/* A site that jumps to the slot, and behind it a jump to slot_back. */
static void slot_site_make(uint8_t *site, const uint8_t *slot)
{
	static const uint8_t nop[11] = { 0x90, 0xe9 };
	uint8_t back[14] = { 0xff, 0x25 };
	void *to = slot_back;
	int32_t disp = slot - (site + 6);

	memcpy(site, nop, sizeof(nop));
	memcpy(site + 2, &disp, 4);
	memcpy(back + 6, &to, 8);
	memcpy(site + 11, back, sizeof(back));
	slot_site = site;
}
