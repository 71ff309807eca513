/* SPDX-License-Identifier: MIT */
#include "cmd/report/folded.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/escape.h"
#include "cmd/report/grow.h"

enum { STATUS_IN_FLIGHT = CALL_UNENDED + 1 };

static bool folded_is(const void *stacks, uint32_t i, const void *key)
{
	const struct folded_stack *stack = (const struct folded_stack *)stacks + i, *k = key;

	return stack->path == k->path && stack->process == k->process && stack->status == k->status;
}

static void folded_leave(void *state, const struct report_call *call, const struct report_record *record)
{
	struct folded *folded = state;
	struct folded_stack key = { .path = call->path,
		                    .process = call->thread->process->index,
		                    .status = call->status };
	uint64_t duration = (uint64_t)(call->end - call->begin), hash;
	uint32_t i;

	(void)record;
	if (call->at_end)
		key.status = STATUS_IN_FLIGHT;
	hash = table_hash(&key, 3 * sizeof(uint32_t));
	i = table_find(&folded->by_key, hash, folded_is, folded->stacks, &key);
	duration -= call->inner < duration ? call->inner : duration;
	if (i != UINT32_MAX) {
		folded->stacks[i].ns += duration;
	} else if (folded->n == FOLDED_MAX) {
		folded->other += duration;
	} else {
		GROW(folded->stacks, folded->n + 1, folded->room);
		key.ns = duration;
		table_add(&folded->by_key, hash, (uint32_t)folded->n);
		folded->stacks[folded->n++] = key;
	}
}

void folded_release(struct folded *folded)
{
	free(folded->stacks);
	table_release(&folded->by_key);
	*folded = (struct folded){ 0 };
}

static void folded_restart(void *state)
{
	folded_release(state);
}

struct report_consumer folded_consumer(struct folded *folded)
{
	return (struct report_consumer){ .state = folded, .restart = folded_restart, .leave = folded_leave };
}

/* Prints a frame's name. Semicolons separate frames, so they are replaced. */
static void folded_frame_put(FILE *out, const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ";");

		escape_put_n(out, name, n, 0);
		name += n;
		if (*name) {
			putc(',', out);
			name++;
		}
	}
}

static void path_put(FILE *out, const struct run *run, uint32_t path)
{
	const struct path_node *node;
	uint32_t nodes[PATH_DEPTH_MAX + 1];
	size_t n = 0;

	for (; path; path = node->parent) {
		node = paths_node(run->paths, path);
		nodes[n++] = path;
	}
	while (n--) {
		uint32_t function = paths_node(run->paths, nodes[n])->function;

		putc(';', out);
		folded_frame_put(out,
		                 function == REPORT_NONE ? "(other)" : names_function_at(run->names, function)->name);
	}
}

static int folded_compare(const void *a, const void *b)
{
	const struct folded_stack *x = a, *y = b;

	if (x->process != y->process)
		return x->process < y->process ? -1 : 1;
	if (x->path != y->path)
		return x->path < y->path ? -1 : 1;
	return x->status < y->status ? -1 : x->status > y->status;
}

void folded_print(FILE *out, const struct folded *folded, const struct run *run)
{
	static const char *const marks[] = { [CALL_ENDED] = "",
		                             [CALL_UNCERTAIN] = " [uncertain]",
		                             [CALL_UNENDED] = " [not ended]",
		                             [STATUS_IN_FLIGHT] = " [in flight]" };

	if (folded->n)
		qsort(folded->stacks, folded->n, sizeof(*folded->stacks), folded_compare);
	for (size_t i = 0; i < folded->n; i++) {
		const struct folded_stack *stack = &folded->stacks[i];
		const char *comm = names_process_at(run->names, stack->process)->comm;

		if (!stack->ns)
			continue;
		folded_frame_put(out, *comm ? comm : "?");
		path_put(out, run, stack->path);
		fprintf(out, "%s %" PRIu64 "\n", marks[stack->status], stack->ns);
	}
	if (folded->other)
		fprintf(out, "(other) %" PRIu64 "\n", folded->other);
}
