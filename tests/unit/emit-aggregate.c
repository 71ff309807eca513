/* SPDX-License-Identifier: MIT */
/*
 * Random aggregates. The kernel computes them as BPF, and the reference interpreter computes them, at the same hits of this
 * program. Both must have the same cells and count the same values as unread. If the kernel's table is full, the values of
 * the cells that it does not have must be those that it counts as `other`.
 */
#include <bpf/bpf.h>
#include <sched.h>
#include <stdalign.h>
#include <sys/prctl.h>

#include "runtime/fetch/aggregate.h"
#include "runtime/fetch/filter.h"
#include "runtime/kernel/emitter.h"

#define PROGRAM_REGISTERS 17
#include "tests/unit/interpreter.h"
#include "tests/unit/programs.h"
#include "tests/unit/expressions.h"

#define PROGRAMS 50
#define HITS 24

/* ---- random programs ---- */

/* Often the bounds are close to small_value(). */
static void random_column(struct agg_column *column)
{
	bool small = below(2);

	do {
		uint64_t step = 1 + (small ? below(3) : interesting() >> 24), n = 1 + below(small ? 4 : AGG_LINEAR_MAX);

		*column = (struct agg_column){ .histogram = below(4), .is_unsigned = below(2) };
		if (column->histogram != AGG_LINEAR)
			return;
		column->low = small ? (int64_t)below(5) - 2 : (int64_t)interesting();
		column->step = (int64_t)step;
		column->high = (int64_t)((uint64_t)column->low + n * step - below(step > 1000 ? 1000 : (unsigned)step));
	} while (!agg_column_is_valid(column));
}

/* Pushes a value that is often equal to that of another hit. */
static void small_value(struct maker *m)
{
	m->budget = below(6);
	expression(m);
	if (below(3)) {
		step(m, FETCH_IMM, 0, 0, 0, 1 + below(4));
		step(m, FETCH_MOD, 0, 0, 0, 0);
	}
}

static void random_part(struct maker *m, struct fetch_aggregate *a)
{
	uint8_t i = a->nparts++;
	int kind = below(4);

	a->parts[i].kind = kind < 2 ? PP_SIGNED : PP_STRING;
	if (kind < 2) {
		small_value(m);
		step(m, FETCH_KEY, i, 0, 0, 0);
	} else if (kind == 2) {
		address_expression(m);
		step(m, FETCH_KEYSTR, i, 0, 0, 0);
	} else {
		step(m, FETCH_KEYCOMM, i, 0, 0, 0);
	}
}

static void random_aggregate(struct maker *m, struct fetch_aggregate *a)
{
	for (unsigned n = below(AGG_PARTS_MAX + 1); n; n--)
		random_part(m, a);
	for (unsigned n = 1 + below(below(4) ? 3 : AGG_COLUMNS_MAX); n; n--) {
		random_column(&a->columns[a->ncolumns]);
		m->budget = below(10);
		if (below(8) == 0)
			step(m, FETCH_CPU, 0, 0, 0, 0);
		else if (below(2))
			small_value(m);
		else
			expression(m);
		step(m, FETCH_AGG, (int)a->ncolumns++, 0, 0, 0);
	}
}

/* Makes a program of random steps: perhaps a predicate, an aggregate and an argument. */
static void make_with(struct fetch_program *program, void (*aggregate)(struct maker *, struct fetch_aggregate *),
                      bool predicate)
{
	static struct maker m;
	struct fetch_aggregate *a = calloc(1, sizeof(*a));
	uint8_t depths[2048];

	memset(&m, 0, sizeof(m));
	m.predicate = true;
	if (predicate) {
		m.budget = below(12);
		expression(&m);
		step(&m, FETCH_TEST, 0, 0, 0, 0);
		m.p.npredicate = m.p.nsteps;
	}
	aggregate(&m, a);
	m.p.naggregate = m.p.nsteps - m.p.npredicate;
	a->text = strdup("steps");
	step(&m, FETCH_IMM, 0, 0, 0, 7);
	step(&m, FETCH_ARG, 0, 0, 0, 0);
	*program = m.p;
	program->aggregate = a;
	program->nargs = 1;
	program->kind[0] = PP_UNSIGNED;
	program->size[0] = 8;
	program->steps = malloc(m.p.nsteps * sizeof(*m.steps));
	memcpy(program->steps, m.steps, m.p.nsteps * sizeof(*m.steps));
	program->literals = malloc(sizeof(m.literals));
	memcpy(program->literals, m.literals, sizeof(m.literals));
	ck_assert_msg(!fetch_check(program, PROGRAM_REGISTERS, depths), "seed %llu: %s", (unsigned long long)seed,
	              pp_error());
}

static void make_steps(struct fetch_program *program)
{
	make_with(program, random_aggregate, below(2));
}

/* ---- random programs without scratch memory ---- */

/*
 * Pushes a value by steps that keep one value on the stack, and can be an address. The last register, the program
 * counter, is left out: with a constant added it can be the address of a counter of this program, which changes between
 * the hit and the interpreter's turn. Addresses in other registers are far from this program (map_memory()).
 */
static void light_value(struct maker *m)
{
	switch (below(6)) {
	case 0: step(m, FETCH_CPU, 0, 0, 0, 0); break;
	case 1: step(m, below(2) ? FETCH_PID : FETCH_TID, 0, 0, 0, 0); break;
	case 2: step(m, FETCH_IMM, 0, 0, 0, below(2) ? 0 : interesting()); break;
	default: step(m, FETCH_REG, below(PROGRAM_REGISTERS - 1), 0, 0, 0);
	}
	for (unsigned n = below(4); n; n--) {
		int size = 1 << below(4);

		switch (below(5)) {
		case 0: step(m, FETCH_LOAD, size, 0, below(2), 0); break;
		case 1: step(m, FETCH_EXTEND, size, below(64 - 8 * size + 1), below(2), 0); break;
		case 2: step(m, FETCH_NOT + below(3), 0, 0, below(2), 0); break;
		default:
			step(m, FETCH_IMM, 0, 0, 0, below(2) ? below(5) : interesting());
			step(m, FETCH_ADD + below(FETCH_LE - FETCH_ADD + 1), 0, 0, below(2), 0);
		}
	}
}

static void light_aggregate(struct maker *m, struct fetch_aggregate *a)
{
	if (below(2)) {
		a->parts[a->nparts++].kind = PP_SIGNED;
		light_value(m);
		step(m, FETCH_KEY, 0, 0, 0, 0);
	}
	for (unsigned n = 1 + below(3); n; n--) {
		random_column(&a->columns[a->ncolumns]);
		light_value(m);
		step(m, FETCH_AGG, (int)a->ncolumns++, 0, 0, 0);
	}
}

static void make_light(struct fetch_program *program)
{
	struct emit_maps maps = { .key_size = 16 };
	struct emitter e = { .role = SITE_HIT, .maps = &maps };

	make_with(program, light_aggregate, false);
	ck_assert(aggregate_is_light(&e, program));
}

/* ---- random texts ---- */

static void put_call(char **to)
{
	static const char *const functions[] = { "sum", "min", "max", "avg", "hist", "pct" };
	unsigned function = below(8);

	if (function == 7) {
		*to += sprintf(*to, "count()");
		return;
	}
	*to += sprintf(*to, "%s(", function == 6 ? "lhist" : functions[function]);
	put_expression(to, below(3));
	if (function == 6) {
		unsigned low = below(below(2) ? 3 : 1000), step = 1 + below(below(2) ? 3 : 1000);

		*to += sprintf(*to, ", %u, %u, %u", low, low + 1 + below(step * AGG_LINEAR_MAX - 1), step);
	}
	*to += sprintf(*to, ")");
}

static void put_key(char **to)
{
	static const char *const keys[] = { "r->s", "q->t", "r->t", "comm", "cpu", "pid", "e", "tid", "q->s" };
	unsigned key = below(2 * sizeof(keys) / sizeof(*keys));

	if (key < sizeof(keys) / sizeof(*keys))
		*to += sprintf(*to, "%s", keys[key]);
	else
		put_expression(to, below(2));
}

static void put_aggregate(char *text)
{
	char *to = text;
	unsigned ncalls = 1 + below(4), nkeys = below(AGG_PARTS_MAX + 1);

	for (unsigned i = 0; i < ncalls; i++) {
		to += sprintf(to, "%s", i ? ", " : "");
		put_call(&to);
	}
	for (unsigned i = 0; i < nkeys; i++) {
		to += sprintf(to, "%s", i ? ", " : " by ");
		put_key(&to);
	}
}

static void make_text(struct fetch_program *program)
{
	char text[4096], filter[4096], *end = filter;

	do
		put_aggregate(text);
	while (strlen(text) > AGGREGATE_LENGTH_MAX);
	put_expression(&end, below(3));
	ck_assert_msg(!fetch_compile(&filter_site, program), "%s", pp_error());
	if (below(3) == 0)
		ck_assert_msg(!filter_compile(filter, &filter_site, program), "%s", pp_error());
	ck_assert_msg(!aggregate_compile(text, &filter_site, program), "%s", pp_error());
}

/* What is checked for each value or cell is not an assertion, because check writes a message for each assertion that holds. */

/* ---- what the interpreter computes ---- */

struct expected {
	const struct fetch_program *program;
	size_t key_size; /* of its own keys */
	struct expected_cell {
		alignas(struct agg_key) uint8_t key[AGG_KEY_SIZE_MAX]; /* struct agg_key with its parts */
		struct agg_cell cell;
		bool found;
	} * cells;
	size_t n, room;
	struct agg_misfit misfits[AGG_COLUMNS_MAX];
	uint64_t hits, filtered, added[AGG_COLUMNS_MAX]; /* added: to the kernel's cells */
};

static struct expected expected[PROGRAMS];

static struct expected_cell *expected_find(struct expected *x, const void *key)
{
	for (size_t i = 0; i < x->n; i++)
		if (!memcmp(x->cells[i].key, key, x->key_size))
			return &x->cells[i];
	return NULL;
}

static void expected_add(void *arg, unsigned column, const uint8_t *parts, size_t size, uint64_t value, bool unread)
{
	struct expected *x = arg;
	const struct agg_column *c = &x->program->aggregate->columns[column];
	struct agg_cell one = { 1, value, (int64_t)value, (int64_t)value };
	struct agg_key key = { .group = (uint32_t)(x - expected), .column = column, .bucket = agg_bucket(c, value) };
	struct expected_cell new = { .found = false }, *cell;

	if (unread) {
		x->misfits[column].unread++;
		return;
	}
	if (size != x->key_size - sizeof(struct agg_key))
		ck_abort_msg("the key has %zu bytes instead of %zu", size, x->key_size - sizeof(struct agg_key));
	memcpy(new.key, &key, sizeof(key));
	memcpy(new.key + sizeof(key), parts, size);
	cell = expected_find(x, new.key);
	if (!cell) {
		if (x->n == x->room) {
			x->room = 2 * x->room + 16;
			x->cells = realloc(x->cells, x->room * sizeof(*x->cells));
			ck_assert_ptr_nonnull(x->cells);
		}
		cell = &x->cells[x->n++];
		*cell = new;
	}
	agg_cell_add(c, &cell->cell, &one);
}

static void expected_open(struct expected *x, const struct fetch_program *program)
{
	*x = (struct expected){ .program = program, .key_size = sizeof(struct agg_key) };
	for (size_t i = 0; i < program->aggregate->nparts; i++)
		x->key_size += agg_part_size(program->aggregate->parts[i].kind);
}

/* ---- hits ---- */

#define STRUCTS 4

static char *struct_at(unsigned i)
{
	return memory + 512 * (size_t)i;
}

/* Returns the address of a string, often one whose length is about that of a key's string. */
static const char *some_string(void)
{
	unsigned length = 60 + below(8), terminated = below(4) != 0;
	char *end = memory + 2 * PAGE, *at = end - length - terminated;

	if (below(3) == 0)
		return words[below(NWORDS)];
	memset(at, 'a' + (int)below(2), length);
	if (terminated)
		end[-1] = 0;
	return at;
}

/* Writes the pointers of a structure of type `struct r`, and of the memory that 8(%rsi) reads. */
static void struct_fill(unsigned i)
{
	const char *string = some_string(), *other = struct_at(below(STRUCTS));

	memcpy(struct_at(i) + 16, &string, sizeof(string));
	memcpy(struct_at(i) + 8, &other, sizeof(other));
}

/* Changes all registers and the memory, or few, so that keys repeat. */
static void next_registers(int hit)
{
	if (!hit || below(4) == 0) {
		fill(memory, 2 * PAGE);
		new_registers();
		for (unsigned i = 0; i < STRUCTS; i++)
			struct_fill(i);
	}
	for (unsigned n = below(3); n; n--) {
		unsigned r = below(16);

		registers[r] = below(2) ? some_address() : interesting();
	}
	struct_fill(below(STRUCTS));
	for (unsigned r = 6; r < 8; r++)
		if (below(8))
			registers[r] = (uint64_t)struct_at(below(STRUCTS));
	if (below(2))
		registers[2] = below(3) - 1;
	registers[4] = hit_canonical(registers[4]);
}

static void one_hit(const struct fetch_program *programs, int hit)
{
	struct fetch_machine machine = {
		.registers = registers, .read = hit_read, .pid = getpid(), .tid = getpid(), .aggregate = expected_add
	};
	union {
		struct record record;
		char room[RECORD_SIZE_MAX];
	} record;
	char comm[16];
	cpu_set_t cpus;

	strcpy(comm, words[below(9)]);
	prctl(PR_SET_NAME, comm);
	machine.comm = comm;
	machine.cpu = below((unsigned)sysconf(_SC_NPROCESSORS_ONLN));
	CPU_ZERO(&cpus);
	CPU_SET(machine.cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		machine.cpu = (unsigned)sched_getcpu();
	next_registers(hit);
	hit_run(registers);
	for (int i = 0; i < PROGRAMS; i++) {
		machine.arg = &expected[i];
		expected[i].hits++;
		expected[i].filtered += !fetch_run(&programs[i], &machine, &record.record);
	}
}

/* ---- what the kernel computes ---- */

static size_t kernel_cells;

static bool is_zero(const uint8_t *bytes, size_t n)
{
	while (n && !bytes[n - 1])
		n--;
	return !n;
}

static int check_cell(const struct agg_key *key, size_t key_size, const struct agg_cell *cell, void *arg)
{
	struct expected *x;
	struct expected_cell *wanted;

	(void)arg;
	kernel_cells++;
	x = &expected[key->group];
	if (key->group >= PROGRAMS || x->key_size > key_size ||
	    !is_zero((const uint8_t *)key + x->key_size, key_size - x->key_size))
		ck_abort_msg("seed %llu: invalid key of group %u", (unsigned long long)seed, key->group);
	wanted = expected_find(x, key);
	if (!wanted || wanted->found || memcmp(&wanted->cell, cell, sizeof(*cell)) != 0) {
		show(x->program, registers);
		fprintf(stderr,
		        "cell of column %u, bucket %u: kernel %llu %llu %lld %lld, interpreter %llu %llu %lld %lld\n",
		        key->column, key->bucket, (unsigned long long)cell->count, (unsigned long long)cell->sum,
		        (long long)cell->min, (long long)cell->max,
		        (unsigned long long)(wanted ? wanted->cell.count : 0),
		        (unsigned long long)(wanted ? wanted->cell.sum : 0), (long long)(wanted ? wanted->cell.min : 0),
		        (long long)(wanted ? wanted->cell.max : 0));
		ck_abort_msg("seed %llu: interpreter and kernel differ", (unsigned long long)seed);
	}
	wanted->found = true;
	x->added[key->column] += cell->count;
	return 0;
}

/* The cells that the kernel does not have must be in `other`. */
static int check_misfit(uint32_t group, unsigned column, const struct agg_misfit *misfit, void *arg)
{
	struct expected *x = &expected[group];
	struct agg_misfit wanted = x->misfits[column];

	(void)arg;
	for (size_t i = 0; i < x->n; i++)
		if (!x->cells[i].found && ((const struct agg_key *)x->cells[i].key)->column == column) {
			wanted.other += x->cells[i].cell.count;
			wanted.other_sum += x->cells[i].cell.sum;
		}
	if (memcmp(&wanted, misfit, sizeof(wanted)) != 0) {
		show(x->program, registers);
		ck_abort_msg("seed %llu: column %u has other %llu, sum %llu, unread %llu instead of %llu, %llu, %llu",
		             (unsigned long long)seed, column, (unsigned long long)misfit->other,
		             (unsigned long long)misfit->other_sum, (unsigned long long)misfit->unread,
		             (unsigned long long)wanted.other, (unsigned long long)wanted.other_sum,
		             (unsigned long long)wanted.unread);
	}
	ck_assert_uint_eq(x->hits - x->filtered, x->added[column] + misfit->other + misfit->unread);
	return 0;
}

static struct {
	long cells, repeated, filtered, unread, full;
} seen;

static void check_round(const struct armed *a, unsigned room)
{
	size_t all = 0;

	kernel_cells = 0;
	ck_assert_msg(!backend_kernel.aggregates(a->attachment, check_cell, check_misfit, NULL), "%s", pp_error());
	for (int i = 0; i < PROGRAMS; i++) {
		struct pp_counts counts;

		backend_kernel.counts(a->attachment, i, &counts);
		ck_assert_uint_eq(counts.hits, expected[i].hits);
		ck_assert_uint_eq(counts.filtered, expected[i].filtered);
		all += expected[i].n;
		seen.filtered += (long)counts.filtered;
		for (size_t k = 0; k < expected[i].n; k++)
			seen.repeated += expected[i].cells[k].cell.count > 1;
		for (int c = 0; c < AGG_COLUMNS_MAX; c++)
			seen.unread += (long)expected[i].misfits[c].unread;
	}
	ck_assert_uint_eq(kernel_cells, all < room ? all : room);
	seen.cells += (long)kernel_cells;
	seen.full += all > room;
}

/*
 * The size of the table: a large one, one that is often too small, or, less often, the largest, which takes long to read.
 * All programs of a round add more than five cells, so the first small table is always too small.
 */
static unsigned some_room(int round)
{
	if (round % 3 == 1)
		return 1 + below(round == 1 ? 5 : 100);
	return round % 30 == 2 ? AGG_CELLS_MAX : 100000;
}

static void run_rounds(void (*make)(struct fetch_program *program), int rounds)
{
	static struct fetch_program programs[PROGRAMS];

	hit_open();
	map_memory();
	for (int round = 0; round < rounds; round++) {
		unsigned room = some_room(round);
		struct armed a;

		for (int i = 0; i < PROGRAMS; i++) {
			if (i && below(2))
				make_alike(&programs[below(i)], &programs[i]);
			else
				make(&programs[i]);
			expected_open(&expected[i], &programs[i]);
		}
		arm_aggregates(&a, programs, PROGRAMS, room);
		for (int hit = 0; hit < HITS; hit++)
			one_hit(programs, hit);
		check_round(&a, room);
		disarm_programs(&a);
		for (int i = 0; i < PROGRAMS; i++) {
			fetch_release(&programs[i]);
			free(expected[i].cells);
		}
	}
	fprintf(stderr, "%ld cells, %ld of several values; %ld hits filtered, %ld values unread; %ld tables full\n",
	        seen.cells, seen.repeated, seen.filtered, seen.unread, seen.full);
	ck_assert_int_gt(seen.repeated, seen.cells / 20);
	ck_assert(seen.unread && (seen.full || rounds < 2) && (seen.filtered || make == make_light));
}

START_TEST(steps_as_interpreted)
{
	run_rounds(make_steps, rounds_of(3, 2, 300));
}
END_TEST

START_TEST(light_steps_as_interpreted)
{
	run_rounds(make_light, rounds_of(3, 2, 300));
}
END_TEST

/* 200 expressions as users write them. */
START_TEST(texts_as_interpreted)
{
	run_rounds(make_text, rounds_of(4, 2, 400));
}
END_TEST

/* ---- buckets ---- */

/* Makes a program whose columns are all of the register rax. */
static void make_buckets(struct fetch_program *program)
{
	struct fetch_aggregate *a = calloc(1, sizeof(*a));

	*program = (struct fetch_program){ .aggregate = a };
	program->steps = calloc(2 * AGG_COLUMNS_MAX, sizeof(*program->steps));
	a->text = strdup("buckets");
	while (a->ncolumns < AGG_COLUMNS_MAX) {
		random_column(&a->columns[a->ncolumns]);
		program->steps[program->nsteps++] = (struct fetch_step){ .op = FETCH_REG, .a = 0 };
		program->steps[program->nsteps++] = (struct fetch_step){ .op = FETCH_AGG, .a = a->ncolumns++ };
	}
	program->naggregate = program->nsteps;
}

/* Returns a value at or next to an end of a bucket of one of the columns. */
static uint64_t value_at_bound(const struct fetch_program *programs)
{
	const struct agg_column *c = &programs[below(PROGRAMS)].aggregate->columns[below(AGG_COLUMNS_MAX)];
	uint64_t low, high;

	agg_bucket_range(c, below(4) ? below(agg_buckets(c)) : agg_buckets(c) - 1, &low, &high);
	return (below(2) ? low : high) + below(3) - 1;
}

START_TEST(buckets_at_their_bounds)
{
	static struct fetch_program programs[PROGRAMS];
	struct armed a;

	hit_open();
	map_memory();
	for (int i = 0; i < PROGRAMS; i++) {
		make_buckets(&programs[i]);
		expected_open(&expected[i], &programs[i]);
	}
	arm_aggregates(&a, programs, PROGRAMS, 200000);
	for (int hit = rounds_of(200, 50, 2000); hit; hit--) {
		struct fetch_machine machine = { .registers = registers, .aggregate = expected_add };
		struct record record;

		registers[0] = value_at_bound(programs);
		registers[4] = hit_canonical(registers[4]);
		hit_run(registers);
		for (int i = 0; i < PROGRAMS; i++) {
			machine.arg = &expected[i];
			expected[i].hits++;
			fetch_run(&programs[i], &machine, &record);
		}
	}
	check_round(&a, 200000);
	disarm_programs(&a);
}
END_TEST

/* arm.c plans the size of programs by this bound. 500 instructions are for what the fetch programs share. */
START_TEST(programs_are_not_larger_than_planned)
{
	const struct emit_maps maps = { .processes = -1, .calls = -1, .frames = -1, .key_size = AGG_KEY_SIZE_MAX };

	for (int i = 0; i < 600; i++) {
		struct fetch_program program;
		const struct fetch_program *pointer = &program;
		struct emit_specs specs;
		struct emitted emitted;
		size_t bound;

		(i % 3 == 0 ? make_steps : i % 3 == 1 ? make_text : make_buckets)(&program);
		bound = 500 + emit_size_bound(&program);
		ck_assert_msg(!emit_specs_open(&specs, &pointer, 1), "%s", pp_error());
		ck_assert_msg(!emit_program(&specs, &maps, 0, 8, &emitted), "%s", pp_error());
		emit_specs_close(&specs);
		if (emitted.ninsns > bound) {
			show(&program, registers);
			ck_abort_msg("seed %llu: %zu instructions, more than %zu", (unsigned long long)seed,
			             emitted.ninsns, bound);
		}
		free(emitted.insns);
		fetch_release(&program);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("emit-aggregate");
	TCase *tc = tcase_create("emit-aggregate");
	SRunner *runner = srunner_create(suite);
	int failed = need_kernel();

	if (failed)
		return failed;
	seed_set();
	tcase_set_timeout(tc, 7200);
	tcase_add_test(tc, steps_as_interpreted);
	tcase_add_test(tc, light_steps_as_interpreted);
	tcase_add_test(tc, texts_as_interpreted);
	tcase_add_test(tc, buckets_at_their_bounds);
	tcase_add_test(tc, programs_are_not_larger_than_planned);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
