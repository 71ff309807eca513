/* SPDX-License-Identifier: MIT */
/*
 * Trampolines on their own, without the rest of the agent.
 *
 * The main test compiles random fetch programs, with and without predicates, and runs
 * each as a trampoline and in the reference interpreter with the same registers. Both
 * must filter equally, and leave the same record to the last byte. After the trampoline
 * all registers, the flags, the vector registers, the red zone and the stack above it
 * must be unchanged. The other tests cover what is not random.
 */
#include <check.h>
#include <errno.h>
#include <probepoint.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent/inproc/trampoline.h" /* linked by runtime/agent/inproc/build.mk */

#define PROGRAM_REGISTERS REGISTERS
#include "tests/unit/cells.h"
#include "tests/unit/interpreter.h"
#include "tests/unit/programs.h"
#include "tests/unit/rate.h"

#define PAGE 4096
#define TEST_STACK (6 * PAGE)

struct agent agent = { .key = -1 };

/* ---- memory ---- */

static char *memory;  /* two pages, between pages that are not readable */
static char *stack;   /* TEST_STACK bytes, likewise */
static uint8_t *text; /* the life page, the table, the site and the trampoline */

static char *map_between(size_t size)
{
	char *at = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(at, MAP_FAILED);
	ck_assert(!mprotect(at + PAGE, size, PROT_READ | PROT_WRITE));
	return at + PAGE;
}

/* ---- running a trampoline ---- */

void *trampoline_site;
void trampoline_run(void), trampoline_back(void);

#ifdef __x86_64__
#include "tests/agent/trampoline-x86_64.h"
#else
#include "tests/agent/trampoline-aarch64.h"
#endif

#define TEXT_LIFE 0
#define TEXT_TABLE PAGE
#define TEXT_SITE (PAGE + 512)
#define TEXT_TRAMPOLINE (2 * PAGE)
#define TEXT_SIZE (2 * PAGE + TRAMPOLINE_MAX)

#define RING_STRIDE shm_ring_stride(AGENT_RING_SIZE)
#define SHM_SIZE (shm_rings_at + AGENT_RINGS * RING_STRIDE)

static struct agent_shm *shm;
static struct agent_ring *ring;
static struct image_ranges image;

/* Emulators may lack process_vm_readv(2). Then the image covers most strings, and hits that read others are skipped. */
static bool no_vm_readv, read_elsewhere;

static bool image_covers(uint64_t address, size_t size)
{
	for (uint32_t i = 0; i < image.n; i++)
		if (address >= image.range[i].start && address + size <= image.range[i].end)
			return true;
	return false;
}

static void image_everything(void)
{
	uintptr_t low = UINTPTR_MAX, high = 0;

	for (size_t i = 0; i < NWORDS; i++) {
		low = (uintptr_t)words[i] < low ? (uintptr_t)words[i] : low;
		high = (uintptr_t)words[i] > high ? (uintptr_t)words[i] : high;
	}
	printf("skipped: strings outside of the image: no process_vm_readv()\n");
	image.n = 4;
	image.range[1].start = (uintptr_t)memory;
	image.range[1].end = (uintptr_t)memory + 2 * PAGE;
	image.range[2].start = low & -(uintptr_t)PAGE;
	image.range[2].end = (high + 64 + PAGE) & -(uintptr_t)PAGE;
	image.range[3].start = (uintptr_t)stack;
	image.range[3].end = (uintptr_t)stack + TEST_STACK;
}

static void set_up_shm(void)
{
	shm = mmap(NULL, SHM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(shm, MAP_FAILED);
	ring = (struct agent_ring *)((char *)shm + shm_rings_at);
	for (unsigned i = 0; i < AGENT_RINGS; i++)
		((struct agent_ring *)((char *)ring + i * RING_STRIDE))->limit = AGENT_RING_SIZE;
	agent.shms[3].at = shm;
	agent.shms[3].ring_size = AGENT_RING_SIZE;
	agent.shms[3].nlarge = AGENT_RINGS;
	agent_thread.mask[3] = AGENT_RING_SIZE - 8;
	agent.shms[3].nrings = AGENT_RINGS;
}

static void set_up_text(void)
{
	struct life *life;

	text = mmap(NULL, TEXT_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(text, MAP_FAILED);
	trampoline_table_fill((struct trampoline_table *)(text + TEXT_TABLE));
	trampoline_site_make(text + TEXT_SITE, text + TEXT_TRAMPOLINE);
	life = (struct life *)(text + TEXT_LIFE);
	life->alive = 1;
	life->pid = getpid();
}

static void set_up_image(void)
{
	image.n = 1;
	image.range[0].start = (uintptr_t)text;
	image.range[0].end = (uintptr_t)text + TEXT_SIZE;
	no_vm_readv = syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0) && errno == ENOSYS;
	if (no_vm_readv)
		image_everything();
}

static void set_up(void)
{
	seed_set();
	memory = map_between(2 * PAGE);
	stack = map_between(TEST_STACK);
	set_up_text();
	set_up_shm();
	set_up_image();
	agent.pid = getpid();
	agent.calls = 1;
	agent.has_ticks = trampoline_clock_invariant();
	agent_thread.tid = gettid();
	agent_thread.sure_low = (uintptr_t)stack;
	agent_thread.sure_last = (uintptr_t)stack + TEST_STACK - 8;
}

/* Reads memory without process_vm_readv(2): rt_sigprocmask(2) with an invalid operation finds out what is readable. */
static int read_memory_slowly(uint64_t address, void *to, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		memset(to, 0, size);
		if (syscall(SYS_rt_sigprocmask, -1, (address + i) & ~7ull, NULL, 8) >= 0 || errno != EINVAL)
			return -EFAULT;
	}
	memcpy(to, (const void *)address, size);
	read_elsewhere |= !image_covers(address, size);
	return 0;
}

static int read_memory(void *arg, uint64_t address, void *to, size_t size)
{
	struct iovec local = { to, size }, remote = { (void *)address, size };

	(void)arg;
	if (no_vm_readv)
		return read_memory_slowly(address, to, size);
	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size)
		return 0;
	memset(to, 0, size);
	return -EFAULT;
}

/* ---- inputs ---- */

/* Below the red zone the stack changes while the trampoline runs. Programs subtract at most 32. */
static uint64_t some_address(void)
{
	uint64_t low = trampoline_registers[TRAMPOLINE_STACK] - RED_ZONE + 32;

	switch (below(16)) {
	case 0: return interesting();
	case 1: return (uint64_t)memory - below(140);
	case 2: return (uint64_t)memory + 2 * PAGE - below(10);
	case 3: return (uint64_t)memory + PAGE - below(140);
	case 4: return (uint64_t)memory + 2 * PAGE - below(200);
	case 5: return (uint64_t)words[below(NWORDS)];
	case 6: return random_bits() | 1ull << 63;
	case 7: return (uint64_t)stack + TEST_STACK - below(200);
	case 8: return low;
	case 9:
	case 10: return low + below((uint64_t)stack + TEST_STACK - low);
	case 11: return (uint64_t)text + TEXT_SITE + below(64);
	default: return (uint64_t)memory + below(2 * PAGE);
	}
}

static void new_stack(void)
{
	trampoline_registers[TRAMPOLINE_STACK] =
		(uint64_t)stack + 2 * PAGE + 16 * below((TEST_STACK - 2 * PAGE - 280) / 16);
	if (STACK_ALIGN == 1 && below(8) == 0)
		trampoline_registers[TRAMPOLINE_STACK] += below(16);
}

static void new_inputs(void)
{
	for (int i = 0; i < TRAMPOLINE_GENERAL; i++)
		if (i != TRAMPOLINE_STACK)
			trampoline_registers[i] = below(2) ? some_address() : interesting();
	trampoline_registers[REGISTERS - 1] = (uint64_t)trampoline_site;
	trampoline_flags_random(random_bits());
	trampoline_vectors_random(random_bits);
	fill(memory, 2 * PAGE);
	fill(stack, TEST_STACK);
}

static void near_register(struct maker *m)
{
	int from = below(3) ? below(REGISTERS) : TRAMPOLINE_STACK;

	step(m, FETCH_REG, from, 0, 0, 0);
	if (below(2)) {
		step(m, FETCH_IMM, 0, 0, 0,
		     from == TRAMPOLINE_STACK ? (int64_t)below(5000) - RED_ZONE : (int64_t)below(64) - 32);
		step(m, FETCH_ADD, 0, 0, 0, 0);
	}
}

/* ---- one hit ---- */

#define fail_with(p, ...)                      \
	do {                                   \
		show(p, trampoline_registers); \
		ck_abort_msg(__VA_ARGS__);     \
	} while (0)

static union {
	struct record record;
	char room[RECORD_SIZE_MAX + 8];
} wanted;

static atomic_bool scribbled_enough;
static struct model model; /* of the program's aggregate */
static struct hit_table table;
static struct hit_group group;
static uint32_t table_nused;

static void interpreted_aggregate(void *arg, unsigned column, const uint8_t *parts, size_t size, uint64_t value,
                                  bool unread)
{
	(void)arg;
	model_add(&model, column, parts, size, value, unread);
}

static char memory_before[2 * PAGE], stack_before[TEST_STACK];

static const struct agent_count *counts_of(uint32_t slot)
{
	return (struct agent_count *)((char *)ring + AGENT_COUNTS_IN_RING) + slot;
}

static uint64_t
	passed[2]; /* hits that the predicate of the program let through: of a thread with a ring, and without one */

/* Runs the program in the interpreter, as fetch_run(). */
static int interpret(const struct fetch_program *p)
{
	struct fetch_machine machine = { .registers = trampoline_registers,
		                         .read = read_memory,
		                         .pid = getpid(),
		                         .tid = gettid(),
		                         .passed = &passed[agent_thread.busy != 0],
		                         .aggregate = model.aggregate ? interpreted_aggregate : NULL };
	char comm[16];

	strcpy(comm, words[below(9)]);
	prctl(PR_SET_NAME, comm);
	machine.comm = comm;
	machine.cpu = sched_getcpu();
	read_elsewhere = false;
	return fetch_run(p, &machine, &wanted.record);
}

/* Compares all that the program could notice with what it was before the hit. */
static void check_unchanged(const struct fetch_program *p)
{
	uint64_t low = trampoline_registers[TRAMPOLINE_STACK] - RED_ZONE - (uint64_t)stack;

	for (int i = 0; i < TRAMPOLINE_GENERAL; i++)
		if (trampoline_got[i] != trampoline_registers[i])
			fail_with(p, "seed %llu: the trampoline changed register %d to %#llx", (unsigned long long)seed,
			          i, (unsigned long long)trampoline_got[i]);
	if ((trampoline_flags ^ trampoline_flags_got) & FLAGS)
		fail_with(p, "seed %llu: the trampoline changed the flags to %#llx", (unsigned long long)seed,
		          (unsigned long long)trampoline_flags_got);
	if (trampoline_vectors_differ() >= 0)
		fail_with(p, "seed %llu: the trampoline changed vector register %d", (unsigned long long)seed,
		          trampoline_vectors_differ());
	if (memcmp(memory, memory_before, sizeof(memory_before)) ||
	    memcmp(stack + low, stack_before + low, sizeof(stack_before) - low))
		fail_with(p, "seed %llu: the trampoline changed memory", (unsigned long long)seed);
}

static const char zeroes[RECORD_SIZE_MAX];

/* Compares the record at the position with the interpreter's, and clears it. */
static void check_record(const struct fetch_program *p, uint32_t slot, uint64_t position, uint64_t begun)
{
	struct record *r = (struct record *)((char *)ring + AGENT_DATA_IN_RING + (position & (AGENT_RING_SIZE - 1)));

	if (record_words(r) != record_words(&wanted.record) || r->faults != wanted.record.faults ||
	    ring->head - position != 8u * record_words(r) ||
	    memcmp(r->value, wanted.record.value, 8 * record_words(r) - sizeof(*r))) {
		show_record("interpreter", &wanted.record);
		show_record("trampoline", r);
		fail_with(p, "seed %llu: trampoline and interpreter record different values", (unsigned long long)seed);
	}
	ck_assert_uint_eq(r->point, slot);
	ck_assert_uint_ge(r->time, begun);
	memset(r, 0, ring->head - position);
	ck_assert_mem_eq(r, zeroes, sizeof(zeroes));
	ring->limit = ring->head + AGENT_RING_SIZE;
}

/* Returns whether the hit was recorded. */
static int one_hit(const struct interned_program *program, uint32_t slot, uint64_t begun)
{
	const struct fetch_program *p = &program->fetch;
	struct agent_count before = *counts_of(slot), after;
	uint64_t position = ring->head;
	uint64_t passed_before = passed[0];
	int result = interpret(p);
	bool recorded = result > 0;

	if (read_elsewhere) { /* a number that happens to be an address */
		passed[0] = passed_before;
		return 0;
	}
	memcpy(memory_before, memory, sizeof(memory_before));
	memcpy(stack_before, stack, sizeof(stack_before));
	trampoline_run();
	after = *counts_of(slot);
	check_unchanged(p);
	if (after.recorded - before.recorded != (uint64_t)recorded ||
	    after.filtered - before.filtered != (uint64_t)!result ||
	    after.unsampled - before.unsampled != (uint64_t)(result < 0))
		fail_with(p, "seed %llu: the interpreter %s, the trampoline does not", (unsigned long long)seed,
		          recorded ? "records"
		          : result ? "does not choose"
		                   : "filters");
	if (recorded)
		check_record(p, slot, position, begun);
	else
		ck_assert_uint_eq(ring->head, position);
	return recorded;
}

static size_t trampoline_ready(size_t size)
{
	cpu_code_written(text + TEXT_TRAMPOLINE, size);
	return size;
}

static size_t make_consumer(const struct trampoline_consumer *consumer)
{
	return trampoline_ready(trampoline_compile(
		text + TEXT_TRAMPOLINE, (uintptr_t)text + TEXT_TRAMPOLINE, (uintptr_t)trampoline_site, consumer, 1,
		&image, (struct trampoline_table *)(text + TEXT_TABLE), (struct life *)(text + TEXT_LIFE)));
}

static size_t make_trampoline(const struct interned_program *program, uint32_t slot)
{
	struct trampoline_consumer consumer = { .program = program,
		                                .shm = shm,
		                                .index = 3,
		                                .slot = slot,
		                                .group = program->fetch.naggregate ? &group : NULL };

	return make_consumer(&consumer);
}

/* Lets the program choose hits, and begins to count those of the slot. */
static void sample_anew(struct fetch_program *p, uint32_t slot)
{
	p->sample.every = below(2) ? 0 : 1 + below(4);
	memset(passed, 0, sizeof(passed));
	memset((struct agent_count *)counts_of(slot), 0, sizeof(struct agent_count));
	memset((char *)shm + shm_overflow_at + slot * sizeof(struct agent_count), 0, sizeof(struct agent_count));
}

START_TEST(trampolines_record_what_the_interpreter_does)
{
	static struct maker maker;
	int rounds = rounds_of(1500, 300, 20000);
	long kept = 0, all = 0;
	static uint8_t depths[2048];
	struct interned_program program = { .depths = depths };

	set_up();
	shm->record_until = AGENT_RECORD_ALWAYS;
	for (int round = 0; round < rounds; round++) {
		uint32_t slot = below(AGENT_SLOTS);

		new_stack();
		new_inputs();
		make_program(&maker, &program.fetch, depths);
		sample_anew(&program.fetch, slot);
		ck_assert_uint_gt(make_trampoline(&program, slot), 0);
		for (int hit = 0; hit < 5; hit++) {
			kept += one_hit(&program, slot, 512);
			all++;
			if (hit == 2)
				new_inputs();
		}
		if (round % 64 == 0)
			ring->head = ring->limit - AGENT_RING_SIZE;
	}
	fprintf(stderr, "%ld of %ld runs recorded\n", kept, all);
	ck_assert_int_gt(kept, all / 8);
	ck_assert_int_lt(kept, all / 10 * 9);
}
END_TEST

/* ---- rates ---- */

#define RATE_SLOT 13
#define TICKS_APART 1000 /* the CPU may read its counter earlier or later than in the program's order */

static void rate_hit(struct rate_model *m, const struct interned_program *program, unsigned hit)
{
	const unsigned every = program->fetch.sample.every;
	const struct agent_count before = *counts_of(RATE_SLOT);
	const struct agent_count *after = counts_of(RATE_SLOT);
	int64_t from = cpu_ticks(), to = from + rate_pause(m, 300000);

	while (from < to)
		from = cpu_ticks();
	memcpy(memory_before, memory, sizeof(memory_before));
	memcpy(stack_before, stack, sizeof(stack_before));
	from = cpu_ticks();
	trampoline_run();
	to = cpu_ticks();
	check_unchanged(&program->fetch);
	ck_assert_uint_eq(after->recorded + after->unsampled, before.recorded + before.unsampled + 1);
	if (every > 1 && hit % every)
		ck_assert_uint_eq(after->unsampled, before.unsampled + 1);
	else
		rate_check(m, from - TICKS_APART, to + TICKS_APART, after->recorded > before.recorded);
	if (ring->head > ring->limit - 64) {
		memset((char *)ring + AGENT_DATA_IN_RING, 0, AGENT_RING_SIZE);
		ring->limit = ring->head + AGENT_RING_SIZE;
	}
}

/* Trampolines let as many hits pass as the model, of those that are chosen by --every. */
START_TEST(rates_are_what_the_model_lets_pass)
{
	struct fetch_step steps[] = { { FETCH_REG, 7, 0, 0, 0 }, { FETCH_ARG, 0, 0, 0, 0 } };
	uint8_t depths[3] = { 0, 1, 0 };
	int rounds = rounds_of(300, 20, 20000);
	long npassed = 0, nstopped = 0, nunknown = 0;

	set_up();
	agent.has_ticks = true;
	shm->record_until = AGENT_RECORD_ALWAYS;
	new_stack();
	new_inputs();
	for (int round = 0; round < rounds; round++) {
		const int64_t interval = 1 + below(1u << below(30));
		struct rate_model m = { .interval = interval, .room = below(3) ? interval * below(300) : 0 };
		struct hit_bucket bucket = { .interval = m.interval, .tolerance = m.room };
		struct interned_program program = {
			.fetch = { .steps = steps,
			           .nsteps = 2,
			           .nargs = 1,
			           .kind = { PP_UNSIGNED },
			           .size = { 8 },
			           .sample = { .every = below(2) ? 0 : 1 + below(3), .rate = 1 } },
			.depths = depths,
		};
		struct trampoline_consumer consumer = {
			.program = &program, .shm = shm, .index = 3, .slot = RATE_SLOT, .bucket = &bucket
		};

		memset((struct agent_count *)counts_of(RATE_SLOT), 0, sizeof(struct agent_count));
		ck_assert_uint_gt(make_consumer(&consumer), 0);
		for (unsigned hit = 1; hit <= 200; hit++)
			rate_hit(&m, &program, hit);
		npassed += m.npassed;
		nstopped += m.nstopped;
		nunknown += m.nunknown;
	}
	fprintf(stderr, "%ld hits passed, %ld were stopped, and %ld were too close to tell\n", npassed, nstopped,
	        nunknown);
	ck_assert_int_gt(npassed, 0);
	ck_assert_int_gt(nstopped, 0);
}
END_TEST

/* ---- calls ---- */

#define BEGIN_SLOT 11
#define END_SLOT 12
#define TEST_CALL 0x3000000100000007 /* trampoline_consumer.call of region 3 */
#define TEST_STARTS 16384            /* hit-calls.c */

struct call_test {
	struct maker begin_maker, end_maker;
	struct interned_program begin, end;
	uint8_t begin_depths[2048], end_depths[2048];
};

static void make_call(struct call_test *t, enum site_match match)
{
	make_begin(&t->begin_maker, &t->begin.fetch, t->begin_depths, match);
	make_end(&t->end_maker, &t->end.fetch, t->end_depths, &t->begin.fetch);
	t->begin.depths = t->begin_depths;
	t->end.depths = t->end_depths;
}

static size_t make_call_trampoline(const struct call_test *t)
{
	const struct trampoline_consumer consumers[2] = {
		{ .program = &t->begin, .shm = shm, .index = 3, .slot = BEGIN_SLOT, .call = TEST_CALL },
		{ .program = &t->end, .shm = shm, .index = 3, .slot = END_SLOT, .call = TEST_CALL },
	};

	return trampoline_ready(trampoline_compile(
		text + TEXT_TRAMPOLINE, (uintptr_t)text + TEXT_TRAMPOLINE, (uintptr_t)trampoline_site, consumers, 2,
		&image, (struct trampoline_table *)(text + TEXT_TABLE), (struct life *)(text + TEXT_LIFE)));
}

/* Returns the call that the last hit made, in the thread's ring or in the table of starts with a key; NULL: none. */
static struct agent_call *call_made(enum site_match match)
{
	struct agent_calls *calls = ring_calls(ring);
	struct agent_call *at = match == MATCH_FRAME    ? calls->frames
	                        : match == MATCH_THREAD ? calls->starts
	                                                : agent.starts;
	unsigned n = match == MATCH_FRAME ? CALLS_DEEP : match == MATCH_THREAD ? STARTS_DEEP : TEST_STARTS;

	for (unsigned i = 0; i < n; i++)
		if (at[i].time)
			return &at[i];
	return NULL;
}

/* Runs a begin and its end in both. Returns whether the end was recorded. */
static int one_whole_call(struct call_test *t)
{
	const struct fetch_program *begin = &t->begin.fetch, *end = &t->end.fetch;
	struct fetch_machine machine = { .registers = trampoline_registers,
		                         .read = read_memory,
		                         .pid = getpid(),
		                         .tid = gettid(),
		                         .passed = &passed[0] };
	struct agent_count before[2] = { *counts_of(BEGIN_SLOT), *counts_of(END_SLOT) }, after[2];
	uint64_t position = ring->head, keys[2] = { 0, 0 };
	struct agent_call *made;
	bool begins, ends;
	char comm[16];
	int result = 0;

	strcpy(comm, words[below(9)]);
	prctl(PR_SET_NAME, comm);
	machine.comm = comm;
	read_elsewhere = false;
	fetch_run(begin, &machine, &wanted.record);
	memcpy(machine.entry, wanted.record.value, 8 * begin->nargs);
	machine.entry_faults = wanted.record.faults | ~0u << begin->nargs;
	begins = !begin->nkey || !fetch_run_key(begin, &machine, &keys[0]);
	ends = begins && (!end->nkey || !fetch_run_key(end, &machine, &keys[1])) && keys[0] == keys[1];
	memcpy(memory_before, memory, sizeof(memory_before));
	memcpy(stack_before, stack, sizeof(stack_before));
	memset(ring_calls(ring), 0, sizeof(struct agent_calls));
	trampoline_run();
	made = call_made(end->match);
	if (made)
		machine.duration = *(const uint64_t *)&made->time;
	if (ends)
		result = fetch_run(end, &machine, &wanted.record);
	if (made)
		memset(made, 0, sizeof(*made));
	if (read_elsewhere) {
		memset((char *)ring + AGENT_DATA_IN_RING + (position & (AGENT_RING_SIZE - 1)), 0,
		       ring->head - position);
		ring->limit = ring->head + AGENT_RING_SIZE;
		return 0;
	}
	check_unchanged(end);
	after[0] = *counts_of(BEGIN_SLOT);
	after[1] = *counts_of(END_SLOT);
	if (!made != !begins || after[0].recorded - before[0].recorded != begins ||
	    after[0].lost - before[0].lost != !begins)
		fail_with(begin, "seed %llu: the begin of a call differs", (unsigned long long)seed);
	if (after[1].unmatched - before[1].unmatched != !ends ||
	    after[1].filtered - before[1].filtered != (uint64_t)(ends && !result) ||
	    after[1].recorded - before[1].recorded != (uint64_t)(result > 0))
		fail_with(end, "seed %llu: the end of a call differs: the interpreter %s", (unsigned long long)seed,
		          !ends    ? "does not match it"
		          : result ? "records"
		                   : "filters");
	if (result > 0)
		check_record(end, END_SLOT, position, 512);
	else
		ck_assert_uint_eq(ring->head, position);
	return result > 0;
}

START_TEST(calls_are_what_the_interpreter_finds)
{
	static const enum site_match matches[] = { MATCH_FRAME, MATCH_THREAD, MATCH_KEY };
	static struct call_test t;
	int rounds = rounds_of(1500, 200, 20000);
	long kept = 0, all = 0;

	set_up();
	agent.has_ticks = true;
	agent.tick_ns = 1ull << 32; /* a duration is in ticks */
	agent.starts = calloc(TEST_STARTS, sizeof(*agent.starts));
	shm->record_until = AGENT_RECORD_ALWAYS;
	for (int round = 0; round < rounds; round++) {
		new_stack();
		new_inputs();
		make_call(&t, matches[round % 3]);
		passed[0] = 0;
		ck_assert_uint_gt(make_call_trampoline(&t), 0);
		for (int hit = 0; hit < 4; hit++) {
			kept += one_whole_call(&t);
			all++;
			if (hit == 1)
				new_inputs();
		}
	}
	fprintf(stderr, "%ld of %ld calls recorded\n", kept, all);
	ck_assert_int_gt(kept, all / 5);
	ck_assert_int_lt(kept, all / 10 * 9);
	free(agent.starts);
	agent.starts = NULL;
}
END_TEST

/* ---- aggregates ---- */

#define GROUP 5 /* of the manifest that does not exist */

static struct shared_cell *cells_of(bool own)
{
	return (struct shared_cell *)(own ? (char *)ring + AGENT_CELLS_IN_RING : (char *)shm + shm_cells_at);
}

/* Makes an empty table. Its first cell may be one of the last that rings have. */
static void new_table(const struct interned_program *program, unsigned max)
{
	const struct fetch_aggregate *a = program->fetch.aggregate;
	uint32_t first = below(2) ? 0 : AGENT_RING_CELLS - below(20), all = 2 * a->ncolumns + max;

	model = (struct model){ .aggregate = a, .group = GROUP, .max = max };
	table = (struct hit_table){
		.index = (shared32 *)((char *)shm + shm_keys_at),
		.nused = &table_nused,
		.keys = (char *)shm + shm_keys_at + 65536,
		.cells = cells_of(false),
		.mask = 2047,
		.shift = 64 - 11,
		.ncells = max,
		.key_size = program->key_size,
		.first = first + 2 * a->ncolumns,
		.shm = 3,
	};
	group = (struct hit_group){ &table, GROUP, first };
	table_nused = 0;
	memset(table.index, 0, 2048 * sizeof(*table.index));
	memset(table.keys, 0, max * table.key_size);
	memset(&cells_of(false)[first], 0, all * sizeof(struct shared_cell));
	if (first < AGENT_RING_CELLS)
		memset(&cells_of(true)[first], 0,
		       (all < AGENT_RING_CELLS - first ? all : AGENT_RING_CELLS - first) * sizeof(struct shared_cell));
}

/* Returns the cell of that number, of the ring and of threads without one. */
static struct agg_cell cell_got(uint32_t number, bool is_unsigned)
{
	struct agg_column column = { .is_unsigned = is_unsigned };
	struct agg_cell sum = { 0 };

	for (int own = 0; own < 2; own++) {
		const struct shared_cell *cell = &cells_of(own)[number];
		struct agg_cell value = agent_cell_value((const struct agent_cell *)cell, is_unsigned);

		if (!own || number < AGENT_RING_CELLS)
			agg_cell_add(&column, &sum, &value);
	}
	return sum;
}

static void show_cell(const char *who, const struct agg_key *key, const struct agg_cell *cell)
{
	fprintf(stderr, "%s: group %u column %u bucket %u, count %llu sum %llu min %lld max %lld\n", who, key->group,
	        key->column, key->bucket, (unsigned long long)cell->count, (unsigned long long)cell->sum,
	        (long long)cell->min, (long long)cell->max);
}

static void check_cell(const struct fetch_program *p, uint32_t i)
{
	const struct agg_key *key = (const struct agg_key *)(table.keys + i * table.key_size);
	const struct agg_key *wants = (const void *)model.cells[i].key;
	const struct agg_cell *is = &model.cells[i].cell;
	struct agg_cell got = cell_got(table.first + i, p->aggregate->columns[wants->column].is_unsigned);

	if (!memcmp(key, wants, model.cells[i].size) && !memcmp(&got, is, sizeof(got)))
		return;
	show_cell("interpreter", wants, is);
	show_cell("trampoline", key, &got);
	fail_with(p, "seed %llu: trampoline and interpreter compute different values for cell %u",
	          (unsigned long long)seed, i);
}

static void check_aggregate(const struct fetch_program *p)
{
	for (unsigned i = 0; i < p->aggregate->ncolumns; i++) {
		struct agg_cell other = cell_got(group.misfits + 2 * i, false);
		struct agg_cell unread = cell_got(group.misfits + 2 * i + 1, false);

		if (other.count != model.misfits[i].other || other.sum != model.misfits[i].other_sum ||
		    unread.count != model.misfits[i].unread)
			fail_with(p, "seed %llu: column %u has %llu others and %llu unread, not %llu and %llu",
			          (unsigned long long)seed, i, (unsigned long long)other.count,
			          (unsigned long long)unread.count, (unsigned long long)model.misfits[i].other,
			          (unsigned long long)model.misfits[i].unread);
	}
	if (table_nused != model.n)
		fail_with(p, "seed %llu: %u cells are in use, not %zu", (unsigned long long)seed, table_nused, model.n);
	for (uint32_t i = 0; i < model.n; i++)
		check_cell(p, i);
}

/* Runs one hit in both, of a thread with or without a ring. Returns false if it reads memory that the test cannot. */
static bool hit_aggregates(const struct interned_program *program, uint32_t slot)
{
	const struct fetch_program *p = &program->fetch;
	uint64_t position = ring->head;
	bool recorded;

	agent_thread.busy = below(2);
	agent_thread.ring[3] = agent_thread.busy ? NULL : ring;
	recorded = interpret(p) > 0 && shm->record_until && !agent_thread.busy;
	if (read_elsewhere)
		return false;
	memcpy(memory_before, memory, sizeof(memory_before));
	memcpy(stack_before, stack, sizeof(stack_before));
	trampoline_run();
	check_unchanged(p);
	check_aggregate(p);
	if (recorded)
		check_record(p, slot, position, 512);
	else
		ck_assert_uint_eq(ring->head, position);
	return true;
}

START_TEST(aggregates_are_what_the_interpreter_computes)
{
	static struct maker maker;
	int rounds = rounds_of(600, 200, 20000);
	static uint8_t depths[2048];
	struct interned_program program = { .depths = depths };
	long cells = 0, misfits = 0;

	set_up();
	stay_on_this_cpu();
	makes_aggregates = true;
	for (int round = 0; round < rounds; round++) {
		uint32_t slot = below(AGENT_SLOTS);

		new_stack();
		new_inputs();
		make_program(&maker, &program.fetch, depths);
		program.key_size = sizeof(struct agg_key);
		for (unsigned i = 0; i < maker.aggregate.nparts; i++)
			program.key_size += agg_part_size(maker.aggregate.parts[i].kind);
		new_table(&program, 1 + below(60));
		sample_anew(&program.fetch, slot);
		shm->record_until = below(2) ? AGENT_RECORD_ALWAYS : 0;
		ck_assert_uint_gt(make_trampoline(&program, slot), 0);
		for (int hit = 0; hit < 12 && hit_aggregates(&program, slot); hit++)
			if (hit % 3 == 2)
				new_inputs();
		cells += (long)model.n;
		misfits += model.misfits[0].other + model.misfits[0].unread > 0;
	}
	fprintf(stderr, "%ld cells in %d programs, of which %ld had misfits\n", cells, rounds, misfits);
	ck_assert_int_gt(cells, rounds);
	ck_assert_int_gt(misfits, rounds / 20);
}
END_TEST

/* ---- threads that share a table ---- */

#define SHARERS 8
#define SHARER_HITS 200000
#define SHARED_KEYS 200

static struct agg_column shared_column = { .is_unsigned = 1 };
static _Atomic uint64_t key_hits[SHARED_KEYS], key_sums[SHARED_KEYS];
static __thread uint64_t sharer_state; /* 0: not a sharer */
static pthread_barrier_t sharers_begin;
static uint64_t sharers_seed;
static int sharer_hits;               /* of each thread at least */
static _Atomic uint64_t handler_hits; /* of all signal handlers */
static bool sharers_await_handlers;   /* threads go on until a handler has hit */

/* One hit under a random key. It may come in the middle of another one. */
static void share_hit(uint64_t *state)
{
	uint64_t random = random_of(state), key[2] = { 0, random % SHARED_KEYS }, value = random >> 40;

	trampoline_aggregate(&group, key, &shared_column, HIT_COLUMN(0, 2), value, 0);
	key_hits[key[1]]++;
	key_sums[key[1]] += value;
}

static void share_in_signal(int sig)
{
	(void)sig;
	for (int i = 0; sharer_state && i < 3; i++) {
		uint64_t state = sharer_state ^ (uint64_t)i << 32;

		share_hit(&state);
		handler_hits++;
	}
}

static void *share(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;

	/* Half of the threads have a ring. */
	agent_thread.ring[3] = i % 2 ? (struct agent_ring *)((char *)ring + i * RING_STRIDE) : NULL;
	pthread_barrier_wait(&sharers_begin); /* most keys are added in the first millisecond */
	sharer_state = sharers_seed + i + 1;
	for (int n = 0; n < sharer_hits || (sharers_await_handlers && !handler_hits); n++)
		share_hit(&sharer_state);
	sharer_state = 0;
	return NULL;
}

static void sharers_run(void *(*other)(void *))
{
	struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { 0 };
	pthread_t threads[SHARERS], extra;
	sigset_t signals = { 0 };

	sharers_seed = random_bits();
	pthread_barrier_init(&sharers_begin, NULL, SHARERS);
	signal(SIGPROF, share_in_signal);
	setitimer(ITIMER_PROF, &often, NULL);
	if (other)
		ck_assert(!pthread_create(&extra, NULL, other, NULL));
	for (uintptr_t i = 0; i < SHARERS; i++)
		ck_assert(!pthread_create(&threads[i], NULL, share, (void *)i));
	/* The signals are for the other threads. */
	sigaddset(&signals, SIGPROF);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	for (int i = 0; i < SHARERS; i++)
		pthread_join(threads[i], NULL);
	scribbled_enough = true;
	if (other)
		pthread_join(extra, NULL);
	setitimer(ITIMER_PROF, &never, NULL);
	pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

/* A table of one column and keys of one integer, whose first 7 cells are in rings, too. */
static void new_shared_table(unsigned max)
{
	static struct fetch_aggregate aggregate = { .ncolumns = 1, .nparts = 1 };
	struct interned_program program = { .fetch = { .aggregate = &aggregate }, .key_size = 16 };

	new_table(&program, max);
	table.first = AGENT_RING_CELLS - 7;
	group.misfits = AGENT_RING_CELLS - 9;
	memset((char *)shm + shm_cells_at + group.misfits * sizeof(struct agent_cell), 0,
	       (max + 9) * sizeof(struct agent_cell));
	for (int i = 0; i < SHARERS; i++)
		memset((char *)ring + i * RING_STRIDE + AGENT_CELLS_IN_RING + group.misfits * sizeof(struct agent_cell),
		       0, 9 * sizeof(struct agent_cell));
}

/* Returns the sums of a cell over the region and all rings. */
static struct agg_cell shared_cell_sum(uint32_t number)
{
	struct agg_cell sum = { 0 };

	for (int i = -1; i < SHARERS; i++) {
		const char *at =
			i < 0 ? (char *)shm + shm_cells_at : (char *)ring + i * RING_STRIDE + AGENT_CELLS_IN_RING;
		struct agg_cell value;

		if (i >= 0 && number >= AGENT_RING_CELLS)
			break;
		value = agent_cell_value((const struct agent_cell *)at + number, true);
		agg_cell_add(&shared_column, &sum, &value);
	}
	return sum;
}

/*
 * Threads and handlers add to a table with max cells. If it has room, each key has all its hits. Otherwise some hits of a
 * key that has a cell can be in `other`: those that came when the last number was taken and its key not yet published.
 * Returns the number of such keys.
 */
static unsigned add_to_one_table(unsigned max)
{
	bool has_room = max > SHARED_KEYS;
	uint64_t hits = 0, sums = 0, kept = 0, kept_sums = 0;
	unsigned keys = 0, parted = 0;
	struct agg_cell other;

	new_shared_table(max);
	for (unsigned i = 0; i < SHARED_KEYS; i++)
		key_hits[i] = key_sums[i] = 0;
	handler_hits = 0;
	sharers_await_handlers = has_room;
	sharers_run(NULL);
	sharers_await_handlers = false;
	for (uint32_t i = 0; i < table_nused; i++) {
		uint64_t key = ((uint64_t *)table.keys)[2 * i + 1];
		struct agg_cell cell = shared_cell_sum(table.first + i);

		if (!cell.count) /* two threads added this key at once */
			continue;
		ck_assert_uint_lt(key, SHARED_KEYS);
		ck_assert_uint_le(cell.count, key_hits[key]);
		ck_assert_uint_le(cell.sum, key_sums[key]);
		kept += cell.count;
		kept_sums += cell.sum;
		parted += cell.count != key_hits[key];
		keys++;
	}
	for (unsigned i = 0; i < SHARED_KEYS; i++) {
		hits += key_hits[i];
		sums += key_sums[i];
	}
	other = shared_cell_sum(group.misfits);
	ck_assert_uint_eq(kept + other.count, hits);
	ck_assert_uint_eq(kept_sums + other.sum, sums);
	ck_assert_uint_ge(hits, sharer_hits * SHARERS);
	if (has_room) {
		ck_assert_uint_eq(other.count, 0);
		ck_assert_uint_eq(keys, SHARED_KEYS);
		ck_assert_uint_ge(hits, sharer_hits * SHARERS + handler_hits);
	} else {
		ck_assert_uint_gt(keys, max / 2);
	}
	return parted;
}

START_TEST(threads_and_handlers_add_to_one_table)
{
	unsigned parted = 0;

	set_up();
	sharer_hits = SHARER_HITS;
	add_to_one_table(2 * SHARED_KEYS);
	sharer_hits = 1000;
	for (int i = 0; i < 20; i++)
		parted += add_to_one_table(SHARED_KEYS / 2);
	fprintf(stderr, "%u keys have hits in their cell and in other\n", parted);
}
END_TEST

/* Writes invalid values to a table. */
static void *scribble_table(void *unused)
{
	volatile uint32_t *index = (uint32_t *)table.index;
	uint64_t n = seed | 1;

	while (!scribbled_enough) {
		n ^= n << 13, n ^= n >> 7, n ^= n << 17;
		switch (n >> 62) {
		case 0: index[n & 2047] = n >> 20; break;
		case 1: index[n & 2047] = n & 64 ? 0 : ~0u; break;
		case 2: ((volatile uint64_t *)table.keys)[n % (2 * table.ncells)] = n >> 30; break;
		default: *(volatile uint32_t *)&table_nused = n & 64 ? n & 127 : n >> 20;
		}
	}
	return unused;
}

START_TEST(invalid_tables_do_no_harm)
{
	const char *after;

	set_up();
	sharer_hits = SHARER_HITS;
	new_shared_table(SHARED_KEYS / 2);
	after = (char *)table.keys + (size_t)table.ncells * table.key_size;
	sharers_run(scribble_table);
	for (size_t i = 0; i < 65536; i++)
		ck_assert(!after[i]);
	for (size_t i = 2048; i < 65536 / 4; i++)
		ck_assert(!((uint32_t *)table.index)[i]);
	for (uint32_t i = table.first + table.ncells; i < table.first + 10000; i++)
		ck_assert(!shared_cell_sum(i).count);
}
END_TEST

/* ---- what is not random ---- */

/* A program that records TRAMPOLINE_TWO if TRAMPOLINE_ONE is below 5. */
static size_t make_counted(uint32_t slot)
{
	static struct fetch_step steps[] = {
		{ FETCH_REG, TRAMPOLINE_ONE, 0, 0, 0 },
		{ FETCH_IMM, 0, 0, 0, 5 },
		{ FETCH_LT, 0, 0, 0, 0 },
		{ FETCH_TEST, 0, 0, 0, 0 },
		{ FETCH_REG, TRAMPOLINE_TWO, 0, 0, 0 },
		{ FETCH_ARG, 0, 0, 0, 0 },
	};
	static uint8_t depths[6];
	static struct interned_program program = {
		.fetch = { .steps = steps, .nsteps = 6, .npredicate = 4, .nargs = 1, .kind = { PP_SIGNED } },
		.depths = depths,
	};

	ck_assert(!fetch_check(&program.fetch, REGISTERS, depths));
	return make_trampoline(&program, slot);
}

static void run_with(uint64_t one)
{
	trampoline_registers[TRAMPOLINE_ONE] = one;
	trampoline_run();
}

START_TEST(hits_without_a_record_are_counted_by_reason)
{
	const struct agent_count *own;

	set_up();
	ck_assert_uint_gt(make_counted(9), 0);
	own = counts_of(9);
	new_stack();
	new_inputs();
	run_with(1);
	ck_assert_uint_eq(own->idle, 1);
	shm->written = 1; /* the word after `overwrite` */
	shm->record_until = AGENT_RECORD_ALWAYS;
	for (unsigned i = 0; i < AGENT_RING_SIZE / 24; i++)
		trampoline_run();
	ck_assert_uint_eq(own->recorded, AGENT_RING_SIZE / 24);
	ck_assert_uint_eq(own->lost, 0);
	trampoline_run();
	ck_assert_uint_eq(own->lost, 1);
	run_with(5);
	ck_assert_uint_eq(own->filtered, 1);
	/* Invalid values in the header do not make the trampoline write outside of the ring. */
	ring->head = 0x123456789abcdef5;
	ring->limit = ~0ull;
	run_with(0);
	ck_assert_uint_eq(own->recorded, AGENT_RING_SIZE / 24 + 1);
}
END_TEST

static void take_all_rings(void)
{
	for (unsigned i = 0; i < AGENT_RINGS; i++) {
		struct agent_ring *r = (struct agent_ring *)((char *)ring + i * RING_STRIDE);

		r->state = AGENT_RING_TAKEN;
		r->tid = getppid() ? 1u << 30 : 0;
		r->limit = r->head; /* it has unread records */
	}
	agent_thread.ring[3] = NULL;
}

START_TEST(hits_of_threads_without_a_ring_are_counted_in_shared_cells)
{
	const struct agent_count *own, *shared;

	set_up();
	ck_assert_uint_gt(make_counted(9), 0);
	own = counts_of(9);
	shared = (struct agent_count *)((char *)shm + shm_overflow_at) + 9;
	new_stack();
	new_inputs();
	shm->record_until = AGENT_RECORD_ALWAYS;
	take_all_rings();
	run_with(0);
	ck_assert_uint_eq(shared->lost, 1);
	shm->record_until = 0;
	trampoline_run();
	ck_assert_uint_eq(shared->idle, 1);
	run_with(7);
	ck_assert_uint_eq(shared->filtered, 1);
	ck_assert_ptr_null(agent_thread.ring[3]);
	((struct life *)(text + TEXT_LIFE))->alive = 0;
	trampoline_run();
	ck_assert_uint_eq(shared->filtered, 1);
	ck_assert_uint_eq(own->filtered, 0);
	ck_assert_uint_eq(own->lost, 0);
}
END_TEST

#define TAKERS 3

static int takes;
static pthread_barrier_t takers_begin, takers_end;

/* Takes a ring in each round, and stores it. */
static void *taker(void *to)
{
	for (int round = 0; round < takes; round++) {
		pthread_barrier_wait(&takers_begin);
		*(struct agent_ring **)to = trampoline_take(3);
		agent_thread.ring[3] = NULL;
		agent_thread.skip = agent_thread.backoff = 0;
		pthread_barrier_wait(&takers_end);
	}
	return NULL;
}

/* The threads of all rings have ended. Threads that take a ring at the same time take different ones. */
START_TEST(threads_do_not_share_a_ring)
{
	struct agent_ring *taken[TAKERS];
	pthread_t threads[TAKERS];

	set_up();
	takes = rounds_of(60, 10, 2000);
	shm->overwrite = AGENT_FLIGHT;
	pthread_barrier_init(&takers_begin, NULL, TAKERS + 1);
	pthread_barrier_init(&takers_end, NULL, TAKERS + 1);
	take_all_rings();
	for (int i = 0; i < TAKERS; i++)
		ck_assert(!pthread_create(&threads[i], NULL, taker, &taken[i]));
	for (int round = 0; round < takes; round++) {
		for (unsigned i = 0; i < AGENT_RINGS; i++) {
			struct agent_ring *r = (struct agent_ring *)((char *)ring + i * RING_STRIDE);

			r->state = AGENT_RING_TAKEN;
			r->tid = 1u << 30;
			/* It is full, so that the thread that takes it drops entries for some time. */
			r->head = r->limit = AGENT_RING_SIZE;
			r->taken = r->kept = 0;
		}
		agent.shms[3].next_ring = 0;
		pthread_barrier_wait(&takers_begin);
		pthread_barrier_wait(&takers_end);
		for (int i = 0; i < TAKERS; i++) {
			ck_assert(taken[i] != NULL);
			for (int k = 0; k < i; k++)
				ck_assert(taken[i] != taken[k]);
		}
	}
	for (int i = 0; i < TAKERS; i++)
		pthread_join(threads[i], NULL);
}
END_TEST

/* Eight consumers of two programs, of which the first has a fault. */
START_TEST(each_consumer_of_a_site_records)
{
	struct fetch_step bad[] = { { FETCH_IMM, 0, 0, 0, 16 },
		                    { FETCH_LOAD, 8, 0, 0, 0 },
		                    { FETCH_ARG, 0, 0, 0, 0 },
		                    { FETCH_REG, TRAMPOLINE_SCRATCH, 0, 0, 0 },
		                    { FETCH_ARG, 1, 0, 0, 0 } };
	struct fetch_step good[] = { { FETCH_REG, TRAMPOLINE_TWO, 0, 0, 0 }, { FETCH_ARG, 0, 0, 0, 0 } };
	struct interned_program one = {
		.fetch = { .steps = bad, .nsteps = 5, .nargs = 2, .kind = { PP_SIGNED, PP_SIGNED } }
	};
	struct interned_program two = { .fetch = { .steps = good, .nsteps = 2, .nargs = 1, .kind = { PP_SIGNED } } };
	struct trampoline_consumer consumers[8];
	uint8_t depths[5], depths2[2];
	const uint64_t *data;

	set_up();
	one.depths = depths;
	two.depths = depths2;
	ck_assert(!fetch_check(&one.fetch, REGISTERS, depths) && !fetch_check(&two.fetch, REGISTERS, depths2));
	for (int i = 0; i < 8; i++)
		consumers[i] = (struct trampoline_consumer){
			.program = i % 2 ? &two : &one, .shm = shm, .index = 3, .slot = i
		};
	ck_assert_uint_gt(trampoline_ready(trampoline_compile(text + TEXT_TRAMPOLINE, (uintptr_t)text + TEXT_TRAMPOLINE,
	                                                      (uintptr_t)trampoline_site, consumers, 8, &image,
	                                                      (struct trampoline_table *)(text + TEXT_TABLE),
	                                                      (struct life *)(text + TEXT_LIFE))),
	                  0);
	new_stack();
	new_inputs();
	shm->record_until = AGENT_RECORD_ALWAYS;
	trampoline_registers[TRAMPOLINE_SCRATCH] = 0x1111;
	trampoline_registers[TRAMPOLINE_TWO] = 0x2222;
	trampoline_run();
	ck_assert_uint_eq(trampoline_got[TRAMPOLINE_SCRATCH], 0x1111);
	ck_assert_uint_eq(trampoline_got[TRAMPOLINE_TWO], 0x2222);
	ck_assert_uint_eq(ring->head, 4 * (32 + 24));
	data = (uint64_t *)((char *)ring + AGENT_DATA_IN_RING);
	for (int i = 0; i < 4; i++, data += 7) {
		ck_assert_uint_eq(data[1], 2 * i | 4ull << 32 | 1ull << 40);
		ck_assert_uint_eq(data[2], 0);
		ck_assert_uint_eq(data[3], 0x1111);
		ck_assert_uint_eq(data[5], (2 * i + 1) | 3ull << 32);
		ck_assert_uint_eq(data[6], 0x2222);
	}
}
END_TEST

/* Loads 8 bytes at an offset to a stack pointer, with or without system calls. */
struct end_case {
	char *sp;
	int64_t offset;
	bool calls;
};

/* Returns whether the load was a fault, after checking that it was right to be or not to be one. */
static bool load_at(const struct end_case *t)
{
	const struct record *r = (struct record *)((char *)ring + AGENT_DATA_IN_RING);
	const char *at = t->sp + t->offset;
	const bool mapped = at + 8 <= stack + TEST_STACK;
	const bool sure = at + 8 <= (char *)(((uintptr_t)t->sp - 1) & -PAGE) + PAGE;
	/* Farther away C decides, which knows the stack pointer only to some words. */
	const bool unclear = sure && !t->calls && t->offset > 248 && ((uintptr_t)t->sp & (PAGE - 1)) < 256;
	const long distance = stack + TEST_STACK - t->sp;
	uint64_t is;

	for (size_t k = 0; k < TEST_STACK; k += 8)
		*(uint64_t *)(stack + k) = (uintptr_t)stack + k;
	agent_thread.sure_low = agent_thread.sure_last = 0;
	ring->head = 0;
	ring->limit = AGENT_RING_SIZE;
	trampoline_registers[TRAMPOLINE_STACK] = (uintptr_t)t->sp;
	trampoline_run();
	is = r->value[0];
	ck_assert_uint_eq(ring->head, 24);
	if (unclear && r->faults)
		return true;
	if (mapped && (sure || t->calls))
		ck_assert_msg(!r->faults && is == (uintptr_t)at, "%lld(sp), sp %#lx below the end: %s, %#llx",
		              (long long)t->offset, distance, r->faults ? "fault" : "read", (unsigned long long)is);
	else
		ck_assert_msg(r->faults == 1 && !is, "%lld(sp), sp %#lx below the end: read, %#llx",
		              (long long)t->offset, distance, (unsigned long long)is);
	return r->faults;
}

/*
 * Without system calls, and with nothing known of the stack, a load near the stack
 * pointer is read if it is in the page of the byte below, and is a fault elsewhere, to
 * the last byte of a stack. With calls it is read wherever it is mapped.
 */
START_TEST(loads_stop_at_the_end_of_the_stack)
{
	static const int64_t offsets[] = { -8, 0, 8, 240, 1000 };
	struct fetch_step steps[] = { { FETCH_REG, TRAMPOLINE_STACK, 0, 0, 0 },
		                      { FETCH_IMM, 0, 0, 0, 0 },
		                      { FETCH_ADD, 0, 0, 0, 0 },
		                      { FETCH_LOAD, 8, 0, 0, 0 },
		                      { FETCH_ARG, 0, 0, 0, 0 } };
	struct interned_program program = { .fetch = {
						    .steps = steps, .nsteps = 5, .nargs = 1, .kind = { PP_SIGNED } } };
	uint8_t depths[5];
	long runs = 0, faults = 0;

	set_up();
	program.depths = depths;
	shm->record_until = AGENT_RECORD_ALWAYS;
	for (unsigned i = 0; i < 2 * sizeof(offsets) / sizeof(*offsets); i++) {
		struct end_case t = { .offset = offsets[i / 2], .calls = i & 1 && !no_vm_readv };

		if (t.offset < -RED_ZONE)
			continue; /* the trampoline itself writes there */
		steps[1].value = t.offset;
		agent.calls = t.calls;
		ck_assert(!fetch_check(&program.fetch, REGISTERS, depths));
		ck_assert_uint_gt(make_trampoline(&program, 1), 0);
		new_inputs();
		for (t.sp = stack + TEST_STACK - PAGE - 512; t.sp <= stack + TEST_STACK; t.sp += 16, runs++)
			faults += load_at(&t);
	}
	ck_assert_int_gt(runs - faults, 1000);
	ck_assert_int_gt(faults, 100);
}
END_TEST

/*
 * The agent asks the kernel once for pages of the thread's own stack, and then reads
 * them without a system call. It does not read beyond a guard page, on another stack,
 * or deeper than it has asked.
 */
START_TEST(own_stack_is_probed_once)
{
	struct fetch_step steps[] = { { FETCH_REG, TRAMPOLINE_ONE, 0, 0, 0 },
		                      { FETCH_LOAD, 8, 0, 0, 0 },
		                      { FETCH_ARG, 0, 0, 0, 0 } };
	struct interned_program program = { .fetch = {
						    .steps = steps, .nsteps = 3, .nargs = 1, .kind = { PP_SIGNED } } };
	const struct {
		int sp, at;
		bool calls, guard, other;
		int wanted;
	} hits[] = {
		{ 2 * PAGE + 512, 4 * PAGE + 64, false, false, false, 0 },
		{ 2 * PAGE + 512, 4 * PAGE + 64, true, false, false, 1 },
		{ 2 * PAGE + 512, 4 * PAGE + 64, false, false, false, 1 },
		{ 2 * PAGE + 512, 3 * PAGE - 4, false, false, false, 1 },
		{ 3 * PAGE + 512, 5 * PAGE - 8, false, false, false, 1 },
		{ 3 * PAGE + 512, 5 * PAGE - 4, false, false, false, 0 },
		{ 3 * PAGE + 512, 5 * PAGE + 8, false, false, false, 0 },
		{ 1 * PAGE + 2048, 4 * PAGE + 64, false, false, false, 0 },
		{ 2 * PAGE + 512, 4 * PAGE + 64, true, true, true, 0 },
		{ 2 * PAGE + 512, 5 * PAGE + 64, true, true, true, 1 },
		{ 2 * PAGE + 512, 5 * PAGE + 64, false, true, false, 0 },
		{ 2 * PAGE + 512, 3 * PAGE + 64, true, true, false, 1 },
		{ 2 * PAGE + 512, 3 * PAGE + 64, false, true, false, 1 },
	};
	uint8_t depths[3];

	set_up();
	if (no_vm_readv)
		return;
	program.depths = depths;
	ck_assert(!fetch_check(&program.fetch, REGISTERS, depths));
	ck_assert_uint_gt(make_trampoline(&program, 1), 0);
	shm->record_until = AGENT_RECORD_ALWAYS;
	agent.main_end = (uintptr_t)stack + TEST_STACK;
	agent.main_low = (uintptr_t)stack;
	agent_thread.sure_low = agent_thread.sure_last = 0;
	for (size_t i = 0; i < sizeof(hits) / sizeof(*hits); i++) {
		const struct record *r = (struct record *)((char *)ring + AGENT_DATA_IN_RING);

		new_inputs();
		if (hits[i].other)
			agent_thread.sure_low = agent_thread.sure_last = 0;
		agent.calls = hits[i].calls;
		ring->head = 0;
		ring->limit = AGENT_RING_SIZE;
		trampoline_registers[TRAMPOLINE_STACK] = (uintptr_t)stack + hits[i].sp;
		trampoline_registers[TRAMPOLINE_ONE] = (uintptr_t)stack + hits[i].at;
		mprotect(stack + 4 * PAGE, PAGE, hits[i].guard ? PROT_NONE : PROT_READ | PROT_WRITE);
		trampoline_run();
		mprotect(stack + 4 * PAGE, PAGE, PROT_READ | PROT_WRITE);
		ck_assert_msg((r->faults == 0) == hits[i].wanted, "hit %zu: %s", i, r->faults ? "fault" : "read");
		if (!r->faults)
			ck_assert(!memcmp(&r->value[0], stack + hits[i].at, 8));
	}
}
END_TEST

/* Writes invalid values again and again to all that a peer can write to. */
static void *scribble(void *unused)
{
	volatile uint64_t *data = (uint64_t *)((char *)ring + AGENT_DATA_IN_RING);
	uint64_t n = seed | 1;

	while (!scribbled_enough) {
		n ^= n << 13, n ^= n >> 7, n ^= n << 17;
		switch (n >> 60) {
		case 0: *(volatile uint64_t *)&ring->taken = n; break;
		case 1: *(volatile uint64_t *)&ring->limit = n >> 20; break;
		case 2: *(volatile uint64_t *)&ring->limit = ring->head + AGENT_RING_SIZE; break;
		case 3: *(volatile uint64_t *)&ring->taken = ring->limit - AGENT_RING_SIZE; break;
		case 4: *(volatile uint32_t *)&ring->turns = n; break;
		case 5: *(volatile uint64_t *)&ring->head = n >> 30 & ~7ull; break;
		default: /* point and words of a record of three words, and back */
			for (unsigned i = 0; i < 64; i++) {
				volatile uint64_t *word = &data[3 * ((n + i) % 9000) + 1];
				uint64_t was = *word;

				*word = n | 0x7fffffff;
				*word = was;
			}
		}
	}
	return unused;
}

START_TEST(invalid_ring_values_do_no_harm)
{
	struct fetch_step steps[] = { { FETCH_REG, TRAMPOLINE_TWO, 0, 0, 0 }, { FETCH_ARG, 0, 0, 0, 0 } };
	struct interned_program program = { .fetch = {
						    .steps = steps, .nsteps = 2, .nargs = 1, .kind = { PP_SIGNED } } };
	uint8_t depths[2];
	pthread_t thread;
	struct timespec from, now;
	uint64_t hits = 0;

	set_up();
	program.depths = depths;
	ck_assert(!fetch_check(&program.fetch, REGISTERS, depths));
	ck_assert_uint_gt(make_trampoline(&program, 7), 0);
	new_stack();
	new_inputs();
	shm->record_until = AGENT_RECORD_ALWAYS;
	shm->overwrite = 1;
	agent_thread.ring[3] = ring;
	clock_gettime(CLOCK_MONOTONIC, &from);
	ck_assert(!pthread_create(&thread, NULL, scribble, NULL));
	do {
		for (int i = 0; i < 20000; i++, hits++)
			trampoline_run();
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - from.tv_sec + (now.tv_nsec - from.tv_nsec) / 1e9 < (getenv("PROBEPOINT_LONG") ? 60 : 1));
	scribbled_enough = true;
	pthread_join(thread, NULL);
	ck_assert_uint_gt(hits, 10000);
	/* The next ring and the table of slots are unchanged. */
	for (size_t i = 0; i < AGENT_RING_SIZE; i++)
		ck_assert(!((char *)ring)[RING_STRIDE + AGENT_DATA_IN_RING + i] && !((char *)shm)[shm_slots_at + i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trampoline");
	TCase *tc = tcase_create("trampoline");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 1200);
	tcase_add_test(tc, trampolines_record_what_the_interpreter_does);
	tcase_add_test(tc, rates_are_what_the_model_lets_pass);
	tcase_add_test(tc, calls_are_what_the_interpreter_finds);
	tcase_add_test(tc, aggregates_are_what_the_interpreter_computes);
	tcase_add_test(tc, threads_and_handlers_add_to_one_table);
	tcase_add_test(tc, invalid_tables_do_no_harm);
	tcase_add_test(tc, hits_without_a_record_are_counted_by_reason);
	tcase_add_test(tc, hits_of_threads_without_a_ring_are_counted_in_shared_cells);
	tcase_add_test(tc, threads_do_not_share_a_ring);
	tcase_add_test(tc, each_consumer_of_a_site_records);
	tcase_add_test(tc, loads_stop_at_the_end_of_the_stack);
	tcase_add_test(tc, own_stack_is_probed_once);
	tcase_add_test(tc, invalid_ring_values_do_no_harm);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
