/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/semaphore-memory.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/hash.h"
#include "runtime/cpu.h"
#include "runtime/kernel/semaphore.h"
#include "runtime/process.h"
#include "sdt/image.h"
#include "sdt/operand.h"

/* ---- values ---- */

int semaphore_memory_open(struct process *process)
{
	char path[32];
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/mem", process->pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = process_read_maps(process);
	if (!err)
		err = process_alive(process) ? 0 : -ESRCH;
	if (!err)
		return fd;
	close(fd);
	return err;
}

bool semaphore_read(int memory, uint64_t address, uint16_t *value)
{
	return pread(memory, value, sizeof(*value), (off_t)address) == sizeof(*value);
}

bool semaphore_add(int memory, uint64_t address, int n)
{
	uint16_t value;

	if (!semaphore_read(memory, address, &value) || value + n < 0)
		return false;
	value = (uint16_t)(value + n > SEMAPHORE_MAX ? SEMAPHORE_MAX : value + n);
	return pwrite(memory, &value, sizeof(value), (off_t)address) == sizeof(value);
}

/* ---- places ---- */

bool mapping_counts(const struct mapping *m, uint64_t offset)
{
	return m->write && !m->shared && offset >= m->offset && offset - m->offset < m->end - m->start;
}

const struct mapping *mapping_find(const struct process *process, uint64_t address)
{
	for (size_t i = 0; i < process->nmaps; i++)
		if (address >= process->maps[i].start && address < process->maps[i].end)
			return &process->maps[i];
	return NULL;
}

uint64_t semaphore_kernel_copy(const struct process *process, dev_t device, ino_t inode, uint64_t offset)
{
	const struct mapping *m = NULL;

	while ((m = process_mapping(process, device, inode, offset, m)))
		if (mapping_counts(m, offset))
			return m->start + offset - m->offset;
	return 0;
}

/* Returns true if the address is a copy of a semaphore that the file contains. */
static bool is_copy_in_file(const struct process *process, const struct pp_image *image, uint64_t offset,
                            uint64_t address)
{
	const struct mapping *m = NULL;

	while ((m = process_mapping(process, image->device, image->inode, offset, m)))
		if (mapping_counts(m, offset) && m->start + offset - m->offset == address)
			return true;
	return false;
}

/* Returns true if m is a private mapping of the file's offset at the address. */
static bool mapping_is_files(const struct process *process, const struct pp_image *image, const struct mapping *m,
                             uint64_t offset, uint64_t address)
{
	const struct mapping *at = NULL;

	while ((at = process_mapping(process, image->device, image->inode, offset, at)))
		if (at == m)
			return !m->shared && m->start + offset - m->offset == address;
	return false;
}

/*
 * Returns true if the process has the segment's .bss in place: the semaphore is after the data that the file has of the
 * segment, and everything between is private writable memory. A file that was mapped but not loaded has something else
 * there.
 */
static bool segment_has_bss(const struct process *process, const struct pp_image *image, const struct image_segment *s,
                            uint64_t bias, uint64_t semaphore)
{
	const uint64_t end = bias + semaphore + sizeof(uint16_t), last = bias + s->address + s->filesz - 1;
	const struct mapping *m = mapping_find(process, last);

	if (!m || !mapping_is_files(process, image, m, s->offset + s->filesz - 1, last))
		return false;
	if (m->end > bias + semaphore && !m->write)
		return false;
	while (m->end < end) {
		m = mapping_find(process, m->end);
		if (!m || m->inode || m->shared || !m->write)
			return false;
	}
	return true;
}

/* Returns true if the image's .bss has the semaphore's address. bias: of the copy of the text that reads it. */
static bool is_copy_in_bss(const struct process *process, const struct pp_image *image, uint64_t bias,
                           uint64_t semaphore)
{
	for (size_t i = 0; i < image->nsegments; i++) {
		const struct image_segment *s = &image->segments[i];

		if ((s->flags & PF_W) && s->filesz && semaphore >= s->address + s->filesz &&
		    semaphore - s->address < s->memsz)
			return segment_has_bss(process, image, s, bias, semaphore);
	}
	return false;
}

bool semaphore_is_copy(const struct process *process, const struct pp_site *site, uint64_t address)
{
	const struct pp_image *image = site->probe->image;

	if (site->semaphore_in_bss)
		return is_copy_in_bss(process, image, address - site->semaphore, site->semaphore);
	return is_copy_in_file(process, image, site->semaphore_offset, address);
}

int semaphore_breakpoints(const struct process *process, int memory, dev_t device, ino_t inode, uint64_t offset)
{
	const struct cpu_code *cpu = cpu_code(MACHINE_HERE);
	const struct mapping *m = NULL;
	int n = 0;

	while ((m = process_mapping(process, device, inode, offset, m))) {
		off_t address = (off_t)(m->start + offset - m->offset);
		uint8_t bytes[CPU_ARMED_SIZE] = { 0 };

		n += !m->shared && pread(memory, bytes, sizeof(bytes), address) >= (ssize_t)cpu->breakpoint_size &&
		     cpu_is_armed(cpu, bytes);
	}
	return n;
}

/* ---- program runs ---- */

static ssize_t auxv_read(pid_t pid, void *auxv, size_t room)
{
	char path[32];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/auxv", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, auxv, room);
	close(fd);
	return n;
}

struct program_run program_run_of(pid_t pid, int memory)
{
	struct program_run run = { 0 };
	uint64_t auxv[64];
	uint32_t narrow[128];
	ssize_t n = auxv_read(pid, auxv, sizeof(auxv));
	bool wide;

	if (n <= 0)
		return run;
	run.exec = hash_fnv1a(auxv, (size_t)n);
	memcpy(narrow, auxv, (size_t)n);
	/*
	 * The first type is below 2^32. So the second 32-bit word is 0 in a 64-bit process, and a value in a 32-bit
	 * one.
	 */
	wide = !narrow[1];
	for (size_t i = 0; i + 1 < (size_t)n / (wide ? 8 : 4); i += 2) {
		const uint64_t type = wide ? auxv[i] : narrow[i], value = wide ? auxv[i + 1] : narrow[i + 1];

		if (type == AT_RANDOM &&
		    pread(memory, &run.random, sizeof(run.random), (off_t)value) != sizeof(run.random))
			run.random = 0;
	}
	return run;
}
