/* SPDX-License-Identifier: MIT */
#include "cmd/report/report-json.h"

#include <string.h>

#include "cmd/alloc.h"

static void json_add_process(json_object *to, const struct report_process *process)
{
	if (*process->host)
		json_add_text(to, "host", process->host);
	json_add_int(to, "pid", process->pid);
}

static json_object *json_processes(const struct stats *stats)
{
	json_object *list = json_new_array();

	for (size_t i = 0; i < names_processes(stats->names); i++) {
		const struct report_process *process = names_process_at(stats->names, i);
		json_object *row = json_new_object();

		json_add_process(row, process);
		json_add_text(row, "comm", process->comm);
		json_append(list, row);
	}
	return list;
}

static json_object *json_threads(const struct stats *stats)
{
	json_object *list = json_new_array();

	for (size_t i = 0; i < stats->nthreads; i++) {
		const struct report_thread *thread = names_thread_at(stats->names, i);
		json_object *row = json_new_object();

		json_add_process(row, thread->process);
		json_add_int(row, "tid", thread->tid);
		json_add_text(row, "comm", thread->comm);
		json_add_uint(row, "records", stats->thread_records[i]);
		json_append(list, row);
	}
	return list;
}

/* ---- probes ---- */

static json_object *json_top_number(const struct top_value *value)
{
	uint64_t u = 0;
	double d;

	memcpy(&u, value->bytes, sizeof(u));
	memcpy(&d, &u, sizeof(d));
	if (value->kind == VALUE_REAL)
		return json_double(d);
	return value->kind == VALUE_SIGNED ? json_int((int64_t)u) : json_uint(u);
}

static json_object *json_top_value(const struct top_value *value)
{
	json_object *row = json_new_object();

	if (value->kind == VALUE_TEXT)
		json_add(row, "value", json_text_n(value->bytes, value->length));
	else
		json_add(row, "value", value->kind == VALUE_FAULT ? NULL : json_top_number(value));
	if (value->label)
		json_add(row, "name", json_text_n(value->bytes + value->label, (size_t)value->length - value->label));
	if (value->cut)
		json_add_bool(row, "cut", true);
	json_add_uint(row, "count", value->count - value->error);
	json_add_uint(row, "count_max", value->count);
	return row;
}

/* Makes an integer if the number is one of 64 bits. */
static json_object *json_number(long double number)
{
	if (number >= 0 && number < 0x1p64L && (long double)(uint64_t)number == number)
		return json_uint((uint64_t)number);
	if (number < 0 && number >= -0x1p63L && (long double)(int64_t)number == number)
		return json_int((int64_t)number);
	return json_double((double)number);
}

static json_object *json_argument(const struct argument_stats *argument)
{
	json_object *row = json_new_object(), *values = json_new_array();
	uint64_t rest = argument->top.total;

	json_add_text(row, "name", argument->name);
	json_add_uint(row, "count", argument->top.total);
	if (argument->numbers) {
		json_add(row, "min", json_number(argument->min));
		json_add(row, "max", json_number(argument->max));
		json_add_double(row, "average", argument->sum / (double)argument->numbers);
	}
	for (size_t i = 0; i < argument->top.n; i++) {
		rest -= argument->top.values[i].count - argument->top.values[i].error;
		json_append(values, json_top_value(&argument->top.values[i]));
	}
	json_add(row, "values", values);
	json_add_uint(row, "other", rest);
	return row;
}

static json_object *json_probes(const struct stats *stats)
{
	json_object *list = json_new_array();

	for (size_t i = 0; i < stats->nprobes; i++) {
		const struct probe_stats *probe = &stats->probes[i];
		json_object *row = json_new_object(), *rate = json_new_array(), *arguments = json_new_array();

		json_add_text(row, "probe", names_probe_at(stats->names, i)->name);
		json_add_uint(row, "records", probe->records);
		for (size_t j = 0; j < stats->rate.n; j++)
			json_append(rate, json_uint(j < probe->rate.n ? probe->rate.counts[j] : 0));
		json_add(row, "over_time", rate);
		for (size_t j = 0; j < probe->narguments; j++)
			json_append(arguments, json_argument(&probe->arguments[j]));
		json_add(row, "arguments", arguments);
		json_append(list, row);
	}
	return list;
}

/* ---- calls ---- */

static json_object *json_histogram(const struct histogram *histogram)
{
	static const struct {
		const char *key;
		double share;
	} quantiles[] = { { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p999", 0.999 } };
	json_object *row = json_new_object(), *buckets = json_new_array();
	uint64_t lo, hi;

	json_add_uint(row, "count", histogram->count);
	json_add_uint(row, "min", histogram->min);
	json_add_uint(row, "max", histogram->max);
	json_add_double(row, "sum", histogram->sum);
	for (size_t i = 0; i < sizeof(quantiles) / sizeof(*quantiles); i++)
		json_add_uint(row, quantiles[i].key, histogram_quantile(histogram, quantiles[i].share));
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		json_object *bucket;

		if (!histogram_at(histogram, i))
			continue;
		histogram_limits(i, &lo, &hi);
		bucket = json_new_array();
		json_append(bucket, json_uint(lo));
		json_append(bucket, json_uint(hi));
		json_append(bucket, json_uint(histogram_at(histogram, i)));
		json_append(buckets, bucket);
	}
	json_add(row, "buckets", buckets);
	return row;
}

static void json_add_calls(json_object *row, const struct stats *stats, const struct call_stats *calls)
{
	json_add_text(row, "function", names_function_at(stats->names, calls->function)->name);
	json_add_uint(row, "ended", calls->durations.count);
	json_add_uint(row, "uncertain", calls->uncertain);
	json_add_uint(row, "unended", calls->unended);
	json_add_uint(row, "in_flight", calls->in_flight);
	json_add_uint(row, "unmatched", calls->unmatched);
	json_add_double(row, "self", calls->self);
	json_add(row, "duration", calls->durations.count ? json_histogram(&calls->durations) : NULL);
	json_add(row, "uncertain_duration", calls->uncertain ? json_histogram(&calls->uncertain_durations) : NULL);
}

static json_object *json_functions(const struct stats *stats)
{
	json_object *list = json_new_array();

	for (size_t i = 0; i < stats->nfunctions; i++) {
		json_object *row;

		if (!call_stats_calls(&stats->functions[i]) && !stats->functions[i].unmatched)
			continue;
		row = json_new_object();
		json_add_calls(row, stats, &stats->functions[i]);
		json_append(list, row);
	}
	return list;
}

static json_object *json_cells(const struct stats *stats, const struct cells *cells, bool threads)
{
	json_object *list = json_new_array();

	for (size_t i = 0; i < cells->n; i++) {
		const struct call_stats *cell = &cells->cells[i];
		json_object *row = json_new_object();

		if (threads) {
			const struct report_thread *thread = names_thread_at(stats->names, cell->group);

			json_add_process(row, thread->process);
			json_add_int(row, "tid", thread->tid);
			json_add_text(row, "comm", thread->comm);
		} else {
			json_add_process(row, names_process_at(stats->names, cell->group));
			json_add_text(row, "comm", names_process_at(stats->names, cell->group)->comm);
		}
		json_add_calls(row, stats, cell);
		json_append(list, row);
	}
	return list;
}

json_object *report_json(const struct run *run, const struct stats *stats)
{
	json_object *document = json_new_object(), *traces = json_new_array(), *notices = json_new_array();

	for (size_t i = 0; i < run->input->ntraces; i++)
		json_append(traces, json_text(run->input->traces[i].name));
	for (size_t i = 0; i < run->input->nnotices; i++)
		json_append(notices, json_text(run->input->notices[i]));
	json_add(document, "traces", traces);
	json_add_uint(document, "records", stats->records);
	json_add_uint(document, "lost", stats->lost);
	json_add_bool(document, "lost_unknown", stats->is_lost_unknown);
	json_add(document, "damage", notices);
	json_add_bool(document, "interrupted", run->interrupted);
	json_add(document, "begin", stats->records ? json_int(run->begin) : NULL);
	json_add(document, "end", stats->records ? json_int(run->end) : NULL);
	json_add_uint(document, "interval", stats->rate.width);
	json_add_uint(document, "left_out", run->left_out);
	json_add_uint(document, "fields_left_out", run->fields_left_out);
	json_add(document, "processes", json_processes(stats));
	json_add(document, "threads", json_threads(stats));
	json_add(document, "probes", json_probes(stats));
	json_add(document, "calls", json_functions(stats));
	json_add(document, "calls_by_thread", json_cells(stats, &stats->threads, true));
	json_add(document, "calls_by_process", json_cells(stats, &stats->processes, false));
	json_add_uint(document, "calls_without_thread", stats->threads.other);
	return document;
}
