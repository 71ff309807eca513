// SPDX-License-Identifier: MIT
/*
 * Calls of functions that do not read what their arguments point to, in C or C++. Before
 * each way of calling the program logs what a tool must read at the sites, computed from
 * integers. Nothing but sites reads what the program then stores.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __cplusplus
#include <string>
#define NULLPTR nullptr
#else
#define NULLPTR NULL
#endif

struct inner {
	int n;
	char name[12];
};
struct request {
	int id;
	const char *path;
	struct inner *in;
};
struct big {
	long pad[5];
	int id;
	const char *path;
	struct inner *in;
};

#define NOINLINE static __attribute__((noinline))
#define INLINE static inline __attribute__((always_inline))
#define ROUNDS 3

static FILE *log_file;
static int opaque = 1; /* the compiler does not know its value, because note() may change it */

__attribute__((noipa)) void note(const char *probe, int id, int path, int n, int name)
{
	fprintf(log_file, "%s %d path%d %d name%d\n", probe, id, path, n, name);
	opaque = 1;
}

#define STORE(r, number)                              \
	do {                                          \
		char digit_ = (char)('0' + (number)); \
		strcpy(path, "path");                 \
		path[4] = digit_;                     \
		path[5] = 0;                          \
		memcpy(in.name, "name", 4);           \
		in.name[4] = digit_;                  \
		in.name[5] = 0;                       \
		in.n = (number) + 20;                 \
		(r).id = (number) + 10;               \
		(r).path = path;                      \
		(r).in = &in;                         \
	} while (0)
#define NOTE(probe, number) note(probe, (number) + 10, number, (number) + 20, number)

/* ---- probed functions ----------------------------------------------------- */

NOINLINE int p_ignore(const struct request *r)
{
	return r ? opaque : 0;
}
NOINLINE void p_nothing(const struct request *r)
{
	(void)r;
}
NOINLINE int p_number(const struct request *r, int x)
{
	(void)r;
	return x + 1;
}
INLINE int p_inline(const struct request *r)
{
	return r != NULLPTR;
}
NOINLINE void p_write(struct request *r, int number)
{
	r->in->n = number + 20;
	r->in->name[4] = (char)('0' + number);
	r->id = number + 10;
}
NOINLINE const struct request *p_same(const struct request *r)
{
	return r;
}
NOINLINE int p_pass(const struct request *r)
{
	return p_ignore(r); /* a tail call */
}
NOINLINE int p_deep(const struct request *r, int depth)
{
	return depth ? p_deep(r, depth - 1) + 1 : 0;
}
NOINLINE int p_large(struct big r)
{
	return r.pad[0] ? 1 : 2;
}
__attribute__((noreturn)) NOINLINE void p_exit(const struct request *r)
{
	(void)r;
	exit(0);
}
NOINLINE int p_square(int x) /* counts only */
{
	return x * x;
}
NOINLINE void p_init(struct inner *in) /* counts only */
{
	in->n = 1;
}

/* ---- not probed ----------------------------------------------------------- */

NOINLINE int through(const struct request *r)
{
	return p_number(r, 1);
}
NOINLINE void fill(struct request *r, char *path, struct inner *inner, int number)
{
	struct inner in;

	STORE(*r, number);
	r->in = inner;
	*inner = in;
}

/* ---- ways of calling ------------------------------------------------------ */

/* number: of which the stored values are made */
NOINLINE void way_local(int number)
{
	NOTE("p_ignore__entry", number);
	NOTE("p_ignore__return", number);
	char path[16];
	struct inner in;
	struct request r;
	STORE(r, number);
	p_ignore(&r);
}
NOINLINE void way_again(int number) /* stores between two calls */
{
	for (int i = 0; i < 2; i++) {
		NOTE("p_nothing__entry", number + i);
		NOTE("p_nothing__return", number + i);
	}
	char path[16];
	struct inner in;
	struct request r;
	STORE(r, number);
	p_nothing(&r);
	STORE(r, number + 1);
	p_nothing(&r);
}
NOINLINE int way_loop(int number) /* stores in a loop, before an inlined function */
{
	for (int i = 0; i < ROUNDS; i++) {
		NOTE("p_inline__entry", number + i);
		NOTE("p_inline__return", number + i);
	}
	char path[16];
	struct inner in;
	struct request r;
	int sum = 0, rounds = opaque + ROUNDS - 1;
	STORE(r, number);
	for (int i = 0; i < rounds; i++) {
		sum += p_inline(&r);
		r.id++;
		in.n++;
		in.name[4]++;
		path[4]++;
	}
	return sum;
}
NOINLINE void way_write(int number) /* the callee writes */
{
	NOTE("p_write__entry", number);
	note("p_write__return", number + 11, number, number + 21, number + 1);
	char path[16];
	struct inner in;
	struct request r;
	STORE(r, number);
	p_write(&r, number + 1);
}
NOINLINE void way_through(int number)
{
	NOTE("p_number__entry", number);
	NOTE("p_number__return", number);
	char path[16];
	struct inner in;
	struct request r;
	STORE(r, number);
	through(&r);
}
NOINLINE void way_fill(int number)
{
	NOTE("p_same__entry", number);
	NOTE("p_same__return", number);
	char path[16];
	struct inner in;
	struct request r;
	fill(&r, path, &in, number);
	p_same(&r);
}
NOINLINE void way_pass(int number)
{
	NOTE("p_pass__entry", number);
	NOTE("p_ignore__entry", number);
	NOTE("p_ignore__return", number);
	char path[16];
	struct inner in;
	struct request r;
	STORE(r, number);
	p_pass(&r);
}
NOINLINE void way_deep(int number)
{
	for (int i = 0; i < 3; i++)
		NOTE("p_deep__entry", number);
	char path[16];
	struct inner in;
	struct request r;
	STORE(r, number);
	p_deep(&r, opaque + 1);
}
NOINLINE void way_heap(int number)
{
	NOTE("p_ignore__entry", number);
	NOTE("p_ignore__return", number);
	char *path = (char *)malloc(16);
	struct inner in, *heap = (struct inner *)malloc(sizeof(*heap));
	struct request *r = (struct request *)malloc(sizeof(*r));
	STORE(*r, number);
	*heap = in;
	r->in = heap;
	p_ignore(r);
	free(r);
	free(heap);
	free(path);
}
NOINLINE void way_static(int number)
{
	static char path[16];
	static struct inner in;
	static struct request r;

	NOTE("p_ignore__entry", number);
	NOTE("p_ignore__return", number);
	STORE(r, number);
	p_ignore(&r);
	memset(&r, 0, sizeof(r));
}
NOINLINE void way_large(int number)
{
	NOTE("p_large__entry", number);
	char path[16];
	struct inner in;
	struct big r;
	memset(&r, 0, sizeof(r));
	STORE(r, number);
	p_large(r);
}
NOINLINE void way_count(int number)
{
	struct inner in;

	for (int i = 0; i < 2; i++) {
		p_square(number);
		p_init(&in);
	}
}

#ifdef __cplusplus
struct thrown {
};
NOINLINE void p_throw(const struct request *r)
{
	(void)r;
	if (opaque)
		throw thrown();
}
NOINLINE void way_throw(int number)
{
	NOTE("p_throw__entry", number);
	char path[16];
	struct inner in;
	struct request r;
	STORE(r, number);
	try {
		p_throw(&r);
	} catch (thrown &) {
	}
}
NOINLINE bool p_text(const std::string &s)
{
	return opaque && sizeof(s) > 1;
}
NOINLINE void way_text(int number)
{
	std::string s = "text";
	s += (char)('0' + number);
	p_text(s);
}
struct base {
	int id;
	const char *path;
	struct inner *in;
	virtual ~base()
	{
	}
	virtual int p_method(const base &r) const
	{
		return &r == this;
	}
};
struct derived : base {
	int p_method(const base &r) const override
	{
		return &r != this;
	}
};
NOINLINE int way_method(int number)
{
	NOTE("derived__p_method__entry", number);
	char path[16];
	struct inner in;
	derived r;
	STORE(r, number);
	const base *b = &r;
	return b->p_method(r);
}
#endif

int main(int argc, char **argv)
{
	char path[16];
	struct inner in;
	struct request r;

	log_file = argc > 1 ? fopen(argv[1], "w") : NULLPTR;
	if (!log_file)
		return 1;
	for (int i = 0; i < ROUNDS; i++) {
		way_local(i);
		way_again(i);
		way_loop(i);
		way_write(i);
		way_through(i);
		way_fill(i);
		way_pass(i);
		way_deep(i);
		way_heap(i);
		way_static(i);
		way_large(i);
		way_count(i);
#ifdef __cplusplus
		way_throw(i);
		way_text(i);
		way_method(i);
#endif
	}
	NOTE("p_exit__entry", 0);
	NOTE("p_exit__return", 0);
	STORE(r, 0);
	p_exit(&r);
}
