/* SPDX-License-Identifier: MIT */
/*
 * What the makers of trampolines have in common, whatever the CPU: code that grows, with
 * labels and jumps that are filled in at the end; stubs, which are what is rarely
 * run and stands behind the rest; and the walk through a program's steps.
 */
#ifndef RUNTIME_AGENT_INPROC_CODEBUF_H
#define RUNTIME_AGENT_INPROC_CODEBUF_H

#include <string.h>

#include "runtime/agent/inproc/trampoline.h"

#define LABELS_MAX 8192
#define STUBS_MAX 4096

#define VALUE(i) (16 + 8 * (i)) /* where in a record */
#define RECORDED offsetof(struct agent_count, recorded)
#define FILTERED offsetof(struct agent_count, filtered)
#define IDLE offsetof(struct agent_count, idle)
#define LOST offsetof(struct agent_count, lost)

enum stub_kind { STUB_LOAD, STUB_LOAD_FRAME, STUB_FAULT_FILTERED, STUB_FAULT_ARGUMENT };

struct stub {
	uint8_t kind, size, is_signed, argument;
	uint8_t words;  /* on the machine's stack */
	int32_t offset; /* STUB_LOAD_FRAME: from the program's stack pointer */
	uint32_t label, back, fault;
};

struct code {
	uint8_t *bytes;
	size_t n;
	bool bad; /* something did not fit */
	uintptr_t at, site;
	uint32_t frame; /* bytes of stack that a trampoline takes, where that is so */
	const struct image *image;
	const struct trampoline_table *table;
	const struct life *life;
	int32_t labels[LABELS_MAX]; /* where; -1: not yet */
	uint32_t nlabels;
	struct {
		uint32_t at, label;
	} jumps[LABELS_MAX];
	uint32_t njumps;
	struct stub stubs[STUBS_MAX];
	uint32_t nstubs;
	uint8_t is_target[LABELS_MAX];
	uint32_t step_label[LABELS_MAX];
};

/* The one that there is, for slot_make()'s arguments; NULL: a program is too long. */
struct code *code_begin(uint8_t *bytes, uintptr_t at, uintptr_t site, const struct trampoline_consumer *consumers,
                        size_t n, const struct image *image, const struct trampoline_table *table,
                        const struct life *life);
static inline void code_put(struct code *c, const void *bytes, size_t n)
{
	if (c->n + n > TRAMPOLINE_MAX) {
		c->bad = true;
		return;
	}
	memcpy(c->bytes + c->n, bytes, n);
	c->n += n;
}

uint32_t code_label(struct code *c);
void code_here(struct code *c, uint32_t label);
/* What comes next are 4 bytes that will refer to the label. */
void code_jump(struct code *c, uint32_t label);
uint32_t code_stub(struct code *c, struct stub stub); /* its label */

/* A predicate, or one argument. */
struct body {
	struct code *c;
	const struct fetch_program *p;
	const uint8_t *depths;
	uint32_t filtered; /* label */
	uint32_t after;    /* label: behind the argument in work */
	unsigned argument;
	bool in_predicate;
};

/*
 * A load from a register and a number, the first thing that a program pushes: REG, LOAD or REG, IMM, ADD, LOAD. How
 * many steps that is; 0: it is none.
 */
size_t body_load_beside(const struct body *b, size_t i, size_t end, const struct fetch_step **load, int64_t *offset);
/* The label to go to where something cannot be read. */
uint32_t body_fault(struct body *b, unsigned words);
void code_predicate(struct code *c, const struct program *program, uint32_t filtered);
void code_arguments(struct code *c, const struct program *program);
/* The CPU's: code for the steps from i on, below end, at least one. Where to go on. */
size_t trampoline_step(struct body *b, size_t i, size_t end);

bool image_has(const struct image *image, uint64_t address, size_t size);
bool step_is_binary(uint8_t op);

#endif
