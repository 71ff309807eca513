/* SPDX-License-Identifier: MIT */
/*
 * Whether a thread that is stopped can load the agent: whether it is outside malloc and the loader. The search of its
 * stack begins at the stack pointer and looks at
 *
 *  1. every return address, up to the call of main() or of the thread's function. Values above that, which
 *     the loader left before main(), do not count;
 *  2. every signal frame: where the thread was interrupted, and the stack that it was on, which is another one if the
 *     handler has its own. The search also continues above the frame, because the frame may be left over from an
 *     earlier handler.
 *
 * The stack may hold values left over from earlier calls. So a thread may be refused without need, but it is not used
 * wrongly.
 */
#include "runtime/agent/inject-parts.h"

#ifdef TRACEE_SUPPORTED

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define SCAN_CHUNK 65536     /* bytes of stack that are read at a time */
#define SCAN_MAX (64u << 20) /* a thread with a deeper stack is not used */
#define STACKS_MAX 8         /* of one thread: its own and those of signal handlers */
#define DESCRIPTOR_WORDS 256 /* of a thread's descriptor that are searched; it has at least this many */
#define DESCRIPTOR_ABOVE \
	65536           /* the stack that the C library knows ends at most this far above the descriptor's begin */
#define MAIN_ABOVE 4096 /* main()'s return address is at most this far from where the kernel began the stack */

/* ---- code ---- */

/* Reads code; the C library's from the copy. */
static bool inject_read_code(const struct inject *t, uint64_t at, void *to, size_t size)
{
	if (at >= t->libc.start && at <= t->libc.end && t->libc.end - at >= size) {
		memcpy(to, t->libc_code + (at - t->libc.start), size);
		return true;
	}
	return !process_read(t->process, at, to, size);
}

static bool follows_call(const struct inject *t, uint64_t address)
{
	unsigned char before[INJECT_BEFORE];

	return !inject_read_code(t, address - sizeof(before), before, sizeof(before)) || inject_is_call(before);
}

static bool is_busy(const struct inject *t, uint64_t address)
{
	if (range_has(&t->loader, address))
		return true;
	for (size_t i = 0; i < t->nbusy; i++)
		if (range_has(&t->busy[i], address))
			return true;
	return false;
}

/*
 * Whether a value on the stack returns to busy code. The address before it counts, because the last instruction of a
 * function may be a call that does not return; its return address belongs to the next function.
 */
static bool returns_to_busy(const struct inject *t, uint64_t address)
{
	return is_busy(t, address - 1) && follows_call(t, address);
}

static bool returns_to_restorer(const struct inject *t, uint64_t address)
{
	unsigned char code[INJECT_RESTORER];

	return range_has(&t->libc, address) && inject_read_code(t, address, code, sizeof(code)) &&
	       inject_is_restorer(code);
}

/*
 * Whether main() or a thread's function returns there. __libc_start_call_main(), start_thread() and clone() have no
 * symbols; each is known by the instructions after its indirect call.
 */
static bool is_outermost(const struct inject *t, uint64_t slot, uint64_t address)
{
	unsigned char before[INJECT_BEFORE], after[INJECT_AFTER];
	uint64_t callee;

	if (!range_has(&t->libc, address) || !inject_read_code(t, address - sizeof(before), before, sizeof(before)) ||
	    !inject_is_indirect_call(before) || !inject_read_code(t, address, after, sizeof(after)))
		return false;
	if (inject_ends_thread(after))
		return true;
	return inject_ends_main(after, address, &callee) && callee == t->exit && t->stack_start - slot < MAIN_ABOVE;
}

/* ---- the stack ---- */

struct stack_scan {
	bool busy;                   /* the thread is in busy code, or was when it was interrupted */
	bool handler;                /* it may be in a signal handler */
	bool unknown;                /* a stack cannot be read to its end */
	uint64_t stacks[STACKS_MAX]; /* stack pointers; the first nscanned are done */
	size_t nstacks, nscanned;
};

static bool scan_continues(const struct stack_scan *scan)
{
	return !scan->unknown && !(scan->busy && scan->handler);
}

static void scan_frame(const struct inject *t, struct stack_scan *scan, uint64_t slot)
{
	struct {
		uint64_t return_address, flags, link, stack[3];
		struct sigcontext regs;
	} frame;

	scan->handler = true;
	/* A value that is left over and looks like a frame makes the scan fail, too. */
	if (process_read(t->process, slot, &frame, sizeof(frame)) || scan->nstacks == STACKS_MAX) {
		scan->unknown = true;
		return;
	}
	scan->busy |= is_busy(t, frame.regs.rip);
	scan->stacks[scan->nstacks++] = frame.regs.rsp;
}

static const struct mapping *inject_mapping_at(const struct inject *t, uint64_t address)
{
	for (size_t i = 0; i < t->process->nmaps; i++)
		if (address >= t->process->maps[i].start && address < t->process->maps[i].end)
			return &t->process->maps[i];
	return NULL;
}

/* Scans from a stack pointer to the outermost function, or to the end of the mapping. */
static void scan_stack(const struct inject *t, struct stack_scan *scan, uint64_t sp, uint64_t *words)
{
	const struct mapping *m = inject_mapping_at(t, sp);
	uint64_t end = m ? m->end : 0;

	sp &= ~7ull;
	scan->unknown |= !m || end - sp > SCAN_MAX;
	while (sp < end && scan_continues(scan)) {
		size_t size = end - sp < SCAN_CHUNK ? end - sp : SCAN_CHUNK;

		if (process_read(t->process, sp, words, size)) {
			scan->unknown = true;
			return;
		}
		for (size_t i = 0; i < size / 8 && scan_continues(scan); i++) {
			if (is_outermost(t, sp + 8 * i, words[i]))
				return;
			if (returns_to_restorer(t, words[i]))
				scan_frame(t, scan, sp + 8 * i);
			scan->busy = scan->busy || returns_to_busy(t, words[i]);
		}
		sp += size;
	}
}

static void scan_thread(const struct inject *t, struct stack_scan *scan)
{
	uint64_t *words = malloc(SCAN_CHUNK);

	scan->unknown = !words;
	scan->busy = is_busy(t, tracee_pc(&t->thread));
	scan->stacks[scan->nstacks++] = tracee_sp(&t->thread);
	while (scan->nscanned < scan->nstacks && scan_continues(scan))
		scan_stack(t, scan, scan->stacks[scan->nscanned++], words);
	free(words);
}

/* ---- the thread ---- */

/*
 * Returns the lowest address, above the guard, of the stack that the C library knows for the thread, or 0 if the thread
 * is not on this stack. The thread's descriptor lies at the end of the stack. It has the stack's address, its size and
 * the size of its guard one after the other. All are in the mapping of sp, which begins at `mapping`.
 */
static uint64_t thread_stack_begin(const struct inject *t, uint64_t sp, uint64_t mapping)
{
	uint64_t descriptor = tracee_thread_pointer(&t->thread), words[DESCRIPTOR_WORDS];

	if (sp >= descriptor || process_read(t->process, descriptor, words, sizeof(words)))
		return 0;
	for (size_t i = 0; i + 2 < DESCRIPTOR_WORDS; i++) {
		uint64_t begin = words[i], size = words[i + 1], guard = words[i + 2];

		if (guard < size && begin + guard >= mapping && begin + guard < sp && begin + size > descriptor &&
		    begin + size - descriptor < DESCRIPTOR_ABOVE)
			return begin + guard;
	}
	return 0;
}

/*
 * Returns whether the stack has room for the call. tracee_call() extends the first thread's stack if no other mapping
 * is near. A stack of a signal handler or of a coroutine is not used, because its size is not known and the program's
 * data may be below it.
 */
static bool thread_has_room(const struct inject *t)
{
	uint64_t sp = tracee_sp(&t->thread), begin;
	const struct mapping *m = inject_mapping_at(t, sp);

	if (!m)
		return false;
	if (!strcmp(m->path, "[stack]"))
		return sp - m->start >= TRACEE_STACK_ROOM || m == t->process->maps ||
		       m[-1].end <= sp - TRACEE_STACK_ROOM;
	begin = thread_stack_begin(t, sp, m->start);
	return begin && sp - begin >= TRACEE_STACK_ROOM;
}

static bool fd_is_regular(const struct inject *t, uint64_t fd)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", t->process->tid, (int)fd);
	return stat(path, &st) || S_ISREG(st.st_mode);
}

/* Whether it sleeps in a system call that neither malloc nor the loader makes. */
static bool thread_is_asleep(const struct inject *t)
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
	uint64_t first;
	long call = tracee_syscall(&t->thread, &first);

	if (call == SYS_restart_syscall)
		return true; /* of poll, nanosleep, or futex with a timeout, which malloc and the loader do not use */
	if (call == SYS_read)
		return !fd_is_regular(t, first);
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (calls[i] == call)
			return true;
	return false;
}

bool inject_may_use(const struct inject *t)
{
	struct stack_scan scan = { 0 };
	bool asleep = thread_is_asleep(t);

	if (!thread_has_room(t) || !tracee_is_native(&t->thread) || tracee_is_restartable(&t->thread))
		return false;
	scan_thread(t, &scan);
	if (scan.unknown)
		return false;
	if (t->other_malloc)
		return asleep && !scan.handler && !scan.busy;
	return !scan.busy || (asleep && !scan.handler);
}

#endif
