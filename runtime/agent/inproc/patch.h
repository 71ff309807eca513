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
/* Returns whether the loader has mapped that text. Checks each mapping once per batch. */
bool batch_text_is_loaded(const struct map_entry *text);
/* Adds a site, whose bytes are to become site->will. Returns false without memory. */
bool batch_add(const struct patch_site *site, const struct map_entry *text);
/* Changes the sites of the batch, and refuses the points of those that it cannot change. */
void batch_run(void);

/* Raises the site's semaphore if that is wanted and not done. Returns false if it cannot. */
bool semaphore_raise(struct patch_site *site);

#define BYTES_READ_MAX 512

/* Reads the bytes of sites by one system call: from first on, of n sites that at() returns, at most BYTES_READ_MAX. */
void bytes_read(struct patch_site *(*at)(size_t i), size_t first, size_t n);
/* Returns the bytes of the site that is number i for at(), or NULL if they are not readable. */
const uint8_t *bytes_of(size_t i);

/* ---- the CPU's: patch-CPU.c ---- */

extern const uint8_t site_nop[SITE_NOP];
/* Returns whether a site at the address can be patched. */
bool site_fits(uintptr_t address);
/* Writes the jump of a site to a trampoline to bytes. */
void site_jump(uintptr_t address, uintptr_t trampoline, uint8_t bytes[JUMP]);
/* Returns the protection that mprotect(2) has to restore. */
int site_protection(const struct map_entry *text);
/* Returns whether these bytes, from SITE_AT on, do nothing and may become a jump. */
bool site_is_nop(const uint8_t now[SITE_NOP]);
/* Surround the steps of a batch. site_write_begin() returns false if this kernel cannot write safely. */
bool site_write_begin(void);
void site_write_end(void);
/*
 * Makes one of the SITE_STEPS from site->was to site->will. The caller serializes all
 * processors after each step. Returns false, and writes nothing, if the text was
 * unmapped.
 *
 * The write may be delayed until site_write_flush(). The caller calls that if
 * site_write_full() returns true, and after each step, until it returns NULL. Each call
 * returns a site whose text was unmapped.
 */
bool site_write(struct patch_site *site, unsigned step);
bool site_write_full(void);
struct patch_site *site_write_flush(void);

#endif
