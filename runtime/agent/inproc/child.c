/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/child.h"
#include "runtime/agent/inproc/files.h"
#include "runtime/agent/inproc/proc.h"

static void child_name(char name[64], uint32_t number, uint32_t pid)
{
	strcpy(name, "child-");
	format_number(name + strlen(name), number);
	strcat(name, "-");
	format_number(name + strlen(name), pid);
}

/* Returns the ancestor that the process is armed for, or 0. */
static uint32_t child_read(int dir, uint32_t number, uint32_t pid, uint64_t start_time)
{
	struct agent_child child;
	char name[64];
	ssize_t n;
	int fd;

	child_name(name, number, pid);
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, &child, sizeof(child));
	close(fd);
	return n == sizeof(child) && child.magic == AGENT_CHILD_MAGIC && child.version == AGENT_VERSION &&
	                       child.pid == pid && child.start_time == start_time
	               ? child.ancestor
	               : 0;
}

void child_write(int dir, const struct loaded_attachment *attachment)
{
	struct agent_child child = {
		.magic = AGENT_CHILD_MAGIC,
		.version = AGENT_VERSION,
		.pid = agent.pid,
		.ancestor = attachment->inherited,
		.start_time = agent.start_time,
	};
	char name[64];

	child_name(name, attachment->number, agent.pid);
	file_write(dir, name, &child, sizeof(child));
}

void child_remove(int dir, const struct loaded_attachment *attachment)
{
	char name[64];

	child_name(name, attachment->number, agent.pid);
	unlinkat(dir, name, 0);
}

/* Returns whether this process began after a file was written. The clock of start times has steps of 10 ms. */
static bool process_began_after(const struct stat *st)
{
	struct timespec real, boot;
	int64_t written, began;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	written = (st->st_ctim.tv_sec - real.tv_sec + boot.tv_sec) * 100 +
	          (st->st_ctim.tv_nsec - real.tv_nsec + boot.tv_nsec) / 10000000;
	began = agent.start_time * 100 / (getauxval(AT_CLKTCK) ? getauxval(AT_CLKTCK) : 100);
	return began + 1 >= written;
}

/*
 * The process was either armed before it executed its program, or is the child of a
 * process in scope. (vfork() and posix_spawn() run no code of the agent in the child
 * before exec.)
 */
void child_find_ancestor(int dir, struct loaded_attachment *attachment, const struct stat *st)
{
	uint32_t parent = getppid();
	uint64_t start_time;

	attachment->inherited = child_read(dir, attachment->number, agent.pid, agent.start_time);
	if (attachment->inherited || !process_began_after(st))
		return;
	start_time = process_start_time(parent);
	attachment->inherited = attachment_names(attachment, parent, start_time)
	                                ? parent
	                                : child_read(dir, attachment->number, parent, start_time);
	if (attachment->inherited)
		child_write(dir, attachment);
}
