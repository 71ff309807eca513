/* SPDX-License-Identifier: MIT */
#include "runtime/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/backend.h"
#include "sdt/cxx-name.h"

int pp_request_new(struct pp_request **request)
{
	*request = calloc(1, sizeof(**request));
	if (!*request)
		return error_nomem();
	(*request)->cells = AGG_CELLS_DEFAULT;
	(*request)->string_max = RECORD_STRING_DEFAULT;
	return 0;
}

static void list_free(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

void pp_request_free(struct pp_request *request)
{
	if (!request)
		return;
	list_free(request->patterns, request->npatterns);
	list_free(request->files, request->nfiles);
	list_free(request->strings, request->nstrings);
	list_free(request->addresses, request->naddresses);
	for (size_t i = 0; i < request->nprocesses; i++)
		process_free(request->processes[i]);
	free(request->processes);
	free(request->command);
	free(request->filter);
	free(request->print);
	free(request->key);
	free(request->aggregate);
	free(request->cgroup);
	free(request->label);
	free(request);
}

static int request_list_append(char ***list, size_t *n, size_t *room, const char *text)
{
	if (ALLOC_GROW(*list, *n + 1, *room))
		return -ENOMEM;
	(*list)[*n] = strdup(text);
	if (!(*list)[*n])
		return error_nomem();
	++*n;
	return 0;
}

int pp_request_pattern(struct pp_request *request, const char *pattern)
{
	const char *colon = pattern_colon(pattern);

	if (!*pattern || colon == pattern || (colon && !colon[1]))
		return error_set(EINVAL, "invalid pattern '%s': expected PROVIDER:NAME or NAME, both may be globs",
		                 pattern);
	return request_list_append(&request->patterns, &request->npatterns, &request->patterns_room, pattern);
}

int pp_request_latency(struct pp_request *request, const char *begin, const char *end, const char *key)
{
	int err;

	if (request->npatterns)
		return error_set(EINVAL, "a request for a latency has no other probes");
	err = pp_request_pattern(request, begin);
	if (!err)
		err = pp_request_pattern(request, end);
	if (err)
		return err;
	request->latency = true;
	request->key = key ? strdup(key) : NULL;
	return key && !request->key ? error_nomem() : 0;
}

int pp_request_file(struct pp_request *request, const char *path)
{
	return request_list_append(&request->files, &request->nfiles, &request->files_room, path);
}

int pp_request_pid(struct pp_request *request, pid_t pid)
{
	struct process *process;
	int err = process_open(pid, &process);

	if (err)
		return err;
	for (size_t i = 0; i < request->nprocesses; i++)
		if (request->processes[i]->pid == pid) {
			process_free(process);
			return 0;
		}
	if (ALLOC_GROW(request->processes, request->nprocesses + 1, request->processes_room)) {
		process_free(process);
		return -ENOMEM;
	}
	request->processes[request->nprocesses++] = process;
	return 0;
}

int pp_request_command(struct pp_request *request, pid_t pid, const char *file)
{
	int err;

	if (request->command)
		return error_set(EINVAL, "a request takes only one command");
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

/* Reports an unknown backend, with the names of all backends. */
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

int pp_request_aggregate(struct pp_request *request, const char *expression, unsigned cells)
{
	char *copy;

	if (cells > AGG_CELLS_MAX)
		return error_set(EINVAL, "invalid size %u of a table: expected 1 to %d cells", cells, AGG_CELLS_MAX);
	copy = strdup(expression);
	if (!copy)
		return error_nomem();
	free(request->aggregate);
	request->aggregate = copy;
	request->cells = cells ? cells : AGG_CELLS_DEFAULT;
	return 0;
}

/* Returns -EINVAL if n is out of range. */
static int sample_set(uint32_t *to, const char *what, unsigned n)
{
	if (!n || n > FETCH_SAMPLE_MAX)
		return error_set(EINVAL, "invalid %s %u: expected 1 to %u", what, n, FETCH_SAMPLE_MAX);
	*to = n;
	return 0;
}

int pp_request_every(struct pp_request *request, unsigned n)
{
	return sample_set(&request->sample.every, "sampling: each of", n);
}

int pp_request_rate(struct pp_request *request, unsigned n)
{
	return sample_set(&request->sample.rate, "rate of hits", n);
}

int pp_request_print(struct pp_request *request, const char *expressions)
{
	char *copy = strdup(expressions);

	if (!copy)
		return error_nomem();
	free(request->print);
	request->print = copy;
	return 0;
}

int pp_request_string_max(struct pp_request *request, unsigned n)
{
	if (!n || n > PP_STRING_MAX)
		return error_set(EINVAL, "invalid length of strings %u: expected 1 to %d", n, PP_STRING_MAX);
	request->string_max = n;
	return 0;
}

int pp_request_string(struct pp_request *request, const char *argument)
{
	return request_list_append(&request->strings, &request->nstrings, &request->strings_room, argument);
}

int pp_request_no_string(struct pp_request *request, const char *argument)
{
	return request_list_append(&request->addresses, &request->naddresses, &request->addresses_room, argument);
}

static int request_set_scope(struct pp_request *request, enum scope_kind kind)
{
	if (request->scope != SCOPE_PROCESSES && request->scope != kind)
		return error_set(EINVAL, "children, process group and control group exclude each other");
	request->scope = kind;
	return 0;
}

int pp_request_children(struct pp_request *request)
{
	return request_set_scope(request, SCOPE_CHILDREN);
}

int pp_request_pgrp(struct pp_request *request)
{
	return request_set_scope(request, SCOPE_PGRP);
}

int pp_request_cgroup(struct pp_request *request, const char *dir)
{
	int err = request_set_scope(request, SCOPE_CGROUP);

	if (err)
		return err;
	free(request->cgroup);
	request->cgroup = strdup(dir);
	return request->cgroup ? 0 : error_nomem();
}

int pp_request_maxactive(struct pp_request *request, unsigned n)
{
	if (!n || n > PP_MAXACTIVE_MAX)
		return error_set(EINVAL, "invalid number of calls in flight %u: expected 1 to %d", n, PP_MAXACTIVE_MAX);
	request->maxactive = n;
	return 0;
}

int pp_request_budget(struct pp_request *request, double share)
{
	if (!(share >= 0))
		return error_set(EINVAL, "invalid budget %g: expected a share of one CPU, 0 or more", share);
	request->budget = share;
	return 0;
}

int pp_request_many(struct pp_request *request, size_t sites)
{
	request->many = sites;
	return 0;
}

static int request_buffer_refused(void)
{
	return error_set(EINVAL, "a flight recorder has no buffer of another size, because its own size is the "
	                         "memory for records; leave out the buffer");
}

int pp_request_buffer(struct pp_request *request, size_t bytes)
{
	size_t size = PP_BUFFER_MIN;

	if (bytes < PP_BUFFER_MIN || bytes > PP_BUFFER_MAX)
		return error_set(EINVAL, "a buffer of %zu bytes: give %u to %u", bytes, PP_BUFFER_MIN, PP_BUFFER_MAX);
	if (request->flight)
		return request_buffer_refused();
	while (size < bytes)
		size *= 2;
	request->buffer = size;
	return 0;
}

int pp_request_flight_recorder(struct pp_request *request, size_t bytes)
{
	if (bytes < PP_FLIGHT_MIN || bytes > PP_FLIGHT_MAX)
		return error_set(EINVAL, "a flight recorder of %zu bytes: give %u to %u", bytes, PP_FLIGHT_MIN,
		                 PP_FLIGHT_MAX);
	if (request->buffer)
		return request_buffer_refused();
	request->flight = bytes;
	request->record = true;
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

int pp_request_uretprobe(struct pp_request *request)
{
	request->uretprobe = true;
	return 0;
}

int pp_request_label(struct pp_request *request, const char *label)
{
	char *copy;

	if (strlen(label) > PP_LABEL_MAX)
		return error_set(EINVAL, "a label of %zu bytes: give at most %u", strlen(label), PP_LABEL_MAX);
	copy = strdup(label);
	if (!copy)
		return error_nomem();
	free(request->label);
	request->label = copy;
	return 0;
}

int pp_request_fast(struct pp_request *request)
{
	request->fast = true;
	return 0;
}
