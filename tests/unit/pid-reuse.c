/* SPDX-License-Identifier: MIT */
/*
 * A process ends, and another one gets its pid: it is not mistaken for the first. clone3() with set_tid makes a process with
 * a chosen pid.
 */
#include <check.h>
#include <errno.h>
#include <linux/sched.h>
#include <probepoint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sdt.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) static void hit(int n)
{
	STAP_PROBE1(reuse, hit, n);
}

/* Starts a child that hits the probe for each byte that it is sent, and answers with a byte. */
static pid_t start(pid_t wanted, int *tell, int *answer)
{
	struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&wanted, .set_tid_size = 1 };
	int in[2], out[2];
	char byte;
	pid_t pid;

	if (pipe(in) || pipe(out))
		return -1;
	pid = wanted ? syscall(SYS_clone3, &args, sizeof(args)) : fork();
	if (pid == 0) {
		close(in[1]);
		while (read(in[0], &byte, 1) == 1) {
			hit(1);
			if (write(out[1], &byte, 1) != 1)
				break;
		}
		_exit(0);
	}
	close(in[0]);
	close(out[1]);
	*tell = in[1];
	*answer = out[0];
	return pid;
}

static void ask(int tell, int answer)
{
	char byte = 0;

	ck_assert_int_eq(write(tell, &byte, 1), 1);
	ck_assert_int_eq(read(answer, &byte, 1), 1);
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static pid_t again(pid_t pid, int *tell, int *answer)
{
	end(pid);
	ck_assert_msg(start(pid, tell, answer) == pid, "clone3: %s", strerror(errno));
	return pid;
}

/* The pid changes hands between the resolution of the request and arming. */
START_TEST(between_resolving_and_arming)
{
	struct pp_request *request;
	struct pp_session *session;
	struct pp_report *report;
	struct pp_stat *stat;
	int tell, answer, err;
	pid_t pid = start(0, &tell, &answer);

	ck_assert_int_eq(pp_request_new(&request), 0);
	ck_assert_int_eq(pp_request_pattern(request, "reuse:hit"), 0);
	ck_assert_int_eq(pp_request_pid(request, pid), 0);
	close(tell);
	close(answer);
	again(pid, &tell, &answer);

	ck_assert_int_eq(pp_session_private(&session), 0);
	err = pp_session_enable(session, request, &report);
	ck_assert_msg(err == -ESRCH, "%d: %s", err, pp_error());
	ck_assert_ptr_nonnull(strstr(pp_error(), "has ended"));
	if (report)
		for (size_t i = 0; i < pp_report_rows(report); i++)
			ck_assert_int_eq(pp_report_state(report, i), PP_REFUSED);
	pp_report_free(report);
	ask(tell, answer);
	if (!pp_session_stat(session, &stat)) {
		ck_assert_uint_eq(pp_stat_rows(stat), 0);
		pp_stat_free(stat);
	}
	pp_session_close(session);
	pp_request_free(request);
	end(pid);
}
END_TEST

/* The pid changes hands after arming: hits of the second process are not counted. */
START_TEST(after_arming)
{
	struct pp_request *request;
	struct pp_session *session;
	struct pp_report *report;
	struct pp_counts counts;
	struct pp_stat *stat;
	int tell, answer;
	pid_t pid = start(0, &tell, &answer);

	ck_assert_int_eq(pp_request_new(&request), 0);
	ck_assert_int_eq(pp_request_pattern(request, "reuse:hit"), 0);
	ck_assert_int_eq(pp_request_pid(request, pid), 0);
	ck_assert_int_eq(pp_session_private(&session), 0);
	ck_assert_msg(pp_session_enable(session, request, &report) == 0, "%s", pp_error());
	pp_report_free(report);
	ask(tell, answer);
	ask(tell, answer);
	close(tell);
	close(answer);
	again(pid, &tell, &answer);
	ask(tell, answer);
	ck_assert_int_eq(pp_session_stat(session, &stat), 0);
	ck_assert_uint_eq(pp_stat_rows(stat), 1);
	pp_stat_counts(stat, 0, &counts, sizeof(counts));
	ck_assert_uint_eq(counts.hits, 2);
	pp_stat_free(stat);
	pp_session_close(session);
	pp_request_free(request);
	end(pid);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pid_reuse");
	TCase *tcase = tcase_create("pid_reuse");
	SRunner *runner;
	int failed, tell, answer;
	pid_t pid = geteuid() ? -1 : start(0, &tell, &answer);

	if (pid < 0)
		return puts("needs root"), 77;
	end(pid);
	if (start(pid, &tell, &answer) != pid)
		return printf("clone3 gives no wanted process id: %s\n", strerror(errno)), 77;
	end(pid);

	tcase_add_test(tcase, between_resolving_and_arming);
	tcase_add_test(tcase, after_arming);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
