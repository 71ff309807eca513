/* SPDX-License-Identifier: MIT */
/* dlopen() asks wrap.c; where the C library's is to do it, that is jumped to as if it had been called. */
__asm__(".pushsection .text\n"
        ".globl dlopen\n.type dlopen, %function\n.p2align 4\n"
        "dlopen:\n"
        ".cfi_startproc\n"
        "hint 34\n" /* bti c */
        "stp x29, x30, [sp, #-32]!\n"
        ".cfi_def_cfa_offset 32\n.cfi_offset 29, -32\n.cfi_offset 30, -24\n"
        "stp x0, x1, [sp, #16]\n"
        "mov x2, x30\n"
        "bl wrap_dlopen\n"
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
