/* SPDX-License-Identifier: MIT */
#include "runtime/abi.h"

#include <stddef.h>

const struct abi *abi_of(int machine)
{
	switch (machine) {
	case EM_X86_64: return &abi_x86_64;
	case EM_AARCH64: return &abi_aarch64;
	default: return NULL;
	}
}
