/* SPDX-License-Identifier: MIT */
/*
 * Verification after disarming. The kernel removes the breakpoints of unlinked pins in an order of its own. This file
 * waits for all of them at once, as long as some disappear. Reading a process's memory delays the kernel, so the pauses
 * between readings are four times as long as the readings. Breakpoints that other sessions have armed too are not
 * waited for; the sessions are read only if breakpoints are left after OWNED_NS, because that takes time.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/clock.h"
#include "runtime/cpu.h"
#include "runtime/kernel/verify.h"
#include "runtime/process.h"
#include "sdt/operand.h"

#define OWNED_NS 200000000ull
#define PAUSE_NS 1000000

/* The addresses of places in one process. */
struct watched {
	struct process *process;
	uint64_t *addresses;
	const struct verify_place **places; /* of the addresses */
	uint8_t *bytes;                     /* CPU_ARMED_SIZE bytes of each */
	bool *got;
	size_t n, room, places_room;
	bool is_unread; /* it cannot be read, or there was no memory to */
};

static void watched_release(struct watched *w)
{
	process_free(w->process);
	free(w->addresses);
	free(w->places);
	free(w->bytes);
	free(w->got);
}

/* Finds the places, which are of one file. */
static void watched_find(struct watched *w, const struct verify_place *places, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct verify_place *place = &places[i];
		const struct mapping *m = NULL;

		while ((m = process_mapping(w->process, place->device, place->inode, place->offset, m))) {
			if (!m->exec)
				continue;
			if (ALLOC_GROW(w->addresses, w->n + 1, w->room) ||
			    ALLOC_GROW(w->places, w->n + 1, w->places_room)) {
				w->is_unread = true;
				return;
			}
			w->places[w->n] = place;
			w->addresses[w->n++] = m->start + place->offset - m->offset;
		}
	}
}

/* Returns how many breakpoints there are. Forgets the other addresses. */
static size_t watched_read(struct watched *w)
{
	const struct cpu_code *cpu = cpu_code(MACHINE_HERE);
	size_t n = 0, size = CPU_ARMED_SIZE;
	int err;

	if (w->is_unread || !process_alive(w->process))
		return 0;
	err = process_read_spans(w->process, w->addresses, w->n, size, w->bytes, w->got);
	if (err) {
		w->is_unread = err != -ESRCH && process_alive(w->process);
		return 0;
	}
	for (size_t i = 0; i < w->n; i++) {
		uint8_t *bytes = w->bytes + i * size;

		/* The instruction may be at the end of its mapping. */
		if (!w->got[i])
			memset(bytes, 0, size);
		if ((w->got[i] || !process_read(w->process, w->addresses[i], bytes, cpu->breakpoint_size)) &&
		    cpu_is_armed(cpu, bytes)) {
			w->places[n] = w->places[i];
			w->addresses[n++] = w->addresses[i];
		}
	}
	w->n = n;
	return n;
}

/* Forgets the addresses of places that other sessions have armed. */
static void watched_forget_armed(struct watched *w, const struct verify_wait *wait)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++) {
		if (wait->is_armed(w->places[i], wait->arg))
			continue;
		w->places[n] = w->places[i];
		w->addresses[n++] = w->addresses[i];
	}
	w->n = n;
}

struct watch_list {
	struct watched *list;
	size_t n, room;
	struct verify_rest rest;
};

static void watch_list_read(struct watch_list *l)
{
	l->rest.sites = 0;
	for (size_t i = 0; i < l->n; i++) {
		size_t left = watched_read(&l->list[i]);

		l->rest.sites += left;
		if (left || l->list[i].is_unread)
			l->rest.pid = l->list[i].process->pid;
	}
}

static void watch_list_wait(struct watch_list *l, const struct verify_wait *wait)
{
	uint64_t start = clock_ns(), progress = start, pause;
	bool forgot = !wait->is_armed;
	size_t before = SIZE_MAX;

	for (;;) {
		watch_list_read(l);
		if (l->rest.sites < before)
			progress = clock_ns();
		before = l->rest.sites;
		if (!l->rest.sites || clock_ns() - progress > wait->give_up_ns || (wait->interrupt && *wait->interrupt))
			return;
		if (!forgot && clock_ns() - progress > OWNED_NS) {
			forgot = true;
			for (size_t i = 0; i < l->n; i++)
				watched_forget_armed(&l->list[i], wait);
			continue;
		}
		pause = PAUSE_NS + 4 * (clock_ns() - start);
		nanosleep(&(struct timespec){ .tv_sec = pause / 1000000000, .tv_nsec = pause % 1000000000 }, NULL);
		start = clock_ns();
	}
}

/* Adds the processes that map the file of the places. */
static void watch_list_add(struct watch_list *l, const struct verify_place *places, size_t n)
{
	struct process **processes = NULL;
	size_t nprocesses = 0;

	if (processes_mapping(places->device, places->inode, &processes, &nprocesses)) {
		l->rest.unread++;
		return;
	}
	for (size_t k = 0; k < nprocesses; k++) {
		struct watched *w;

		if (ALLOC_GROW(l->list, l->n + 1, l->room)) {
			l->rest.unread++;
			process_free(processes[k]);
			continue;
		}
		w = &l->list[l->n++];
		*w = (struct watched){ .process = processes[k] };
		watched_find(w, places, n);
		w->bytes = calloc(w->n + 1, CPU_ARMED_SIZE);
		w->got = calloc(w->n + 1, sizeof(*w->got));
		w->is_unread |= !w->bytes || !w->got;
	}
	free(processes);
}

struct verify_rest verify_disarmed(const struct verify_place *places, size_t n, const struct verify_wait *wait)
{
	struct watch_list list = { 0 };

	for (size_t i = 0, end; i < n; i = end) {
		end = i + 1;
		while (end < n && places[end].device == places[i].device && places[end].inode == places[i].inode)
			end++;
		watch_list_add(&list, places + i, end - i);
	}
	watch_list_wait(&list, wait);
	for (size_t i = 0; i < list.n; i++) {
		list.rest.unread += list.list[i].is_unread;
		watched_release(&list.list[i]);
	}
	free(list.list);
	return list.rest;
}
