/* SPDX-License-Identifier: MIT */
#include "runtime/agent/reach.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/agent/environment.h"
#include "runtime/process.h"

uint32_t agent_pid_namespace(void)
{
	struct stat st;

	/* Kernels without pid namespaces do not have the file. */
	return stat("/proc/self/ns/pid", &st) ? 0 : (uint32_t)st.st_ino;
}

const char *agent_other_namespace(pid_t pid)
{
	static const char *const names[][2] = { { "pid", "pid" }, { "mnt", "mount" } };
	char path[64];
	struct stat own, other;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i][0]);
		if (stat(path, &own))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/ns/%s", pid, process_thread(pid), names[i][0]);
		if (!stat(path, &other) && other.st_ino != own.st_ino)
			return names[i][1];
	}
	return NULL;
}

/* Reads XDG_RUNTIME_DIR of the environment with which the process began; "" if it is not set or cannot be read. */
static void read_first_runtime_dir(pid_t pid, char *value, size_t size)
{
	static const char name[] = "XDG_RUNTIME_DIR=";
	char path[64], *text = NULL;
	size_t room = 0;
	FILE *f;

	*value = 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/environ", pid, process_thread(pid));
	f = fopen(path, "re");
	if (!f)
		return;
	while (getdelim(&text, &room, 0, f) > 0)
		if (!strncmp(text, name, sizeof(name) - 1))
			snprintf(value, size, "%s", text + sizeof(name) - 1);
	free(text);
	fclose(f);
}

/* Reads XDG_RUNTIME_DIR of the process; "" if it is not set. */
static void read_runtime_dir(pid_t pid, char *value, size_t size)
{
	if (environment_read(pid, "XDG_RUNTIME_DIR", value, size))
		read_first_runtime_dir(pid, value, size);
}

/* Writes to path where the process's state directory is, as seen from here. */
static void state_path(pid_t pid, const char *runtime_dir, char *path, size_t size)
{
	const pid_t tid = process_thread(pid);
	struct stat dir;

	snprintf(path, size, "/proc/%d/task/%d/root%s", pid, tid, runtime_dir);
	if (runtime_dir[0] == '/' && !stat(path, &dir) && S_ISDIR(dir.st_mode) && dir.st_uid == geteuid() &&
	    !(dir.st_mode & 022))
		snprintf(path, size, "/proc/%d/task/%d/root%s/probepoint", pid, tid, runtime_dir);
	else
		snprintf(path, size, "/proc/%d/task/%d/root/tmp/probepoint-%u", pid, tid, geteuid());
}

/* Whether the process's state directory is that of this command, or this is not known. */
static bool is_own_state(const struct agent_dir *dir, pid_t pid, const char *runtime_dir)
{
	char path[2 * PATH_MAX];
	struct stat ours, theirs;

	state_path(pid, runtime_dir, path, sizeof(path));
	return fstat(dir->root, &ours) ||
	       (!stat(path, &theirs) && theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev);
}

bool agent_is_elsewhere(const struct agent_dir *dir, pid_t pid)
{
	char first[PATH_MAX], now[PATH_MAX];

	read_first_runtime_dir(pid, first, sizeof(first));
	return *first && !environment_read(pid, "XDG_RUNTIME_DIR", now, sizeof(now)) && !strcmp(first, now) &&
	       !is_own_state(dir, pid, now);
}

int agent_check_reach(const struct agent_dir *dir, pid_t pid)
{
	const char *other = agent_other_namespace(pid);
	char value[PATH_MAX];

	if (!other || strcmp(other, "pid")) {
		read_runtime_dir(pid, value, sizeof(value));
		if (is_own_state(dir, pid, value))
			return 0;
	}
	if (other)
		return error_set(
			EOPNOTSUPP,
			"pid %d: the process is in another %s namespace (a container), and its agent replies only "
			"to commands in there; run this command inside, or use -b kernel",
			pid, other);
	return error_set(EOPNOTSUPP,
	                 "pid %d: the process has %s%s, so its agent does not use '%s'; run this command with the same "
	                 "environment",
	                 pid, *value ? "XDG_RUNTIME_DIR=" : "no XDG_RUNTIME_DIR", value, dir->path);
}
