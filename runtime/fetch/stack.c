/* SPDX-License-Identifier: MIT */
/*
 * Where the walk of a stack begins.
 *
 * At the site, the unwind tables of the file say where the return address is and where the caller's frame pointer is. So the
 * first caller is right whether or not the probed function has a frame pointer, also at its entry and at its return. From
 * there on the backends follow frame pointers. If the tables do not describe the site, they do so from the site on.
 *
 * A uretprobe hits in the caller, whose frame the tables of the function do not describe.
 */
#include "runtime/fetch/stack.h"

#include <errno.h>

#include "base/error.h"
#include "runtime/abi.h"
#include "sdt/cfi.h"
#include "sdt/image.h"

struct step_list {
	struct fetch_step *steps;
	size_t n;
	uint8_t part;
};

static void walk_add(struct step_list *list, struct fetch_step step)
{
	list->steps[list->n++] = step;
}

static void walk_end_word(struct step_list *list, uint8_t word)
{
	walk_add(list, (struct fetch_step){ .op = FETCH_KEYWORD, .a = list->part, .b = word });
}

static void walk_add_register(struct step_list *list, int reg, uint8_t word)
{
	walk_add(list, (struct fetch_step){ .op = FETCH_REG, .a = (uint8_t)reg });
	walk_end_word(list, word);
}

static void walk_add_value(struct step_list *list, const struct cfi_value *value, uint8_t word)
{
	walk_add(list, (struct fetch_step){ .op = FETCH_REG, .a = (uint8_t)value->reg });
	if (value->in_memory) {
		if (value->offset) {
			walk_add(list, (struct fetch_step){ .op = FETCH_IMM, .value = value->offset });
			walk_add(list, (struct fetch_step){ .op = FETCH_ADD });
		}
		walk_add(list, (struct fetch_step){ .op = FETCH_LOAD, .a = 8 });
	}
	walk_end_word(list, word);
}

size_t stack_steps(const struct pp_site *site, uint8_t part, struct fetch_step steps[STACK_STEPS_MAX])
{
	const struct pp_image *image = site->probe->image;
	const struct cpu *cpu = cpu_of(image->machine, image->is_64);
	const struct abi *abi = abi_of(image->machine);
	struct step_list list = { steps, 0, part };
	struct cfi_frame frame;

	if (!cpu || !abi || !image->is_64) {
		error_set(ENOTSUP, "'%s': stacks are supported in 64-bit programs only", image->name);
		return 0;
	}
	walk_add(&list, (struct fetch_step){ .op = FETCH_PID });
	walk_end_word(&list, AGG_WORD_PID);
	walk_add_register(&list, cpu->pc, AGG_WORD_SITE);
	if (!site->by_return && cfi_frame(image, site->address, &frame)) {
		walk_add_value(&list, &frame.return_address, AGG_WORD_RETURN);
		walk_add_value(&list, &frame.frame_pointer, AGG_WORD_FRAME);
	} else {
		walk_add(&list, (struct fetch_step){ .op = FETCH_IMM });
		walk_end_word(&list, AGG_WORD_RETURN);
		walk_add_register(&list, abi->fp, AGG_WORD_FRAME);
	}
	walk_add_register(&list, abi->sp, AGG_WORD_SP);
	return list.n;
}
