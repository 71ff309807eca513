/* SPDX-License-Identifier: MIT */
/* Session directories: names that another user has taken, owner and mode, the lock, and removal. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/session-dir.h"

#define OTHER_UID 65534

static char parent_path[] = "/tmp/session-dir.XXXXXX";
static struct session_roots roots;
static int check_result;

static int parent_check(int parent)
{
	(void)parent;
	return check_result;
}

static void parent_make(void)
{
	ck_assert_ptr_nonnull(mkdtemp(parent_path));
	roots = (struct session_roots){ .parent = open(parent_path, O_RDONLY | O_DIRECTORY),
		                        .path = parent_path,
		                        .name = "root",
		                        .check = parent_check,
		                        .missing = ": a privilege is needed" };
	check_result = 0;
}

static void parent_remove(void)
{
	char command[64];

	close(roots.parent);
	snprintf(command, sizeof(command), "rm -rf %s", parent_path);
	ck_assert_int_eq(system(command), 0);
	strcpy(strrchr(parent_path, '.'), ".XXXXXX");
}

/* Opens the root for the session, makes the session's directory in it, and returns a descriptor of that and its path. */
static int session_make(const char *session, char *path, size_t room)
{
	char name[SESSION_ROOT_NAME_MAX];
	int root = session_root_open(&roots, session, true, name), dir;

	ck_assert_msg(root >= 0, "%s", pp_error());
	snprintf(path, room, "%s/%s/%s", parent_path, name, session);
	ck_assert(!mkdir(path, 0700) || errno == EEXIST);
	dir = open(path, O_RDONLY | O_DIRECTORY);
	ck_assert_int_ge(dir, 0);
	close(root);
	return dir;
}

static int name_collect(const char *name, void *arg)
{
	strcat(arg, name);
	strcat(arg, " ");
	return 0;
}

START_TEST(root_exists_only_after_create)
{
	char name[SESSION_ROOT_NAME_MAX], path[128], names[64] = "";

	ck_assert_int_eq(session_root_open(&roots, "s", false, name), -ENOENT);
	close(session_make("s", path, sizeof(path)));
	close(session_make("a", path, sizeof(path)));
	ck_assert_int_ge(session_root_open(&roots, "s", false, name), 0);
	ck_assert_str_eq(name, "root");
	ck_assert_int_eq(session_root_open(&roots, "other", false, name), -ENOENT);
	ck_assert_int_eq(session_roots_names(&roots, name_collect, names), 0);
	ck_assert_str_eq(names, "a s ");
}
END_TEST

START_TEST(taken_name_gets_suffix)
{
	char path[128], names[64] = "";

	if (geteuid())
		return;
	ck_assert_int_eq(mkdirat(roots.parent, "root", 0700), 0);
	ck_assert_int_eq(fchownat(roots.parent, "root", OTHER_UID, OTHER_UID, 0), 0);
	close(session_make("s", path, sizeof(path)));
	ck_assert_ptr_nonnull(strstr(path, "/root-own-"));
	close(session_make("t", path, sizeof(path)));
	ck_assert_int_eq(session_roots_names(&roots, name_collect, names), 0);
	ck_assert_str_eq(names, "s t ");
}
END_TEST

START_TEST(root_open_to_others_is_refused)
{
	char name[SESSION_ROOT_NAME_MAX];

	ck_assert_int_eq(mkdirat(roots.parent, "root", 0700), 0);
	ck_assert_int_eq(fchmodat(roots.parent, "root", 0770, 0), 0);
	ck_assert_int_eq(session_root_open(&roots, "s", true, name), -EPERM);
	ck_assert_ptr_nonnull(strstr(pp_error(), "root' has mode 770"));
}
END_TEST

START_TEST(parent_that_others_control_is_refused)
{
	char name[SESSION_ROOT_NAME_MAX];

	check_result = -EPERM;
	ck_assert_int_eq(session_root_open(&roots, "s", true, name), -EPERM);
	ck_assert_int_eq(faccessat(roots.parent, "root", F_OK, 0), -1);
}
END_TEST

START_TEST(private_dir_checks_owner_and_mode)
{
	ck_assert_int_eq(private_dir_open(roots.parent, "d", "d", false), -ENOENT);
	close(private_dir_open(roots.parent, "d", "d", true));
	ck_assert_int_ge(private_dir_open(roots.parent, "d", "d", false), 0);
	ck_assert_int_eq(fchmodat(roots.parent, "d", 0701, 0), 0);
	ck_assert_int_eq(private_dir_open(roots.parent, "d", "d", false), -EPERM);
	ck_assert_int_eq(symlinkat("d", roots.parent, "link"), 0);
	ck_assert_int_lt(private_dir_open(roots.parent, "link", "link", false), 0);
	if (geteuid())
		return;
	ck_assert_int_eq(fchownat(roots.parent, "d", OTHER_UID, OTHER_UID, 0), 0);
	ck_assert_int_eq(private_dir_open(roots.parent, "d", "d", false), -EEXIST);
}
END_TEST

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

START_TEST(lock_is_busy_after_a_while)
{
	char path[128];
	int one = session_make("s", path, sizeof(path)), two = session_make("s", path, sizeof(path));
	double begin, between, end;

	ck_assert_int_eq(session_dir_lock(one, path, false), 0);
	begin = seconds();
	ck_assert_int_eq(session_dir_lock(two, path, true), -EBUSY);
	between = seconds();
	ck_assert_int_eq(session_dir_lock(two, path, false), -EBUSY);
	end = seconds();
	ck_assert(between - begin >= 0.1 && end - between >= 5 && between - begin < end - between);
	session_dir_unlock(one);
	ck_assert_int_eq(session_dir_lock(two, path, true), 0);
}
END_TEST

START_TEST(lock_of_removed_session_fails)
{
	char path[128], inside[160];
	int dir = session_make("s", path, sizeof(path));

	snprintf(inside, sizeof(inside), "%s/reader", path);
	ck_assert_int_eq(mkdir(inside, 0700), 0);
	snprintf(inside, sizeof(inside), "%s/file", path);
	ck_assert_int_ge(open(inside, O_WRONLY | O_CREAT, 0600), 0);
	ck_assert_int_eq(session_dir_remove(dir, path), 0);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(session_dir_lock(dir, path, true), -ENOENT);
	/* Also if another command has made it again. */
	close(session_make("s", path, sizeof(path)));
	ck_assert_int_eq(session_dir_lock(dir, path, true), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session-dir");
	TCase *cases = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(cases, 300);
	tcase_add_checked_fixture(cases, parent_make, parent_remove);
	tcase_add_test(cases, root_exists_only_after_create);
	tcase_add_test(cases, taken_name_gets_suffix);
	tcase_add_test(cases, root_open_to_others_is_refused);
	tcase_add_test(cases, parent_that_others_control_is_refused);
	tcase_add_test(cases, private_dir_checks_owner_and_mode);
	tcase_add_test(cases, lock_is_busy_after_a_while);
	tcase_add_test(cases, lock_of_removed_session_fails);
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
