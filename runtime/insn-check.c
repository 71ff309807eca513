/* SPDX-License-Identifier: MIT */
#include "runtime/insn-check.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "sdt/image.h"
#include "sdt/operand.h"

static const char trap[] = "is a trap already";

/*
 * Linux 6.18 turns a 5-byte nop that is armed into a call, which writes into the red zone and is missing in children.
 * It is told by a system call that it has for this: from anywhere but its trampoline, uprobe() answers ENXIO. Later
 * kernels, which leave that nop alone and turn the 10-byte one well, answer EPROTO, earlier ones ENOSYS.
 */
#define SYS_UPROBE 336

static bool nop5_breaks(void)
{
	int answer = syscall(SYS_UPROBE) < 0 ? errno : 0;

	return answer != EPROTO && answer != ENOSYS;
}

static const char *check_x86(const uint8_t *code, size_t size, bool is_64)
{
	static const uint8_t nop5[5] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };

	if (size >= sizeof(nop5) && !memcmp(code, nop5, sizeof(nop5)) && nop5_breaks())
		return "is a 5-byte nop, which this kernel replaces by a call that breaks leaf functions";
	/* prefixes before int3 and its like change nothing */
	while (size > 1 && (*code == 0x66 || *code == 0x67 || *code == 0xf2 || *code == 0xf3 || *code == 0x2e ||
	                    *code == 0x36 || *code == 0x3e || *code == 0x26 || *code == 0x64 || *code == 0x65 ||
	                    (is_64 && (*code & 0xf0) == 0x40))) {
		code++;
		size--;
	}
	switch (code[0]) {
	case 0xcc: /* int3 */
	case 0xcd: /* int n */
	case 0xf1: /* int1 */ return trap;
	case 0xce: /* into */ return is_64 ? "is no instruction in 64-bit code" : trap;
	case 0xf4: return "is hlt, which programs may not execute";
	case 0x0f:
		if (size > 1 && (code[1] == 0x0b || code[1] == 0xb9 || code[1] == 0xff)) /* ud2, ud1, ud0 */
			return trap;
		return NULL;
	default: return NULL;
	}
}

static uint32_t word(const uint8_t *code)
{
	return code[0] | code[1] << 8 | code[2] << 16 | (uint32_t)code[3] << 24;
}

/* Arm ARM, C4.1: exception generation, and what a step would break: load and store exclusive. */
static const char *check_aarch64(uint32_t insn)
{
	if ((insn & 0xffe0001f) == 0xd4200000 || (insn & 0xffe0001f) == 0xd4400000) /* brk, hlt */
		return trap;
	if (!(insn & 0xffff0000)) /* udf */
		return trap;
	if ((insn & 0xff000000) == 0xd4000000) /* svc, hvc, smc, dcps */
		return "generates an exception, which cannot be stepped";
	if ((insn & 0x3f000000) == 0x08000000 && !(insn & 0x00800000)) /* ldxr, stxr and their like */
		return "is an exclusive load or store, which fails for ever when stepped";
	return NULL;
}

/* Power ISA, Book I 3.3.11: tw, twi, td, tdi, whatever they compare. */
static const char *check_ppc64(uint32_t insn)
{
	uint32_t major = insn >> 26, minor = insn >> 1 & 0x3ff;

	if (major == 2 || major == 3 || (major == 31 && (minor == 4 || minor == 68)))
		return trap;
	if (major == 1)
		return "is a prefixed instruction, which may not be parted";
	return NULL;
}

const char *check_instruction(int machine, const uint8_t *code, size_t size)
{
	switch (machine) {
	case EM_X86_64:
	case EM_386: return size ? check_x86(code, size, machine == EM_X86_64) : NULL;
	case EM_AARCH64: return size >= 4 ? check_aarch64(word(code)) : NULL;
	case EM_PPC64: return size >= 4 ? check_ppc64(word(code)) : NULL;
	default: return "is of a CPU that is not known here";
	}
}

/* Intel SDM, volume 2: NOP; what may stand before its opcode and leave it one. REX.B before 90 makes it an exchange. */
static bool is_nop_x86(const uint8_t *code, size_t size)
{
	while (size > 1 && (*code == 0x66 || *code == 0x2e || *code == 0x36 || *code == 0x3e || *code == 0x26 ||
	                    *code == 0x64 || *code == 0x65)) {
		code++;
		size--;
	}
	return size && (code[0] == 0x90 || (size > 1 && code[0] == 0x0f && code[1] == 0x1f));
}

bool check_is_nop(int machine, const uint8_t *code, size_t size)
{
	switch (machine) {
	case EM_X86_64:
	case EM_386: return is_nop_x86(code, size);
	case EM_AARCH64: return size >= 4 && word(code) == 0xd503201f;
	case EM_PPC64: return size >= 4 && word(code) == 0x60000000;
	default: return false;
	}
}

int check_site(const struct pp_site *site)
{
	const struct pp_image *image = site->probe->image;
	const struct image_segment *segment = NULL;
	const char *why;

	if ((image->machine != EM_386 || MACHINE_HERE != EM_X86_64) &&
	    (image->machine != MACHINE_HERE || !image->is_64))
		return error_set(EOPNOTSUPP, "%s: probes are armed in %s only here: these can be listed", image->path,
		                 MACHINE_HERE == EM_X86_64 ? "x86 programs of 64 and 32 bits" : "64-bit ARM programs");
	for (size_t i = 0; i < image->nsegments; i++)
		if (site->offset - image->segments[i].offset < image->segments[i].filesz &&
		    image->segments[i].flags & PF_X)
			segment = &image->segments[i];
	if (!segment)
		return error_set(EINVAL, "%s: offset 0x%lx is not in code", image->path, (unsigned long)site->offset);
	if (image->machine == EM_AARCH64 && site->offset & 3)
		return error_set(EINVAL, "%s: offset 0x%lx is in the middle of an instruction", image->path,
		                 (unsigned long)site->offset);
	why = check_instruction(image->machine, site->code, sizeof(site->code));
	if (why)
		return error_set(EOPNOTSUPP, "%s: the instruction at offset 0x%lx %s", image->path,
		                 (unsigned long)site->offset, why);
	if (site->noted && !check_is_nop(image->machine, site->code, sizeof(site->code)))
		return error_set(EINVAL,
		                 "%s: the note of %s:%s is wrong: what is at offset 0x%lx is not a nop; to arm that "
		                 "instruction, name it: func:+0x%lx",
		                 image->path, site->probe->provider, site->probe->name, (unsigned long)site->offset,
		                 (unsigned long)site->address);
	if (site->refused)
		return error_set(EINVAL, "%s: %s", image->path, site->refused);
	if (site->has_semaphore && site->semaphore_offset & 1)
		return error_set(EINVAL, "%s: the semaphore at offset 0x%lx is not 2-byte aligned", image->path,
		                 (unsigned long)site->semaphore_offset);
	return 0;
}
