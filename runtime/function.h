/* SPDX-License-Identifier: MIT */
/*
 * func:SYMBOL: probes of code that has no note. A pattern makes a probe of one or more sites:
 *
 *     func:SYMBOL           the function's first instruction. Its arguments are arg0 to arg5 (aarch64: arg7): the registers
 *                           in which the calling convention passes integers, whatever parameters the function
 *                           has
 *     func:SYMBOL+OFFSET    an instruction in the middle of the function. Its arguments are the integer registers, by
 *                           their names
 *     func:0x1130           the function that begins at this address as linked
 *     func:+0x1134          the instruction at this address as linked
 *     func:SYMBOL%return    the function's entry, where calls begin, and all its exits (disasm.h), where calls end. Only
 *                           an end is an event. Its arguments are those of the call, as at its entry, its result ret, and
 *                           its duration. The plugin's sites are used instead if the function has them (call.h)
 *
 * Addresses serve stripped files, which have no symbols but usually have unwind tables.
 */
#ifndef RUNTIME_FUNCTION_H
#define RUNTIME_FUNCTION_H

#include <stdbool.h>

#include "runtime/fetch/program.h"
#include <stdint.h>

struct pp_image;
struct pp_probe;
struct process;

#define FUNCTION_PROVIDER "func"

/* Returns the part of a pattern after "func:", NULL if the pattern does not name a function. */
const char *function_name(const char *pattern);

/*
 * Checks the syntax of the part after "func:". Returns 0, -ENOMEM, or -EINVAL with an error message if it cannot name
 * anything in any image.
 */
int function_check(const char *name);

/* Returns true for an address, as 0x1130 or +0x1134, which has a meaning in one image only. */
bool function_is_address(const char *name);

/*
 * Makes the probe that the part after "func:" names. Returns 0, -ENOENT if the image has no such function, -ENXIO if the
 * name belongs to something else or no instruction begins at the address, -EOPNOTSUPP, or another error; all with an error
 * message. uretprobe: the ends of calls are seen by a uretprobe. The caller frees *probe with function_free().
 */
int function_probe(const struct pp_image *image, const char *name, bool uretprobe, struct pp_probe **probe);

/*
 * Makes the probe of the function at an address, with a name, and of its return if is_return. Returns as function_probe()
 * does.
 */
int function_probe_at(const struct pp_image *image, const char *name, uint64_t address, bool is_return, bool uretprobe,
                      struct pp_probe **probe);

/*
 * Returns the reason why none of the probe's sites can be armed, or NULL. A probe with a reason has sites, so that they
 * can be reported: the function's entry, or all functions of an ambiguous name.
 */
const char *function_refused(const struct pp_probe *probe);

/*
 * Returns the function that the resolver of an indirect function chose in the process, as "func:SYMBOL". Returns NULL if
 * the probe does not belong to an indirect function, or the choice is not known. The caller frees it with free().
 */
char *function_chosen(const struct pp_probe *probe, const struct process *process);

void function_free(struct pp_probe *probe);

#endif
