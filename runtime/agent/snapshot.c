/* SPDX-License-Identifier: MIT */
/*
 * Flight recorders of the agent backend. A session's regions are those of its target processes, and those that the keeper
 * has, which include the regions of processes that have ended or called exec(2).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/agent/flight.h"
#include "runtime/agent/keeper.h"
#include "runtime/agent/session.h"
#include "runtime/agent/snapshot.h"

typedef int region_fn(const struct mapped_shm *shm, uint64_t bytes, void *arg);

static bool target_is_kept(const struct mapped_shm *kept, size_t n, const struct mapped_shm *shm)
{
	for (size_t i = 0; i < n; i++)
		if (shm_is_same(&kept[i], shm))
			return true;
	return false;
}

/*
 * Calls fn with the regions of the keeper. Adds them to *kept, which the caller unmaps. Raises *dropped to the time
 * (ns) until which the keeper has dropped regions.
 */
static int regions_each_kept(struct agent_session *s, region_fn *fn, void *arg, struct mapped_shm **kept, size_t *n,
                             uint64_t *dropped)
{
	size_t room = 0;
	int err = 0;

	for (uint64_t i = 0; !err; i++) {
		struct agent_kept region;
		int fd = agent_keeper_get(&s->dir, s->name, i, &region);
		uint64_t bytes;

		if (fd < 0)
			break;
		*dropped = region.dropped > *dropped ? region.dropped : *dropped;
		if (ALLOC_GROW(*kept, *n + 1, room)) {
			close(fd);
			return -ENOMEM;
		}
		bytes = shm_file_bytes(fd);
		if (shm_map(&(*kept)[*n], fd, (pid_t)region.pid))
			continue;
		err = fn(&(*kept)[(*n)++], bytes, arg);
	}
	return err;
}

/* Calls fn with all regions. Raises *dropped as regions_each_kept(), or to UINT64_MAX if the time is not known. */
static int regions_each(struct agent_session *s, region_fn *fn, void *arg, uint64_t *dropped)
{
	struct mapped_shm *kept = NULL;
	size_t n = 0;
	int err;

	if (!agent_keeper_settle_records(&s->dir))
		*dropped = UINT64_MAX;
	err = agent_targets_refresh(s);
	if (!err)
		err = regions_each_kept(s, fn, arg, &kept, &n, dropped);
	for (size_t i = 0; i < s->ntargets && !err; i++) {
		const struct mapped_shm *shm = &s->targets[i]->shm;

		if (shm->flight_slots && !shm_has_moved(shm) && !target_is_kept(kept, n, shm))
			err = fn(shm, (uint64_t)shm->flight_slots * AGENT_FLIGHT_SLOT, arg);
	}
	for (size_t i = 0; i < n; i++)
		shm_unmap(&kept[i]);
	free(kept);
	return err;
}

/* ---- operations of the backend ---- */

size_t agent_flight(const struct attachment *attachment)
{
	return (size_t)agent_loaded(attachment)->file.attachment->flight * AGENT_FLIGHT_SLOT;
}

static int region_snapshot(const struct mapped_shm *shm, uint64_t bytes, void *arg)
{
	struct flight_reading *reading = arg;

	(void)bytes;
	record_clock_update(reading->clock);
	return flight_read(shm, reading);
}

int agent_snapshot(struct pp_session *session, snapshot_fn *fn, void *arg, struct snapshot_gaps *gaps)
{
	struct record_clock clock = { 0 };
	struct flight_reading reading = { .clock = &clock, .fn = fn, .arg = arg, .gaps = gaps };
	int err;

	record_clock_open(&clock);
	err = regions_each(agent_of(session), region_snapshot, &reading, &gaps->since);
	/* Without a keeper, the records of a process are gone when it ends. */
	if (agent_session_uncounted(agent_of(session)))
		gaps->since = UINT64_MAX;
	return err;
}

static int region_add_bytes(const struct mapped_shm *shm, uint64_t bytes, void *arg)
{
	(void)shm;
	*(uint64_t *)arg += bytes;
	return 0;
}

uint64_t agent_held(struct pp_session *session)
{
	uint64_t held = 0, dropped = 0;

	regions_each(agent_of(session), region_add_bytes, &held, &dropped);
	return held;
}

/* ---- the memory of a process's control group ---- */

/* Reads a number from a file below a control group's directory. Returns UINT64_MAX for "max", or if there is none. */
static uint64_t cgroup_number(const char *dir, const char *name)
{
	unsigned long long n = UINT64_MAX;
	char path[4096];
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return n;
	f = fopen(path, "re");
	if (f && fscanf(f, "%llu", &n) != 1)
		n = UINT64_MAX;
	if (f)
		fclose(f);
	return n;
}

/* Stores the directory of the process's control group (cgroup2). Returns false if it has none. */
static bool cgroup_of(pid_t pid, char *dir, size_t size)
{
	char path[64], line[3072];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		found = !strncmp(line, "0::/", 4) && snprintf(dir, size, "/sys/fs/cgroup%s", line + 3) < (int)size;
	}
	if (f)
		fclose(f);
	return found;
}

int agent_flight_check(pid_t pid, size_t bytes)
{
	char dir[4096], *slash;

	if (!cgroup_of(pid, dir, sizeof(dir)))
		return 0;
	while (strlen(dir) > strlen("/sys/fs/cgroup/")) {
		uint64_t max = cgroup_number(dir, "memory.max"), used = cgroup_number(dir, "memory.current");

		/* Half of what is free stays for the program. */
		if (max != UINT64_MAX && used != UINT64_MAX && (max < used || bytes > (max - used) / 2))
			return error_set(ENOMEM,
			                 "pid %d: a flight recorder of %zu KiB does not fit into its control group, "
			                 "which has %llu of %llu KiB left ('%s'); give a smaller size",
			                 pid, bytes >> 10, (unsigned long long)(max < used ? 0 : max - used) >> 10,
			                 (unsigned long long)max >> 10, dir);
		slash = strrchr(dir, '/');
		*slash = 0;
	}
	return 0;
}
