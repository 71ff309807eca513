/* SPDX-License-Identifier: MIT */
/*
 * A site of aarch64 is one nop, which becomes one b. These two are among the few
 * instructions that may be exchanged while others execute them: they see the one or
 * the other. So one aligned store will do, and the caches told of it. A breakpoint
 * of the kernel would be in the same place: then the bytes are somebody else's.
 */
#include <string.h>

#include "runtime/agent/agent.h"

const uint8_t site_nop[SITE_NOP] = { 0x1f, 0x20, 0x03, 0xd5 };

bool site_fits(uintptr_t address)
{
	return !(address & 3);
}

void site_jump(uintptr_t address, uintptr_t slot, uint8_t bytes[JUMP])
{
	uint32_t b = 0x14000000 | ((uint32_t)((int64_t)(slot - address) >> 2) & 0x3ffffff);

	memcpy(bytes, &b, JUMP);
}

void site_write(uintptr_t address, const uint8_t bytes[JUMP], unsigned step)
{
	uint32_t instruction;

	(void)step;
	memcpy(&instruction, bytes, JUMP);
	__atomic_store_n((uint32_t *)address, instruction, __ATOMIC_RELEASE);
	cpu_code_written((const void *)address, JUMP);
}
