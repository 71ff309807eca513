/* SPDX-License-Identifier: MIT */
/* The table of sites, among the files that fill it, give sites their trampolines, and write to them. */
#ifndef RUNTIME_AGENT_INPROC_SITES_H
#define RUNTIME_AGENT_INPROC_SITES_H

#include "runtime/agent/inproc/trampoline.h"

extern struct vector sites, consumers;

static inline struct site *site_at(uint32_t i)
{
	return (struct site *)sites.at + i;
}

static inline struct consumer *consumer_at(uint32_t i)
{
	return (struct consumer *)consumers.at + i;
}

static inline size_t nsites(void)
{
	return sites.n / sizeof(struct site);
}

/* Notes at the sites what the attachment wants of them. false: no memory. reason: why it wants in vain, or AGENT_OK. */
bool sites_want(struct session *session, struct loaded_attachment *attachment, enum agent_reason reason);
void point_refuse(struct loaded_attachment *attachment, uint32_t point, enum agent_reason reason);

/* The image around that text, and the program's own, which nobody unloads. NULL: no memory. */
const struct image *trampolines_image(const struct mapping *text);
/* A trampoline for what is wanted of the site, in site->trampoline; it is there behind slots_finish(). */
enum agent_reason trampolines_get(struct site *site, const struct mapping *text, const struct image *image);
void trampolines_finish(void);

#endif
