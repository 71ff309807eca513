/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_REQUEST_H
#define RUNTIME_REQUEST_H

#include <probepoint.h>

#include "runtime/process.h"
#include "runtime/scope.h"

#define MAXACTIVE_DEFAULT 256

struct pp_request {
	char **patterns;
	size_t npatterns;
	char **files;
	size_t nfiles;
	struct process **processes;
	size_t nprocesses;
	char *command; /* what the process of a pp_request_command() will run */
	char *filter; /* NULL: none */
	char **strings; /* names of arguments */
	size_t nstrings;
	char backend[8];
	bool record, overwrite, calls, hold;
	unsigned maxactive;
	enum scope_kind scope;
	char *cgroup;
};

#endif
