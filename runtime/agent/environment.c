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

static bool is_environ(const char *name)
{
	return name && (!strcmp(name, "environ") || !strcmp(name, "__environ") || !strcmp(name, "_environ"));
}

/* Returns the address of the symbol as linked; 0: the image does not define it. */
static uint64_t elf_find_environ(Elf *elf)
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
			    is_environ(elf_strptr(elf, sh.sh_link, sym.st_name)))
				return sym.st_value;
	}
	return 0;
}

/* Returns the address of the variable in an image whose first mapping is m; 0: the image does not define it. */
static uint64_t elf_environ_address(Elf *elf, const struct mapping *m)
{
	uint64_t at = gelf_getclass(elf) == ELFCLASS64 ? elf_find_environ(elf) : 0;
	size_t nheaders = 0;
	GElf_Phdr ph;

	elf_getphdrnum(elf, &nheaders);
	for (size_t i = 0; at && i < nheaders; i++)
		if (gelf_getphdr(elf, (int)i, &ph) && ph.p_type == PT_LOAD && !ph.p_offset)
			return m->start - (ph.p_vaddr & ~4095ull) + at;
	return 0;
}

/* Returns the address of the variable if this mapping is the first of an image that defines it; else 0. */
static uint64_t mapping_find_environ(const struct process *process, const struct mapping *m)
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
			at = elf_environ_address(elf, m);
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

int environment_read(pid_t pid, const char *name, char *value, size_t size)
{
	struct process *process;
	uint64_t at = 0, list;
	int err = process_open(pid, &process);

	if (err)
		return err;
	elf_version(EV_CURRENT);
	err = process_read_maps(process);
	if (err)
		goto out;
	/* The executable comes first: if it has a copy of the variable, all images use that one. */
	for (size_t i = 0; !at && i < process->nmaps; i++)
		at = mapping_find_environ(process, &process->maps[i]);
	err = at ? process_read(process, at, &list, sizeof(list)) : -ENOENT;
	if (err)
		goto out;
	err = environment_find(process, list, name, value, size);
out:
	process_free(process);
	return err;
}
