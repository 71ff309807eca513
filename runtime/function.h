/* SPDX-License-Identifier: MIT */
/*
 * func:SYMBOL: probes of code that has no note.
 *
 * func:SYMBOL has one site, the function's first instruction, and the arguments that
 * the CPU's calling convention passes in integer registers, arg0 to arg5, whatever the
 * function takes of them.
 *
 * func:SYMBOL+OFFSET has one site in the function's middle, and the integer registers
 * as arguments, by their names.
 *
 * func:0x1130 is the function that begins at this address as linked, func:+0x1134 the
 * instruction there. Stripped files have neither symbols, but mostly unwind tables.
 *
 * func:SYMBOL%return has the entry, where calls begin, and each place where the
 * function is left (code.h), where they end. A call's end has the arguments that
 * it began with, arg0 to arg5, what it returns, ret, and how long it took, duration.
 */
#ifndef RUNTIME_FUNCTION_H
#define RUNTIME_FUNCTION_H

#include <stdbool.h>

struct pp_image;
struct pp_probe;
struct process;

#define FUNCTION_PROVIDER "func"

/* What a hit of a site means. */
enum site_role {
	SITE_HIT,   /* itself */
	SITE_CALL,  /* a call begins that one of its probe's other sites will end */
	SITE_LEAVE, /* a call ends, if it was seen to begin */
};

/*
 * In the operands of a SITE_LEAVE these registers are not the CPU's: the first six are those of the call's begin, %r11
 * is the call's duration in ns, and %rbx is 0.
 */
#define LEAVE_ENTRY_REGISTERS    \
	{                        \
		7, 6, 2, 1, 8, 9 \
	} /* rdi rsi rdx rcx r8 r9 */
#define LEAVE_ENTRY_COUNT 6
#define LEAVE_DURATION 11
#define LEAVE_ZERO 3

/* What stands behind "func:" in a pattern, NULL where it names no function. */
const char *function_name(const char *pattern);

/* Checks the form of what follows "func:". Returns -EINVAL if it cannot name anything in any image. */
int function_check(const char *name);
/* True for 0x1130 and +0x1134, which mean something in one image only. */
bool function_is_address(const char *name);

/*
 * Makes the probe, for the caller to free by function_free(). Returns -ENOENT if the image
 * has no such function, and -ENXIO if the image has something else of that name, or no
 * instruction at that address.
 */
int function_probe(const struct pp_image *image, const char *name, struct pp_probe **probe);
/* Why it cannot be armed, NULL where it can; it then has the function's entry as a site to tell this of. */
const char *function_refused(const struct pp_probe *probe);
/*
 * Returns the name of the function that an indirect function's resolver chose in the process, as "func:SYMBOL", to be
 * freed by free(). NULL: the probe is not an indirect function's, or that is not known.
 */
char *function_chosen(const struct pp_probe *probe, const struct process *process);
void function_free(struct pp_probe *probe);

#endif
