/* SPDX-License-Identifier: MIT */
/*
 * A slow reader, to be preloaded into probe-trace: after it has received the region of a process that is not its own
 * child, it continues only when that process has ended and its parent has waited for it. With LATE_NEVER=1 it does not
 * get these regions at all.
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static pid_t parent_of(pid_t pid)
{
	char path[32];
	pid_t parent = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%*d (%*[^)]) %*c %d", &parent) != 1)
		parent = 0;
	if (f)
		fclose(f);
	return parent;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t (*next)(int, struct msghdr *, int) = (ssize_t(*)(int, struct msghdr *, int))dlsym(RTLD_NEXT, "recvmsg");
	ssize_t n = next(fd, message, flags);
	int before = errno;
	const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(message) : NULL;
	struct ucred who = { 0 };
	socklen_t size = sizeof(who);

	if (!c || c->cmsg_type != SCM_RIGHTS || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) ||
	    parent_of(who.pid) == getpid()) {
		errno = before;
		return n;
	}
	if (getenv("LATE_NEVER")) {
		close(*(const int *)CMSG_DATA(c));
		errno = ECONNRESET;
		return -1;
	}
	for (int i = 0; i < 10000 && (!kill(who.pid, 0) || errno != ESRCH); i++)
		usleep(1000);
	errno = before;
	return n;
}
