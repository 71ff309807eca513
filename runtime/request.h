/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_REQUEST_H
#define RUNTIME_REQUEST_H

#include <probepoint.h>

#include "runtime/process.h"
#include "runtime/scope.h"

#define MAXACTIVE_DEFAULT 256

struct backend;

struct pp_request {
	char **patterns;
	size_t npatterns;
	char **files;
	size_t nfiles;
	struct process **processes;
	size_t nprocesses;
	char *command;  /* what the process of a pp_request_command() will run */
	char *filter;   /* NULL: none */
	char **strings; /* names of arguments */
	size_t nstrings;
	char **addresses; /* names of arguments that are not to be read as strings */
	size_t naddresses;
	const struct backend *backend; /* NULL: "auto" */
	bool record, overwrite, calls, hold;
	unsigned maxactive;
	double budget; /* a share of one CPU; 0: none */
	size_t many;   /* more sites than these are not armed in running processes by the kernel; 0: any number is */
	enum scope_kind scope;
	char *cgroup;
};

#endif
