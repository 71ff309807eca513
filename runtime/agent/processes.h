/* SPDX-License-Identifier: MIT */
/*
 * The target processes of a session: those that have a shared memory region of it. The list is refreshed from the
 * agents' sockets. A process that has ended stays in the list until its counts are saved and its records are read.
 */
#ifndef RUNTIME_AGENT_PROCESSES_H
#define RUNTIME_AGENT_PROCESSES_H

#include "runtime/agent/client.h"
#include "runtime/agent/shm.h"

struct agent_session;
struct rings;

struct target_process {
	struct agent_peer peer; /* not connected */
	uint64_t key;           /* of its socket: see agent_each_socket() */
	int pidfd;
	bool gone; /* it has ended, or uses another region now (exec(2), setns(2)): this one does not change any more */
	bool kept; /* gone before this command got the region from the keeper: its counts are in a file */
	uint32_t refused; /* the number of sites that its agent last reported as not armed */
	struct mapped_shm shm;
	struct rings *rings; /* the reader's; NULL: the process is not read */
	bool drained;        /* the reader's: the rings were read once after the process was gone */
};

/* Callbacks of the session's reader, which the list calls when it changes. */
struct target_observer {
	/* Begins to read a process. On an error the process is not added. Returns 0 or -ENOMEM. */
	int (*add)(struct agent_session *session, struct target_process *target);
	/* Whether all records of a process that is gone were read. */
	bool (*is_done)(struct agent_session *session, struct target_process *target);
	/* Ends reading a process. */
	void (*remove)(struct agent_session *session, struct target_process *target);
};

/*
 * Adds processes that have appeared. Saves the counts of those that are gone, and removes them if their records were
 * read. At most once a second, it also makes agents compare their sites with the memory, and adds a notice for sites
 * that are not armed. An agent that does not reply is asked again by the next refresh, and the keeper has its region.
 * A session with a reader also gets the regions of processes that have ended, if they have unread records. Returns 0 or
 * -ENOMEM.
 */
int agent_targets_refresh(struct agent_session *session);
void agent_targets_release(struct agent_session *session);
/* Returns whether the counts of the process are those of its region here. */
bool target_counts(const struct target_process *target);
/* Returns whether the process's region belongs to the session and is in use. */
bool target_is_current(const struct agent_session *session, const struct target_process *target);

#endif
