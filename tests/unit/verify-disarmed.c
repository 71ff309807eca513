/* SPDX-License-Identifier: MIT */
/*
 * Verification after disarming: breakpoints that stay in a process's memory are reported with the process. Those that
 * disappear while it waits, and those that another session has armed, are not.
 */
#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/kernel/verify.h"
#include "runtime/process.h"

#define SOON_NS 300000000ull   /* the wait for breakpoints that stay */
#define LONG_NS 60000000000ull /* more than the test lasts */

#ifdef __x86_64__
static const unsigned char breakpoint[] = { 0xcc };
#else
static const unsigned char breakpoint[] = { 0xa0, 0x00, 0x20, 0xd4 };
#endif

/* Two instructions that are never executed. */
__asm__(".pushsection .text.never,\"ax\"\n.balign 4096\nnever: .fill 4096, 1, 0\n.popsection");
extern unsigned char never[];
#define SECOND 64 /* bytes from the first one to the second one */

static struct verify_place places[2];

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* Starts a process with breakpoints at both places, which disappear after so many ms (0: never). */
static pid_t start(long ms)
{
	int ready[2];
	char byte = 0;
	pid_t pid;

	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		if (mprotect(never, 4096, PROT_READ | PROT_WRITE | PROT_EXEC))
			_exit(1);
		memcpy(never, breakpoint, sizeof(breakpoint));
		memcpy(never + SECOND, breakpoint, sizeof(breakpoint));
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		pause_ms(ms ? ms : 600000);
		memset(never, 0, 4096);
		pause_ms(600000);
		_exit(0);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void setup(void)
{
	struct process *self;
	bool found = false;

	ck_assert_int_eq(process_open(getpid(), &self), 0);
	ck_assert_int_eq(process_read_maps(self), 0);
	for (size_t i = 0; i < self->nmaps; i++) {
		const struct mapping *m = &self->maps[i];

		if ((uintptr_t)never < m->start || (uintptr_t)never >= m->end)
			continue;
		found = true;
		for (int k = 0; k < 2; k++)
			places[k] =
				(struct verify_place){ .device = m->device,
				                       .inode = m->inode,
				                       .offset = (uintptr_t)never + k * SECOND - m->start + m->offset };
	}
	process_free(self);
	ck_assert(found);
}

START_TEST(breakpoints_that_stay)
{
	pid_t pid = start(0);
	struct verify_rest rest = verify_disarmed(places, 2, &(struct verify_wait){ .give_up_ns = SOON_NS });

	ck_assert_uint_eq(rest.sites, 2);
	ck_assert_uint_eq(rest.unread, 0);
	ck_assert_int_eq(rest.pid, pid);
	end(pid);
}
END_TEST

START_TEST(breakpoints_that_disappear)
{
	pid_t pid = start(100);
	struct verify_rest rest = verify_disarmed(places, 2, &(struct verify_wait){ .give_up_ns = LONG_NS });

	ck_assert_uint_eq(rest.sites, 0);
	ck_assert_uint_eq(rest.unread, 0);
	end(pid);
}
END_TEST

START_TEST(an_interrupt)
{
	const int interrupt = 1;
	pid_t pid = start(0);
	struct verify_rest rest =
		verify_disarmed(places, 2, &(struct verify_wait){ .give_up_ns = LONG_NS, .interrupt = &interrupt });

	ck_assert_uint_eq(rest.sites, 2);
	end(pid);
}
END_TEST

static bool is_armed(const struct verify_place *place, void *arg)
{
	return place == arg || !arg;
}

START_TEST(points_of_another_session)
{
	pid_t pid = start(0);
	struct verify_wait wait = { .give_up_ns = LONG_NS, .is_armed = is_armed };
	struct verify_rest rest = verify_disarmed(places, 2, &wait);

	ck_assert_uint_eq(rest.sites, 0);
	wait.give_up_ns = SOON_NS;
	wait.arg = &places[1];
	rest = verify_disarmed(places, 2, &wait);
	ck_assert_uint_eq(rest.sites, 1);
	ck_assert_int_eq(rest.pid, pid);
	end(pid);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("verify_disarmed");
	TCase *tcase = tcase_create("verify_disarmed");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, breakpoints_that_stay);
	tcase_add_test(tcase, breakpoints_that_disappear);
	tcase_add_test(tcase, an_interrupt);
	tcase_add_test(tcase, points_of_another_session);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
