/* SPDX-License-Identifier: MIT */
#include "cmd/otlp-calls.h"

#include <stdbool.h>
#include <stdlib.h>

#include "cmd/alloc.h"

enum { BUCKETS = 1024, FRAMES_MAX = 256, ALL_FRAMES_MAX = 1 << 18, WAITING_MAX = 20000 };

/*
 * An end belongs to an entry if the call began at the time of the entry, or differs by at most this. The times differ because the
 * probe reads the clock twice, and because the duration does not include traps (90 us for the first hit of a thread). Times of agents
 * also have an error of conversion, which grows with the duration.
 */
#define SLACK_NS 200000
#define SLACK_SHARE 10000

/* A call in flight. */
struct call_frame {
	uint64_t function, time;
	struct otlp_span *inside; /* spans of calls in it */
};

struct call_thread {
	struct call_thread *next;
	pid_t pid, tid;
	struct call_frame *frames;
	size_t n, room;
};

struct otlp_calls {
	struct call_thread *buckets[BUCKETS]; /* threads that have frames */
	size_t frames, waiting;
};

struct otlp_calls *otlp_calls_new(void)
{
	return xcalloc(1, sizeof(struct otlp_calls));
}

void otlp_span_free(struct otlp_span *span)
{
	while (span->children) {
		struct otlp_span *child = span->children;

		span->children = child->next;
		otlp_span_free(child);
	}
	json_object_put(span->name);
	json_object_put(span->attributes);
	json_object_put(span->resource);
	free(span);
}

void otlp_calls_free(struct otlp_calls *calls)
{
	for (struct otlp_span *span = otlp_calls_expire(calls, UINT64_MAX), *next; span; span = next) {
		next = span->next;
		otlp_span_free(span);
	}
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct call_thread *thread = calls->buckets[i], *next; thread; thread = next) {
			next = thread->next;
			free(thread->frames);
			free(thread);
		}
	free(calls);
}

/* ---- lists ---- */

static void list_push(struct otlp_span **list, struct otlp_span *span)
{
	span->next = *list;
	*list = span;
}

/* Moves the spans that were taken before a time (UINT64_MAX: all) to another list. Returns their number. */
static size_t list_move(struct otlp_span **from, struct otlp_span **to, uint64_t until)
{
	size_t n = 0;

	while (*from) {
		struct otlp_span *span = *from;

		if (span->taken >= until && until != UINT64_MAX) {
			from = &span->next;
			continue;
		}
		*from = span->next;
		list_push(to, span);
		n++;
	}
	return n;
}

/* ---- threads ---- */

/* Returns the link to the thread in its bucket, or the link that would lead to it. */
static struct call_thread **calls_find(struct otlp_calls *calls, pid_t pid, pid_t tid)
{
	struct call_thread **at = &calls->buckets[(unsigned)tid % BUCKETS];

	while (*at && ((*at)->tid != tid || (*at)->pid != pid))
		at = &(*at)->next;
	return at;
}

void otlp_calls_enter(struct otlp_calls *calls, pid_t pid, pid_t tid, uint64_t function, uint64_t time)
{
	struct call_thread **at = calls_find(calls, pid, tid), *thread = *at;

	if (calls->frames == ALL_FRAMES_MAX || (thread && thread->n == FRAMES_MAX))
		return;
	if (!thread) {
		thread = *at = xcalloc(1, sizeof(*thread));
		thread->pid = pid;
		thread->tid = tid;
	}
	if (thread->n == thread->room) {
		thread->room = thread->room ? 2 * thread->room : 4;
		thread->frames = xreallocarray(thread->frames, thread->room, sizeof(*thread->frames));
	}
	thread->frames[thread->n++] = (struct call_frame){ .function = function, .time = time };
	calls->frames++;
}

/* Returns the index of the frame of a call, or thread->n if it has none. */
static size_t thread_find_frame(const struct call_thread *thread, uint64_t function, uint64_t began, uint64_t duration)
{
	uint64_t slack = SLACK_NS + duration / SLACK_SHARE;

	for (size_t i = thread->n; i-- > 0;) {
		const struct call_frame *frame = &thread->frames[i];

		if (frame->function == function && frame->time <= began + slack && began <= frame->time + slack)
			return i;
	}
	return thread->n;
}

/* Removes frame i, which is that of the span's call, and the frames above it. The spans that wait in them become its children. */
static void thread_end_call(struct otlp_calls *calls, struct call_thread *thread, size_t i, struct otlp_span *span)
{
	for (size_t k = i; k < thread->n; k++)
		calls->waiting -= list_move(&thread->frames[k].inside, &span->children, UINT64_MAX);
	calls->frames -= thread->n - i;
	thread->n = i;
}

struct otlp_span *otlp_calls_leave(struct otlp_calls *calls, pid_t pid, pid_t tid, uint64_t function, uint64_t began,
                                   struct otlp_span *span)
{
	struct call_thread **at = calls_find(calls, pid, tid), *thread = *at;
	size_t i;

	span->next = NULL;
	if (!thread)
		return span;
	i = thread_find_frame(thread, function, began, span->ended - began);
	if (i < thread->n)
		thread_end_call(calls, thread, i, span);
	if (!thread->n) {
		*at = thread->next;
		free(thread->frames);
		free(thread);
		return span;
	}
	list_push(&thread->frames[thread->n - 1].inside, span);
	return ++calls->waiting > WAITING_MAX ? otlp_calls_expire(calls, UINT64_MAX) : NULL;
}

struct otlp_span *otlp_calls_expire(struct otlp_calls *calls, uint64_t until)
{
	struct otlp_span *list = NULL;

	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct call_thread *thread = calls->buckets[i]; thread; thread = thread->next)
			for (size_t k = 0; k < thread->n; k++)
				calls->waiting -= list_move(&thread->frames[k].inside, &list, until);
	return list;
}
