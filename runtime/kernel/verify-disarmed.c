/* SPDX-License-Identifier: MIT */
/*
 * Verification after disarming. The kernel removes the breakpoints of unlinked pins in an order of its own. This file
 * waits for all of them at once, as long as some disappear. Reading a process's memory delays the kernel, so the pauses
 * between readings are four times as long as the readings.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/clock.h"
#include "runtime/cpu.h"
#include "runtime/kernel/verify.h"
#include "runtime/process.h"
#include "sdt/operand.h"

#define PROGRESS_NS 20000000000ull /* gives up if no breakpoint disappears for so long */
#define PAUSE_NS 1000000

/* The addresses of places in one process. */
struct watched {
	struct process *process;
	uint64_t *addresses;
	uint8_t *bytes; /* CPU_ARMED_SIZE bytes of each */
	bool *got;
	size_t n, room;
};

static void watched_release(struct watched *w)
{
	process_free(w->process);
	free(w->addresses);
	free(w->bytes);
	free(w->got);
}

/* Finds the places, which are of one file. Ignores some if memory allocation fails. */
static void watched_find(struct watched *w, const struct verify_place *places, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct verify_place *place = &places[i];
		const struct mapping *m = NULL;

		while ((m = process_mapping(w->process, place->device, place->inode, place->offset, m))) {
			if (!m->exec)
				continue;
			if (ALLOC_GROW(w->addresses, w->n + 1, w->room))
				return;
			w->addresses[w->n++] = m->start + place->offset - m->offset;
		}
	}
}

/* Returns how many breakpoints there are. Forgets the other addresses. */
static size_t watched_read(struct watched *w)
{
	const struct cpu_code *cpu = cpu_code(MACHINE_HERE);
	size_t n = 0, size = CPU_ARMED_SIZE;

	if (!w->bytes || !w->got || !process_alive(w->process) ||
	    process_read_spans(w->process, w->addresses, w->n, size, w->bytes, w->got))
		return 0;
	for (size_t i = 0; i < w->n; i++) {
		uint8_t *bytes = w->bytes + i * size;

		/* The instruction may be at the end of its mapping. */
		if (!w->got[i])
			memset(bytes, 0, size);
		if ((w->got[i] || !process_read(w->process, w->addresses[i], bytes, cpu->breakpoint_size)) &&
		    cpu_is_armed(cpu, bytes))
			w->addresses[n++] = w->addresses[i];
	}
	w->n = n;
	return n;
}

struct watch_list {
	struct watched *list;
	size_t n, room;
};

static void watch_list_wait(struct watch_list *l, const volatile int *interrupt)
{
	size_t before = SIZE_MAX;
	uint64_t start = clock_ns(), until = start + PROGRESS_NS;

	while (start < until && !(interrupt && *interrupt)) {
		size_t left = 0;
		uint64_t pause;

		for (size_t i = 0; i < l->n; i++)
			left += watched_read(&l->list[i]);
		if (!left)
			return;
		pause = PAUSE_NS + 4 * (clock_ns() - start);
		if (left < before)
			until = clock_ns() + PROGRESS_NS;
		before = left;
		nanosleep(&(struct timespec){ .tv_sec = pause / 1000000000, .tv_nsec = pause % 1000000000 }, NULL);
		start = clock_ns();
	}
}

/* Adds the processes that map the file of the places. */
static void watch_list_add(struct watch_list *l, const struct verify_place *places, size_t n)
{
	struct process **processes = NULL;
	size_t nprocesses = 0;

	if (processes_mapping(places->device, places->inode, &processes, &nprocesses))
		return;
	for (size_t k = 0; k < nprocesses; k++) {
		struct watched *w;

		if (ALLOC_GROW(l->list, l->n + 1, l->room)) {
			process_free(processes[k]);
			continue;
		}
		w = &l->list[l->n++];
		*w = (struct watched){ .process = processes[k] };
		watched_find(w, places, n);
		w->bytes = calloc(w->n + 1, CPU_ARMED_SIZE);
		w->got = calloc(w->n + 1, sizeof(*w->got));
	}
	free(processes);
}

void verify_disarmed(const struct verify_place *places, size_t n, const volatile int *interrupt)
{
	struct watch_list list = { 0 };

	for (size_t i = 0, end; i < n; i = end) {
		end = i + 1;
		while (end < n && places[end].device == places[i].device && places[end].inode == places[i].inode)
			end++;
		watch_list_add(&list, places + i, end - i);
	}
	watch_list_wait(&list, interrupt);
	for (size_t i = 0; i < list.n; i++)
		watched_release(&list.list[i]);
	free(list.list);
}
