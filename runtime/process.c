/* SPDX-License-Identifier: MIT */
#include "runtime/process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

void process_free(struct process *process)
{
	if (!process)
		return;
	for (size_t i = 0; i < process->nmaps; i++)
		free(process->maps[i].path);
	free(process->maps);
	if (process->pidfd >= 0)
		close(process->pidfd);
	free(process);
}

#define PF_KTHREAD 0x00200000 /* linux/sched.h */

/* The state, flags and start time of a process's first thread. */
struct proc_stat {
	char state;
	unsigned flags;
	unsigned long long start_time;
};

static bool proc_stat_read(pid_t pid, struct proc_stat *stat)
{
	char path[32], line[1024], *name_end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	line[fread(line, 1, sizeof(line) - 1, f)] = 0;
	fclose(f);
	name_end = strrchr(line, ')'); /* the name in field 2 may contain any character */
	return name_end &&
	       sscanf(name_end + 1, " %c %*d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
	              &stat->state, &stat->flags, &stat->start_time) == 3;
}

static bool proc_stat_is_dead(const struct proc_stat *stat)
{
	return stat->state == 'Z' || stat->state == 'X';
}

bool process_is_kernel_thread(pid_t pid)
{
	struct proc_stat stat;

	return proc_stat_read(pid, &stat) && stat.flags & PF_KTHREAD;
}

uint64_t process_start_time(pid_t pid)
{
	struct proc_stat stat;

	return proc_stat_read(pid, &stat) ? stat.start_time : 0;
}

bool pidfd_has_ended(int pidfd)
{
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };

	return poll(&ended, 1, 0) > 0;
}

static bool proc_stat_is_stopped(const struct proc_stat *stat)
{
	return stat->state == 'T' || stat->state == 't';
}

bool process_is_stopped(pid_t pid)
{
	struct proc_stat stat;
	bool stopped = proc_stat_read(pid, &stat) && proc_stat_is_stopped(&stat);
	char path[64];
	DIR *tasks;

	if (!stopped)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	for (struct dirent *entry; tasks && stopped && (entry = readdir(tasks));)
		if (isdigit((unsigned char)entry->d_name[0]) && proc_stat_read(atoi(entry->d_name), &stat))
			stopped = proc_stat_is_stopped(&stat) || proc_stat_is_dead(&stat);
	if (tasks)
		closedir(tasks);
	return stopped;
}

bool process_has_userfaultfd(pid_t pid)
{
	static const char wanted[] = "anon_inode:[userfaultfd]";
	char path[64], link[sizeof(wanted)];
	bool found = false;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	fds = opendir(path);
	for (struct dirent *entry; fds && !found && (entry = readdir(fds));)
		found = readlinkat(dirfd(fds), entry->d_name, link, sizeof(link)) == sizeof(wanted) - 1 &&
		        !memcmp(link, wanted, sizeof(wanted) - 1);
	if (fds)
		closedir(fds);
	return found;
}

static bool leader_is_gone(pid_t pid)
{
	struct proc_stat stat;

	return proc_stat_read(pid, &stat) && proc_stat_is_dead(&stat);
}

/* Returns a thread other than the first one, or 0. */
static pid_t other_thread(pid_t pid)
{
	char path[64];
	pid_t tid = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	if (!tasks)
		return 0;
	for (struct dirent *entry; !tid && (entry = readdir(tasks));)
		if (isdigit((unsigned char)entry->d_name[0]) && atoi(entry->d_name) != pid)
			tid = atoi(entry->d_name);
	closedir(tasks);
	return tid;
}

pid_t process_thread(pid_t pid)
{
	pid_t tid = leader_is_gone(pid) ? other_thread(pid) : 0;

	return tid ? tid : pid;
}

enum process_life process_life(pid_t pid, uint64_t start_time)
{
	struct proc_stat stat;

	/* A live process may be unreadable: no descriptors, hidepid, no /proc. */
	if (!proc_stat_read(pid, &stat))
		return kill(pid, 0) && errno == ESRCH ? PROCESS_ENDED : PROCESS_LIVES;
	if (start_time && stat.start_time != start_time)
		return PROCESS_OTHER;
	return proc_stat_is_dead(&stat) && !other_thread(pid) ? PROCESS_ENDED : PROCESS_LIVES;
}

/* Opens a pidfd. Returns it, or a negative errno with an error message. */
static int pidfd_open_process(pid_t pid)
{
	char path[32];
	int fd, err;

	if (pid <= 0)
		return error_set(EINVAL, "invalid pid %d", pid);
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd >= 0)
		return fd;
	err = errno;
	snprintf(path, sizeof(path), "/proc/%d", pid);
	if ((err == EINVAL || err == ENOENT) && !access(path, F_OK))
		return error_set(EINVAL, "pid %d: this is a thread, not a process; name its process", pid);
	return error_set(err == EINVAL ? ESRCH : err, "pid %d: cannot open the process: %s", pid, strerror(err));
}

int process_open(pid_t pid, struct process **process)
{
	int fd = pidfd_open_process(pid);
	struct process *p;

	if (fd < 0)
		return fd;
	p = calloc(1, sizeof(*p));
	if (!p) {
		close(fd);
		return error_nomem();
	}
	p->pid = p->tid = pid;
	p->pidfd = fd;
	p->leader_gone = leader_is_gone(pid);
	if (p->leader_gone)
		p->tid = other_thread(pid);
	if (!p->tid) {
		process_free(p);
		return error_set(ESRCH, "pid %d: the process has ended: it is a zombie", pid);
	}
	*process = p;
	return 0;
}

bool process_alive(const struct process *process)
{
	struct pollfd ended = { .fd = process->pidfd, .events = POLLIN };
	struct proc_stat stat;

	if (process->pidfd >= 0)
		return poll(&ended, 1, 0) == 0;
	return proc_stat_read(process->pid, &stat) && stat.start_time == process->start_time &&
	       (!proc_stat_is_dead(&stat) || other_thread(process->pid));
}

pid_t process_tracer(const struct process *process)
{
	char path[64], line[256];
	pid_t tracer = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", process->pid, process->tid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	fclose(f);
	return tracer;
}

bool process_is_in_vfork(pid_t pid)
{
	char path[64], line[256];
	pid_t parent = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "PPid: %d", &parent) == 1)
			break;
	fclose(f);
	return parent > 0 && !syscall(SYS_kcmp, pid, parent, KCMP_VM, 0, 0);
}

pid_t process_fork_untraced(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
}
