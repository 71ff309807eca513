/* SPDX-License-Identifier: MIT */
#include "runtime/fetch/parser.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "runtime/fetch/filter.h"

_Static_assert(FILTER_LENGTH_MAX / sizeof("a==\"\"") < 256, "the number of a literal fits into 8 bits");

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

void parser_emit_truth(struct parser *p, const struct value *value)
{
	if (value->is_truth)
		return;
	parser_emit(p, &value->token, FETCH_NOT, false, 0);
	parser_emit(p, &value->token, FETCH_NOT, false, 0);
}
