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
 * The call returns to a system call instruction, which the thread does not carry
 * out: there it is stopped. So no signal is needed, and all of them are blocked
 * meanwhile. Its registers go back at a stop at which the kernel decides about
 * restarting a system call, which thus happens as after any other interruption.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent-client.h"
#include "runtime/agent-session.h"
#include "runtime/process.h"
#include "sdt/error.h"

#define TRY_NS 5000000000ull  /* until a thread is found */
#define CALL_NS 5000000000ull /* until it has returned */
#define SCAN_SIZE 65536       /* bytes of stack */
#define STACK_ROOM 65536      /* that dlopen() must find below the stack pointer */
#define XSTATE_MAX 16384
#define RANGES_MAX 40

#ifdef __x86_64__

struct range {
	uint64_t start, end;
};

struct inject {
	pid_t pid, tid;
	struct process *process;
	struct range libc, loader; /* executable */
	struct range busy[RANGES_MAX]; /* functions that a thread must not be in */
	size_t nbusy;
	uint64_t dlopen, dlerror, gate; /* gate: a system call instruction */
	struct user_regs_struct saved;
	char xstate[XSTATE_MAX];
	size_t xstate_size;
	uint64_t signals;
	bool held, changed;
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

static int find_gate(struct inject *t)
{
	size_t size = t->libc.end - t->libc.start;
	char *text = malloc(size), *at = NULL;

	if (text && !process_read(t->process, t->libc.start, text, size))
		at = memmem(text, size, "\x0f\x05", 2);
	if (at)
		t->gate = t->libc.start + (at - text);
	free(text);
	return at ? 0 : error_set(EFAULT, "the memory of process %d cannot be read", t->pid);
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
	return find_gate(t);
}

/* ---- stopping ---- */

/* Waits until the thread stops; its status. -ETIMEDOUT; -ESRCH: it has ended. */
static int wait_stop(const struct inject *t, uint64_t until, int *status)
{
	for (;;) {
		pid_t got = waitpid(t->tid, status, __WALL | WNOHANG);

		if (got < 0 && errno != EINTR)
			return -ESRCH;
		if (got == t->tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (agent_clock() > until)
			return -ETIMEDOUT;
		nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	}
}

static bool is_event_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

static int hold(struct inject *t, pid_t tid)
{
	int status, err;

	t->tid = tid;
	if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD))
		return -errno;
	t->held = true;
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	while (!(err = wait_stop(t, agent_clock() + TRY_NS, &status)) && !is_event_stop(status))
		ptrace(PTRACE_CONT, tid, NULL, (long)(WSTOPSIG(status) & 0x7f));
	if (!err && ptrace(PTRACE_GETREGS, tid, NULL, &t->saved))
		err = -errno;
	return err;
}

static bool signal_waits(const struct inject *t)
{
	unsigned long long pending = 0, shared = 0, blocked = 0;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", t->pid, t->tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "SigPnd: %llx", &pending);
		sscanf(line, "ShdPnd: %llx", &shared);
		sscanf(line, "SigBlk: %llx", &blocked);
	}
	if (f)
		fclose(f);
	return (pending | shared) & ~blocked;
}

/* These return EINTR when we stop them, though no signal came: they are called again. */
static void call_again(struct inject *t)
{
	long call = (long)t->saved.orig_rax;

	if ((long)t->saved.rax != -EINTR || (call != SYS_epoll_wait && call != SYS_epoll_pwait && call != SYS_epoll_pwait2) ||
	    signal_waits(t))
		return;
	t->saved.rax = t->saved.orig_rax;
	t->saved.orig_rax = -1;
	t->saved.rip -= 2;
}

static void let_go(struct inject *t)
{
	struct iovec state = { t->xstate, t->xstate_size };

	if (!t->held)
		return;
	call_again(t);
	ptrace(PTRACE_SETREGS, t->tid, NULL, &t->saved);
	if (t->changed) {
		ptrace(PTRACE_SETREGSET, t->tid, (void *)NT_X86_XSTATE, &state);
		ptrace(PTRACE_SETSIGMASK, t->tid, (void *)sizeof(t->signals), &t->signals);
	}
	ptrace(PTRACE_DETACH, t->tid, NULL, NULL);
	t->held = t->changed = false;
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
	static const unsigned char code[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 };
	unsigned char found[sizeof(code)];

	return within(&t->libc, address) && !process_read(t->process, address, found, sizeof(found)) &&
	       !memcmp(found, code, sizeof(code));
}

/* The mapping of the stack has room for the call below, and this much above. */
static size_t stack_above(const struct inject *t)
{
	uint64_t sp = t->saved.rsp;

	for (size_t i = 0; i < t->process->nmaps; i++) {
		const struct mapping *m = &t->process->maps[i];

		if (sp >= m->start && sp < m->end)
			return sp - m->start < STACK_ROOM && strcmp(m->path, "[stack]") ? 0 : m->end - sp;
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

/* Neither malloc nor the loader makes these. */
static bool is_asleep(const struct inject *t)
{
	static const short calls[] = {
		SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6, SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_pause,
		SYS_nanosleep, SYS_clock_nanosleep, SYS_accept, SYS_accept4, SYS_connect, SYS_recvfrom, SYS_recvmsg,
		SYS_recvmmsg, SYS_sendto, SYS_wait4, SYS_waitid, SYS_flock, SYS_msgrcv, SYS_rt_sigtimedwait, SYS_rt_sigsuspend,
	};
	long call = (long)t->saved.orig_rax;

	if (call == SYS_restart_syscall)
		return true; /* of poll, nanosleep, or futex with a timeout, which neither has */
	if (call == SYS_read)
		return !is_regular(t, t->saved.rdi);
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (calls[i] == call)
			return true;
	return false;
}

static bool may_use(const struct inject *t)
{
	size_t size = stack_above(t);
	uint64_t *words;
	bool asleep = is_asleep(t), busy = is_busy(t, t->saved.rip), handler = false;

	if (!size || t->saved.cs != 0x33)
		return false;
	if (size > SCAN_SIZE)
		size = SCAN_SIZE;
	words = malloc(size);
	if (!words || process_read(t->process, t->saved.rsp, words, size & ~7ull)) {
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
	uint64_t until = agent_clock() + TRY_NS;
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
			err = hold(t, tid);
			if (!err && may_use(t)) {
				closedir(d);
				return 0;
			}
			let_go(t);
			if (err == -EPERM)
				break;
		}
		closedir(d);
		if (err == -EPERM)
			return error_set(EPERM, "process %d cannot be traced: a debugger is there, or it needs CAP_SYS_PTRACE "
			                        "(see kernel.yama.ptrace_scope)", t->pid);
		nanosleep(&(struct timespec){ .tv_nsec = 7000000 }, NULL);
		if (process_read_maps(t->process))
			return error_set(ESRCH, "process %d has ended", t->pid);
	} while (agent_clock() < until);
	return error_set(EBUSY, "every thread of process %d is in the middle of malloc or of loading a library: try again",
	                 t->pid);
}

/* ---- the call ---- */

static int save(struct inject *t)
{
	struct iovec state = { t->xstate, sizeof(t->xstate) };
	uint64_t all = ~0ull;

	if (ptrace(PTRACE_GETREGSET, t->tid, (void *)NT_X86_XSTATE, &state) ||
	    ptrace(PTRACE_GETSIGMASK, t->tid, (void *)sizeof(t->signals), &t->signals))
		return -errno;
	t->xstate_size = state.iov_len;
	t->changed = true;
	return ptrace(PTRACE_SETSIGMASK, t->tid, (void *)sizeof(all), &all) ? -errno : 0;
}

static int write_memory(const struct inject *t, uint64_t at, const void *bytes, size_t size)
{
	struct iovec here = { (void *)bytes, size }, there = { (void *)at, size };

	return process_vm_writev(t->pid, &here, 1, &there, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
}

/* Runs until the gate. */
static int run(struct inject *t, uint64_t stack, uint64_t *result)
{
	uint64_t until = agent_clock() + CALL_NS;
	struct user_regs_struct regs;
	int status, err;

	for (;;) {
		if (ptrace(PTRACE_SYSCALL, t->tid, NULL, NULL))
			return -errno;
		err = wait_stop(t, until, &status);
		if (err)
			return err;
		if (is_event_stop(status))
			continue;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80))
			return -EFAULT; /* a signal though all are blocked: it crashed */
		if (ptrace(PTRACE_GETREGS, t->tid, NULL, &regs))
			return -errno;
		if (regs.rip == t->gate + 2 && regs.rsp == stack)
			break;
	}
	*result = regs.orig_rax;
	regs.orig_rax = -1;
	return ptrace(PTRACE_SETREGS, t->tid, NULL, &regs) ? -errno : 0;
}

/* To a stop from which system calls are restarted. */
static int settle(struct inject *t)
{
	int status, err;

	ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL);
	do {
		if (ptrace(PTRACE_CONT, t->tid, NULL, NULL) && errno == ESRCH && kill(t->pid, 0))
			return -ESRCH;
		err = wait_stop(t, agent_clock() + CALL_NS, &status);
	} while (!err && !is_event_stop(status));
	return err;
}

static int call(struct inject *t, uint64_t function, const char *text, uint64_t mode, uint64_t *result)
{
	struct user_regs_struct regs = t->saved;
	uint64_t stack = ((t->saved.rsp - 256 - PATH_MAX) & ~15ull), back = t->gate;
	int err = text ? write_memory(t, stack, text, strlen(text) + 1) : 0;

	if (!err)
		err = write_memory(t, stack - 16 - 8, &back, sizeof(back));
	if (err)
		return err;
	regs.rdi = stack;
	regs.rsi = mode;
	regs.rax = 0;
	regs.orig_rax = -1;
	regs.rip = function;
	regs.rsp = stack - 16 - 8;
	regs.eflags &= ~0x500ull; /* direction, trap */
	if (ptrace(PTRACE_SETREGS, t->tid, NULL, &regs))
		return -errno;
	err = run(t, stack - 16, result);
	if (err == -ESRCH)
		t->held = false;
	else if (settle(t))
		t->held = false;
	return err;
}

static int load(struct inject *t, const char *library)
{
	char why[200] = "";
	uint64_t result = 0, text = 0;
	int err = save(t);

	if (!err)
		err = call(t, t->dlopen, library, 2 /* RTLD_NOW */, &result);
	if (!err && !result && t->held && !call(t, t->dlerror, NULL, 0, &text) && text)
		for (size_t i = 0; i + 1 < sizeof(why) && !process_read(t->process, text + i, &why[i], 1) && why[i]; i++)
			why[i + 1] = 0;
	if (err == -ETIMEDOUT)
		return error_set(ETIMEDOUT, "process %d did not load the agent within %llu seconds", t->pid,
		                 CALL_NS / 1000000000);
	if (err == -ESRCH)
		return error_set(ESRCH, "process %d has ended", t->pid);
	if (err)
		return error_set(-err, "process %d cannot load the agent: %s", t->pid, strerror(-err));
	if (!result)
		return error_set(ELIBACC, "process %d cannot load the agent: %s", t->pid, *why ? why : "dlopen gives no reason");
	return 0;
}

/* ---- what is refused at once ---- */

static int check(pid_t pid, const char *library)
{
	char path[PATH_MAX + 32], line[256];
	struct stat there, here;
	int filters = 0;
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
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "Seccomp: %d", &filters);
	if (f)
		fclose(f);
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
	if (!agent_connect(&store, pid, &peer)) { /* it has one */
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
		let_go(t);
	}
	/* Its thread makes the socket in its own time. */
	for (int i = 0; !err && (err = agent_connect(&store, pid, &peer)) == -ENOENT && i < 200; i++) {
		err = 0;
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	if (err == -ENOENT)
		error_set(ENOENT, "process %d has loaded the agent, but it is not heard of in %s: is XDG_RUNTIME_DIR another "
		                  "there?", pid, store.path);
	else if (!err)
		agent_disconnect(&peer);
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
