/* SPDX-License-Identifier: MIT */
/* Probes, functions, threads and processes of a trace. They live as long as the names, and their addresses do not change. */
#ifndef CMD_REPORT_NAMES_H
#define CMD_REPORT_NAMES_H

#include "cmd/report/model.h"

/* More threads or processes than this share one entry, "other". */
enum { THREADS_MAX = 65536 };

struct report_names;

struct report_names *names_new(void);
void names_free(struct report_names *names);

/*
 * Returns the probe of this name. has_duration: its records end with an argument "duration". A new probe whose name is that of a
 * function's entry or return gets the function.
 */
struct report_probe *names_probe(struct report_names *names, const char *name, bool has_duration);
/* Makes func:NAME the entry of its function if func:NAME%return is a probe, too. Call it when all probes are known. */
void names_pair_functions(struct report_names *names);

/* Returns the thread, and remembers its name (NULL: unknown). */
struct report_thread *names_thread(struct report_names *names, const char *host, int64_t pid, int64_t tid,
                                   const char *comm);

size_t names_probes(const struct report_names *names);
size_t names_functions(const struct report_names *names);
size_t names_threads(const struct report_names *names);
size_t names_processes(const struct report_names *names);
const struct report_probe *names_probe_at(const struct report_names *names, size_t i);
const struct report_function *names_function_at(const struct report_names *names, size_t i);
const struct report_thread *names_thread_at(const struct report_names *names, size_t i);
const struct report_process *names_process_at(const struct report_names *names, size_t i);

#endif
