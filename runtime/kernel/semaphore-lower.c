/* SPDX-License-Identifier: MIT */
/*
 * Lowers semaphores that were raised by hand.
 *
 * 1. Each copy is lowered in the process in which it was raised, if that process still runs the same program and has
 *    the file at the same address.
 * 2. A process that was forked from that one after the copy was raised has inherited the raised value, which is lowered
 *    too. Forks are found by their program run (program_run_of()), in rounds, until a round finds no more forks.
 * 3. The start time of a process is known in clock ticks only. If a fork started in the tick in which the copy was
 *    raised or lowered, it is not known which came first. Then the fork's copy is lowered if its value is above the
 *    value in the process in which the copy was raised, or if that process has ended.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "runtime/kernel/semaphore-memory.h"
#include "runtime/kernel/semaphore.h"
#include "runtime/process.h"

#define ROUNDS_MAX 8

uint32_t semaphore_tick(void)
{
	const uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint32_t)((uint64_t)now.tv_sec * hz + (uint64_t)now.tv_nsec * hz / 1000000000);
}

/* Returns true if the process has the file and the semaphore where they were when the semaphore was raised. */
static bool raised_is_mapped(const struct process *process, const struct semaphore_raised *raised)
{
	const struct mapping *m = NULL, *at = mapping_find(process, raised->address);
	bool text = false;

	while (!text &&
	       (m = process_mapping(process, (dev_t)raised->device, (ino_t)raised->inode, raised->text_offset, m)))
		text = m->start + raised->text_offset - m->offset == raised->text;
	if (!text || !at || !at->write || at->shared)
		return false;
	if (raised->offset & MANIFEST_BY_HAND)
		return !at->inode || at->inode == (ino_t)raised->inode;
	return mapping_counts(at, raised->offset) && at->inode &&
	       at->start + raised->offset - at->offset == raised->address;
}

/* Opens the memory in which the copy was raised. Returns -ESRCH if the process has ended or runs another program. */
static int raised_open(const struct semaphore_raised *raised)
{
	const pid_t pid = (pid_t)raised->pid;
	struct process *process = NULL;
	int memory;

	if (process_start_time(pid) != raised->start_time || process_open(pid, &process))
		return -ESRCH;
	memory = semaphore_memory_open(process);
	/* The start time is compared last: the pid may have been reused meanwhile. */
	if (memory >= 0 && (program_run_of(pid, memory).exec != raised->exec || !raised_is_mapped(process, raised) ||
	                    process_start_time(pid) != raised->start_time)) {
		close(memory);
		memory = -ESRCH;
	}
	process_free(process);
	return memory;
}

/* Reads the copy in the process in which it was raised. */
static bool raised_read(const struct semaphore_raised *raised, uint16_t *value)
{
	int memory = raised_open(raised);
	bool read;

	if (memory < 0)
		return false;
	read = semaphore_read(memory, raised->address, value);
	close(memory);
	return read;
}

/* ---- forks ---- */

struct lowered_fork {
	uint64_t address, start_time;
	pid_t pid;
};

struct lowering {
	const struct semaphore_lowering *list;
	size_t n;
	uint32_t begin; /* the tick at which the first copy was lowered */
	struct lowered_fork *forks;
	size_t nforks, room;
};

/* A process that may be a fork. */
struct fork_candidate {
	const struct process *process;
	uint64_t start_time;
	struct program_run run;
	int memory;
};

static bool lowering_is_done(const struct lowering *l, const struct fork_candidate *f, uint64_t address)
{
	const pid_t pid = f->process->pid;

	for (size_t i = 0; i < l->n; i++) {
		const struct semaphore_raised *raised = &l->list[i].raised;

		if (raised->pid == (uint32_t)pid && raised->start_time == f->start_time && raised->address == address)
			return true;
	}
	for (size_t i = 0; i < l->nforks; i++)
		if (l->forks[i].pid == pid && l->forks[i].start_time == f->start_time && l->forks[i].address == address)
			return true;
	return false;
}

/*
 * Returns true if the process was forked from the one in which the copy was raised, and its copy was not lowered yet.
 */
static bool lowering_inherited(const struct lowering *l, const struct semaphore_lowering *item,
                               const struct fork_candidate *f)
{
	const struct semaphore_raised *raised = &item->raised;

	return item->taken && f->run.random && raised->exec == f->run.exec && raised->random == f->run.random &&
	       (int32_t)((uint32_t)f->start_time - item->tick) >= 0 && !lowering_is_done(l, f, raised->address) &&
	       raised_is_mapped(f->process, raised);
}

static void fork_lower(const struct lowering *l, const struct semaphore_lowering *item, const struct fork_candidate *f)
{
	const struct semaphore_raised *raised = &item->raised;
	bool after_raising = (uint32_t)f->start_time != item->tick;
	bool before_lowering = (int32_t)((uint32_t)f->start_time - l->begin) < 0;
	uint16_t value, parents;

	if (!semaphore_read(f->memory, raised->address, &value) || !value)
		return;
	if ((after_raising && before_lowering) || !raised_read(raised, &parents) || value > parents)
		semaphore_add(f->memory, raised->address, -1);
}

/*
 * Lowers the copies that the process has inherited. Returns true if it is a fork in which copies were not lowered yet.
 */
static bool process_lower_inherited(struct lowering *l, struct process *process)
{
	struct fork_candidate f = { .process = process, .start_time = process_start_time(process->pid) };
	bool any = false;

	f.memory = f.start_time ? semaphore_memory_open(process) : -1;
	if (f.memory < 0)
		return false;
	f.run = program_run_of(process->pid, f.memory);
	for (size_t i = 0; i < l->n; i++) {
		if (!lowering_inherited(l, &l->list[i], &f))
			continue;
		if (ALLOC_GROW(l->forks, l->nforks + 1, l->room))
			break;
		l->forks[l->nforks++] = (struct lowered_fork){ l->list[i].raised.address, f.start_time, process->pid };
		any = true;
		fork_lower(l, &l->list[i], &f);
	}
	close(f.memory);
	return any;
}

/* Returns true if an earlier copy in the list is of the same file. */
static bool lowering_file_is_known(const struct lowering *l, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (l->list[k].raised.device == l->list[i].raised.device &&
		    l->list[k].raised.inode == l->list[i].raised.inode)
			return true;
	return false;
}

/* Lowers copies in all forks that exist now. Returns true if there was one, because there may be forks of it. */
static bool lowering_forks(struct lowering *l)
{
	bool any = false;

	for (size_t i = 0; i < l->n; i++) {
		struct process **all = NULL;
		size_t n = 0;

		if (lowering_file_is_known(l, i) ||
		    processes_mapping((dev_t)l->list[i].raised.device, (ino_t)l->list[i].raised.inode, &all, &n))
			continue;
		for (size_t p = 0; p < n; p++) {
			any |= process_lower_inherited(l, all[p]);
			process_free(all[p]);
		}
		free(all);
	}
	return any;
}

void semaphores_lower(struct semaphore_lowering *list, size_t n, bool (*take)(const struct semaphore_raised *, void *),
                      void *arg)
{
	struct lowering l = { .list = list, .n = n, .begin = semaphore_tick() };

	for (size_t i = 0; i < n; i++) {
		int memory = raised_open(&list[i].raised);

		list[i].taken = take(&list[i].raised, arg);
		if (memory >= 0 && list[i].taken)
			semaphore_add(memory, list[i].raised.address, -1);
		if (memory >= 0)
			close(memory);
	}
	for (int round = 0; n && round < ROUNDS_MAX && lowering_forks(&l); round++)
		;
	free(l.forks);
}
