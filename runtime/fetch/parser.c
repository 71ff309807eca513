/* SPDX-License-Identifier: MIT */
#include "runtime/fetch/parser.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/fetch/filter.h"

_Static_assert(FILTER_LENGTH_MAX / sizeof("a==\"\"") < 256, "the number of a literal fits into 8 bits");

void parser_begin(struct parser *p, const char *text, const struct pp_site *site, const struct fetch_program *program)
{
	*p = (struct parser){ .tokens = { .text = text }, .probe = site->probe, .program = program };
	p->types = (struct ctypes){ .image = site->probe->image, .address = site->address };
}

void parser_release(struct parser *p)
{
	ctypes_release(&p->types);
	free(p->steps);
	free(p->literals);
}

void parser_emit_step(struct parser *p, const struct token *token, const struct fetch_step *step)
{
	if (p->error)
		return;
	p->depth += fetch_effect(step->op);
	if (p->depth > FETCH_DEPTH_MAX) {
		p->error = parser_fail(p, token->at,
		                       "the filter needs more than %d values on its stack here; use fewer parentheses",
		                       FETCH_DEPTH_MAX);
		return;
	}
	p->error = ALLOC_GROW(p->steps, p->nsteps + 1, p->steps_room);
	if (!p->error)
		p->steps[p->nsteps++] = *step;
}

void parser_emit(struct parser *p, const struct token *token, enum fetch_opcode op, bool is_signed, int64_t value)
{
	parser_emit_step(p, token, &(struct fetch_step){ .op = op, .c = is_signed, .value = value });
}

void parser_emit_literal(struct parser *p, const struct token *token, enum fetch_opcode op,
                         const struct fetch_literal *literal)
{
	if (!p->error)
		p->error = ALLOC_GROW(p->literals, p->nliterals + 1, p->literals_room);
	if (p->error)
		return;
	p->literals[p->nliterals++] = *literal;
	parser_emit_step(p, token, &(struct fetch_step){ .op = op, .a = p->nliterals - 1 });
}

int parser_emit_jump(struct parser *p, const struct token *token, enum fetch_opcode op)
{
	if (!p->error && p->no_jumps)
		p->error = parser_fail(p, token->at,
		                       "&&, || and comparisons of strings with a length can only be used in filters");
	parser_emit(p, token, op, false, 0);
	return p->error;
}

void parser_emit_steps(struct parser *p, const struct token *token, const struct fetch_step *steps, size_t n)
{
	for (size_t i = 0; i < n; i++)
		parser_emit_step(p, token, &steps[i]);
}

void parser_repeat(struct parser *p, const struct token *token, size_t from, size_t to)
{
	for (size_t i = from; i < to && !p->error; i++) {
		struct fetch_step copy = p->steps[i];

		parser_emit_step(p, token, &copy);
	}
}

int parser_take_length(struct parser *p, size_t from, struct value *value)
{
	size_t n = p->nsteps - from;
	struct fetch_step *steps;

	if (p->error)
		return p->error;
	steps = arena_alloc(&p->types.arena, n * sizeof(*steps));
	if (!steps)
		return error_nomem();
	memcpy(steps, p->steps + from, n * sizeof(*steps));
	value->length = steps;
	value->nlength = n;
	p->nsteps = from;
	p->depth--;
	return 0;
}

void parser_emit_truth(struct parser *p, const struct value *value)
{
	if (value->is_truth)
		return;
	parser_emit(p, &value->token, FETCH_NOT, false, 0);
	parser_emit(p, &value->token, FETCH_NOT, false, 0);
}

int parser_insert(struct parser *p, struct fetch_program *program, size_t at, size_t rest)
{
	size_t nliterals = program->nliterals + p->nliterals, nrest = program->nsteps - rest;
	struct fetch_step *steps = malloc((at + p->nsteps + nrest + 1) * sizeof(*steps));
	struct fetch_literal *literals = calloc(nliterals + 1, sizeof(*literals));

	if (!steps || !literals || nliterals > UINT8_MAX + 1u) {
		free(steps);
		free(literals);
		return nliterals > UINT8_MAX + 1u ? error_set(EINVAL, "more than %u quoted strings", UINT8_MAX + 1u)
		                                  : error_nomem();
	}
	if (at)
		memcpy(steps, program->steps, at * sizeof(*steps));
	for (size_t i = 0; i < p->nsteps; i++) {
		struct fetch_step *step = &steps[at + i];

		*step = p->steps[i];
		if (step->op == FETCH_JZ || step->op == FETCH_JNZ)
			step->value += (int64_t)at;
		if (fetch_uses_literal(step->op))
			step->a += program->nliterals;
	}
	if (nrest)
		memcpy(steps + at + p->nsteps, program->steps + rest, nrest * sizeof(*steps));
	if (program->nliterals)
		memcpy(literals, program->literals, program->nliterals * sizeof(*literals));
	if (p->nliterals)
		memcpy(literals + program->nliterals, p->literals, p->nliterals * sizeof(*literals));
	free(program->steps);
	free(program->literals);
	program->steps = steps;
	program->nsteps = at + p->nsteps + nrest;
	program->literals = literals;
	program->nliterals = nliterals;
	return 0;
}
