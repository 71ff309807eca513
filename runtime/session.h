/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_SESSION_H
#define RUNTIME_SESSION_H

#include <probepoint.h>

#include "runtime/backend.h"

#define SESSION_NAME_MAX 64

struct pp_session {
	char name[SESSION_NAME_MAX + 1];
	bool is_private;
	bool hasty;              /* see session_open() */
	unsigned nreaders;       /* while there are readers, no part of the session is closed */
	unsigned nsnapshots;     /* those of a flight recorder, whose records are never lost */
	uint64_t lost_uncounted; /* records lost after they were read, of processes whose counters no longer exist */
	double hold_budget;      /* of pp_session_hold(): CPUs; 0: none */
	bool hold_strict;        /* hold_budget has no credit (kernel/budget.c) */
	size_t buffer;           /* bytes of the kernel's ring if this object makes it; 0: the default */
	const volatile int *interrupt;
	struct unverified {
		size_t sites, processes; /* sites with a trap; processes that could not be read */
		pid_t pid;               /* one of these processes; 0: not known */
	} unverified;                    /* what backends have disarmed and not seen disarmed */
	struct attachment **attachments; /* of all backends */
	size_t nattachments, attachments_room;
	void *states[BACKENDS_MAX]; /* of each backend, by its index in the list; NULL: it has no part of the session */
};

/* ---- opening ---- */

/* Makes a session object and opens nothing. -EINVAL: invalid name. */
int session_new(const char *name, struct pp_session **session);
/*
 * Does the same as pp_session_open(). hasty: for a caller that holds the lock of another session. Waits at most 0.1 s
 * for this session's lock and then returns -EBUSY, because the command that has it may wait for the caller's lock.
 */
int session_open(const char *name, bool create, bool hasty, struct pp_session **session);
/* Opens the backend's part of the session if it is not open. -ENOENT: it does not exist, and create is false. */
int session_open_backend(struct pp_session *session, const struct backend *backend, bool create);
/* Opens parts that other commands made since the session was opened. */
void session_open_new_parts(struct pp_session *session);
/*
 * Opens the parts of all backends that are not open. Returns the error of the first backend that has a part that cannot
 * be opened, as while another command has its lock.
 */
int session_open_all(struct pp_session *session);
/* Opens the backend's part, locks it, and reads its attachments. The caller unlocks it by backend->unlock(). */
int session_lock(struct pp_session *session, const struct backend *backend, bool create);
/* Reads the attachments of all parts again. -ENOENT: the session has ended. */
int session_refresh(struct pp_session *session);

/*
 * After disarming: returns 0, or an error with a message if sites are still armed in the memory of a process. Adds a
 * notice if processes could not be read.
 */
int session_check_disarmed(struct pp_session *session);

/* ---- for backends ---- */

/* The backend's state of the session. NULL: the backend has no part of it. */
void *session_state(const struct pp_session *session, const struct backend *backend);
void session_set_state(struct pp_session *session, const struct backend *backend, void *state);
/* Adds an attachment and takes ownership of the manifest. If memory allocation fails, returns NULL and does neither. */
struct attachment *session_add_attachment(struct pp_session *session, const struct backend *backend, uint32_t number,
                                          struct manifest *manifest, void *state);
/* Releases (see struct backend) and frees the attachment, or all attachments of the backend. */
void session_forget_attachment(struct pp_session *session, struct attachment *attachment);
void session_forget_attachments(struct pp_session *session, const struct backend *backend);
bool session_has_attachments(const struct pp_session *session, const struct backend *backend);

static inline bool session_interrupted(const struct pp_session *session)
{
	return session->interrupt && *session->interrupt;
}

/* ---- the contents of a session, for statistics, readers and traces ---- */

size_t session_attachments(const struct pp_session *session);
const struct manifest *session_manifest(const struct pp_session *session, size_t i);
uint32_t session_attachment_id(const struct pp_session *session, size_t i);
/* Returns the attachment, or NULL. Refreshes the session if it does not have it. */
const struct attachment *session_attachment(struct pp_session *session, const struct backend *backend, uint32_t number);
/* Returns the size of the session's flight recorder for each process; 0: it is not one. */
size_t session_flight(const struct pp_session *session);
/* Sums over all points, armed or not. */
void session_totals(const struct pp_session *session, uint64_t *recorded, uint64_t *lost);
/* Counts a record as lost that was read and could not be stored. */
void session_lose(struct pp_session *session, const struct pp_mark *mark);

#endif
