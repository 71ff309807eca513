/* SPDX-License-Identifier: MIT */
/* Attachments: what one probe-enable asked for, from the file segment-N of a session. */
#ifndef RUNTIME_AGENT_INPROC_ATTACHMENT_H
#define RUNTIME_AGENT_INPROC_ATTACHMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/agent/protocol.h"

struct session;

/* A program that trampolines are compiled from: one copy of all that are equal, never freed. */
struct interned_program {
	struct interned_program *next;
	uint64_t hash;
	struct fetch_program fetch;
	uint8_t *depths;   /* of the stack, before each step */
	uint32_t key_size; /* of the aggregate's struct agg_key with its parts; 0: no aggregate */
	/* They may have to make a system call to read memory. aggregate_calls implies argument_calls. */
	bool filter_calls, aggregate_calls, argument_calls;
};

/* Identifies a version of a file, or a directory. */
struct identity {
	uint64_t device, inode, size, changed, changed_ns;
};

struct loaded_attachment {
	struct session *session;
	uint32_t number;
	uint32_t reason; /* why the file as a whole is refused, or AGENT_OK */
	struct identity identity;
	bool seen;          /* the file was there in this scan */
	uint32_t inherited; /* the pid of the ancestor that it is armed for, with its children; 0: none */
	void *data;         /* the file */
	size_t size;
	const struct agent_attachment *header;
	const struct manifest *manifest; /* NULL if the file is refused */
	const uint8_t *on;
	struct interned_program **programs; /* header->nprograms; NULL until they are used */
	struct agent_point_state *points;
	size_t programs_size, points_size;
};

/* Reads size bytes of fd into memory and checks them. Returns AGENT_OK, or the reason, and then holds nothing. */
enum agent_reason attachment_read(struct loaded_attachment *attachment, int fd, size_t size);
/* Frees what attachment_read() holds. */
void attachment_release(struct loaded_attachment *attachment);
/* Returns whether that process is among the attachment's processes. */
bool attachment_names(const struct loaded_attachment *attachment, uint32_t pid, uint64_t start_time);
/* Returns whether the point is for this process. */
bool attachment_concerns(const struct loaded_attachment *attachment, const struct manifest_point *point);
/* Returns program number spec, or NULL without memory. */
struct interned_program *attachment_program(struct loaded_attachment *attachment, uint32_t spec);

#endif
