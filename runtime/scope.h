/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_SCOPE_H
#define RUNTIME_SCOPE_H

#include <stddef.h>
#include <sys/types.h>

/* Which processes a request means. */
enum scope_kind {
	SCOPE_PROCESSES, /* these, each armed by itself; or every process */
	SCOPE_CHILDREN,  /* these, and what they fork from now on, to any depth */
	SCOPE_PGRP,      /* all in the process groups of these */
	SCOPE_CGROUP,    /* all in a control group and those below it */
};

struct scope {
	enum scope_kind kind;
	pid_t *pids; /* of the processes that were named */
	size_t npids;
	const char *cgroup; /* its folder */
};

#endif
