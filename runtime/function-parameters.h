/* SPDX-License-Identifier: MIT */
/* The parameters of a function by DWARF, in place of the registers of the calling convention. */
#ifndef RUNTIME_FUNCTION_PARAMETERS_H
#define RUNTIME_FUNCTION_PARAMETERS_H

#include <stdbool.h>

#include "runtime/abi.h"
#include "sdt/ctype.h"

struct function_parameters {
	struct pp_arg args[ABI_SHAPE_ARGS_MAX];
	size_t nargs;
	char *operands;         /* as those of the abi's entry or leave */
	char *operands_by_jump; /* of leave_by_jump */
	struct dwarf_die *dies; /* of the arguments */
	struct pp_type *types;  /* what the arguments' `described` points to */
	struct ctypes names;    /* owns the names */
};

/*
 * Finds the parameters that are in integer registers at the entry of the function at an address, with the result and the
 * duration if is_return. Returns 0, -ENOENT if DWARF does not describe the function, or -ENOMEM. The caller frees
 * *parameters with function_parameters_free(), after an error too.
 */
int function_parameters(const struct pp_image *image, uint64_t address, const struct abi *abi, bool is_return,
                        struct function_parameters *parameters);
void function_parameters_free(struct function_parameters *parameters);

#endif
