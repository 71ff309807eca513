/* SPDX-License-Identifier: MIT */
/*
 * A program that uses the installed library, in the common subset of C and C++: arms a probe of its own process, hits it ten
 * times, and prints what the reader and the counters have. Arguments: BACKEND.
 */
#include <errno.h>
#include <poll.h>
#include <probepoint.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sdt.h>
#include <unistd.h>

#define CHECK(condition)                                                                        \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			printf("line %d: " #condition " is false: %s\n", __LINE__, pp_error()); \
			return 1;                                                               \
		}                                                                               \
	} while (0)

static void __attribute__((noinline)) hit(int n)
{
	STAP_PROBE1(user, hit, n);
}

static int enable(struct pp_session *session, const char *backend, bool hold, struct pp_report **report)
{
	struct pp_request *request;
	int err;

	CHECK(!pp_request_new(&request));
	CHECK(!pp_request_backend(request, backend));
	CHECK(!pp_request_pattern(request, "user:hit"));
	CHECK(!pp_request_pid(request, getpid()));
	CHECK(pp_request_budget(request, -1) == -EINVAL);
	CHECK(!hold || !pp_request_hold(request));
	err = pp_session_enable(session, request, report);
	pp_request_free(request);
	CHECK(!err);
	return 0;
}

static int read_events(struct pp_reader *reader, int *count)
{
	struct pollfd fd = { pp_reader_fd(reader), POLLIN, 0 };
	const struct pp_event *event;
	int n, quiet = 0;

	CHECK(fd.fd >= 0);
	*count = 0;
	while (*count < 10 && poll(&fd, 1, 60000) == 1)
		while ((n = pp_reader_next(reader, 0, &event)) == 1) {
			CHECK(!strcmp(pp_event_probe(event), "user:hit"));
			CHECK(pp_event_arg_int(event, 0) == *count);
			CHECK(pp_event_args(event) == 1);
			CHECK(!pp_event_arg_name(event, 1) && pp_event_arg_kind(event, 1) == PP_MISSING);
			++*count;
		}
	/* The descriptor is readable every few milliseconds, and not otherwise. */
	for (int i = 0; i < 1000; i++) {
		CHECK(pp_reader_next(reader, 0, &event) == 0);
		quiet += poll(&fd, 1, 0) == 0;
	}
	CHECK(quiet > 0);
	return 0;
}

static int check_counts(struct pp_session *session)
{
	struct {
		struct pp_counts counts;
		uint64_t later; /* a field that this version of the library does not know */
	} newer;
	struct pp_counts counts;
	struct pp_stat *stat;

	usleep(60000); /* counts of agents may be 50 ms old */
	CHECK(!pp_session_stat(session, &stat));
	CHECK(pp_stat_rows(stat) == 1);
	memset(&newer, 0xff, sizeof(newer));
	pp_stat_counts(stat, 0, &newer.counts, sizeof(newer));
	CHECK(newer.counts.recorded == 10 && newer.later == 0);
	memset(&counts, 0xff, sizeof(counts));
	pp_stat_counts(stat, 0, &counts, sizeof(counts.hits)); /* of an older program */
	CHECK(counts.hits == 10 && counts.filtered == ~UINT64_C(0));
	pp_stat_counts(stat, 1, &counts, sizeof(counts));
	CHECK(!counts.hits && !pp_stat_probe(stat, 1) && pp_stat_life(stat, 1) == PP_OTHER);
	pp_stat_free(stat);
	return 0;
}

/* The signal mask is as before after a hold, and after a session whose hold did not come. */
static int check_hold(const char *backend)
{
	sigset_t before, after;
	struct pp_session *session;
	struct pp_report *report;

	sigemptyset(&before);
	sigaddset(&before, SIGALRM);
	sigprocmask(SIG_SETMASK, &before, NULL);
	for (int hold = 0; hold < 2; hold++) {
		CHECK(!pp_session_open("user-api", true, &session));
		if (enable(session, backend, true, &report))
			return 1;
		pp_report_free(report);
		CHECK(!hold || !pp_session_hold(session, 1, NULL, 0));
		pp_session_close(session);
		sigprocmask(SIG_SETMASK, NULL, &after);
		for (int i = 1; i < 32; i++)
			CHECK(sigismember(&after, i) == (i == SIGALRM));
	}
	CHECK(pp_session_open("user-api", false, &session) == -ENOENT);
	return 0;
}

int main(int argc, char **argv)
{
	const char *backend = argc > 1 ? argv[1] : "auto";
	struct pp_session *session;
	struct pp_report *report;
	struct pp_reader *reader;
	int count = 0;

	CHECK(!pp_session_private(&session));
	if (enable(session, backend, false, &report))
		return 1;
	CHECK(pp_report_rows(report) == 1 && pp_report_state(report, 0) == PP_ARMED);
	CHECK(pp_report_state(report, 1) == PP_REFUSED && !pp_report_probe(report, 1));
	pp_report_free(report);
	CHECK(!pp_reader_open(session, &reader));
	for (int i = 0; i < 10; i++)
		hit(i);
	if (read_events(reader, &count) || check_counts(session))
		return 1;
	pp_reader_free(reader);
	pp_session_close(session);
	if (!strcmp(backend, "kernel") && check_hold(backend))
		return 1;
	printf("%d.%d.%d: %d events\n", PROBEPOINT_VERSION_MAJOR, PROBEPOINT_VERSION_MINOR, PROBEPOINT_VERSION_PATCH,
	       count);
	return 0;
}
