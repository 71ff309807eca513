/* SPDX-License-Identifier: MIT */
/* first */
/*
 * Random fetch programs, with and without predicates. The kernel runs them as BPF, and the reference interpreter runs
 * them, at the same hits of this program. Both must accept the same hits and produce identical records. So must the ends of
 * calls, whose begins a model keeps. Half of the programs differ from another one in constants only, because the kernel
 * backend emits their code only once.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "runtime/fetch/filter.h"
#include "runtime/kernel/emitter.h"
#include "runtime/kernel/link.h"
#include "sdt/image.h"
#include "tests/kernel/hit.h"

#define PROGRAM_REGISTERS 17
#include "tests/unit/interpreter.h"
#include "tests/unit/programs.h"
#include "tests/unit/expressions.h"
#include "tests/unit/rate.h"

#define PROGRAMS 60
#define HITS 6

/* Copies everything that the program refers to, so that it stays valid when the maker makes another program. */
static void program_keep(const struct maker *m, struct fetch_program *program)
{
	program->steps = malloc((m->p.nsteps + 1) * sizeof(*m->steps));
	memcpy(program->steps, m->steps, m->p.nsteps * sizeof(*m->steps));
	program->literals = malloc(sizeof(m->literals));
	memcpy(program->literals, m->literals, sizeof(m->literals));
}

static void make(struct maker *m, struct fetch_program *program)
{
	uint8_t depths[2048];

	make_program(m, program, depths);
	program_keep(m, program);
}

static union {
	struct record record;
	char room[RECORD_SIZE_MAX];
} wanted[PROGRAMS];

static uint64_t passed[PROGRAMS];

static void one_hit(struct armed *a, const struct fetch_program *programs, struct pp_counts *expected)
{
	struct fetch_machine machine = { .registers = registers, .read = hit_read, .pid = getpid(), .tid = getpid() };
	bool recorded[PROGRAMS] = { false }, got[PROGRAMS] = { false };
	const struct record_thread *thread;
	const struct record *record;
	char comm[16];
	size_t size;

	strcpy(comm, words[below(9)]);
	prctl(PR_SET_NAME, comm);
	machine.comm = comm;
	fill(memory, 2 * PAGE);
	new_registers();
	hit_run(registers);
	for (int i = 0; i < PROGRAMS; i++) {
		int result;

		machine.passed = &passed[i];
		result = fetch_run(&programs[i], &machine, &wanted[i].record);
		recorded[i] = result > 0;
		expected[i].hits++;
		expected[i].recorded += result > 0;
		expected[i].filtered += !result;
		expected[i].unsampled += result < 0;
	}
	while (backend_kernel.reader_next(a->reader, &thread, &record, &size) > 0) {
		const struct record *w;
		uint32_t i = record->point;

		ck_assert_uint_lt(i, PROGRAMS);
		ck_assert(!got[i]);
		got[i] = true;
		w = &wanted[i].record;
		if (!recorded[i] || record_words(record) != record_words(w) || record->faults != w->faults ||
		    size != 8u * record_words(w) || memcmp(record->value, w->value, 8 * record_words(w) - sizeof(*w))) {
			show(&programs[i], registers);
			if (recorded[i])
				show_record("interpreter", w);
			show_record("kernel", record);
			ck_abort_msg("seed %llu: interpreter and kernel differ", (unsigned long long)seed);
		}
		ck_assert_uint_eq(thread->pid, getpid());
		ck_assert_uint_eq(thread->tid, gettid());
		ck_assert_str_eq(thread->comm, comm);
	}
	for (int i = 0; i < PROGRAMS; i++)
		if (recorded[i] != got[i]) {
			show(&programs[i], registers);
			ck_abort_msg("seed %llu: the interpreter %s the hit, and the kernel does not",
			             (unsigned long long)seed, recorded[i] ? "records" : "filters");
		}
}

/* Arms the programs, runs hits, and releases the programs. Adds the number of recorded hits to *recorded. */
static void one_round(struct fetch_program *programs, long *recorded)
{
	struct pp_counts expected[PROGRAMS] = { 0 };
	unsigned every = below(2) ? 0 : 1 + below(4);
	struct armed a;

	memset(passed, 0, sizeof(passed));
	for (int i = 0; i < PROGRAMS; i++)
		programs[i].sample.every = every;
	arm_programs(&a, programs, PROGRAMS);
	for (int hit = 0; hit < HITS; hit++)
		one_hit(&a, programs, expected);
	for (int i = 0; i < PROGRAMS; i++) {
		struct pp_counts counts;

		backend_kernel.counts(a.attachment, i, &counts);
		ck_assert_uint_eq(counts.hits, HITS);
		ck_assert_mem_eq(&counts, &expected[i], sizeof(counts));
		*recorded += counts.recorded;
		fetch_release(&programs[i]);
	}
	disarm_programs(&a);
}

/* Checks that predicates accept some hits and reject others. */
static void check_recorded(long recorded, long all, long least)
{
	fprintf(stderr, "%ld of %ld runs recorded\n", recorded, all);
	ck_assert_int_gt(recorded, least);
	ck_assert_int_lt(recorded, all / 10 * 9);
}

START_TEST(as_interpreted)
{
	static struct fetch_program programs[PROGRAMS];
	static struct maker maker;
	int rounds = rounds_of(40, 3, 1000);
	long recorded = 0;

	stay_on_this_cpu();
	hit_open();
	map_memory();
	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < PROGRAMS; i++)
			if (i && below(2))
				make_alike(&programs[below(i)], &programs[i]);
			else
				make(&maker, &programs[i]);
		one_round(programs, &recorded);
	}
	check_recorded(recorded, (long)rounds * PROGRAMS * HITS, (long)rounds * PROGRAMS * HITS / 8);
}
END_TEST

/* ---- filters with fields, as filter_compile() makes them ---- */

START_TEST(fields_as_interpreted)
{
	static struct fetch_program programs[PROGRAMS];
	int rounds = rounds_of(16, 2, 100000 / PROGRAMS);
	long recorded = 0;

	stay_on_this_cpu();
	hit_open();
	map_memory();
	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < PROGRAMS; i++) {
			char text[4096], *end = text;

			put_expression(&end, below(4));
			ck_assert_msg(!fetch_compile(&filter_site, &programs[i]), "%s", pp_error());
			ck_assert_msg(!filter_compile(text, &filter_site, &programs[i]), "%s", pp_error());
		}
		one_round(programs, &recorded);
	}
	check_recorded(recorded, (long)rounds * PROGRAMS * HITS, (long)rounds * PROGRAMS * HITS / 20);
}
END_TEST

/* Strings of every length up to beyond the maximum, at the end of a page, in memory that contained longer ones. */
START_TEST(ends_of_strings)
{
	struct fetch_step steps[] = {
		{ FETCH_REG, 6, 0, 0, 0 },      { FETCH_STRING, 0, 0, 0, 127 }, { FETCH_REG, 7, 0, 0, 0 },
		{ FETCH_STRING, 1, 0, 0, 127 }, { FETCH_REG, 8, 0, 0, 0 },      { FETCH_STRING, 2, 0, 0, 127 },
		{ FETCH_REG, 9, 0, 0, 0 },      { FETCH_ARG, 3, 0, 0, 0 },
	};
	struct fetch_program program = {
		.steps = steps, .nsteps = 8, .nargs = 4, .kind = { PP_STRING, PP_STRING, PP_STRING }
	};
	const struct record_thread *thread;
	const struct record *record;
	struct armed a;
	size_t size;

	hit_open();
	map_memory();
	arm_programs(&a, &program, 1);
	for (unsigned length = 0; length <= 200; length++)
		for (int terminated = 0; terminated < 2; terminated++) {
			char *end = memory + 2 * PAGE, *at = end - length - terminated;
			unsigned stored = length < 128 ? length : 128, nwords = (stored + 7) / 8;
			bool good = terminated || length > 128;
			char padded[128] = { 0 };

			memset(memory, 'x', 2 * PAGE);
			memory[300] = 0;
			memset(at, 'a', length);
			if (terminated)
				end[-1] = 0;
			memset(padded, 'a', stored);
			registers[6] = registers[7] = registers[8] = (uint64_t)memory;
			registers[9] = 0x5555;
			hit_run(registers);
			ck_assert_int_eq(backend_kernel.reader_next(a.reader, &thread, &record, &size), 1);
			registers[6] = registers[8] = (uint64_t)at;
			hit_run(registers);
			ck_assert_int_eq(backend_kernel.reader_next(a.reader, &thread, &record, &size), 1);
			ck_assert_msg(record->faults == (good ? 0 : 5), "%u bytes%s: faults %#x", length,
			              terminated ? " and NUL" : "", record->faults);
			ck_assert_uint_eq(record->value[0], good ? stored : 0);
			ck_assert_uint_eq(record->value[1], 128);
			ck_assert_uint_eq(record->value[2], good ? stored : 0);
			ck_assert_uint_eq(record->value[3], 0x5555);
			ck_assert_uint_eq(record_words(record), 2 + 4 + 16 + (good ? 2 * nwords : 0));
			if (good) {
				ck_assert_mem_eq(&record->value[4], padded, 8 * nwords);
				ck_assert_mem_eq(&record->value[4 + nwords + 16], padded, 8 * nwords);
			}
			for (unsigned i = 0; i < 128; i++)
				ck_assert_int_eq(((char *)&record->value[4 + (good ? nwords : 0)])[i], 'x');
		}
	disarm_programs(&a);
}
END_TEST

/* ---- calls ---- */

#define CALLS 9      /* armed at a time */
#define CALL_HITS 24 /* of begins and ends */

/* A call in flight, as the model sees it. */
struct flying {
	uint64_t place; /* the stack pointer or the key */
	uint64_t entry[FETCH_ENTRY_MAX];
	uint32_t faults;
};

/*
 * The begin and the end of a call, armed in a session of their own, and a model of the calls in flight that follows the
 * rules of emit-calls.c for one thread.
 */
struct call_test {
	struct fetch_program programs[2]; /* of the begin and of the end */
	struct armed armed;
	struct flying flying[CALL_HITS];
	unsigned nflying;
	uint64_t passed;
	struct pp_counts begins, ends; /* expected */
};

static const struct pp_site *const call_sites[2] = { &hit_site, &hit_end_site };
static struct maker begin_maker, end_maker;

/* Such a program has scratch memory of its own, where call_duration() does not look. */
static bool has_long_string(const struct fetch_program *p)
{
	for (size_t i = 0; i < p->nsteps; i++)
		if ((p->steps[i].op == FETCH_STRING || p->steps[i].op == FETCH_STRINGN) &&
		    p->steps[i].value > RECORD_STRING_DEFAULT)
			return true;
	return false;
}

static void call_make(struct call_test *t, enum site_match match, unsigned every)
{
	static uint8_t depths[2048];

	*t = (struct call_test){ 0 };
	make_begin(&begin_maker, &t->programs[0], depths, match);
	nentries = t->programs[0].nargs;
	do {
		make_end(&end_maker, &t->programs[1], depths, &t->programs[0]);
	} while (has_long_string(&t->programs[1]));
	nentries = FETCH_ENTRY_MAX;
	for (int i = 0; i < 2; i++) {
		const struct maker *m = i ? &end_maker : &begin_maker;

		program_keep(m, &t->programs[i]);
		t->programs[i].sample.every = every;
	}
	arm_sites(&t->armed, call_sites, t->programs, 2, AGG_CELLS_DEFAULT, CALL_HITS);
	kernel_of(t->armed.session)->config->record_until = ~0ull; /* arming takes longer than a reader keeps it up */
}

static void call_release(struct call_test *t)
{
	disarm_programs(&t->armed);
	fetch_release(&t->programs[0]);
	fetch_release(&t->programs[1]);
}

/* Removes the calls from number i on, counted from the outermost one. */
static void call_abandon(struct call_test *t, unsigned i)
{
	t->begins.abandoned += t->nflying - i;
	t->nflying = i;
}

/* Applies a hit of the begin to the model. machine: the registers of the hit. */
static void call_begin(struct call_test *t, struct fetch_machine *machine)
{
	const struct fetch_program *p = &t->programs[0];
	struct flying call = { .place = machine->registers[4] };
	unsigned i = t->nflying;

	t->begins.entries++;
	fetch_run(p, machine, &wanted[0].record);
	if (p->match == MATCH_KEY && fetch_run_key(p, machine, &call.place)) {
		t->begins.missed++;
		return;
	}
	memcpy(call.entry, wanted[0].record.value, 8 * p->nargs);
	call.faults = wanted[0].record.faults;
	switch (p->match) {
	case MATCH_FRAME:
		while (i && t->flying[i - 1].place <= call.place)
			i--;
		call_abandon(t, i);
		break;
	case MATCH_KEY:
		for (i = 0; i < t->nflying; i++)
			if (t->flying[i].place == call.place) {
				t->flying[i] = call;
				t->begins.abandoned++;
				return;
			}
		break;
	default: break;
	}
	t->flying[t->nflying++] = call;
}

/* Returns the number of the call that ends, or -1. */
static int call_ended(struct call_test *t, const struct fetch_machine *machine)
{
	const struct fetch_program *p = &t->programs[1];
	unsigned i = t->nflying;
	uint64_t key;

	switch (p->match) {
	case MATCH_FRAME:
		while (i && t->flying[i - 1].place < machine->registers[4])
			i--;
		call_abandon(t, i);
		return (int)i - 1;
	case MATCH_KEY:
		if (fetch_run_key(p, machine, &key))
			return -1;
		for (i = 0; i < t->nflying; i++)
			if (t->flying[i].place == key)
				return i;
		return -1;
	default: return (int)i - 1;
	}
}

/* Returns the duration that the program computed for the last call of this thread that ended. */
static uint64_t call_duration(const struct call_test *t)
{
	static union {
		struct kernel_frames frames;
		char room[1 << 16];
	} storage;
	const struct kernel_attachment *s = t->armed.attachment->state;
	const bool has_key = t->programs[1].match == MATCH_KEY;
	const struct kernel_frames *frames = &storage.frames;
	int self = pidfd_open(getpid(), 0);
	uint64_t at;

	ck_assert_int_ge(self, 0);
	ck_assert(!bpf_map_lookup_elem(has_key ? s->session->scratch_fd : s->returns.frames, &self, &storage));
	close(self);
	if (has_key)
		return ((const struct kernel_frame *)(storage.room + SCRATCH_CALL))->time;
	at = frames->depth;
	if (t->programs[1].match == MATCH_THREAD)
		at = (frames->base + at) % s->returns.depth;
	return frames->frames[at].time;
}

static void call_fail(const struct call_test *t, const struct record *record, const char *what)
{
	show(&t->programs[0], registers);
	show(&t->programs[1], registers);
	show_record("interpreter", &wanted[0].record);
	if (record)
		show_record("kernel", record);
	ck_abort_msg("seed %llu: a call of match %d differs: %s", (unsigned long long)seed, t->programs[1].match, what);
}

/* Applies a hit of the end to the model, and compares the record of the hit. since: a time in ns before the first begin. */
static void call_end(struct call_test *t, struct fetch_machine *machine, uint64_t since)
{
	const struct fetch_program *p = &t->programs[1];
	const struct record_thread *thread;
	const struct record *record = NULL;
	int i, result = 0;
	size_t size;

	i = call_ended(t, machine);
	if (i < 0) {
		t->ends.unmatched++;
	} else {
		memcpy(machine->entry, t->flying[i].entry, sizeof(machine->entry));
		machine->entry_faults = t->flying[i].faults;
		machine->duration = call_duration(t);
		machine->passed = &t->passed;
		if (!machine->duration || machine->duration > clock_ns() - since)
			call_fail(t, NULL, "the duration, if the kernel has found the call at all");
		memmove(&t->flying[i], &t->flying[i + 1], (t->nflying - i - 1) * sizeof(t->flying[0]));
		t->nflying--;
		result = fetch_run(p, machine, &wanted[0].record);
		t->ends.hits++;
		t->ends.recorded += result > 0;
		t->ends.filtered += !result;
		t->ends.unsampled += result < 0;
	}
	if (backend_kernel.reader_next(t->armed.reader, &thread, &record, &size) <= 0)
		record = NULL;
	if (!record != !(result > 0))
		call_fail(t, record, record ? "the kernel records it" : "the kernel does not record it");
	if (record && (record->point != 1 || record_words(record) != record_words(&wanted[0].record) ||
	               record->faults != wanted[0].record.faults ||
	               memcmp(record->value, wanted[0].record.value, 8 * record_words(record) - sizeof(*record))))
		call_fail(t, record, "the records");
}

static void call_check_counts(struct call_test *t)
{
	struct pp_counts got;

	t->begins.under_way = t->nflying;
	backend_kernel.counts(t->armed.attachment, 0, &got);
	t->begins.recorded = got.recorded;
	if (memcmp(&got, &t->begins, sizeof(got))) {
		fprintf(stderr, "entries %lu missed %lu under way %lu abandoned %lu; expected %lu %lu %lu %lu\n",
		        (long)got.entries, (long)got.missed, (long)got.under_way, (long)got.abandoned,
		        (long)t->begins.entries, (long)t->begins.missed, (long)t->begins.under_way,
		        (long)t->begins.abandoned);
		call_fail(t, NULL, "the counts of the begin");
	}
	backend_kernel.counts(t->armed.attachment, 1, &got);
	if (memcmp(&got, &t->ends, sizeof(got)))
		call_fail(t, NULL, "the counts of the end");
}

/* A hit of all begins or of all ends. */
static void calls_hit(struct call_test *tests, uint64_t since)
{
	struct fetch_machine machine = { .registers = registers, .read = hit_read, .pid = getpid(), .tid = getpid() };
	const bool begins = below(7) < 4;
	char comm[16];

	strcpy(comm, words[below(9)]);
	prctl(PR_SET_NAME, comm);
	machine.comm = comm;
	if (!below(4))
		fill(memory, 2 * PAGE);
	if (!below(3))
		new_registers();
	registers[4] = (uint64_t)memory + 8 * below(4);
	registers[16] = (uint64_t)(begins ? hit_here : hit_end_here);
	if (begins)
		hit_run(registers);
	else
		hit_end_run(registers);
	for (int i = 0; i < CALLS; i++) {
		if (begins)
			call_begin(&tests[i], &machine);
		else
			call_end(&tests[i], &machine, since);
	}
}

START_TEST(calls_as_interpreted)
{
	static const enum site_match matches[] = { MATCH_FRAME, MATCH_THREAD, MATCH_KEY };
	static struct call_test tests[CALLS];
	int rounds = rounds_of(4, 1, 400);
	long recorded = 0, all = 0;

	stay_on_this_cpu();
	hit_open();
	hit_site.role = SITE_CALL;
	hit_end_site.role = SITE_LEAVE;
	map_memory();
	for (int round = 0; round < rounds; round++) {
		unsigned every = below(2) ? 0 : 1 + below(4);
		uint64_t since = clock_ns();

		fill(memory, 2 * PAGE);
		new_registers();
		for (int i = 0; i < CALLS; i++)
			call_make(&tests[i], matches[i % 3], every);
		for (int hit = 0; hit < CALL_HITS; hit++)
			calls_hit(tests, since);
		for (int i = 0; i < CALLS; i++) {
			call_check_counts(&tests[i]);
			recorded += tests[i].ends.recorded;
			all += tests[i].begins.entries;
			call_release(&tests[i]);
		}
	}
	check_recorded(recorded, all, all / 50);
}
END_TEST

/* Begins of two calls with the same stack pointer, as of functions that are inlined into one, do not end each other. */
START_TEST(inlined_calls_nest)
{
	static const struct pp_site *const sites[] = { &hit_site, &hit_end_site, &hit_site, &hit_end_site };
	struct fetch_program programs[4] = { { .role = SITE_CALL, .match = MATCH_FRAME },
		                             { .role = SITE_LEAVE, .match = MATCH_FRAME },
		                             { .role = SITE_CALL, .match = MATCH_FRAME },
		                             { .role = SITE_LEAVE, .match = MATCH_FRAME } };
	const unsigned hits = 5;
	struct armed a;

	hit_open();
	hit_site.role = SITE_CALL;
	hit_end_site.role = SITE_LEAVE;
	map_memory();
	arm_sites(&a, sites, programs, 4, AGG_CELLS_DEFAULT, 2 * CALL_HITS);
	new_registers();
	registers[4] = (uint64_t)memory;
	for (unsigned i = 0; i < hits; i++)
		hit_run(registers);
	for (int begin = 0; begin <= 2; begin += 2) {
		struct pp_counts counts;

		backend_kernel.counts(a.attachment, begin, &counts);
		ck_assert_uint_eq(counts.entries, hits);
		ck_assert_uint_eq(counts.under_way, hits);
		ck_assert_uint_eq(counts.abandoned + counts.missed, 0);
	}
	disarm_programs(&a);
}
END_TEST

/* ---- memory of threads ---- */

/* Another map with an element of this thread, which another thread adds and removes all the time. */
struct racer {
	int map, task;
	cpu_set_t cpus; /* all but that of the hits */
	atomic_bool is_over;
	unsigned long refused; /* by the kernel: another element was removed meanwhile */
};

static void *racer_run(void *arg)
{
	struct racer *r = arg;
	const char value = 0;

	sched_setaffinity(0, sizeof(r->cpus), &r->cpus); /* fails if there is one CPU only */
	while (!r->is_over) {
		r->refused += bpf_map_update_elem(r->map, &r->task, &value, 0) && errno == EAGAIN;
		bpf_map_delete_elem(r->map, &r->task);
	}
	return NULL;
}

/* Hits the site. The thread has no memory of the session before. */
static void hit_without_memory(const struct armed *a, const struct racer *r, void (*run)(const uint64_t *))
{
	const struct kernel_attachment *s = a->attachment->state;

	bpf_map_delete_elem(s->session->scratch_fd, &r->task);
	if (s->returns.frames >= 0)
		bpf_map_delete_elem(s->returns.frames, &r->task);
	run(registers);
}

/*
 * The kernel refuses to create the memory of a thread while it removes the thread's last element of any task storage. Programs
 * then ask again. Begins with a key and their ends are hit without memory. Returns how many were missed or unmatched.
 */
static unsigned long create_memory(struct racer *r, int hits)
{
	struct fetch_step key[] = { { .op = FETCH_IMM, .value = 4711 } };
	struct fetch_program programs[2] = {
		{ .role = SITE_CALL, .match = MATCH_KEY, .steps = key, .nsteps = 1, .nkey = 1 },
		{ .role = SITE_LEAVE, .match = MATCH_KEY, .steps = key, .nsteps = 1, .nkey = 1 },
	};
	struct pp_counts begins, ends;
	struct armed a;
	pthread_t thread;

	arm_sites(&a, call_sites, programs, 2, AGG_CELLS_DEFAULT, CALL_HITS);
	r->is_over = false;
	ck_assert(!pthread_create(&thread, NULL, racer_run, r));
	new_registers();
	for (int i = 0; i < hits; i++) {
		hit_without_memory(&a, r, hit_run);
		hit_without_memory(&a, r, hit_end_run);
	}
	r->is_over = true;
	pthread_join(thread, NULL);
	backend_kernel.counts(a.attachment, 0, &begins);
	backend_kernel.counts(a.attachment, 1, &ends);
	fprintf(stderr, "the racer was refused %lu times; begins missed %lu, ends unmatched %lu\n", r->refused,
	        (unsigned long)begins.missed, (unsigned long)ends.unmatched);
	ck_assert_uint_eq(begins.entries, hits);
	ck_assert_uint_eq(ends.hits + ends.unmatched, hits);
	disarm_programs(&a);
	return begins.missed + ends.unmatched;
}

/*
 * Programs that ask once miss some in each attempt. Those that ask again miss some only if the racer loses its CPU while it holds the
 * kernel's lock, as in a virtual machine.
 */
START_TEST(memory_is_created)
{
	struct racer r = { .map = kernel_task_storage("racer", 1), .task = pidfd_open(getpid(), 0) };
	unsigned long missed = 1;

	ck_assert(r.map >= 0 && r.task >= 0);
	ck_assert(!sched_getaffinity(0, sizeof(r.cpus), &r.cpus));
	stay_on_this_cpu();
	CPU_CLR(sched_getcpu(), &r.cpus);
	hit_open();
	hit_site.role = SITE_CALL;
	hit_end_site.role = SITE_LEAVE;
	for (int attempt = 0; missed && attempt < 5; attempt++)
		missed = create_memory(&r, rounds_of(20000, 1000, 1000000));
	ck_assert_uint_eq(missed, 0);
	close(r.map);
	close(r.task);
}
END_TEST

/* ---- rates ---- */

/* Waits, hits, and compares the counters with the model. */
static void rate_hit(struct rate_model *m, struct armed *a, const struct pp_counts *before)
{
	uint64_t from = clock_ns(), to = from + rate_pause(m, 300000);
	struct pp_counts after;

	while (from < to)
		from = clock_ns();
	hit_run(registers);
	to = clock_ns();
	backend_kernel.counts(a->attachment, 0, &after);
	ck_assert_uint_eq(after.hits, before->hits + 1);
	ck_assert_uint_eq(after.recorded + after.unsampled, after.hits);
	rate_check(m, (int64_t)from, (int64_t)to, after.recorded > before->recorded);
}

/* The kernel lets as many hits pass as the model, of those that are chosen by --every. */
START_TEST(rates_as_modelled)
{
	struct fetch_step steps[] = { { FETCH_REG, 7, 0, 0, 0 }, { FETCH_ARG, 0, 0, 0, 0 } };
	int rounds = rounds_of(8, 2, 300);
	long npassed = 0, nstopped = 0, nunknown = 0;

	stay_on_this_cpu();
	hit_open();
	map_memory();
	new_registers();
	for (int round = 0; round < rounds; round++) {
		/* The first rate is so low that hits are stopped on an emulated CPU, too. */
		const uint32_t rate = 1 + below(round ? 1u << below(20) : 10);
		const int64_t interval = 1000000000 / rate, tenth = 100000000;
		struct rate_model m = { .interval = interval, .room = tenth > interval ? tenth - interval : 0 };
		struct fetch_program program = { .steps = steps,
			                         .nsteps = 2,
			                         .nargs = 1,
			                         .kind = { PP_UNSIGNED },
			                         .size = { 8 },
			                         .sample.rate = rate };
		const unsigned hits = 100 + below(700);
		struct armed a;

		program.sample.every = below(2) ? 0 : 1 + below(3);
		arm_programs(&a, &program, 1);
		kernel_of(a.session)->config->record_until = ~0ull;
		for (unsigned hit = 1; hit <= hits; hit++) {
			struct pp_counts before, after;

			backend_kernel.counts(a.attachment, 0, &before);
			if (program.sample.every > 1 && hit % program.sample.every) {
				hit_run(registers);
				backend_kernel.counts(a.attachment, 0, &after);
				ck_assert_uint_eq(after.unsampled, before.unsampled + 1);
				continue;
			}
			rate_hit(&m, &a, &before);
		}
		npassed += m.npassed;
		nstopped += m.nstopped;
		nunknown += m.nunknown;
		disarm_programs(&a);
	}
	fprintf(stderr, "%ld hits passed, %ld were stopped, and %ld were too close to tell\n", npassed, nstopped,
	        nunknown);
	ck_assert_int_gt(npassed, 0);
	ck_assert_int_gt(nstopped, 0);
}
END_TEST

/* ---- the stack and the time of verification, as the verifier measures them ---- */

/* Returns the bytes of stack. *steps: the instructions that the verifier has processed. */
static int stack_of(enum bpf_prog_type prog_type, const struct emitted *emitted, struct bpf_prog_load_opts *opts,
                    unsigned *steps)
{
	static char log[1 << 16];
	char *at;
	int fd;

	opts->log_buf = log;
	opts->log_size = sizeof(log);
	opts->log_level = 4; /* BPF_LOG_STATS */
	fd = bpf_prog_load(prog_type, "check", "Dual MIT/GPL", emitted->insns, emitted->ninsns, opts);
	ck_assert_msg(fd >= 0, "%s: %s", strerror(errno), log);
	close(fd);
	at = strstr(log, "processed ");
	ck_assert_msg(at && sscanf(at, "processed %u insns", steps) == 1, "%s", log);
	at = strstr(log, "stack depth ");
	ck_assert_msg(at && !strchr(at, '+'), "%s", log);
	return atoi(at + strlen("stack depth "));
}

static void check_role(const struct emit_maps *maps, const struct fetch_program *const *programs, size_t n)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_SLEEPABLE,
	            .expected_attach_type = link_multi_supported() ? UPROBE_MULTI_ATTACH_TYPE : 0);
	struct emit_specs specs;
	struct emitted emitted;
	unsigned steps;
	int depth;

	ck_assert_msg(!emit_specs_open(&specs, programs, n), "%s", pp_error());
	ck_assert_msg(!emit_program(&specs, maps, 0, 1, &emitted), "%s", pp_error());
	emit_specs_close(&specs);
	ck_assert_msg(!emit_check_stack(emitted.insns, emitted.ninsns), "%s", pp_error());
	depth = stack_of(BPF_PROG_TYPE_KPROBE, &emitted, &opts, &steps);
	ck_assert_msg(depth > 0 && depth <= 48, "seed %llu: %d bytes of stack", (unsigned long long)seed, depth);
	free(emitted.insns);
}

START_TEST(stack)
{
	static struct fetch_program programs[PROGRAMS];
	static struct maker maker;
	const struct fetch_program *pointers[PROGRAMS];
	struct fetch_program leave = { .role = SITE_LEAVE }, call = { .role = SITE_CALL };
	struct kernel_session k = { .pins = { -1, -1, "" } };
	struct kernel_scope scope = { .kind = SCOPE_PGRP };
	unsigned steps;
	int id = libbpf_find_vmlinux_btf_id("sched_process_exit", BPF_TRACE_RAW_TP);
	LIBBPF_OPTS(bpf_prog_load_opts, hook, .expected_attach_type = BPF_TRACE_RAW_TP, .attach_btf_id = id);
	struct emitted emitted;

	k.config_fd = k.ring_fd = k.handover_fd = k.scratch_fd = -1;
	ck_assert_msg(!kernel_maps_create(&k, 0), "%s", pp_error());
	scope.map = kernel_map_create(BPF_MAP_TYPE_HASH, "members", 4, 4, 1, 0);

	struct emit_maps maps = {
		.config = k.config_fd,
		.ring = k.ring_fd,
		.handover = k.handover_fd,
		.scratch = kernel_task_storage("scratch", SCRATCH_SIZE(RECORD_STRINGS_MAX, RECORD_STRING_MAX)),
		.depth = 100,
		.counts = kernel_map_create(BPF_MAP_TYPE_ARRAY, "counts", 4, sizeof(struct kernel_counts), 1, 0),
		.control = kernel_map_create(BPF_MAP_TYPE_ARRAY, "switch", 4, sizeof(struct kernel_control), 1, 0),
		.processes = kernel_map_create(BPF_MAP_TYPE_HASH, "processes", sizeof(struct kernel_process), 8, 1, 0),
		.calls = kernel_map_create(BPF_MAP_TYPE_ARRAY, "calls", 4, sizeof(struct kernel_calls), 1, 0),
		.starts = kernel_map_create(BPF_MAP_TYPE_HASH, "starts", sizeof(struct kernel_start),
		                            sizeof(struct kernel_frame), 16, BPF_F_NO_PREALLOC),
		.frames = kernel_task_storage("frames", offsetof(struct kernel_frames, frames[100])),
		.scope = &scope,
	};

	for (int i = 0; i < PROGRAMS; i++) {
		make(&maker, &programs[i]);
		pointers[i] = &programs[i];
	}
	check_role(&maps, pointers, PROGRAMS);
	pointers[0] = &call;
	check_role(&maps, pointers, 1);
	pointers[0] = &leave;
	check_role(&maps, pointers, 1);
	for (int match = MATCH_FRAME; match <= MATCH_RETURN; match++) {
		/* With a key: a string that is hashed. */
		struct fetch_step key[] = { { .op = FETCH_IMM, .value = 4096 }, { .op = FETCH_HASH } };
		bool has_key = match == MATCH_KEY;

		leave.match = match;
		leave.steps = key;
		leave.nsteps = leave.nkey = has_key ? 2 : 0;
		check_role(&maps, pointers, 1);
		if (match == MATCH_RETURN)
			break;
		call.match = match;
		call.steps = key;
		call.nsteps = call.nkey = leave.nkey;
		pointers[0] = &call;
		check_role(&maps, pointers, 1);
		pointers[0] = &leave;
	}
	ck_assert_msg(!emit_abandon(&maps, &emitted), "%s", pp_error());
	ck_assert_int_le(stack_of(BPF_PROG_TYPE_TRACING, &emitted, &hook, &steps), 48);
	/* 3145 in Linux 6.18, of a loop of 100 rounds. With three ways back to the loop there were 25 times as many. */
	ck_assert_uint_le(steps, 20000);
	free(emitted.insns);
}
END_TEST

/* A program with more stack is not loaded, because it would run on a per-CPU stack, which other threads overwrite. */
START_TEST(too_much_stack)
{
	const struct bpf_insn stores[] = { BPF_ST_MEM(BPF_DW, BPF_REG_10, -56, 0), BPF_MOV64_IMM(BPF_REG_0, 0),
		                           BPF_EXIT_INSN() };
	const struct bpf_insn passes[] = { BPF_MOV64_REG(BPF_REG_1, BPF_REG_10), BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, -64),
		                           BPF_MOV64_IMM(BPF_REG_0, 0), BPF_EXIT_INSN() };

	ck_assert_int_eq(link_program(stores, 3), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pp_error(), "internal error"));
	ck_assert_int_eq(tracepoint_attach("sched_process_exit", stores, 3), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pp_error(), "internal error"));
	ck_assert_int_eq(link_program(passes, 4), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pp_error(), "internal error"));
}
END_TEST

/* ---- labels ---- */

START_TEST(jumps_reach_labels)
{
	struct emitter e = { 0 };
	label back = label_new(&e), forward = label_new(&e);
	struct emitted program;

	label_place(&e, back);
	emit(&e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_1, 7, forward));
	emit_imm64(&e, BPF_REG_1, 1ll << 40); /* two instructions, the second with opcode 0 */
	emit(&e, BPF_JMP_REG(BPF_JGT, BPF_REG_1, BPF_REG_2, back));
	emit(&e, BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns));
	label_place(&e, forward);
	emit_exit(&e);
	ck_assert_msg(!emitter_finish(&e, &program), "%s", pp_error());
	ck_assert_uint_eq(program.ninsns, 7);
	ck_assert_int_eq(program.insns[0].off, 4);
	ck_assert_int_eq(program.insns[3].off, -4);
	ck_assert_int_eq(program.insns[4].off, 0);
	ck_assert_int_eq(program.insns[4].imm, BPF_FUNC_ktime_get_ns);
	free(program.insns);
}
END_TEST

START_TEST(too_long)
{
	struct emitter far = { 0 }, many = { 0 };
	label end = label_new(&far);
	struct emitted program;

	emit(&far, BPF_JMP_A(end));
	for (int i = 0; i <= INT16_MAX; i++)
		emit(&far, BPF_MOV64_IMM(BPF_REG_0, 0));
	label_place(&far, end);
	emit_exit(&far);
	ck_assert_int_eq(emitter_finish(&far, &program), -E2BIG);
	for (int i = 0; i <= INT16_MAX + 1; i++)
		label_new(&many);
	emit_exit(&many);
	ck_assert_int_eq(emitter_finish(&many, &program), -E2BIG);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("emit");
	TCase *tc = tcase_create("emit");
	SRunner *runner = srunner_create(suite);
	int failed = need_kernel();

	if (failed)
		return failed;
	seed_set();
	tcase_set_timeout(tc, 3600);
	tcase_add_test(tc, as_interpreted);
	tcase_add_test(tc, fields_as_interpreted);
	tcase_add_test(tc, calls_as_interpreted);
	tcase_add_test(tc, inlined_calls_nest);
	tcase_add_test(tc, memory_is_created);
	tcase_add_test(tc, rates_as_modelled);
	tcase_add_test(tc, ends_of_strings);
	tcase_add_test(tc, stack);
	tcase_add_test(tc, too_much_stack);
	tcase_add_test(tc, jumps_reach_labels);
	tcase_add_test(tc, too_long);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
