/* SPDX-License-Identifier: MIT */
/*
 * The fetch programs of a BPF program.
 *
 * The operands of the sites of a probe often differ only in constants, such as the offsets of variables from a base register.
 * The code for such fetch programs is emitted once. It loads the constants that differ from a table, whose rows are the specs.
 * The verifier's time depends on the code, so 1000 different operands load in the time of one.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/kernel/emit.h"

/* Returns whether the constant of a step differs within the n programs. */
static bool constant_differs(const struct fetch_program *const *programs, size_t n, size_t step)
{
	for (size_t i = 1; i < n; i++)
		if (programs[i]->steps[step].value != programs[0]->steps[step].value)
			return true;
	return false;
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
	for (size_t i = 0; i < programs[0]->nsteps; i++)
		group->columns[i] = programs[0]->steps[i].op == FETCH_IMM && constant_differs(programs, n, i)
		                            ? (int16_t)ncolumns++
		                            : -1;
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
		     end < specs->nprograms && !fetch_compare_shape(specs->programs[end], specs->programs[i]); end++)
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
						specs->programs[spec]->steps[i].value;
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
