/* SPDX-License-Identifier: MIT */
/*
 * Where the backends meet session.c. A backend keeps attachments: what one
 * probe-enable armed through it, as a description with counters and something
 * that arms the points. To add a backend: fill in one of these and name it in
 * session.c's list.
 */
#ifndef RUNTIME_BACKEND_H
#define RUNTIME_BACKEND_H

#include <probepoint.h>

#include "runtime/manifest.h"
#include "runtime/scope.h"

struct backend;
struct fetch_program;
struct pp_request;
struct process;
struct verify_misses;

#define ATTACHMENT_AGENT 0x80000000u
#define BACKENDS_MAX 8

struct attachment {
	uint32_t number; /* in its session, never used again while that lives; the agent's have SEGMENT_AGENT */
	const struct backend *backend;
	struct manifest *manifest;
	void *state; /* the backend's */
};

/* What is to be armed: one point for one process, its program, and what became of it. */
struct arm_point {
	const struct pp_image *image;
	const struct pp_site *site;
	const struct process *process; /* NULL: every process */
	const struct fetch_program *program;
	const struct backend *backend; /* that is to arm it */
	uint32_t point;                /* its index in the description */
	int error;                     /* 0, or a negative errno: not armed, and why */
	char *reason;                  /* a sentence, freed by free(); may stand without an error: a remark */
	bool verified;
	bool pending; /* nobody concerned maps the file */
	const struct arm_point
		*twin;             /* the same place by another path, which is armed instead; error is then -EALREADY */
	unsigned calls_per_thread; /* of a SITE_CALL: how many calls of one thread are seen at a time; 0: not limited */
};

/* How an attachment is armed: what the request says, beside its points. */
struct arm_options {
	const struct scope *scope; /* which processes are meant */
	bool record;               /* the attachment records from the start, without a reader */
	bool overwrite;            /* new records replace the thread's oldest ones when its ring is full */
	bool calls;                /* agents may make system calls in hits */
	bool hold;                 /* the attachment ends with this process */
	unsigned maxactive;        /* calls in flight of a function whose returns are armed */
	double budget;             /* CPUs that the attachment's hits may take; 0: no budget */
};

/* What pp_session_hold() was asked for. */
struct hold_options {
	uint64_t deadline; /* CLOCK_MONOTONIC of the first time namespace; 0: none */
	const int *pidfds; /* holding ends when all of these processes have ended */
	size_t npidfds;
	double budget; /* CPUs that all held attachments may take together; 0: no budget */
	bool strict;   /* the budget has no credit (kernel/budget.c) */
};

struct backend {
	const char *name;

	/*
	 * Finds the session in this backend's store and fills in its attachments;
	 * what a crashed maker left half-done is removed. create: makes room for it.
	 * -ENOENT: it is not there.
	 */
	int (*open)(struct pp_session *session, bool create);
	void (*close)(struct pp_session *session);
	/* Locks the session against other commands, waiting some seconds: -EBUSY. */
	int (*lock)(struct pp_session *session);
	void (*unlock)(struct pp_session *session);
	/* Removes a session that has no attachments any more. */
	int (*remove)(struct pp_session *session);
	int (*names)(int (*fn)(const char *name, void *arg), void *arg);

	/* 0, or why not, with a sentence. any: another backend would do as well, and better if this one is only half right. */
	int (*usable)(const struct pp_request *request, bool any);
	/* Whether it can arm such a site. NULL: all that pass check_site(). */
	bool (*takes)(const struct pp_site *site);

	/*
	 * Arms the attachment's points all together and keeps it in the store. A point
	 * that cannot be armed gets its error and reason; the call fails only where
	 * none could be, or where it was interrupted, and has then undone everything.
	 */
	int (*arm)(struct pp_session *session, struct attachment *attachment, struct arm_point *points, size_t npoints,
	           const struct arm_options *options);
	/*
	 * Reads back what really became of the points that have no error: sets their
	 * verified, pending, error and reason. misses: see runtime/kernel/verify.h.
	 */
	int (*readback)(struct pp_session *session, struct attachment *attachment, struct arm_point *points,
	                size_t npoints, struct verify_misses *misses);
	/* Takes out the points i with take[i]; with all gone the attachment ends, and is not to be used again. */
	int (*disarm)(struct pp_session *session, struct attachment *attachment, const bool *take, bool all);
	void (*release)(struct attachment *attachment); /* its descriptors, in this process only */

	/* See pp_session_hold(). NULL: what is armed needs no holder, or can have none. */
	int (*hold)(struct pp_session *session, const struct hold_options *options);

	/* See pp_session_cost(). NULL: nothing to be told. */
	int (*cost)(struct pp_session *session, int ms, struct pp_cost *cost);
	/* ns of CPU time that a hit costs at least. NULL: too little to warn of. */
	double (*trap_ns)(void);
	/* Of points that are everybody's, the hits of each process, as far as there is room. NULL: not told apart. */
	int (*processes)(const struct attachment *attachment,
	                 int (*fn)(uint32_t point, pid_t pid, uint64_t hits, void *arg), void *arg);
	/* Whether a point was taken out because the session costs too much. NULL: never. */
	bool (*over_budget)(const struct attachment *attachment, uint32_t point);
	/* Of such a point: what the session cost then, and the budget, as shares of one CPU. */
	void (*stopped)(const struct attachment *attachment, uint32_t point, double *share, double *limit);
	/* See pp_session_watch() and pp_session_limit(). NULL: what is armed has no budget. */
	int (*watch)(struct pp_session *session, void (*ready)(void *arg), void *arg);
	double (*limit)(const struct pp_session *session, bool *watched);
	void (*unlimit)(struct pp_session *session);
	/* Makes the whole session record without a reader, from now on, also what is armed already. NULL: it cannot. */
	void (*record)(struct pp_session *session);

	/* When the process started that the attachment was armed for by this pid; 0: it is not known. */
	uint64_t (*start_time)(const struct attachment *attachment, uint32_t pid);
	/* How many processes ended without anybody having kept what they counted. NULL: that cannot be. */
	size_t (*uncounted)(struct pp_session *session);

	/* Whether a point is still armed, and its counts. */
	bool (*armed)(const struct attachment *attachment, uint32_t point);
	void (*counts)(const struct attachment *attachment, uint32_t point, struct pp_counts *counts);

	/* See pp_reader_next(). next, which does not wait, fills *thread and *record; they stay good until the call after. */
	int (*reader_open)(struct pp_session *session, void **reader);
	int (*reader_next)(void *reader, const struct record_thread **thread, const struct record **record,
	                   size_t *size);
	void (*reader_close)(void *reader);
	/* See pp_reader_stop(). */
	void (*reader_stop)(void *reader);
	/* Loses what was taken out of the session and not given to the caller. NULL: there is no such record. */
	void (*reader_drop)(void *reader);
	/* How many records were passed over as damaged since the reader was opened. */
	uint64_t (*reader_damaged)(void *reader);
	/* Moves a record of the point from recorded to lost. false: the process's counts are not to be had any more. */
	bool (*lose)(const struct attachment *attachment, uint32_t point, pid_t pid);
};

extern const struct backend backend_kernel, backend_agent;

/* The list: see backends.c. */
extern const struct backend *const backends[];
extern const size_t nbackends;

#endif
