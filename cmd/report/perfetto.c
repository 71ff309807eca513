/* SPDX-License-Identifier: MIT */
/*
 * The events that are written:
 *
 *     B, E    a call begins and ends, on the track of its thread. The arguments of the entry are in B, those of the return in E. A
 *             call that is not certain, or did not end, has "status" in E.
 *     b, e    a call that the record of its end has measured. These can overlap, so they have tracks of their own.
 *     i       a record that is neither, and a loss
 *     C       the rate of a probe, at the end of the file
 *     M       the name of a process or thread, at the end of the file
 *
 * Times are microseconds since the first record or loss, because a viewer has only 53 bits for them. If a measured call began
 * earlier, they count from its begin, because Perfetto drops events before 0. otherData has the time of day.
 * Processes of other hosts than the first one's, or without a pid, get numbers instead of pids.
 */
#include "cmd/report/perfetto.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/alloc.h"
#include "cmd/report/json-text.h"

#define NUMBERED_FROM INT64_C(1000000000) /* above all pids */

int perfetto_open(struct perfetto *perfetto, const char *path, const struct run *run)
{
	*perfetto = (struct perfetto){ .path = path, .run = run };
	if (!strcmp(path, "-")) {
		perfetto->file = stdout;
	} else {
		perfetto->file = fopen(path, "we");
		if (!perfetto->file)
			return -errno;
		setvbuf(perfetto->file, NULL, _IOFBF, 1 << 18);
		perfetto->is_seekable = lseek(fileno(perfetto->file), 0, SEEK_CUR) >= 0;
	}
	fputs("{\"traceEvents\":[\n", perfetto->file);
	return 0;
}

static void perfetto_restart(void *state)
{
	struct perfetto *perfetto = state;

	rewind(perfetto->file);
	if (ftruncate(fileno(perfetto->file), 0) && !perfetto->error)
		perfetto->error = -errno;
	perfetto->events = perfetto->asyncs = 0;
	perfetto->has_begin = false;
	fputs("{\"traceEvents\":[\n", perfetto->file);
}

/* ---- numbers ---- */

/* Returns whether a process is of the host of the first process, whose pids are used as they are. */
static bool process_is_local(const struct report_names *names, const struct report_process *process)
{
	return !strcmp(process->host, names_process_at(names, 0)->host);
}

static int64_t process_number(const struct report_names *names, const struct report_process *process)
{
	return process_is_local(names, process) && process->pid > 0 && process->pid < NUMBERED_FROM
	               ? process->pid
	               : NUMBERED_FROM + process->index;
}

static int64_t thread_number(const struct report_names *names, const struct report_thread *thread)
{
	return process_is_local(names, thread->process) && thread->tid > 0 && thread->tid < NUMBERED_FROM
	               ? thread->tid
	               : NUMBERED_FROM + thread->index;
}

static uint64_t perfetto_time(struct perfetto *perfetto, int64_t time)
{
	const struct run *run = perfetto->run;

	if (!perfetto->has_begin)
		perfetto->begin = run->is_second && run->earliest < time ? run->earliest : time;
	perfetto->has_begin = true;
	return time < perfetto->begin ? 0 : (uint64_t)time - (uint64_t)perfetto->begin;
}

/* ---- events ---- */

/* Begins an event object. */
static FILE *perfetto_begin(struct perfetto *perfetto, char phase, int64_t time)
{
	uint64_t ns = perfetto_time(perfetto, time);

	fprintf(perfetto->file, "%s{\"ph\":\"%c\",\"ts\":%" PRIu64 ".%03u", perfetto->events++ ? ",\n" : "", phase,
	        ns / 1000, (unsigned)(ns % 1000));
	return perfetto->file;
}

static void perfetto_put_thread(const struct perfetto *perfetto, const struct report_thread *thread)
{
	fprintf(perfetto->file, ",\"pid\":%" PRId64 ",\"tid\":%" PRId64,
	        process_number(perfetto->run->names, thread->process), thread_number(perfetto->run->names, thread));
}

static void perfetto_put_name(FILE *file, const char *name)
{
	fputs(",\"name\":", file);
	json_text_put(file, name, strlen(name));
}

static void perfetto_put_args(FILE *file, const struct report_record *record)
{
	if (!record->nvalues)
		return;
	fputs(",\"args\":", file);
	json_text_put_values(file, record);
}

/* Stops the run at the first error, such as a full disk. */
static void perfetto_check(struct perfetto *perfetto)
{
	if (ferror(perfetto->file) && !perfetto->error)
		perfetto->error = errno ? -errno : -EIO;
}

static void perfetto_instant(struct perfetto *perfetto, const struct report_record *record, const char *category)
{
	FILE *file = perfetto_begin(perfetto, 'i', record->time);

	perfetto_put_thread(perfetto, record->thread);
	fprintf(file, ",\"s\":\"t\",\"cat\":\"%s\"", category);
	perfetto_put_name(file, record->probe->name);
	perfetto_put_args(file, record);
	putc('}', file);
}

static void perfetto_record(void *state, const struct report_record *record)
{
	struct perfetto *perfetto = state;
	const struct report_probe *probe = record->probe;

	perfetto_time(perfetto, record->time);
	if (perfetto->error)
		return;
	/* The other functions write the records of calls. */
	if (probe->function == REPORT_NONE || record->thread->is_other ||
	    (probe->is_entry && !names_function_at(perfetto->run->names, probe->function)->has_return))
		perfetto_instant(perfetto, record, "probe");
	perfetto_check(perfetto);
}

static void perfetto_enter(void *state, const struct report_call *call, const struct report_record *record)
{
	struct perfetto *perfetto = state;
	FILE *file;

	if (perfetto->error)
		return;
	file = perfetto_begin(perfetto, 'B', call->begin);
	perfetto_put_thread(perfetto, call->thread);
	fputs(",\"cat\":\"call\"", file);
	perfetto_put_name(file, call->function->name);
	perfetto_put_args(file, record);
	putc('}', file);
}

static void perfetto_leave(void *state, const struct report_call *call, const struct report_record *record)
{
	static const char *const texts[] = { [CALL_UNCERTAIN] = "uncertain", [CALL_UNENDED] = "not ended" };
	struct perfetto *perfetto = state;
	const char *status = call->at_end ? "in flight at the end" : texts[call->status];
	FILE *file;

	if (perfetto->error)
		return;
	file = perfetto_begin(perfetto, 'E', call->end);
	perfetto_put_thread(perfetto, call->thread);
	if (status || (record && record->nvalues)) {
		fputs(",\"args\":{", file);
		if (status)
			fprintf(file, "\"status\":\"%s\"%s", status, record && record->nvalues ? "," : "");
		if (record && record->nvalues) {
			fputs("\"return\":", file);
			json_text_put_values(file, record);
		}
		putc('}', file);
	}
	putc('}', file);
}

static void perfetto_measured(void *state, const struct report_call *call, const struct report_record *record)
{
	struct perfetto *perfetto = state;
	uint64_t id = perfetto->asyncs++;

	if (perfetto->error)
		return;
	for (int end = 0; end < 2; end++) {
		FILE *file = perfetto_begin(perfetto, end ? 'e' : 'b', end ? call->end : call->begin);

		perfetto_put_thread(perfetto, call->thread);
		fprintf(file, ",\"cat\":\"measured\",\"id\":%" PRIu64, id);
		perfetto_put_name(file, call->function->name);
		if (!end)
			perfetto_put_args(file, record);
		putc('}', file);
	}
}

static void perfetto_unmatched(void *state, const struct report_function *function, const struct report_record *record)
{
	struct perfetto *perfetto = state;

	(void)function;
	if (!perfetto->error)
		perfetto_instant(perfetto, record, "unmatched");
}

static void perfetto_lost(void *state, const struct report_loss *loss)
{
	struct perfetto *perfetto = state;
	FILE *file;

	if (perfetto->error)
		return;
	if (!perfetto->has_begin && loss->begin == INT64_MIN)
		file = perfetto_begin(perfetto, 'i', loss->end == INT64_MAX ? 0 : loss->end);
	else
		file = perfetto_begin(perfetto, 'i', loss->begin == INT64_MIN ? perfetto->begin : loss->begin);
	fputs(",\"pid\":0,\"tid\":0,\"s\":\"g\",\"cat\":\"lost\",\"name\":\"", file);
	if (loss->records)
		fprintf(file, "%" PRIu64 " records lost\"}", loss->records);
	else
		fputs(loss->is_damage ? "damaged part of the trace\"}" : "records lost\"}", file);
}

struct report_consumer perfetto_consumer(struct perfetto *perfetto)
{
	return (struct report_consumer){
		.state = perfetto,
		.restart = perfetto_restart,
		.record = perfetto_record,
		.enter = perfetto_enter,
		.leave = perfetto_leave,
		.measured = perfetto_measured,
		.unmatched = perfetto_unmatched,
		.lost = perfetto_lost,
	};
}

/* ---- the end of the file ---- */

static void perfetto_put_metadata(struct perfetto *perfetto, const char *what, int64_t pid, int64_t tid,
                                  const char *text)
{
	fprintf(perfetto->file,
	        "%s{\"ph\":\"M\",\"name\":\"%s\",\"pid\":%" PRId64 ",\"tid\":%" PRId64 ",\"args\":{\"name\":",
	        perfetto->events++ ? ",\n" : "", what, pid, tid);
	json_text_put(perfetto->file, text, strlen(text));
	fputs("}}", perfetto->file);
}

static void perfetto_put_names(struct perfetto *perfetto)
{
	const struct report_names *names = perfetto->run->names;

	for (size_t i = 0; i < names_processes(names); i++) {
		const struct report_process *process = names_process_at(names, i);
		char *text = process_is_local(names, process) ? xstrdup(process->comm)
		                                              : xasprintf("%s (%s, pid %" PRId64 ")", process->comm,
		                                                          process->host, process->pid);

		perfetto_put_metadata(perfetto, "process_name", process_number(names, process), 0, text);
		free(text);
	}
	for (size_t i = 0; i < names_threads(names); i++) {
		const struct report_thread *thread = names_thread_at(names, i);

		perfetto_put_metadata(perfetto, "thread_name", process_number(names, thread->process),
		                      thread_number(names, thread), thread->comm);
	}
}

/* Writes the rate of a probe as a counter of its own process. begin is the time of the first record. */
static void perfetto_put_counter(struct perfetto *perfetto, const struct probe_stats *probe, const char *name,
                                 int64_t begin, size_t n)
{
	const struct series *rate = &probe->rate;

	for (size_t i = 0; i <= n; i++) {
		double count = i < rate->n ? (double)rate->counts[i] : 0;
		FILE *file;

		if (i && i < n && count == 0 && (i > rate->n || !rate->counts[i - 1]))
			continue;
		file = perfetto_begin(perfetto, 'C', begin + (int64_t)(i * rate->width));
		fprintf(file, ",\"pid\":%" PRId64, 2 * NUMBERED_FROM);
		perfetto_put_name(file, name);
		fprintf(file, ",\"args\":{\"per second\":%.6g}}", count * 1e9 / (double)rate->width);
	}
}

int perfetto_close(struct perfetto *perfetto, const struct run *run, const struct stats *stats)
{
	FILE *file = perfetto->file;

	perfetto_put_names(perfetto);
	if (stats->records)
		perfetto_put_metadata(perfetto, "process_name", 2 * NUMBERED_FROM, 0, "records per second");
	for (size_t i = 0; i < stats->nprobes; i++)
		if (stats->probes[i].records)
			perfetto_put_counter(perfetto, &stats->probes[i], names_probe_at(stats->names, i)->name,
			                     run->begin, stats->rate.n);
	fprintf(file,
	        "\n],\"displayTimeUnit\":\"ns\",\"otherData\":{\"begin\":\"%" PRId64 "\",\"records\":%" PRIu64
	        ",\"lost\":%" PRIu64 ",\"interrupted\":%s}}\n",
	        perfetto->has_begin ? perfetto->begin : run->begin, run->records, stats->lost,
	        run->interrupted ? "true" : "false");
	if (fflush(file) && !perfetto->error)
		perfetto->error = -errno;
	perfetto_check(perfetto);
	if (file != stdout && fclose(file) && !perfetto->error)
		perfetto->error = -errno;
	return perfetto->error;
}
