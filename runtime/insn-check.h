/* SPDX-License-Identifier: MIT */
/* Decides whether a site may be armed. */
#ifndef RUNTIME_INSN_CHECK_H
#define RUNTIME_INSN_CHECK_H

#include <stddef.h>
#include <stdint.h>

struct pp_site;

/*
 * Returns the reason why a breakpoint must not replace the instruction at code, in words that follow "the instruction",
 * or NULL if it may. machine is EM_X86_64, EM_386, EM_AARCH64 or EM_PPC64 (little-endian). uprobe_error is the errno
 * value that the kernel's uprobe() system call returns to this process.
 */
const char *insn_why_refused(int machine, const uint8_t *code, size_t size, int uprobe_error);

/*
 * Returns the errno value of the kernel's uprobe() system call, which says what the kernel does with armed nops: see
 * insn-check.c.
 */
int kernel_uprobe_error(void);

/*
 * Checks whether a site may be armed, by the contents of its file. The file's bytes decide, not the process's
 * memory, which may have a breakpoint of another program (Mavinakayanahalli, uprobes on powerpc, 2012).
 *
 * Returns 0, -EOPNOTSUPP or -EINVAL, with an error message.
 */
int site_check(const struct pp_site *site);

#endif
