/* SPDX-License-Identifier: MIT */
/*
 * Writing to sites: patch.c changes a batch of sites, patch-CPU.c knows the bytes of a
 * site and the steps from one state to another. For the agent's thread only.
 */
#ifndef RUNTIME_AGENT_INPROC_PATCH_H
#define RUNTIME_AGENT_INPROC_PATCH_H

#include "runtime/agent/inproc/maps.h"
#include "runtime/agent/inproc/site-table.h"

/* ---- a batch: patch.c ---- */

/* Begins a batch, after maps_read(). Returns false without memory. */
bool batch_begin(void);
/* Returns whether the loader has mapped the text. Asks the loader once for each mapping. */
bool batch_text_is_loaded(const struct map_entry *text);
/* Adds a site. batch_run() then replaces its bytes by site->will. Returns false without memory. */
bool batch_add(const struct patch_site *site, const struct map_entry *text);
/* Changes the sites of the batch, and refuses the points of those that it cannot change. */
void batch_run(void);

/* Raises the site's semaphore, if it has one that is not raised yet. Returns false if it cannot be raised. */
bool semaphore_raise(struct patch_site *site);

#define BYTES_READ_MAX 512

/*
 * Reads the bytes of the sites at(first) to at(first + n - 1), but of at most
 * BYTES_READ_MAX sites. One system call reads them if all are readable.
 */
void bytes_read(struct patch_site *(*at)(size_t i), size_t first, size_t n);
/*
 * Returns the bytes of the site at(i), which the last bytes_read() has read, or NULL if
 * they are not readable. That call's first must be a multiple of BYTES_READ_MAX.
 */
const uint8_t *bytes_of(size_t i);

/* ---- the code that depends on the CPU: patch-CPU.c ---- */

extern const uint8_t site_nop[SITE_NOP];
/* Returns whether a site at the address can be patched. */
bool site_fits(uintptr_t address);
/* Encodes the jump from a site to a trampoline into bytes. */
void site_jump(uintptr_t address, uintptr_t trampoline, uint8_t bytes[JUMP]);
/* Returns the protection that mprotect(2) has to restore. */
int site_protection(const struct map_entry *text);
/* Returns whether the bytes of a site from SITE_AT on are a nop, which a jump may replace. */
bool site_is_nop(const uint8_t now[SITE_NOP]);
/* Begin and end the steps of a batch. site_write_begin() returns false if this kernel cannot write safely. */
bool site_write_begin(void);
void site_write_end(void);
/*
 * site_write() performs one of the SITE_STEPS from site->was to site->will. Returns
 * false, and writes nothing, if the text is no longer mapped. The write may be delayed.
 *
 * site_write_flush() performs delayed writes. It returns a site whose text is no longer
 * mapped, or NULL when all writes are done. The caller calls it until it returns NULL,
 * whenever site_write_full() returns true and after each step. Then it serializes all
 * processors.
 */
bool site_write(struct patch_site *site, unsigned step);
bool site_write_full(void);
struct patch_site *site_write_flush(void);

#endif
