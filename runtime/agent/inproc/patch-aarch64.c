/* SPDX-License-Identifier: MIT */
/*
 * Sites of aarch64.
 *
 * A site is one nop, which becomes one b. These are among the few instructions that may
 * be replaced while other threads execute them: a thread executes either the old or the
 * new one. Therefore one aligned store is enough, after which the caches are
 * maintained. A breakpoint of the kernel would be in the same place; then the bytes are
 * not a nop, and the site is refused.
 *
 * Code can be guarded by BTI: indirect branches must land where the compiler has
 * permitted that. It is a protection of pages that /proc/self/maps does not show, and
 * that mprotect(2) takes away unless it is among the flags. The loader sets it by a
 * property of the image, so the agent reads that property.
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

/* A note of properties has a header of 16 bytes, then {type, size, value} each at a multiple of 8. */
static bool note_has_bti(const char *note, size_t size)
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

/*
 * Returns whether the image has BTI. first: the mapping that begins with its header. All
 * is copied by the kernel, because another thread may unmap it.
 */
static bool image_has_bti(const struct map_entry *text, const struct map_entry *first)
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
			       note_has_bti(note, p[i].p_filesz);
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
			return text->protection | (image_has_bti(text, m) ? PROT_BTI : 0);
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

/*
 * The thread makes the store itself, because no system call makes one of four bytes. It
 * reads the site right before, to recognize text that is not mapped any more.
 */
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
