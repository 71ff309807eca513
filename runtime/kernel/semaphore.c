/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/semaphore.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include "runtime/armed.h"
#include "runtime/point.h"
#include "runtime/process.h"
#include "runtime/session.h"
#include "base/error.h"
#include "sdt/image.h"

uint64_t semaphore_key(const struct pp_site *site)
{
	if (semaphore_by_hand(site))
		return MANIFEST_BY_HAND | site->semaphore;
	return site->has_semaphore ? site->semaphore_offset : 0;
}

/* Whoever armed them, sites count once each; so most images can never come so far. */
static size_t sites_of(const struct pp_image *image, uint64_t semaphore)
{
	size_t n = 0;

	for (size_t p = 0; p < image->nprobes; p++)
		for (size_t i = 0; i < image->probes[p].nsites; i++)
			n += image->probes[p].sites[i].has_semaphore &&
			     image->probes[p].sites[i].semaphore_offset == semaphore;
	return n;
}

struct armed_now {
	struct pp_armed *others;
	struct registry own;
};

static bool is_armed(struct armed_now *now, const struct pp_image *image, const struct pp_site *site)
{
	size_t n;

	return registry_find(&now->own, image->real_device, image->real_inode, site->offset, &n) ||
	       (now->others && pp_armed_session(now->others, image, site, 0));
}

static size_t armed_of(struct armed_now *now, const struct pp_image *image, uint64_t semaphore)
{
	size_t n = 0;

	for (size_t p = 0; p < image->nprobes; p++)
		for (size_t i = 0; i < image->probes[p].nsites; i++) {
			const struct pp_site *site = &image->probes[p].sites[i];

			n += site->has_semaphore && site->semaphore_offset == semaphore && is_armed(now, image, site);
		}
	return n;
}

static void refuse_beyond(struct armed_now *now, struct arm_point *const *points, size_t n, uint64_t semaphore)
{
	const struct pp_image *image = points[0]->image;
	size_t count = armed_of(now, image, semaphore);
	char reason[160];

	snprintf(reason, sizeof(reason), "its semaphore counts to %d, and so many sites of it are armed already",
	         SEMAPHORE_MAX);
	for (size_t i = 0; i < n; i++) {
		struct arm_point *point = points[i];

		if (point->error || !point->site->has_semaphore || point->site->semaphore_offset != semaphore ||
		    is_armed(now, image, point->site) || ++count <= SEMAPHORE_MAX)
			continue;
		free(point->reason);
		point->error = -EOVERFLOW;
		point->reason = strdup(reason);
	}
}

int semaphores_check(const struct pp_session *session, struct arm_point *const *points, size_t n)
{
	struct armed_now now = { 0 };
	bool read = false;
	int err = 0;

	/* The points of one image and process stand together, those of one semaphore mostly too. */
	for (size_t i = 0, end; i < n && !err; i = end) {
		uint64_t last = 0;

		end = i + arm_points_run(points + i, n - i);
		for (size_t k = i; k < end && !err; k++) {
			const struct pp_site *site = points[k]->site;

			if (!site->has_semaphore || site->semaphore_offset == last)
				continue;
			last = site->semaphore_offset;
			if (sites_of(points[i]->image, last) <= SEMAPHORE_MAX)
				continue;
			if (!read) {
				err = registry_add_session(&now.own, session, 0);
				if (!err && armed_read(&now.others, session->name))
					now.others = NULL;
				read = true;
			}
			if (!err)
				refuse_beyond(&now, points + i, end - i, last);
		}
	}
	registry_release(&now.own);
	pp_armed_free(now.others);
	return err;
}

/* ---- copies ---------------------------------------------------------------------- */

bool semaphore_by_hand(const struct pp_site *site)
{
	const struct pp_image *image = site->probe->image;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), at = site->semaphore_offset;

	if (!site->has_semaphore)
		return site->semaphore_in_bss;
	for (size_t i = 0; i < image->nsegments; i++) {
		const struct image_segment *s = &image->segments[i];

		if ((s->flags & PF_W) && s->filesz && at >= (s->offset & -page) &&
		    at < ((s->offset + s->filesz + page - 1) & -page))
			return s->address + (at - s->offset) != site->semaphore;
	}
	return false;
}

static bool counts(const struct mapping *m, uint64_t offset)
{
	return m->write && !m->shared && offset >= m->offset && offset - m->offset < m->end - m->start;
}

/* Where the kernel has the semaphore: the first mapping that counts. 0: nowhere. */
static uint64_t kernels_copy(const struct process *process, dev_t device, ino_t inode, uint64_t offset)
{
	const struct mapping *m = NULL;

	while ((m = process_mapping(process, device, inode, offset, m)))
		if (counts(m, offset))
			return m->start + offset - m->offset;
	return 0;
}

/* True if the address holds the image's semaphore, in memory of the process's own that it may write. */
static bool is_copy(const struct process *process, const struct pp_image *image, uint64_t offset, uint64_t address)
{
	const struct mapping *m = NULL;

	while ((m = process_mapping(process, image->device, image->inode, offset, m)))
		if (counts(m, offset) && m->start + offset - m->offset == address)
			return true;
	return false;
}

static const struct mapping *mapping_at(const struct process *process, uint64_t address)
{
	for (size_t i = 0; i < process->nmaps; i++)
		if (address >= process->maps[i].start && address < process->maps[i].end)
			return &process->maps[i];
	return NULL;
}

static bool is_files(const struct process *process, const struct pp_image *image, const struct mapping *m,
                     uint64_t offset, uint64_t address)
{
	const struct mapping *at = NULL;

	while ((at = process_mapping(process, image->device, image->inode, offset, at)))
		if (at == m)
			return !m->shared && m->start + offset - m->offset == address;
	return false;
}

/*
 * True if the address holds the image's variable of .bss: it lies behind the data that the file holds of its segment,
 * and everything between is writable memory of the process's own. bias: of the copy of the text that reads it. A file
 * that was only mapped, and not loaded, has something else there.
 */
static bool is_bss_copy(const struct process *process, const struct pp_image *image, uint64_t bias, uint64_t semaphore)
{
	for (size_t i = 0; i < image->nsegments; i++) {
		const struct image_segment *s = &image->segments[i];
		const uint64_t end = bias + semaphore + sizeof(uint16_t), last = bias + s->address + s->filesz - 1;
		const struct mapping *m = mapping_at(process, last);

		if (!(s->flags & PF_W) || !s->filesz || semaphore < s->address + s->filesz ||
		    semaphore - s->address >= s->memsz)
			continue;
		if (!m || !is_files(process, image, m, s->offset + s->filesz - 1, last))
			return false;
		if (m->end > bias + semaphore && !m->write)
			return false;
		while (m->end < end) {
			m = mapping_at(process, m->end);
			if (!m || m->inode || m->shared || !m->write)
				return false;
		}
		return true;
	}
	return false;
}

/* Which program run a process is. Forks have the same, but for another program, or the same anew, both are others. */
static void identify(pid_t pid, int memory, uint64_t *exec, uint64_t *random)
{
	uint64_t auxv[64];
	uint32_t narrow[128];
	char path[32];
	ssize_t n;
	int fd;

	*exec = *random = 0;
	snprintf(path, sizeof(path), "/proc/%d/auxv", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, auxv, sizeof(auxv));
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return;
	*exec = 0xcbf29ce484222325; /* FNV-1a */
	for (ssize_t i = 0; i < n; i++)
		*exec = (*exec ^ ((const unsigned char *)auxv)[i]) * 0x100000001b3;
	memcpy(narrow, auxv, (size_t)n);
	/* A 32-bit process's entries are half as wide, and few values are below 2^32 when two of them are taken for one. */
	for (size_t i = 0, wide = !narrow[1]; i + 1 < (size_t)n / (wide ? 8 : 4); i += 2) {
		const uint64_t type = wide ? auxv[i] : narrow[i], value = wide ? auxv[i + 1] : narrow[i + 1];

		if (type == AT_RANDOM && pread(memory, random, sizeof(*random), (off_t)value) != sizeof(*random))
			*random = 0;
	}
}

/*
 * The memory of a process as it is now: after another exec() it is nobody's. So a descriptor that was opened before the
 * mappings were read never reaches memory that they do not describe.
 */
static int memory_open(struct process *process)
{
	char path[32];
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/mem", process->pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = process_read_maps(process);
	if (!err && process_alive(process))
		return fd;
	close(fd);
	return err ? err : -ESRCH;
}

static bool value_at(int memory, uint64_t address, uint16_t *value)
{
	return pread(memory, value, sizeof(*value), (off_t)address) == sizeof(*value);
}

/* Adds to a semaphore, within what it holds. Nothing but tracers writes semaphores, each within microseconds. */
static bool add(int memory, uint64_t address, int n)
{
	uint16_t value;

	if (!value_at(memory, address, &value) || value + n < 0)
		return false;
	value = (uint16_t)(value + n > SEMAPHORE_MAX ? SEMAPHORE_MAX : value + n);
	return pwrite(memory, &value, sizeof(value), (off_t)address) == sizeof(value);
}

/*
 * How many traps there are for a place of a file, for each of which the kernel raised a semaphore and will lower it. The
 * kernel also sets them where the file's page is mapped read-only, because such a mapping could become executable.
 */
static int traps_at(const struct process *process, int memory, dev_t device, ino_t inode, uint64_t offset)
{
	const struct mapping *m = NULL;
	int traps = 0;
	uint8_t byte;

	while ((m = process_mapping(process, device, inode, offset, m)))
		traps += !m->shared && pread(memory, &byte, 1, (off_t)(m->start + offset - m->offset)) == 1 &&
		         byte == 0xcc;
	return traps;
}

static int by_semaphore(const void *a, const void *b)
{
	const struct arm_point *x = *(const struct arm_point *const *)a, *y = *(const struct arm_point *const *)b;

	if (x->image != y->image)
		return (uintptr_t)x->image < (uintptr_t)y->image ? -1 : 1;
	if (x->site->semaphore != y->site->semaphore)
		return x->site->semaphore < y->site->semaphore ? -1 : 1;
	return (x > y) - (x < y);
}

struct raising {
	semaphore_record *record;
	void *arg;
	bool again;   /* what is not 0 was raised already, if only in the process that it was forked from */
	size_t count; /* how many were raised by hand */
};

/* The copies of one semaphore in a process: n points of it, all of one image. */
static int raise_copies(struct process *process, int memory, const struct arm_point *const *points, size_t n,
                        struct raising *r)
{
	const struct pp_site *site = points[0]->site;
	const struct pp_image *image = points[0]->image;
	const bool by_hand = semaphore_by_hand(site);
	uint64_t first = by_hand ? 0 : kernels_copy(process, image->device, image->inode, site->semaphore_offset),
		 done[64];
	const struct mapping *m = NULL;
	size_t ndone = 0;

	while ((first || by_hand) && (m = process_mapping(process, image->device, image->inode, site->offset, m))) {
		uint64_t address = m->start + site->offset - m->offset - site->address + site->semaphore;
		uint16_t value;
		bool known = false;

		for (size_t i = 0; i < ndone; i++)
			known |= done[i] == address;
		if (!m->exec || m->write || m->shared || known || ndone == sizeof(done) / sizeof(*done) ||
		    !(site->semaphore_in_bss ? is_bss_copy(process, image, address - site->semaphore, site->semaphore)
		                             : is_copy(process, image, site->semaphore_offset, address)) ||
		    !value_at(memory, address, &value))
			continue;
		done[ndone++] = address;
		if (!by_hand && address == first) {
			/* The kernel raised another one when the file was mapped, and will lower this one, for each trap. */
			int traps = 0;

			for (size_t i = 0; !value && i < n; i++)
				traps +=
					traps_at(process, memory, image->device, image->inode, points[i]->site->offset);
			if (!value)
				add(memory, address, traps);
			continue;
		}

		if (value >= SEMAPHORE_MAX || (r->again && value))
			continue; /* the verification says so */

		struct semaphore_raised raised = { .address = address,
			                           .offset = semaphore_key(site),
			                           .start_time = process_start_time(process->pid),
			                           .pid = process->pid,
			                           .device = image->device,
			                           .inode = image->inode,
			                           .text = m->start + site->offset - m->offset,
			                           .text_offset = site->offset };
		int err;

		identify(process->pid, memory, &raised.exec, &raised.random);
		err = r->record(&raised, r->arg);
		if (err && err != -EEXIST)
			return err;
		/* One that is 0 is another than was raised: the file was unloaded and loaded again at the same place. */
		if ((!err || !value) && add(memory, address, 1))
			r->count++;
	}
	return 0;
}

static int raise_in(const struct process *process, struct arm_point *const *points, size_t n, struct raising *r)
{
	const struct arm_point **sorted = calloc(n + 1, sizeof(*sorted));
	struct process *now = NULL;
	int memory = -1, err = 0;
	size_t count = 0;

	if (!sorted)
		return error_nomem();
	for (size_t i = 0; i < n; i++)
		if (semaphore_key(points[i]->site) && (!points[i]->error || points[i]->error == -EALREADY))
			sorted[count++] = points[i];
	qsort(sorted, count, sizeof(*sorted), by_semaphore);
	if (count && !process_open(process->pid, &now))
		memory = memory_open(now);
	for (size_t i = 0, end; memory >= 0 && i < count && !err; i = end) {
		for (end = i + 1; end < count && sorted[end]->image == sorted[i]->image &&
		                  sorted[end]->site->semaphore == sorted[i]->site->semaphore;
		     end++)
			;
		err = raise_copies(now, memory, sorted + i, end - i, r);
	}
	if (memory >= 0)
		close(memory);
	process_free(now);
	free(sorted);
	return err;
}

int semaphores_raise_in(const struct process *process, struct arm_point *const *points, size_t n,
                        semaphore_record *record, void *arg)
{
	struct raising r = { .record = record, .arg = arg };

	return raise_in(process, points, n, &r);
}

/* In all processes that map the image, and anew, for those that were forked meanwhile from one in which it was still 0. */
static int raise_in_all(struct arm_point *const *points, size_t n, semaphore_record *record, void *arg)
{
	struct raising r = { .record = record, .arg = arg };
	int err = 0;

	for (int rounds = 0; rounds < 4 && !err && (!rounds || r.count); rounds++) {
		struct process **all = NULL;
		size_t nall = 0;

		r.count = 0;
		r.again = rounds;
		err = processes_mapping(points[0]->image->device, points[0]->image->inode, &all, &nall);
		for (size_t k = 0; k < nall; k++) {
			if (!err)
				err = raise_in(all[k], points, n, &r);
			process_free(all[k]);
		}
		free(all);
	}
	return err;
}

int semaphores_raise(struct arm_point *const *points, size_t n, semaphore_record *record, void *arg)
{
	int err = 0;

	for (size_t i = 0, end; i < n && !err; i = end) {
		const struct process *process = points[i]->process;
		bool any = false;

		end = i + arm_points_run(points + i, n - i);
		for (size_t k = i; k < end; k++)
			any |= semaphore_key(points[k]->site) && !points[k]->error;
		if (!any)
			continue;
		if (process && !process->is_command)
			err = semaphores_raise_in(process, points + i, end - i, record, arg);
		if (!process)
			err = raise_in_all(points + i, end - i, record, arg);
	}
	return err;
}

/* ---- lowering -------------------------------------------------------------------- */

uint32_t semaphore_tick(void)
{
	const uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint32_t)((uint64_t)now.tv_sec * hz + (uint64_t)now.tv_nsec * hz / 1000000000);
}

/* Whether the process has the file, and the semaphore, where they were when it was raised. */
static bool still_there(const struct process *process, const struct semaphore_raised *raised)
{
	const struct mapping *m = NULL, *at = mapping_at(process, raised->address);
	bool text = false;

	while (!text &&
	       (m = process_mapping(process, (dev_t)raised->device, (ino_t)raised->inode, raised->text_offset, m)))
		text = m->start + raised->text_offset - m->offset == raised->text;
	if (!text || !at || !at->write || at->shared)
		return false;
	if (raised->offset & MANIFEST_BY_HAND)
		return !at->inode || at->inode == (ino_t)raised->inode;
	return counts(at, raised->offset) && at->inode && at->start + raised->offset - at->offset == raised->address;
}

/* The memory of the process itself; negative: it has ended, or runs another program. */
static int memory_of_own(const struct semaphore_raised *raised)
{
	struct process *process = NULL;
	uint64_t exec, random;
	int memory;

	if (process_start_time((pid_t)raised->pid) != raised->start_time || process_open((pid_t)raised->pid, &process))
		return -ESRCH;
	memory = memory_open(process);
	if (memory >= 0) {
		identify(process->pid, memory, &exec, &random);
		/* The descriptor is of the memory of the process whose start time it is. */
		if (exec != raised->exec || !still_there(process, raised) ||
		    process_start_time(process->pid) != raised->start_time) {
			close(memory);
			memory = -ESRCH;
		}
	}
	process_free(process);
	return memory;
}

static bool own_value(const struct semaphore_raised *raised, uint16_t *value)
{
	int memory = memory_of_own(raised);
	bool there = memory >= 0 && value_at(memory, raised->address, value);

	if (memory >= 0)
		close(memory);
	return there;
}

struct fork {
	uint64_t address, start_time;
	pid_t pid;
};

struct lowering {
	const struct semaphore_lowering *list;
	size_t n;
	uint32_t begin; /* when the first was lowered */
	struct fork *done;
	size_t ndone;
};

static bool is_done(const struct lowering *l, pid_t pid, uint64_t start_time, uint64_t address)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->list[i].raised.pid == (uint32_t)pid && l->list[i].raised.start_time == start_time &&
		    l->list[i].raised.address == address)
			return true;
	for (size_t i = 0; i < l->ndone; i++)
		if (l->done[i].pid == pid && l->done[i].start_time == start_time && l->done[i].address == address)
			return true;
	return false;
}

/*
 * Lowers the copies that a process inherited when it was forked from one in which they were raised. Within the clock tick
 * in which one was raised or lowered it is not known which came first: then its value tells.
 */
static bool lower_inherited(struct lowering *l, struct process *process)
{
	uint64_t start_time = process_start_time(process->pid), exec, random;
	int memory = start_time ? memory_open(process) : -1;
	bool any = false;

	if (memory < 0)
		return false;
	identify(process->pid, memory, &exec, &random);
	for (size_t i = 0; i < l->n; i++) {
		const struct semaphore_raised *raised = &l->list[i].raised;
		int32_t since = (int32_t)((uint32_t)start_time - l->list[i].tick);
		uint16_t value, parents;
		struct fork *more;

		if (!l->list[i].taken || !random || raised->exec != exec || raised->random != random || since < 0 ||
		    is_done(l, process->pid, start_time, raised->address) || !still_there(process, raised))
			continue;
		more = realloc(l->done, (l->ndone + 1) * sizeof(*more));
		if (!more)
			break;
		l->done = more;
		l->done[l->ndone++] = (struct fork){ raised->address, start_time, process->pid };
		any = true;
		if (value_at(memory, raised->address, &value) && value &&
		    ((since && (int32_t)((uint32_t)start_time - l->begin) < 0) || !own_value(raised, &parents) ||
		     value > parents))
			add(memory, raised->address, -1);
	}
	close(memory);
	return any;
}

/* In the forks that there are now. True: there was one, so that there may be forks of it. */
static bool lower_forks(struct lowering *l)
{
	bool any = false;

	for (size_t i = 0; i < l->n; i++) {
		struct process **all = NULL;
		size_t nall = 0;
		bool seen = false;

		for (size_t k = 0; k < i && !seen; k++)
			seen = l->list[k].raised.device == l->list[i].raised.device &&
			       l->list[k].raised.inode == l->list[i].raised.inode;
		if (seen ||
		    processes_mapping((dev_t)l->list[i].raised.device, (ino_t)l->list[i].raised.inode, &all, &nall))
			continue;
		for (size_t p = 0; p < nall; p++) {
			any |= lower_inherited(l, all[p]);
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
		int memory = memory_of_own(&list[i].raised);

		list[i].taken = take(&list[i].raised, arg);
		if (memory >= 0 && list[i].taken)
			add(memory, list[i].raised.address, -1);
		if (memory >= 0)
			close(memory);
	}
	for (int rounds = 0; n && rounds < 8 && lower_forks(&l); rounds++)
		;
	free(l.done);
}

/* ---- what the kernel is about to lower ------------------------------------------- */

static void settle_in(struct process *process, const struct semaphore_place *places, size_t n)
{
	int memory = memory_open(process);

	for (size_t i = 0, end; memory >= 0 && i < n; i = end) {
		uint64_t address = kernels_copy(process, places[i].device, places[i].inode, places[i].semaphore_offset);
		uint16_t value;
		int traps = 0;

		for (end = i + 1; end < n && places[end].semaphore_offset == places[i].semaphore_offset; end++)
			;
		if (!address || !value_at(memory, address, &value) || value >= SEMAPHORE_MAX)
			continue;
		for (size_t k = i; k < end; k++)
			traps += traps_at(process, memory, places[k].device, places[k].inode, places[k].offset);
		if (traps > value)
			add(memory, address, traps - value);
	}
	if (memory >= 0)
		close(memory);
}

static int compare_places(const void *a, const void *b)
{
	const struct semaphore_place *x = a, *y = b;
	const uint64_t keys[][2] = { { x->device, y->device },
		                     { x->inode, y->inode },
		                     { (uint64_t)x->pid, (uint64_t)y->pid },
		                     { x->semaphore_offset, y->semaphore_offset } };

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (keys[i][0] != keys[i][1])
			return keys[i][0] < keys[i][1] ? -1 : 1;
	return 0;
}

void semaphores_settle(struct semaphore_place *places, size_t n)
{
	if (n)
		qsort(places, n, sizeof(*places), compare_places);
	for (size_t i = 0, end; i < n; i = end) {
		struct process **all = NULL, *one = NULL;
		size_t nall = 0;

		for (end = i + 1; end < n && places[end].device == places[i].device &&
		                  places[end].inode == places[i].inode && places[end].pid == places[i].pid;
		     end++)
			;
		if (places[i].pid && !process_open(places[i].pid, &one)) {
			settle_in(one, places + i, end - i);
			process_free(one);
		}
		if (places[i].pid || processes_mapping(places[i].device, places[i].inode, &all, &nall))
			continue;
		for (size_t k = 0; k < nall; k++) {
			settle_in(all[k], places + i, end - i);
			process_free(all[k]);
		}
		free(all);
	}
}
