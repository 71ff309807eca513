/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/process.h"

#define EMPTY_MS 1000

static void process_clear_maps(struct process *process)
{
	for (size_t i = 0; i < process->nmaps; i++)
		free(process->maps[i].path);
	free(process->maps);
	process->maps = NULL;
	process->nmaps = 0;
}

/* Parses a line of /proc/PID/maps. The mapping's path is a part of the line. Returns false if the line is malformed. */
static bool mapping_parse(char *line, struct mapping *m)
{
	unsigned major, minor;
	unsigned long inode;
	char prot[5];
	int path = 0;

	if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %n", &m->start, &m->end, prot, &m->offset, &major, &minor, &inode,
	           &path) < 7 ||
	    !path)
		return false;
	line[strcspn(line, "\n")] = 0;
	m->write = prot[1] == 'w';
	m->exec = prot[2] == 'x';
	m->shared = prot[3] == 's';
	m->device = makedev(major, minor);
	m->inode = inode;
	m->path = line + path;
	return true;
}

static int process_parse_maps(struct process *process, FILE *f)
{
	size_t line_size = 0, room = 0;
	char *line = NULL;
	int err = 0;

	while (!err && getline(&line, &line_size, f) > 0) {
		struct mapping m = { 0 };

		if (!mapping_parse(line, &m))
			continue;
		err = ALLOC_GROW(process->maps, process->nmaps + 1, room);
		if (err)
			break;
		m.path = strdup(m.path);
		if (m.path)
			process->maps[process->nmaps++] = m;
		else
			err = error_nomem();
	}
	free(line);
	/* getline(3) without memory must not look like the end of the file, after which the process seems to map nothing. */
	return err || feof(f) || ferror(f) ? err : error_nomem();
}

static bool process_maps_files(const struct process *process)
{
	for (size_t i = 0; i < process->nmaps; i++)
		if (process->maps[i].inode)
			return true;
	return false;
}

static int process_read_maps_once(struct process *process)
{
	bool failed;
	char name[64];
	int err;
	FILE *f;

	process_clear_maps(process);
	snprintf(name, sizeof(name), "/proc/%d/task/%d/maps", process->pid, process->tid);
	f = fopen(name, "re");
	if (!f) {
		err = errno == ENOENT ? ESRCH : errno;
		return error_set(err, "pid %d: cannot read the process: %s%s", process->pid, strerror(err),
		                 err == EACCES ? ": it belongs to another user; run as root or with CAP_SYS_PTRACE"
		                               : "");
	}
	err = process_parse_maps(process, f);
	failed = ferror(f);
	fclose(f);
	if (err)
		return err;
	if (failed || !process_alive(process))
		return error_set(ESRCH, "pid %d: the process has ended", process->pid);
	return 0;
}

/* A process maps no file while it executes exec(2) and while it exits. Waits for the end of either, EMPTY_MS at most. */
int process_read_maps(struct process *process)
{
	int err = process_read_maps_once(process);

	for (int ms = 0; ms < EMPTY_MS; ms++) {
		if (err || process_maps_files(process) || process_is_kernel_thread(process->pid))
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		err = process_read_maps_once(process);
	}
	return err;
}

/*
 * On some file systems (overlay, btrfs) the device in maps differs from the one of stat(2). Then stat(2) of the mapping
 * decides.
 */
bool mapping_is_of(const struct process *process, const struct mapping *m, dev_t device, ino_t inode)
{
	char path[96];
	struct stat st;

	if (m->inode != inode)
		return false;
	if (m->device == device)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", process->tid, m->start, m->end);
	if (stat(path, &st) && stat(m->path, &st))
		return false;
	return st.st_dev == device && st.st_ino == inode;
}

const struct mapping *process_mapping(const struct process *process, dev_t device, ino_t inode, uint64_t offset,
                                      const struct mapping *after)
{
	for (size_t i = after ? (size_t)(after - process->maps) + 1 : 0; i < process->nmaps; i++) {
		const struct mapping *m = &process->maps[i];

		if (offset >= m->offset && offset - m->offset < m->end - m->start &&
		    mapping_is_of(process, m, device, inode))
			return m;
	}
	return NULL;
}

static bool has_ptrace_capability(void)
{
	unsigned long long effective = 0;
	char line[128];
	FILE *f = fopen("/proc/self/status", "re");

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &effective) == 1)
			break;
	fclose(f);
	return effective >> CAP_SYS_PTRACE & 1;
}

/*
 * Counts a process that cannot be read. Some are closed even to CAP_SYS_PTRACE: an init outside of the container, a
 * process under a security module. Those are not counted, because they would be on every run. The kernel's registration
 * covers them.
 */
static void unread_add(struct unread *unread, pid_t pid, int err)
{
	if (err == -ESRCH || err == -ENOENT || (err == -EACCES && has_ptrace_capability()))
		return;
	unread->n++;
	unread->pid = pid;
	unread->error = err;
}

/* Opens a process and reads its mappings, without keeping the pidfd. */
static int process_open_mapped(pid_t pid, struct process **process)
{
	int err = process_open(pid, process);

	if (err)
		return err;
	(*process)->start_time = process_start_time(pid);
	err = process_read_maps(*process);
	if (err) {
		process_free(*process);
		return err;
	}
	close((*process)->pidfd);
	(*process)->pidfd = -1;
	return 0;
}

static bool process_maps_code_of(const struct process *process, dev_t device, ino_t inode)
{
	for (size_t i = 0; i < process->nmaps; i++)
		if (process->maps[i].exec && mapping_is_of(process, &process->maps[i], device, inode))
			return true;
	return false;
}

struct process_list {
	struct process **processes;
	size_t n, room;
};

/* Adds the process to the list if it maps the file. Returns 0 or -ENOMEM. */
static int process_list_consider(struct process_list *list, pid_t pid, dev_t device, ino_t inode, struct unread *unread)
{
	struct process *process;
	int err = process_open_mapped(pid, &process);

	if (err == -ENOMEM)
		return err;
	if (err) {
		unread_add(unread, pid, err);
		return 0;
	}
	if (!process_maps_code_of(process, device, inode)) {
		process_free(process);
		return 0;
	}
	err = ALLOC_GROW(list->processes, list->n + 1, list->room);
	if (err)
		process_free(process);
	else
		list->processes[list->n++] = process;
	return err;
}

int processes_mapping_all(dev_t device, ino_t inode, struct process ***processes, size_t *n, struct unread *unread)
{
	DIR *proc = opendir("/proc");
	struct process_list list = { 0 };
	int err = 0;

	*processes = NULL;
	*n = 0;
	if (!proc)
		return error_set(errno, "cannot read '/proc': %s", strerror(errno));
	for (struct dirent *entry; !err && (entry = readdir(proc));)
		if (isdigit((unsigned char)entry->d_name[0]))
			err = process_list_consider(&list, atoi(entry->d_name), device, inode, unread);
	closedir(proc);
	if (err) {
		while (list.n)
			process_free(list.processes[--list.n]);
		free(list.processes);
		return err;
	}
	*processes = list.processes;
	*n = list.n;
	return 0;
}

int processes_mapping(dev_t device, ino_t inode, struct process ***processes, size_t *n)
{
	return processes_mapping_all(device, inode, processes, n, &(struct unread){ 0 });
}
