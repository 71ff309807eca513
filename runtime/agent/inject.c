/* SPDX-License-Identifier: MIT */
/*
 * Loading the agent into a process that runs without it: one of its threads is held
 * by ptrace(2), calls dlopen(3), and goes on as if nothing had been. Only on request.
 *
 * The thread must not be inside malloc or the dynamic loader, whose locks it would
 * take a second time, and whose data it would find in the middle of a change. (Other
 * threads may be: they run on, and let go of their locks.) There are two ways to
 * know. A thread that sleeps in a system call that neither of them makes, such as
 * poll(2), and with no signal handler below it, is not inside them. The stack of any
 * other thread is searched:
 *
 *     1. every return address on it, up to the call of main() or of the thread's
 *        function: what the loader left above that, before main(), does not count;
 *     2. every signal frame on it: where the thread was interrupted, and the stack
 *        that it was on, which is another one if the handler has its own.
 *
 * What is found there may be left over from earlier, so that a thread is refused for
 * nothing, but not taken wrongly. Where all are refused it is tried again, until the
 * time is up.
 *
 * Inside malloc means inside what dlopen() will call. The C library's is one object
 * file, whose functions, named or not, stand side by side. If any other image
 * defines malloc, in the executable or before or after the C library, only a
 * sleeping thread is taken, because the lock may be held in a function that has no
 * symbol.
 *
 * What happens to the thread then, and when we are killed or do not wait for it any
 * longer, is told in tracee.c.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent/client.h"
#include "runtime/agent/session.h"
#include "runtime/agent/tracee.h"
#include "base/clock.h"
#include "runtime/process.h"
#include "base/error.h"

#define TRY_NS 5000000000ull  /* until a thread is found */
#define CALL_NS 5000000000ull /* until it has returned */
#define SCAN_CHUNK 65536      /* bytes of stack read at a time */
#define SCAN_MAX (64u << 20)  /* a thread with a deeper stack is not used */
#define STACKS_MAX 8          /* of one thread: its own, and those of signal handlers */
#define RANGES_MAX 128
#define MAIN_ABOVE 4096 /* main()'s return address is that near to where the kernel began the stack */

#ifdef __x86_64__

struct range {
	uint64_t start, end;
};

struct inject {
	pid_t pid;
	struct process *process;
	struct range libc, loader;     /* executable */
	struct range busy[RANGES_MAX]; /* functions that a thread must not be in */
	size_t nbusy;
	unsigned char *text;  /* a copy of libc */
	bool foreign;         /* another malloc than libc's may be in use */
	uint64_t stack_start; /* of the first thread */
	uint64_t dlopen, dlerror, exit;
	uint64_t errno_location, errno_offset; /* offset: from the thread pointer; 0: not known */
	uint64_t restorer, keeper;             /* see struct tracee_call */
	struct tracee thread;
	const char *library;
};

static bool within(const struct range *range, uint64_t address)
{
	return address >= range->start && address < range->end;
}

/* ---- the C library ---- */

static bool is_named(const struct mapping *m, const char *name)
{
	const char *base = strrchr(m->path, '/');

	return m->exec && base && !strncmp(base + 1, name, strlen(name));
}

static void take_symbol(struct inject *t, const char *name, uint64_t start, uint64_t size)
{
	static const char *const busy[] = {
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
	};

	if (!strcmp(name, "dlopen"))
		t->dlopen = start;
	if (!strcmp(name, "dlerror"))
		t->dlerror = start;
	if (!strcmp(name, "exit"))
		t->exit = start;
	if (!strcmp(name, "__errno_location"))
		t->errno_location = start;
	for (size_t i = 0; i < sizeof(busy) / sizeof(*busy) && t->nbusy < RANGES_MAX; i++)
		if (!strcmp(name, busy[i]))
			t->busy[t->nbusy++] = (struct range){ start, start + (size ? size : 1) };
}

static bool is_allocator(const char *name)
{
	static const char *const names[] = { "malloc",         "free",          "calloc",      "realloc",
		                             "memalign",       "aligned_alloc", "valloc",      "pvalloc",
		                             "posix_memalign", "malloc_trim",   "malloc_info", "mallopt" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static uint64_t bias_of(Elf *elf, const struct mapping *m)
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

/* Calls fn for each function that the image exports. -ENOENT: it has no table of symbols. */
static int each_function(Elf *elf, void (*fn)(void *arg, const char *name, uint64_t value, uint64_t size), void *arg)
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

/* Finds the object file around the allocator's functions: from the end of the function before to the one after. */
struct allocator {
	struct inject *t;
	uint64_t bias;
	bool seek;          /* the second pass */
	uint64_t low, high; /* first: of its functions; then of the object file */
	uint64_t before, after;
};

static void take_function(void *arg, const char *name, uint64_t value, uint64_t size)
{
	struct allocator *a = arg;

	if (a->seek) {
		if (value + size <= a->low && value + size > a->before)
			a->before = value + size;
		if (value > a->high && value < a->after)
			a->after = value;
		return;
	}
	take_symbol(a->t, name, a->bias + value, size);
	if (!is_allocator(name))
		return;
	a->low = value < a->low ? value : a->low;
	a->high = value > a->high ? value : a->high;
}

static int read_symbols(struct inject *t, Elf *elf, const struct mapping *m)
{
	struct allocator a = { .t = t, .bias = bias_of(elf, m), .low = ~0ull, .after = ~0ull };

	if (gelf_getclass(elf) != ELFCLASS64 || each_function(elf, take_function, &a))
		return -ENOEXEC;
	a.seek = true;
	each_function(elf, take_function, &a);
	if (a.low < a.high && a.after != ~0ull && t->nbusy < RANGES_MAX)
		t->busy[t->nbusy++] = (struct range){ a.bias + a.before, a.bias + a.after };
	else
		t->foreign = true;
	return t->dlopen && t->dlerror ? 0 : -ENOENT;
}

/* ---- other allocators ---- */

static void take_foreign(void *arg, const char *name, uint64_t value, uint64_t size)
{
	bool *found = arg;

	(void)value, (void)size;
	*found |= is_allocator(name);
}

/* Whether the image at that mapping defines an allocator, or may: its file cannot be read. */
static bool has_allocator(const struct inject *t, const struct mapping *m)
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
	    (elf_kind(elf) == ELF_K_ELF && each_function(elf, take_foreign, &found)))
		found = true;
	elf_end(elf);
	close(fd);
	return found;
}

static void find_foreign(struct inject *t)
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
		    m->start == t->loader.start || !has_allocator(t, m))
			continue;
		t->foreign = true;
		/* All of a library is its allocator; of the executable, that would be every thread. */
		if ((!known || exe.st_ino != m->inode) && t->nbusy < RANGES_MAX)
			t->busy[t->nbusy++] = (struct range){ m->start, m->end };
	}
}

static void find_stack(struct inject *t)
{
	char path[64], text[1024] = "", *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", t->pid);
	f = fopen(path, "re");
	if (!f)
		return;
	at = fgets(text, sizeof(text), f) ? strrchr(text, ')') : NULL;
	fclose(f);
	for (int field = 2; at && field < 28; field++)
		at = strchr(at + 1, ' ');
	t->stack_start = at ? strtoull(at, NULL, 10) : 0;
}

static const unsigned char restorer_code[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 };

/* mov offset(%rip),%rax; add %fs:0,%rax; ret */
static void find_errno(struct inject *t)
{
	static const unsigned char load[] = { 0x48, 0x8b, 0x05 },
				   add[] = { 0x64, 0x48, 0x03, 0x04, 0x25, 0, 0, 0, 0, 0xc3 };
	static const unsigned char landing[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	uint64_t at = t->errno_location;
	unsigned char code[21];
	int32_t offset;

	if (!at || process_read(t->process, at, code, sizeof(code)))
		return;
	if (!memcmp(code, landing, sizeof(landing)))
		at += sizeof(landing);
	if (process_read(t->process, at, code, sizeof(code)) || memcmp(code, load, sizeof(load)) ||
	    memcmp(code + 7, add, sizeof(add)))
		return;
	memcpy(&offset, code + 3, sizeof(offset));
	if (process_read(t->process, at + 7 + (uint64_t)(int64_t)offset, &t->errno_offset, sizeof(t->errno_offset)))
		t->errno_offset = 0;
}

/* What a call returns by. Without the restorer there is none; without a keeper, no word of why it failed. */
static int find_code(struct inject *t)
{
	static const unsigned char keeper_code[] = { 0x48, 0x89, 0x03, 0x5b, 0xc3 };
	size_t size = t->libc.end - t->libc.start;
	unsigned char *text = malloc(size), *at = NULL, *keeper;
	bool read = text && !process_read(t->process, t->libc.start, text, size);

	if (read) {
		at = memmem(text, size, restorer_code, sizeof(restorer_code));
		keeper = memmem(text, size, keeper_code, sizeof(keeper_code));
		t->restorer = at ? t->libc.start + (size_t)(at - text) : 0;
		t->keeper = keeper ? t->libc.start + (size_t)(keeper - text) : 0;
	}
	t->text = text;
	find_errno(t);
	if (!read)
		return error_set(EFAULT, "the memory of process %d cannot be read", t->pid);
	return at ? 0
	          : error_set(EOPNOTSUPP,
	                      "the C library of process %d is none whose signal handlers return as glibc's do", t->pid);
}

static int find_libc(struct inject *t)
{
	const struct mapping *libc = NULL;
	char path[PATH_MAX];
	struct stat st;
	Elf *elf;
	int fd, err;

	for (size_t i = 0; i < t->process->nmaps; i++) {
		const struct mapping *m = &t->process->maps[i];

		if (is_named(m, "libc.so.") || is_named(m, "libc-2."))
			libc = m;
		if (is_named(m, "ld-linux-") || is_named(m, "ld-2."))
			t->loader = (struct range){ m->start, m->end };
	}
	if (!libc || !t->loader.end)
		return error_set(EOPNOTSUPP,
		                 "process %d is linked statically, or with another C library than glibc: no agent "
		                 "can be loaded into it",
		                 t->pid);
	t->libc = (struct range){ libc->start, libc->end };
	snprintf(path, sizeof(path), "/proc/%d/root%s", t->process->tid, libc->path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || st.st_ino != libc->inode) {
		if (fd >= 0)
			close(fd);
		return error_set(ESTALE, "the C library of process %d is not at %s any more", t->pid, libc->path);
	}
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	err = elf ? read_symbols(t, elf, libc) : -ENOEXEC;
	elf_end(elf);
	close(fd);
	if (err)
		return error_set(EOPNOTSUPP, "the C library of process %d has no dlopen: it is older than 2.34",
		                 t->pid);
	find_foreign(t);
	find_stack(t);
	return find_code(t);
}

/* ---- whether it may be used ---- */

static bool follows_indirect_call(const unsigned char b[7])
{
	/* call *reg, *mem with or without a displacement */
	return (b[5] == 0xff && (b[6] & 0x38) == 0x10) || (b[4] == 0xff && (b[5] & 0x38) == 0x10) ||
	       (b[3] == 0xff && (b[4] & 0x38) == 0x10) || (b[1] == 0xff && (b[2] & 0x38) == 0x10) ||
	       (b[0] == 0xff && (b[1] & 0x38) == 0x10);
}

/* Reads code: libc's from the copy of it. */
static bool read_code(const struct inject *t, uint64_t at, void *to, size_t size)
{
	if (at >= t->libc.start && at <= t->libc.end && t->libc.end - at >= size) {
		memcpy(to, t->text + (at - t->libc.start), size);
		return true;
	}
	return !process_read(t->process, at, to, size);
}

static bool follows_call(const struct inject *t, uint64_t address)
{
	unsigned char b[7];

	return !read_code(t, address - sizeof(b), b, sizeof(b)) || b[2] == 0xe8 || follows_indirect_call(b);
}

static bool is_busy(const struct inject *t, uint64_t address)
{
	if (within(&t->loader, address))
		return true;
	for (size_t i = 0; i < t->nbusy; i++)
		if (within(&t->busy[i], address))
			return true;
	return false;
}

/* A function's last instruction may be a call that does not return: its return address is the next function's. */
static bool returns_to_busy(const struct inject *t, uint64_t address)
{
	return is_busy(t, address - 1) && follows_call(t, address);
}

/* Where signal handlers return to. */
static bool is_restorer(const struct inject *t, uint64_t address)
{
	unsigned char found[sizeof(restorer_code)];

	return within(&t->libc, address) && read_code(t, address, found, sizeof(found)) &&
	       !memcmp(found, restorer_code, sizeof(found));
}

/*
 * Whether main() or a thread's function returns there: __libc_start_call_main(), start_thread() and clone() have no
 * symbols, and each is known by the instructions after its indirect call.
 */
static bool is_outermost(const struct inject *t, uint64_t slot, uint64_t address)
{
	static const unsigned char thread[] = { 0x64, 0x48, 0x89, 0x04, 0x25 }; /* mov %rax,%fs:result */
	static const unsigned char clone[] = { 0x48, 0x89, 0xc7, 0xb8, 0x3c, 0, 0, 0, 0x0f, 5 }; /* exit(result) */
	unsigned char b[7], after[10];
	int32_t to;

	if (!within(&t->libc, address) || !read_code(t, address - sizeof(b), b, sizeof(b)) ||
	    !follows_indirect_call(b) || !read_code(t, address, after, sizeof(after)))
		return false;
	if (!memcmp(after, thread, sizeof(thread)) || !memcmp(after, clone, sizeof(clone)))
		return true;
	memcpy(&to, after + 3, sizeof(to));
	/* exit(main()) */
	return after[0] == 0x89 && after[1] == 0xc7 && after[2] == 0xe8 &&
	       address + 7 + (uint64_t)(int64_t)to == t->exit && t->stack_start - slot < MAIN_ABOVE;
}

/* The mapping of the stack has room for the call. */
static bool has_room(const struct inject *t)
{
	uint64_t sp = t->thread.regs.rsp;

	for (size_t i = 0; i < t->process->nmaps; i++) {
		const struct mapping *m = &t->process->maps[i];

		if (sp >= m->start && sp < m->end)
			return sp - m->start >= TRACEE_STACK_ROOM || !strcmp(m->path, "[stack]");
	}
	return false;
}

static bool is_regular(const struct inject *t, uint64_t fd)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", t->process->tid, (int)fd);
	return stat(path, &st) || S_ISREG(st.st_mode);
}

/* Neither malloc nor the loader makes these. */
static bool is_asleep(const struct inject *t)
{
	static const short calls[] = {
		SYS_poll,
		SYS_ppoll,
		SYS_select,
		SYS_pselect6,
		SYS_epoll_wait,
		SYS_epoll_pwait,
		SYS_epoll_pwait2,
		SYS_pause,
		SYS_nanosleep,
		SYS_clock_nanosleep,
		SYS_accept,
		SYS_accept4,
		SYS_connect,
		SYS_recvfrom,
		SYS_recvmsg,
		SYS_recvmmsg,
		SYS_wait4,
		SYS_waitid,
		SYS_flock,
		SYS_msgrcv,
		SYS_rt_sigtimedwait,
		SYS_rt_sigsuspend,
	};
	long call = (long)t->thread.regs.orig_rax;

	if (call == SYS_restart_syscall)
		return true; /* of poll, nanosleep, or futex with a timeout, which neither has */
	if (call == SYS_read)
		return !is_regular(t, t->thread.regs.rdi);
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (calls[i] == call)
			return true;
	return false;
}

struct scan {
	bool busy;                   /* it is in one of the ranges, or was when it was interrupted */
	bool handler;                /* a signal handler is under way */
	bool unknown;                /* a stack cannot be read to its end */
	uint64_t stacks[STACKS_MAX]; /* stack pointers; the first nscanned are done */
	size_t nstacks, nscanned;
};

static void scan_frame(const struct inject *t, struct scan *scan, uint64_t slot)
{
	struct {
		uint64_t returns, flags, link, stack[3];
		struct sigcontext regs;
	} frame;

	scan->handler = true;
	/* Something left over that looks like one is refused as well. */
	if (process_read(t->process, slot, &frame, sizeof(frame)) || scan->nstacks == STACKS_MAX) {
		scan->unknown = true;
		return;
	}
	scan->busy |= is_busy(t, frame.regs.rip);
	scan->stacks[scan->nstacks++] = frame.regs.rsp;
}

static const struct mapping *mapping_at(const struct inject *t, uint64_t address)
{
	for (size_t i = 0; i < t->process->nmaps; i++)
		if (address >= t->process->maps[i].start && address < t->process->maps[i].end)
			return &t->process->maps[i];
	return NULL;
}

static bool scan_goes_on(const struct scan *scan)
{
	return !scan->unknown && !(scan->busy && scan->handler);
}

/* From the stack pointer to the outermost function, or the end of the mapping. */
static void scan_stack(const struct inject *t, struct scan *scan, uint64_t sp, uint64_t *words)
{
	const struct mapping *m = mapping_at(t, sp);
	uint64_t end = m ? m->end : 0;

	sp &= ~7ull;
	scan->unknown |= !m || end - sp > SCAN_MAX;
	while (sp < end && scan_goes_on(scan)) {
		size_t size = end - sp < SCAN_CHUNK ? end - sp : SCAN_CHUNK;

		if (process_read(t->process, sp, words, size)) {
			scan->unknown = true;
			return;
		}
		for (size_t i = 0; i < size / 8 && scan_goes_on(scan); i++) {
			if (is_outermost(t, sp + 8 * i, words[i]))
				return;
			if (is_restorer(t, words[i]))
				scan_frame(t, scan, sp + 8 * i);
			scan->busy = scan->busy || returns_to_busy(t, words[i]);
		}
		sp += size;
	}
}

/*
 * Scans an interrupted thread's stack from where it was, and also what is above the signal frame: the frame may be left
 * over from an earlier handler.
 */
static void scan_thread(const struct inject *t, struct scan *scan)
{
	uint64_t *words = malloc(SCAN_CHUNK);

	scan->unknown = !words;
	scan->busy = is_busy(t, t->thread.regs.rip);
	scan->stacks[scan->nstacks++] = t->thread.regs.rsp;
	while (scan->nscanned < scan->nstacks && scan_goes_on(scan))
		scan_stack(t, scan, scan->stacks[scan->nscanned++], words);
	free(words);
}

static bool may_use(const struct inject *t)
{
	struct scan scan = { 0 };
	bool asleep = is_asleep(t);

	if (!has_room(t) || t->thread.regs.cs != 0x33 || tracee_is_restartable(&t->thread))
		return false;
	scan_thread(t, &scan);
	if (scan.unknown)
		return false;
	if (t->foreign)
		return asleep && !scan.handler && !scan.busy;
	return !scan.busy || (asleep && !scan.handler);
}

/* Holds a thread that may be used. Each pass takes those that sleep first. */
static int choose(struct inject *t)
{
	uint64_t until = clock_ns() + TRY_NS;
	char path[32];
	int err = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", t->pid);
	do {
		DIR *d = opendir(path);

		if (!d)
			return error_set(ESRCH, "process %d has ended", t->pid);
		for (struct dirent *entry; (entry = readdir(d));) {
			pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

			if (tid <= 0 || (tid == t->pid && process_thread(tid) != tid)) /* it has ended */
				continue;
			err = tracee_hold(&t->thread, t->pid, tid);
			if (!err && may_use(t)) {
				closedir(d);
				return 0;
			}
			tracee_let_go(&t->thread);
			if (err == -EPERM || err == -ETIMEDOUT)
				break;
		}
		closedir(d);
		if (err == -EPERM)
			return error_set(EPERM,
			                 "process %d cannot be traced: a debugger is there, or it needs CAP_SYS_PTRACE "
			                 "(see kernel.yama.ptrace_scope)",
			                 t->pid);
		if (err == -ETIMEDOUT)
			return error_set(EBUSY, "thread %d of process %d is in an uninterruptible sleep: try again",
			                 t->thread.tid, t->pid);
		nanosleep(&(struct timespec){ .tv_nsec = 7000000 }, NULL);
		if (process_read_maps(t->process))
			return error_set(ESRCH, "process %d has ended", t->pid);
	} while (clock_ns() < until);
	if (err == -EINPROGRESS)
		return error_set(
			EBUSY,
			"process %d: a thread is in a write or another system call that would return early, and no other "
			"can load the agent now: try again",
			t->pid);
	return error_set(EBUSY,
	                 "every thread of process %d is in the middle of malloc or of loading a library%s: try again",
	                 t->pid, t->foreign ? ", or is busy in a process that has a malloc of its own" : "");
}

/* ---- the call ---- */

/* Which dlopen() may set, behind the back of what it interrupts. */
static uint64_t errno_of(const struct inject *t)
{
	return t->errno_offset ? t->thread.regs.fs_base + t->errno_offset : 0;
}

static void read_reason(struct inject *t, char *why, size_t size)
{
	struct tracee_call call = { .function = t->dlerror, .restorer = t->restorer, .keeper = t->keeper };
	uint64_t text = 0;

	if (!t->keeper || tracee_call(&t->thread, &call, CALL_NS, &text) || !text)
		return;
	for (size_t i = 0; i + 1 < size && !process_read(t->process, text + i, &why[i], 1) && why[i]; i++)
		why[i + 1] = 0;
}

static int load(struct inject *t, const char *library)
{
	struct tracee_call call = {
		.function = t->dlopen, .text = library, .second = RTLD_NOW, .restorer = t->restorer
	};
	char why[200] = "";
	uint64_t errno_at = errno_of(t);
	int errno_was = 0, err;

	if (errno_at && process_read(t->process, errno_at, &errno_was, sizeof(errno_was)))
		errno_at = 0;
	err = tracee_call(&t->thread, &call, CALL_NS, NULL);
	if (err == -ETIMEDOUT)
		return error_set(ETIMEDOUT,
		                 "process %d has not finished loading the agent after %llu seconds: it goes on by "
		                 "itself; try again later",
		                 t->pid, CALL_NS / 1000000000);
	if (err == -ESRCH)
		return error_set(ESRCH, "process %d has ended", t->pid);
	if (err)
		return error_set(-err, "process %d cannot load the agent: %s", t->pid, strerror(-err));
	if (!agent_is_loaded(t->pid)) {
		read_reason(t, why, sizeof(why));
		err = error_set(ELIBACC, "process %d cannot load the agent: %s", t->pid,
		                *why ? why : "dlopen gives no reason");
	}
	if (errno_at)
		tracee_write(&t->thread, errno_at, &errno_was, sizeof(errno_was));
	return err;
}

/* ---- what is refused at once ---- */

static int check(pid_t pid, const char *library)
{
	char path[PATH_MAX + 32], line[256];
	struct stat there, here;
	int filters = 0;
	bool shadow = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (stat(path, &here))
		return error_set(ESRCH, "there is no process %d", pid);
	if (here.st_uid != geteuid())
		return error_set(EPERM, "process %d belongs to uid %u: its agent answers to commands of that user", pid,
		                 here.st_uid);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/root%s", pid, process_thread(pid), library);
	if (stat(library, &here) || stat(path, &there) || here.st_ino != there.st_ino || here.st_dev != there.st_dev)
		return error_set(
			ENOENT, "process %d does not see '%s': it has another root%s", pid, library,
			agent_other_namespace(pid) ? " (a container): run this command inside, or use -b kernel" : "");
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, process_thread(pid));
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "Seccomp: %d", &filters);
		shadow |= !strncmp(line, "x86_Thread_features:", 20) && strstr(line, "shstk");
	}
	if (f)
		fclose(f);
	if (shadow)
		return error_set(EOPNOTSUPP,
		                 "process %d has a shadow stack, which knows nothing of a call made from outside", pid);
	return filters ? error_set(EPERM,
	                           "process %d has a filter of system calls, which loading the agent might offend", pid)
	               : 0;
}

static int choose_and_load(void *arg)
{
	struct inject *t = arg;
	int err = choose(t);

	if (err)
		return err;
	err = load(t, t->library);
	tracee_let_go(&t->thread);
	return err;
}

int agent_inject(pid_t pid, const char *library)
{
	struct agent_store store = { -1, -1, -1, "" };
	struct inject *t;
	struct agent_peer peer;
	int err = agent_store_open(&store, NULL, true);

	if (err)
		return err;
	if (!agent_connect_new(&store, pid, &peer)) { /* it has one */
		agent_disconnect(&peer);
		agent_store_close(&store);
		return 0;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		err = error_nomem();
	if (!err)
		err = check(pid, library);
	if (!err)
		err = agent_check_reach(&store, pid);
	if (!err) {
		t->pid = pid;
		err = process_open(pid, &t->process);
	}
	if (!err)
		err = process_read_maps(t->process);
	if (!err)
		err = find_libc(t);
	if (!err) {
		t->library = library;
		err = tracee_run(choose_and_load, t);
	}
	/* It sleeps until it is wanted. */
	if (!err && !(err = agent_connect_new(&store, pid, &peer)))
		agent_disconnect(&peer);
	else if (t && err == -ENOENT && t->thread.tid)
		error_set(ENOENT,
		          "process %d has loaded the agent, but it is not heard of in %s: is XDG_RUNTIME_DIR another "
		          "there?",
		          pid, store.path);
	if (t) {
		process_free(t->process);
		free(t->text);
	}
	free(t);
	agent_store_close(&store);
	return err;
}

#else

int agent_inject(pid_t pid, const char *library)
{
	(void)library;
	return error_set(EOPNOTSUPP, "process %d: the agent cannot be loaded into a running process on this CPU", pid);
}

#endif
