/* SPDX-License-Identifier: MIT */
#include "cmd/report/report-json.h"

#include <math.h>
#include <string.h>

#include "cmd/alloc.h"

/* Prints members and rows one by one, because a document of all threads would take several times the memory of the report. */
struct printer {
	FILE *out;
	void (*print)(FILE *out, json_object *object);
	bool has_member, has_row;
};

static void printer_begin(struct printer *printer, const char *key)
{
	fprintf(printer->out, "%s\"%s\":", printer->has_member ? "," : "", key);
	printer->has_member = true;
}

static void printer_add(struct printer *printer, const char *key, json_object *value)
{
	printer_begin(printer, key);
	printer->print(printer->out, value);
}

static void printer_begin_list(struct printer *printer, const char *key)
{
	printer_begin(printer, key);
	putc('[', printer->out);
	printer->has_row = false;
}

static void printer_add_row(struct printer *printer, json_object *row)
{
	fputs(printer->has_row ? "," : "", printer->out);
	printer->has_row = true;
	printer->print(printer->out, row);
}

static void printer_end_list(struct printer *printer)
{
	putc(']', printer->out);
}

static void json_add_process(json_object *to, const struct report_process *process)
{
	if (*process->host)
		json_add_text(to, "host", process->host);
	json_add_int(to, "pid", process->pid);
}

static void print_processes(struct printer *printer, const struct stats *stats)
{
	printer_begin_list(printer, "processes");
	for (size_t i = 0; i < names_processes(stats->names); i++) {
		const struct report_process *process = names_process_at(stats->names, i);
		json_object *row = json_new_object();

		json_add_process(row, process);
		json_add_text(row, "comm", process->comm);
		printer_add_row(printer, row);
	}
	printer_end_list(printer);
}

static void print_threads(struct printer *printer, const struct stats *stats)
{
	printer_begin_list(printer, "threads");
	for (size_t i = 0; i < stats->nthreads; i++) {
		const struct report_thread *thread = names_thread_at(stats->names, i);
		json_object *row = json_new_object();

		json_add_process(row, thread->process);
		json_add_int(row, "tid", thread->tid);
		json_add_text(row, "comm", thread->comm);
		json_add_uint(row, "records", stats->thread_records[i]);
		printer_add_row(printer, row);
	}
	printer_end_list(printer);
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

/* Returns the least or the largest value. */
static json_object *json_extreme(const struct argument_stats *argument, const struct report_value *value)
{
	if (argument->numbers == argument->nans)
		return json_double(NAN);
	return value->kind == VALUE_SIGNED     ? json_int(value->i)
	       : value->kind == VALUE_UNSIGNED ? json_uint(value->u)
	                                       : json_double(value->d);
}

static json_object *json_argument(const struct argument_stats *argument)
{
	json_object *row = json_new_object(), *values = json_new_array();
	uint64_t rest = argument->top.total;

	json_add_text(row, "name", argument->name);
	json_add_uint(row, "count", argument->top.total);
	if (argument->numbers) {
		json_add(row, "min", json_extreme(argument, &argument->min));
		json_add(row, "max", json_extreme(argument, &argument->max));
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

static void print_probes(struct printer *printer, const struct stats *stats)
{
	printer_begin_list(printer, "probes");
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
		printer_add_row(printer, row);
	}
	printer_end_list(printer);
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

static void print_functions(struct printer *printer, const struct stats *stats)
{
	printer_begin_list(printer, "calls");
	for (size_t i = 0; i < stats->nfunctions; i++) {
		json_object *row;

		if (!call_stats_calls(&stats->functions[i]) && !stats->functions[i].unmatched)
			continue;
		row = json_new_object();
		json_add_calls(row, stats, &stats->functions[i]);
		printer_add_row(printer, row);
	}
	printer_end_list(printer);
}

static void print_cells(struct printer *printer, const struct stats *stats, const struct cells *cells, bool threads)
{
	printer_begin_list(printer, threads ? "calls_by_thread" : "calls_by_process");
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
		printer_add_row(printer, row);
	}
	printer_end_list(printer);
}

void report_json_print_members(FILE *out, const struct run *run, const struct stats *stats,
                               void (*print)(FILE *out, json_object *object))
{
	struct printer printer = { .out = out, .print = print };

	printer_begin_list(&printer, "traces");
	for (size_t i = 0; i < run->input->ntraces; i++)
		printer_add_row(&printer, json_text(run->input->traces[i].name));
	printer_end_list(&printer);
	printer_add(&printer, "records", json_uint(stats->records));
	printer_add(&printer, "lost", json_uint(stats->lost));
	printer_add(&printer, "lost_unknown", json_boolean(stats->is_lost_unknown));
	printer_begin_list(&printer, "damage");
	for (size_t i = 0; i < run->input->nnotices; i++)
		printer_add_row(&printer, json_text(run->input->notices[i]));
	printer_end_list(&printer);
	printer_add(&printer, "interrupted", json_boolean(run->interrupted));
	printer_add(&printer, "begin", stats->records ? json_int(run->begin) : NULL);
	printer_add(&printer, "end", stats->records ? json_int(run->end) : NULL);
	printer_add(&printer, "interval", json_uint(stats->rate.width));
	printer_add(&printer, "left_out", json_uint(run->left_out));
	printer_add(&printer, "fields_left_out", json_uint(run->fields_left_out));
	print_processes(&printer, stats);
	print_threads(&printer, stats);
	print_probes(&printer, stats);
	print_functions(&printer, stats);
	print_cells(&printer, stats, &stats->threads, true);
	print_cells(&printer, stats, &stats->processes, false);
	printer_add(&printer, "calls_without_thread", json_uint(stats->threads.other));
}
