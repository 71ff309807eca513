/* SPDX-License-Identifier: MIT */
/*
 * Finds facts about the target's C library and its other allocators that injecting needs.
 *
 * A thread must not be inside malloc: inside what dlopen() will call. The C library's malloc is one object file, whose
 * functions, with or without symbols, are adjacent. If any other image defines malloc, the lock may be held in a
 * function that has no symbol, so inject.c then uses a thread only if it sleeps.
 */
#include "runtime/agent/inject-parts.h"

#ifdef TRACEE_SUPPORTED

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

bool range_has(const struct address_range *range, uint64_t address)
{
	return address >= range->start && address < range->end;
}

static void inject_add_busy(struct inject *t, uint64_t start, uint64_t end)
{
	if (t->nbusy < INJECT_BUSY_MAX)
		t->busy[t->nbusy++] = (struct address_range){ start, end };
}

/* ---- symbols ---- */

static bool name_is_in(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (!strcmp(name, *names))
			return true;
	return false;
}

static bool is_allocator(const char *name)
{
	static const char *const names[] = { "malloc",        "free",    "calloc",  "realloc",        "memalign",
		                             "aligned_alloc", "valloc",  "pvalloc", "posix_memalign", "malloc_trim",
		                             "malloc_info",   "mallopt", NULL };

	return name_is_in(name, names);
}

/* Whether the function takes a lock of malloc or of the loader. */
static bool is_busy_function(const char *name)
{
	static const char *const names[] = {
		"malloc",
		"free",
		"calloc",
		"realloc",
		"memalign",
		"aligned_alloc",
		"posix_memalign",
		"valloc",
		"pvalloc",
		"malloc_trim",
		"mallopt",
		"mallinfo",
		"mallinfo2",
		"malloc_info",
		"malloc_stats",
		"malloc_usable_size",
		"fork",
		"_Fork",
		"vfork",
		"exit",
		"quick_exit",
		"pthread_create",
		"pthread_exit",
		"pthread_join",
		"dlopen",
		"dlclose",
		"dlsym",
		"dlvsym",
		"dlmopen",
		"dladdr",
		"dladdr1",
		"dlinfo",
		"dlerror",
		"dl_iterate_phdr",
		"__cxa_finalize",
		"pthread_key_create",
		"__register_atfork",
		"cfree",
		"reallocarray",
		NULL,
	};

	return name_is_in(name, names);
}

static void inject_take_function(struct inject *t, const char *name, uint64_t start, uint64_t size)
{
	if (!strcmp(name, "dlopen"))
		t->dlopen = start;
	if (!strcmp(name, "dlerror"))
		t->dlerror = start;
	if (!strcmp(name, "exit"))
		t->exit = start;
	if (!strcmp(name, "__errno_location"))
		t->errno_location = start;
	if (is_busy_function(name))
		inject_add_busy(t, start, start + (size ? size : 1));
}

/* Returns the difference between the addresses in the process and in the file, by one mapping of the file. */
static uint64_t elf_bias(Elf *elf, const struct mapping *m)
{
	size_t nheaders = 0;
	uint64_t bias = 0;
	GElf_Phdr ph;

	elf_getphdrnum(elf, &nheaders);
	for (size_t i = 0; i < nheaders; i++)
		if (gelf_getphdr(elf, (int)i, &ph) && ph.p_type == PT_LOAD && m->offset >= (ph.p_offset & ~4095ull) &&
		    m->offset < ph.p_offset + ph.p_filesz)
			bias = m->start - (ph.p_vaddr - ph.p_offset + m->offset);
	return bias;
}

/* Calls fn for each function that the image exports. Returns -ENOENT if it has no dynamic symbol table. */
static int elf_each_function(Elf *elf, void (*fn)(void *arg, const char *name, uint64_t value, uint64_t size),
                             void *arg)
{
	Elf_Scn *section = NULL;
	int err = -ENOENT;

	while ((section = elf_nextscn(elf, section))) {
		GElf_Shdr sh;
		Elf_Data *data;
		GElf_Sym sym;

		if (!gelf_getshdr(section, &sh) || sh.sh_type != SHT_DYNSYM || !(data = elf_getdata(section, NULL)))
			continue;
		err = 0;
		for (int i = 0; gelf_getsym(data, i, &sym); i++) {
			const char *name = elf_strptr(elf, sh.sh_link, sym.st_name);
			unsigned type = GELF_ST_TYPE(sym.st_info);

			if (name && sym.st_value && sym.st_shndx != SHN_UNDEF &&
			    (type == STT_FUNC || type == STT_GNU_IFUNC))
				fn(arg, name, sym.st_value, sym.st_size);
		}
	}
	return err;
}

/*
 * The object file around the allocator's functions: from the end of the function before it to the begin of the function
 * after it. The first pass finds the lowest and highest address of the allocator, the second pass its neighbours.
 */
struct allocator {
	struct inject *t;
	uint64_t bias;
	uint64_t low, high;
	uint64_t before, after;
};

static void allocator_first_pass(void *arg, const char *name, uint64_t value, uint64_t size)
{
	struct allocator *a = arg;

	inject_take_function(a->t, name, a->bias + value, size);
	if (!is_allocator(name))
		return;
	a->low = value < a->low ? value : a->low;
	a->high = value > a->high ? value : a->high;
}

static void allocator_second_pass(void *arg, const char *name, uint64_t value, uint64_t size)
{
	struct allocator *a = arg;

	(void)name;
	if (value + size <= a->low && value + size > a->before)
		a->before = value + size;
	if (value > a->high && value < a->after)
		a->after = value;
}

static int libc_read_symbols(struct inject *t, Elf *elf, const struct mapping *m)
{
	struct allocator a = { .t = t, .bias = elf_bias(elf, m), .low = ~0ull, .after = ~0ull };

	if (gelf_getclass(elf) != ELFCLASS64 || elf_each_function(elf, allocator_first_pass, &a))
		return -ENOEXEC;
	elf_each_function(elf, allocator_second_pass, &a);
	if (a.low < a.high && a.after != ~0ull && t->nbusy < INJECT_BUSY_MAX)
		inject_add_busy(t, a.bias + a.before, a.bias + a.after);
	else
		t->other_malloc = true;
	return t->dlopen && t->dlerror ? 0 : -ENOENT;
}

/* ---- other allocators ---- */

static void note_allocator(void *arg, const char *name, uint64_t value, uint64_t size)
{
	bool *found = arg;

	(void)value, (void)size;
	*found |= is_allocator(name);
}

/* Whether the image at a mapping defines an allocator, or may define one because its file cannot be read. */
static bool mapping_has_allocator(const struct inject *t, const struct mapping *m)
{
	char path[PATH_MAX + 32];
	bool found = false;
	struct stat st;
	Elf *elf = NULL;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/root%s", t->process->tid, m->path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return true;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_ino != m->inode ||
	    !(elf = elf_begin(fd, ELF_C_READ, NULL)) ||
	    (elf_kind(elf) == ELF_K_ELF && elf_each_function(elf, note_allocator, &found)))
		found = true;
	elf_end(elf);
	close(fd);
	return found;
}

static void inject_find_other_malloc(struct inject *t)
{
	const struct process *process = t->process;
	char path[64];
	struct stat exe;
	bool known;

	snprintf(path, sizeof(path), "/proc/%d/exe", t->process->tid);
	known = !stat(path, &exe);
	for (size_t i = 0; i < process->nmaps; i++) {
		const struct mapping *m = &process->maps[i];

		if (!m->exec || !m->inode || *m->path != '/' || m->start == t->libc.start ||
		    m->start == t->loader.start || !mapping_has_allocator(t, m))
			continue;
		t->other_malloc = true;
		/* The whole of a library is its allocator. For the executable, that would exclude every thread. */
		if (!known || exe.st_ino != m->inode)
			inject_add_busy(t, m->start, m->end);
	}
}

/* ---- the C library ---- */

enum { STAT_START_STACK = 28, STAT_ENV_END = 51 };

/* Returns a field of /proc/PID/stat, from 3 on; 0 if it cannot be read. */
static uint64_t stat_read_field(pid_t pid, int number)
{
	char path[64], text[1024] = "", *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	at = fgets(text, sizeof(text), f) ? strrchr(text, ')') : NULL;
	fclose(f);
	for (int field = 2; at && field < number; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}

/* The kernel sets the end of the environment last. */
uint64_t inject_program(pid_t pid)
{
	return stat_read_field(pid, STAT_ENV_END);
}

/* Copies the C library's code and finds what calls return by. Without a result stub, dlerror() cannot be called. */
static int libc_read_code(struct inject *t)
{
	size_t size = t->libc.end - t->libc.start;

	t->libc_code = malloc(size);
	if (!t->libc_code)
		return error_nomem();
	if (process_read(t->process, t->libc.start, t->libc_code, size))
		return error_set(
			EAGAIN,
			"pid %d: cannot read the C library in the memory of the process, which may be executing "
			"another program; try again",
			t->pid);
	t->restorer = inject_find_restorer(t);
	t->result_stub = inject_find_result_stub(t, &t->stub_words);
	t->errno_offset = inject_find_errno(t);
	if (!t->restorer)
		return error_set(
			EOPNOTSUPP,
			"pid %d: signal handlers return in another way than with the GNU C library, so the agent "
			"cannot be loaded",
			t->pid);
	return 0;
}

/* Opens the C library's file and reads its symbols. */
static int libc_open(struct inject *t, const struct mapping *libc)
{
	char path[PATH_MAX];
	struct stat st;
	Elf *elf;
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/root%s", t->process->tid, libc->path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || st.st_ino != libc->inode) {
		if (fd >= 0)
			close(fd);
		return error_set(ESTALE, "pid %d: the C library of the process is not at '%s' any more", t->pid,
		                 libc->path);
	}
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	err = elf ? libc_read_symbols(t, elf, libc) : -ENOEXEC;
	elf_end(elf);
	close(fd);
	if (err)
		return error_set(EOPNOTSUPP, "pid %d: the C library has no dlopen(): it is older than version 2.34",
		                 t->pid);
	return 0;
}

static bool mapping_is_code_of(const struct mapping *m, const char *name)
{
	const char *base = strrchr(m->path, '/');

	return m->exec && base && !strncmp(base + 1, name, strlen(name));
}

static void inject_find_mappings(const struct process *process, const struct mapping **libc,
                                 const struct mapping **loader)
{
	*libc = *loader = NULL;
	for (size_t i = 0; i < process->nmaps; i++) {
		const struct mapping *m = &process->maps[i];

		if (mapping_is_code_of(m, "libc.so.") || mapping_is_code_of(m, "libc-2."))
			*libc = m;
		if (mapping_is_code_of(m, "ld-linux-") || mapping_is_code_of(m, "ld-2."))
			*loader = m;
	}
}

bool inject_is_current(const struct inject *t)
{
	const struct mapping *libc, *loader;

	if (process_read_maps(t->process))
		return false;
	inject_find_mappings(t->process, &libc, &loader);
	return libc && loader && libc->start == t->libc.start && libc->end == t->libc.end &&
	       libc->inode == t->libc_inode && loader->start == t->loader.start && loader->end == t->loader.end &&
	       loader->inode == t->loader_inode;
}

int inject_find_libc(struct inject *t)
{
	const struct mapping *libc, *loader;
	int err;

	free(t->libc_code);
	*t = (struct inject){ .pid = t->pid, .process = t->process, .library = t->library, .dir = t->dir };
	inject_find_mappings(t->process, &libc, &loader);
	if (loader && !libc)
		return error_set(EAGAIN,
		                 "pid %d: the process has not loaded its C library; if it is just starting, try again",
		                 t->pid);
	if (!libc || !loader)
		return error_set(
			EOPNOTSUPP,
			"pid %d: the process is linked statically, or with another C library than the GNU one, "
			"so the agent cannot be loaded",
			t->pid);
	t->libc = (struct address_range){ libc->start, libc->end };
	t->libc_inode = libc->inode;
	t->loader = (struct address_range){ loader->start, loader->end };
	t->loader_inode = loader->inode;
	err = libc_open(t, libc);
	if (err)
		return err;
	inject_find_other_malloc(t);
	t->stack_start = stat_read_field(t->pid, STAT_START_STACK);
	return libc_read_code(t);
}

#endif
