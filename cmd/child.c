/* SPDX-License-Identifier: MIT */
#include "cmd/child.h"

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

bool command_is_script(const char *path, char **interpreter)
{
	char line[256], *word, *rest = line + 2, *end;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, line, sizeof(line) - 1) : -1;

	*interpreter = NULL;
	if (fd >= 0)
		close(fd);
	if (n < 0 || (n >= 4 && !memcmp(line, "\177ELF", 4)))
		return false;
	line[n] = 0;
	if (strncmp(line, "#!", 2))
		return true;
	line[strcspn(line, "\r\n")] = 0;
	rest += strspn(rest, " \t");
	/* env(1) is not the program that has the probes. */
	word = rest + strcspn(rest, " \t");
	end = word;
	while (end > rest && end[-1] != '/')
		end--;
	if (*word && word - end == 3 && !strncmp(end, "env", 3)) {
		rest = word + strspn(word, " \t");
		if (!strncmp(rest, "-S", 2))
			rest += 2 + strspn(rest + 2, " \t");
	}
	if (*rest)
		*interpreter = strdup(rest);
	return true;
}

__attribute__((noreturn)) static void child(int go, int failed, const char *path, char *const *argv,
                                            const char *preload)
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
