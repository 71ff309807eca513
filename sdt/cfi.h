/* SPDX-License-Identifier: MIT */
/*
 * Where a function's return address and its caller's frame pointer are, by the unwind tables (.eh_frame), which stripped
 * files have as well. Without libdw (HAVE_LIBDW is not defined) nothing is found.
 */
#ifndef SDT_CFI_H
#define SDT_CFI_H

#include <stdbool.h>
#include <stdint.h>

struct pp_image;
struct image_cfi;

struct image_cfi *cfi_new(void);
void cfi_free(struct image_cfi *cfi);

/* The caller's value of a register, before the instruction at an address. */
struct cfi_value {
	bool in_memory; /* 8 bytes at reg + offset; else it is in reg */
	int reg;        /* a number of the CPU's table of registers (operand.h) */
	int64_t offset;
};

struct cfi_frame {
	struct cfi_value return_address, frame_pointer;
};

/*
 * Finds the frame at an address as linked. Opens the file at the first call. Returns false if the unwind tables do not
 * describe it by one register and an offset.
 */
bool cfi_frame(const struct pp_image *image, uint64_t address, struct cfi_frame *frame);

#endif
