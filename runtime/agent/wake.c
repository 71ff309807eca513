/* SPDX-License-Identifier: MIT */
/*
 * Finds agents that sleep. The agent's library has a note that leads to struct agent_wake_entry. All that is read from
 * the process is untrusted. The controller uses the addresses only to write to the process's own memory and to set its
 * own registers.
 */
#include "runtime/agent/wake.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/agent/tracee.h"

#define LIBRARY_NAME "probepoint-agent"
#define NOTE_OWNER "probepoint"
#define HEADERS_MAX 64
#define NOTES_MAX 4096

/* ---- processes with an agent ---- */

static bool mapping_is_agent(const struct mapping *m)
{
	const char *base = strrchr(m->path, '/');

	return m->inode && base && strstr(base, LIBRARY_NAME);
}

static bool process_maps_agent(const struct process *process)
{
	for (size_t i = 0; i < process->nmaps; i++)
		if (mapping_is_agent(&process->maps[i]))
			return true;
	return false;
}

bool wake_is_loading(const struct process *process)
{
	bool loader = false;

	for (size_t i = 0; i < process->nmaps; i++) {
		const char *base = strrchr(process->maps[i].path, '/');

		if (base && !strncmp(base + 1, "libc.so.", 8))
			return false;
		loader |= base && !strncmp(base + 1, "ld-linux-", 9);
	}
	return loader && !process_maps_agent(process);
}

bool wake_is_own(pid_t pid)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	return !stat(path, &st) && st.st_uid == geteuid();
}

bool agent_is_mapped(pid_t pid)
{
	struct process *process;
	bool mapped;

	if (process_open(pid, &process))
		return false;
	mapped = !process_read_maps(process) && process_maps_agent(process);
	process_free(process);
	return mapped;
}

int agent_each_mapped(int (*fn)(pid_t pid, void *arg), void *arg)
{
	DIR *d = opendir("/proc");
	int err = 0;

	if (!d)
		return 0;
	for (struct dirent *entry; !err && (entry = readdir(d));) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid > 0 && pid != getpid() && wake_is_own(pid) && agent_is_mapped(pid))
			err = fn(pid, arg);
	}
	closedir(d);
	return err;
}

/* ---- the wake entry ---- */

/* Searches notes that were read from `address` on. Returns the address of the wake entry, 0 if no note leads to one. */
static uint64_t notes_find_entry(const unsigned char *notes, uint64_t size, uint64_t address, uint64_t align)
{
	for (uint64_t at = 0; at < size && size - at >= sizeof(Elf64_Nhdr);) {
		const Elf64_Nhdr *note = (const Elf64_Nhdr *)(notes + at);
		uint64_t name = at + sizeof(*note), desc = name + ((note->n_namesz + 3ull) & ~3ull);
		uint64_t next = desc + ((note->n_descsz + 3ull) & ~3ull);
		int64_t distance;

		if (next > size)
			return 0;
		if (note->n_type == AGENT_NOTE_WAKE && note->n_namesz == sizeof(NOTE_OWNER) &&
		    !memcmp(notes + name, NOTE_OWNER, sizeof(NOTE_OWNER)) && note->n_descsz == sizeof(distance)) {
			memcpy(&distance, notes + desc, sizeof(distance));
			return address + desc + (uint64_t)distance;
		}
		at = align < 8 ? next : (next + 7) & ~7ull;
	}
	return 0;
}

/* Returns the address of the wake entry of the library whose first mapping is m; 0: it has none. */
static uint64_t library_find_entry(const struct process *process, const struct mapping *m)
{
	Elf64_Phdr headers[HEADERS_MAX];
	_Alignas(8) unsigned char notes[NOTES_MAX];
	uint64_t base = m->start;
	Elf64_Ehdr h;

	if (process_read(process, base, &h, sizeof(h)) || memcmp(h.e_ident, ELFMAG, SELFMAG) ||
	    h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_phentsize != sizeof(*headers) || h.e_phnum > HEADERS_MAX ||
	    process_read(process, base + h.e_phoff, headers, h.e_phnum * sizeof(*headers)))
		return 0;
	for (unsigned i = 0; i < h.e_phnum; i++) {
		uint64_t size = headers[i].p_filesz, at;

		if (headers[i].p_type != PT_NOTE || size > sizeof(notes) ||
		    process_read(process, base + headers[i].p_vaddr, notes, size))
			continue;
		at = notes_find_entry(notes, size, base + headers[i].p_vaddr, headers[i].p_align);
		if (at)
			return at;
	}
	return 0;
}

int wake_fail_trace(pid_t pid)
{
	return error_set(EPERM,
	                 "pid %d: the agent sleeps, and this user may not trace the process to wake it (see "
	                 "kernel.yama.ptrace_scope; a debugger may be attached); start the process by -b agent -- "
	                 "COMMAND, or with PROBEPOINT_LISTEN=1 in its environment",
	                 pid);
}

int wake_fail_vfork(pid_t pid)
{
	return error_set(EAGAIN,
	                 "pid %d: the process is just starting: it uses the memory of the process that has started it, "
	                 "until it executes its program; try again",
	                 pid);
}

/* Whether the agent's library is mapped, but may not be read. */
static bool library_is_denied(const struct process *process)
{
	char byte = 0;

	for (size_t i = 0; i < process->nmaps; i++)
		if (mapping_is_agent(&process->maps[i]) &&
		    process_read(process, process->maps[i].start, &byte, 1) == -EPERM)
			return true;
	return false;
}

int wake_entry_find(const struct process *process, uint64_t *at, struct agent_wake_entry *entry)
{
	bool found = false;

	for (size_t i = 0; i < process->nmaps; i++) {
		const struct mapping *m = &process->maps[i];

		if (m->offset || !mapping_is_agent(m))
			continue;
		found = true;
		*at = library_find_entry(process, m);
		if (!*at || process_read(process, *at, entry, sizeof(*entry)) || entry->magic != AGENT_WAKE_MAGIC ||
		    entry->self != *at)
			continue;
		if (entry->version != AGENT_VERSION || entry->image_size < TRACEE_IMAGE_MAX)
			return error_set(EPROTO, "pid %d: the agent has another version than this command",
			                 process->pid);
		return 0;
	}
	if (!found)
		return -ENOENT;
	if (library_is_denied(process))
		return wake_fail_trace(process->pid);
	return error_set(EAGAIN, "pid %d: the process is just starting and its agent is not ready; try again",
	                 process->pid);
}
