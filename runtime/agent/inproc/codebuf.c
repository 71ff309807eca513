/* SPDX-License-Identifier: MIT */
#include "runtime/agent/inproc/codebuf.h"

void codebuf_reset(struct codebuf *c, uint8_t *bytes)
{
	c->key = c->extra = 0;
	c->bytes = bytes;
	c->n = c->nlabels = c->njumps = c->nstubs = 0;
	c->bad = false;
}

uint32_t codebuf_label(struct codebuf *c)
{
	if (c->nlabels == LABELS_MAX) {
		c->bad = true;
		return 0;
	}
	c->labels[c->nlabels] = -1;
	return c->nlabels++;
}

void codebuf_here(struct codebuf *c, uint32_t label)
{
	c->labels[label] = c->n;
}

void codebuf_jump(struct codebuf *c, uint32_t label)
{
	if (c->njumps == LABELS_MAX) {
		c->bad = true;
		return;
	}
	c->jumps[c->njumps].at = c->n;
	c->jumps[c->njumps++].label = label;
}

uint32_t codebuf_stub(struct codebuf *c, struct stub stub)
{
	if (c->nstubs == STUBS_MAX) {
		c->bad = true;
		return 0;
	}
	stub.key = c->key;
	stub.extra = c->extra;
	stub.label = codebuf_label(c);
	c->stubs[c->nstubs++] = stub;
	return stub.label;
}

bool codebuf_link(struct codebuf *c, void (*link)(struct codebuf *c, uint32_t at, int32_t to))
{
	if (c->bad)
		return false;
	for (uint32_t i = 0; i < c->njumps; i++) {
		int32_t to = c->labels[c->jumps[i].label];

		if (to < 0)
			return false;
		link(c, c->jumps[i].at, to);
	}
	return true;
}
