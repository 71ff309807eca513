/* SPDX-License-Identifier: MIT */
#include "cmd/report/names.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/report/table.h"

struct report_names {
	struct report_probe **probes;
	struct report_function **functions;
	struct report_thread **threads;
	struct report_process **processes;
	size_t nprobes, nfunctions, nthreads, nprocesses;
	struct index_table by_probe, by_function, by_thread, by_process;
	struct report_thread *last; /* of the last record */
};

struct report_names *names_new(void)
{
	return xcalloc(1, sizeof(struct report_names));
}

void names_free(struct report_names *names)
{
	if (!names)
		return;
	for (size_t i = 0; i < names->nprobes; i++) {
		free(names->probes[i]->name);
		free(names->probes[i]);
	}
	for (size_t i = 0; i < names->nfunctions; i++) {
		free(names->functions[i]->name);
		free(names->functions[i]);
	}
	for (size_t i = 0; i < names->nthreads; i++) {
		free(names->threads[i]->comm);
		free(names->threads[i]);
	}
	for (size_t i = 0; i < names->nprocesses; i++) {
		free(names->processes[i]->host);
		free(names->processes[i]->comm);
		free(names->processes[i]);
	}
	free(names->probes);
	free(names->functions);
	free(names->threads);
	free(names->processes);
	table_release(&names->by_probe);
	table_release(&names->by_function);
	table_release(&names->by_thread);
	table_release(&names->by_process);
	free(names);
}

/* Appends a new zeroed element to a list of pointers whose room is a power of two. */
#define LIST_ADD(list, n)                                                                   \
	({                                                                                  \
		if (!((n) & ((n)-1)))                                                       \
			(list) = xreallocarray((list), (n) ? 2 * (n) : 1, sizeof(*(list))); \
		(list)[n] = xcalloc(1, sizeof(**(list)));                                   \
		(list)[n]->index = (uint32_t)(n);                                           \
		(list)[(n)++];                                                              \
	})

/* ---- probes ---- */

static bool probe_is(const void *names, uint32_t i, const void *name)
{
	return !strcmp(((const struct report_names *)names)->probes[i]->name, name);
}

static bool function_is(const void *names, uint32_t i, const void *name)
{
	return !strcmp(((const struct report_names *)names)->functions[i]->name, name);
}

static uint32_t names_function(struct report_names *names, const char *name, size_t length)
{
	char *copy = xasprintf("%.*s", (int)length, name);
	uint64_t hash = table_hash(copy, length);
	uint32_t i = table_find(&names->by_function, hash, function_is, names, copy);

	if (i == REPORT_NONE) {
		struct report_function *function = LIST_ADD(names->functions, names->nfunctions);

		function->name = copy;
		table_add(&names->by_function, hash, function->index);
		return function->index;
	}
	free(copy);
	return i;
}

/* Returns the length of the name without the suffix. 0: the name does not end with it. */
static size_t name_without(const char *name, const char *suffix)
{
	size_t n = strlen(name), s = strlen(suffix);

	return n > s && !strcmp(name + n - s, suffix) ? n - s : 0;
}

/* Finds the function whose entry or return the probe is. */
static void probe_find_function(struct report_names *names, struct report_probe *probe)
{
	const char *name = probe->name;
	size_t base;

	if ((base = name_without(name, "__entry")))
		probe->is_entry = true;
	else if ((base = name_without(name, "__return")) || (base = name_without(name, "%return")))
		probe->is_return = true;
	else if (probe->is_measured && strstr(name, ".."))
		base = strlen(name);
	if (!base)
		return;
	probe->function = names_function(names, name, base);
	names->functions[probe->function]->has_return |= !probe->is_entry;
}

struct report_probe *names_probe(struct report_names *names, const char *name, bool has_duration)
{
	size_t length = strlen(name);
	uint64_t hash = table_hash(name, length);
	uint32_t i = table_find(&names->by_probe, hash, probe_is, names, name);
	struct report_probe *probe;

	if (i == REPORT_NONE) {
		probe = LIST_ADD(names->probes, names->nprobes);
		probe->name = xstrdup(name);
		probe->function = REPORT_NONE;
		table_add(&names->by_probe, hash, probe->index);
	} else {
		probe = names->probes[i];
	}
	/* A probe may have several classes, some of which have a duration. */
	if (i == REPORT_NONE || (has_duration && !probe->is_measured)) {
		probe->is_measured = has_duration;
		probe_find_function(names, probe);
	}
	return probe;
}

void names_pair_functions(struct report_names *names)
{
	for (size_t i = 0; i < names->nprobes; i++) {
		struct report_probe *probe = names->probes[i];
		char *other;

		if (probe->function != REPORT_NONE)
			continue;
		other = xasprintf("%s%%return", probe->name);
		if (table_find(&names->by_probe, table_hash(other, strlen(other)), probe_is, names, other) !=
		    REPORT_NONE) {
			probe->is_entry = true;
			probe->function = names_function(names, probe->name, strlen(probe->name));
		}
		free(other);
	}
}

/* ---- threads ---- */

struct thread_key {
	const char *host;
	int64_t pid, tid;
};

static bool process_is(const void *names, uint32_t i, const void *arg)
{
	const struct report_process *process = ((const struct report_names *)names)->processes[i];
	const struct thread_key *key = arg;

	return process->pid == key->pid && !strcmp(process->host, key->host);
}

static bool thread_has_key(const void *names, uint32_t i, const void *arg)
{
	const struct report_thread *thread = ((const struct report_names *)names)->threads[i];
	const struct thread_key *key = arg;

	return thread->tid == key->tid && thread->process->pid == key->pid && !strcmp(thread->process->host, key->host);
}

static struct report_process *names_process(struct report_names *names, const struct thread_key *key)
{
	uint64_t hash = table_hash(key->host, strlen(key->host)) ^ table_hash(&key->pid, sizeof(key->pid));
	uint32_t i = table_find(&names->by_process, hash, process_is, names, key);
	struct report_process *process;

	if (i != REPORT_NONE)
		return names->processes[i];
	process = LIST_ADD(names->processes, names->nprocesses);
	process->host = xstrdup(key->host);
	process->pid = key->pid;
	process->comm = xstrdup("");
	table_add(&names->by_process, hash, process->index);
	return process;
}

static void comm_set(char **comm, const char *name)
{
	if (!strcmp(*comm, name))
		return;
	free(*comm);
	*comm = xstrdup(name);
}

static void thread_name(struct report_thread *thread, const char *comm)
{
	if (!comm || !*comm || thread->is_other)
		return;
	comm_set(&thread->comm, comm);
	if (thread->tid == thread->process->pid || !*thread->process->comm)
		comm_set(&thread->process->comm, comm);
}

struct report_thread *names_thread(struct report_names *names, const char *host, int64_t pid, int64_t tid,
                                   const char *comm)
{
	struct thread_key key = { host, pid, tid };
	bool other = false;
	uint64_t hash;
	uint32_t i;

	if (names->last && thread_has_key(names, names->last->index, &key)) {
		thread_name(names->last, comm);
		return names->last;
	}
	hash = table_hash(&pid, sizeof(pid)) * 31 + table_hash(&tid, sizeof(tid)) + table_hash(host, strlen(host));
	i = table_find(&names->by_thread, hash, thread_has_key, names, &key);
	if (i == REPORT_NONE && names->nthreads >= THREADS_MAX) {
		other = true;
		key = (struct thread_key){ "", -1, -1 };
		hash = 0;
		i = table_find(&names->by_thread, hash, thread_has_key, names, &key);
	}
	if (i == REPORT_NONE) {
		struct report_process *process = names_process(names, &key);
		struct report_thread *thread = LIST_ADD(names->threads, names->nthreads);

		thread->process = process;
		thread->tid = key.tid;
		thread->is_other = other;
		thread->comm = xstrdup(other ? "other" : "");
		if (other)
			comm_set(&process->comm, "other");
		table_add(&names->by_thread, hash, thread->index);
		i = thread->index;
	}
	names->last = names->threads[i];
	thread_name(names->last, comm);
	return names->last;
}

/* ---- lists ---- */

size_t names_probes(const struct report_names *names)
{
	return names->nprobes;
}

size_t names_functions(const struct report_names *names)
{
	return names->nfunctions;
}

size_t names_threads(const struct report_names *names)
{
	return names->nthreads;
}

size_t names_processes(const struct report_names *names)
{
	return names->nprocesses;
}

const struct report_probe *names_probe_at(const struct report_names *names, size_t i)
{
	return names->probes[i];
}

const struct report_function *names_function_at(const struct report_names *names, size_t i)
{
	return names->functions[i];
}

const struct report_thread *names_thread_at(const struct report_names *names, size_t i)
{
	return names->threads[i];
}

const struct report_process *names_process_at(const struct report_names *names, size_t i)
{
	return names->processes[i];
}
