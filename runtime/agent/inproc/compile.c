/* SPDX-License-Identifier: MIT */
/*
 * The compiler of trampolines: from fetch programs to code, for any CPU.
 *
 * A trampoline
 *
 * 1. saves what it changes, and ends here if the process has no agent (struct life);
 * 2. for each consumer, from the oldest to the newest:
 *    a. loads the thread's ring;
 *    b. evaluates the predicate; if it is false, counts the hit as filtered;
 *    c. counts the hit as unsampled if it is not chosen (struct fetch_sample);
 *    d. computes the aggregate: writes the key to the stack, then adds each value
 *       to the key's cell, by C if it is not found at once (hit-aggregate.c);
 *    e. takes the time; if nothing records at that time, counts the hit as idle;
 *    f. reserves space in the ring; if the ring is full, makes room if it may be
 *       overwritten, else counts the hit as lost;
 *    g. writes the record: its head, its arguments, and its time last;
 *    h. counts the hit as recorded;
 * 3. restores what it saved, and jumps back to the instruction after the site.
 *
 * A thread without a ring takes one in step 2a. If all rings are taken, the hit is
 * counted in cells that such threads share, by atomic increments, in a second version
 * of the code that ends before anything is recorded.
 *
 * Code that runs rarely comes after the code of its consumer, as stubs: loads that
 * need C, and faults.
 *
 * The agent's thread is the only one that compiles, so one buffer is enough.
 */
#include <probepoint.h>
#include <string.h>

#include "runtime/agent/inproc/compile.h"

#define COUNTER(name) offsetof(struct agent_count, name)

/* A predicate, an aggregate, or one argument, that is being compiled. */
struct expression {
	struct codebuf *c;
	const struct fetch_program *p;
	const uint8_t *depths;
	uint32_t filtered; /* label: the predicate is false, or the key or value of the aggregate is unreadable */
	uint32_t after;    /* label: the end of the argument */
	unsigned argument;
	bool in_argument;
};

/* ---- loads ---- */

bool image_has(const struct image_ranges *image, uint64_t address, size_t size)
{
	for (uint32_t i = 0; i < image->n; i++)
		if (address >= image->range[i].start && address < image->range[i].end &&
		    size <= image->range[i].end - address)
			return true;
	return false;
}

/* Returns the label to jump to if memory cannot be read. */
static uint32_t expression_fault(struct expression *e, unsigned words)
{
	return codebuf_stub(e->c, (struct stub){
					  .kind = e->in_argument ? STUB_FAULT_ARGUMENT : STUB_FAULT_FILTERED,
					  .words = words,
					  .argument = e->argument,
					  .back = e->in_argument ? e->after : e->filtered,
				  });
}

static uint32_t load_stub(struct expression *e, struct stub stub, const struct fetch_step *load, unsigned words)
{
	stub.size = load->a;
	stub.is_signed = load->c;
	stub.words = words;
	stub.fault = expression_fault(e, words);
	return codebuf_stub(e->c, stub);
}

/* top = what is at the address in the top */
static void compile_load(struct expression *e, const struct fetch_step *load, unsigned words)
{
	uint32_t back = codebuf_label(e->c);
	uint32_t stub = load_stub(e, (struct stub){ .kind = STUB_LOAD, .back = back }, load, words);

	gen_load(e->c, load, words, stub);
	codebuf_here(e->c, back);
}

/*
 * A load near the stack pointer. Bytes below it are certainly there. Bytes above it
 * are there if they are in the page of the byte below, because a stack may end right
 * at the stack pointer.
 */
static void compile_load_frame(struct expression *e, int32_t offset, const struct fetch_step *load)
{
	uint32_t back = codebuf_label(e->c), stub;

	if (offset + load->a > 0) {
		stub = load_stub(e, (struct stub){ .kind = STUB_LOAD_FRAME, .offset = offset, .back = back }, load, 0);
		gen_frame_check(e->c, offset + load->a, stub);
	}
	gen_load_frame(e->c, offset, load);
	codebuf_here(e->c, back);
}

/*
 * Recognizes a load from a register and a constant as the first thing that a program
 * pushes: REG, LOAD or REG, IMM, ADD, LOAD. Returns how many steps that are, or 0.
 */
static size_t match_register_load(const struct expression *e, size_t i, size_t end, const struct fetch_step **load,
                                  int64_t *offset)
{
	const struct fetch_step *s = &e->p->steps[i];
	bool with_offset = i + 3 < end && s[1].op == FETCH_IMM && s[2].op == FETCH_ADD;
	size_t n = with_offset ? 4 : 2;

	*load = &s[n - 1];
	*offset = with_offset ? s[1].value : 0;
	if (s->op != FETCH_REG || i + n > end || (*load)->op != FETCH_LOAD || e->depths[i])
		return 0;
	for (size_t k = 1; k < n; k++)
		if (e->c->is_target[i + k])
			return 0;
	return n;
}

/* Compiles a load from the function's frame or the image without a call. Returns how many steps that took, or 0. */
static size_t compile_known_load(struct expression *e, size_t i, size_t end)
{
	const struct fetch_step *s = &e->p->steps[i], *load;
	int64_t offset;
	size_t n = match_register_load(e, i, end, &load, &offset);

	if (!n)
		return 0;
	if (s->a == REGISTER_SP && offset >= -RED_ZONE && offset <= FRAME_READ - load->a) {
		compile_load_frame(e, offset, load);
		return n;
	}
	if (s->a == REGISTER_PC && image_has(e->c->image, e->c->site + offset, load->a)) {
		gen_load_address(e->c, e->c->site + offset, load);
		return n;
	}
	return 0;
}

/* ---- steps ---- */

static bool step_is_binary(uint8_t op)
{
	return op >= FETCH_ADD && op <= FETCH_LE;
}

/* Compiles FETCH_IMM or FETCH_REG, with what follows if that makes one operation. Returns how many steps that took. */
static size_t compile_push(struct expression *e, size_t i, size_t end)
{
	const struct fetch_step *s = &e->p->steps[i];
	unsigned depth = e->depths[i];
	size_t known = compile_known_load(e, i, end);

	if (known)
		return known;
	if (depth && i + 1 < end && step_is_binary(s[1].op) && !e->c->is_target[i + 1]) {
		gen_operand(e->c, OPERAND_SECOND, s, depth - 1);
		gen_binary(e->c, &s[1]);
		return 2;
	}
	gen_spill(e->c, depth);
	gen_operand(e->c, OPERAND_TOP, s, depth);
	return 1;
}

static void compile_jump(struct expression *e, const struct fetch_step *step, unsigned depth)
{
	gen_jump_if(e->c, step->op == FETCH_JZ, e->c->step_label[step->value]);
	gen_drop(e->c, depth);
}

static void compile_match(struct expression *e, const struct fetch_step *step, unsigned depth)
{
	const struct trampoline_table *table = e->c->table;
	const struct fetch_literal *literal = &e->p->literals[step->a];
	unsigned how = step->op == FETCH_SEARCH ? (step->c ? LITERAL_END : LITERAL_PART)
	               : step->op == FETCH_PREFIX || step->op == FETCH_COMMPREFIX ? LITERAL_BEGIN
	                                                                          : LITERAL_ALL;
	bool comm = step->op == FETCH_COMMEQ || step->op == FETCH_COMMPREFIX;
	unsigned words = comm ? depth : depth - 1;

	if (comm)
		gen_spill(e->c, depth);
	gen_match(e->c, comm ? &table->comm : &table->match, literal, how, expression_fault(e, words));
}

/* Compiles step i, and those after it, below end, that make one operation with it. Returns where to continue. */
static size_t compile_step(struct expression *e, size_t i, size_t end)
{
	const struct fetch_step *s = &e->p->steps[i];
	unsigned depth = e->depths[i];
	struct codebuf *c = e->c;

	switch (s->op) {
	case FETCH_IMM:
	case FETCH_REG: return i + compile_push(e, i, end);
	case FETCH_EXTEND: gen_extend(c, s->a, s->b, s->c); break;
	case FETCH_LOAD: compile_load(e, s, depth - 1); break;
	case FETCH_ARG: gen_argument(c, s->a); break;
	case FETCH_STRING: gen_string(c, string_how(s->a, false, s->value)); break;
	case FETCH_STRINGN:
		gen_argument(c, s->a); /* the length */
		gen_drop(c, depth);
		gen_string(c, string_how(s->a, true, s->value));
		break;
	case FETCH_NOT:
	case FETCH_NEG:
	case FETCH_COM: gen_unary(c, s->op); break;
	case FETCH_PID:
		gen_spill(c, depth);
		gen_pid(c);
		break;
	case FETCH_TID:
		gen_spill(c, depth);
		gen_tid(c);
		break;
	case FETCH_CPU:
		gen_spill(c, depth);
		gen_cpu(c, expression_fault(e, depth));
		break;
	case FETCH_DURATION:
		gen_spill(c, depth);
		gen_duration(c, depth);
		break;
	case FETCH_ENTRY:
		gen_spill(c, depth);
		gen_entry(c, depth, s->a, expression_fault(e, depth));
		break;
	case FETCH_HASH: gen_hash(c, expression_fault(e, depth - 1)); break;
	case FETCH_JZ:
	case FETCH_JNZ: compile_jump(e, s, depth); break;
	case FETCH_STREQ:
	case FETCH_PREFIX:
	case FETCH_SEARCH:
	case FETCH_COMMEQ:
	case FETCH_COMMPREFIX: compile_match(e, s, depth); break;
	case FETCH_TEST: gen_jump_if(c, true, e->filtered); break;
	default: gen_pop_operands(c, depth); gen_binary(c, s);
	}
	return i + 1;
}

/* ---- programs ---- */

/* Jumps of a predicate or aggregate go forward to steps of it; only these steps get a label. */
static void label_targets(struct codebuf *c, const struct fetch_program *p, size_t from, size_t end)
{
	memset(c->is_target, 0, end);
	for (size_t i = from; i < end; i++) {
		const struct fetch_step *s = &p->steps[i];

		if ((s->op == FETCH_JZ || s->op == FETCH_JNZ) && !c->is_target[s->value]) {
			c->is_target[s->value] = 1;
			c->step_label[s->value] = codebuf_label(c);
		}
	}
}

static void compile_predicate(struct codebuf *c, const struct interned_program *program, uint32_t filtered)
{
	const struct fetch_program *p = &program->fetch;
	struct expression e = { .c = c, .p = p, .depths = program->depths, .filtered = filtered };

	label_targets(c, p, 0, p->npredicate);
	for (size_t i = 0; i < p->npredicate && !c->bad;) {
		if (c->is_target[i])
			codebuf_here(c, c->step_label[i]);
		i = compile_step(&e, i, p->npredicate);
	}
}

/* Labels of an aggregate's code. */
struct aggregate_labels {
	uint32_t key_unread, end;
	struct {
		uint32_t unread, next;
	} column[AGG_COLUMNS_MAX];
};

static void aggregate_labels_init(struct codebuf *c, struct aggregate_labels *l)
{
	l->key_unread = codebuf_label(c);
	l->end = codebuf_label(c);
	for (unsigned i = 0; i < AGG_COLUMNS_MAX; i++) {
		l->column[i].unread = codebuf_label(c);
		l->column[i].next = codebuf_label(c);
	}
}

/* Calls C to add the top to the column. */
static void compile_aggregate_call(struct codebuf *c, unsigned column)
{
	const struct trampoline_consumer *consumer = c->consumer;
	const struct fetch_aggregate *a = consumer->program->fetch.aggregate;
	bool ends_with_string = a->nparts && a->parts[a->nparts - 1].kind == PP_STRING;

	gen_aggregate(c, consumer->group, &a->columns[column],
	              HIT_COLUMN(column, consumer->program->key_size / 8) |
	                      (ends_with_string ? HIT_ENDS_WITH_STRING : 0));
}

static void compile_column(struct codebuf *c, unsigned column, bool has_ring)
{
	const struct trampoline_consumer *consumer = c->consumer;
	const struct agg_column *from = &consumer->program->fetch.aggregate->columns[column];
	unsigned nwords = consumer->program->key_size / 8;
	uint32_t back = codebuf_label(c), stub;

	if (has_ring && nwords <= 2 && from->histogram != AGG_LINEAR) {
		stub = codebuf_stub(c, (struct stub){ .kind = STUB_AGGREGATE, .argument = column, .back = back });
		if (!gen_aggregate_near(c, consumer->group, from, HIT_COLUMN(column, nwords), stub))
			gen_jump(c, stub);
	} else {
		compile_aggregate_call(c, column);
	}
	codebuf_here(c, back);
}

/* Compiles the step that ends a part of the key, or a value. *size: of the key so far. */
static void compile_aggregate_end(struct expression *e, const struct fetch_step *step, bool has_ring, unsigned *size)
{
	const struct trampoline_table *table = e->c->table;

	switch (step->op) {
	case FETCH_KEY:
		gen_key(e->c, *size);
		*size += 8;
		break;
	case FETCH_KEYWORD: gen_key(e->c, *size + 8 * step->b); break;
	case FETCH_KEYSTACK:
		gen_key_stack(e->c, *size);
		*size += AGG_STACK;
		break;
	case FETCH_KEYSTR:
	case FETCH_KEYCOMM:
		gen_key_string(e->c, step->op == FETCH_KEYSTR ? &table->keystr : &table->keycomm, *size,
		               expression_fault(e, 0));
		*size += AGG_STRING;
		break;
	default: compile_column(e->c, step->a, has_ring);
	}
}

static void compile_aggregate(struct codebuf *c, const struct trampoline_consumer *consumer, struct aggregate_labels *l,
                              bool has_ring)
{
	const struct fetch_program *p = &consumer->program->fetch;
	struct expression e = { .c = c, .p = p, .depths = consumer->program->depths };
	size_t i = p->npredicate, end = i + p->naggregate;
	unsigned size = sizeof(struct agg_key), nparts = 0, column = 0;

	if (!p->naggregate)
		return;
	aggregate_labels_init(c, l);
	label_targets(c, p, i, end);
	gen_key_begin(c, consumer->program->key_size);
	while (i < end && !c->bad) {
		const struct fetch_step *step = &p->steps[i];

		e.filtered = nparts < p->aggregate->nparts ? l->key_unread : l->column[column].unread;
		if (c->is_target[i])
			codebuf_here(c, c->step_label[i]);
		if (!fetch_is_of_aggregate(step->op)) {
			i = compile_step(&e, i, end);
			continue;
		}
		compile_aggregate_end(&e, step, has_ring, &size);
		nparts += fetch_ends_part(step->op);
		if (step->op == FETCH_AGG)
			codebuf_here(c, l->column[column++].next);
		i++;
	}
	codebuf_here(c, l->end);
	gen_key_end(c);
}

/* Where an aggregate continues when memory is unreadable. */
static void compile_unread(struct codebuf *c, const struct trampoline_consumer *consumer,
                           const struct aggregate_labels *l)
{
	const struct fetch_program *p = &consumer->program->fetch;

	if (!p->naggregate)
		return;
	codebuf_here(c, l->key_unread);
	gen_unread(c, consumer->group, 0, p->aggregate->ncolumns);
	gen_jump(c, l->end);
	for (unsigned i = 0; i < p->aggregate->ncolumns; i++) {
		codebuf_here(c, l->column[i].unread);
		gen_unread(c, consumer->group, i, 1);
		gen_jump(c, l->column[i].next);
	}
}

static void compile_arguments(struct codebuf *c, const struct interned_program *program)
{
	const struct fetch_program *p = &program->fetch;
	struct expression e = { .c = c, .p = p, .depths = program->depths, .in_argument = true };
	size_t i = p->npredicate + p->naggregate;

	memset(c->is_target, 0, p->nsteps);
	for (e.argument = 0; e.argument < p->nargs && !c->bad; e.argument++) {
		size_t end = i;

		while (!fetch_ends_argument(p->steps[end].op))
			end++;
		end++;
		e.after = codebuf_label(c);
		while (i < end && !c->bad)
			i = compile_step(&e, i, end);
		codebuf_here(c, e.after);
	}
}

/* top = the key of a call. Jumps to fault if it cannot be read. */
static void compile_key(struct codebuf *c, const struct interned_program *program, uint32_t fault)
{
	const struct fetch_program *p = &program->fetch;
	struct expression e = { .c = c, .p = p, .depths = program->depths, .filtered = fault };

	memset(c->is_target, 0, p->nsteps);
	for (size_t i = p->nsteps - p->nkey; i < p->nsteps && !c->bad;)
		i = compile_step(&e, i, p->nsteps);
}

/* top = what identifies a call: its key, or the stack pointer */
static void compile_place(struct codebuf *c, const struct interned_program *program, uint32_t fault)
{
	const struct fetch_step sp = { .op = FETCH_REG, .a = REGISTER_SP };

	if (program->fetch.nkey)
		compile_key(c, program, fault);
	else
		gen_operand(c, OPERAND_TOP, &sp, 0);
}

/* The stub is entered with that stack. */
static void stub_enter(struct codebuf *c, const struct stub *stub)
{
	c->key = stub->key;
	c->extra = stub->extra;
}

/* Places the stubs of what was compiled since the last call. */
static void compile_stubs(struct codebuf *c)
{
	const uint32_t key = c->key, extra = c->extra;

	for (uint32_t i = 0; i < c->nstubs && !c->bad; i++) {
		const struct stub *s = &c->stubs[i];

		codebuf_here(c, s->label);
		stub_enter(c, s);
		switch (s->kind) {
		case STUB_LOAD_FRAME:
			gen_frame_address(c, s->offset);
			/* fall through */
		case STUB_LOAD: gen_load_call(c, s); break;
		case STUB_FAULT_ARGUMENT:
			gen_argument_fault(c, s->argument);
			/* fall through */
		case STUB_FAULT_FILTERED: gen_discard(c, s->words); break;
		case STUB_AGGREGATE: compile_aggregate_call(c, s->argument); break;
		}
		gen_jump(c, s->back);
	}
	c->nstubs = 0;
	c->key = key;
	c->extra = extra;
}

/* ---- consumers ---- */

/* Labels of one consumer's code. */
struct consumer_labels {
	uint32_t have_ring, no_ring, next;
	uint32_t filtered, idle, lost, full, reserve;
	uint32_t unmatched, ended; /* of an end */
	uint32_t unsampled;
	uint32_t shared_filtered, shared_idle, shared_unsampled;
};

static void consumer_labels_init(struct codebuf *c, struct consumer_labels *l)
{
	uint32_t *labels[] = { &l->have_ring, &l->no_ring, &l->next,      &l->filtered,        &l->idle,
		               &l->lost,      &l->full,    &l->reserve,   &l->shared_filtered, &l->shared_idle,
		               &l->unmatched, &l->ended,   &l->unsampled, &l->shared_unsampled };

	for (size_t i = 0; i < sizeof(labels) / sizeof(*labels); i++)
		*labels[i] = codebuf_label(c);
}

/* Takes the time. A thread with a ring may read the clock. */
static void compile_clock(struct codebuf *c, bool has_ring)
{
	if (!has_ring)
		gen_time_call(c, &c->table->late);
	else if (trampoline_clock_invariant())
		gen_time(c);
	else
		gen_time_call(c, &c->table->now);
}

/* Takes the time, and jumps to idle if nothing records then. */
static void compile_time(struct codebuf *c, const struct trampoline_consumer *consumer, uint32_t idle, bool has_ring)
{
	gen_never_check(c, consumer->shm, idle);
	compile_clock(c, has_ring);
	gen_time_check(c, consumer->shm, idle);
}

/* Jumps if the hit is not chosen. The aggregate may change the time's register, so the record takes the time again. */
static void compile_sample(struct codebuf *c, const struct trampoline_consumer *consumer, uint32_t unsampled,
                           bool has_ring)
{
	const struct fetch_sample *sample = &consumer->program->fetch.sample;

	if (sample->every > 1)
		gen_every(c, consumer, has_ring, unsampled);
	if (!sample->rate)
		return;
	compile_clock(c, has_ring);
	gen_token(c, consumer->bucket, unsampled);
}

static void compile_record(struct codebuf *c, const struct trampoline_consumer *consumer,
                           const struct consumer_labels *l)
{
	const struct fetch_program *p = &consumer->program->fetch;
	unsigned nstrings = 0, max = fetch_string_max(p), words;

	for (size_t i = 0; i < p->nargs; i++)
		nstrings += p->steps && p->kind[i] == PP_STRING;
	words = 2 + p->nargs + nstrings * (RECORD_STRING_ROOM(max) / 8);
	if (nstrings && max > RECORD_STRING_DEFAULT)
		words += RECORD_SPARE / 8; /* see trampoline_string() */

	codebuf_here(c, l->reserve);
	gen_reserve(c, words, l->reserve, l->full);
	gen_record(c, words, consumer->slot);
	if (nstrings)
		gen_strings(c, VALUE(p->nargs));
	compile_arguments(c, consumer->program);
	if (nstrings)
		gen_shrink(c, words);
	gen_publish(c);
}

static void compile_count(struct codebuf *c, uint32_t slot, size_t counter, const struct consumer_labels *l)
{
	gen_count(c, slot, counter);
	gen_jump(c, l->next);
}

static void compile_begin_with_ring(struct codebuf *c, const struct trampoline_consumer *consumer,
                                    const struct consumer_labels *l)
{
	compile_place(c, consumer->program, l->lost);
	gen_call_begin(c, consumer);
	for (size_t i = 0; i < consumer->program->fetch.nargs; i++)
		if (consumer->program->fetch.kind[i] == PP_FAULT)
			gen_argument_fault(c, i);
	for (size_t i = consumer->program->fetch.nargs; i < FETCH_ENTRY_MAX; i++)
		gen_argument_fault(c, i);
	compile_arguments(c, consumer->program);
	if (trampoline_clock_invariant())
		gen_time(c);
	else
		gen_time_call(c, &c->table->now);
	gen_publish(c);
	gen_jump(c, l->next);
	compile_stubs(c);
	codebuf_here(c, l->lost);
	compile_count(c, consumer->slot, COUNTER(lost), l);
}

static void compile_hit_with_ring(struct codebuf *c, const struct trampoline_consumer *consumer,
                                  const struct consumer_labels *l)
{
	uint32_t slot = consumer->slot;
	struct aggregate_labels aggregate;

	compile_predicate(c, consumer->program, l->filtered);
	compile_sample(c, consumer, l->unsampled, true);
	compile_aggregate(c, consumer, &aggregate, true);
	compile_time(c, consumer, l->idle, true);
	compile_record(c, consumer, l);
	compile_count(c, slot, COUNTER(recorded), l);

	compile_stubs(c);
	compile_unread(c, consumer, &aggregate);
	codebuf_here(c, l->filtered);
	compile_count(c, slot, COUNTER(filtered), l);
	codebuf_here(c, l->unsampled);
	compile_count(c, slot, COUNTER(unsampled), l);
	codebuf_here(c, l->idle);
	compile_count(c, slot, COUNTER(idle), l);
	codebuf_here(c, l->full);
	gen_ring_room(c, consumer->shm, l->reserve, l->lost);
	codebuf_here(c, l->lost);
	compile_count(c, slot, COUNTER(lost), l);
}

/* The hit counts after its call has been found. */
static void compile_end_with_ring(struct codebuf *c, const struct trampoline_consumer *consumer,
                                  const struct consumer_labels *l)
{
	struct consumer_labels hit = *l;

	hit.next = l->ended;
	compile_place(c, consumer->program, l->unmatched);
	gen_call_find(c, consumer, l->next);
	compile_hit_with_ring(c, consumer, &hit);
	codebuf_here(c, l->ended);
	gen_call_done(c);
	gen_jump(c, l->next);
	codebuf_here(c, l->unmatched);
	compile_count(c, consumer->slot, COUNTER(unmatched), l);
}

static void compile_with_ring(struct codebuf *c, const struct trampoline_consumer *consumer,
                              const struct consumer_labels *l)
{
	gen_ring(c, consumer->index, l->no_ring);
	codebuf_here(c, l->have_ring);
	switch (consumer->program->fetch.role) {
	case SITE_CALL: compile_begin_with_ring(c, consumer, l); break;
	case SITE_LEAVE: compile_end_with_ring(c, consumer, l); break;
	default: compile_hit_with_ring(c, consumer, l);
	}
}

/* Calls are followed in rings, so a begin or an end without one is only counted. */
static void compile_call_without_ring(struct codebuf *c, const struct trampoline_consumer *consumer,
                                      const struct consumer_labels *l)
{
	bool begins = consumer->program->fetch.role == SITE_CALL;

	codebuf_here(c, l->no_ring);
	gen_ring_take(c, consumer->index, l->have_ring);
	gen_count_shared(c, consumer, begins ? COUNTER(lost) : COUNTER(unmatched));
}

static void compile_without_ring(struct codebuf *c, const struct trampoline_consumer *consumer,
                                 const struct consumer_labels *l)
{
	struct aggregate_labels aggregate;

	codebuf_here(c, l->no_ring);
	gen_ring_take(c, consumer->index, l->have_ring);
	compile_predicate(c, consumer->program, l->shared_filtered);
	compile_sample(c, consumer, l->shared_unsampled, false);
	compile_aggregate(c, consumer, &aggregate, false);
	compile_time(c, consumer, l->shared_idle, false);
	gen_count_shared(c, consumer, COUNTER(lost));
	gen_jump(c, l->next);
	codebuf_here(c, l->shared_idle);
	gen_count_shared(c, consumer, COUNTER(idle));
	gen_jump(c, l->next);
	compile_stubs(c);
	compile_unread(c, consumer, &aggregate);
	codebuf_here(c, l->shared_unsampled);
	gen_count_shared(c, consumer, COUNTER(unsampled));
	gen_jump(c, l->next);
	codebuf_here(c, l->shared_filtered);
	gen_count_shared(c, consumer, COUNTER(filtered));
}

static void compile_consumer(struct codebuf *c, const struct trampoline_consumer *consumer)
{
	struct consumer_labels labels;

	c->consumer = consumer;
	consumer_labels_init(c, &labels);
	compile_with_ring(c, consumer, &labels);
	if (consumer->program->fetch.role == SITE_HIT)
		compile_without_ring(c, consumer, &labels);
	else
		compile_call_without_ring(c, consumer, &labels);
	codebuf_here(c, labels.next);
}

size_t trampoline_compile(uint8_t code[TRAMPOLINE_MAX], uintptr_t at, uintptr_t site,
                          const struct trampoline_consumer *consumers, size_t n, const struct image_ranges *image,
                          const struct trampoline_table *table, const struct life *life)
{
	static struct codebuf codebuf;
	struct codebuf *c = &codebuf;
	uint32_t end;

	for (size_t i = 0; i < n; i++)
		if (consumers[i].program->fetch.nsteps >= LABELS_MAX)
			return 0;
	codebuf_reset(c, code);
	c->at = at;
	c->site = site;
	c->image = image;
	c->table = table;
	c->life = life;
	end = codebuf_label(c);
	gen_enter(c, consumers, n, end);
	for (size_t i = 0; i < n && !c->bad; i++)
		compile_consumer(c, &consumers[i]);
	codebuf_here(c, end);
	return gen_leave(c) && codebuf_link(c, gen_link) ? c->n : 0;
}

void trampoline_table_fill(struct trampoline_table *table)
{
	entry_prepare();
	table->load = entry_load;
	table->string = entry_string;
	table->match = entry_match;
	table->comm = entry_comm;
	table->now = entry_now;
	table->late = entry_late;
	table->shrink = entry_shrink;
	table->take = entry_take;
	table->room = entry_room;
	table->aggregate = entry_aggregate;
	table->unread = entry_unread;
	table->keystr = entry_keystr;
	table->keycomm = entry_keycomm;
	table->keystack = entry_keystack;
	table->cpu = entry_cpu;
	table->begin = entry_begin;
	table->end = entry_end;
	table->hash = entry_hash;
	table->token = entry_token;
}
