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
        ".globl dlopen\n.type dlopen, %function\n.p2align 4\n"
        "dlopen:\n"
        ".cfi_startproc\n"
        "hint 34\n" /* bti c */
        "stp x29, x30, [sp, #-32]!\n"
        ".cfi_def_cfa_offset 32\n.cfi_offset 29, -32\n.cfi_offset 30, -24\n"
        "stp x0, x1, [sp, #16]\n"
        "mov x2, x30\n"
        "bl interpose_dlopen\n"
        "mov x16, x1\n"
        "cbz x16, 1f\n"
        "ldp x0, x1, [sp, #16]\n"
        "1: ldp x29, x30, [sp], #32\n"
        ".cfi_def_cfa_offset 0\n.cfi_restore 29\n.cfi_restore 30\n"
        "cbz x16, 2f\n"
        "br x16\n"
        "2: ret\n"
        ".cfi_endproc\n"
        ".size dlopen, . - dlopen\n"
        ".popsection");

/* 167 and 277 are prctl(2) and seccomp(2). */
__asm__(".pushsection .text\n"
        ".globl syscall\n.type syscall, %function\n.p2align 4\n"
        "syscall:\n"
        ".cfi_startproc\n"
        "hint 34\n" /* bti c */
        "adrp x16, interpose_real_syscall\nldr x16, [x16, #:lo12:interpose_real_syscall]\n"
        "cbz x16, 1f\n"
        "cmp x0, #" TEXT(__NR_prctl) "\n"
        "b.eq 1f\n"
        "cmp x0, #" TEXT(__NR_seccomp) "\n"
        "b.eq 1f\n"
        "br x16\n"
        "1: stp x29, x30, [sp, #-80]!\n"
        ".cfi_def_cfa_offset 80\n.cfi_offset 29, -80\n.cfi_offset 30, -72\n"
        "mov x29, sp\n"
        "stp x0, x1, [sp, #16]\nstp x2, x3, [sp, #32]\nstp x4, x5, [sp, #48]\nstr x6, [sp, #64]\n"
        "bl interpose_syscall\n"
        "ldp x0, x1, [sp, #16]\nldp x2, x3, [sp, #32]\nldp x4, x5, [sp, #48]\nldr x6, [sp, #64]\n"
        "ldp x29, x30, [sp], #80\n"
        ".cfi_def_cfa_offset 0\n.cfi_restore 29\n.cfi_restore 30\n"
        "adrp x16, interpose_real_syscall\nldr x16, [x16, #:lo12:interpose_real_syscall]\n"
        "br x16\n"
        ".cfi_endproc\n"
        ".size syscall, . - syscall\n"
        ".popsection");
