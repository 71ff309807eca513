/* SPDX-License-Identifier: MIT */
/* Faults of the code at a site, for x86. */
#include <string.h>

#include "runtime/cpu.h"
#include "runtime/lint.h"

#define PAGE 4096
#define JUMP_NOP 10 /* bytes of the nop that has room for a jump */

static bool lint_read(const struct lint *lint, uint64_t address, uint8_t *code, size_t size)
{
	uint64_t offset;

	return image_segment_offset(lint->image, address, PF_X, &offset) && elf_file_has(lint->file, offset, size) &&
	       !elf_file_read(lint->file, offset, size, code);
}

void lint_code(struct lint *lint, const struct note *note)
{
	uint64_t address = lint_address(lint, note, note->location), nop;
	const struct cpu_code *cpu = cpu_code(lint->image->machine);
	uint8_t code[16];

	if (!cpu || !cpu->jump_at || !lint_read(lint, address, code, sizeof(code)))
		return;
	if (cpu->becomes_call(code, sizeof(code)) || (*code == 0x90 && cpu->becomes_call(code + 1, sizeof(code) - 1)))
		lint_report(
			lint, note, "PP010", "use a nop of 1 byte, or the sys/sdt.h of probepoint",
			"a 5-byte nop is at its location or after it: Linux 6.17 and 6.18 turn it into a call, which "
			"overwrites the red zone and ends forked processes");
	if (!cpu->is_unarmed(code + cpu->jump_at))
		return;
	nop = address + cpu->jump_at;
	if (nop / PAGE != (nop + JUMP_NOP - 1) / PAGE)
		lint_report(lint, note, "PP011", "align the site as the sys/sdt.h of probepoint does",
		            "its 10-byte nop is in two pages, so kernels do not optimize it");
	if (nop % 8 == 7)
		lint_report(lint, note, "PP012", "align the site as the sys/sdt.h of probepoint does",
		            "the first two bytes of its 10-byte nop are in two blocks of 8 bytes, so the agent cannot "
		            "change them by one store");
}
