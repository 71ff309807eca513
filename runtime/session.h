/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_SESSION_H
#define RUNTIME_SESSION_H

#include <probepoint.h>

#include "runtime/backend.h"

#define SESSION_NAME_MAX 64

struct pp_session {
	char name[SESSION_NAME_MAX + 1];
	bool is_private;
	bool hasty;          /* see session_open() */
	unsigned nreaders;   /* what they hold is not closed before them */
	uint64_t lost_aside; /* records that were lost after they were read, and that no counter could take */
	double hold_budget;  /* of pp_session_hold(): CPUs; 0: none */
	bool hold_strict;    /* that budget has no credit (kernel/budget.c) */
	const volatile int *interrupt;
	struct attachment **attachments;
	size_t nattachments;
	void *states[BACKENDS_MAX]; /* of each backend, by its index in the list; NULL: it has no part of the session */
};

/* For those who read what a session holds: stat, events, traces. */
size_t session_attachments(const struct pp_session *session);
const struct manifest *session_manifest(const struct pp_session *session, size_t i);
uint32_t session_attachment_id(const struct pp_session *session, size_t i);
/* The attachment of this number, NULL if there is none (looks again for new ones). */
const struct attachment *session_attachment(struct pp_session *session, const struct backend *backend, uint32_t number);

/* Sums over all points, armed or not. */
void session_totals(const struct pp_session *session, uint64_t *recorded, uint64_t *lost);
/* A record was read and could not be kept. */
void session_lose(struct pp_session *session, const struct pp_mark *mark);

/* What the backend keeps of the session, NULL if it has no part of it. */
void *session_state(const struct pp_session *session, const struct backend *backend);
void session_set_state(struct pp_session *session, const struct backend *backend, void *state);

/* For enable.c. */
bool session_has_attachments(const struct pp_session *session, const struct backend *backend);
/* Holds the backend's part of the session, with its attachments as they are now. */
int session_lock(struct pp_session *session, const struct backend *backend, bool create);

/* Opens what other commands armed by a backend that the session had nothing of. */
void session_look(struct pp_session *session);
/* Looks at the stores again: what other commands armed and disarmed since. */
int session_refresh(struct pp_session *session);

/* Releases and frees the attachment, or all attachments of the backend. Disarms nothing that is to stay. */
void session_forget_attachment(struct pp_session *session, struct attachment *attachment);
void session_forget_attachments(struct pp_session *session, const struct backend *backend);
/* For backends: a new attachment at the end; takes desc over. NULL: no memory. */
struct attachment *session_add_attachment(struct pp_session *session, const struct backend *backend, uint32_t number,
                                          struct manifest *manifest, void *state);
static inline bool session_interrupted(const struct pp_session *session)
{
	return session->interrupt && *session->interrupt;
}

/*
 * pp_session_open() for a caller that may hold the lock of another session. hasty: waits 0.1 s at most for the lock,
 * because the command that has it may wait for the caller's. Returns -EBUSY then.
 */
int session_open(const char *name, bool create, bool hasty, struct pp_session **session);

#endif
