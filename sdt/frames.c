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

#include "base/error.h"

#define PCREL_SDATA4 0x1b
#define UDATA4 0x03
#define DATAREL_SDATA4 0x3b

static int add(struct frames *frames, uint64_t start, uint64_t end)
{
	if (frames->n == frames->room) {
		size_t room = frames->room ? 2 * frames->room : 64;
		void *more = reallocarray(frames->list, room, sizeof(*frames->list));

		if (!more)
			return -ENOMEM;
		frames->list = more;
		frames->room = room;
	}
	frames->list[frames->n++] = (struct frame){ start, end };
	return 0;
}

/* The FDEs, all of them: they stand in one section. */
struct fdes {
	unsigned char *data;
	uint64_t address, size;
};

/*
 * An FDE is its length, the way to its CIE, the function's start and its length. How the last two are written is the
 * CIE's to say; the start is compared with the table's instead. Returns the start if the end is not known.
 */
static uint64_t end_of(const struct file *file, const struct fdes *fdes, uint64_t fde, uint64_t start)
{
	const unsigned char *at = fdes->data + (fde - fdes->address);

	if (fde < fdes->address || fde - fdes->address > fdes->size - 16 ||
	    fde + 8 + (uint64_t)(int32_t)file_u32(file, at + 8) != start)
		return start;
	return start + file_u32(file, at + 12);
}

static int fdes_load(const struct file *file, const struct pp_image *image, const unsigned char *table, uint64_t n,
                     uint64_t base, struct fdes *fdes)
{
	uint64_t low = UINT64_MAX, high = 0, offset;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t fde = base + (uint64_t)(int32_t)file_u32(file, table + 8 * i + 4);

		low = fde < low ? fde : low;
		high = fde > high ? fde : high;
	}
	*fdes = (struct fdes){ .address = low, .size = high - low + 16 };
	if (low > high || image_offset(image, low, &offset))
		return -EBADMSG;
	return file_load(file, offset, fdes->size, (char **)&fdes->data);
}

static int read_table(const struct file *file, const struct pp_image *image, const GElf_Phdr *header,
                      struct frames *frames)
{
	unsigned char *data;
	struct fdes fdes = { 0 };
	uint64_t n;
	int err;

	if (header->p_filesz < 12)
		return 0;
	err = file_load(file, header->p_offset, header->p_filesz, (char **)&data);
	if (err)
		return err == -ENOMEM ? err : 0;
	n = file_u32(file, data + 8);
	if (data[0] == 1 && data[1] == PCREL_SDATA4 && data[2] == UDATA4 && data[3] == DATAREL_SDATA4 &&
	    n <= (header->p_filesz - 12) / 8) {
		err = fdes_load(file, image, data + 12, n, header->p_vaddr, &fdes);
		for (uint64_t i = 0; i < n && !err; i++) {
			const unsigned char *pair = data + 12 + 8 * i;
			uint64_t start = header->p_vaddr + (uint64_t)(int32_t)file_u32(file, pair);

			err = add(frames, start,
			          end_of(file, &fdes, header->p_vaddr + (uint64_t)(int32_t)file_u32(file, pair + 4),
			                 start));
		}
		free(fdes.data);
	}
	free(data);
	return err == -ENOMEM ? err : 0;
}

static int by_start(const void *a, const void *b)
{
	const struct frame *x = a, *y = b;

	if (x->start != y->start)
		return x->start > y->start ? 1 : -1;
	return (x->end > y->end) - (x->end < y->end);
}

int frames_read(const struct file *file, const struct pp_image *image, struct frames *frames)
{
	const uint64_t wanted = SHF_ALLOC | SHF_EXECINSTR;
	Elf_Scn *scn = NULL;
	GElf_Shdr section;
	GElf_Phdr header;
	size_t n = 0;
	int err = 0;

	elf_getphdrnum(file->elf, &n);
	for (size_t i = 0; i < n && !err; i++)
		if (gelf_getphdr(file->elf, (int)i, &header) && header.p_type == PT_GNU_EH_FRAME)
			err = read_table(file, image, &header, frames);
	while (!err && (scn = elf_nextscn(file->elf, scn)) != NULL)
		if (gelf_getshdr(scn, &section) && section.sh_type == SHT_PROGBITS &&
		    (section.sh_flags & wanted) == wanted)
			err = add(frames, section.sh_addr, section.sh_addr);
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
