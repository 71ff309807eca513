/* SPDX-License-Identifier: MIT */
/* What the files of the agent's controller share. */
#ifndef RUNTIME_AGENT_SESSION_H
#define RUNTIME_AGENT_SESSION_H

#include "runtime/agent/client.h"
#include "runtime/session.h"

struct agent_reader;

/*
 * A process with a shared memory region of the session's. `gone`: it has ended, or goes on with
 * another shared memory region (exec(2), fork(2)): what is in this one is all there will ever be.
 */
struct member {
	struct agent_peer peer; /* no connection is kept */
	uint64_t key;           /* of its socket: see agent_each() */
	int pidfd;
	bool gone;
	uint32_t refused; /* sites that its agent last said are not armed */
	struct shm shm;
	/* The reader's: */
	struct ring_state *rings; /* one for each ring */
	struct agent_slot *slots; /* what they meant when last they were looked at; since 0: nobody knows */
	bool drained;             /* once since it is gone */
};

struct agent_session {
	struct pp_session *session;
	struct agent_store store;
	int owner; /* the lock of a private session, else -1 */
	char name[AGENT_SESSION_MAX + 1];
	struct member **members;
	size_t nmembers;
	pid_t *pids; /* whom the session concerns; none: everybody */
	size_t npids;
	uint64_t looked; /* ns; when members were last looked for */
	uint64_t asked;  /* when agents were last asked to look */
	bool asking;     /* they are */
	struct agent_reader *reader;
	struct agent_sleepers sleepers; /* who could not be woken when last something was armed for everybody */
};

struct agent_loaded { /* an attachment's state */
	struct agent_session *session;
	struct agent_file file;
	struct agent_count *counts; /* as they were at `counted` */
	uint64_t counted;
};

static inline struct agent_session *agent_of(const struct pp_session *session)
{
	return session_state(session, &backend_agent);
}

static inline struct agent_loaded *agent_loaded(const struct attachment *attachment)
{
	return attachment->state;
}

/* ---- members: processes.c ---- */

/*
 * Looks for processes that came, marks those that went. What those counted is
 * written down, and they are forgotten as soon as their records have been read.
 */
int members_look(struct agent_session *k);
/* Writes down what it counted for an attachment, under that name: "last", "past" (which adds up), or "counts". */
void member_save(const struct agent_store *store, const struct member *member, uint32_t attachment, uint32_t npoints,
                 const char *name);
/* Once for each shared memory region: before what it holds is added to "past". */
bool member_claim(const struct member *member);
void members_release(struct agent_session *k);
/* Fills loaded->counts: what members say, and the files of those that are no more. */
int members_count(struct agent_loaded *loaded, const struct manifest *manifest);
/* Calls fn with what each process has counted; one that changed its shared memory region or has ended may come more than once. */
int members_each(struct agent_loaded *loaded, const struct manifest *manifest,
                 int (*fn)(pid_t pid, const struct agent_count *counts, void *arg), void *arg);

/* ---- verify.c ---- */

int agent_readback(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
                   size_t npoints, struct arm_misses *misses);

/* ---- reader.c ---- */

int agent_reader_open(struct pp_session *session, void **reader);
int agent_reader_next(void *reader, const struct record_thread **thread, const struct record **record, size_t *size);
void agent_reader_close(void *reader);
void agent_reader_stop(void *reader);
void agent_reader_drop(void *reader);
uint64_t agent_reader_damaged(void *reader);
bool agent_lose(const struct attachment *attachment, uint32_t point, pid_t pid);
/* A member comes to be read. */
int agent_reader_join(struct agent_reader *reader, struct member *member);
/* Frees what the reader has of it. */
void agent_reader_leave(struct agent_reader *reader, struct member *member); /* reader NULL: it has none */
/* Whether all is read of one that is gone. */
bool agent_reader_done(struct agent_reader *reader, struct member *member);

#endif
