/* SPDX-License-Identifier: MIT */
/* Which requests, processes and points the agent backend can arm. */
#include <elf.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/agent/reach.h"
#include "runtime/agent/session.h"
#include "runtime/agent/wake.h"
#include "runtime/cpu.h"
#include "runtime/function.h"
#include "runtime/process.h"
#include "runtime/request.h"
#include "sdt/image.h"
#include "sdt/operand.h"

/* ---- processes ---- */

/* Reports why a process has no agent that this command can reach. */
static int process_fail_no_agent(pid_t pid)
{
	const char *other = agent_other_namespace(pid);
	char path[32];
	struct stat st;
	struct passwd *user;

	if (other)
		return error_set(
			ENOENT,
			"pid %d: the process is in another %s namespace (a container) and has %s agent; agents "
			"there reply only to commands in the same container; run this command inside, or use -b "
			"kernel",
			pid, other, agent_is_mapped(pid) ? "an" : "no");
	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (stat(path, &st) || st.st_uid == geteuid())
		return error_set(
			ENOENT,
			"pid %d: the process has no agent; load it by --inject, or start the process by -b agent "
			"-- COMMAND or with the agent in LD_PRELOAD",
			pid);
	user = getpwuid(st.st_uid);
	return error_set(EPERM, "pid %d: the process belongs to user '%s' (%u): agents reply only to their own user",
	                 pid, user ? user->pw_name : "?", st.st_uid);
}

/* Returns 0, or why points of the process cannot be armed. any: the kernel backend can arm them, too. */
static int process_usable(const struct agent_dir *dir, const struct process *process, bool any)
{
	struct agent_peer peer;
	int err;

	if (process->is_command)
		return any ? error_set(EOPNOTSUPP, "a command has no agent before it runs") : 0;
	if (agent_is_mapped(process->pid) && !agent_other_namespace(process->pid) &&
	    agent_is_elsewhere(dir, process->pid))
		return agent_check_reach(dir, process->pid);
	err = agent_wake_and_connect(dir, process->pid, &peer);
	if (err == -ENOENT)
		return process_fail_no_agent(process->pid);
	if (err)
		return err;
	agent_disconnect(&peer);
	if (peer.reason && any)
		return error_set(EOPNOTSUPP, "pid %d: %s", process->pid, agent_reason_text(peer.reason, NULL));
	return 0;
}

/* ---- requests ---- */

static int note_connection(pid_t pid, uint64_t key, void *arg)
{
	struct agent_peer peer;

	(void)key;
	if (agent_connect(arg, pid, &peer))
		return 0;
	agent_disconnect(&peer);
	return 1;
}

static int note_process(pid_t pid, void *unused)
{
	(void)pid, (void)unused;
	return 1;
}

static bool any_agent_exists(const struct agent_dir *dir)
{
	return agent_each_socket(dir, note_connection, (void *)dir) || agent_each_mapped(note_process, NULL);
}

/* Returns 0, or an error for what no agent can do. */
static int agent_check_request(const struct pp_request *request)
{
	if (request->scope == SCOPE_PGRP || request->scope == SCOPE_CGROUP)
		return error_set(EOPNOTSUPP,
		                 "the agent does not support process groups and control groups; use -b kernel");
	if (request->hold)
		return error_set(EOPNOTSUPP, "the agent cannot disarm when a command ends; use -b kernel");
	if (request->maxactive)
		return error_set(EOPNOTSUPP,
		                 "the agent's number of calls in flight cannot be changed; use -b kernel, or "
		                 "leave out --maxactive");
	if (request->buffer > AGENT_RING_SIZE_MAX)
		return error_set(
			EOPNOTSUPP,
			"the agent's buffers have at most %u bytes for each thread; use -b kernel, or give --buffer "
			"%uM or less",
			AGENT_RING_SIZE_MAX, AGENT_RING_SIZE_MAX >> 20);
	for (size_t i = 0; i < request->npatterns; i++)
		if (function_name(request->patterns[i]))
			return error_set(EOPNOTSUPP, "'%s': the agent arms probes, not functions; use -b kernel",
			                 request->patterns[i]);
	return 0;
}

/* Checks the processes of a request. Without any, one that can be armed is enough. */
static int request_check_processes(const struct pp_request *request, const struct agent_dir *dir, bool any)
{
	size_t good = 0;
	int err = 0;

	for (size_t i = 0; i < request->nprocesses; i++) {
		int bad = process_usable(dir, request->processes[i], any);

		if (!bad) {
			good++;
			continue;
		}
		err = bad;
		if (any)
			return err;
	}
	return good ? 0 : err;
}

int agent_usable(const struct pp_request *request, bool any)
{
	struct agent_dir dir = AGENT_DIR_CLOSED;
	bool create = !any;
	int err = agent_check_request(request);

	if (err)
		return err;
	/* An agent that has just started may be about to make the state directory. */
	for (size_t i = 0; i < request->nprocesses && !create; i++)
		create = !request->processes[i]->is_command && agent_is_mapped(request->processes[i]->pid);
	if (agent_dir_open(&dir, NULL, create))
		return -ENOENT;
	/* The kernel backend, if permitted, reaches every process, with an agent or not. */
	if (!request->nprocesses && any && (backend_later_permitted(&backend_agent) || !any_agent_exists(&dir)))
		err = error_set(ENOENT, "no process has an agent");
	else
		err = request_check_processes(request, &dir, any);
	agent_dir_close(&dir);
	return err;
}

/* ---- sites ---- */

static bool agent_image_is_armable(const struct pp_image *image)
{
	return image->machine == MACHINE_HERE && image->is_64;
}

static bool site_has_nop(const struct pp_site *site)
{
	const struct cpu_code *cpu = cpu_code(site->probe->image->machine);

	return cpu && cpu->jump_size && cpu->is_unarmed(site->code + cpu->jump_at);
}

/* Whether the jump can be written while threads run the site: its first two bytes must share an aligned block of 8. */
static bool site_is_aligned(const struct pp_site *site)
{
	const struct cpu_code *cpu = cpu_code(site->probe->image->machine);

	return cpu && (!cpu->jump_at || (site->address + cpu->jump_at) % 8 != 7);
}

static bool site_is_armable(const struct pp_site *site)
{
	return agent_image_is_armable(site->probe->image) && (site->role == SITE_HIT || site->call) &&
	       site_has_nop(site) && site_is_aligned(site);
}

bool agent_takes(const struct pp_site *site)
{
	return site_is_armable(site) && !site->semaphore_in_bss;
}

int agent_check(struct pp_session *session, struct arm_point *const *points, size_t npoints)
{
	(void)session;
	for (size_t i = 0; i < npoints; i++)
		if (points[i]->site->semaphore_in_bss)
			arm_point_refuse(
				points[i], -EOPNOTSUPP,
				error_format("its semaphore, at %#llx, is in .bss, where the agent cannot raise "
			                     "it; use -b kernel",
			                     (unsigned long long)points[i]->site->semaphore));
	return 0;
}

/* ---- points ---- */

/* Returns 0, or why no agent can arm the point. The agent of a process that runs decides by the process's memory. */
static int point_check(const struct arm_point *point)
{
	const struct pp_site *site = point->site;

	if (site->role != SITE_HIT && !site->call)
		return error_set(EOPNOTSUPP, "the agent arms probes, not calls of functions; use -b kernel");
	if (!agent_image_is_armable(point->image))
		return error_set(EOPNOTSUPP, "'%s' is not 64-bit code for the agent's CPU; use -b kernel",
		                 point->image->path);
	if ((!point->process || point->process->is_command) && !site_is_armable(site))
		return error_set(EOPNOTSUPP, "%s",
		                 agent_reason_text(site_has_nop(site) ? AGENT_BLOCK : AGENT_BYTES,
		                                   site->code + cpu_code(MACHINE_HERE)->jump_at));
	return 0;
}

int agent_foresee(const struct pp_request *request, struct arm_point *const *points, size_t npoints)
{
	int err = agent_check_request(request);

	if (!err)
		err = agent_check(NULL, points, npoints);
	for (size_t i = 0; i < npoints && !err; i++)
		if (!points[i]->error && point_check(points[i]))
			arm_point_refuse(points[i], -EOPNOTSUPP, strdup(pp_error()));
	return err;
}

size_t agent_session_refuse_points(const struct agent_session *session, struct arm_point *const *points, size_t npoints)
{
	const struct process *process = NULL; /* whose result is process_err, with its error message as the last one */
	size_t refused = 0;
	int process_err = 0;

	for (size_t i = 0; i < npoints; i++) {
		int err = point_check(points[i]);

		if (err) {
			process = NULL; /* its error message was overwritten */
		} else if (points[i]->process) {
			if (points[i]->process != process) {
				process = points[i]->process;
				process_err = process_usable(&session->dir, process, false);
			}
			err = process_err;
		}
		if (!err)
			continue;
		arm_point_refuse(points[i], err, strdup(pp_error()));
		refused++;
	}
	return refused;
}
