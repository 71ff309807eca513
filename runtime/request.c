/* SPDX-License-Identifier: MIT */
#include "runtime/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/backend.h"

int pp_request_new(struct pp_request **request)
{
	*request = calloc(1, sizeof(**request));
	if (!*request)
		return error_nomem();
	(*request)->maxactive = MAXACTIVE_DEFAULT;
	return 0;
}

void pp_request_free(struct pp_request *request)
{
	if (!request)
		return;
	for (size_t i = 0; i < request->npatterns; i++)
		free(request->patterns[i]);
	for (size_t i = 0; i < request->nfiles; i++)
		free(request->files[i]);
	for (size_t i = 0; i < request->nprocesses; i++)
		process_free(request->processes[i]);
	free(request->patterns);
	free(request->files);
	free(request->processes);
	free(request->command);
	for (size_t i = 0; i < request->nstrings; i++)
		free(request->strings[i]);
	free(request->strings);
	for (size_t i = 0; i < request->naddresses; i++)
		free(request->addresses[i]);
	free(request->addresses);
	free(request->filter);
	free(request->cgroup);
	free(request);
}

static int append(char ***list, size_t *n, const char *text)
{
	char **more = realloc(*list, (*n + 1) * sizeof(**list));

	if (more)
		*list = more;
	if (!more || !(more[*n] = strdup(text)))
		return error_nomem();
	++*n;
	return 0;
}

int pp_request_pattern(struct pp_request *request, const char *pattern)
{
	const char *colon = strchr(pattern, ':');

	if (!*pattern || colon == pattern || (colon && !colon[1]))
		return error_set(EINVAL, "'%s' is no pattern: name PROVIDER:NAME, both may be globs", pattern);
	return append(&request->patterns, &request->npatterns, pattern);
}

int pp_request_file(struct pp_request *request, const char *path)
{
	return append(&request->files, &request->nfiles, path);
}

int pp_request_pid(struct pp_request *request, pid_t pid)
{
	struct process **more, *process;
	int err = process_open(pid, &process);

	if (err)
		return err;
	for (size_t i = 0; i < request->nprocesses; i++)
		if (request->processes[i]->pid == pid) {
			process_free(process);
			return 0;
		}
	more = realloc(request->processes, (request->nprocesses + 1) * sizeof(*more));
	if (!more) {
		process_free(process);
		return error_nomem();
	}
	request->processes = more;
	more[request->nprocesses++] = process;
	return 0;
}

int pp_request_command(struct pp_request *request, pid_t pid, const char *file)
{
	int err;

	if (request->command)
		return error_set(EINVAL, "a request takes one command");
	request->command = strdup(file);
	if (!request->command)
		return error_nomem();
	err = pp_request_pid(request, pid);
	if (!err)
		request->processes[request->nprocesses - 1]->is_command = true;
	return err;
}

static const struct backend *backend_find(const char *name)
{
	for (size_t i = 0; i < nbackends; i++)
		if (!strcmp(backends[i]->name, name))
			return backends[i];
	return NULL;
}

/* Reports that there is no such backend, and names those there are. */
static int backend_unknown(const char *name)
{
	char names[64] = "auto";

	for (size_t i = 0; i < nbackends; i++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
		         i + 1 < nbackends ? ", " : " and ", backends[i]->name);
	return error_set(EINVAL, "no backend '%s': there are %s", name, names);
}

int pp_request_backend(struct pp_request *request, const char *backend)
{
	const struct backend *found = backend_find(backend);

	if (!found && strcmp(backend, "auto"))
		return backend_unknown(backend);
	request->backend = found;
	return 0;
}

bool pp_backend_permitted(const char *backend)
{
	const struct backend *found = backend_find(backend);

	return found && found->permitted();
}

int pp_request_filter(struct pp_request *request, const char *expression)
{
	char *copy = strdup(expression);

	if (!copy)
		return error_nomem();
	free(request->filter);
	request->filter = copy;
	return 0;
}

int pp_request_string(struct pp_request *request, const char *argument)
{
	return append(&request->strings, &request->nstrings, argument);
}

int pp_request_no_string(struct pp_request *request, const char *argument)
{
	return append(&request->addresses, &request->naddresses, argument);
}

static int set_scope(struct pp_request *request, enum scope_kind kind)
{
	if (request->scope != SCOPE_PROCESSES && request->scope != kind)
		return error_set(EINVAL, "only one of children, process group and control group can be meant");
	request->scope = kind;
	return 0;
}

int pp_request_children(struct pp_request *request)
{
	return set_scope(request, SCOPE_CHILDREN);
}

int pp_request_pgrp(struct pp_request *request)
{
	return set_scope(request, SCOPE_PGRP);
}

int pp_request_cgroup(struct pp_request *request, const char *dir)
{
	int err = set_scope(request, SCOPE_CGROUP);

	if (err)
		return err;
	free(request->cgroup);
	request->cgroup = strdup(dir);
	return request->cgroup ? 0 : error_nomem();
}

int pp_request_maxactive(struct pp_request *request, unsigned n)
{
	if (!n || n > PP_MAXACTIVE_MAX)
		return error_set(EINVAL, "%u is no number of calls under way: 1 to %d", n, PP_MAXACTIVE_MAX);
	request->maxactive = n;
	return 0;
}

int pp_request_budget(struct pp_request *request, double share)
{
	if (!(share >= 0))
		return error_set(EINVAL, "invalid budget %g: a share of one CPU, 0 or more", share);
	request->budget = share;
	return 0;
}

int pp_request_many(struct pp_request *request, size_t sites)
{
	request->many = sites;
	return 0;
}

int pp_request_hold(struct pp_request *request)
{
	request->hold = true;
	return 0;
}

int pp_request_record(struct pp_request *request)
{
	request->record = true;
	return 0;
}

int pp_request_overwrite(struct pp_request *request)
{
	request->record = request->overwrite = true;
	return 0;
}

int pp_request_calls(struct pp_request *request)
{
	request->calls = true;
	return 0;
}
