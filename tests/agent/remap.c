/* SPDX-License-Identifier: MIT */
/*
 * remap LIBRARY HOW WHAT: a program with its own loader. Until its standard input ends, it maps the whole LIBRARY as
 * code and removes it again. HOW: "libc" or "syscall". WHAT replaces it:
 *     gap       nothing
 *     none      a mapping without access, which must still be full of zeroes when it is opened
 *     data      a mapping full of data, which must not change
 *     file      another private mapping, of a file of zeroes, without permission to write; it must not change either
 *     noaccess  the same mapping, without access
 * Prints "ready", then "rounds N wrong N".
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DATA 0x8484848484848484ul

static int raw;

static char *map(void *at, size_t size, int protection, int flags, int fd)
{
	if (raw)
		return (char *)syscall(SYS_mmap, at, size, protection, flags, fd, 0);
	return mmap(at, size, protection, flags, fd, 0);
}

static void spend(int rounds)
{
	for (volatile int i = 0; i < rounds; i++)
		;
}

static long count_others(const char *at, size_t size, unsigned long wanted)
{
	long n = 0;

	for (size_t i = 0; i < size; i += 8)
		n += *(const unsigned long *)(at + i) != wanted;
	return n;
}

int main(int argc, char **argv)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };
	long rounds = 0, wrong = 0;
	struct stat st;
	size_t size;
	int fd, zeroes;
	char *at;

	if (argc != 4 || (fd = open(argv[1], O_RDONLY)) < 0 || fstat(fd, &st))
		return 2;
	raw = !strcmp(argv[2], "syscall");
	size = (st.st_size + 4095) & -4096ul;
	zeroes = memfd_create("zeroes", 0);
	if (zeroes < 0 || ftruncate(zeroes, size))
		return 2;
	at = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	puts("ready");
	fflush(stdout);
	for (; rounds % 16 || poll(&in, 1, 0) <= 0; rounds++) {
		if (map(at, size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd) != at)
			return 3;
		spend(60000);
		if (!strcmp(argv[3], "gap")) {
			if (raw ? (int)syscall(SYS_munmap, at, size) : munmap(at, size))
				return 3;
			spend(3000);
		} else if (!strcmp(argv[3], "none")) {
			if (map(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1) != at)
				return 3;
			spend(60000);
			mprotect(at, size, PROT_READ);
			wrong += count_others(at, size, 0);
		} else if (!strcmp(argv[3], "data")) {
			if (map(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1) != at)
				return 3;
			for (size_t i = 0; i < size; i += 8)
				*(unsigned long *)(at + i) = DATA;
			spend(60000);
			wrong += count_others(at, size, DATA);
		} else if (!strcmp(argv[3], "file")) {
			if (map(at, size, PROT_READ, MAP_PRIVATE | MAP_FIXED, zeroes) != at)
				return 3;
			spend(60000);
			wrong += count_others(at, size, 0);
		} else {
			mprotect(at, size, PROT_NONE);
			spend(60000);
		}
	}
	printf("rounds %ld wrong %ld\n", rounds, wrong);
	return wrong != 0;
}
