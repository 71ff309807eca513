// SPDX-License-Identifier: MIT
// Functions that are left in every possible way. Reads lines with a word and a number of times. Answers with "ok" and how
// often f was entered and left by a return so far.
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static jmp_buf back;
static long entered, returned;
static pthread_barrier_t barrier;

#define PROBED extern "C" __attribute__((noinline, noclone, noipa))

enum { RETURN, LONGJMP, THROW, EXIT_THREAD, EXEC, WAIT, WORK };

// Lasts a millisecond: longer than what is subtracted from a duration for the traps of a call.
static void work(void)
{
	timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - start.tv_sec) * 1000000000 + now.tv_nsec - start.tv_nsec < 1000000);
}

PROBED long f(long what, long depth, const char *text)
{
	__atomic_add_fetch(&entered, 1, __ATOMIC_RELAXED);
	switch (what) {
	case RETURN: break;
	case WORK: work(); break;
	case LONGJMP: if (!depth) longjmp(back, 1); break;
	case THROW: if (!depth) throw std::runtime_error(text); break;
	case EXIT_THREAD: if (!depth) pthread_exit(NULL); break;
	case EXEC: if (!depth) execl("/proc/self/exe", "returns", "again", (char *)NULL); break;
	case WAIT:
		if (!depth) {
			pthread_barrier_wait(&barrier);
			pthread_barrier_wait(&barrier);
		}
		break;
	}
	long r = depth ? f(what, depth - 1, text) : 1;
	__atomic_add_fetch(&returned, 1, __ATOMIC_RELAXED);
	return r + 1;
}

PROBED int negative(int i) { return -i; }
PROBED long other(long i) { return i * 3 + 1; }
PROBED long tail(long i) { return other(i + 1); }
PROBED long two_ways(long i) { if (i & 1) { negative(i); return 7; } return other(i) + 2; }
PROBED long many_ways(long i)
{
	switch (i) {
	case 0: return other(10);
	case 1: return negative(3);
	case 2: return 99 + other(1);
	case 3: return other(2) + other(3);
	case 4: return 12;
	case 5: return other(5) * 2;
	case 6: return negative(1) + other(4);
	default: return 0;
	}
}
long (*pointer)(long) = other;
PROBED long by_pointer(long i) { return pointer(i); }
PROBED void nothing(void) { __asm__ volatile(""); }
__asm__(".text\n.type runs_on,@function\nruns_on: nop\n.size runs_on,.-runs_on\nret\n"
        ".type unsized,@function\nunsized: nop\nret\n"
#ifdef __aarch64__
        ".type table_of_addresses,@function\ntable_of_addresses: ldr x1,[x1,x0,lsl 3]\nbr x1\n"
        ".size table_of_addresses,.-table_of_addresses\n"
        ".type authenticates,@function\nauthenticates: .inst 0xd65f0bff\n.size authenticates,.-authenticates\n"
        ".type has_data,@function\nhas_data: ldr x0,1f\nret\n1: .8byte 5\n.size has_data,.-has_data\n");
#else
        ".type jumps_inside,@function\njumps_inside: jmp 1f+1\n1: mov $1,%eax\nret\n.size jumps_inside,.-jumps_inside\n");
#endif

static void *thread(void *arg) { f((long)arg, 3, "thread"); return NULL; }

static void once(const char *word)
{
	if (!strcmp(word, "return")) f(RETURN, 0, "text");
	else if (!strcmp(word, "deep")) f(RETURN, 199, "deep");
	else if (!strcmp(word, "work")) f(WORK, 199, "deep");
	else if (!strcmp(word, "longjmp")) { if (!setjmp(back)) f(LONGJMP, 4, ""); }
	else if (!strcmp(word, "throw")) { try { f(THROW, 2, "thrown"); } catch (const std::exception &) { } }
	else if (!strcmp(word, "thread-exit")) { pthread_t t; pthread_create(&t, NULL, thread, (void *)EXIT_THREAD); pthread_join(t, NULL); }
	else if (!strcmp(word, "thread")) { pthread_t t; pthread_create(&t, NULL, thread, (void *)RETURN); pthread_join(t, NULL); }
	else if (!strcmp(word, "exec")) f(EXEC, 5, "");
	else if (!strcmp(word, "fork")) { if (!fork()) { f(RETURN, 1, ""); _exit(0); } wait(NULL); }
	else if (!strcmp(word, "others")) {
		for (long i = 0; i < 8; i++) { negative(i); tail(i); two_ways(i); many_ways(i); by_pointer(i); nothing(); other(i); }
	}
}

int main(int argc, char **argv)
{
	char word[64];
	int n;
	pthread_t waiting[64];
	long nwaiting = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	(void)argv;
	if (argc > 1)
		puts("ok again");
	while (scanf("%63s", word) == 1) {
		if (!strcmp(word, "pid")) {
			puts("ok");
			continue;
		}
		if (!strcmp(word, "end"))
			return 0;
		if (scanf("%d", &n) != 1)
			return 2;
		if (!strcmp(word, "wait")) { /* n threads in f that do not return yet */
			nwaiting = n;
			pthread_barrier_init(&barrier, NULL, n + 1);
			for (int i = 0; i < n; i++)
				pthread_create(&waiting[i], NULL, [](void *) -> void * { f(WAIT, 0, "waiting"); return NULL; }, NULL);
			pthread_barrier_wait(&barrier);
		} else if (!strcmp(word, "go")) {
			pthread_barrier_wait(&barrier);
			for (int i = 0; i < nwaiting; i++)
				pthread_join(waiting[i], NULL);
		} else {
			for (int i = 0; i < n; i++)
				once(word);
		}
		printf("ok %ld %ld\n", entered, returned);
	}
	return 0;
}
