/* SPDX-License-Identifier: MIT */
#include "runtime/agent/inproc/codebuf.h"

#include <string.h>

static struct code code_now;

struct code *code_begin(uint8_t *bytes, uintptr_t at, uintptr_t site, const struct trampoline_consumer *consumers,
                        size_t n, const struct image *image, const struct trampoline_table *table,
                        const struct life *life)
{
	struct code *c = &code_now;

	for (size_t i = 0; i < n; i++)
		if (consumers[i].program->fetch.nsteps >= LABELS_MAX)
			return NULL;
	c->bytes = bytes;
	c->n = c->nlabels = c->njumps = c->nstubs = 0;
	c->bad = false;
	c->at = at;
	c->site = site;
	c->image = image;
	c->table = table;
	c->life = life;
	return c;
}

uint32_t code_label(struct code *c)
{
	if (c->nlabels == LABELS_MAX) {
		c->bad = true;
		return 0;
	}
	c->labels[c->nlabels] = -1;
	return c->nlabels++;
}

void code_here(struct code *c, uint32_t label)
{
	c->labels[label] = c->n;
}

void code_jump(struct code *c, uint32_t label)
{
	if (c->njumps == LABELS_MAX) {
		c->bad = true;
		return;
	}
	c->jumps[c->njumps].at = c->n;
	c->jumps[c->njumps++].label = label;
}

uint32_t code_stub(struct code *c, struct stub stub)
{
	if (c->nstubs == STUBS_MAX) {
		c->bad = true;
		return 0;
	}
	stub.label = code_label(c);
	c->stubs[c->nstubs++] = stub;
	return stub.label;
}

uint32_t body_fault(struct body *b, unsigned words)
{
	return code_stub(b->c, (struct stub){
				       .kind = b->in_predicate ? STUB_FAULT_FILTERED : STUB_FAULT_ARGUMENT,
				       .words = words,
				       .argument = b->argument,
				       .back = b->in_predicate ? b->filtered : b->after,
			       });
}

bool image_has(const struct image *image, uint64_t address, size_t size)
{
	for (uint32_t i = 0; i < image->n; i++)
		if (address >= image->range[i].start && address < image->range[i].end &&
		    size <= image->range[i].end - address)
			return true;
	return false;
}

size_t body_load_beside(const struct body *b, size_t i, size_t end, const struct fetch_step **load, int64_t *offset)
{
	const struct fetch_step *s = &b->p->steps[i];
	bool with_offset = i + 3 < end && s[1].op == FETCH_IMM && s[2].op == FETCH_ADD;
	size_t n = with_offset ? 4 : 2;

	*load = &s[n - 1];
	*offset = with_offset ? s[1].value : 0;
	if (i + n > end || (*load)->op != FETCH_LOAD || b->depths[i])
		return 0;
	for (size_t k = 1; k < n; k++)
		if (b->c->is_target[i + k])
			return 0;
	return n;
}

bool step_is_binary(uint8_t op)
{
	return op >= FETCH_ADD && op <= FETCH_LE;
}

void code_predicate(struct code *c, const struct program *program, uint32_t filtered)
{
	struct body b = {
		.c = c, .p = &program->fetch, .depths = program->depths, .filtered = filtered, .in_predicate = true
	};
	size_t n = program->fetch.npredicate;

	memset(c->is_target, 0, n);
	for (size_t i = 0; i < n; i++) {
		const struct fetch_step *s = &program->fetch.steps[i];

		if ((s->op == FETCH_JZ || s->op == FETCH_JNZ) && !c->is_target[s->value]) {
			c->is_target[s->value] = 1;
			c->step_label[s->value] = code_label(c);
		}
	}
	for (size_t i = 0; i < n && !c->bad;) {
		if (c->is_target[i])
			code_here(c, c->step_label[i]);
		i = trampoline_step(&b, i, n);
	}
}

void code_arguments(struct code *c, const struct program *program)
{
	const struct fetch_program *p = &program->fetch;
	struct body b = { .c = c, .p = p, .depths = program->depths };
	size_t i = p->npredicate;

	memset(c->is_target, 0, p->nsteps);
	for (b.argument = 0; b.argument < p->nargs && !c->bad; b.argument++) {
		size_t end = i;

		while (p->steps[end].op != FETCH_ARG && p->steps[end].op != FETCH_STRING)
			end++;
		end++;
		b.after = code_label(c);
		while (i < end && !c->bad)
			i = trampoline_step(&b, i, end);
		code_here(c, b.after);
	}
}
