/* SPDX-License-Identifier: MIT */
/*
 * Reads a trace, and reads it again in these cases: some calls are uncertain (calls.c), a consumer cannot forget what it had, or a
 * consumer must know that a call began before the first record. The second pass ends where the first one ended.
 */
#include "cmd/report/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/alloc.h"
#include "cmd/report/calls.h"
#include "cmd/report/reader.h"
#include "cmd/signals.h"

/* One pass over the trace. */
struct pass {
	struct run *run;
	struct calls *calls;
	uint64_t records, limit;
	uint64_t hash;   /* of the times and threads of the records */
	size_t ndamages; /* of the input that were passed */
	int64_t begin, end;
};

/* Passes the damaged parts of the input that begin before a time. */
static void pass_damages(struct pass *pass, int64_t time)
{
	const struct input *input = pass->run->input;

	for (; pass->ndamages < input->ndamages && input->damages[pass->ndamages].begin <= time; pass->ndamages++)
		calls_lost(pass->calls, &input->damages[pass->ndamages]);
}

static void pass_record(void *state, const struct report_record *record)
{
	struct pass *pass = state;

	if (pass->records == pass->limit)
		return;
	if (!pass->records++)
		pass->begin = record->time;
	pass->end = record->time;
	pass->hash = (pass->hash + (uint64_t)record->time) * 31 + record->thread->index;
	pass_damages(pass, record->time);
	calls_record(pass->calls, record);
}

static void pass_lost(void *state, const struct report_loss *loss)
{
	struct pass *pass = state;

	if (pass->records < pass->limit || pass->limit == UINT64_MAX)
		calls_lost(pass->calls, loss);
}

static void run_report_progress(const struct run *run, const struct pass *pass, const struct trace_reader *reader,
                                bool second)
{
	struct reader_range range = reader_range(reader);
	double share = -1;

	if (!run->progress)
		return;
	if (pass->limit != UINT64_MAX && pass->limit)
		share = (double)pass->records / (double)pass->limit;
	else if (range.is_known && range.end > range.begin)
		share = (double)(pass->end - range.begin) / (double)(range.end - range.begin);
	share = share > 1 ? 1 : share;
	run->progress(second && share >= 0 ? 0.5 + share / 2 : share, pass->records);
}

/* Reads up to a number of records. `interrupts`: the number of signals that end it. Returns as run_read(). */
static int run_pass(struct run *run, struct pass *pass, int interrupts)
{
	struct trace_reader *reader;
	int more = reader_open(run->input, run->names, &reader);

	run->opened |= !more;
	for (more = more ? more : 1; more > 0 && pass->records < pass->limit && interrupted < interrupts;) {
		more = reader_run(reader, pass_record, pass_lost, pass);
		run_report_progress(run, pass, reader, interrupts > 1);
	}
	run->interrupted |= more > 0 && interrupted >= interrupts;
	if (more < 0 && !run->error)
		run->error = xstrdup(reader_error(reader));
	if (!run->interrupted)
		pass_damages(pass, INT64_MAX);
	calls_end(pass->calls);
	run->fields_left_out = reader_fields_left_out(reader);
	reader_free(reader);
	return more < 0 ? more : 0;
}

/* Reads the records of a pass again. Marks of uncertain calls are by number, so they are valid only if the records are the same. */
static int run_again(struct run *run, struct pass *pass, struct call_marks *marks)
{
	uint64_t hash = pass->hash;

	calls_free(pass->calls);
	*pass = (struct pass){ .run = run, .limit = pass->records };
	pass->calls = calls_new(run->names, marks, false, run->paths, run->consumers, run->nconsumers);
	for (size_t i = 0; i < run->nconsumers; i++)
		if (run->consumers[i].restart && !run->is_careful)
			run->consumers[i].restart(run->consumers[i].state);
	run->is_second = true;
	run_pass(run, pass, interrupted + 1);
	if (run->interrupted || pass->hash == hash)
		return 0;
	free(run->error);
	run->error = xstrdup(
		"the trace has changed while it was read, so durations may be wrong; read it when its writer has "
		"ended");
	return -ESTALE;
}

/*
 * Returns whether libbabeltrace2 can open the trace without a crash. A child tries it, because the library aborts if a structure has
 * two fields of the same name, and divides by zero if a clock has no frequency.
 */
static bool run_can_open(const struct run *run)
{
	static const struct rlimit no_core;
	struct trace_reader *reader;
	int status, silent;
	pid_t pid = fork();

	if (!pid) {
		silent = open("/dev/null", O_WRONLY | O_CLOEXEC);
		dup2(silent, STDOUT_FILENO);
		dup2(silent, STDERR_FILENO);
		setrlimit(RLIMIT_CORE, &no_core);
		reader_open(run->input, run->names, &reader);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return true;
	return pid < 0 || WIFEXITED(status);
}

int run_read(struct run *run)
{
	struct call_marks *marks = marks_new();
	struct pass pass = { .run = run, .limit = UINT64_MAX };
	int err;

	if (!run_can_open(run)) {
		marks_free(marks);
		run->error = xstrdup("cannot read the trace: libbabeltrace2 crashes on its metadata");
		return -EBADMSG;
	}
	pass.calls = calls_new(run->names, marks, true, run->is_careful ? NULL : run->paths, run->consumers,
	                       run->is_careful ? 0 : run->nconsumers);
	err = run_pass(run, &pass, 1);
	run->earliest = calls_earliest(pass.calls) < pass.begin ? calls_earliest(pass.calls) : pass.begin;
	if (run->opened &&
	    (marks_count(marks) || run->is_careful || (run->needs_earliest && run->earliest < pass.begin))) {
		int again = run_again(run, &pass, marks);

		err = err ? err : again;
	}
	run->records = pass.records;
	run->begin = pass.begin;
	run->end = pass.end;
	run->left_out = calls_left_out(pass.calls);
	calls_free(pass.calls);
	marks_free(marks);
	return err;
}
