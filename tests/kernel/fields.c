/* SPDX-License-Identifier: MIT */
/*
 * A program that counts the hits that filters with fields should accept. Commands: "pid"; "run THREADS N": N calls of
 * take() in each of so many threads, and for each of the cases below how many it is true of; "end".
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum state { IDLE, RUNNING, LOST = -5 };
struct pair {
	int x;
	short y;
};
struct inner {
	int a;
};
struct request {
	uint16_t id;
	signed char level;
	const char *path;
	size_t len;
	char tag[8];
	struct inner in;
	struct {
		short row, column;
	};
	unsigned kind : 3;
	int more : 10;
	long far : 40;
	bool done;
	enum state state;
	struct request *next;
};

#define CASES(X)                                                     \
	X(r->len >= 100)                                             \
	X(is(r->path, "/api/x") || r->id == 7)                       \
	X(r->level < 0 && r->done)                                   \
	X(r->more == -3 || r->kind == 5)                             \
	X(r->far < -1000000000)                                      \
	X(is(r->tag, "abc") && r->column != r->row)                  \
	X(state == RUNNING || state == LOST)                         \
	X(r->len<~0ull && (size_t)r->next> 0 && r->state != RUNNING) \
	X(pair.x > pair.y)                                           \
	X(big.len % 3 == 0)
#define COUNT(expression) +1
enum { NCASES = 0 CASES(COUNT) };

static bool is(const char *a, const char *b)
{
	return !strcmp(a, b);
}

__attribute__((noinline)) int take(const struct request *r, enum state state, struct pair pair, struct request big)
{
	__asm__ volatile("" : : "r"(r), "r"(state), "r"(pair.x), "r"(pair.y), "m"(big) : "memory");
	return 0;
}

struct work {
	pthread_t thread;
	long n, counts[NCASES];
	uint64_t seed;
};

static unsigned below(uint64_t *seed, unsigned n)
{
	*seed = *seed * 6364136223846793005 + 1442695040888963407;
	return (*seed >> 33) % n;
}

/* It is at the end of a page, and the next page is not mapped. */
static struct request *at_end_of_page(void)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED || munmap(pages + page, page))
		exit(3);
	return (struct request *)(pages + page - sizeof(struct request));
}

static void *work(void *arg)
{
	static const char *const paths[] = { "/api/x", "/api/", "/api/xy", "", "x" };
	static const char tags[][8] = { "abc", "ab", "abcd", "", "abcdefg" };
	static const enum state states[] = { IDLE, RUNNING, LOST };
	struct work *w = arg;
	uint64_t *s = &w->seed;
	struct request *own = at_end_of_page();

	for (long i = 0; i < w->n; i++) {
		struct request *r = below(s, 16) ? own : NULL, big = { .len = below(s, 50) };
		struct pair pair = { (int)below(s, 9) - 4, (short)below(s, 9) - 4 };
		enum state state = states[below(s, 3)];

		own->id = below(s, 10);
		own->level = (int)below(s, 256) - 128;
		own->path = paths[below(s, 5)];
		own->len = below(s, 200);
		memcpy(own->tag, tags[below(s, 5)], 8);
		own->row = below(s, 3);
		own->column = below(s, 3);
		own->kind = below(s, 8);
		own->more = (int)below(s, 8) - 4;
		own->far = ((long)below(s, 1 << 30) - (1 << 29)) * 8;
		own->done = below(s, 2);
		own->state = states[below(s, 3)];
		own->next = below(s, 2) ? own : NULL;
		take(r, state, pair, big);
#define TEST(expression) w->counts[c++] += r_is_read(#expression) && !r ? 0 : !!(expression);
#define r_is_read(text) (strstr(text, "r->") != NULL)
		int c = 0;

		CASES(TEST)
	}
	return NULL;
}

int main(void)
{
	char line[100];
	int threads;
	long n;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "end\n")) {
		long counts[NCASES] = { 0 };
		struct work w[16];

		if (!strcmp(line, "pid\n")) {
			printf("ok %d\n", getpid());
			continue;
		}
		if (sscanf(line, "run %d %ld", &threads, &n) != 2 || threads > 16)
			return 1;
		for (int i = 0; i < threads; i++) {
			w[i] = (struct work){ .n = n, .seed = i * 77 + n };
			if (pthread_create(&w[i].thread, NULL, work, &w[i]))
				return 2;
		}
		for (int i = 0; i < threads; i++) {
			pthread_join(w[i].thread, NULL);
			for (int c = 0; c < NCASES; c++)
				counts[c] += w[i].counts[c];
		}
		printf("ok");
		for (int c = 0; c < NCASES; c++)
			printf(" %ld", counts[c]);
		puts("");
	}
	return 0;
}
