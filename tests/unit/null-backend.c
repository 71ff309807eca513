/* SPDX-License-Identifier: MIT */
/*
 * A backend is one struct and one entry in the list. The one here arms nothing: it keeps the name and the points of one
 * session in this process, reports points as pending, and counts zero. The tests use it through the public API.
 */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sdt.h>
#include <unistd.h>

#include "runtime/session.h"

/* ---- the backend ---- */

extern const struct backend backend_null;
static char kept[64]; /* the session's name; "": there is none */

static int null_open(struct pp_session *session, bool create)
{
	if (create)
		strcpy(kept, session->is_private ? "private" : session->name);
	session_set_state(session, &backend_null, *kept ? kept : NULL);
	return *kept ? 0 : -ENOENT;
}

static void null_close(struct pp_session *session)
{
	session_forget_attachments(session, &backend_null);
	session_set_state(session, &backend_null, NULL);
}

static int null_remove(struct pp_session *session)
{
	*kept = 0;
	return backend_needs_no_lock(session);
}

static int null_names(int (*fn)(const char *name, void *arg), void *arg)
{
	return *kept ? fn(kept, arg) : 0;
}

static int null_usable(const struct pp_request *request, bool any)
{
	return any || !request ? -EOPNOTSUPP : 0;
}

static int null_arm(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
                    size_t n, const struct arm_options *options)
{
	attachment->number = options->hold;
	return points[n - 1]->error ? -EINVAL : backend_needs_no_lock(session);
}

static int null_readback(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
                         size_t n, struct arm_misses *misses)
{
	for (size_t i = 0; i < n; i++)
		points[i]->pending = !misses->n && attachment;
	return backend_needs_no_lock(session);
}

static int null_disarm(struct pp_session *session, struct attachment *attachment, const bool *take, bool all)
{
	return all || (attachment && !take) ? backend_needs_no_lock(session) : -EOPNOTSUPP;
}

static bool null_armed(const struct attachment *attachment, uint32_t point)
{
	return point < attachment->manifest->npoints;
}

static int null_reader_open(struct pp_session *session, void **reader)
{
	*reader = kept;
	return backend_needs_no_lock(session);
}

/* clang-format off */
const struct backend backend_null = {
	.name = "null", .open = null_open, .close = null_close, .lock = backend_needs_no_lock,
	.unlock = backend_needs_no_unlock, .remove = null_remove, .names = null_names,
	.permitted = backend_always_permitted, .usable = null_usable, .foresee = backend_foresees_nothing, .takes = backend_takes_all,
	.semaphore_key = backend_semaphore_offset, .check = backend_checks_nothing, .arm = null_arm,
	.readback = null_readback, .verify = null_readback, .disarm = null_disarm, .release = backend_releases_nothing,
	.hold = backend_holds_nothing, .cost = backend_cost_unknown, .trap_ns = backend_trap_is_cheap,
	.over_budget = backend_never_over_budget, .stopped = backend_never_stopped, .watch = backend_watches_nothing,
	.limit = backend_has_no_limit, .unlimit = backend_unlimits_nothing, .armed = null_armed,
	.counts = backend_counts_zero, .processes = backend_knows_no_process, .start_time = backend_knows_no_start,
	.pid_namespace = backend_shares_pids,
	.aggregates = backend_aggregates_nothing,
	.layout_load = backend_loads_no_layout,
	.layout_store = backend_stores_no_layout,
	.uncounted = backend_counts_all, .record = backend_records_with_reader, .reader_open = null_reader_open,
	.reader_next = backend_reads_nothing, .reader_close = backend_drops_nothing,
	.reader_stop = backend_drops_nothing, .reader_drop = backend_drops_nothing,
	.reader_leave = backend_drops_nothing, .reader_done = backend_has_taken,
	.reader_keeps = backend_keeps_nothing,
	.reader_damaged = backend_damages_nothing, .lose = backend_loses_nothing,
	.flight = backend_has_no_flight, .snapshot = backend_snapshots_nothing, .held = backend_holds_no_records,
};
/* clang-format on */

const struct backend *const backends[] = { &backend_agent, &backend_kernel, &backend_null };
const size_t nbackends = sizeof(backends) / sizeof(backends[0]);

/* ---- the tests ---- */

__attribute__((noinline)) static void hit(int n)
{
	STAP_PROBE1(null, hit, n);
}

/* Arms null:hit in this process. */
static void enable(struct pp_session *session, struct pp_report **report)
{
	struct pp_request *request;

	ck_assert_int_eq(pp_request_new(&request), 0);
	ck_assert_int_eq(pp_request_backend(request, "null"), 0);
	ck_assert_int_eq(pp_request_pattern(request, "null:hit"), 0);
	ck_assert_int_eq(pp_request_pid(request, getpid()), 0);
	ck_assert_msg(!pp_session_enable(session, request, report), "%s", pp_error());
	pp_request_free(request);
}

static int session_note(const char *name, void *arg)
{
	*(bool *)arg |= !strcmp(name, "unit-null");
	return 0;
}

static bool session_is_listed(void)
{
	bool listed = false;

	ck_assert_int_eq(pp_sessions(session_note, &listed), 0);
	return listed;
}

START_TEST(no_operation_is_null)
{
	const size_t from = offsetof(struct backend, open) / sizeof(void *);

	for (size_t i = 0; i < nbackends; i++)
		for (size_t k = from; k < sizeof(struct backend) / sizeof(void *); k++)
			ck_assert_msg(((void *const *)backends[i])[k], "%s: operation %zu is NULL", backends[i]->name,
			              k - from);
}
END_TEST

START_TEST(request_names_backends_of_the_list)
{
	struct pp_request *request;

	ck_assert_int_eq(pp_request_new(&request), 0);
	ck_assert_int_eq(pp_request_backend(request, "null"), 0);
	ck_assert_int_eq(pp_request_backend(request, "magic"), -EINVAL);
	ck_assert_str_eq(pp_error(), "no backend 'magic': there are auto, agent, kernel and null");
	ck_assert(pp_backend_permitted("null"));
	ck_assert(!pp_backend_permitted("magic"));
	ck_assert_uint_ne(attachment_id_of(&backend_agent, 1), attachment_id_of(&backend_kernel, 1));
	ck_assert_uint_ne(attachment_id_of(&backend_null, 1), attachment_id_of(&backend_null, 2));
	pp_request_free(request);
}
END_TEST

START_TEST(points_are_pending_and_count_zero)
{
	struct pp_session *session, *again;
	struct pp_report *report;
	struct pp_stat *stat;
	struct pp_counts counts;
	size_t disarmed;

	ck_assert_int_eq(pp_session_open("unit-null", false, &session), -ENOENT);
	ck_assert_int_eq(pp_session_open("unit-null", true, &session), 0);
	enable(session, &report);
	ck_assert_uint_eq(pp_report_rows(report), 1);
	ck_assert_int_eq(pp_report_state(report, 0), PP_PENDING);
	ck_assert_str_eq(pp_report_backend(report, 0), "null");
	ck_assert_str_eq(pp_report_probe(report, 0), "null:hit");
	pp_report_free(report);
	ck_assert(session_is_listed());
	ck_assert_int_eq(pp_session_open("unit-null", false, &again), 0);
	pp_session_close(again);

	hit(1);
	ck_assert_msg(!pp_session_stat(session, &stat), "%s", pp_error());
	ck_assert_uint_eq(pp_stat_rows(stat), 1);
	pp_stat_counts(stat, 0, &counts, sizeof(counts));
	ck_assert_uint_eq(counts.hits, 0);
	ck_assert_uint_eq(pp_stat_uncounted(stat), 0);
	pp_stat_free(stat);

	ck_assert_int_eq(pp_session_disable(session, 0, NULL, 0, &disarmed), 0);
	ck_assert_uint_eq(disarmed, 1);
	ck_assert(!session_is_listed());
	pp_session_close(session);
}
END_TEST

START_TEST(points_armed_before_are_verified)
{
	struct pp_session *session;
	struct pp_report *report;

	ck_assert_int_eq(pp_session_private(&session), 0);
	enable(session, &report);
	pp_report_free(report);
	enable(session, &report);
	ck_assert_uint_eq(pp_report_rows(report), 1);
	ck_assert_int_eq(pp_report_state(report, 0), PP_PENDING);
	ck_assert_str_eq(pp_report_reason(report, 0), "armed in this session already");
	pp_report_free(report);
	pp_session_close(session);
}
END_TEST

START_TEST(reader_waits_and_finds_nothing)
{
	struct pp_session *session;
	struct pp_report *report;
	struct pp_reader *reader;
	struct pp_record_counts counts;
	const struct pp_event *event;
	struct pollfd fd = { .events = POLLIN };
	int quiet = 0;

	ck_assert_int_eq(pp_session_private(&session), 0);
	enable(session, &report);
	pp_report_free(report);
	ck_assert_msg(!pp_reader_open(session, &reader), "%s", pp_error());
	fd.fd = pp_reader_fd(reader);
	ck_assert_int_ge(fd.fd, 0);
	ck_assert_int_eq(poll(&fd, 1, 1000), 1);
	/* The descriptor is readable every 5 ms, and not otherwise. */
	for (int i = 0; i < 1000; i++) {
		ck_assert_int_eq(pp_reader_next(reader, 0, &event), 0);
		quiet += poll(&fd, 1, 0) == 0;
	}
	ck_assert_int_gt(quiet, 0);
	ck_assert_int_eq(pp_reader_next(reader, 20, &event), 0);
	pp_reader_stop(reader);
	pp_reader_drop(reader);
	pp_reader_counts(reader, &counts, sizeof(counts));
	ck_assert_uint_eq(counts.recorded + counts.lost + counts.damaged, 0);
	pp_reader_free(reader);
	pp_session_close(session);
}
END_TEST

START_TEST(cost_and_budget_are_unknown)
{
	struct pp_session *session;
	struct pp_report *report;
	struct pp_cost cost;
	bool watched;

	ck_assert_int_eq(pp_session_private(&session), 0);
	enable(session, &report);
	pp_report_free(report);
	ck_assert_int_eq(pp_session_cost(session, 1, &cost, sizeof(cost)), -EOPNOTSUPP);
	ck_assert(pp_session_limit(session, &watched) == 0);
	pp_session_unlimit(session);
	ck_assert_int_eq(pp_session_hold(session, 0, NULL, 0), 0);
	pp_session_close(session);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("null-backend");
	TCase *cases = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_test(cases, no_operation_is_null);
	tcase_add_test(cases, request_names_backends_of_the_list);
	tcase_add_test(cases, points_are_pending_and_count_zero);
	tcase_add_test(cases, points_armed_before_are_verified);
	tcase_add_test(cases, reader_waits_and_finds_nothing);
	tcase_add_test(cases, cost_and_budget_are_unknown);
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
