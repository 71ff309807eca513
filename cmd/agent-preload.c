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

#include "cmd/alloc.h"
#include "cmd/child.h"
#include "cmd/ui.h"

/* ---- the library ---- */

#define LIBRARY "libprobepoint-agent.so"

#if defined(__x86_64__)
#define MULTIARCH_DIR "lib/x86_64-linux-gnu"
#elif defined(__aarch64__)
#define MULTIARCH_DIR "lib/aarch64-linux-gnu"
#else
#define MULTIARCH_DIR "lib"
#endif

/*
 * Returns the path of the agent that was installed with this command: in ../lib, relative to the command's directory, or
 * where distributions have libraries of 64 bits. It is the path in ../lib if there is none.
 */
static char *library_installed(void)
{
	static const char *const dirs[] = { "lib", MULTIARCH_DIR, "lib64" };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	for (int up = 0; up < 2 && n > 0; up++) {
		self[n] = 0;
		n = strrchr(self, '/') ? strrchr(self, '/') - self : 0;
	}
	if (n < 0)
		return NULL;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		char *path = xasprintf("%.*s/%s/" LIBRARY, (int)n, self, dirs[i]);

		if (!access(path, F_OK))
			return path;
		free(path);
	}
	return xasprintf("%.*s/lib/" LIBRARY, (int)n, self);
}

/*
 * Returns the path of the agent's library. If it cannot be read, returns NULL, and reports an error if it is required.
 */
static char *library_find(struct options *options, bool required)
{
	const char *named = getenv("PROBEPOINT_AGENT");
	bool is_named = named && *named;
	char *path = is_named ? realpath(named, NULL) : library_installed();

	if (path && !access(path, R_OK))
		return path;
	if (required)
		ui_error(options, "cannot read the agent '%s': %s; PROBEPOINT_AGENT can name another file",
		         is_named ? named
		         : path   ? path
		                  : LIBRARY,
		         strerror(errno));
	free(path);
	return NULL;
}

bool preload_inject(struct options *options)
{
	char *path = library_find(options, true);
	bool done = path != NULL;

	for (size_t i = 0; done && i < options->npids; i++)
		if (pp_agent_inject(options->pids[i], path)) {
			ui_error(options, "%s", pp_error());
			done = false;
		}
	free(path);
	return done;
}

/* ---- whether a program can load it ---- */

enum { PHDRS_MAX = 256, SCRIPTS_MAX = 4 };

struct elf_program {
	char interpreter[PATH_MAX]; /* "": linked statically */
	unsigned char class;
	uint16_t machine;
	bool privileged; /* it has more rights than its caller, so its loader ignores LD_PRELOAD */
};

/* The start of a file. */
union program_head {
	Elf64_Ehdr elf64;
	Elf32_Ehdr elf32;
	char text[PATH_MAX];
};

static bool program_is_privileged(int fd)
{
	struct stat st;

	if (!fstat(fd, &st) &&
	    ((st.st_mode & S_ISUID && st.st_uid != getuid()) || (st.st_mode & S_ISGID && st.st_gid != getgid())))
		return true;
	return getuid() && fgetxattr(fd, "security.capability", NULL, 0) > 0;
}

/* Reads the path of the loader from a 64-bit ELF file. Returns 0, or -EINVAL if the file is damaged. */
static int program_read_interpreter(int fd, const Elf64_Ehdr *header, struct elf_program *program)
{
	for (unsigned i = 0; i < header->e_phnum && i < PHDRS_MAX; i++) {
		Elf64_Phdr h;

		if (pread(fd, &h, sizeof(h), (off_t)(header->e_phoff + i * sizeof(h))) != sizeof(h))
			return -EINVAL;
		if (h.p_type != PT_INTERP || !h.p_filesz || h.p_filesz >= sizeof(program->interpreter))
			continue;
		if (pread(fd, program->interpreter, h.p_filesz, (off_t)h.p_offset) != (ssize_t)h.p_filesz)
			return -EINVAL;
	}
	return 0;
}

static int program_read_fd(int fd, struct elf_program *program)
{
	union program_head head = { .text = "" };
	ssize_t n = pread(fd, &head, sizeof(head) - 1, 0);

	program->privileged = program_is_privileged(fd);
	if (n > 2 && !memcmp(head.text, "#!", 2)) {
		char *from = head.text + 2 + strspn(head.text + 2, " \t");

		from[strcspn(from, " \t\n")] = 0;
		strcpy(program->interpreter, from);
		return -ENOEXEC;
	}
	if (n < (ssize_t)sizeof(head.elf32) || memcmp(head.text, ELFMAG, SELFMAG))
		return -EINVAL;
	program->class = head.elf32.e_ident[EI_CLASS];
	program->machine = head.elf32.e_machine;
	return program->class == ELFCLASS64 ? program_read_interpreter(fd, &head.elf64, program) : 0;
}

/*
 * Reads what decides whether a program can load the agent. Returns -ENOEXEC if it is a script, whose interpreter is
 * then in program->interpreter, -EINVAL if it is neither a script nor an ELF file, and other errors if it cannot be
 * read.
 */
static int program_read(const char *path, struct elf_program *program)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	*program = (struct elf_program){ 0 };
	if (fd < 0)
		return -errno;
	err = program_read_fd(fd, program);
	close(fd);
	return err;
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Returns whether the agent can run in the program. It is built for the C library of this command, or for glibc. */
static bool program_has_library(const struct elf_program *program, const struct elf_program *own)
{
	const char *slash = strrchr(program->interpreter, '/');

	if (*own->interpreter)
		return is_same_file(program->interpreter, own->interpreter);
	return slash && !strncmp(slash, "/ld-linux", strlen("/ld-linux"));
}

/* Reads the program that the command starts: the command, or the interpreter if it is a script. */
static int command_read(const char *name, struct elf_program *program)
{
	char *path = NULL;
	int err = child_find_program(name, &path);

	if (err)
		return err;
	err = program_read(path, program);
	free(path);
	for (int depth = 0; err == -ENOEXEC && depth < SCRIPTS_MAX; depth++) {
		char script[PATH_MAX];

		strcpy(script, program->interpreter);
		err = program_read(script, program);
	}
	return err;
}

/* Returns why the command cannot start with the agent, or NULL if it can or its program cannot be read. */
static const char *preload_obstacle(const char *name)
{
	static char text[3 * PATH_MAX];
	struct elf_program own, program;

	if (program_read("/proc/self/exe", &own) || command_read(name, &program))
		return NULL;
	if (program.class != own.class || program.machine != own.machine)
		return "its ELF class or machine is not the agent's";
	if (program.privileged)
		return "it has more rights than its caller, so its loader ignores LD_PRELOAD";
	if (!*program.interpreter)
		return "it is linked statically";
	if (program_has_library(&program, &own))
		return NULL;
	snprintf(text, sizeof(text), "its loader is '%s', and the agent needs the C library of '%s'",
	         program.interpreter, *own.interpreter ? own.interpreter : "ld-linux");
	return text;
}

/* ---- LD_PRELOAD ---- */

bool preload_list(struct options *options, const char *name, char **list)
{
	const char *old = getenv("LD_PRELOAD"), *obstacle, *backend = options->backend ? options->backend : "auto";
	bool required = !strcmp(backend, "agent");
	char *path;

	*list = NULL;
	/* Without privilege, auto has no other backend. */
	if (!required && (strcmp(backend, "auto") || pp_backend_permitted("kernel")))
		return true;
	obstacle = preload_obstacle(name);
	if (obstacle && required)
		ui_error(options, "cannot start '%s' with the agent: %s; -b kernel may be able to arm it", name,
		         obstacle);
	else if (obstacle)
		ui_info(options, "cannot start '%s' with the agent: %s", name, obstacle);
	if (obstacle)
		return !required;
	path = library_find(options, required);
	if (!path)
		return !required;
	options->backend = "agent";
	/* Blanks and colons separate the entries of LD_PRELOAD, and cannot be quoted. */
	if (strpbrk(path, " :")) {
		ui_error(options, "agent '%s': LD_PRELOAD cannot contain a path with a blank or a colon", path);
		free(path);
		return false;
	}
	*list = xasprintf("%s%s%s", path, old && *old ? ":" : "", old ? old : "");
	free(path);
	return true;
}
