/* SPDX-License-Identifier: MIT */
/*
 * Reads the environment from the process's memory. /proc/PID/environ does not serve: servers that set their title
 * (Redis, PostgreSQL, nginx) write it over the memory in which the kernel put their environment, so /proc/PID/environ
 * shows the title. They have moved their variables before, and the C library's `environ` points to the new place.
 */
#include "runtime/agent/environment.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/process.h"

#define VARIABLES_MAX 65536

/* The names that a variable can have. */
static const char *const environ_names[] = { "environ", "__environ", "_environ", NULL };
static const char *const program_names[] = { "program_invocation_name", "__progname_full", NULL };

static bool name_is_one_of(const char *name, const char *const *names)
{
	for (; name && *names; names++)
		if (!strcmp(name, *names))
			return true;
	return false;
}

/* Returns the address of the variable as linked; 0: the image does not define it. */
static uint64_t elf_find_variable(Elf *elf, const char *const *names)
{
	Elf_Scn *section = NULL;

	while ((section = elf_nextscn(elf, section))) {
		GElf_Shdr sh;
		Elf_Data *data;
		GElf_Sym sym;

		if (!gelf_getshdr(section, &sh) || sh.sh_type != SHT_DYNSYM || !(data = elf_getdata(section, NULL)))
			continue;
		for (int i = 0; gelf_getsym(data, i, &sym); i++)
			if (sym.st_shndx != SHN_UNDEF && sym.st_size == 8 && GELF_ST_TYPE(sym.st_info) == STT_OBJECT &&
			    name_is_one_of(elf_strptr(elf, sh.sh_link, sym.st_name), names))
				return sym.st_value;
	}
	return 0;
}

/* Returns the address of the variable in an image whose first mapping is m; 0: the image does not define it. */
static uint64_t elf_variable_address(Elf *elf, const struct mapping *m, const char *const *names)
{
	uint64_t at = gelf_getclass(elf) == ELFCLASS64 ? elf_find_variable(elf, names) : 0;
	size_t nheaders = 0;
	GElf_Phdr ph;

	elf_getphdrnum(elf, &nheaders);
	for (size_t i = 0; at && i < nheaders; i++)
		if (gelf_getphdr(elf, (int)i, &ph) && ph.p_type == PT_LOAD && !ph.p_offset)
			return m->start - (ph.p_vaddr & ~4095ull) + at;
	return 0;
}

/* Returns the address of the variable if this mapping is the first of an image that defines it; else 0. */
static uint64_t mapping_find_variable(const struct process *process, const struct mapping *m, const char *const *names)
{
	char path[PATH_MAX + 32];
	uint64_t at = 0;
	struct stat st;
	int fd;

	if (m->offset || !m->inode || *m->path != '/')
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/root%s", process->tid, m->path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return 0;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_ino == m->inode) {
		Elf *elf = elf_begin(fd, ELF_C_READ, NULL);

		if (elf && elf_kind(elf) == ELF_K_ELF)
			at = elf_variable_address(elf, m, names);
		elf_end(elf);
	}
	close(fd);
	return at;
}

/* Reads a string, page by page, because the page after its end may not be mapped. */
static int process_read_string(const struct process *process, uint64_t at, char *to, size_t size)
{
	for (size_t n = 0; n < size;) {
		size_t part = 4096 - (at + n) % 4096;
		int err;

		if (part > size - n)
			part = size - n;
		err = process_read(process, at + n, to + n, part);
		if (err)
			return err;
		if (memchr(to + n, 0, part))
			return 0;
		n += part;
	}
	return -ENAMETOOLONG;
}

/* Searches the array of variables at `list`. */
static int environment_find(const struct process *process, uint64_t list, const char *name, char *value, size_t size)
{
	const size_t length = strlen(name);
	uint64_t at;

	*value = 0;
	for (unsigned i = 0; list && i < VARIABLES_MAX; i++) {
		char text[64];
		int err = process_read(process, list + 8 * i, &at, sizeof(at));

		if (err || !at)
			return err;
		/* A longer name is another variable. */
		err = process_read_string(process, at, text, sizeof(text));
		if (err && err != -ENAMETOOLONG)
			return err;
		if (!strncmp(text, name, length) && text[length] == '=')
			return process_read_string(process, at + length + 1, value, size);
	}
	return 0;
}

/* Returns the address of the variable in the process; 0: no image defines it. */
static uint64_t process_find_variable(const struct process *process, const char *const *names)
{
	uint64_t at = 0;

	/* The executable comes first: if it has a copy of the variable, all images use that one. */
	for (size_t i = 0; !at && i < process->nmaps; i++)
		at = mapping_find_variable(process, &process->maps[i], names);
	return at;
}

/*
 * Returns whether the C library is not initialized yet. It sets the environment, and then the program's name, which is
 * "" before.
 */
static bool process_is_starting(const struct process *process)
{
	uint64_t at = process_find_variable(process, program_names), name;
	char first;

	return at &&
	       (process_read(process, at, &name, sizeof(name)) || process_read(process, name, &first, 1) || !first);
}

int environment_read(pid_t pid, const char *name, char *value, size_t size)
{
	struct process *process;
	uint64_t at, list;
	int err = process_open(pid, &process);

	if (err)
		return err;
	elf_version(EV_CURRENT);
	err = process_read_maps(process);
	if (err)
		goto out;
	at = process_find_variable(process, environ_names);
	err = at ? process_read(process, at, &list, sizeof(list)) : -ENOENT;
	if (err)
		goto out;
	if (!list && process_is_starting(process)) {
		err = -EAGAIN;
		goto out;
	}
	err = environment_find(process, list, name, value, size);
out:
	process_free(process);
	return err;
}
