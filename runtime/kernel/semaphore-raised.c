/* SPDX-License-Identifier: MIT */
/*
 * Records of semaphores that were raised by hand (semaphore.h), which the kernel does not lower.
 *
 * 1. Each semaphore is recorded in a map before it is raised.
 * 2. The map is pinned as raised-S. So the command that disarms the points lowers the semaphores, or the next command
 *    that finds what a killed command or owner left.
 * 3. A private session has no pins. There a guard process waits for the end of the session's process, and lowers what
 *    that process has not lowered.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/semaphore.h"
#include "runtime/process.h"

#define RAISED_MAX 65536

/* ---- lowering ---- */

/* Deletes the record. Returns false if another process has deleted it and lowers the semaphore. */
static bool raised_take(const struct semaphore_raised *raised, void *map)
{
	return !bpf_map_delete_elem(*(const int *)map, raised);
}

static bool raised_is_used(const struct semaphore_raised *raised, const struct attachment *attachment)
{
	for (uint32_t p = 0; attachment && p < attachment->manifest->npoints; p++)
		if (manifest_points(attachment->manifest)[p].semaphore_offset == raised->offset &&
		    kernel_armed(attachment, p))
			return true;
	return false;
}

/* Lowers the semaphores that no armed point of the attachment uses; all of them if attachment is NULL. */
static void raised_lower(int map, const struct attachment *attachment)
{
	struct semaphore_raised raised, *from = NULL;
	struct semaphore_lowering *list = NULL;
	size_t n = 0, room = 0;

	/* Reads all keys before it deletes any: the successor of a deleted key would be the first key. */
	for (; !bpf_map_get_next_key(map, from, &raised) && n < RAISED_MAX; from = &raised) {
		if (raised_is_used(&raised, attachment))
			continue;
		if (ALLOC_GROW(list, n + 1, room))
			break;
		list[n] = (struct semaphore_lowering){ .raised = raised };
		if (!bpf_map_lookup_elem(map, &raised, &list[n].tick))
			n++;
	}
	semaphores_lower(list, n, raised_take, &map);
	free(list);
}

void semaphore_raised_lower(struct kernel_attachment *s, const struct attachment *attachment)
{
	const struct session_pins *pins = &s->session->pins;
	int fd = s->raised_fd;

	if (fd < 0 && attachment && pins->dir >= 0)
		fd = pin_get(pins, "raised", (int)attachment->number, -1);
	if (fd < 0)
		return;
	raised_lower(fd, attachment);
	if (fd != s->raised_fd)
		close(fd);
}

void semaphore_raised_lower_left(const struct session_pins *pins, int attachment)
{
	int fd = pin_get(pins, "raised", attachment, -1);

	if (fd < 0)
		return;
	raised_lower(fd, NULL);
	close(fd);
}

/* ---- the guard of a private session ---- */

__attribute__((noreturn)) static void guard_main(int map, int process)
{
	struct pollfd end = { .fd = 1, .events = POLLIN };
	int null;

	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	map = fcntl(map, F_DUPFD, 3);
	process = fcntl(process, F_DUPFD, 3);
	null = open("/dev/null", O_RDWR);
	if (map < 0 || process < 0 || null < 0 || chdir("/") || dup2(map, 0) < 0 || dup2(process, 1) < 0 ||
	    dup2(null, 2) < 0)
		_exit(1);
	close_range(3, ~0u, 0);
	while (poll(&end, 1, -1) < 0)
		;
	raised_lower(0, NULL);
	_exit(0);
}

static void guard_start(int map)
{
	int process = pidfd_open(getpid(), 0);
	pid_t pid = process < 0 ? -1 : fork();

	if (!pid) {
		pid = process_fork_untraced(); /* not a child, so that this process need not wait for it */
		if (!pid)
			guard_main(map, process);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (process >= 0)
		close(process);
}

/* ---- recording ---- */

/* Opens the map of records, or creates it. */
static int record_map_open(struct kernel_attachment *s, uint32_t number)
{
	const struct session_pins *pins = &s->session->pins;

	if (s->raised_fd < 0 && pins->dir >= 0)
		s->raised_fd = pin_get(pins, "raised", (int)number, -1);
	if (s->raised_fd >= 0)
		return 0;
	s->raised_fd = kernel_map_create(BPF_MAP_TYPE_HASH, "pp_raised", sizeof(struct semaphore_raised), 4, RAISED_MAX,
	                                 BPF_F_NO_PREALLOC);
	if (s->raised_fd < 0)
		return s->raised_fd;
	if (pins->dir >= 0)
		return pin_add(pins, s->raised_fd, "raised", (int)number, -1);
	guard_start(s->raised_fd);
	return 0;
}

int semaphore_raised_record(const struct semaphore_raised *raised, void *arg)
{
	struct attachment *attachment = arg;
	struct kernel_attachment *s = attachment->state;
	uint32_t value = semaphore_tick();
	int err = record_map_open(s, attachment->number);

	if (err)
		return err;
	if (!bpf_map_update_elem(s->raised_fd, raised, &value, BPF_NOEXIST))
		return 0;
	return errno == EEXIST ? -EEXIST : error_set(errno, "cannot record a semaphore: %s", strerror(errno));
}
