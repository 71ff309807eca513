/* SPDX-License-Identifier: MIT */
#include "cmd/stat-json.h"

#include <math.h>

#include "cmd/aggregates.h"
#include "cmd/json.h"
#include "cmd/sample.h"
#include "cmd/ui.h"

/* Adds the hits of each process to a row that is for all processes. */
static void json_add_processes(json_object *to, const struct count_row *r)
{
	json_object *processes = json_new_array();

	for (size_t i = 0; i < pp_stat_processes(r->stat, r->at); i++) {
		json_object *process = json_new_object();
		uint64_t hits;

		json_add_int(process, "pid", pp_stat_process(r->stat, r->at, i, &hits));
		json_add_uint(process, "hits", hits);
		json_append(processes, process);
	}
	json_add(to, "processes", processes);
	json_add_uint(to, "other", r->counts.other);
}

static void json_add_stopped(json_object *to, const struct count_row *r)
{
	json_object *stopped = json_new_object();

	json_add_double(stopped, "cpu_share", r->share);
	json_add_double(stopped, "limit", r->limit);
	json_add_uint(to, "over_budget", r->over_budget);
	json_add(to, "stopped", stopped);
}

static json_object *count_row_json(const struct count_row *r)
{
	json_object *row = json_new_object();

	json_add_text(row, "probe", r->probe);
	json_add(row, "pid", r->pid ? json_int(r->pid) : NULL);
	if (r->pid_namespace)
		json_add_uint(row, "pid_namespace", r->pid_namespace);
	json_add_text(row, "file", r->file);
	json_add_text(row, "backend", r->backend);
	json_add_text(row, "state", count_row_state_word(r));
	json_add_text(row, "file_state", count_row_file_word(r));
	json_add_uint(row, "sites", r->sites);
	json_add_uint(row, "hits", r->counts.hits);
	json_add_uint(row, "filtered", r->counts.filtered);
	json_add_uint(row, "unsampled", r->counts.unsampled);
	json_add_uint(row, "idle", r->counts.idle);
	json_add_uint(row, "recorded", r->counts.recorded);
	json_add_uint(row, "overwritten", r->counts.overwritten);
	json_add_uint(row, "lost", r->counts.lost);
	json_add_uint(row, "missed", r->counts.missed);
	json_add_uint(row, "entries", r->counts.entries);
	json_add_uint(row, "under_way", r->counts.under_way);
	json_add_uint(row, "abandoned", r->counts.abandoned);
	json_add_uint(row, "unmatched", r->counts.unmatched);
	sample_add_json(row, &r->sample);
	if (!isnan(r->p50.value)) {
		json_add(row, "p50", quantile_json(&r->p50));
		json_add(row, "p99", quantile_json(&r->p99));
	}
	if (!r->pid)
		json_add_processes(row, r);
	if (r->over_budget)
		json_add_stopped(row, r);
	return row;
}

static json_object *budget_json(const struct reading *reading)
{
	json_object *budget = json_new_object();

	json_add_double(budget, "cpu_share", reading->limit);
	json_add_bool(budget, "watched", reading->watched);
	return budget;
}

static json_object *flight_json(const struct reading *reading)
{
	json_object *flight = json_new_object();

	json_add_uint(flight, "size", reading->flight);
	json_add_uint(flight, "held", reading->held);
	return flight;
}

static json_object *cost_json(const struct pp_cost *cost)
{
	json_object *object = json_new_object();

	json_add_uint(object, "hits", cost->hits);
	json_add_double(object, "trap_ns", cost->trap_ns);
	json_add_double(object, "program_ns", cost->program_ns);
	json_add_double(object, "cpu_share", cost->share);
	json_add_double(object, "call_ns", cost->call_ns);
	return object;
}

void reading_print_json(struct options *o, const struct reading *reading, uint64_t top)
{
	json_object *document = json_new_object(), *probes = json_new_array();

	for (size_t i = 0; i < reading->n; i++)
		json_append(probes, count_row_json(&reading->rows[i]));
	json_add_text(document, "session", options_session_name(o));
	json_add_uint(document, "time", reading->time);
	json_add(document, "probes", probes);
	json_add_uint(document, "uncounted", pp_stat_uncounted(reading->stat));
	if (pp_aggregates_tables(reading->aggregates))
		json_add(document, "aggregates", aggregates_json(reading->aggregates, top));
	if (reading->flight)
		json_add(document, "flight_recorder", flight_json(reading));
	if (reading->limit > 0 && (o->verbose || !reading->watched))
		json_add(document, "budget", budget_json(reading));
	if (reading->has_cost)
		json_add(document, "cost", cost_json(&reading->cost));
	ui_print_document(o, stdout, document);
}
