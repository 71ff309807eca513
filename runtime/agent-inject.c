/* SPDX-License-Identifier: MIT */
/*
 * Loading the agent into a process that runs without it: one of its threads is held
 * by ptrace(2), calls dlopen(3), and goes on as if nothing had been. Only on request.
 *
 * The thread must not be inside malloc or the dynamic loader, whose locks it would
 * take a second time, and whose data it would find in the middle of a change. (Other
 * threads may be: they run on, and let go of their locks.) There are two ways to
 * know. A thread that sleeps in a system call that neither of them makes, such as
 * poll(2), and with no signal handler below it, is not inside them. Of any other
 * thread the stack is searched for return addresses into them; what is found there
 * may be left over from earlier, so that a thread is refused for nothing, but not
 * taken wrongly. Where all are refused it is tried again, until the time is up.
 *
 * What happens to the thread then, and when we are killed or do not wait for it any
 * longer, is told in agent-tracee.c.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent-client.h"
#include "runtime/agent-session.h"
#include "runtime/agent-tracee.h"
#include "runtime/clock.h"
#include "runtime/process.h"
#include "sdt/error.h"

#define TRY_NS 5000000000ull  /* until a thread is found */
#define CALL_NS 5000000000ull /* until it has returned */
#define SCAN_SIZE 65536       /* bytes of stack */
#define RANGES_MAX 40

#ifdef __x86_64__

struct range {
	uint64_t start, end;
};

struct inject {
	pid_t pid;
	struct process *process;
	struct range libc, loader; /* executable */
	struct range busy[RANGES_MAX]; /* functions that a thread must not be in */
	size_t nbusy;
	uint64_t dlopen, dlerror;
	uint64_t errno_location, errno_offset; /* offset: from the thread pointer; 0: not known */
	uint64_t restorer, keeper; /* see struct tracee_call */
	struct tracee thread;
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
		"malloc", "free", "calloc", "realloc", "memalign", "aligned_alloc", "posix_memalign", "valloc", "pvalloc",
		"malloc_trim", "mallopt", "mallinfo", "mallinfo2", "malloc_info", "malloc_stats", "malloc_usable_size", "fork",
		"_Fork", "vfork", "exit", "quick_exit", "pthread_create", "pthread_exit", "pthread_join", "dlopen", "dlclose",
		"dlsym", "dlvsym", "dlmopen", "dladdr", "dladdr1", "dlinfo", "dlerror", "dl_iterate_phdr", "__cxa_finalize",
		"pthread_key_create", "__register_atfork", "cfree", "reallocarray",
	};

	if (!strcmp(name, "dlopen"))
		t->dlopen = start;
	if (!strcmp(name, "dlerror"))
		t->dlerror = start;
	if (!strcmp(name, "__errno_location"))
		t->errno_location = start;
	for (size_t i = 0; i < sizeof(busy) / sizeof(*busy) && t->nbusy < RANGES_MAX; i++)
		if (!strcmp(name, busy[i]))
			t->busy[t->nbusy++] = (struct range){ start, start + (size ? size : 1) };
}

static int read_symbols(struct inject *t, Elf *elf, const struct mapping *m)
{
	Elf_Scn *section = NULL;
	size_t nheaders = 0;
	uint64_t bias = 0;
	GElf_Phdr ph;

	if (elf_getphdrnum(elf, &nheaders) || gelf_getclass(elf) != ELFCLASS64)
		return -ENOEXEC;
	for (size_t i = 0; i < nheaders; i++)
		if (gelf_getphdr(elf, (int)i, &ph) && ph.p_type == PT_LOAD && m->offset >= (ph.p_offset & ~4095ull) &&
		    m->offset < ph.p_offset + ph.p_filesz)
			bias = m->start - (ph.p_vaddr - ph.p_offset + m->offset);
	while ((section = elf_nextscn(elf, section))) {
		GElf_Shdr sh;
		Elf_Data *data;
		GElf_Sym sym;

		if (!gelf_getshdr(section, &sh) || sh.sh_type != SHT_DYNSYM || !(data = elf_getdata(section, NULL)))
			continue;
		for (int i = 0; gelf_getsym(data, i, &sym); i++) {
			const char *name = elf_strptr(elf, sh.sh_link, sym.st_name);

			if (name && sym.st_value && GELF_ST_TYPE(sym.st_info) == STT_FUNC)
				take_symbol(t, name, bias + sym.st_value, sym.st_size);
		}
	}
	return t->dlopen && t->dlerror ? 0 : -ENOENT;
}

static const unsigned char restorer_code[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 };

/* mov offset(%rip),%rax; add %fs:0,%rax; ret */
static void find_errno(struct inject *t)
{
	static const unsigned char load[] = { 0x48, 0x8b, 0x05 }, add[] = { 0x64, 0x48, 0x03, 0x04, 0x25, 0, 0, 0, 0, 0xc3 };
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
	char *text = malloc(size), *at = NULL, *keeper;
	bool read = text && !process_read(t->process, t->libc.start, text, size);

	if (read) {
		at = memmem(text, size, restorer_code, sizeof(restorer_code));
		keeper = memmem(text, size, keeper_code, sizeof(keeper_code));
		t->restorer = at ? t->libc.start + (size_t)(at - text) : 0;
		t->keeper = keeper ? t->libc.start + (size_t)(keeper - text) : 0;
	}
	free(text);
	find_errno(t);
	if (!read)
		return error_set(EFAULT, "the memory of process %d cannot be read", t->pid);
	return at ? 0 : error_set(EOPNOTSUPP, "the C library of process %d is none whose signal handlers return as glibc's do",
	                          t->pid);
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
		return error_set(EOPNOTSUPP, "process %d is linked statically, or with another C library than glibc: no agent "
		                             "can be loaded into it", t->pid);
	t->libc = (struct range){ libc->start, libc->end };
	snprintf(path, sizeof(path), "/proc/%d/root%s", t->pid, libc->path);
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
		return error_set(EOPNOTSUPP, "the C library of process %d has no dlopen: it is older than 2.34", t->pid);
	return find_code(t);
}

/* ---- whether it may be used ---- */

static bool follows_call(const struct inject *t, uint64_t address)
{
	unsigned char b[7];

	if (process_read(t->process, address - sizeof(b), b, sizeof(b)))
		return true;
	/* call rel32; call *reg, *mem with or without a displacement */
	return b[2] == 0xe8 || (b[5] == 0xff && (b[6] & 0x38) == 0x10) || (b[4] == 0xff && (b[5] & 0x38) == 0x10) ||
	       (b[3] == 0xff && (b[4] & 0x38) == 0x10) || (b[1] == 0xff && (b[2] & 0x38) == 0x10) ||
	       (b[0] == 0xff && (b[1] & 0x38) == 0x10);
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

/* Where signal handlers return to. */
static bool is_restorer(const struct inject *t, uint64_t address)
{
	unsigned char found[sizeof(restorer_code)];

	return within(&t->libc, address) && !process_read(t->process, address, found, sizeof(found)) &&
	       !memcmp(found, restorer_code, sizeof(found));
}

/* The mapping of the stack has room for the call below, and this much above. */
static size_t stack_above(const struct inject *t)
{
	uint64_t sp = t->thread.regs.rsp;

	for (size_t i = 0; i < t->process->nmaps; i++) {
		const struct mapping *m = &t->process->maps[i];

		if (sp >= m->start && sp < m->end)
			return sp - m->start < TRACEE_STACK_ROOM && strcmp(m->path, "[stack]") ? 0 : m->end - sp;
	}
	return 0;
}

static bool is_regular(const struct inject *t, uint64_t fd)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", t->pid, (int)fd);
	return stat(path, &st) || S_ISREG(st.st_mode);
}

/* In a sequence that the kernel begins anew when it is interrupted, rseq(2): it would not know that it was. */
static bool is_restartable(const struct inject *t)
{
	struct {
		uint32_t version, flags;
		uint64_t start, size, abort;
	} sequence;
	struct __ptrace_rseq_configuration rseq;
	uint64_t at;

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, t->thread.tid, (void *)sizeof(rseq), &rseq) <= 0 || !rseq.rseq_abi_pointer)
		return false;
	if (process_read(t->process, rseq.rseq_abi_pointer + 8, &at, sizeof(at)) || !at ||
	    process_read(t->process, at, &sequence, sizeof(sequence)))
		return false;
	return t->thread.regs.rip - sequence.start < sequence.size;
}

/* Neither malloc nor the loader makes these. */
static bool is_asleep(const struct inject *t)
{
	static const short calls[] = {
		SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6, SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_pause,
		SYS_nanosleep, SYS_clock_nanosleep, SYS_accept, SYS_accept4, SYS_connect, SYS_recvfrom, SYS_recvmsg,
		SYS_recvmmsg, SYS_sendto, SYS_wait4, SYS_waitid, SYS_flock, SYS_msgrcv, SYS_rt_sigtimedwait, SYS_rt_sigsuspend,
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

static bool may_use(const struct inject *t)
{
	size_t size = stack_above(t);
	uint64_t *words;
	bool asleep = is_asleep(t), busy = is_busy(t, t->thread.regs.rip), handler = false;

	if (!size || t->thread.regs.cs != 0x33 || is_restartable(t))
		return false;
	if (size > SCAN_SIZE)
		size = SCAN_SIZE;
	words = malloc(size);
	if (!words || process_read(t->process, t->thread.regs.rsp, words, size & ~7ull)) {
		free(words);
		return false;
	}
	for (size_t i = 0; i < size / 8 && !(busy && handler); i++) {
		busy = busy || (is_busy(t, words[i]) && follows_call(t, words[i]));
		handler = handler || is_restorer(t, words[i]);
	}
	free(words);
	return !busy || (asleep && !handler);
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

			if (tid <= 0)
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
			return error_set(EPERM, "process %d cannot be traced: a debugger is there, or it needs CAP_SYS_PTRACE "
			                        "(see kernel.yama.ptrace_scope)", t->pid);
		if (err == -ETIMEDOUT)
			return error_set(EBUSY, "thread %d of process %d is in an uninterruptible sleep: try again", t->thread.tid,
			                 t->pid);
		nanosleep(&(struct timespec){ .tv_nsec = 7000000 }, NULL);
		if (process_read_maps(t->process))
			return error_set(ESRCH, "process %d has ended", t->pid);
	} while (clock_ns() < until);
	return error_set(EBUSY, "every thread of process %d is in the middle of malloc or of loading a library: try again",
	                 t->pid);
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
	struct tracee_call call = { .function = t->dlopen, .text = library, .second = RTLD_NOW, .restorer = t->restorer };
	char why[200] = "";
	uint64_t errno_at = errno_of(t);
	int errno_was = 0, err;

	if (errno_at && process_read(t->process, errno_at, &errno_was, sizeof(errno_was)))
		errno_at = 0;
	err = tracee_call(&t->thread, &call, CALL_NS, NULL);
	if (err == -ETIMEDOUT)
		return error_set(ETIMEDOUT, "process %d has not finished loading the agent after %llu seconds: it goes on by "
		                            "itself; try again later", t->pid, CALL_NS / 1000000000);
	if (err == -ESRCH)
		return error_set(ESRCH, "process %d has ended", t->pid);
	if (err)
		return error_set(-err, "process %d cannot load the agent: %s", t->pid, strerror(-err));
	if (!agent_is_loaded(t->pid)) {
		read_reason(t, why, sizeof(why));
		err = error_set(ELIBACC, "process %d cannot load the agent: %s", t->pid, *why ? why : "dlopen gives no reason");
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
	snprintf(path, sizeof(path), "/proc/%d/root%s", pid, library);
	if (stat(library, &here) || stat(path, &there) || here.st_ino != there.st_ino || here.st_dev != there.st_dev)
		return error_set(ENOENT, "process %d does not see '%s': it has another root folder", pid, library);
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "Seccomp: %d", &filters);
		shadow |= !strncmp(line, "x86_Thread_features:", 20) && strstr(line, "shstk");
	}
	if (f)
		fclose(f);
	if (shadow)
		return error_set(EOPNOTSUPP, "process %d has a shadow stack, which knows nothing of a call made from outside", pid);
	return filters ? error_set(EPERM, "process %d has a filter of system calls, which loading the agent might offend", pid)
	               : 0;
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
		err = error_set(ENOMEM, "out of memory");
	if (!err)
		err = check(pid, library);
	if (!err) {
		t->pid = pid;
		err = process_open(pid, &t->process);
	}
	if (!err)
		err = process_read_maps(t->process);
	if (!err)
		err = find_libc(t);
	if (!err)
		err = choose(t);
	if (!err) {
		err = load(t, library);
		tracee_let_go(&t->thread);
	}
	/* It sleeps until it is wanted. */
	if (!err && !(err = agent_connect_new(&store, pid, &peer)))
		agent_disconnect(&peer);
	else if (t && err == -ENOENT && t->thread.tid)
		error_set(ENOENT, "process %d has loaded the agent, but it is not heard of in %s: is XDG_RUNTIME_DIR another "
		                  "there?", pid, store.path);
	if (t && t->process)
		process_free(t->process);
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
