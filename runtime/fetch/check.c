/* SPDX-License-Identifier: MIT */
/* Checks fetch programs. The agent links this file too, so it uses nothing else of the library. */
#include <probepoint.h>
#include <stdbool.h>
#include <string.h>

#include "runtime/fetch/program.h"

static const struct {
	uint8_t pops, pushes;
} effects[FETCH_OPCODES] = {
	[FETCH_IMM] = { 0, 1 },        [FETCH_REG] = { 0, 1 },      [FETCH_EXTEND] = { 1, 1 },
	[FETCH_LOAD] = { 1, 1 },       [FETCH_ARG] = { 1, 0 },      [FETCH_STRING] = { 1, 0 },
	[FETCH_ADD] = { 2, 1 },        [FETCH_SUB] = { 2, 1 },      [FETCH_MUL] = { 2, 1 },
	[FETCH_DIV] = { 2, 1 },        [FETCH_MOD] = { 2, 1 },      [FETCH_AND] = { 2, 1 },
	[FETCH_OR] = { 2, 1 },         [FETCH_XOR] = { 2, 1 },      [FETCH_SHL] = { 2, 1 },
	[FETCH_SHR] = { 2, 1 },        [FETCH_EQ] = { 2, 1 },       [FETCH_NE] = { 2, 1 },
	[FETCH_LT] = { 2, 1 },         [FETCH_LE] = { 2, 1 },       [FETCH_NOT] = { 1, 1 },
	[FETCH_NEG] = { 1, 1 },        [FETCH_COM] = { 1, 1 },      [FETCH_PID] = { 0, 1 },
	[FETCH_TID] = { 0, 1 },        [FETCH_JZ] = { 1, 0 },       [FETCH_JNZ] = { 1, 0 },
	[FETCH_STREQ] = { 1, 1 },      [FETCH_PREFIX] = { 1, 1 },   [FETCH_COMMEQ] = { 0, 1 },
	[FETCH_COMMPREFIX] = { 0, 1 }, [FETCH_TEST] = { 1, 0 },     [FETCH_STRINGN] = { 2, 0 },
	[FETCH_HASH] = { 1, 1 },       [FETCH_ENTRY] = { 0, 1 },    [FETCH_DURATION] = { 0, 1 },
	[FETCH_CPU] = { 0, 1 },        [FETCH_KEY] = { 1, 0 },      [FETCH_KEYSTR] = { 1, 0 },
	[FETCH_SEARCH] = { 1, 1 },     [FETCH_KEYCOMM] = { 0, 0 },  [FETCH_AGG] = { 1, 0 },
	[FETCH_KEYWORD] = { 1, 0 },    [FETCH_KEYSTACK] = { 0, 0 },
};

uint16_t fetch_string_max(const struct fetch_program *program)
{
	for (size_t i = program->nsteps; i-- > program->npredicate + program->naggregate;)
		if (program->steps[i].op == FETCH_STRING || program->steps[i].op == FETCH_STRINGN)
			return program->steps[i].value;
	return RECORD_STRING_DEFAULT;
}

bool fetch_uses_literal(uint8_t op)
{
	return op == FETCH_STREQ || op == FETCH_PREFIX || op == FETCH_COMMEQ || op == FETCH_COMMPREFIX ||
	       op == FETCH_SEARCH;
}

int fetch_effect(uint8_t op)
{
	return effects[op].pushes - effects[op].pops;
}

/* What a check has seen before a step. */
struct check_state {
	unsigned depth;
	size_t nargs, nstrings, nparts, ncolumns;
	size_t farthest; /* target of a jump */
};

static bool aggregate_is_valid(const struct fetch_aggregate *aggregate)
{
	size_t nstacks = 0;

	if (!aggregate || aggregate->ncolumns - 1 >= AGG_COLUMNS_MAX || aggregate->nparts > AGG_PARTS_MAX)
		return false;
	for (size_t i = 0; i < aggregate->ncolumns; i++)
		if (!agg_column_is_valid(&aggregate->columns[i]))
			return false;
	for (size_t i = 0; i < aggregate->nparts; i++)
		nstacks += aggregate->parts[i].kind == PP_STACK;
	return nstacks <= 1;
}

/* Returns whether the step can belong to a part of this kind. */
static bool step_fits_part(const struct fetch_step *step, uint8_t kind)
{
	switch (step->op) {
	case FETCH_KEYWORD: return kind == PP_STACK && step->b < AGG_WORDS;
	case FETCH_KEYSTACK: return kind == PP_STACK;
	case FETCH_KEY: return kind != PP_STRING && kind != PP_STACK;
	default: return kind == PP_STRING;
	}
}

/* Parts of the key come in their order, then columns in theirs. */
static bool aggregate_step_is_valid(const struct fetch_aggregate *aggregate, const struct fetch_step *step,
                                    const struct check_state *state)
{
	if (step->op == FETCH_AGG)
		return state->nparts == aggregate->nparts && step->a == state->ncolumns &&
		       step->a < aggregate->ncolumns;
	return step->a == state->nparts && step->a < aggregate->nparts &&
	       step_fits_part(step, aggregate->parts[step->a].kind);
}

/* Checks the fields of step i. */
static bool step_is_valid(const struct fetch_program *program, size_t i, unsigned nregisters,
                          const struct check_state *state)
{
	const struct fetch_step *step = &program->steps[i];
	size_t end = i < program->npredicate ? program->npredicate : program->npredicate + program->naggregate;
	bool sized = step->a == 1 || step->a == 2 || step->a == 4 || step->a == 8;
	bool in_expression = i < end, in_aggregate = in_expression && i >= program->npredicate;
	bool in_key = i >= program->nsteps - program->nkey;

	switch (step->op) {
	case FETCH_REG: return step->a < nregisters;
	case FETCH_EXTEND: return sized && step->b + 8 * step->a <= 64 && step->c <= 1;
	case FETCH_LOAD: return sized && step->c <= 1;
	case FETCH_ARG:
		return !in_expression && !in_key && state->nargs < program->nargs && step->a == state->nargs &&
		       program->kind[step->a] != PP_STRING;
	case FETCH_STRING:
	case FETCH_STRINGN:
		return !in_expression && !in_key && state->nargs < program->nargs && step->a == state->nargs &&
		       program->kind[step->a] == PP_STRING && step->value >= 1 && step->value <= RECORD_STRING_MAX &&
		       step->value == fetch_string_max(program);
	case FETCH_JZ:
	case FETCH_JNZ: return in_expression && step->value > (int64_t)i && step->value < (int64_t)end;
	case FETCH_STREQ:
	case FETCH_PREFIX:
	case FETCH_COMMEQ:
	case FETCH_COMMPREFIX:
		return step->a < program->nliterals && program->literals[step->a].length <= FETCH_LITERAL_MAX;
	case FETCH_HASH: return in_key;
	case FETCH_DURATION: return program->role == SITE_LEAVE && !in_key;
	case FETCH_ENTRY: return program->role == SITE_LEAVE && !in_key && step->a < FETCH_ENTRY_MAX;
	case FETCH_SEARCH:
		return step->a < program->nliterals && step->c <= 1 &&
		       program->literals[step->a].length <= FETCH_LITERAL_MAX;
	case FETCH_TEST: return i + 1 == program->npredicate;
	case FETCH_KEY:
	case FETCH_KEYSTR:
	case FETCH_KEYCOMM:
	case FETCH_KEYWORD:
	case FETCH_KEYSTACK:
	case FETCH_AGG: return in_aggregate && aggregate_step_is_valid(program->aggregate, step, state);
	default: return step->op < FETCH_TEST && step->c <= 1;
	}
}

/* Returns whether the step is the last of an expression, which leaves the stack empty. */
static bool step_ends(uint8_t op)
{
	return fetch_ends_argument(op) || op == FETCH_TEST || fetch_is_of_aggregate(op);
}

/* Checks step i and notes what it does. */
static bool step_check(const struct fetch_program *program, size_t i, unsigned nregisters, uint8_t *depths,
                       struct check_state *state)
{
	const uint8_t unknown = FETCH_DEPTH_MAX + 1;
	const struct fetch_step *step = &program->steps[i];

	if (depths[i] != unknown && depths[i] != state->depth)
		return false;
	if (i + program->nkey == program->nsteps && (state->depth || state->nargs != program->nargs))
		return false;
	depths[i] = state->depth;
	if (!step_is_valid(program, i, nregisters, state) || state->depth < effects[step->op].pops)
		return false;
	if (step->op == FETCH_JZ || step->op == FETCH_JNZ) {
		if (depths[step->value] != unknown && depths[step->value] != state->depth)
			return false;
		depths[step->value] = state->depth;
		state->farthest = (size_t)step->value > state->farthest ? (size_t)step->value : state->farthest;
	}
	state->depth += fetch_effect(step->op);
	state->nargs += fetch_ends_argument(step->op);
	state->nstrings += step->op == FETCH_STRING || step->op == FETCH_STRINGN;
	state->nparts += fetch_ends_part(step->op);
	state->ncolumns += step->op == FETCH_AGG;
	if (state->depth > FETCH_DEPTH_MAX || state->nstrings > RECORD_STRINGS_MAX)
		return false;
	if (step_ends(step->op) && (state->depth || state->farthest > i))
		return false;
	if (i + 1 == program->npredicate && step->op != FETCH_TEST)
		return false;
	return i + 1 != program->npredicate + program->naggregate || !program->naggregate || step->op == FETCH_AGG;
}

const char *fetch_fault(const struct fetch_program *program, unsigned nregisters, uint8_t *depths, size_t *at)
{
	struct check_state state = { 0 };
	size_t i;

	*at = 0;
	if (program->nargs > RECORD_ARGS_MAX || program->nkey > program->nsteps ||
	    program->npredicate > program->nsteps - program->nkey ||
	    program->naggregate > program->nsteps - program->nkey - program->npredicate)
		return "invalid counts";
	if (program->naggregate && !aggregate_is_valid(program->aggregate))
		return "invalid aggregate";
	memset(depths, FETCH_DEPTH_MAX + 1, program->nsteps);
	for (i = 0; i < program->nsteps; i++)
		if (!step_check(program, i, nregisters, depths, &state))
			break;
	*at = i;
	if (i < program->nsteps)
		return "invalid step";
	if (state.depth != (program->nkey > 0) || state.nargs != program->nargs ||
	    (program->naggregate && state.ncolumns != program->aggregate->ncolumns))
		return "unexpected end";
	return NULL;
}
