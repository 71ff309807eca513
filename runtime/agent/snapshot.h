/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_AGENT_SNAPSHOT_H
#define RUNTIME_AGENT_SNAPSHOT_H

#include "runtime/backend.h"

/* Operations of the backend. */
size_t agent_flight(const struct attachment *attachment);
int agent_snapshot(struct pp_session *session, snapshot_fn *fn, void *arg, struct snapshot_gaps *gaps);
uint64_t agent_held(struct pp_session *session);

/* Returns -ENOMEM, with an error message, if the control group of the process has no room for so many bytes. */
int agent_flight_check(pid_t pid, size_t bytes);

#endif
