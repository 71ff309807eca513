/* SPDX-License-Identifier: MIT */
/* The keeper: a process that holds the regions of target processes, so that counts survive them. See keeper.c. */
#ifndef RUNTIME_AGENT_KEEPER_H
#define RUNTIME_AGENT_KEEPER_H

#include "runtime/agent/protocol.h"
#include "runtime/agent/session-files.h"

/*
 * Starts the keeper unless it runs. Returns 0 or a negative errno; the counts of processes that are killed are then
 * lost. keeper-client.c.
 */
int agent_keeper_start(const struct agent_dir *dir);
/* Makes the keeper write the counts of processes that have ended. Waits for at most 5 seconds, with a notice then. keeper-client.c. */
void agent_keeper_settle(const struct agent_dir *dir);
/*
 * Does the same for a command that reads records. Returns false and adds a notice if records of ended processes may be
 * missing, because no keeper runs.
 */
bool agent_keeper_settle_records(const struct agent_dir *dir);

/*
 * Each returns a descriptor of a region of the session, and stores whose it is; -ENOENT: there is none.
 * keeper-client.c.
 *
 *     get      of a flight recorder: the region with this index
 *     records  the first region from this number on that has unread records, and that its process does not use any more
 *     process  the region that the process uses
 */
int agent_keeper_get(const struct agent_dir *dir, const char *session, uint64_t index, struct agent_kept *kept);
int agent_keeper_records(const struct agent_dir *dir, const char *session, uint64_t number, struct agent_kept *kept);
int agent_keeper_process(const struct agent_dir *dir, const char *session, pid_t pid, uint64_t start_time,
                         struct agent_kept *kept);

/* Receives a message and its descriptor (-1: none). Returns as recvmsg(2). */
ssize_t keeper_receive_fd(int conn, void *message, size_t size, int *fd);

/* Runs the keeper in this process, which is a child of agent_keeper_start()'s. Does not return. keeper.c. */
__attribute__((noreturn)) void keeper_main(const struct agent_dir *dir, int listener, int changes);

#endif
