/* SPDX-License-Identifier: MIT */
#include "runtime/cpu.h"

const struct cpu_code *cpu_code(int machine)
{
	static const struct cpu_code *const all[] = {
		&cpu_code_x86_64,
		&cpu_code_i386,
		&cpu_code_aarch64,
		&cpu_code_ppc64,
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (all[i]->machine == machine)
			return all[i];
	return NULL;
}
