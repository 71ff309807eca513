/* SPDX-License-Identifier: MIT */
#include "cmd/report/marks.h"

#include <stdlib.h>

#include "cmd/alloc.h"
#include "cmd/report/grow.h"
#include "cmd/report/table.h"

struct call_marks {
	struct index_table by_key;
	struct mark_list *lists;
	size_t n, room;
	size_t ranges;
};

struct mark_key {
	uint32_t thread, function;
};

struct call_marks *marks_new(void)
{
	return xcalloc(1, sizeof(struct call_marks));
}

void marks_free(struct call_marks *marks)
{
	if (!marks)
		return;
	for (size_t i = 0; i < marks->n; i++)
		free(marks->lists[i].ranges);
	free(marks->lists);
	table_release(&marks->by_key);
	free(marks);
}

size_t marks_count(const struct call_marks *marks)
{
	return marks->ranges;
}

static bool mark_list_is(const void *lists, uint32_t i, const void *key)
{
	const struct mark_list *list = (const struct mark_list *)lists + i;
	const struct mark_key *k = key;

	return list->thread == k->thread && list->function == k->function;
}

/* Returns the list of a function in a thread, NULL if it has none. */
static struct mark_list *marks_find(const struct call_marks *marks, const struct mark_key *key)
{
	uint32_t i = table_find(&marks->by_key, table_hash(key, sizeof(*key)), mark_list_is, marks->lists, key);

	return i == UINT32_MAX ? NULL : &marks->lists[i];
}

void marks_add(struct call_marks *marks, uint32_t thread, uint32_t function, uint32_t lo, uint32_t hi)
{
	const struct mark_key key = { thread, function };
	struct mark_list *list = marks_find(marks, &key);

	if (!list) {
		GROW(marks->lists, marks->n + 1, marks->room);
		list = &marks->lists[marks->n];
		*list = (struct mark_list){ .thread = thread, .function = function };
		table_add(&marks->by_key, table_hash(&key, sizeof(key)), (uint32_t)marks->n++);
	}
	/* A range of an outer call covers those of the inner calls, which were found before. */
	while (list->n && list->ranges[list->n - 1].hi >= lo) {
		struct mark_range last = list->ranges[--list->n];

		marks->ranges--;
		lo = last.lo < lo ? last.lo : lo;
		hi = last.hi > hi ? last.hi : hi;
	}
	if (list->n && (marks->ranges >= MARKS_MAX || list->ranges[list->n - 1].hi + 1 == lo)) {
		list->ranges[list->n - 1].hi = hi;
		return;
	}
	GROW(list->ranges, list->n + 1, list->room);
	list->ranges[list->n++] = (struct mark_range){ lo, hi };
	marks->ranges++;
}

bool marks_has(struct call_marks *marks, uint32_t thread, uint32_t function, uint32_t number)
{
	const struct mark_key key = { thread, function };
	struct mark_list *list = marks->n ? marks_find(marks, &key) : NULL;

	if (!list)
		return false;
	while (list->next < list->n && list->ranges[list->next].hi < number)
		list->next++;
	return list->next < list->n && list->ranges[list->next].lo <= number;
}

void marks_rewind(struct call_marks *marks)
{
	for (size_t i = 0; i < marks->n; i++)
		marks->lists[i].next = 0;
}
