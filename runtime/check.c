/* SPDX-License-Identifier: MIT */
#include "runtime/check.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "sdt/error.h"
#include "sdt/image.h"

static bool is_trap_x86(const uint8_t *code)
{
	switch (code[0]) {
	case 0xcc: /* int3 */
	case 0xcd: /* int n */
	case 0xce: /* into */
	case 0xf1: /* int1 */
		return true;
	case 0x0f:
		return code[1] == 0x0b || code[1] == 0xb9 || code[1] == 0xff; /* ud2, ud1, ud0 */
	default:
		return false;
	}
}

int check_site(const struct pp_site *site)
{
	static const uint8_t nop5[5] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	const struct pp_image *image = site->probe->image;
	const struct image_segment *segment = NULL;

	if (image->machine != EM_X86_64 || !image->is_64)
		return error_set(EOPNOTSUPP, "%s: probes are armed in 64-bit x86 programs only: these can be listed",
		                 image->path);
	for (size_t i = 0; i < image->nsegments; i++)
		if (site->offset - image->segments[i].offset < image->segments[i].filesz &&
		    image->segments[i].flags & PF_X)
			segment = &image->segments[i];
	if (!segment)
		return error_set(EINVAL, "%s: offset 0x%lx is not in code", image->path, (unsigned long)site->offset);
	if (is_trap_x86(site->code))
		return error_set(EOPNOTSUPP, "%s: the instruction at offset 0x%lx is a trap already", image->path,
		                 (unsigned long)site->offset);
	/* Linux 6.18 turns it into a call that writes into the red zone, and dies in children. */
	if (!memcmp(site->code, nop5, sizeof(nop5)))
		return error_set(EOPNOTSUPP, "%s: the site at offset 0x%lx is a 5-byte nop, which kernels replace by a call "
		                             "that breaks leaf functions", image->path, (unsigned long)site->offset);
	if (site->has_semaphore && site->semaphore_offset & 1)
		return error_set(EINVAL, "%s: the semaphore at offset 0x%lx is not 2-byte aligned", image->path,
		                 (unsigned long)site->semaphore_offset);
	return 0;
}
