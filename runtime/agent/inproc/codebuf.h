/* SPDX-License-Identifier: MIT */
/*
 * A buffer of machine code, for any CPU: bytes that are appended, labels, jumps to
 * labels that are filled in at the end, and stubs. A stub is code that runs rarely,
 * so it is placed after the rest.
 */
#ifndef RUNTIME_AGENT_INPROC_CODEBUF_H
#define RUNTIME_AGENT_INPROC_CODEBUF_H

#include <string.h>

#include "runtime/agent/inproc/trampoline.h"

#define LABELS_MAX 8192
#define STUBS_MAX 4096

enum stub_kind {
	STUB_LOAD,           /* load from an address through C */
	STUB_LOAD_FRAME,     /* the same, from an offset to the program's stack pointer */
	STUB_FAULT_FILTERED, /* unreadable memory in the predicate */
	STUB_FAULT_ARGUMENT, /* unreadable memory in an argument */
	STUB_AGGREGATE,      /* adds to a column, whose number is `argument` */
};

struct stub {
	uint8_t kind, size, is_signed, argument;
	uint8_t words;  /* values on the machine's stack when the stub is entered */
	uint8_t extra;  /* codebuf.extra when the stub is entered. codebuf_stub() sets extra and key */
	uint16_t key;   /* codebuf.key when the stub is entered */
	int32_t offset; /* STUB_LOAD_FRAME: from the program's stack pointer */
	uint32_t label; /* where it begins */
	uint32_t back;  /* where it continues */
	uint32_t fault; /* STUB_LOAD*: where it continues if the memory cannot be read */
};

struct codebuf {
	uint8_t *bytes; /* TRAMPOLINE_MAX */
	size_t n;
	bool bad;           /* the code, a label, a jump or a stub did not fit */
	uintptr_t at, site; /* where the code will be, and the site that jumps to it */
	uint32_t frame;     /* aarch64: bytes of stack that the trampoline takes */
	uint32_t key;       /* bytes of stack that the key of an aggregate takes now */
	uint32_t
		extra; /* x86-64: words on the machine's stack below the values: the call that ends, from gen_call_found() on */
	const struct image_ranges *image;
	const struct trampoline_consumer *consumer; /* that is being compiled */
	const struct trampoline_table *table;
	const struct life *life;
	int32_t labels[LABELS_MAX]; /* offset in bytes; -1: not placed yet */
	uint32_t nlabels;
	struct {
		uint32_t at, label;
	} jumps[LABELS_MAX];
	uint32_t njumps;
	struct stub stubs[STUBS_MAX];
	uint32_t nstubs;
	/* By step, for the predicate that is being compiled: */
	uint8_t is_target[LABELS_MAX];
	uint32_t step_label[LABELS_MAX];
};

/* Appends n bytes; sets c->bad if they do not fit. */
static inline void codebuf_put(struct codebuf *c, const void *bytes, size_t n)
{
	if (c->n + n > TRAMPOLINE_MAX) {
		c->bad = true;
		return;
	}
	memcpy(c->bytes + c->n, bytes, n);
	c->n += n;
}

/* Empties the buffer and lets it write to bytes, which must have room for TRAMPOLINE_MAX. */
void codebuf_reset(struct codebuf *c, uint8_t *bytes);
/* Returns a new label, which codebuf_here() places. */
uint32_t codebuf_label(struct codebuf *c);
/* Places the label at the end of the code. */
void codebuf_here(struct codebuf *c, uint32_t label);
/* Notes that the next 4 bytes are or hold a jump to the label. */
void codebuf_jump(struct codebuf *c, uint32_t label);
/* Adds a stub, which is entered with the stack as it is now. Returns its label. */
uint32_t codebuf_stub(struct codebuf *c, struct stub stub);
/* Fills in the jumps, each by link(). Returns false if a label was not placed or something did not fit. */
bool codebuf_link(struct codebuf *c, void (*link)(struct codebuf *c, uint32_t at, int32_t to));

#endif
