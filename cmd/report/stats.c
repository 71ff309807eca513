/* SPDX-License-Identifier: MIT */
#include "cmd/report/stats.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/report/calls.h"
#include "cmd/report/grow.h"

void stats_init(struct stats *stats, const struct report_names *names)
{
	*stats = (struct stats){ .names = names, .budget = { STATS_TOP_VALUES } };
}

static void call_stats_release(struct call_stats *calls)
{
	histogram_release(&calls->durations);
	histogram_release(&calls->uncertain_durations);
}

static void cells_release(struct cells *cells)
{
	for (size_t i = 0; i < cells->n; i++)
		call_stats_release(&cells->cells[i]);
	free(cells->cells);
	table_release(&cells->by_key);
}

void stats_release(struct stats *stats)
{
	for (size_t i = 0; i < stats->nprobes; i++) {
		struct probe_stats *probe = &stats->probes[i];

		series_release(&probe->rate);
		for (size_t j = 0; j < probe->narguments; j++) {
			free(probe->arguments[j].name);
			top_release(&probe->arguments[j].top);
		}
		free(probe->arguments);
	}
	for (size_t i = 0; i < stats->nfunctions; i++)
		call_stats_release(&stats->functions[i]);
	cells_release(&stats->threads);
	cells_release(&stats->processes);
	series_release(&stats->rate);
	free(stats->probes);
	free(stats->functions);
	free(stats->thread_records);
}

static void stats_restart(void *state)
{
	struct stats *stats = state;
	const struct report_names *names = stats->names;

	stats_release(stats);
	stats_init(stats, names);
}

/* ---- records ---- */

static struct probe_stats *stats_probe(struct stats *stats, const struct report_probe *probe)
{
	while (stats->nprobes <= probe->index) {
		GROW(stats->probes, stats->nprobes + 1, stats->probes_room);
		stats->probes[stats->nprobes++] = (struct probe_stats){ 0 };
	}
	return &stats->probes[probe->index];
}

/* Returns the argument of this name, which is usually number i. NULL: there are too many. */
static struct argument_stats *probe_argument(struct probe_stats *probe, const char *name, size_t i)
{
	if (i < probe->narguments && !strcmp(probe->arguments[i].name, name))
		return &probe->arguments[i];
	for (i = 0; i < probe->narguments; i++)
		if (!strcmp(probe->arguments[i].name, name))
			return &probe->arguments[i];
	if (probe->narguments == STATS_ARGUMENTS_MAX)
		return NULL;
	probe->arguments = xreallocarray(probe->arguments, probe->narguments + 1, sizeof(*probe->arguments));
	probe->arguments[probe->narguments] = (struct argument_stats){ .name = xstrdup(name) };
	return &probe->arguments[probe->narguments++];
}

static void argument_add_number(struct argument_stats *argument, long double number)
{
	if (!argument->numbers++ || number < argument->min)
		argument->min = number;
	if (argument->numbers == 1 || number > argument->max)
		argument->max = number;
	argument->sum += (double)number;
}

static void argument_stats_add(struct argument_stats *argument, const struct report_value *value,
                               struct top_budget *budget)
{
	top_add(&argument->top, value, budget);
	switch (value->kind) {
	case VALUE_SIGNED: argument_add_number(argument, value->i); break;
	case VALUE_UNSIGNED: argument_add_number(argument, value->u); break;
	case VALUE_REAL: argument_add_number(argument, value->d); break;
	case VALUE_HEX:
	case VALUE_TEXT:
	case VALUE_FAULT: break;
	}
}

static void stats_record(void *state, const struct report_record *record)
{
	struct stats *stats = state;
	struct probe_stats *probe = stats_probe(stats, record->probe);

	if (!stats->records++)
		stats->begin = record->time;
	stats->end = record->time;
	series_add(&stats->rate, stats->begin, record->time);
	series_add(&probe->rate, stats->begin, record->time);
	probe->records++;
	while (stats->nthreads <= record->thread->index) {
		GROW(stats->thread_records, stats->nthreads + 1, stats->threads_room);
		stats->thread_records[stats->nthreads++] = 0;
	}
	stats->thread_records[record->thread->index]++;
	for (size_t i = 0; i < record->nvalues; i++) {
		struct argument_stats *argument = probe_argument(probe, record->values[i].name, i);

		if (argument)
			argument_stats_add(argument, &record->values[i], &stats->budget);
	}
}

/* ---- calls ---- */

static bool cell_is(const void *cells, uint32_t i, const void *key)
{
	const struct call_stats *cell = (const struct call_stats *)cells + i, *k = key;

	return cell->function == k->function && cell->group == k->group;
}

/* Returns the cell of a function and a group. NULL: there are too many. */
static struct call_stats *cells_find(struct cells *cells, uint32_t function, uint32_t group)
{
	const struct call_stats key = { .function = function, .group = group };
	uint64_t hash = table_hash(&key, 2 * sizeof(uint32_t));
	uint32_t i = table_find(&cells->by_key, hash, cell_is, cells->cells, &key);

	if (i != UINT32_MAX)
		return &cells->cells[i];
	if (cells->n == STATS_CELLS_MAX) {
		cells->other++;
		return NULL;
	}
	GROW(cells->cells, cells->n + 1, cells->room);
	table_add(&cells->by_key, hash, (uint32_t)cells->n);
	cells->cells[cells->n] = key;
	return &cells->cells[cells->n++];
}

static struct call_stats *stats_function(struct stats *stats, uint32_t function)
{
	while (stats->nfunctions <= function) {
		GROW(stats->functions, stats->nfunctions + 1, stats->functions_room);
		stats->functions[stats->nfunctions] = (struct call_stats){ .function = (uint32_t)stats->nfunctions };
		stats->nfunctions++;
	}
	return &stats->functions[function];
}

/* Adds a call to a row (NULL: to none). */
static void call_stats_add(struct call_stats *calls, const struct report_call *call, uint64_t duration)
{
	if (!calls)
		return;
	switch (call->status) {
	case CALL_ENDED:
		histogram_add(&calls->durations, duration);
		calls->self += duration > call->inner ? (double)(duration - call->inner) : 0;
		break;
	case CALL_UNCERTAIN:
		calls->uncertain++;
		histogram_add(&calls->uncertain_durations, duration);
		break;
	case CALL_UNENDED:
		calls->unended += !call->at_end;
		calls->in_flight += call->at_end;
		break;
	}
}

static void stats_add_call(struct stats *stats, const struct report_call *call, uint64_t duration)
{
	uint32_t function = call->function->index;

	call_stats_add(stats_function(stats, function), call, duration);
	call_stats_add(cells_find(&stats->threads, function, call->thread->index), call, duration);
	call_stats_add(cells_find(&stats->processes, function, call->thread->process->index), call, duration);
}

static void stats_leave(void *state, const struct report_call *call, const struct report_record *record)
{
	uint64_t duration = (uint64_t)(call->end - call->begin);
	struct report_call known = *call;

	/* A duration that the record has is that of the call, and without the time that the probes have taken. */
	if (record && record_duration(record, &duration))
		known.status = CALL_ENDED;
	stats_add_call(state, &known, duration);
}

static void stats_measured(void *state, const struct report_call *call, const struct report_record *record)
{
	(void)record;
	stats_add_call(state, call, (uint64_t)(call->end - call->begin));
}

static void stats_unmatched(void *state, const struct report_function *function, const struct report_record *record)
{
	struct stats *stats = state;
	struct call_stats *cell = cells_find(&stats->threads, function->index, record->thread->index);

	stats_function(stats, function->index)->unmatched++;
	if (cell)
		cell->unmatched++;
	cell = cells_find(&stats->processes, function->index, record->thread->process->index);
	if (cell)
		cell->unmatched++;
}

static void stats_lost(void *state, const struct report_loss *loss)
{
	struct stats *stats = state;

	stats->lost += loss->records;
	stats->is_lost_unknown |= !loss->records;
}

struct report_consumer stats_consumer(struct stats *stats)
{
	return (struct report_consumer){
		.state = stats,
		.restart = stats_restart,
		.record = stats_record,
		.leave = stats_leave,
		.measured = stats_measured,
		.unmatched = stats_unmatched,
		.lost = stats_lost,
	};
}

/* ---- results ---- */

void stats_finish(struct stats *stats)
{
	for (size_t i = 0; i < stats->nprobes; i++) {
		series_widen(&stats->probes[i].rate, stats->rate.width);
		for (size_t j = 0; j < stats->probes[i].narguments; j++)
			top_sort(&stats->probes[i].arguments[j].top);
	}
}

uint64_t call_stats_calls(const struct call_stats *calls)
{
	return calls->durations.count + calls->uncertain + calls->unended + calls->in_flight;
}
