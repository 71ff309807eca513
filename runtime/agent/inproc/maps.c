/* SPDX-License-Identifier: MIT */
/*
 * What is mapped where, from /proc/self/maps: it knows libraries that the C
 * library's loader never saw, and asking it takes nobody's lock.
 *
 * A file is told by device and inode. Some file systems (overlayfs, btrfs) show
 * others here than stat(2) does; so a mapping whose file has the right name is
 * looked at by its path as well, unless the kernel says that the path is gone.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"

#ifndef MAPS
#define MAPS "maps" /* in the folder that was opened before a chroot() could hide it */
#endif
#define LOADED_MAX 65536 /* entries of the loader's lists: more is a loop */
#define NAMESPACES_MAX 64

static struct vector text, maps;
static struct vector text_again, maps_again; /* read by modules_reread() */
static struct vector loaded;                 /* struct loaded: the images that the loader has */
static bool loading;                         /* it is changing its lists */
struct loaded {
	uintptr_t bias, dynamic; /* its dynamic section */
};
static int proc = -1; /* /proc/thread-self: of a process whose first thread has ended /proc/self says little */

void modules_open(void)
{
	proc = open("/proc/thread-self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int modules_threads(void)
{
	return openat(proc, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

bool modules_has_thread(uint32_t tid)
{
	char path[40] = "../";
	struct stat st;

	format_number(path + strlen(path), tid);
	return tid && !fstatat(proc, path, &st, 0);
}

/* Reads a file of a thread's: its text, and how long it is. */
static size_t read_of_thread(uint32_t tid, const char *name, char *text, size_t room)
{
	char path[40] = "../";
	size_t had = 0;
	ssize_t got;
	int fd;

	format_number(path + strlen(path), tid);
	strcat(path, name);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && had < room - 1 && (got = read(fd, text + had, room - 1 - had)) > 0)
		had += got;
	if (fd >= 0)
		close(fd);
	text[had] = 0;
	return had;
}

bool modules_last(uint32_t pid)
{
	char text[1024], *behind;
	struct stat st;

	if (proc < 0 || fstatat(proc, "..", &st, 0))
		return false;
	if (st.st_nlink != 4)
		return st.st_nlink == 3;
	/* The first thread stays as long as there is another, ours too. */
	read_of_thread(pid, "/stat", text, sizeof(text));
	behind = strrchr(text, ')');
	return behind && (behind[2] == 'Z' || behind[2] == 'X');
}

/* What a thread may do, by its status. */
struct rights {
	char text[4096]; /* users, groups, capabilities */
	size_t n;
	int privileges, filters, nfilters; /* NoNewPrivs, Seccomp and Seccomp_filters */
};

static void read_rights(uint32_t tid, struct rights *r)
{
	static const char *const lines[] = { "Uid:", "Gid:", "Groups:", "Cap" };
	static char text[8192];
	const struct {
		const char *name;
		int *to;
	} numbers[] = { { "NoNewPrivs:\t", &r->privileges },
		        { "Seccomp:\t", &r->filters },
		        { "Seccomp_filters:\t", &r->nfilters } };

	r->n = r->privileges = r->filters = r->nfilters = 0;
	read_of_thread(tid, "/status", text, sizeof(text));
	for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1) {
		for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
			if (!strncmp(at, lines[i], strlen(lines[i])) && r->n + (end - at) < sizeof(r->text)) {
				memcpy(r->text + r->n, at, end - at);
				r->n += end - at;
			}
		*end = 0;
		for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
			if (!strncmp(at, numbers[i].name, strlen(numbers[i].name)))
				*numbers[i].to = parse_number(at + strlen(numbers[i].name));
	}
}

/* Whether one may do all that the other may. */
static bool covers(const struct rights *one, const struct rights *other)
{
	return one->n == other->n && !memcmp(one->text, other->text, one->n) && one->privileges <= other->privileges &&
	       (!one->filters || (one->filters == other->filters && one->nfilters <= other->nfilters));
}

static struct rights own_rights, other_rights;

/* Nothing can be said without /proc, and nothing be armed. */
bool modules_covers(uint32_t one, uint32_t other)
{
	read_rights(one, &own_rights);
	read_rights(other, &other_rights);
	return covers(&own_rights, &other_rights);
}

static int compare_thread(int dir, const char *name, void *arg)
{
	uint32_t tid = parse_number(name), *own = arg;

	(void)dir;
	if (!tid || tid == *own)
		return 0;
	read_rights(tid, &own_rights);
	if (!own_rights.n || !covers(&own_rights, &other_rights))
		return 0;
	*own = 0;
	return 1;
}

bool modules_covered(uint32_t tid)
{
	int dir;

	if (modules_covers(agent.pid, tid))
		return true;
	dir = modules_threads();
	if (dir < 0)
		return false;
	store_list(dir, compare_thread, &tid);
	close(dir);
	return !tid;
}

static uint64_t take_number(const char **at, unsigned base)
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
	m->protection =
		(at[0] == 'r' ? PROT_READ : 0) | (at[1] == 'w' ? PROT_WRITE : 0) | (at[2] == 'x' ? PROT_EXEC : 0);
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

static int read_text(struct vector *text)
{
	int fd = openat(proc, MAPS, O_RDONLY | O_CLOEXEC);
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

uint64_t modules_size(void)
{
	uint64_t size = 0;

	for (size_t i = 0; i < modules_count(); i++)
		size += modules_get(i)->end - modules_get(i)->start;
	return size;
}

static int read_maps(struct vector *text, struct vector *maps)
{
	int err = read_text(text);
	char *at, *end;

	if (err)
		return err;
	vector_clear(maps);
	for (at = text->at; (end = strchr(at, '\n')); at = end + 1) {
		struct mapping m = { 0 }, *added;

		*end = 0;
		if (!parse_line(at, &m))
			continue;
		added = vector_add(maps, sizeof(m));
		if (!added)
			return -ENOMEM;
		*added = m;
	}
	return maps->n ? 0 : -EIO;
}

bool modules_copy(void *to, uintptr_t from, size_t size)
{
	struct iovec here = { to, size }, there = { (void *)from, size };

	return process_vm_readv(agent.tid, &here, 1, &there, 1, 0) == (ssize_t)size;
}

/* Copies one of the loader's lists without its lock, as debuggers do: an entry may be freed meanwhile. */
static int read_list(const struct link_map *at)
{
	struct link_map entry;

	for (unsigned n = 0; at && n < LOADED_MAX; n++, at = entry.l_next) {
		struct loaded *added;

		/* Only its first members are public. */
		if (!modules_copy(&entry, (uintptr_t)at, sizeof(entry)))
			return 0;
		added = vector_add(&loaded, sizeof(*added));
		if (!added)
			return -ENOMEM;
		*added = (struct loaded){ entry.l_addr, (uintptr_t)entry.l_ld };
	}
	return 0;
}

/* Since version 2 of the structure each namespace of dlmopen() has its own. */
static int read_loaded(void)
{
	struct {
		struct r_debug base;
		uintptr_t next;
	} debug;
	uintptr_t at = (uintptr_t)&_r_debug;
	int err = 0;

	vector_clear(&loaded);
	loading = false;
	for (unsigned n = 0; at && n < NAMESPACES_MAX && !err; n++) {
		if (!modules_copy(&debug.base, at, sizeof(debug.base)))
			return 0;
		loading |= debug.base.r_state != RT_CONSISTENT;
		err = read_list(debug.base.r_map);
		if (debug.base.r_version < 2 || !modules_copy(&debug, at, sizeof(debug)))
			break;
		at = debug.next;
	}
	return err;
}

int modules_read(void)
{
	int err = read_maps(&text, &maps);

	return err ? err : read_loaded();
}

int modules_reread(void)
{
	return read_maps(&text_again, &maps_again);
}

bool modules_unchanged(const struct mapping *m, uintptr_t start, uintptr_t end, int protection)
{
	const struct mapping *now = maps_again.at, *last = now + maps_again.n / sizeof(*now);

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

bool modules_is_file(const struct mapping *m, const struct manifest_file *file, const char *path)
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
	const struct mapping *first = modules_get(0), *end = first + modules_count(), *at = m,
			     *to = modules_at(address);

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

#define HEADERS_MAX 64

/* The program headers of the mapping's file, from wherever its beginning is mapped; their number. */
static unsigned read_headers(const struct mapping *text, ElfW(Phdr) headers[HEADERS_MAX])
{
	ElfW(Ehdr) header;

	for (size_t i = 0; i < modules_count(); i++) {
		const struct mapping *m = modules_get(i);

		if (!m->offset && same_file(m, text) && modules_copy(&header, m->start, sizeof(header)) &&
		    !memcmp(header.e_ident, ELFMAG, SELFMAG) && header.e_phentsize == sizeof(*headers) &&
		    header.e_phnum <= HEADERS_MAX && header.e_phoff <= m->end - m->start &&
		    modules_copy(headers, m->start + header.e_phoff, header.e_phnum * sizeof(*headers)))
			return header.e_phnum;
	}
	return 0;
}

/* The loader's image is where its headers, moved by the bias, say that both this text and its dynamic section are. */
static bool is_at(const struct mapping *m, const struct loaded *image, const ElfW(Phdr) * headers, unsigned n)
{
	bool text = false, dynamic = false;

	for (unsigned i = 0; i < n; i++) {
		const ElfW(Phdr) *h = &headers[i];

		text |= h->p_type == PT_LOAD && h->p_flags & PF_X && m->end - m->start > 0 &&
		        m->offset + (m->end - m->start) > h->p_offset && m->offset < h->p_offset + h->p_filesz &&
		        image->bias + h->p_vaddr - h->p_offset == m->start - m->offset;
		dynamic |= h->p_type == PT_DYNAMIC && image->bias + h->p_vaddr == image->dynamic;
	}
	return text && dynamic;
}

enum modules_loaded modules_loaded(const struct mapping *m)
{
	static ElfW(Phdr) headers[HEADERS_MAX];
	const struct loaded *image = loaded.at;
	unsigned n = read_headers(m, headers);

	for (size_t i = 0; i < loaded.n / sizeof(*image); i++) {
		const struct mapping *at = modules_at(image[i].dynamic);

		if (at && same_file(at, m) && is_at(m, &image[i], headers, n))
			return MODULES_LOADED;
	}
	return loading ? MODULES_LOADING : MODULES_NOT_LOADED;
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
