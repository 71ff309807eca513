/* SPDX-License-Identifier: MIT */
/*
 * whole HOW: until its input ends, makes system calls that take long and that return early with a part of what was
 * asked for if their thread is stopped. A hit of app:whole follows each. At the end prints how many were made and how
 * many were short.
 *
 *     write      write(2) of 128 KB to a pipe
 *     send       sendmsg(2) of 128 KB to a socket
 *     receive    recv(2) of 128 KB with MSG_WAITALL
 *
 * Between two of them it computes for some milliseconds, so that there are moments at which it may be stopped.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/probe.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SIZE 131072
#define PIECE 4096

static char bytes[SIZE];

static void peer(int fd, int writes)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while ((writes ? write(fd, bytes, PIECE) : read(fd, bytes, PIECE)) > 0)
		usleep(100);
	_exit(0);
}

static void compute(void)
{
	clock_t until = clock() + CLOCKS_PER_SEC / 200;

	while (clock() < until)
		;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "write";
	int receives = !strcmp(how, "receive"), fds[2];
	struct pollfd input = { .fd = 0, .events = POLLIN };
	long made = 0, cut = 0;

	if (!strcmp(how, "write") ? pipe(fds) : socketpair(AF_UNIX, SOCK_STREAM, 0, fds))
		return 1;
	if (!fork()) {
		close(fds[1]);
		peer(fds[0], receives);
	}
	close(fds[0]);
	while (!poll(&input, 1, 0)) {
		struct iovec all = { bytes, SIZE };
		struct msghdr message = { .msg_iov = &all, .msg_iovlen = 1 };
		ssize_t n;

		if (receives)
			n = recv(fds[1], bytes, SIZE, MSG_WAITALL);
		else if (!strcmp(how, "send"))
			n = sendmsg(fds[1], &message, 0);
		else
			n = write(fds[1], bytes, SIZE);
		made++;
		cut += n != SIZE;
		STAP_PROBE1(app, whole, made);
		compute();
	}
	printf("made %d short %ld\n", made > 0, cut);
	return 0;
}
