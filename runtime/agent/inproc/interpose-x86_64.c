/* SPDX-License-Identifier: MIT */
/*
 * dlopen() and syscall(), which interpose.c cannot write in C: both pass the call on to
 * the C library's function by a jump, as if the program had called that function.
 */
#include <asm/unistd.h>

#include "runtime/agent/inproc/thread.h"

/* clang-format off */

/* interpose_dlopen() either does the call, or returns the function to jump to. */
__asm__(".pushsection .text\n"
        ".globl dlopen\n.type dlopen, @function\n.p2align 4\n"
        "dlopen:\n"
        ".cfi_startproc\n"
        "endbr64\n"
        "push %rdi\n"
        ".cfi_adjust_cfa_offset 8\n"
        "push %rsi\n"
        ".cfi_adjust_cfa_offset 8\n"
        "sub $8, %rsp\n"
        ".cfi_adjust_cfa_offset 8\n"
        "mov 24(%rsp), %rdx\n"
        "call interpose_dlopen\n"
        "add $8, %rsp\n"
        ".cfi_adjust_cfa_offset -8\n"
        "pop %rsi\n"
        ".cfi_adjust_cfa_offset -8\n"
        "pop %rdi\n"
        ".cfi_adjust_cfa_offset -8\n"
        "test %rdx, %rdx\n"
        "jz 1f\n"
        "jmp *%rdx\n"
        "1: ret\n"
        ".cfi_endproc\n"
        ".size dlopen, . - dlopen\n"
        ".popsection");

/* Calls interpose_syscall() before prctl(2), seccomp(2), and as long as the C library's function is not known. */
__asm__(".pushsection .text\n"
        ".globl syscall\n.type syscall, @function\n.p2align 4\n"
        "syscall:\n"
        ".cfi_startproc\n"
        "endbr64\n"
        "mov interpose_real_syscall(%rip), %rax\n"
        "test %rax, %rax\n"
        "jz 1f\n"
        "cmp $" TEXT(__NR_prctl) ", %rdi\n"
        "je 1f\n"
        "cmp $" TEXT(__NR_seccomp) ", %rdi\n"
        "je 1f\n"
        "jmp *%rax\n"
        "1: push %rdi\npush %rsi\npush %rdx\npush %rcx\npush %r8\npush %r9\nsub $8, %rsp\n"
        ".cfi_adjust_cfa_offset 56\n"
        "call interpose_syscall\n"
        "add $8, %rsp\npop %r9\npop %r8\npop %rcx\npop %rdx\npop %rsi\npop %rdi\n"
        ".cfi_adjust_cfa_offset -56\n"
        "jmp *interpose_real_syscall(%rip)\n"
        ".cfi_endproc\n"
        ".size syscall, . - syscall\n"
        ".popsection");
