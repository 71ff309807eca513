/* SPDX-License-Identifier: MIT */
#include "cmd/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/status.h"

static int runnable(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS))
		return -EACCES;
	return 0;
}

int command_find(const char *name, char **path)
{
	const char *list = getenv("PATH");
	int err, result = -ENOENT;

	if (!*name)
		return -ENOENT;
	if (strchr(name, '/')) {
		err = runnable(name);
		if (!err && !(*path = strdup(name)))
			err = -ENOMEM;
		return err == -ENOTDIR ? -ENOENT : err;
	}
	if (!list)
		list = "/bin:/usr/bin";
	for (;;) {
		int length = strcspn(list, ":");

		if (asprintf(path, "%.*s%s%s", length, list, length ? "/" : "./", name) < 0)
			return -ENOMEM;
		err = runnable(*path);
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

__attribute__((noreturn)) static void child(int go, int failed, const char *path, char *const *argv, const char *preload)
{
	char byte;
	int err;

	if (read(go, &byte, 1) == 1) {
		if (!preload || !setenv("LD_PRELOAD", preload, 1))
			execv(path, argv);
		err = errno;
		if (write(failed, &err, sizeof(err)) < 0)
			_exit(STATUS_NOT_EXECUTABLE);
	}
	_exit(STATUS_NOT_STARTED);
}

int command_start(struct command *command, char *const *argv, const char *preload)
{
	int go[2], failed[2], err;

	*command = (struct command){ .go = -1, .failed = -1 };
	err = command_find(argv[0], &command->path);
	if (err)
		return err;
	if (pipe2(go, O_CLOEXEC)) {
		err = -errno;
		goto no_go;
	}
	if (pipe2(failed, O_CLOEXEC)) {
		err = -errno;
		goto no_failed;
	}
	command->pid = fork();
	if (command->pid < 0) {
		err = -errno;
		goto no_child;
	}
	if (!command->pid) {
		close(go[1]);
		close(failed[0]);
		child(go[0], failed[1], command->path, argv, preload);
	}
	close(go[0]);
	close(failed[1]);
	command->go = go[1];
	command->failed = failed[0];
	return 0;

no_child:
	close(failed[0]);
	close(failed[1]);
no_failed:
	close(go[0]);
	close(go[1]);
no_go:
	free(command->path);
	command->path = NULL;
	return err;
}

int command_release(struct command *command)
{
	ssize_t n;
	int err = 0;

	/* A child that was killed meanwhile is found by command_wait(). */
	n = write(command->go, "", 1);
	close(command->go);
	do
		n = read(command->failed, &err, sizeof(err));
	while (n < 0 && errno == EINTR);
	close(command->failed);
	command->running = n != sizeof(err) || !err;
	if (command->running)
		return 0;
	command_wait(command);
	return -err;
}

void command_cancel(struct command *command)
{
	if (!command->pid || command->running)
		return;
	close(command->go);
	close(command->failed);
	kill(command->pid, SIGKILL);
	command_wait(command);
}

int command_wait(struct command *command)
{
	int status;

	while (waitpid(command->pid, &status, 0) < 0)
		if (errno != EINTR)
			return STATUS_FAILED;
	command->pid = 0;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
