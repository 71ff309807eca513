/* SPDX-License-Identifier: MIT */
/*
 * A site of aarch64 is one nop, which becomes one b. These two are among the few
 * instructions that may be exchanged while others execute them: they see the one or
 * the other. So one aligned store will do, and the caches told of it. A breakpoint
 * of the kernel would be in the same place: then the bytes are somebody else's.
 *
 * Code can be guarded: indirect branches must land where the compiler has said so
 * (BTI). It is a page's protection, which /proc/self/maps does not show and
 * mprotect() takes away unless told; the loader gave it because of a property of the
 * image, so that is asked.
 */
#include <elf.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "runtime/agent/inproc/asm-aarch64.h"
#include "runtime/agent/inproc/patch.h"

#ifndef PROT_BTI
#define PROT_BTI 0x10
#endif
#ifndef HWCAP2_BTI
#define HWCAP2_BTI (1u << 17)
#endif

const uint8_t site_nop[SITE_NOP] = SITE_NOP_BYTES;

bool site_fits(uintptr_t address)
{
	return !(address & 3);
}

void site_jump(uintptr_t address, uintptr_t trampoline, uint8_t bytes[JUMP])
{
	uint32_t b = A64_B | ((uint32_t)((int64_t)(trampoline - address) >> 2) & A64_B_MASK);

	memcpy(bytes, &b, JUMP);
}

/* In a note of properties: 16 bytes of header, then {type, size, value} each at a multiple of 8. */
static bool says_guarded(const char *note, size_t size)
{
	const uint32_t *header = (const uint32_t *)note;

	if (size < 16 || header[0] != 4 || header[1] > size - 16 || header[2] != NT_GNU_PROPERTY_TYPE_0 ||
	    memcmp(header + 3, "GNU", 4))
		return false;
	size = header[1];
	for (size_t at = 0; size - at >= 12;) {
		const uint32_t *property = (const uint32_t *)(note + 16 + at);

		if (property[0] == GNU_PROPERTY_AARCH64_FEATURE_1_AND && property[1] == 4)
			return property[2] & GNU_PROPERTY_AARCH64_FEATURE_1_BTI;
		if (property[1] > size - at - 8)
			break;
		at += 8 + ((property[1] + 7) & ~7ull);
		if (at > size)
			break;
	}
	return false;
}

#define HEADERS_MAX 64
#define NOTE_MAX 1024

/* first: the mapping that begins with the image's header. All is copied: another thread may unmap it. */
static bool is_guarded(const struct map_entry *text, const struct map_entry *first)
{
	static Elf64_Phdr p[HEADERS_MAX];
	static _Alignas(8) char note[NOTE_MAX];
	size_t size = first->end - first->start;
	Elf64_Ehdr header;
	uintptr_t base = 0;
	bool based = false;

	if (size < sizeof(header) || !memory_copy(&header, first->start, sizeof(header)) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) || header.e_phentsize != sizeof(*p) || header.e_phoff % 8 ||
	    header.e_phoff > size || header.e_phnum > HEADERS_MAX ||
	    header.e_phnum > (size - header.e_phoff) / sizeof(*p) ||
	    !memory_copy(p, first->start + header.e_phoff, header.e_phnum * sizeof(*p)))
		return false;
	for (unsigned i = 0; i < header.e_phnum && !based; i++)
		if (p[i].p_type == PT_LOAD && !p[i].p_offset) {
			base = first->start - p[i].p_vaddr;
			based = true;
		}
	for (unsigned i = 0; i < header.e_phnum && based; i++) {
		uintptr_t at = base + p[i].p_vaddr;

		if (p[i].p_type == PT_GNU_PROPERTY)
			return !(at % 8) && p[i].p_filesz && p[i].p_filesz <= NOTE_MAX &&
			       mapping_is_image(text, at, p[i].p_filesz) && memory_copy(note, at, p[i].p_filesz) &&
			       says_guarded(note, p[i].p_filesz);
	}
	return false;
}

int site_protection(const struct map_entry *text)
{
	if (!(getauxval(AT_HWCAP2) & HWCAP2_BTI))
		return text->protection;
	for (size_t i = 0; i < maps_count(); i++) {
		const struct map_entry *m = maps_get(i);

		if (m->inode == text->inode && m->device == text->device && !m->offset &&
		    mapping_is_image(text, m->start, 1))
			return text->protection | (is_guarded(text, m) ? PROT_BTI : 0);
	}
	return text->protection;
}

bool site_is_nop(const uint8_t now[SITE_NOP])
{
	return !memcmp(now, site_nop, SITE_NOP);
}

bool site_write_begin(void)
{
	return true;
}

void site_write_end(void)
{
}

/* A store of the thread's own: no system call makes one of four bytes. What is not mapped is recognised right before. */
bool site_write(struct patch_site *site, unsigned step)
{
	uint32_t instruction, now;
	struct iovec here = { &now, sizeof(now) }, there = { (void *)site->address, sizeof(now) };

	(void)step;
	if (process_vm_readv(agent.tid, &here, 1, &there, 1, 0) != sizeof(now) || memcmp(&now, site->was, JUMP))
		return false;
	memcpy(&instruction, site->will, JUMP);
	__atomic_store_n((uint32_t *)site->address, instruction, __ATOMIC_RELEASE);
	cpu_code_written((const void *)site->address, JUMP);
	return true;
}

bool site_write_full(void)
{
	return false;
}

struct patch_site *site_write_flush(void)
{
	return NULL;
}
