/* SPDX-License-Identifier: MIT */
/* The steps of a stack of calls in a key (runtime/aggregate.h). */
#ifndef RUNTIME_FETCH_STACK_H
#define RUNTIME_FETCH_STACK_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/fetch/program.h"

#define STACK_STEPS_MAX 16

/*
 * Stores the steps that write the AGG_WORDS of this part of a key, for a hit of the site. Returns how many there are, 0 with
 * an error message if stacks are not supported on the file's CPU.
 */
size_t stack_steps(const struct pp_site *site, uint8_t part, struct fetch_step steps[STACK_STEPS_MAX]);

#endif
