/* SPDX-License-Identifier: MIT */
/*
 * The mappings of the process, from /proc/self/maps. That file has libraries that the
 * C library's loader does not know, and reading it takes no lock of the program.
 *
 * A file is identified by device and inode. Some file systems (overlayfs, btrfs) show
 * other numbers here than stat(2) does. Therefore, if a mapping's file has the right
 * name, its path is checked by stat(2) as well, unless the kernel says that the path
 * is deleted.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/cpu.h"
#include "runtime/agent/inproc/maps.h"
#include "runtime/agent/inproc/mem.h"
#include "runtime/agent/inproc/proc.h"

#ifndef MAPS
#define MAPS "maps" /* in the directory that was opened before a chroot() could hide it */
#endif

static struct vector maps_text, maps;        /* the file's text; struct map_entry */
static struct vector again_text, again_maps; /* the same, of maps_reread() */

/* ---- reading ---- */

static uint64_t line_number(const char **at, unsigned base)
{
	uint64_t n = 0;

	for (;; ++*at) {
		unsigned digit = **at >= '0' && **at <= '9'   ? **at - '0'
		                 : **at >= 'a' && **at <= 'f' ? **at - 'a' + 10
		                                              : 16;

		if (digit >= base)
			return n;
		n = n * base + digit;
	}
}

/* Skips one character. Returns false if another one is there. */
static bool line_skip(const char **at, char c)
{
	if (**at != c)
		return false;
	++*at;
	return true;
}

/* Parses: start-end rwxp offset major:minor inode   path */
static bool line_parse(const char *at, struct map_entry *m)
{
	unsigned major, minor;

	m->start = line_number(&at, 16);
	if (!line_skip(&at, '-'))
		return false;
	m->end = line_number(&at, 16);
	if (!line_skip(&at, ' ') || strnlen(at, 5) < 5)
		return false;
	m->protection =
		(at[0] == 'r' ? PROT_READ : 0) | (at[1] == 'w' ? PROT_WRITE : 0) | (at[2] == 'x' ? PROT_EXEC : 0);
	m->shared = at[3] == 's';
	at += 5;
	m->offset = line_number(&at, 16);
	if (!line_skip(&at, ' '))
		return false;
	major = line_number(&at, 16);
	if (!line_skip(&at, ':'))
		return false;
	minor = line_number(&at, 16);
	if (!line_skip(&at, ' '))
		return false;
	m->device = makedev(major, minor);
	m->inode = line_number(&at, 10);
	while (*at == ' ')
		at++;
	m->path = at;
	m->is_stack = !strcmp(at, "[stack]");
	m->is_heap = !strcmp(at, "[heap]");
	return m->start < m->end;
}

static int maps_read_text(struct vector *text)
{
	int fd = openat(proc_dir(), MAPS, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	vector_clear(text);
	for (;;) {
		char *at = vector_add(text, 4096);

		if (!at) {
			n = -ENOMEM;
			break;
		}
		n = read(fd, at, 4096);
		text->n -= 4096 - (n > 0 ? n : 0);
		if (n <= 0)
			break;
	}
	close(fd);
	return n < 0 ? -EIO : vector_add(text, 1) ? 0 : -ENOMEM;
}

static int maps_parse(struct vector *text, struct vector *entries)
{
	int err = maps_read_text(text);
	char *at, *end;

	if (err)
		return err;
	vector_clear(entries);
	for (at = text->at; (end = strchr(at, '\n')); at = end + 1) {
		struct map_entry m = { 0 }, *added;

		*end = 0;
		if (!line_parse(at, &m))
			continue;
		added = vector_add(entries, sizeof(m));
		if (!added)
			return -ENOMEM;
		*added = m;
	}
	return entries->n ? 0 : -EIO;
}

int maps_read(void)
{
	return maps_parse(&maps_text, &maps);
}

int maps_reread(void)
{
	return maps_parse(&again_text, &again_maps);
}

/* Returns whether the text has the line of n bytes, which ends with a newline. */
static bool text_has_line(const struct vector *text, const char *line, size_t n)
{
	const char *at = text->at, *end = at + text->n, *next;

	for (; at < end; at = next) {
		next = memchr(at, '\n', end - at);
		next = next ? next + 1 : end;
		if ((size_t)(next - at) == n && !memcmp(at, line, n))
			return true;
	}
	return false;
}

void maps_add_code(struct vector *text)
{
	const char *at, *end;

	if (maps_read_text(&again_text))
		return;
	for (at = again_text.at; (end = strchr(at, '\n')); at = end + 1) {
		const char *protection = memchr(at, ' ', end - at);
		size_t n = end + 1 - at;
		char *to;

		if (!protection || end - protection < 5 || protection[3] != 'x' || text->n + n > LAYOUT_SIZE_MAX ||
		    text_has_line(text, at, n))
			continue;
		to = vector_add(text, n);
		if (!to)
			return;
		memcpy(to, at, n);
	}
}

/* ---- looking up ---- */

size_t maps_count(void)
{
	return maps.n / sizeof(struct map_entry);
}

const struct map_entry *maps_get(size_t i)
{
	return (const struct map_entry *)maps.at + i;
}

uint64_t maps_size(void)
{
	uint64_t size = 0;

	for (size_t i = 0; i < maps_count(); i++)
		size += maps_get(i)->end - maps_get(i)->start;
	return size;
}

/* Returns the index of the last mapping that begins at or below the address; SIZE_MAX: none. */
static size_t maps_below(uintptr_t address)
{
	size_t low = 0, high = maps_count();

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (maps_get(middle)->start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

const struct map_entry *maps_at(uintptr_t address)
{
	size_t i = maps_below(address);

	return i < maps_count() && address < maps_get(i)->end ? maps_get(i) : NULL;
}

bool maps_unchanged(const struct map_entry *m, uintptr_t start, uintptr_t end, int protection)
{
	const struct map_entry *now = again_maps.at, *last = now + again_maps.n / sizeof(*now);

	for (; now < last && start < end; now++) {
		if (now->end <= start)
			continue;
		if (now->start > start || now->shared || now->protection != protection || now->inode != m->inode ||
		    now->device != m->device || now->start - now->offset != m->start - m->offset)
			return false;
		start = now->end;
	}
	return start >= end;
}

bool memory_copy(void *to, uintptr_t from, size_t size)
{
	struct iovec here = { to, size }, there = { (void *)from, size };

	return process_vm_readv(agent.tid, &here, 1, &there, 1, 0) == (ssize_t)size;
}

/* ---- files and images ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool mapping_is_file(const struct map_entry *m, const struct manifest_file *file, const char *path)
{
	struct stat st;

	if (!m->inode)
		return false;
	if (m->device == file->device && m->inode == file->inode)
		return true;
	return m->path[0] == '/' && !strcmp(base_name(m->path), base_name(path)) && !stat(m->path, &st) &&
	       st.st_dev == file->device && st.st_ino == file->inode;
}

bool mappings_same_file(const struct map_entry *a, const struct map_entry *b)
{
	return a->inode && a->device == b->device && a->inode == b->inode;
}

static bool mappings_join(const struct map_entry *a, const struct map_entry *b)
{
	return b->start - a->end <= SEGMENT_GAP;
}

static bool mapping_is_hole(const struct map_entry *m)
{
	return !m->inode && !m->protection && m->end - m->start <= SEGMENT_GAP;
}

/*
 * The loader maps an image as one piece, with its bss at the end. Therefore whatever
 * the agent reaches from the text without a gap (larger than alignment needs) belongs
 * to the image. The same file mapped elsewhere does not.
 */
bool mapping_is_image(const struct map_entry *m, uintptr_t address, size_t size)
{
	const struct map_entry *first = maps_get(0), *end = first + maps_count(), *at = m, *to = maps_at(address);

	if (!to || to->shared || !(to->protection & PROT_READ) || size > to->end - address)
		return false;
	if (to < m)
		while (at > to && mappings_join(&at[-1], at) &&
		       (mappings_same_file(m, &at[-1]) || mapping_is_hole(&at[-1])))
			at--;
	else
		while (at < to && at + 1 < end && mappings_join(at, &at[1]) &&
		       (mappings_same_file(m, &at[1]) || mapping_is_hole(&at[1]) ||
		        (&at[1] == to && at->end == to->start && !to->inode && !*to->path && at->inode)))
			at++;
	return at == to;
}

/* ---- gaps ---- */

/* Space between a trampoline region and the mappings around it. */
#define GAP_MARGIN LARGEST_PAGE

static uintptr_t gap_place(uintptr_t start, uintptr_t end, size_t size)
{
	return end > start && end - start >= size + 2 * GAP_MARGIN
	               ? (end - size - GAP_MARGIN) & ~(uintptr_t)(GAP_MARGIN - 1)
	               : 0;
}

static uintptr_t gap_below(size_t middle, uintptr_t from, size_t size, unsigned *nth)
{
	const uintptr_t first = 1u << 20;

	for (size_t i = middle + 1; i-- > 0;) {
		uintptr_t end = maps_get(i)->start, start = i ? maps_get(i - 1)->end : first, at;

		if (maps_get(i)->is_stack)
			continue;
		at = gap_place(start > from ? start : from, end, size);
		if (at && !(*nth)--)
			return at;
		if (end < from)
			break;
	}
	return 0;
}

static uintptr_t gap_above(size_t middle, uintptr_t to, size_t size, unsigned *nth)
{
	const uintptr_t stack_room = 256u << 20;
	size_t n = maps_count();

	for (size_t i = middle; i + 1 <= n && maps_get(i)->end < to; i++) {
		uintptr_t end = i + 1 < n ? maps_get(i + 1)->start : to, at;

		if (i + 1 < n && maps_get(i + 1)->is_stack)
			end = end > stack_room ? end - stack_room : 0;
		at = gap_place(maps_get(i)->end, end < to ? end : to, size);
		if (at && !(*nth)--)
			return at;
	}
	return 0;
}

/* Gaps below the image come first, because the heap, which grows, may be above it. */
uintptr_t maps_gap(uintptr_t low, uintptr_t high, size_t size, unsigned nth)
{
	const uintptr_t reach = SITE_REACH, first = 1u << 20, last = ADDRESS_END - GAP_MARGIN;
	uintptr_t from = high > reach + first ? high - reach : first;
	uintptr_t to = low + reach < last ? low + reach : last;
	size_t middle = maps_below(low);
	uintptr_t at = gap_below(middle, from, size, &nth);

	return at ? at : gap_above(middle, to, size, &nth);
}
