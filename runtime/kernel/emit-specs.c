/* SPDX-License-Identifier: MIT */
/*
 * Code that the fetch programs (specs) of a BPF program share.
 *
 * Operands of sites often differ only in registers and constants, such as the offsets of variables from a base register.
 * The code for such fetch programs is emitted once. It loads the values that differ from a table with a row for each spec. The
 * verifier's time depends on the size of the code, so 1000 different operands load in the time of one.
 *
 * The verifier does not accept a variable offset in struct pt_regs. So the code first copies the registers that its group
 * reads to scratch memory, and the table has offsets in this copy. The copy uses the memory in which strings are compared. A fetch
 * program shares code only with those that have the same registers if it uses this memory, if it has no scratch memory, or if it
 * reads the registers of the begin of a call.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/kernel/emitter.h"
#include "sdt/operand.h"

/* Returns the offset of a register in struct pt_regs. */
static unsigned register_at(const struct fetch_step *step)
{
	return cpu_of(MACHINE_HERE, true)->pt_regs[step->a];
}

/* Returns whether the program may share code with programs that have other registers. */
static bool registers_may_differ(const struct fetch_program *p)
{
	if (p->role != SITE_HIT || p->npredicate || p->naggregate)
		return false;
	for (size_t i = 0; i < p->nsteps; i++) {
		const struct fetch_step *step = &p->steps[i];

		if (fetch_uses_literal(step->op) || step->op == FETCH_HASH ||
		    (step->op == FETCH_REG && register_at(step) >= 8 * EMIT_REGISTERS))
			return false;
	}
	return true;
}

int emit_specs_compare(const struct fetch_program *a, const struct fetch_program *b)
{
	const bool x = registers_may_differ(a), y = registers_may_differ(b);

	return x != y ? x - y : fetch_compare_shape(a, b, x);
}

/* Returns the table's entry for a step that differs. */
static int64_t step_entry(const struct fetch_step *step)
{
	return step->op == FETCH_REG ? register_at(step) : step->value;
}

/* Returns whether a step differs within the n programs. */
static bool step_differs(const struct fetch_program *const *programs, size_t n, size_t i)
{
	const uint8_t op = programs[0]->steps[i].op;

	if (op != FETCH_IMM && op != FETCH_REG)
		return false;
	for (size_t k = 1; k < n; k++)
		if (step_entry(&programs[k]->steps[i]) != step_entry(&programs[0]->steps[i]))
			return true;
	return false;
}

/* Returns the words of struct pt_regs that step i of the n programs reads. */
static uint32_t step_registers(const struct fetch_program *const *programs, size_t n, size_t i)
{
	uint32_t registers = 0;

	for (size_t k = 0; k < n && programs[k]->steps[i].op == FETCH_REG; k++)
		registers |= 1u << register_at(&programs[k]->steps[i]) / 8;
	return registers;
}

/* Assigns columns of the table to the steps of a group of n programs. */
static int group_find_columns(struct emit_specs *specs, struct emit_group *group, size_t n)
{
	const struct fetch_program *const *programs = specs->programs + group->from;
	size_t ncolumns = 0;

	if (n == 1)
		return 0;
	group->columns = calloc(programs[0]->nsteps + 1, sizeof(*group->columns));
	if (!group->columns)
		return error_nomem();
	for (size_t i = 0; i < programs[0]->nsteps; i++) {
		const bool differs = step_differs(programs, n, i);

		group->columns[i] = differs ? (int16_t)ncolumns++ : -1;
		if (differs)
			group->registers |= step_registers(programs, n, i);
	}
	if (ncolumns > specs->ncolumns)
		specs->ncolumns = ncolumns;
	return 0;
}

static int groups_find(struct emit_specs *specs)
{
	size_t room = 0;
	int err = 0;

	for (size_t i = 0, end; i < specs->nprograms && !err; i = end) {
		for (end = i + 1;
		     end < specs->nprograms && !emit_specs_compare(specs->programs[end], specs->programs[i]); end++)
			;
		if (ALLOC_GROW(specs->groups, specs->ngroups + 1, room))
			return -ENOMEM;
		specs->groups[specs->ngroups] = (struct emit_group){ .from = i };
		err = group_find_columns(specs, &specs->groups[specs->ngroups++], end - i);
	}
	return err;
}

static void constants_fill(struct emit_specs *specs)
{
	for (size_t g = 0; g < specs->ngroups; g++) {
		const struct emit_group *group = &specs->groups[g];
		size_t end = g + 1 < specs->ngroups ? specs->groups[g + 1].from : specs->nprograms;

		for (size_t spec = group->from; group->columns && spec < end; spec++)
			for (size_t i = 0; i < specs->programs[spec]->nsteps; i++)
				if (group->columns[i] >= 0)
					specs->constants[spec * specs->ncolumns + (size_t)group->columns[i]] =
						step_entry(&specs->programs[spec]->steps[i]);
	}
}

int emit_specs_open(struct emit_specs *specs, const struct fetch_program *const *programs, size_t nprograms)
{
	int err;

	*specs = (struct emit_specs){ .programs = programs, .nprograms = nprograms, .nrows = 1 };
	err = groups_find(specs);
	if (err || !specs->ncolumns)
		goto out;
	while (specs->nrows < nprograms)
		specs->nrows *= 2;
	specs->constants = calloc(specs->nrows * specs->ncolumns, sizeof(*specs->constants));
	if (specs->constants)
		constants_fill(specs);
	else
		err = error_nomem();
out:
	if (err)
		emit_specs_close(specs);
	return err;
}

void emit_specs_close(struct emit_specs *specs)
{
	for (size_t g = 0; g < specs->ngroups; g++)
		free(specs->groups[g].columns);
	free(specs->groups);
	free(specs->constants);
	*specs = (struct emit_specs){ 0 };
}
