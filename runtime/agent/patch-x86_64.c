/* SPDX-License-Identifier: MIT */
/*
 * A site of x86-64 is 90, the kernel's, then a nop of 10 bytes. Changing that while
 * other threads run through it rests on one fact: with `eb 08` in its first two
 * bytes it is a jump over itself, whatever stands in the rest, and no thread can be
 * in the middle of it. So
 *
 *     one store of two bytes, eb 08
 *     bytes 3 to 5 of what is to be there
 *     one store of two bytes, the first two
 *
 * where the two bytes share an aligned block of 8, so that the store is one.
 */
#include <string.h>

#include "runtime/agent/agent.h"

const uint8_t site_nop[SITE_NOP] = SITE_NOP_BYTES;

bool site_fits(uintptr_t address)
{
	return ((address + SITE_AT) & 7) != 7;
}

void site_jump(uintptr_t address, uintptr_t slot, uint8_t bytes[JUMP])
{
	int32_t disp = slot - (address + SITE_AT + JUMP);

	bytes[0] = 0xe9;
	memcpy(bytes + 1, &disp, 4);
}

int site_protection(const struct mapping *text)
{
	return text->protection;
}

static void write_first_two(uintptr_t address, uint8_t first, uint8_t second)
{
	__atomic_store_n((uint16_t *)(address + SITE_AT), (uint16_t)(first | second << 8), __ATOMIC_RELEASE);
}

void site_write(uintptr_t address, const uint8_t bytes[JUMP], unsigned step)
{
	switch (step) {
	case 0:
		write_first_two(address, 0xeb, SITE_NOP - 2);
		break;
	case 1:
		for (unsigned i = 2; i < JUMP; i++)
			((volatile uint8_t *)address)[SITE_AT + i] = bytes[i];
		break;
	default:
		write_first_two(address, bytes[0], bytes[1]);
	}
}
