/* SPDX-License-Identifier: MIT */
#include "cmd/report/top.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"

enum { TOP_ROOM_FIRST = 8 };

static void value_encode(const struct report_value *value, struct top_value *to)
{
	size_t at = 0, n = value->text ? value->length : 0;

	*to = (struct top_value){ .kind = value->kind, .cut = value->cut };
	if (value->kind != VALUE_TEXT && value->kind != VALUE_FAULT) {
		memcpy(to->bytes, &value->u, sizeof(value->u));
		at = sizeof(value->u);
		to->label = n ? (uint16_t)at : 0;
	}
	if (n > TOP_BYTES - at) {
		n = TOP_BYTES - at;
		to->cut = true;
	}
	if (n)
		memcpy(to->bytes + at, value->text, n);
	to->length = (uint16_t)(at + n);
	to->hash = (uint32_t)table_hash(to->bytes, to->length) + (uint32_t)to->kind + to->cut;
}

static bool value_equals(const void *values, uint32_t i, const void *key)
{
	const struct top_value *value = (const struct top_value *)values + i, *k = key;

	return value->kind == k->kind && value->length == k->length && value->cut == k->cut &&
	       !memcmp(value->bytes, k->bytes, k->length);
}

/* ---- the heap ---- */

static void heap_put(struct top *top, size_t place, uint32_t value)
{
	top->heap[place] = value;
	top->values[value].place = (uint32_t)place;
}

/* Moves a value down whose count has grown. */
static void heap_sink(struct top *top, size_t place)
{
	uint32_t value = top->heap[place];

	for (size_t child; (child = 2 * place + 1) < top->n; place = child) {
		if (child + 1 < top->n && top->values[top->heap[child + 1]].count < top->values[top->heap[child]].count)
			child++;
		if (top->values[top->heap[child]].count >= top->values[value].count)
			break;
		heap_put(top, place, top->heap[child]);
	}
	heap_put(top, place, value);
}

/* Moves a new value, whose count is 1, up. */
static void heap_rise(struct top *top, size_t place)
{
	uint32_t value = top->heap[place];

	for (; place && top->values[top->heap[(place - 1) / 2]].count > top->values[value].count;
	     place = (place - 1) / 2)
		heap_put(top, place, top->heap[(place - 1) / 2]);
	heap_put(top, place, value);
}

/* ---- values ---- */

/* Makes room for another value, if the limits allow it. */
static bool top_grow(struct top *top, struct top_budget *budget)
{
	size_t room = top->room ? 2 * top->room : TOP_ROOM_FIRST;

	if (top->n < top->room)
		return true;
	if (top->room == TOP_VALUES || (top->room && budget->values < room - top->room))
		return false;
	budget->values -= budget->values < room - top->room ? budget->values : room - top->room;
	top->values = xreallocarray(top->values, room, sizeof(*top->values));
	top->heap = xreallocarray(top->heap, room, sizeof(*top->heap));
	top->room = room;
	return true;
}

void top_add(struct top *top, const struct report_value *value, struct top_budget *budget)
{
	struct top_value coded;
	uint32_t i;

	value_encode(value, &coded);
	top->total++;
	i = table_find(&top->by_value, coded.hash, value_equals, top->values, &coded);
	if (i != UINT32_MAX) {
		top->values[i].count++;
		heap_sink(top, top->values[i].place);
		return;
	}
	if (top_grow(top, budget)) {
		coded.count = 1;
		i = (uint32_t)top->n++;
		top->values[i] = coded;
		top->heap[i] = i;
		heap_rise(top, i);
	} else {
		i = top->heap[0];
		table_remove(&top->by_value, top->values[i].hash, i);
		coded.error = top->values[i].count;
		coded.count = coded.error + 1;
		top->values[i] = coded;
		heap_sink(top, 0);
	}
	table_add(&top->by_value, coded.hash, i);
}

static int value_compare(const void *a, const void *b)
{
	const struct top_value *x = a, *y = b;
	uint64_t p = x->count - x->error, q = y->count - y->error;
	size_t n = x->length < y->length ? x->length : y->length;
	int order;

	if (p != q)
		return p > q ? -1 : 1;
	order = memcmp(x->bytes, y->bytes, n);
	return order ? order : (int)x->length - (int)y->length;
}

void top_sort(struct top *top)
{
	if (top->n)
		qsort(top->values, top->n, sizeof(*top->values), value_compare);
}

void top_release(struct top *top)
{
	free(top->values);
	free(top->heap);
	table_release(&top->by_value);
	*top = (struct top){ 0 };
}
