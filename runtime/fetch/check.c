/* SPDX-License-Identifier: MIT */
/* Checks fetch programs. The agent links this file too, so it uses nothing else of the library. */
#include <probepoint.h>
#include <stdbool.h>
#include <string.h>

#include "runtime/fetch/program.h"
#include "runtime/function.h"

static const struct {
	uint8_t pops, pushes;
} effects[FETCH_TEST + 1] = {
	[FETCH_IMM] = { 0, 1 },    [FETCH_REG] = { 0, 1 },    [FETCH_EXTEND] = { 1, 1 },     [FETCH_LOAD] = { 1, 1 },
	[FETCH_ARG] = { 1, 0 },    [FETCH_STRING] = { 1, 0 }, [FETCH_ADD] = { 2, 1 },        [FETCH_SUB] = { 2, 1 },
	[FETCH_MUL] = { 2, 1 },    [FETCH_DIV] = { 2, 1 },    [FETCH_MOD] = { 2, 1 },        [FETCH_AND] = { 2, 1 },
	[FETCH_OR] = { 2, 1 },     [FETCH_XOR] = { 2, 1 },    [FETCH_SHL] = { 2, 1 },        [FETCH_SHR] = { 2, 1 },
	[FETCH_EQ] = { 2, 1 },     [FETCH_NE] = { 2, 1 },     [FETCH_LT] = { 2, 1 },         [FETCH_LE] = { 2, 1 },
	[FETCH_NOT] = { 1, 1 },    [FETCH_NEG] = { 1, 1 },    [FETCH_COM] = { 1, 1 },        [FETCH_PID] = { 0, 1 },
	[FETCH_TID] = { 0, 1 },    [FETCH_JZ] = { 1, 0 },     [FETCH_JNZ] = { 1, 0 },        [FETCH_STREQ] = { 1, 1 },
	[FETCH_PREFIX] = { 1, 1 }, [FETCH_COMMEQ] = { 0, 1 }, [FETCH_COMMPREFIX] = { 0, 1 }, [FETCH_TEST] = { 1, 0 },
	[FETCH_HASH] = { 1, 1 },   [FETCH_ENTRY] = { 0, 1 },  [FETCH_DURATION] = { 0, 1 },
};

int fetch_effect(uint8_t op)
{
	return effects[op].pushes - effects[op].pops;
}

/* Checks the fields of step i. nargs is the number of arguments before it. */
static bool step_is_valid(const struct fetch_program *program, size_t i, unsigned nregisters, size_t nargs)
{
	const struct fetch_step *step = &program->steps[i];
	bool sized = step->a == 1 || step->a == 2 || step->a == 4 || step->a == 8;
	bool in_predicate = i < program->npredicate;

	switch (step->op) {
	case FETCH_REG: return step->a < nregisters;
	case FETCH_EXTEND: return sized && step->b + 8 * step->a <= 64 && step->c <= 1;
	case FETCH_LOAD: return sized && step->c <= 1;
	case FETCH_ARG:
	case FETCH_STRING:
		return !in_predicate && i < program->nsteps - program->nkey && nargs < program->nargs &&
		       step->a == nargs &&
		       (step->op == FETCH_STRING) == (program->kind[nargs] == PP_STRING);
	case FETCH_JZ:
	case FETCH_JNZ: return in_predicate && step->value > (int64_t)i && step->value < (int64_t)program->npredicate;
	case FETCH_STREQ:
	case FETCH_PREFIX:
	case FETCH_COMMEQ:
	case FETCH_COMMPREFIX:
		return in_predicate && step->a < program->nliterals &&
		       program->literals[step->a].length <= FETCH_LITERAL_MAX;
	case FETCH_HASH: return i >= program->nsteps - program->nkey;
	case FETCH_DURATION: return program->role == SITE_LEAVE && i < program->nsteps - program->nkey;
	case FETCH_ENTRY:
		return program->role == SITE_LEAVE && step->a < FETCH_ENTRY_MAX && i < program->nsteps - program->nkey;
	case FETCH_TEST: return i + 1 == program->npredicate;
	default: return step->op < FETCH_TEST && step->c <= 1;
	}
}

const char *fetch_fault(const struct fetch_program *program, unsigned nregisters, uint8_t *depths, size_t *at)
{
	const uint8_t unknown = FETCH_DEPTH_MAX + 1;
	size_t nargs = 0, nstrings = 0, i;
	unsigned depth = 0;

	*at = 0;
	if (program->nargs > RECORD_ARGS_MAX || program->nkey > program->nsteps ||
	    program->npredicate > program->nsteps - program->nkey)
		return "invalid counts";
	memset(depths, unknown, program->nsteps);
	for (i = 0; i < program->nsteps; i++) {
		const struct fetch_step *step = &program->steps[i];
		bool is_arg = step->op == FETCH_ARG || step->op == FETCH_STRING;

		if (depths[i] != unknown && depths[i] != depth)
			break;
		if (i + program->nkey == program->nsteps && (depth || nargs != program->nargs))
			break;
		depths[i] = depth;
		if (!step_is_valid(program, i, nregisters, nargs) || depth < effects[step->op].pops)
			break;
		if (step->op == FETCH_JZ || step->op == FETCH_JNZ) {
			if (depths[step->value] != unknown && depths[step->value] != depth)
				break;
			depths[step->value] = depth;
		}
		depth += fetch_effect(step->op);
		nargs += is_arg;
		nstrings += step->op == FETCH_STRING;
		if (depth > FETCH_DEPTH_MAX || nstrings > RECORD_STRINGS_MAX)
			break;
		if (depth && (is_arg || i + 1 == program->npredicate))
			break;
		if (i + 1 == program->npredicate && step->op != FETCH_TEST)
			break;
	}
	*at = i;
	if (i < program->nsteps)
		return "invalid step";
	if (depth != (program->nkey > 0) || nargs != program->nargs)
		return "unexpected end";
	return NULL;
}
