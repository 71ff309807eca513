/* SPDX-License-Identifier: MIT */
#include "cmd/child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/ui.h"

/* ---- finding the program ---- */

/* Returns 0 if the file is executable for this process, else a negative errno. */
static int file_check_executable(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS))
		return -EACCES;
	return 0;
}

static int program_check_path(const char *name, char **path)
{
	int err = file_check_executable(name);

	if (err)
		return err == -ENOTDIR ? -ENOENT : err;
	*path = strdup(name);
	return *path ? 0 : -ENOMEM;
}

int child_find_program(const char *name, char **path)
{
	const char *list = getenv("PATH");
	int err, result = -ENOENT;

	if (!*name)
		return -ENOENT;
	if (strchr(name, '/'))
		return program_check_path(name, path);
	if (!list)
		list = "/bin:/usr/bin";
	for (;;) {
		int length = (int)strcspn(list, ":");

		if (asprintf(path, "%.*s%s%s", length, list, length ? "/" : "./", name) < 0)
			return -ENOMEM;
		err = file_check_executable(*path);
		if (!err)
			return 0;
		free(*path);
		*path = NULL;
		if (err == -EACCES)
			result = err;
		if (!list[length])
			return result;
		list += length + 1;
	}
}

/* ---- the life of the child ---- */

pid_t child_fork_untraced(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
}

/* Runs in the child. */
__attribute__((noreturn)) static void child_main(int go_fd, int exec_failed_fd, const char *path, char *const *argv,
                                                 const char *preload)
{
	char byte;
	int err;

	if (read(go_fd, &byte, 1) != 1)
		_exit(STATUS_NOT_STARTED);
	if (!preload || !setenv("LD_PRELOAD", preload, 1))
		execv(path, argv);
	err = errno;
	if (write(exec_failed_fd, &err, sizeof(err)) < 0)
		_exit(STATUS_NOT_EXECUTABLE);
	_exit(STATUS_NOT_STARTED);
}

int child_start(struct child *child, char *const *argv, const char *preload)
{
	int go[2] = { -1, -1 }, exec_failed[2] = { -1, -1 }, err;

	*child = (struct child){ .go_fd = -1, .exec_failed_fd = -1 };
	err = child_find_program(argv[0], &child->path);
	if (err)
		return err;
	if (pipe2(go, O_CLOEXEC) || pipe2(exec_failed, O_CLOEXEC) || (child->pid = fork()) < 0) {
		err = -errno;
		goto failed;
	}
	if (!child->pid) {
		close(go[1]);
		close(exec_failed[0]);
		child_main(go[0], exec_failed[1], child->path, argv, preload);
	}
	close(go[0]);
	close(exec_failed[1]);
	child->go_fd = go[1];
	child->exec_failed_fd = exec_failed[0];
	return 0;

failed:
	for (int i = 0; i < 2; i++) {
		if (go[i] >= 0)
			close(go[i]);
		if (exec_failed[i] >= 0)
			close(exec_failed[i]);
	}
	free(child->path);
	*child = (struct child){ .go_fd = -1, .exec_failed_fd = -1 };
	return err;
}

int child_release(struct child *child)
{
	ssize_t n;
	int err = 0;

	/* If the child was killed meanwhile, child_wait() notices it. */
	n = write(child->go_fd, "", 1);
	close(child->go_fd);
	do
		n = read(child->exec_failed_fd, &err, sizeof(err));
	while (n < 0 && errno == EINTR);
	close(child->exec_failed_fd);
	child->running = n != sizeof(err) || !err;
	if (child->running)
		return 0;
	child_wait(child);
	return -err;
}

void child_cancel(struct child *child)
{
	if (!child->pid || child->running)
		return;
	close(child->go_fd);
	close(child->exec_failed_fd);
	kill(child->pid, SIGKILL);
	child_wait(child);
}

int child_wait(struct child *child)
{
	int status;

	while (waitpid(child->pid, &status, 0) < 0)
		if (errno != EINTR)
			return STATUS_FAILED;
	child->pid = 0;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- errors ---- */

enum status child_report(struct options *options, const char *name, int err)
{
	ui_error(options, "cannot run '%s': %s", name, strerror(-err));
	return err == -ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
}

/*
 * Returns the interpreter that the first line of a script names, with its arguments, as a part of the line. env(1) is
 * skipped, because the program that it starts has the probes. "": the line names no interpreter.
 */
static const char *script_interpreter(char *line)
{
	char *rest = line + strlen("#!"), *name, *end;

	line[strcspn(line, "\r\n")] = 0;
	rest += strspn(rest, " \t");
	end = rest + strcspn(rest, " \t");
	name = end;
	while (name > rest && name[-1] != '/')
		name--;
	if (!*end || end - name != 3 || strncmp(name, "env", 3))
		return rest;
	rest = end + strspn(end, " \t");
	if (!strncmp(rest, "-S", 2))
		rest += 2 + strspn(rest + 2, " \t");
	return rest;
}

bool child_report_script(struct options *options, const struct child *child)
{
	char line[256];
	const char *interpreter = "";
	int fd = open(child->path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, line, sizeof(line) - 1) : -1;

	if (fd >= 0)
		close(fd);
	if (n < 0 || (n >= 4 && !memcmp(line, "\177ELF", 4)))
		return false;
	line[n] = 0;
	if (!strncmp(line, "#!", 2))
		interpreter = script_interpreter(line);
	if (*interpreter)
		ui_error(options, "'%s' is a script and has no probes; name its interpreter, as in -- %s %s",
		         child->path, interpreter, child->path);
	else
		ui_error(options, "'%s' is not an ELF file and has no probes; name the program that runs it",
		         child->path);
	return true;
}
