/* SPDX-License-Identifier: MIT */
/*
 * A graph of libbabeltrace2 components: one source.ctf.fs for each trace, a muxer that sorts by time, and a sink that is
 * ours. Their messages are
 *
 * - events, which become records;
 * - discarded events and packets, which become losses. The muxer passes them at their beginning, before the records of the
 *   time in which the loss was noticed.
 */
#include "cmd/report/reader.h"

#include <babeltrace2/babeltrace.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/report/fields.h"

/* An event class. The pointers are those of the graph. */
struct event_class {
	const bt_event_class *class;
	struct report_probe *probe;
	const char *host;
	bool is_ours;
};

struct trace_reader {
	struct report_names *names;
	const bt_plugin *ctf, *utils;
	bt_graph *graph;
	bt_message_iterator *messages;
	struct event_class *classes; /* a hash table with room for twice as many */
	size_t nclasses, room;
	struct fields fields;
	int64_t time; /* of the last record: times do not decrease */
	struct reader_range range;
	char *error;
	/* During reader_run(): */
	void (*record)(void *state, const struct report_record *record);
	void (*lost)(void *state, const struct report_loss *loss);
	void *state;
};

/* ---- errors ---- */

/* Returns what libbabeltrace2 says about its last error: the first cause, which is the most specific. */
static char *babeltrace_message(void)
{
	const bt_error *error = bt_current_thread_take_error();
	char *message;

	if (!error)
		return xstrdup("no reason given");
	if (bt_error_get_cause_count(error)) {
		const bt_error_cause *cause = bt_error_borrow_cause_by_index(error, 0);

		message = xstrdup(bt_error_cause_get_message(cause));
	} else {
		message = xstrdup("no reason given");
	}
	bt_error_release(error);
	return message;
}

static int reader_fail(struct trace_reader *reader, int err, const char *what)
{
	char *reason = babeltrace_message();

	free(reader->error);
	reader->error = xasprintf("%s: %s", what, reason);
	free(reason);
	return -err;
}

/* ---- event classes ---- */

static const char *trace_text(const bt_trace *trace, const char *name)
{
	const bt_value *value = bt_trace_borrow_environment_entry_value_by_name_const(trace, name);

	return value && bt_value_is_string(value) ? bt_value_string_get(value) : "";
}

/* Returns whether the last argument of the class is "duration". */
static bool class_has_duration(const bt_event_class *class)
{
	const bt_field_class *payload = bt_event_class_borrow_payload_field_class_const(class);
	uint64_t n = payload ? bt_field_class_structure_get_member_count(payload) : 0;

	while (n--) {
		const bt_field_class_structure_member *member =
			bt_field_class_structure_borrow_member_by_index_const(payload, n);
		const char *name = bt_field_class_structure_member_get_name(member);

		if (strcmp(name, "_faults") && strcmp(name, "_cut"))
			return !strcmp(name, "duration") &&
			       bt_field_class_get_type(bt_field_class_structure_member_borrow_field_class_const(
				       member)) == BT_FIELD_CLASS_TYPE_UNSIGNED_INTEGER;
	}
	return false;
}

static struct event_class *reader_class_slot(struct trace_reader *reader, const bt_event_class *class)
{
	size_t i = ((uintptr_t) class >> 4) * 0x9e3779b97f4a7c15 >> 32 & (reader->room - 1);

	while (reader->classes[i].class && reader->classes[i].class != class)
		i = (i + 1) & (reader->room - 1);
	return &reader->classes[i];
}

static void reader_grow_classes(struct trace_reader *reader)
{
	struct event_class *old = reader->classes;
	size_t n = reader->room;

	reader->room = n ? 2 * n : 64;
	reader->classes = xcalloc(reader->room, sizeof(*old));
	for (size_t i = 0; i < n; i++)
		if (old[i].class)
			*reader_class_slot(reader, old[i].class) = old[i];
	free(old);
}

static struct event_class *reader_add_class(struct trace_reader *reader, const bt_event_class *class)
{
	const char *name = bt_event_class_get_name(class);
	struct event_class *slot;

	if (2 * (reader->nclasses + 1) > reader->room)
		reader_grow_classes(reader);
	slot = reader_class_slot(reader, class);
	if (slot->class)
		return slot;
	slot->class = class;
	slot->probe = names_probe(reader->names, name && *name ? name : "(no name)", class_has_duration(class));
	reader->nclasses++;
	return slot;
}

/* Adds all event classes of a stream, so that names are known before the first record. */
static void reader_add_stream(struct trace_reader *reader, const bt_stream *stream)
{
	const bt_trace *trace = bt_stream_borrow_trace_const(stream);
	const bt_stream_class *stream_class = bt_stream_borrow_class_const(stream);
	const char *tracer = trace_text(trace, "tracer_name"), *host = trace_text(trace, "hostname");

	for (uint64_t i = 0; i < bt_stream_class_get_event_class_count(stream_class); i++) {
		struct event_class *class =
			reader_add_class(reader, bt_stream_class_borrow_event_class_by_index_const(stream_class, i));

		class->is_ours = !strcmp(tracer, "probepoint");
		class->host = host;
	}
	names_pair_functions(reader->names);
}

/* ---- messages ---- */

static int64_t reader_time(struct trace_reader *reader, const bt_clock_snapshot *clock)
{
	int64_t time;

	if (bt_clock_snapshot_get_ns_from_origin(clock, &time) != BT_CLOCK_SNAPSHOT_GET_NS_FROM_ORIGIN_STATUS_OK) {
		bt_current_thread_clear_error();
		return reader->time;
	}
	return time;
}

/* Returns the field of one of these names: of the event, or else of its packet, whose events have it in common. */
static const bt_field *event_context(const bt_event *event, const char *const *names)
{
	const bt_field *field = fields_member(bt_event_borrow_common_context_field_const(event), names);
	bool has_packets =
		bt_stream_class_supports_packets(bt_stream_borrow_class_const(bt_event_borrow_stream_const(event)));

	if (field || !has_packets)
		return field;
	return fields_member(bt_packet_borrow_context_field_const(bt_event_borrow_packet_const(event)), names);
}

static const struct report_thread *reader_thread(struct trace_reader *reader, const bt_event *event, const char *host)
{
	static const char *const pids[] = { "pid", "vpid", NULL }, *const tids[] = { "tid", "vtid", NULL };
	static const char *const comms[] = { "comm", "procname", NULL };
	int64_t pid = -1, tid = -1;

	fields_integer(event_context(event, pids), &pid);
	if (!fields_integer(event_context(event, tids), &tid))
		tid = pid;
	return names_thread(reader->names, host ? host : "", pid < 0 ? tid : pid, tid,
	                    fields_text(event_context(event, comms)));
}

static void reader_pass_event(struct trace_reader *reader, const bt_message *message)
{
	const bt_event *event = bt_message_event_borrow_event_const(message);
	const struct event_class *class = reader_add_class(reader, bt_event_borrow_class_const(event));
	struct report_record record = { .probe = class->probe };

	if (bt_stream_class_borrow_default_clock_class_const(
		    bt_stream_borrow_class_const(bt_event_borrow_stream_const(event))))
		record.time = reader_time(reader, bt_message_event_borrow_default_clock_snapshot_const(message));
	if (record.time < reader->time)
		record.time = reader->time;
	reader->time = record.time;
	record.thread = reader_thread(reader, event, class->host);
	fields_take(&reader->fields, event, class->is_ours);
	record.values = reader->fields.values;
	record.nvalues = reader->fields.n;
	reader->record(reader->state, &record);
}

static void reader_pass_discarded(struct trace_reader *reader, const bt_message *message)
{
	const bt_stream_class *class =
		bt_stream_borrow_class_const(bt_message_discarded_events_borrow_stream_const(message));
	struct report_loss loss = { .begin = INT64_MIN, .end = INT64_MAX };

	if (bt_message_discarded_events_get_count(message, &loss.records) != BT_PROPERTY_AVAILABILITY_AVAILABLE)
		loss.records = 0;
	if (bt_stream_class_discarded_events_have_default_clock_snapshots(class)) {
		loss.begin = reader_time(
			reader, bt_message_discarded_events_borrow_beginning_default_clock_snapshot_const(message));
		loss.end = reader_time(reader,
		                       bt_message_discarded_events_borrow_end_default_clock_snapshot_const(message));
	}
	reader->lost(reader->state, &loss);
}

static void reader_pass_discarded_packets(struct trace_reader *reader, const bt_message *message)
{
	const bt_stream_class *class =
		bt_stream_borrow_class_const(bt_message_discarded_packets_borrow_stream_const(message));
	struct report_loss loss = { .begin = INT64_MIN, .end = INT64_MAX };

	if (bt_stream_class_discarded_packets_have_default_clock_snapshots(class)) {
		loss.begin = reader_time(
			reader, bt_message_discarded_packets_borrow_beginning_default_clock_snapshot_const(message));
		loss.end = reader_time(reader,
		                       bt_message_discarded_packets_borrow_end_default_clock_snapshot_const(message));
	}
	reader->lost(reader->state, &loss);
}

static void reader_pass_message(struct trace_reader *reader, const bt_message *message)
{
	switch (bt_message_get_type(message)) {
	case BT_MESSAGE_TYPE_STREAM_BEGINNING:
		reader_add_stream(reader, bt_message_stream_beginning_borrow_stream_const(message));
		break;
	case BT_MESSAGE_TYPE_EVENT: reader_pass_event(reader, message); break;
	case BT_MESSAGE_TYPE_DISCARDED_EVENTS: reader_pass_discarded(reader, message); break;
	case BT_MESSAGE_TYPE_DISCARDED_PACKETS: reader_pass_discarded_packets(reader, message); break;
	default: break;
	}
}

/* ---- the graph ---- */

static bt_graph_simple_sink_component_initialize_func_status sink_begin(bt_message_iterator *messages, void *state)
{
	struct trace_reader *reader = state;

	reader->messages = messages;
	return BT_GRAPH_SIMPLE_SINK_COMPONENT_INITIALIZE_FUNC_STATUS_OK;
}

static bt_graph_simple_sink_component_consume_func_status sink_consume(bt_message_iterator *messages, void *state)
{
	bt_message_array_const batch;
	uint64_t n;
	bt_message_iterator_next_status status = bt_message_iterator_next(messages, &batch, &n);

	switch (status) {
	case BT_MESSAGE_ITERATOR_NEXT_STATUS_OK: break;
	case BT_MESSAGE_ITERATOR_NEXT_STATUS_END: return BT_GRAPH_SIMPLE_SINK_COMPONENT_CONSUME_FUNC_STATUS_END;
	case BT_MESSAGE_ITERATOR_NEXT_STATUS_AGAIN: return BT_GRAPH_SIMPLE_SINK_COMPONENT_CONSUME_FUNC_STATUS_AGAIN;
	case BT_MESSAGE_ITERATOR_NEXT_STATUS_MEMORY_ERROR:
		return BT_GRAPH_SIMPLE_SINK_COMPONENT_CONSUME_FUNC_STATUS_MEMORY_ERROR;
	default: return BT_GRAPH_SIMPLE_SINK_COMPONENT_CONSUME_FUNC_STATUS_ERROR;
	}
	for (uint64_t i = 0; i < n; i++) {
		reader_pass_message(state, batch[i]);
		bt_message_put_ref(batch[i]);
	}
	return BT_GRAPH_SIMPLE_SINK_COMPONENT_CONSUME_FUNC_STATUS_OK;
}

/* Connects the outputs of a source to the muxer, which makes a new input after each connection. */
static int reader_connect(struct trace_reader *reader, const bt_component_source *source,
                          const bt_component_filter *muxer)
{
	uint64_t n = bt_component_source_get_output_port_count(source);

	for (uint64_t i = 0; i < n; i++) {
		uint64_t free_input = bt_component_filter_get_input_port_count(muxer) - 1;

		if (bt_graph_connect_ports(
			    reader->graph, bt_component_source_borrow_output_port_by_index_const(source, i),
			    bt_component_filter_borrow_input_port_by_index_const(muxer, free_input), NULL))
			return reader_fail(reader, EIO, "cannot read the trace");
	}
	return 0;
}

/* Makes the parameters of source.ctf.fs. NULL: no memory is left. */
static bt_value *source_parameters(const struct input *input, size_t i)
{
	bt_value *parameters = bt_value_map_create(), *inputs = bt_value_array_create();

	if (!parameters || !inputs || bt_value_array_append_string_element(inputs, input->traces[i].path) ||
	    bt_value_map_insert_entry(parameters, "inputs", inputs) ||
	    bt_value_map_insert_signed_integer_entry(parameters, "clock-class-offset-ns", input->traces[i].shift) ||
	    (input->ntraces > 1 &&
	     bt_value_map_insert_bool_entry(parameters, "force-clock-class-origin-unix-epoch", BT_TRUE))) {
		bt_value_put_ref(parameters);
		parameters = NULL;
	}
	bt_value_put_ref(inputs);
	return parameters;
}

static void range_add(struct reader_range *range, bool is_first, int64_t begin, int64_t end)
{
	range->is_known = is_first || range->is_known;
	if (is_first || begin < range->begin)
		range->begin = begin;
	if (is_first || end > range->end)
		range->end = end;
}

static int reader_add_trace(struct trace_reader *reader, const struct input *input, size_t i,
                            const bt_component_filter *muxer)
{
	const bt_component_class_source *class =
		bt_plugin_borrow_source_component_class_by_name_const(reader->ctf, "fs");
	const bt_component_source *source;
	bt_value *parameters = source_parameters(input, i);
	char *name = xasprintf("trace%zu", i);
	int failed, err;

	if (!parameters)
		alloc_failed();
	failed = bt_graph_add_source_component(reader->graph, class, name, parameters, BT_LOGGING_LEVEL_NONE, &source);
	bt_value_put_ref(parameters);
	free(name);
	if (!failed)
		return reader_connect(reader, source, muxer);
	name = xasprintf("cannot read '%s'", input->traces[i].name);
	err = reader_fail(reader, EINVAL, name);
	free(name);
	return err;
}

static int reader_find_plugin(struct trace_reader *reader, const char *name, const bt_plugin **plugin)
{
	/* Not those of the user's directories and of the environment. */
	if (!bt_plugin_find(name, BT_FALSE, BT_FALSE, BT_TRUE, BT_TRUE, BT_FALSE, plugin))
		return 0;
	free(reader->error);
	reader->error = xasprintf("babeltrace2 has no plugin '%s'; install the package libbabeltrace2-0", name);
	bt_current_thread_clear_error();
	return -ENOENT;
}

static int reader_build(struct trace_reader *reader, const struct input *input)
{
	const bt_component_filter *muxer;
	const bt_component_sink *sink;
	int err;

	if (reader_find_plugin(reader, "ctf", &reader->ctf) || reader_find_plugin(reader, "utils", &reader->utils))
		return -ENOENT;
	reader->graph = bt_graph_create(0);
	if (!reader->graph)
		alloc_failed();
	if (bt_graph_add_filter_component(reader->graph,
	                                  bt_plugin_borrow_filter_component_class_by_name_const(reader->utils, "muxer"),
	                                  "muxer", NULL, BT_LOGGING_LEVEL_NONE, &muxer))
		return reader_fail(reader, EIO, "cannot sort the trace");
	for (size_t i = 0; i < input->ntraces; i++) {
		err = reader_add_trace(reader, input, i, muxer);
		if (err)
			return err;
	}
	if (bt_graph_add_simple_sink_component(reader->graph, "report", sink_begin, sink_consume, NULL, reader,
	                                       &sink) ||
	    bt_graph_connect_ports(reader->graph, bt_component_filter_borrow_output_port_by_index_const(muxer, 0),
	                           bt_component_sink_borrow_input_port_by_index_const(sink, 0), NULL))
		return reader_fail(reader, EIO, "cannot read the trace");
	return 0;
}

int reader_open(const struct input *input, struct report_names *names, struct trace_reader **reader)
{
	*reader = xcalloc(1, sizeof(**reader));
	(*reader)->names = names;
	(*reader)->time = INT64_MIN;
	for (size_t i = 0; i < input->ntraces; i++)
		if (input->traces[i].has_range)
			range_add(&(*reader)->range, !(*reader)->range.is_known, input->traces[i].begin,
			          input->traces[i].end);
	return reader_build(*reader, input);
}

void reader_free(struct trace_reader *reader)
{
	if (!reader)
		return;
	bt_graph_put_ref(reader->graph);
	bt_plugin_put_ref(reader->ctf);
	bt_plugin_put_ref(reader->utils);
	fields_release(&reader->fields);
	free(reader->classes);
	free(reader->error);
	free(reader);
}

struct reader_range reader_range(const struct trace_reader *reader)
{
	return reader->range;
}

int reader_run(struct trace_reader *reader, void (*record)(void *state, const struct report_record *record),
               void (*lost)(void *state, const struct report_loss *loss), void *state)
{
	reader->record = record;
	reader->lost = lost;
	reader->state = state;
	switch (bt_graph_run_once(reader->graph)) {
	case BT_GRAPH_RUN_ONCE_STATUS_OK:
	case BT_GRAPH_RUN_ONCE_STATUS_AGAIN: return 1;
	case BT_GRAPH_RUN_ONCE_STATUS_END: return 0;
	case BT_GRAPH_RUN_ONCE_STATUS_MEMORY_ERROR: alloc_failed();
	default: return reader_fail(reader, EIO, "cannot read the rest of the trace");
	}
}

const char *reader_error(const struct trace_reader *reader)
{
	return reader->error ? reader->error : "";
}

uint64_t reader_fields_left_out(const struct trace_reader *reader)
{
	return reader->fields.left_out;
}
