/* SPDX-License-Identifier: MIT */
/*
 * .eh_frame_hdr (Linux Standard Base, Core, 10.6): a table of {start of a function,
 * its FDE}, sorted, that the unwinder searches. It survives strip(1). Linkers write
 * one form of it only: pairs of 4 bytes, relative to the table's own section. Other
 * forms are not read: then the starts of the sections of code are all there is.
 */
#include "sdt/frames.h"

#include <errno.h>
#include <stdlib.h>

#include "sdt/error.h"

#define PCREL_SDATA4 0x1b
#define UDATA4 0x03
#define DATAREL_SDATA4 0x3b

static int add(struct frames *frames, uint64_t start, uint64_t fde)
{
	if (frames->n == frames->room) {
		size_t room = frames->room ? 2 * frames->room : 64;
		void *more = reallocarray(frames->list, room, sizeof(*frames->list));

		if (!more)
			return -ENOMEM;
		frames->list = more;
		frames->room = room;
	}
	frames->list[frames->n++] = (struct frame){ start, fde };
	return 0;
}

static int read_table(const struct file *file, const GElf_Phdr *header, struct frames *frames)
{
	unsigned char *data;
	uint64_t n;
	int err;

	if (header->p_filesz < 12)
		return 0;
	err = file_load(file, header->p_offset, header->p_filesz, (char **)&data);
	if (err)
		return err == -ENOMEM ? err : 0;
	n = file_u32(file, data + 8);
	if (data[0] == 1 && data[1] == PCREL_SDATA4 && data[2] == UDATA4 && data[3] == DATAREL_SDATA4 &&
	    n <= (header->p_filesz - 12) / 8)
		for (uint64_t i = 0; i < n && !err; i++) {
			const unsigned char *pair = data + 12 + 8 * i;

			err = add(frames, header->p_vaddr + (uint64_t)(int32_t)file_u32(file, pair),
			          header->p_vaddr + (uint64_t)(int32_t)file_u32(file, pair + 4));
		}
	free(data);
	return err;
}

static int by_start(const void *a, const void *b)
{
	const struct frame *x = a, *y = b;

	if (x->start != y->start)
		return x->start > y->start ? 1 : -1;
	return (x->fde > y->fde) - (x->fde < y->fde);
}

int frames_read(const struct file *file, const struct pp_image *image, struct frames *frames)
{
	const uint64_t wanted = SHF_ALLOC | SHF_EXECINSTR;
	Elf_Scn *scn = NULL;
	GElf_Shdr section;
	GElf_Phdr header;
	size_t n = 0;
	int err = 0;

	(void)image;
	elf_getphdrnum(file->elf, &n);
	for (size_t i = 0; i < n && !err; i++)
		if (gelf_getphdr(file->elf, (int)i, &header) && header.p_type == PT_GNU_EH_FRAME)
			err = read_table(file, &header, frames);
	while (!err && (scn = elf_nextscn(file->elf, scn)) != NULL)
		if (gelf_getshdr(scn, &section) && section.sh_type == SHT_PROGBITS && (section.sh_flags & wanted) == wanted)
			err = add(frames, section.sh_addr, 0);
	if (frames->n)
		qsort(frames->list, frames->n, sizeof(*frames->list), by_start);
	return err;
}

void frames_release(struct frames *frames)
{
	free(frames->list);
	*frames = (struct frames){ 0 };
}

const struct frame *frames_before(const struct frames *frames, uint64_t address)
{
	size_t low = 0, high = frames->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (frames->list[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &frames->list[low - 1] : NULL;
}

/* An FDE is its length, the way to its CIE, the function's start and its length; the start is checked against the table's. */
uint64_t frame_end(const struct file *file, const struct pp_image *image, const struct frame *frame)
{
	unsigned char fde[16];
	uint64_t offset;

	if (!frame->fde || image_offset(image, frame->fde, &offset) || file_read(file, offset, sizeof(fde), fde) ||
	    frame->fde + 8 + (uint64_t)(int32_t)file_u32(file, fde + 8) != frame->start)
		return frame->start;
	return frame->start + file_u32(file, fde + 12);
}
