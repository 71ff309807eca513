/* SPDX-License-Identifier: MIT */
/*
 * The raw thread: how the agent's thread is made.
 *
 * 1. The program's C library must not know of the thread. If pthread_create(3) made it,
 *    the C library would count it: a program whose main() ends by pthread_exit(3) would
 *    never end, and fork(2) would take malloc's locks in a program with one thread.
 * 2. Therefore clone(2) makes it, with a stack and a block of thread-local storage in
 *    the agent's own data. It calls no function of the C library (libc.h).
 * 3. agent_stub() makes the clone(2). Its callers are threads of the program (at the
 *    start, after fork(2) or dlopen(3)), and controllers that hold one of these threads by
 *    ptrace(2). The stub takes no lock, needs only its return address on the stack,
 *    and has no effect if there is a thread already.
 * 4. Controllers find the stub by the door, struct agent_wake_entry, to which a note of the
 *    library leads (protocol.h).
 * 5. The kernel writes the thread's id into the door, and clears it after the thread
 *    has ended.
 */
#include <stddef.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <linux/futex.h>
#include <time.h>

#include "runtime/agent/inproc/cpu.h"
#include "runtime/agent/inproc/hit.h"
#include "runtime/agent/inproc/mem.h"
#include "runtime/agent/inproc/thread.h"

#define STACK (128u << 10)
#define GUARD LARGEST_PAGE
#define TLS_ROOM (64u << 10) /* for thread-local storage between the agent's and the thread pointer */
#define TLS_HEAD 4096u       /* the C library's descriptor of a thread */

_Static_assert(offsetof(struct agent_wake_entry, stack) == DOOR_STACK &&
                       offsetof(struct agent_wake_entry, tls) == DOOR_TLS &&
                       offsetof(struct agent_wake_entry, tid) == DOOR_TID &&
                       offsetof(struct agent_wake_entry, error) == DOOR_ERROR,
               "door");

static char stack[2 * GUARD + STACK] __attribute__((aligned(64)));
static char tls[TLS_HEAD + TLS_ROOM] __attribute__((aligned(64)));
static char image[AGENT_WAKE_STACK_SIZE] __attribute__((aligned(64)));

static void (*thread_main)(void);

extern struct agent_wake_entry agent_door __attribute__((visibility("hidden")));

struct agent_wake_entry agent_door __attribute__((visibility("hidden"), used)) = {
	.magic = AGENT_WAKE_MAGIC,
	.version = AGENT_VERSION,
	.self = (uint64_t)&agent_door,
	.stub = (uint64_t)agent_stub,
	.stub_end = (uint64_t)agent_stub_end,
	.restorer = (uint64_t)agent_restorer,
	.image = (uint64_t)image,
	.image_size = sizeof(image),
};

__asm__(".pushsection .note.probepoint.door, \"a\", %note\n"
        ".p2align 3\n"
        ".long 11, 8, 0x726f6f64\n" /* AGENT_NOTE_WAKE */
        ".asciz \"probepoint\"\n"
        ".p2align 2\n"
        "1: .quad agent_door - 1b\n"
        ".popsection");

#ifdef __x86_64__

/* Thread-local storage is below the thread pointer, which points to itself. */
static bool tls_prepare(void)
{
	uintptr_t self = (uintptr_t)__builtin_thread_pointer();
	size_t below = self - (uintptr_t)&agent_thread, room = TLS_ROOM;
	char *at = tls;

	/* Storage of the program may be nearer to the thread pointer. */
	if (below + 4096 > room) {
		room = (below + 4096 + 4095) & ~4095ul;
		at = pages_map(room + TLS_HEAD);
		if (!at)
			return false;
	}
	agent_door.tls = (uint64_t)at + room;
	return true;
}

static void tls_begin(void)
{
	uint64_t *head = (uint64_t *)agent_door.tls;

	head[0] = head[2] = agent_door.tls;
}

#else

/* Thread-local storage is above the thread pointer. */
static bool tls_prepare(void)
{
	uintptr_t self = (uintptr_t)__builtin_thread_pointer();
	size_t above = (uintptr_t)(&agent_thread + 1) - self;
	char *at = tls;

	if (above + 4096 > sizeof(tls)) {
		at = pages_map(above + 8192);
		if (!at)
			return false;
		at += 4096;
	} else {
		at += 64;
	}
	agent_door.tls = (uint64_t)at;
	return true;
}

static void tls_begin(void)
{
}

#endif

bool thread_prepare(void (*run)(void))
{
	thread_main = run;
	return tls_prepare();
}

void thread_open(void)
{
	__atomic_store_n(&agent_door.stack, (uint64_t)stack + sizeof(stack) - 16, __ATOMIC_RELEASE);
}

void thread_close(void)
{
	agent_door.closed = 1;
}

/* Blocks all signals of the calling thread. */
static void signals_block(uint64_t *before)
{
	static const uint64_t all = ~0ull;

	cpu_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)before, 8, 0, 0);
}

static void signals_restore(const uint64_t *before)
{
	cpu_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)before, 0, 8, 0, 0);
}

uint32_t thread_tid(void)
{
	return __atomic_load_n(&agent_door.tid, __ATOMIC_ACQUIRE);
}

void thread_set_pid(uint32_t pid)
{
	agent_door.pid = pid;
}

void thread_forget(void)
{
	if (agent_door.tid)
		agent_door.tid = 0;
}

bool thread_start(void)
{
	uint64_t before;

	agent_door.error = 0;
	signals_block(&before);
	agent_stub();
	signals_restore(&before);
	return !agent_door.error;
}

/* The kernel wakes waiters of the id as waiters of a word that processes share, so the futex is not private. */
bool thread_wait_gone(unsigned ms)
{
	for (unsigned i = 0; i <= ms / 10; i++) {
		struct timespec t = { .tv_nsec = 10000000 };
		uint32_t tid = thread_tid();

		if (!tid)
			return true;
		cpu_call(SYS_futex, (long)&agent_door.tid, FUTEX_WAIT, tid, (long)&t, 0, 0);
	}
	return false;
}

void agent_thread_main(void)
{
	static bool guarded;
	uint64_t before;

	signals_block(&before);
	tls_begin();
	if (!guarded)
		guarded = !cpu_call(SYS_mprotect, ((long)stack + GUARD - 1) & -(long)GUARD, GUARD, PROT_NONE, 0, 0, 0);
	thread_main();
	for (;;)
		cpu_call(SYS_exit, 0, 0, 0, 0, 0, 0);
}
