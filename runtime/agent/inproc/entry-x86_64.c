/* SPDX-License-Identifier: MIT */
/*
 * The entries from trampolines into C.
 *
 * 1. rax is the address; rdi, rsi, rdx and rcx are arguments as in C. The frame pointer
 *    is the last argument; FRAME_TO_STACK in cpu.h counts what is above it.
 * 2. All registers but rax and rcx are kept. The zero flag is clear if there was a
 *    fault.
 * 3. The C code uses no vector register (build.mk). entry_take() enters the C library,
 *    so it keeps them by fxsave.
 */
#include "runtime/agent/inproc/hit-aggregate.h"

void entry_prepare(void)
{
}

/* clang-format off */
#define ENTRY(name, function, before, after)                                                        \
	__asm__(".pushsection .text\n"                                                              \
	        ".globl " #name "\n.hidden " #name "\n.type " #name ", @function\n.p2align 4\n"     \
	        #name ":\n"                                                                         \
	        "endbr64\n"                                                                         \
	        "push %rbp\nmov %rsp, %rbp\n"                                                       \
	        "push %rdi\npush %rsi\npush %rdx\npush %r8\npush %r9\npush %r10\npush %r11\n"       \
	        before                                                                              \
	        "and $-16, %rsp\n"                                                                  \
	        "mov %rax, %r8\nmov %rbp, %r9\n"                                                    \
	        "call " #function "\n"                                                              \
	        after                                                                               \
	        "test %edx, %edx\n"                                                                 \
	        "lea -56(%rbp), %rsp\n"                                                             \
	        "pop %r11\npop %r10\npop %r9\npop %r8\npop %rdx\npop %rsi\npop %rdi\n"              \
	        "pop %rbp\n"                                                                        \
	        "ret\n"                                                                             \
	        ".size " #name ", . - " #name "\n"                                                  \
	        ".popsection")

ENTRY(entry_load, trampoline_load, "", "");
ENTRY(entry_string, trampoline_string, "", "");
ENTRY(entry_match, trampoline_match, "", "");
ENTRY(entry_comm, trampoline_comm, "", "");
ENTRY(entry_now, trampoline_now, "", "");
ENTRY(entry_late, trampoline_late, "", "");
ENTRY(entry_shrink, trampoline_shrink, "", "");
ENTRY(entry_begin, trampoline_begin, "", "");
ENTRY(entry_end, trampoline_end, "", "");
ENTRY(entry_hash, trampoline_hash, "", "");
ENTRY(entry_token, trampoline_token, "", "");
ENTRY(entry_room, trampoline_room, "", "");
ENTRY(entry_aggregate, trampoline_aggregate, "", "");
ENTRY(entry_unread, trampoline_unread, "", "");
ENTRY(entry_keystr, trampoline_keystr, "", "");
ENTRY(entry_keycomm, trampoline_keycomm, "", "");
ENTRY(entry_keystack, trampoline_keystack, "", "");
ENTRY(entry_cpu, trampoline_cpu, "", "");
ENTRY(entry_take, trampoline_take, "sub $528, %rsp\nand $-16, %rsp\nfxsave64 (%rsp)\nsub $16, %rsp\n",
      "fxrstor64 16(%rsp)\n");
