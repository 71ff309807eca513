/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_SCOPE_H
#define RUNTIME_SCOPE_H

#include <stddef.h>
#include <sys/types.h>

/* Which processes are in the scope of a request. */
enum scope_kind {
	SCOPE_PROCESSES, /* the named processes, each armed separately; without any, all processes */
	SCOPE_CHILDREN,  /* the named processes and all their descendants from now on */
	SCOPE_PGRP,      /* all processes in the process groups of the named processes */
	SCOPE_CGROUP,    /* all processes in a control group and its descendants */
};

struct scope {
	enum scope_kind kind;
	pid_t *pids; /* of the named processes */
	size_t npids;
	const char *cgroup; /* its directory */
};

#endif
