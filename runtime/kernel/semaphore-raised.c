/* SPDX-License-Identifier: MIT */
/*
 * Semaphores that were raised by hand (runtime/kernel/semaphore.h), and that the kernel does not lower.
 *
 * Each is recorded in a map before it is raised. The map is pinned as raised-S, so the command that disarms the points
 * lowers them, or the next one that finds what a killed command or holder left. A private session has no pins. There a
 * process is left behind that waits for the end of the session's process and lowers what that has not lowered.
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

#include "runtime/kernel/kernel.h"
#include "runtime/process.h"
#include "runtime/kernel/semaphore.h"
#include "base/error.h"

#define RAISED_MAX 65536

/* Only one of two that lower at a time deletes it. */
static bool take(const struct semaphore_raised *raised, void *map)
{
	return !bpf_map_delete_elem(*(const int *)map, raised);
}

/* attachment NULL: all. */
static void lower(int map, const struct attachment *attachment)
{
	struct semaphore_raised raised, *from = NULL;
	struct semaphore_lowering *list = NULL;
	size_t n = 0, room = 0;

	/* The keys are read first: the next of one that is deleted would be the first. */
	for (; !bpf_map_get_next_key(map, from, &raised) && n < RAISED_MAX; from = &raised) {
		bool armed = false;

		for (uint32_t p = 0; attachment && p < attachment->manifest->npoints && !armed; p++)
			armed = manifest_points(attachment->manifest)[p].semaphore_offset == raised.offset &&
			        kernel_armed(attachment, p);
		if (armed)
			continue;
		if (n == room) {
			void *more = realloc(list, (2 * room + 64) * sizeof(*list));

			if (!more)
				break;
			list = more;
			room = 2 * room + 64;
		}
		list[n] = (struct semaphore_lowering){ .raised = raised };
		if (!bpf_map_lookup_elem(map, &raised, &list[n].tick))
			n++;
	}
	semaphores_lower(list, n, take, &map);
	free(list);
}

/* Lowers what is left in the map when the process ends. */
__attribute__((noreturn)) static void guard(int map, int process)
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
	lower(0, NULL);
	_exit(0);
}

static void guard_start(int map)
{
	int process = pidfd_open(getpid(), 0);
	pid_t pid = process < 0 ? -1 : fork();

	if (!pid) {
		pid = process_fork_untraced(); /* nobody's child, so that no one needs to wait for it */
		if (!pid)
			guard(map, process);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (process >= 0)
		close(process);
}

static int raised_open(struct kernel_attachment *s, uint32_t number)
{
	const struct store *store = &s->session->store;
	int err = 0;

	if (s->raised_fd < 0 && store->dir >= 0)
		s->raised_fd = store_get(store, "raised", (int)number, -1);
	if (s->raised_fd >= 0)
		return 0;
	s->raised_fd = kernel_map_create(BPF_MAP_TYPE_HASH, "pp_raised", sizeof(struct semaphore_raised), 4, RAISED_MAX,
	                                 BPF_F_NO_PREALLOC);
	if (s->raised_fd < 0)
		return s->raised_fd;
	if (store->dir >= 0)
		err = store_pin(store, s->raised_fd, "raised", (int)number, -1);
	else
		guard_start(s->raised_fd);
	return err;
}

int kernel_raised_record(const struct semaphore_raised *raised, void *arg)
{
	struct attachment *attachment = arg;
	struct kernel_attachment *s = attachment->state;
	uint32_t value = semaphore_tick();
	int err = raised_open(s, attachment->number);

	if (!err && bpf_map_update_elem(s->raised_fd, raised, &value, BPF_NOEXIST))
		err = errno == EEXIST ? -EEXIST : error_set(errno, "cannot record a semaphore: %s", strerror(errno));
	return err;
}

void kernel_raised_lower(struct kernel_attachment *s, const struct attachment *attachment)
{
	const struct store *store = &s->session->store;
	int fd = s->raised_fd;

	if (fd < 0 && attachment && store->dir >= 0)
		fd = store_get(store, "raised", (int)attachment->number, -1);
	if (fd < 0)
		return;
	lower(fd, attachment);
	if (fd != s->raised_fd)
		close(fd);
}

void kernel_raised_lower_left(const struct store *store, int attachment)
{
	int fd = store_get(store, "raised", attachment, -1);

	if (fd < 0)
		return;
	lower(fd, NULL);
	close(fd);
}
