/* SPDX-License-Identifier: MIT */
/*
 * What a hit may do, and what the agent knows of the C library's threads.
 *
 * The path of a hit runs in the program's threads. A thread with a filter of system
 * calls (seccomp) can be killed for any call that the filter does not expect, and a
 * thread in strict mode even for reading the CPU's counter. So hits make system calls
 * only while all of this holds:
 *
 * 1. When something was armed, /proc said that no thread had a filter.
 * 2. The agent hears of filters that are set later: it stands in front of prctl() and
 *    syscall(), through which programs and libseccomp set them. An agent that was
 *    loaded into a running process does not hear them.
 * 3. No thread has asked since for a filter that can do worse than let a call fail. This
 *    is kept for good: threads that were made meanwhile have inherited it.
 *
 * A session with AGENT_SEGMENT_CALLS says that filters allow the calls of hits; then
 * 1 to 3 are not asked. A filter for all threads would reach the agent's own: it ends
 * first, and the process cannot be asked any more. Strict mode is never overruled. A filter that the program sets
 * by an instruction of its own is not heard.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/agent/inproc/trampoline.h"

#define MAIN_STACK (8u << 20) /* what of the first thread's stack is taken for it; nothing else is mapped there */
#define FLIGHT_YIELDS 2000

#ifndef SECCOMP_FILTER_FLAG_TSYNC
#define SECCOMP_FILTER_FLAG_TSYNC 1
#endif

static void *private_symbol(const char *name)
{
	return dlvsym(RTLD_DEFAULT, name, "GLIBC_PRIVATE");
}

static uint32_t seen_at, seen_tid; /* where the id of the thread that began seems to be, and what is there */

/* Where struct pthread has the thread's id, as the C library tells debuggers. No system call: the agent may sleep for good. */
static void learn_descriptor(void)
{
	const uint32_t *size = private_symbol("_thread_db_sizeof_pthread");
	const uint32_t *tid = private_symbol("_thread_db_pthread_tid"); /* bits, number, offset */
	uintptr_t self = (uintptr_t)__builtin_thread_pointer();

	if (!size || *size < 512 || *size > 16384 || *size % sizeof(uintptr_t))
		return;
	agent.pthread_size = *size;
	if (tid && tid[0] == 32 && tid[2] <= *size - sizeof(uint32_t) && !(tid[2] & 3))
		seen_at = PTHREAD_AT(self, *size) + tid[2] - self;
	calls_forked();
}

void calls_forked(void)
{
	if (seen_at)
		seen_tid = *(const uint32_t *)((const char *)__builtin_thread_pointer() + (int32_t)seen_at);
}

/* The kernel puts the program's file name at the very end of the first thread's stack. */
static void learn_main_stack(void)
{
	uintptr_t name = getauxval(AT_EXECFN);

	if (!name)
		return;
	agent.main_end = (name + strlen((const char *)name) + 1 + 4095) & -(uintptr_t)4096;
	agent.main_low = agent.main_end - MAIN_STACK;
}

void calls_begin(void)
{
	learn_descriptor();
	learn_main_stack();
}

void calls_settle(void)
{
	if (seen_at && modules_has_thread(seen_tid))
		agent.tid_at = seen_at;
	agent.has_ticks = trampoline_clock_invariant();
}

bool calls_sealed(void)
{
	return __atomic_load_n(&agent.sealed, __ATOMIC_RELAXED);
}

bool calls_filtered(void)
{
	return cpu_call(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0, 0) > 0;
}

/* ---- what /proc says ---- */

struct seen {
	bool filter, unknown;
	uint32_t nstrict, strict[MUTED_MAX];
};

/* The mode of seccomp in the text of /proc/.../status; -1. */
static int seccomp_mode(const char *text)
{
	const char *at = strstr(text, "\nSeccomp:");

	if (!at)
		return -1;
	for (at += sizeof("\nSeccomp:") - 1; *at == ' ' || *at == '\t'; at++)
		;
	return *at >= '0' && *at <= '9' ? *at - '0' : -1;
}

static int look_thread(int dir, const char *name, void *arg)
{
	char path[40], text[4096];
	struct seen *seen = arg;
	size_t had = 0;
	ssize_t n;
	int fd, mode;

	if (strlen(name) > 20)
		return 0;
	strcpy(path, name);
	strcat(path, "/status");
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0; /* it has ended */
	while (had < sizeof(text) - 1 && (n = read(fd, text + had, sizeof(text) - 1 - had)) > 0)
		had += n;
	close(fd);
	text[had] = 0;
	if (!had)
		return 0;
	mode = seccomp_mode(text);
	seen->unknown |= mode < 0;
	seen->filter |= mode > 0;
	if (mode == SECCOMP_MODE_STRICT && seen->nstrict < MUTED_MAX)
		seen->strict[seen->nstrict++] = parse_number(name);
	return 0;
}

static bool is_allowed(void)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		for (size_t k = 0; k < nattachments(&agent.sessions[i]); k++) {
			const struct loaded_attachment *attachment = attachments_of(&agent.sessions[i])[k];

			if (attachment->manifest && attachment->header->flags & AGENT_ATTACHMENT_CALLS)
				return true;
		}
	return false;
}

void calls_look(void)
{
	struct seen seen = { 0 };
	int dir = modules_threads();
	uint32_t calls;

	if (dir >= 0) {
		store_list(dir, look_thread, &seen);
		close(dir);
	}
	/* A filter that was looked at when it was set shows in /proc too. */
	seen.filter &= !__atomic_load_n(&agent.harmless, __ATOMIC_RELAXED);
	/*
	 * A filter that the process began with let the agent begin; a later one may be for a sandbox. An agent that is woken
	 * later was made by a thread without a filter, so that the process began without one.
	 */
	if (agent.begins)
		agent.began_filtered = seen.filter;
	else if (seen.filter && !agent.began_filtered)
		__atomic_store_n(&agent.sealed, 1, __ATOMIC_RELAXED);
	memcpy(agent.muted, seen.strict, sizeof(agent.muted));
	__atomic_store_n(&agent.nmuted, seen.nstrict, __ATOMIC_RELEASE);
	if (seen.nstrict == MUTED_MAX)
		__atomic_store_n(&agent.clockless, 1, __ATOMIC_RELAXED);
	calls = dir >= 0 && !seen.unknown && !seen.filter && !agent.behind;
	if (!seen.nstrict && is_allowed())
		calls = 2; /* more than agent.sealed ever is */
	__atomic_store_n(&agent.calls, calls, __ATOMIC_SEQ_CST);
}

bool calls_allowed(void)
{
	return __atomic_load_n(&agent.calls, __ATOMIC_SEQ_CST) > __atomic_load_n(&agent.sealed, __ATOMIC_SEQ_CST);
}

/* ---- what programs ask for ---- */

void hits_wait(void)
{
	for (unsigned i = 0; i < FLIGHT_YIELDS; i++) {
		uint32_t n = 0;

		for (unsigned k = 0; k < FLIGHTS; k++)
			n += __atomic_load_n(&agent.flight[k].n, __ATOMIC_ACQUIRE);
		if (!n)
			return;
		cpu_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
	}
}

static void seal(bool all_threads)
{
	bool armed = __atomic_load_n(&agent.narmed, __ATOMIC_RELAXED);

	if (all_threads)
		agent_leave();
	else if (armed && agent_awake() && !__atomic_exchange_n(&agent.sealed, 1, __ATOMIC_SEQ_CST))
		agent_look_soon(true); /* points whose filters need calls are given up */
	__atomic_store_n(&agent.sealed, 1, __ATOMIC_SEQ_CST);
	if (all_threads)
		hits_wait();
}

/* Copies what the program may have a wrong pointer to. */
static bool copy(void *to, const void *from, size_t size)
{
	struct iovec here = { to, size }, there = { (void *)from, size };

	return cpu_call(SYS_process_vm_readv, cpu_call(SYS_gettid, 0, 0, 0, 0, 0, 0), (long)&here, 1, (long)&there, 1,
	                0) == (long)size;
}

/* Whether a filter can do worse to a call than let it pass or fail. */
static bool can_kill(unsigned long filter)
{
	struct sock_filter some[64];
	struct sock_fprog program;

	if (!filter)
		return false; /* the call will fail */
	if (!agent.tid)
		return true; /* asleep: the program makes no call that it did not ask for */
	if (calls_sealed() || agent.began_filtered || !copy(&program, (const void *)filter, sizeof(program)))
		return true;
	for (size_t i = 0, n; i < program.len; i += n) {
		n = program.len - i < 64 ? program.len - i : 64;
		if (!copy(some, program.filter + i, n * sizeof(*some)))
			return true;
		for (size_t k = 0; k < n; k++) {
			uint32_t action = some[k].k & SECCOMP_RET_ACTION_FULL;

			if (BPF_CLASS(some[k].code) == BPF_RET &&
			    (BPF_RVAL(some[k].code) != BPF_K ||
			     (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_ERRNO && action != SECCOMP_RET_LOG)))
				return true;
		}
	}
	__atomic_store_n(&agent.harmless, true, __ATOMIC_RELAXED);
	return false;
}

/* The thread loses its clock: its rings go back, and it takes none. */
static void mute(void)
{
	agent_thread.muted |= MUTED_CLOCK;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	rings_at_exit(NULL);
}

/*
 * A filter of the program's only thread is a sandbox for all of it: a thread of the
 * agent without that filter would be a way out. Returns whether it was sent away.
 */
static bool hear_filter(bool kills, bool all_threads)
{
	if (calls_sealed())
		return false;
	if (kills)
		seal(all_threads);
	/* A filter for all threads is the agent's as well. */
	return agent.tid && !all_threads && agent_step_aside(true);
}

static bool hear_prctl(unsigned long option, unsigned long value, unsigned long filter)
{
	if (option == PR_SET_SECCOMP) {
		if (value == SECCOMP_MODE_STRICT)
			mute();
		return hear_filter(value == SECCOMP_MODE_STRICT || can_kill(filter), false);
	}
	if (option == PR_SET_TSC) {
		__atomic_store_n(&agent.clockless, value == PR_TSC_SIGSEGV, __ATOMIC_RELAXED);
		if (value == PR_TSC_SIGSEGV)
			mute();
		else
			agent_thread.muted &= ~MUTED_CLOCK;
	}
	return false;
}

bool calls_hear(long number, unsigned long a, unsigned long b, unsigned long c)
{
	if (number == SYS_prctl)
		return hear_prctl(a, b, c);
	if (number != SYS_seccomp || a > SECCOMP_SET_MODE_FILTER)
		return false;
	if (a == SECCOMP_SET_MODE_STRICT) {
		mute();
		return hear_filter(true, false);
	}
	return hear_filter(can_kill(c), b & SECCOMP_FILTER_FLAG_TSYNC);
}
