/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_REQUEST_H
#define RUNTIME_REQUEST_H

#include <probepoint.h>

#include "runtime/fetch/program.h"
#include "runtime/process.h"
#include "runtime/scope.h"

struct backend;

struct pp_request {
	char **patterns;
	size_t npatterns, patterns_room;
	char **files;
	size_t nfiles, files_room;
	struct process **processes;
	size_t nprocesses, processes_room;
	char *command;       /* the program that the process of pp_request_command() will run */
	char *filter;        /* NULL: none */
	char *print;         /* NULL: record the arguments of the probe */
	unsigned string_max; /* bytes of a recorded string */
	char *aggregate;     /* NULL: none */
	unsigned cells;      /* of its table */
	struct fetch_sample sample;
	bool latency;   /* arm the call from the first pattern to the second one */
	char *key;      /* of that call; NULL: its begin and its end are in one thread */
	char **strings; /* names of arguments */
	size_t nstrings, strings_room;
	char **addresses; /* names of arguments that are not to be read as strings */
	size_t naddresses, addresses_room;
	const struct backend *backend; /* NULL: "auto" */
	bool record, overwrite, calls, hold, fast, uretprobe;
	unsigned maxactive; /* 0: not set */
	size_t buffer;      /* bytes of the kernel's ring; 0: the default */
	size_t flight;      /* bytes of a flight recorder for each process; 0: none */
	double budget;      /* a share of one CPU; 0: none */
	size_t many;        /* arm no more sites than this in running processes by the kernel; 0: no limit */
	enum scope_kind scope;
	char *cgroup; /* its directory */
	char *label;  /* of the attachments; NULL: none */
};

#endif
