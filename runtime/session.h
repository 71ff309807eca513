/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_SESSION_H
#define RUNTIME_SESSION_H

#include <probepoint.h>

#include "runtime/backend.h"
#include "runtime/scope.h"

#define SESSION_NAME_MAX 64

struct pp_session {
	char name[SESSION_NAME_MAX + 1];
	bool is_private;
	bool hasty;                /* see session_open() */
	unsigned nreaders;         /* what they hold is not closed before them */
	uint64_t lost_aside;       /* records that were lost after they were read, and that no counter could take */
	bool record;               /* what is armed from here on records from the start */
	bool overwrite;            /* and its oldest records make room for new ones */
	bool calls;                /* what is armed from here on may make system calls in hits */
	double budget;             /* of what is armed from here on, and of pp_session_hold(): CPUs; 0: none */
	bool strict;               /* the holder's budget has no credit (kernel/brake.c) */
	bool hold;                 /* what is armed from here on ends with this process */
	unsigned maxactive;        /* calls under way of a function whose returns are armed from here on */
	const struct scope *scope; /* whom it is for; both while pp_session_enable() is at work */
	const volatile int *interrupt;
	struct attachment **attachments;
	size_t nattachments;
	void *kernel; /* the kernel backend's own */
	void *agent;  /* the agent backend's own */
};

/* For those who read what a session holds: stat, events, traces. */
size_t session_attachments(const struct pp_session *session);
const struct manifest *session_manifest(const struct pp_session *session, size_t i);
/* The attachment of this number, NULL if there is none (looks again for new ones). */
const struct attachment *session_attachment(struct pp_session *session, uint32_t number);

/* Sums over all points, armed or not. */
void session_totals(const struct pp_session *session, uint64_t *recorded, uint64_t *lost);
/* A record was read and could not be kept. */
void session_lose(struct pp_session *session, const struct pp_mark *mark);

/* For enable.c: in the order in which `auto` prefers them. */
#define NBACKENDS 2
extern const struct backend *const backends[NBACKENDS];
bool session_has_attachments(const struct pp_session *session, const struct backend *backend);
void session_forget_attachment(struct pp_session *session, struct attachment *attachment);
/* Holds the backend's part of the session, with its attachments as they are now. */
int session_lock(struct pp_session *session, const struct backend *backend, bool create);

/* Opens what other commands armed by a backend that the session had nothing of. */
void session_look(struct pp_session *session);
/* Looks at the stores again: what other commands armed and disarmed since. */
int session_refresh(struct pp_session *session);

/* For backends: a new attachment at the end; takes desc over. NULL: no memory. */
struct attachment *session_add_attachment(struct pp_session *session, const struct backend *backend, uint32_t number,
                                          struct manifest *manifest, void *state);
static inline bool session_interrupted(const struct pp_session *session)
{
	return session->interrupt && *session->interrupt;
}

/*
 * pp_session_open() for a caller that may hold the lock of another session. hasty: waits 0.1 s at most for the lock, because
 * the command that has it may wait for the caller's. Returns -EBUSY then.
 */
int session_open(const char *name, bool create, bool hasty, struct pp_session **session);

#endif
