/* SPDX-License-Identifier: MIT */
/* Sessions: the directories of the state directory, as the agent last read them. */
#ifndef RUNTIME_AGENT_INPROC_SESSION_H
#define RUNTIME_AGENT_INPROC_SESSION_H

#include "runtime/agent/inproc/attachment.h"
#include "runtime/agent/inproc/shm.h"

#define SESSIONS_MAX 256

struct session {
	char name[AGENT_SESSION_MAX + 8]; /* "": free */
	struct identity directory;
	bool seen;          /* the directory was there in this scan */
	uint32_t reason;    /* why the directory cannot be read, or why it has no shared memory region */
	bool records;       /* an attachment records without a reader */
	uint32_t ring_size; /* 0: the default */
	bool has_owner;     /* it is private: it ends with the process that holds a lock on its file `private` */
	bool overwrites;    /* an attachment has AGENT_ATTACHMENT_OVERWRITE */
	uint32_t flight;    /* slots of the flight recorder; 0: it is not one */
	bool awaited;       /* it has a reader that has not asked for the shared memory region yet */
	struct session_shm *shm;
	struct vector attachments; /* struct loaded_attachment * */
};

static inline size_t nattachments(const struct session *session)
{
	return session->attachments.n / sizeof(struct loaded_attachment *);
}

static inline struct loaded_attachment **attachments_of(const struct session *session)
{
	return session->attachments.at;
}

/* Returns the session of that name, or NULL. */
struct session *session_find(const char *name);
/* Adds a session. Returns NULL if there are SESSIONS_MAX already. */
struct session *session_new(const char *name);
/* Removes the session. Its points must be disarmed. */
void session_forget(struct session *session);
/* Finds or adds the attachment. Returns NULL without memory. */
struct loaded_attachment *session_attachment(struct session *session, uint32_t number);
/* Removes attachment number i, or all of them. Their points are disarmed by the next sites_arm(). */
void attachment_forget(struct session *session, size_t i);
void attachments_forget(struct session *session);

/* Writes a forked child's files child-N-PID. */
void sessions_inherit(int store);
/* When the process ends: writes its counts, and removes its other files. */
void sessions_leave(int store);
/* Notes in the session's directory that no keeper has the process's counts, or removes the note. */
void session_mark_unkept(int store, const struct session *session, bool unkept);

#endif
