/* SPDX-License-Identifier: MIT */
/*
 * in-vfork FIFO: prints "child PID" for a child of vfork(2), which hits deep:beat(n) until FIFO can be read, and then
 * executes true(1). The program then reads a byte and prints "ended", hits until FIFO can be read again, and prints
 * "right".
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/sdt.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) static void beat(long n)
{
	STAP_PROBE1(deep, beat, n);
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR) : -1, status = -1;
	struct pollfd in = { fd, POLLIN, 0 };
	pid_t child = vfork();
	char byte;

	if (!child) {
		dprintf(1, "child %d\n", getpid());
		while (poll(&in, 1, 2) == 0)
			beat(1);
		execlp("true", "true", NULL);
		_exit(127);
	}
	waitpid(child, &status, 0);
	if (status || read(fd, &byte, 1) != 1)
		return 1;
	dprintf(1, "ended\n");
	while (poll(&in, 1, 2) == 0)
		beat(2);
	dprintf(1, "right\n");
	return 0;
}
