/* SPDX-License-Identifier: MIT */
/*
 * func:SYMBOL: probes of code that has no note. Such a probe has one site, the
 * function's first instruction, and the arguments that the CPU's calling convention
 * passes in integer registers, arg0 to arg5, whatever the function takes of them.
 */
#ifndef RUNTIME_FUNCTION_H
#define RUNTIME_FUNCTION_H

#include <stdbool.h>

struct pp_image;
struct pp_probe;

#define FUNCTION_PROVIDER "func"

/* What stands behind "func:" in a pattern, NULL where it names no function. */
const char *function_name(const char *pattern);

/*
 * Makes the probe, for the caller to free by function_free(). -ENOENT: the image has no
 * such function; -EEXIST: several; -EINVAL: the name says something that cannot be.
 */
int function_probe(const struct pp_image *image, const char *name, struct pp_probe **probe);
void function_free(struct pp_probe *probe);

#endif
