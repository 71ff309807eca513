/* SPDX-License-Identifier: MIT */
/*
 * inside WAY: a process whose only thread is where the agent must not be loaded, or only seems to be. Prints "ready",
 * stays there until a line comes on its standard input, then hits host:beat and allocates until the input ends. Prints
 * "right" at the end.
 *
 *     altstack   in a signal handler that interrupted malloc(), on a stack of its own
 *     samestack  the same, on the same stack, with 200 kB of the handler's own in between
 *     nested     in a handler that interrupted a handler that interrupted malloc()
 *     own        in the program's own malloc() (compiled with -DOWN), with its lock held
 *     stale      in a loop; but above main() is a return address into the loader
 */
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sdt.h>
#include <ucontext.h>
#include <unistd.h>

static const char *way;
static volatile int steps, stayed;

__attribute__((noipa)) static void beat(long n)
{
	STAP_PROBE1(host, beat, n);
}

static void say(const char *text)
{
	if (write(1, text, strlen(text)) < 0)
		_exit(3);
}

/* Waits without a system call, in which it would count as asleep. */
static void stay(void)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };
	char c;

	stayed = 1;
	say("ready\n");
	do
		for (volatile int i = 0; i < 20000000; i++)
			;
	while (poll(&in, 1, 0) <= 0);
	if (read(0, &c, 1) < 0)
		_exit(3);
}

#ifdef OWN
static volatile int locked;
static char memory[64 << 20];
static size_t used;

__attribute__((noipa)) static void *own_alloc(size_t size)
{
	size_t *at;

	if (locked) {
		say("wrong: malloc inside malloc\n");
		_exit(1);
	}
	locked = 1;
	if (way && !strcmp(way, "own") && !stayed)
		stay();
	at = (size_t *)(memory + used);
	used += ((size + 15) & -16ul) + 16;
	if (used > sizeof(memory))
		_exit(4);
	*at = size;
	locked = 0;
	return at + 2;
}

void *malloc(size_t size)
{
	return own_alloc(size);
}
void free(void *at)
{
	(void)at;
}
void *calloc(size_t n, size_t size)
{
	return own_alloc(n * size);
}
void *realloc(void *at, size_t size)
{
	void *to = own_alloc(size);

	if (at)
		memcpy(to, at, ((size_t *)at)[-2] < size ? ((size_t *)at)[-2] : size);
	return to;
}
#endif

static void set_trap(uint64_t *flags, int on)
{
	*flags = on ? *flags | 0x100 : *flags & ~0x100ul;
}

__attribute__((noipa)) static void deep(void)
{
	char room[200000];

	memset(room, 0, sizeof(room));
	stay();
	__asm__ volatile("" : : "r"(room) : "memory");
}

static void on_usr1(int sig)
{
	(void)sig;
	stay();
}

/* Interrupts each instruction of malloc(); the one in its middle for long. */
static void on_step(int sig, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	uint64_t flags = regs[REG_EFL];

	(void)sig, (void)info;
	if (++steps != 60)
		return;
	if (!strcmp(way, "nested"))
		raise(SIGUSR1);
	else if (!strcmp(way, "samestack"))
		deep();
	else
		stay();
	set_trap(&flags, 0);
	regs[REG_EFL] = flags;
}

static void in_malloc(void)
{
	struct sigaction step = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct sigaction usr1 = { .sa_handler = on_usr1 };
	stack_t other = { .ss_sp = aligned_alloc(4096, 1 << 20), .ss_size = 1 << 20 };
	void *volatile at;

	if (strcmp(way, "samestack"))
		sigaltstack(&other, NULL);
	sigaction(SIGTRAP, &step, NULL);
	sigaction(SIGUSR1, &usr1, NULL);
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" : : : "memory", "cc");
	at = malloc(100000);
	__asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" : : : "memory", "cc");
	free(at);
	if (!stayed)
		say("wrong: malloc() is too short\n");
}

/* Returns a return address into the loader: the address after a call there. */
static uintptr_t loader_address(void)
{
	char line[512];
	FILE *f = fopen("/proc/self/maps", "r");
	uintptr_t found = 0;

	while (f && !found && fgets(line, sizeof(line), f)) {
		unsigned long start, end;
		char mode[8];

		if (sscanf(line, "%lx-%lx %7s", &start, &end, mode) != 3 || mode[2] != 'x' ||
		    !strstr(line, "/ld-linux"))
			continue;
		for (unsigned char *p = (unsigned char *)start + 64; p < (unsigned char *)end - 64 && !found; p++)
			if (p[0] == 0xe8 && (p[4] == 0 || p[4] == 0xff))
				found = (uintptr_t)p + 5;
	}
	if (f)
		fclose(f);
	return found;
}

__attribute__((noipa)) static void leave_stale(uintptr_t *frame)
{
	/* frame[1] is main()'s return address. Only a return from main() needs the values above it. */
	frame[4] = loader_address();
}

int main(int argc, char **argv)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };
	char c;

	way = argc > 1 ? argv[1] : "";
	if (!strcmp(way, "stale")) {
		leave_stale(__builtin_frame_address(0));
		stay();
	} else if (!strcmp(way, "own")) {
		free(malloc(10));
	} else {
		in_malloc();
	}
	for (long n = 0;; n++) {
		void *volatile at = malloc(100 + n % 1000);

		beat(n);
		free(at);
		if (poll(&in, 1, 10) > 0 && read(0, &c, 1) <= 0)
			break;
	}
	say("right\n");
	_exit(0);
}
