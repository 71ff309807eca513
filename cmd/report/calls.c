/* SPDX-License-Identifier: MIT */
/*
 * Pairs entries and returns. Records have no stack pointer, so a return is that of the innermost call of its function in its
 * thread. Calls above that one on the stack have not ended: they were left by an exception or longjmp().
 *
 * This can be wrong in two cases, which are found here, so that no wrong duration is reported.
 *
 * 1. f calls f, and the inner call does not end. Then the next return is the outer call's, but is taken for that of the
 *    inner one, and the outer call remains. So if a call u of f turns out not to have ended, the calls of f that ended above u
 *    are uncertain:
 *
 *        entry f (u), entry f (c), return f, ...          u or c may have returned
 *
 *    Let p be a call that ended and that was the only call of its function on the stack. Its return is certainly its own, so
 *    all that returned above p while p ran was called above p, too. So each call keeps, for each function, which calls above
 *    it are uncertain if a call below it does not end: a range of their numbers (struct hull). A call like p drops them, any
 *    other passes them to the call below it. The range may include calls that are certain.
 *
 *    This is known long after c was passed to the consumers. So uncertain calls are only marked (marks.h), and the trace is read
 *    again.
 *
 * 2. Records are missing. Each call that was in flight in that time is uncertain. The trace says in which time, between two
 *    readings of counters. LOSS_SLACK_NS are added, because its writer reads the clock first and may be preempted then.
 *
 * Calls that were in flight when the trace began, or whose entry was lost, have a return only, which is not matched. If a
 * call of f calls f, and the inner call is left by longjmp(), the return is taken for the inner call's. Nothing in the trace
 * shows that.
 */
#include "cmd/report/calls.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/report/grow.h"
#include "cmd/report/table.h"

#define LOSS_SLACK_NS 100000000

/* Calls of one function, above one call, that are uncertain if a call of the function below does not end. */
struct hull {
	uint32_t function, lo, hi;
};

/* A call in flight. */
struct flight {
	struct report_call call;
	uint32_t number;   /* of its function in its thread */
	uint32_t below;    /* the next call of its function below it on the stack; REPORT_NONE */
	uint32_t activity; /* of its function in its thread */
	uint32_t nhulls;
	struct hull *hulls;
};

struct flight_stack {
	struct flight *flights;
	size_t n, room;
};

/* The calls of one function in one thread. */
struct activity {
	uint32_t thread, function;
	uint32_t number; /* of calls so far */
	uint32_t top;    /* the innermost call in flight; REPORT_NONE */
};

struct calls {
	const struct report_names *names;
	struct call_marks *marks;
	bool first;
	struct paths *paths;
	const struct report_consumer *consumers;
	size_t nconsumers;
	struct flight_stack *stacks; /* by the thread's index */
	size_t nstacks, stacks_room;
	struct activity *activities;
	size_t nactivities, activities_room;
	struct index_table by_key;
	size_t in_flight;
	int64_t lost_until; /* calls that began until then are uncertain when they end */
	int64_t now;
	int64_t earliest; /* the earliest begin of a measured call */
	uint64_t left_out;
};

struct calls *calls_new(const struct report_names *names, struct call_marks *marks, bool first, struct paths *paths,
                        const struct report_consumer *consumers, size_t n)
{
	struct calls *calls = xcalloc(1, sizeof(*calls));

	*calls = (struct calls){ .names = names,
		                 .marks = marks,
		                 .first = first,
		                 .paths = paths,
		                 .consumers = consumers,
		                 .nconsumers = n,
		                 .lost_until = INT64_MIN,
		                 .earliest = INT64_MAX };
	return calls;
}

void calls_free(struct calls *calls)
{
	if (!calls)
		return;
	for (size_t i = 0; i < calls->nstacks; i++) {
		for (size_t j = 0; j < calls->stacks[i].n; j++)
			free(calls->stacks[i].flights[j].hulls);
		free(calls->stacks[i].flights);
	}
	free(calls->stacks);
	free(calls->activities);
	table_release(&calls->by_key);
	free(calls);
}

/* ---- the calls of a function in a thread ---- */

static bool activity_is(const void *activities, uint32_t i, const void *key)
{
	const struct activity *activity = (const struct activity *)activities + i, *k = key;

	return activity->thread == k->thread && activity->function == k->function;
}

/* Returns the index; of a new one if it is missing and `add`. REPORT_NONE: it is missing, or there are too many. */
static uint32_t calls_activity(struct calls *calls, uint32_t thread, uint32_t function, bool add)
{
	const struct activity key = { .thread = thread, .function = function, .top = REPORT_NONE };
	uint64_t hash = table_hash(&key, 2 * sizeof(uint32_t));
	uint32_t i = table_find(&calls->by_key, hash, activity_is, calls->activities, &key);

	if (i != REPORT_NONE || !add || calls->nactivities == ACTIVITIES_MAX)
		return i;
	GROW(calls->activities, calls->nactivities + 1, calls->activities_room);
	calls->activities[calls->nactivities] = key;
	table_add(&calls->by_key, hash, (uint32_t)calls->nactivities);
	return (uint32_t)calls->nactivities++;
}

static struct flight_stack *calls_stack(struct calls *calls, const struct report_thread *thread)
{
	while (calls->nstacks <= thread->index) {
		GROW(calls->stacks, thread->index + 1, calls->stacks_room);
		calls->stacks[calls->nstacks++] = (struct flight_stack){ 0 };
	}
	return &calls->stacks[thread->index];
}

/* ---- ranges ---- */

static void flight_add_hull(struct flight *flight, struct hull hull)
{
	for (uint32_t i = 0; i < flight->nhulls; i++) {
		struct hull *own = &flight->hulls[i];

		if (own->function != hull.function)
			continue;
		own->lo = hull.lo < own->lo ? hull.lo : own->lo;
		own->hi = hull.hi > own->hi ? hull.hi : own->hi;
		return;
	}
	if (!(flight->nhulls & (flight->nhulls - 1)))
		flight->hulls =
			xreallocarray(flight->hulls, flight->nhulls ? 2 * (size_t)flight->nhulls : 1, sizeof(hull));
	flight->hulls[flight->nhulls++] = hull;
}

/* Passes the ranges of a call that is left to the call below it, or marks them. */
static void flight_settle(struct calls *calls, struct flight *flight, struct flight *parent)
{
	uint32_t function = flight->call.function->index;
	bool ended = flight->call.status == CALL_ENDED;

	for (uint32_t i = 0; i < flight->nhulls; i++) {
		const struct hull *hull = &flight->hulls[i];

		if (hull->function == function && flight->call.status == CALL_UNENDED) {
			if (calls->first)
				marks_add(calls->marks, flight->call.thread->index, function, hull->lo, hull->hi);
		} else if (parent && (!ended || flight->below != REPORT_NONE)) {
			flight_add_hull(parent, *hull);
		}
	}
	if (parent && flight->below != REPORT_NONE && flight->call.status != CALL_UNENDED)
		flight_add_hull(parent, (struct hull){ function, flight->number, flight->number });
	free(flight->hulls);
	flight->hulls = NULL;
	flight->nhulls = 0;
}

/* ---- calls ---- */

/* Ends the innermost call of a stack. record is its return's; NULL: it has not ended. */
static void stack_leave(struct calls *calls, struct flight_stack *stack, const struct report_record *record,
                        bool at_end)
{
	struct flight *flight = &stack->flights[stack->n - 1], *parent = stack->n > 1 ? flight - 1 : NULL;
	struct report_call *call = &flight->call;

	call->end = calls->now;
	call->at_end = at_end;
	if (!record)
		call->status = CALL_UNENDED;
	else if (call->begin <= calls->lost_until)
		call->status = CALL_UNCERTAIN;
	if (parent)
		parent->call.inner += (uint64_t)(call->end - call->begin);
	for (size_t i = 0; i < calls->nconsumers; i++)
		if (calls->consumers[i].leave)
			calls->consumers[i].leave(calls->consumers[i].state, call, record);
	calls->activities[flight->activity].top = flight->below;
	flight_settle(calls, flight, parent);
	stack->n--;
	calls->in_flight--;
}

static void calls_enter(struct calls *calls, const struct report_record *record)
{
	const struct report_function *function = names_function_at(calls->names, record->probe->function);
	struct flight_stack *stack = calls_stack(calls, record->thread);
	uint32_t i = calls_activity(calls, record->thread->index, function->index, true);
	struct flight *flight, *parent;
	struct activity *activity;

	if (i == REPORT_NONE) {
		calls->left_out++;
		return;
	}
	if (calls->in_flight == CALLS_IN_FLIGHT_MAX) {
		calls->left_out += stack->n;
		while (stack->n)
			stack_leave(calls, stack, NULL, false);
		if (calls->in_flight == CALLS_IN_FLIGHT_MAX) {
			calls->left_out++;
			return;
		}
	}
	GROW(stack->flights, stack->n + 1, stack->room);
	activity = &calls->activities[i];
	parent = stack->n ? &stack->flights[stack->n - 1] : NULL;
	flight = &stack->flights[stack->n];
	*flight = (struct flight){ .number = activity->number++, .below = activity->top, .activity = i };
	flight->call = (struct report_call){ .function = function,
		                             .thread = record->thread,
		                             .begin = record->time,
		                             .end = record->time,
		                             .depth = (uint32_t)stack->n };
	if (!calls->first && marks_has(calls->marks, record->thread->index, function->index, flight->number))
		flight->call.status = CALL_UNCERTAIN;
	if (calls->paths)
		flight->call.path = paths_child(calls->paths, parent ? parent->call.path : 0, function->index);
	activity->top = (uint32_t)stack->n++;
	calls->in_flight++;
	for (size_t j = 0; j < calls->nconsumers; j++)
		if (calls->consumers[j].enter)
			calls->consumers[j].enter(calls->consumers[j].state, &flight->call, record);
}

bool record_duration(const struct report_record *record, uint64_t *duration)
{
	const struct report_value *last = record->nvalues ? &record->values[record->nvalues - 1] : NULL;

	if (!record->probe->is_measured || !last || last->kind != VALUE_UNSIGNED || strcmp(last->name, "duration") ||
	    last->u > INT64_MAX / 2)
		return false;
	*duration = last->u;
	return true;
}

/* Passes a call that has one record, which has its duration. */
static void calls_measured(struct calls *calls, const struct report_record *record, uint64_t duration)
{
	struct report_call call = { .function = names_function_at(calls->names, record->probe->function),
		                    .thread = record->thread,
		                    .begin = record->time - (int64_t)duration,
		                    .end = record->time };

	if (call.begin < calls->earliest)
		calls->earliest = call.begin;
	for (size_t i = 0; i < calls->nconsumers; i++)
		if (calls->consumers[i].measured)
			calls->consumers[i].measured(calls->consumers[i].state, &call, record);
}

static void calls_return(struct calls *calls, const struct report_record *record)
{
	uint32_t function = record->probe->function;
	uint32_t i = calls_activity(calls, record->thread->index, function, false);
	uint32_t top = i == REPORT_NONE ? REPORT_NONE : calls->activities[i].top;
	struct flight_stack *stack;
	uint64_t duration;

	if (top == REPORT_NONE) {
		if (record_duration(record, &duration)) {
			calls_measured(calls, record, duration);
			return;
		}
		for (size_t j = 0; j < calls->nconsumers; j++)
			if (calls->consumers[j].unmatched)
				calls->consumers[j].unmatched(calls->consumers[j].state,
				                              names_function_at(calls->names, function), record);
		return;
	}
	stack = calls_stack(calls, record->thread);
	while (stack->n > top + 1)
		stack_leave(calls, stack, NULL, false);
	stack_leave(calls, stack, record, false);
}

void calls_record(struct calls *calls, const struct report_record *record)
{
	const struct report_probe *probe = record->probe;

	calls->now = record->time;
	for (size_t i = 0; i < calls->nconsumers; i++)
		if (calls->consumers[i].record)
			calls->consumers[i].record(calls->consumers[i].state, record);
	if (probe->function == REPORT_NONE || record->thread->is_other)
		return;
	if (!probe->is_entry)
		calls_return(calls, record);
	else if (names_function_at(calls->names, probe->function)->has_return)
		calls_enter(calls, record);
}

void calls_lost(struct calls *calls, const struct report_loss *loss)
{
	int64_t until =
		loss->end < INT64_MAX - LOSS_SLACK_NS && !loss->is_damage ? loss->end + LOSS_SLACK_NS : loss->end;

	if (until > calls->lost_until)
		calls->lost_until = until;
	for (size_t i = 0; i < calls->nconsumers; i++)
		if (calls->consumers[i].lost)
			calls->consumers[i].lost(calls->consumers[i].state, loss);
}

void calls_end(struct calls *calls)
{
	for (size_t i = 0; i < calls->nstacks; i++)
		while (calls->stacks[i].n)
			stack_leave(calls, &calls->stacks[i], NULL, true);
}

int64_t calls_earliest(const struct calls *calls)
{
	return calls->earliest;
}

uint64_t calls_left_out(const struct calls *calls)
{
	return calls->left_out;
}
