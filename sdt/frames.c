/* SPDX-License-Identifier: MIT */
/*
 * .eh_frame_hdr (Linux Standard Base, Core, 10.6) is the unwinder's search table: sorted pairs of a function's start and
 * its FDE. strip(1) keeps it. Linkers write one form only, pairs of 4 bytes relative to the table's own section. Other
 * forms are not read; only the starts of code sections are known then.
 */
#include "sdt/frames.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/error.h"

#define PCREL_SDATA4 0x1b
#define UDATA4 0x03
#define DATAREL_SDATA4 0x3b

/* The part of .eh_frame that holds the table's FDEs. */
struct fdes {
	unsigned char *data;
	uint64_t address, size;
};

static int frames_add(struct frames *frames, uint64_t start, uint64_t end)
{
	if (ALLOC_GROW(frames->list, frames->n + 1, frames->room))
		return -ENOMEM;
	frames->list[frames->n++] = (struct frame_range){ start, end };
	return 0;
}

/*
 * Returns the end of the function that starts at `start`, or `start` if it is not known. An FDE is its length, the
 * distance to its CIE, the function's start and the function's length. The CIE would say how the last two are encoded;
 * this code assumes 4 bytes, relative to their own address, and believes them if the start is the table's.
 */
static uint64_t fde_end(const struct elf_file *file, const struct fdes *fdes, uint64_t fde, uint64_t start)
{
	const unsigned char *at = fdes->data + (fde - fdes->address);

	if (fde < fdes->address || fde - fdes->address > fdes->size - 16 ||
	    fde + 8 + (uint64_t)(int32_t)elf_file_u32(file, at + 8) != start)
		return start;
	return start + elf_file_u32(file, at + 12);
}

/* Returns the address in one half of pair i: 0: the function's, 4: the FDE's. base is the table's address. */
static uint64_t pair_address(const struct elf_file *file, const unsigned char *pairs, uint64_t i, int half,
                             uint64_t base)
{
	return base + (uint64_t)(int32_t)elf_file_u32(file, pairs + 8 * i + half);
}

static int fdes_load(const struct elf_file *file, const struct pp_image *image, const unsigned char *pairs, uint64_t n,
                     uint64_t base, struct fdes *fdes)
{
	uint64_t low = UINT64_MAX, high = 0, offset;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t fde = pair_address(file, pairs, i, 4, base);

		low = fde < low ? fde : low;
		high = fde > high ? fde : high;
	}
	*fdes = (struct fdes){ .address = low, .size = high - low + 16 };
	if (low > high || image_offset(image, low, &offset))
		return -EBADMSG;
	return elf_file_load(file, offset, fdes->size, (char **)&fdes->data);
}

static int frames_add_pairs(const struct elf_file *file, const struct pp_image *image, const unsigned char *pairs,
                            uint64_t n, uint64_t base, struct frames *frames)
{
	struct fdes fdes = { 0 };
	int err = fdes_load(file, image, pairs, n, base, &fdes);

	for (uint64_t i = 0; !err && i < n; i++) {
		uint64_t start = pair_address(file, pairs, i, 0, base);

		err = frames_add(frames, start, fde_end(file, &fdes, pair_address(file, pairs, i, 4, base), start));
	}
	free(fdes.data);
	return err;
}

/* Returns 0 also if the table is damaged or of another form. */
static int frames_read_table(const struct elf_file *file, const struct pp_image *image, const GElf_Phdr *header,
                             struct frames *frames)
{
	unsigned char *data;
	uint64_t n;
	int err;

	if (header->p_filesz < 12)
		return 0;
	err = elf_file_load(file, header->p_offset, header->p_filesz, (char **)&data);
	if (err)
		return err == -ENOMEM ? err : 0;
	n = elf_file_u32(file, data + 8);
	if (data[0] == 1 && data[1] == PCREL_SDATA4 && data[2] == UDATA4 && data[3] == DATAREL_SDATA4 &&
	    n <= (header->p_filesz - 12) / 8)
		err = frames_add_pairs(file, image, data + 12, n, header->p_vaddr, frames);
	free(data);
	return err == -ENOMEM ? err : 0;
}

static int frames_add_sections(const struct elf_file *file, struct frames *frames)
{
	const uint64_t wanted = SHF_ALLOC | SHF_EXECINSTR;
	Elf_Scn *scn = NULL;
	GElf_Shdr section;

	while ((scn = elf_nextscn(file->elf, scn)) != NULL) {
		if (!gelf_getshdr(scn, &section) || section.sh_type != SHT_PROGBITS ||
		    (section.sh_flags & wanted) != wanted)
			continue;
		if (frames_add(frames, section.sh_addr, section.sh_addr))
			return -ENOMEM;
	}
	return 0;
}

static int frame_compare(const void *a, const void *b)
{
	const struct frame_range *x = a, *y = b;

	if (x->start != y->start)
		return x->start > y->start ? 1 : -1;
	return (x->end > y->end) - (x->end < y->end);
}

int frames_read(const struct elf_file *file, const struct pp_image *image, struct frames *frames)
{
	GElf_Phdr header;
	size_t n = 0;

	elf_getphdrnum(file->elf, &n);
	for (size_t i = 0; i < n; i++)
		if (gelf_getphdr(file->elf, (int)i, &header) && header.p_type == PT_GNU_EH_FRAME &&
		    frames_read_table(file, image, &header, frames))
			return -ENOMEM;
	if (frames_add_sections(file, frames))
		return -ENOMEM;
	if (frames->n)
		qsort(frames->list, frames->n, sizeof(*frames->list), frame_compare);
	return 0;
}

void frames_release(struct frames *frames)
{
	free(frames->list);
	*frames = (struct frames){ 0 };
}

/* Orders a frame that starts at the address before it, so that lower_bound() finds the frame after the wanted one. */
static int frame_compare_address(const void *frame, const void *address)
{
	return ((const struct frame_range *)frame)->start <= *(const uint64_t *)address ? -1 : 1;
}

const struct frame_range *frames_before(const struct frames *frames, uint64_t address)
{
	size_t after = lower_bound(frames->list, frames->n, sizeof(*frames->list), &address, frame_compare_address);

	return after ? &frames->list[after - 1] : NULL;
}
