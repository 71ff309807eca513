/* SPDX-License-Identifier: MIT */
#include "runtime/call-site.h"

#include <elf.h>
#include <string.h>

/*
 * x86-64: call rel32 is e8 and 4 bytes. An indirect call is ff, then a ModRM byte whose middle bits are 2, then maybe a SIB byte
 * and a displacement, which the ModRM byte determines.
 */
static bool x86_64_indirect_call(const uint8_t *end, int size)
{
	const uint8_t *code = end - size;
	int mod = code[1] >> 6, rm = code[1] & 7, length = 2;

	if (code[0] != 0xff || (code[1] >> 3 & 7) != 2)
		return false;
	if (mod != 3 && rm == 4) {
		length++;
		if (!mod && (code[2] & 7) == 5)
			length += 4;
	}
	length += mod == 1 ? 1 : mod == 2 || (!mod && rm == 5) ? 4 : 0;
	return length == size;
}

static bool x86_64_call_is_before(const uint8_t *end)
{
	if (end[-5] == 0xe8)
		return true;
	for (int size = 2; size <= 7; size++)
		if (x86_64_indirect_call(end, size))
			return true;
	return false;
}

/* bl, blr, and blr with an authentication code */
static bool aarch64_call_is_before(const uint8_t *end)
{
	uint32_t code = end[-4] | (uint32_t)end[-3] << 8 | (uint32_t)end[-2] << 16 | (uint32_t)end[-1] << 24;

	return (code & 0xfc000000) == 0x94000000 || (code & 0xfefff000) == 0xd63f0000;
}

bool call_site_is_before(int machine, const uint8_t code[CALL_SITE_BEFORE + CALL_SITE_AFTER])
{
	switch (machine) {
	case EM_X86_64: return x86_64_call_is_before(code + CALL_SITE_BEFORE);
	case EM_AARCH64: return aarch64_call_is_before(code + CALL_SITE_BEFORE);
	default: return true;
	}
}

bool call_site_is_signal(int machine, const uint8_t code[CALL_SITE_BEFORE + CALL_SITE_AFTER])
{
	static const uint8_t x86_64[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 }; /* mov $15,%rax; syscall */
	static const uint8_t aarch64[] = { 0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4 };   /* mov x8,#139; svc #0 */

	switch (machine) {
	case EM_X86_64: return !memcmp(code + CALL_SITE_BEFORE, x86_64, sizeof(x86_64));
	case EM_AARCH64: return !memcmp(code + CALL_SITE_BEFORE, aarch64, sizeof(aarch64));
	default: return false;
	}
}
