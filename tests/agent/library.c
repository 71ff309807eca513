/* SPDX-License-Identifier: MIT */
#include <sys/sdt.h>

void hit(long i);

__attribute__((noipa)) void hit(long i)
{
	STAP_PROBE1(lib, hit, i);
}
