/* SPDX-License-Identifier: MIT */
/*
 * Hits moves:hit(WHO), and makes the agent's thread end and start again, which moves the regions.
 *
 *     moves MAPPINGS   reads lines "MOVES", and replies "ok" when it has moved so often, with a hit of each WHO from 0 to
 *                      9 before each move. It has so many mappings below the regions, so that to find a region among
 *                      the mappings of the process takes long.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/probe.h>
#include <unistd.h>

PROBE_DECLARE(moves, hit, (long who), (who));

/* Two neighbours with the same protection would be one mapping. */
static void mappings_make(long n)
{
	char *at = (char *)0x200000000;

	for (long i = 0; i < n; i++)
		if (mmap(at + i * 65536, 65536, i % 2 ? PROT_READ : PROT_NONE,
		         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
			abort();
}

/* Enters its own UTS namespace, for which the agent's thread ends for a moment. */
static void move(void)
{
	int fd = open("/proc/self/ns/uts", O_RDONLY);

	if (fd < 0 || setns(fd, CLONE_NEWUTS))
		abort();
	close(fd);
}

int main(int argc, char **argv)
{
	char line[32];

	mappings_make(argc > 1 ? atol(argv[1]) : 0);
	while (fgets(line, sizeof(line), stdin)) {
		for (long i = atol(line); i > 0; i--) {
			for (long who = 0; who < 10; who++)
				hit(who);
			move();
		}
		printf("ok\n");
		fflush(stdout);
	}
	return 0;
}
