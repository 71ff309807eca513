/* SPDX-License-Identifier: MIT */
/*
 * What is mapped where, from /proc/self/maps: it knows libraries that the C
 * library's loader never saw, and asking it takes nobody's lock.
 *
 * A file is told by device and inode. Some file systems (overlayfs, btrfs) show
 * others here than stat(2) does; so a mapping whose file has the right name is
 * looked at by its path as well, unless the kernel says that the path is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "runtime/agent/agent.h"

static struct vector text, maps;
static int proc = -1; /* /proc/self, in the agent's thread */

void modules_open(void)
{
	proc = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static uint64_t take_number(const char **at, unsigned base)
{
	uint64_t n = 0;

	for (;; ++*at) {
		unsigned digit = **at >= '0' && **at <= '9' ? **at - '0' : **at >= 'a' && **at <= 'f' ? **at - 'a' + 10 : 16;

		if (digit >= base)
			return n;
		n = n * base + digit;
	}
}

static bool take(const char **at, char c)
{
	if (**at != c)
		return false;
	++*at;
	return true;
}

/* start-end rwxp offset major:minor inode   path */
static bool parse_line(const char *at, struct mapping *m)
{
	unsigned major, minor;

	m->start = take_number(&at, 16);
	if (!take(&at, '-'))
		return false;
	m->end = take_number(&at, 16);
	if (!take(&at, ' ') || strnlen(at, 5) < 5)
		return false;
	m->protection = (at[0] == 'r' ? PROT_READ : 0) | (at[1] == 'w' ? PROT_WRITE : 0) | (at[2] == 'x' ? PROT_EXEC : 0);
	m->shared = at[3] == 's';
	at += 5;
	m->offset = take_number(&at, 16);
	if (!take(&at, ' '))
		return false;
	major = take_number(&at, 16);
	if (!take(&at, ':'))
		return false;
	minor = take_number(&at, 16);
	if (!take(&at, ' '))
		return false;
	m->device = makedev(major, minor);
	m->inode = take_number(&at, 10);
	while (*at == ' ')
		at++;
	m->path = at;
	m->is_stack = !strcmp(at, "[stack]");
	m->is_heap = !strcmp(at, "[heap]");
	return m->start < m->end;
}

static int read_text(void)
{
	int fd = openat(proc, "maps", O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	vector_clear(&text);
	for (;;) {
		char *at = vector_add(&text, 4096);

		if (!at) {
			n = -ENOMEM;
			break;
		}
		n = read(fd, at, 4096);
		text.n -= 4096 - (n > 0 ? n : 0);
		if (n <= 0)
			break;
	}
	close(fd);
	return n < 0 ? -EIO : vector_add(&text, 1) ? 0 : -ENOMEM;
}

uint64_t modules_size(void)
{
	uint64_t size = 0;

	for (size_t i = 0; i < modules_count(); i++)
		size += modules_get(i)->end - modules_get(i)->start;
	return size;
}

int modules_read(void)
{
	int err = read_text();
	char *at, *end;

	if (err)
		return err;
	vector_clear(&maps);
	for (at = text.at; (end = strchr(at, '\n')); at = end + 1) {
		struct mapping m = { 0 }, *added;

		*end = 0;
		if (!parse_line(at, &m))
			continue;
		added = vector_add(&maps, sizeof(m));
		if (!added)
			return -ENOMEM;
		*added = m;
	}
	return maps.n ? 0 : -EIO;
}

size_t modules_count(void)
{
	return maps.n / sizeof(struct mapping);
}

const struct mapping *modules_get(size_t i)
{
	return (const struct mapping *)maps.at + i;
}

/* The last one that begins at or below the address. */
static size_t below(uintptr_t address)
{
	size_t low = 0, high = modules_count();

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (modules_get(middle)->start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

const struct mapping *modules_at(uintptr_t address)
{
	size_t i = below(address);

	return i < modules_count() && address < modules_get(i)->end ? modules_get(i) : NULL;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool modules_is_file(const struct mapping *m, const struct desc_file *file, const char *path)
{
	struct stat st;

	if (!m->inode)
		return false;
	if (m->device == file->device && m->inode == file->inode)
		return true;
	return m->path[0] == '/' && !strcmp(base_name(m->path), base_name(path)) && !stat(m->path, &st) &&
	       st.st_dev == file->device && st.st_ino == file->inode;
}

static bool same_file(const struct mapping *a, const struct mapping *b)
{
	return a->inode && a->device == b->device && a->inode == b->inode;
}

static bool joined(const struct mapping *a, const struct mapping *b)
{
	return b->start - a->end <= SEGMENT_GAP;
}

static bool is_hole(const struct mapping *m)
{
	return !m->inode && !m->protection && m->end - m->start <= SEGMENT_GAP;
}

/*
 * The loader maps an image in one piece, its bss at the end: whatever is reached
 * from its text without a gap (of more than alignment) is its own. The same file mapped elsewhere is not.
 */
bool modules_is_image(const struct mapping *m, uintptr_t address, size_t size)
{
	const struct mapping *first = modules_get(0), *end = first + modules_count(), *at = m, *to = modules_at(address);

	if (!to || to->shared || !(to->protection & PROT_READ) || size > to->end - address)
		return false;
	if (to < m)
		while (at > to && joined(&at[-1], at) && (same_file(m, &at[-1]) || is_hole(&at[-1])))
			at--;
	else
		while (at < to && at + 1 < end && joined(at, &at[1]) &&
		       (same_file(m, &at[1]) || is_hole(&at[1]) ||
		        (&at[1] == to && at->end == to->start && !to->inode && !*to->path && at->inode)))
			at++;
	return at == to;
}

/* A gap of size bytes within reach of everything from low to high: its address, or 0. */
uintptr_t modules_gap(uintptr_t low, uintptr_t high, size_t size, unsigned nth)
{
	const uintptr_t reach = SITE_REACH, first = 1u << 20, stack_room = 256u << 20;
	uintptr_t from = high > reach + first ? high - reach : first;
	uintptr_t to = low + reach < ADDRESS_END - 65536 ? low + reach : ADDRESS_END - 65536;
	size_t n = modules_count(), middle = below(low);

	/* Below the image first, nearest first: above it may be the heap, which grows. */
	for (size_t i = middle + 1; i-- > 0;) {
		uintptr_t end = modules_get(i)->start, start = i ? modules_get(i - 1)->end : first;

		if (modules_get(i)->is_stack)
			continue;
		start = start > from ? start : from;
		if (end > start && end - start >= size + 2 * 65536 && !nth--)
			return (end - size - 65536) & ~(uintptr_t)65535;
		if (end < from)
			break;
	}
	for (size_t i = middle; i + 1 <= n && modules_get(i)->end < to; i++) {
		uintptr_t start = modules_get(i)->end, end = i + 1 < n ? modules_get(i + 1)->start : to;

		if (i + 1 < n && modules_get(i + 1)->is_stack)
			end = end > stack_room ? end - stack_room : 0;
		end = end < to ? end : to;
		if (end > start && end - start >= size + 2 * 65536 && !nth--)
			return (end - size - 65536) & ~(uintptr_t)65535;
	}
	return 0;
}
