/* SPDX-License-Identifier: MIT */
/*
 * The system calls of hits, and the C library's threads.
 *
 * Hits run in the program's threads. A filter of system calls (seccomp) can kill a
 * thread for any call that it does not expect, and strict mode kills it even for
 * reading the CPU's counter. Therefore hits make system calls only while all of this
 * holds:
 *
 * 1. When something was last armed, no thread had a filter, according to /proc.
 * 2. The agent notices filters that are set later: it interposes prctl() and syscall(),
 *    through which programs and libseccomp set them (seccomp.c). An agent that was
 *    loaded into a running process is not interposed.
 * 3. No thread has asked since then for a filter that can do worse than let a call
 *    fail. This is kept forever, because threads that were made meanwhile have
 *    inherited the filter.
 *
 * A session with AGENT_ATTACHMENT_CALLS says that filters permit the calls of hits.
 * Then 1 to 3 are not checked. Strict mode is never overruled.
 *
 * A filter for all threads would reach the agent's thread. That thread ends first, and
 * then the process answers no controller any more. The agent does not notice a filter
 * that the program sets by a system call instruction of its own.
 */
#include <dlfcn.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/calls.h"
#include "runtime/agent/inproc/files.h"
#include "runtime/agent/inproc/proc.h"
#include "runtime/agent/inproc/trampoline.h"

#define MAIN_STACK (8u << 20) /* taken to be the first thread's stack; nothing else is mapped there */

/* ---- the C library's threads ---- */

/* The place that seems to hold the id of the thread that loaded the agent, and its value. */
static uint32_t seen_at, seen_tid;

static void *glibc_private(const char *name)
{
	return dlvsym(RTLD_DEFAULT, name, "GLIBC_PRIVATE");
}

/*
 * Finds the thread's id in struct pthread by the symbols that the C library has for
 * debuggers. This makes no system call, because the agent may never be needed.
 * calls_settle() verifies the result.
 */
static void thread_descriptor_learn(void)
{
	const uint32_t *size = glibc_private("_thread_db_sizeof_pthread");
	const uint32_t *tid = glibc_private("_thread_db_pthread_tid"); /* bits, number, offset */
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

/* The C library registers a struct rseq for each thread, from glibc 2.35 on. */
static void rseq_learn(void)
{
	const ptrdiff_t *offset = dlsym(RTLD_DEFAULT, "__rseq_offset");
	const unsigned *size = dlsym(RTLD_DEFAULT, "__rseq_size");

	if (offset && size && *size && *offset == (int32_t)*offset)
		agent.rseq_at = *offset;
}

/* The kernel places the program's file name at the very end of the first thread's stack. */
static void main_stack_learn(void)
{
	uintptr_t name = getauxval(AT_EXECFN);

	if (!name)
		return;
	agent.main_end = (name + strlen((const char *)name) + 1 + 4095) & -(uintptr_t)4096;
	agent.main_low = agent.main_end - MAIN_STACK;
}

void calls_init(void)
{
	thread_descriptor_learn();
	rseq_learn();
	main_stack_learn();
}

void calls_settle(void)
{
	if (seen_at && proc_has_thread(seen_tid))
		agent.tid_at = seen_at;
	agent.has_ticks = trampoline_clock_invariant();
}

/* ---- what /proc says ---- */

/* The modes of seccomp of all threads. */
struct seccomp_modes {
	bool filter;  /* a thread has a filter */
	bool unknown; /* the mode of a thread cannot be read */
	uint32_t nstrict, strict[MUTED_MAX];
};

/* Returns the mode in the text of a status file, or -1. */
static int seccomp_mode(const char *text)
{
	const char *at = strstr(text, "\nSeccomp:");

	if (!at)
		return -1;
	for (at += sizeof("\nSeccomp:") - 1; *at == ' ' || *at == '\t'; at++)
		;
	return *at >= '0' && *at <= '9' ? *at - '0' : -1;
}

static int seccomp_thread_read(int dir, const char *name, void *arg)
{
	char path[40], text[4096];
	struct seccomp_modes *seen = arg;
	int mode;

	if (strlen(name) > 20)
		return 0;
	strcpy(path, name);
	strcat(path, "/status");
	if (!file_read_text(dir, path, text, sizeof(text)))
		return 0; /* the thread has ended */
	mode = seccomp_mode(text);
	seen->unknown |= mode < 0;
	seen->filter |= mode > 0;
	if (mode == SECCOMP_MODE_STRICT && seen->nstrict < MUTED_MAX)
		seen->strict[seen->nstrict++] = parse_number(name);
	return 0;
}

/* Returns whether an attachment permits calls whatever filters there are. */
static bool calls_forced(void)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		for (size_t k = 0; k < nattachments(&agent.sessions[i]); k++) {
			const struct loaded_attachment *attachment = attachments_of(&agent.sessions[i])[k];

			if (attachment->manifest && attachment->header->flags & AGENT_ATTACHMENT_CALLS)
				return true;
		}
	return false;
}

void calls_rescan(void)
{
	struct seccomp_modes seen = { 0 };
	int dir = proc_threads();
	uint32_t calls;

	if (dir >= 0) {
		dir_list(dir, seccomp_thread_read, &seen);
		close(dir);
	}
	/* /proc also shows a filter that was found harmless when it was set. */
	seen.filter &= !__atomic_load_n(&agent.harmless, __ATOMIC_RELAXED);
	/*
	 * The agent began in spite of a filter that the process began with. A later filter
	 * may be for a sandbox. If the agent is woken later, a thread without a filter made
	 * it, so the process began without one.
	 */
	if (agent.begins)
		agent.began_filtered = seen.filter;
	else if (seen.filter && !agent.began_filtered)
		__atomic_store_n(&agent.sealed, 1, __ATOMIC_RELAXED);
	memcpy(agent.muted, seen.strict, sizeof(agent.muted));
	__atomic_store_n(&agent.nmuted, seen.nstrict, __ATOMIC_RELEASE);
	if (seen.nstrict == MUTED_MAX)
		__atomic_store_n(&agent.clockless, 1, __ATOMIC_RELAXED);
	calls = dir >= 0 && !seen.unknown && !seen.filter && !agent.not_interposed;
	if (!seen.nstrict && calls_forced())
		calls = 2; /* more than agent.sealed ever is */
	__atomic_store_n(&agent.calls, calls, __ATOMIC_SEQ_CST);
}

/* ---- asking ---- */

bool calls_allowed(void)
{
	return __atomic_load_n(&agent.calls, __ATOMIC_SEQ_CST) > __atomic_load_n(&agent.sealed, __ATOMIC_SEQ_CST);
}

bool calls_filtered(void)
{
	return cpu_call(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0, 0) > 0;
}

bool calls_sealed(void)
{
	return __atomic_load_n(&agent.sealed, __ATOMIC_RELAXED);
}
