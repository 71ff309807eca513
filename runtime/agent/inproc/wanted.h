/* SPDX-License-Identifier: MIT */
/* The sites and consumers that attachments want: wanted.c. */
#ifndef RUNTIME_AGENT_INPROC_WANTED_H
#define RUNTIME_AGENT_INPROC_WANTED_H

#include "runtime/agent/inproc/site-table.h"

/*
 * Adds consumers for the attachment's points to their sites, and sets the state of each point.
 * reason: why nothing can be armed, or AGENT_OK. Returns false without memory.
 */
bool attachment_want(struct session *session, struct loaded_attachment *attachment, enum agent_reason reason);

#endif
