/* SPDX-License-Identifier: MIT */
/*
 * Connections to agents: sends requests and checks replies. Replies are data of another process and are not trusted.
 * The client checks them before any use, and first copies data that could change between the check and the use.
 */
#ifndef RUNTIME_AGENT_CLIENT_H
#define RUNTIME_AGENT_CLIENT_H

#include "runtime/agent/session-files.h"

/* A connection to an agent. */
struct agent_peer {
	int fd; /* -1: not connected */
	pid_t pid;
	uint64_t start_time;
	uint32_t reason;     /* enum agent_reason: why the agent cannot arm any point; 0: it can arm points */
	bool not_interposed; /* the agent does not see dlopen(3) */
	uint64_t until;      /* ns of CLOCK_MONOTONIC: the end of the connection's time limit */
};

/*
 * Connects to the agent of a process. Returns -ENOENT if the process has no agent's socket, -ETIMEDOUT if the agent
 * does not reply (its process is stopped, or another command holds the connection) or is not to be asked yet
 * (backoff.h), or another error with a message. The caller calls agent_disconnect() after success.
 */
int agent_connect(const struct agent_dir *dir, pid_t pid, struct agent_peer *peer);
/* Does the same, and waits at most ms milliseconds for each reply. */
int agent_connect_within(const struct agent_dir *dir, pid_t pid, struct agent_peer *peer, unsigned ms);
void agent_disconnect(struct agent_peer *peer);

struct agent_query {
	enum agent_op op;
	const char *session;
	uint32_t attachment, first; /* see struct agent_request */
};

/* Room for the payload of a reply, and the results of the request. */
struct agent_answer {
	void *items; /* room for max items of item_size bytes each */
	size_t max, item_size;
	bool wants_fd;
	int fd;          /* set: -1, or the descriptor if wants_fd and agent_ask() succeeded; the caller closes it */
	uint32_t reason; /* set: enum agent_reason of an error, else AGENT_OK */
};

/*
 * Sends a query and receives its reply. Returns the number of items, or a negative errno: the agent's own error without
 * a message, any other error with one.
 */
int agent_ask(struct agent_peer *peer, const struct agent_query *query, struct agent_answer *answer);

/* Returns the error message for an enum agent_reason, to follow "pid N: ". found: see struct agent_point_state. */
const char *agent_reason_text(uint32_t reason, const uint8_t found[10]);

/*
 * Calls fn for each process that has an agent's socket, in the order of the directory. Removes sockets of processes that
 * have ended. Two sockets that had the same name one after the other have different keys. Stops when fn does not return 0,
 * and returns that.
 */
int agent_each_socket(const struct agent_dir *dir, int (*fn)(pid_t pid, uint64_t key, void *arg), void *arg);

/*
 * Makes agents read the session's files again: those of the npids processes, or all if npids is 0. An agent that does
 * not reply finds the request when it runs again. Errors are not reported.
 */
void agent_rescan_all(const struct agent_dir *dir, const char *session, const pid_t *pids, size_t npids);

#endif
