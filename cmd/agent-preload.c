/* SPDX-License-Identifier: MIT */
#include "cmd/agent-preload.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cmd/child.h"
#include "cmd/ui.h"

#define LIBRARY "libprobepoint-agent.so"

/* ../lib/ of the folder that this command stands in. */
static char *beside(void)
{
	char self[PATH_MAX], *path = NULL;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	for (int up = 0; up < 2 && n > 0; up++) {
		self[n] = 0;
		n = strrchr(self, '/') ? strrchr(self, '/') - self : 0;
	}
	if (n < 0 || asprintf(&path, "%.*s/lib/" LIBRARY, (int)n, self) < 0)
		return NULL;
	return path;
}

/* NULL: it is not to be found, and that was told, where it was asked for. */
static char *library(struct options *options, bool asked)
{
	const char *named = getenv("PROBEPOINT_AGENT");
	char *path = named && *named ? realpath(named, NULL) : beside();

	if (path && !access(path, R_OK))
		return path;
	if (asked)
		complain(options, "cannot read the agent '%s': %s: PROBEPOINT_AGENT may name another",
		         named && *named ? named
		         : path          ? path
		                         : LIBRARY,
		         strerror(errno));
	free(path);
	return NULL;
}

bool preload_inject(struct options *options)
{
	char *path = library(options, true);
	bool done = path != NULL;

	for (size_t i = 0; done && i < options->npids; i++)
		if (pp_agent_inject(options->pids[i], path)) {
			complain(options, "%s", pp_error());
			done = false;
		}
	free(path);
	return done;
}

/* ---- whether a program takes it ---- */

struct program {
	char interpreter[PATH_MAX]; /* "": it is linked statically */
	unsigned char class;
	uint16_t machine;
	bool privileged; /* it runs with more rights than its caller, and its loader preloads nothing */
};

#define HEADERS_MAX 256

/* 0; -ENOEXEC: a script, whose interpreter is then in program->interpreter; -EINVAL: neither; or why it cannot be read. */
static int read_program(const char *path, struct program *program)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	union {
		Elf64_Ehdr wide;
		Elf32_Ehdr narrow;
		char text[PATH_MAX];
	} head = { .text = "" };
	struct stat st;
	ssize_t n;

	*program = (struct program){ 0 };
	if (fd < 0)
		return -errno;
	n = pread(fd, &head, sizeof(head) - 1, 0);
	if (!fstat(fd, &st))
		program->privileged = (st.st_mode & S_ISUID && st.st_uid != getuid()) ||
		                      (st.st_mode & S_ISGID && st.st_gid != getgid());
	program->privileged |= getuid() && fgetxattr(fd, "security.capability", NULL, 0) > 0;
	if (n > 2 && !memcmp(head.text, "#!", 2)) {
		char *from = head.text + 2 + strspn(head.text + 2, " \t");

		from[strcspn(from, " \t\n")] = 0;
		strcpy(program->interpreter, from);
		err = -ENOEXEC;
	} else if (n < (ssize_t)sizeof(head.narrow) || memcmp(head.text, ELFMAG, SELFMAG)) {
		err = -EINVAL;
	} else {
		program->class = head.narrow.e_ident[EI_CLASS];
		program->machine = head.narrow.e_machine;
	}
	for (unsigned i = 0; !err && program->class == ELFCLASS64 && i < head.wide.e_phnum && i < HEADERS_MAX; i++) {
		Elf64_Phdr h;

		if (pread(fd, &h, sizeof(h), (off_t)(head.wide.e_phoff + i * sizeof(h))) != sizeof(h))
			err = -EINVAL;
		else if (h.p_type == PT_INTERP && h.p_filesz && h.p_filesz < sizeof(program->interpreter) &&
		         pread(fd, program->interpreter, h.p_filesz, (off_t)h.p_offset) != (ssize_t)h.p_filesz)
			err = -EINVAL;
	}
	close(fd);
	return err;
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/*
 * Why the command, or the interpreter of the script that it is, cannot start with the agent; NULL: it can, or
 * nothing is known against it. The agent is for the C library that this command runs with.
 */
static const char *unfit(const char *name)
{
	static char text[3 * PATH_MAX];
	struct program own, program;
	char *path = NULL;
	int err;

	if (read_program("/proc/self/exe", &own) || command_find(name, &path))
		return NULL;
	err = read_program(path, &program);
	for (int depth = 0; err == -ENOEXEC && depth < 4; depth++) {
		char script[PATH_MAX];

		strcpy(script, program.interpreter);
		err = read_program(script, &program);
	}
	free(path);
	if (err)
		return NULL;
	if (program.class != own.class || program.machine != own.machine)
		return "it is of another class or for another machine than the agent";
	if (program.privileged)
		return "it runs with more rights than its caller, so that its loader preloads nothing";
	if (!*program.interpreter)
		return "it is linked statically";
	if (same_file(program.interpreter, own.interpreter))
		return NULL;
	snprintf(text, sizeof(text), "its loader is '%s', and the agent is for the C library of '%s'",
	         program.interpreter, own.interpreter);
	return text;
}

bool preload_list(struct options *options, const char *name, char **list)
{
	const char *old = getenv("LD_PRELOAD"), *why;
	char *path;
	bool asked;

	*list = NULL;
	asked = options->backend && !strcmp(options->backend, "agent");
	/* Without privilege there is no other way. */
	if (!asked && ((options->backend && strcmp(options->backend, "auto")) || pp_backend_permitted("kernel")))
		return true;
	why = unfit(name);
	if (why && asked)
		complain(options, "'%s' cannot be started with the agent: %s: -b kernel may arm it", name, why);
	else if (why)
		remark(options, "'%s' cannot be started with the agent: %s", name, why);
	if (why)
		return !asked;
	path = library(options, asked);
	if (!path)
		return !asked;
	options->backend = "agent";
	/* LD_PRELOAD is cut at both, and knows no way to quote them. */
	if (strpbrk(path, " :")) {
		complain(options,
		         "the path of the agent, '%s', has a blank or a colon in it, and LD_PRELOAD cannot take that",
		         path);
		free(path);
		return false;
	}
	if (asprintf(list, "%s%s%s", path, old && *old ? ":" : "", old ? old : "") < 0)
		no_memory();
	free(path);
	return true;
}
