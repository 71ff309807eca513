/* SPDX-License-Identifier: MIT */
/* The agent's thread, of which the program's C library knows nothing. */
#ifndef RUNTIME_AGENT_INPROC_THREAD_H
#define RUNTIME_AGENT_INPROC_THREAD_H

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

/* Of struct agent_wake_entry: thread.c asserts them. */
#define DOOR_STACK 56
#define DOOR_TLS 64
#define DOOR_TID 72
#define DOOR_ERROR 76

/* VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, CHILD_CLEARTID, CHILD_SETTID; the descriptors are left at once. */
#define THREAD_FLAGS 0x012d0f00

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stdint.h>

/* Makes ready what a thread needs. false: there is no memory for it. */
bool thread_prepare(void);
/* From here on it can be made, by a controller too: all else is ready. */
void thread_open(void);
/* The agent will not be woken in this process. */
void thread_close(void);
/* Makes the thread where there is none; false: it cannot be made, and thread_error() says why. */
bool thread_start(void);
int thread_error(void);
/* Its id, 0 where there is none; ~0u: it is being made. */
uint32_t thread_tid(void);
/* In a forked child, which has no thread. */
void thread_forget(void);
/* Until it is gone, ms at most. */
bool thread_wait_gone(unsigned ms);
/* Of the calling thread: every signal is blocked, and put back. */
void signals_block(uint64_t *before);
void signals_restore(const uint64_t *before);

void agent_stub(void);
extern const char agent_stub_end[], agent_restorer[];
/* What the thread does; it never returns. */
void agent_thread_main(void) __attribute__((used));
void agent_run(void); /* agent.c */
#endif

#endif
