/* SPDX-License-Identifier: MIT */
#include "runtime/insn-check.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/cpu.h"
#include "sdt/image.h"
#include "sdt/operand.h"

#define SYS_UPROBE_X86_64 336

/*
 * Linux 6.18 replaces an armed 5-byte nop by a call. The call writes to the red zone, and children of the process do not
 * have its target. The kernel has the system call uprobe() for this, which refuses calls from anywhere but the trampoline:
 *
 *     ENOSYS    kernels before 6.18, which do not replace nops
 *     ENXIO     Linux 6.18
 *     EPROTO    later kernels, which leave this nop alone and replace the 10-byte one (kernel/fast.c)
 */
static bool kernel_breaks_nop5(int uprobe_error)
{
	return uprobe_error != EPROTO && uprobe_error != ENOSYS;
}

int kernel_uprobe_error(void)
{
#ifdef __x86_64__
	static int known = -1;

	if (known < 0)
		known = syscall(SYS_UPROBE_X86_64) < 0 ? errno : 0;
	return known;
#else
	return ENOSYS;
#endif
}

const char *insn_why_refused(int machine, const uint8_t *code, size_t size, int uprobe_error)
{
	const struct cpu_code *cpu = cpu_code(machine);

	if (!cpu)
		return "belongs to an unknown CPU";
	if (cpu->becomes_call(code, size) && kernel_breaks_nop5(uprobe_error))
		return "is a 5-byte nop, which this kernel replaces by a call that breaks leaf functions";
	if (uprobe_error == EPROTO && cpu->fast_at && cpu->becomes_fast(code, size))
		return "is a 10-byte nop, which this kernel replaces by a call that may harm the process; name the probe and "
		       "give --fast, which checks that";
	return cpu->why_refused(code, size);
}

/* Returns true if this build can arm probes in the image. On x86-64 it can in 32-bit programs, too. */
static bool image_is_armable(const struct pp_image *image)
{
	return (image->machine == MACHINE_HERE && image->is_64) ||
	       (image->machine == EM_386 && MACHINE_HERE == EM_X86_64);
}

static bool offset_is_code(const struct pp_image *image, uint64_t offset)
{
	for (size_t i = 0; i < image->nsegments; i++)
		if (offset - image->segments[i].offset < image->segments[i].filesz && image->segments[i].flags & PF_X)
			return true;
	return false;
}

static int site_check_instruction(const struct pp_site *site)
{
	const struct pp_image *image = site->probe->image;
	const struct cpu_code *cpu = cpu_code(image->machine);
	unsigned long offset = site->offset;
	const char *why;

	if (!offset_is_code(image, site->offset))
		return error_set(EINVAL, "'%s': offset 0x%lx is not in code", image->path, offset);
	/* If instructions have a fixed size, a breakpoint has it, too. */
	if (site->offset % cpu->breakpoint_size)
		return error_set(EINVAL, "'%s': offset 0x%lx is in the middle of an instruction", image->path, offset);
	why = insn_why_refused(image->machine, site->code, sizeof(site->code), kernel_uprobe_error());
	if (why)
		return error_set(EOPNOTSUPP, "'%s': the instruction at offset 0x%lx %s", image->path, offset, why);
	if (site->noted && !cpu->is_nop(site->code, sizeof(site->code)))
		return error_set(
			EINVAL,
			"'%s': the note of %s:%s is wrong: the instruction at offset 0x%lx is not a nop; to arm "
			"it, name it func:+0x%lx",
			image->path, site->probe->provider, site->probe->name, offset, (unsigned long)site->address);
	return 0;
}

int site_check(const struct pp_site *site)
{
	const struct pp_image *image = site->probe->image;
	int err;

	if (!image_is_armable(image))
		return error_set(EOPNOTSUPP,
		                 "'%s': probes of this CPU can only be listed%s: this machine arms probes in %s",
		                 image->path,
		                 image->machine == EM_ARM && MACHINE_HERE == EM_AARCH64
		                         ? ", because Linux does not arm 32-bit ARM programs"
		                         : "",
		                 MACHINE_HERE == EM_X86_64 ? "32-bit and 64-bit x86 programs" : "64-bit ARM programs");
	err = site_check_instruction(site);
	if (err)
		return err;
	if (site->refused)
		return error_set(EINVAL, "'%s': %s", image->path, site->refused);
	if (site->has_semaphore && site->semaphore_offset & 1)
		return error_set(EINVAL, "'%s': the semaphore at offset 0x%lx is not 2-byte aligned", image->path,
		                 (unsigned long)site->semaphore_offset);
	return 0;
}
