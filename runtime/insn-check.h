/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_INSN_CHECK_H
#define RUNTIME_INSN_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pp_site;

/*
 * Why the instruction at code must not be replaced by a trap, NULL where it may be. All
 * of a CPU's trap instructions are refused, not the kernel's own alone: whoever put
 * one there waits for it. machine: EM_X86_64, EM_386, EM_AARCH64, EM_PPC64 (little-endian).
 */
const char *check_instruction(int machine, const uint8_t *code, size_t size);

/* True for a nop, which is all that a probe's note may point at. */
bool check_is_nop(int machine, const uint8_t *code, size_t size);

/*
 * Whether a site may be armed at all, by what its file says: 0, or a negative errno
 * with a sentence. The file's copy decides, not memory, where somebody else's trap
 * may stand (Mavinakayanahalli, uprobes on powerpc, 2012).
 */
int check_site(const struct pp_site *site);

#endif
