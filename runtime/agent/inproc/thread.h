/* SPDX-License-Identifier: MIT */
/* The agent's thread, which the program's C library does not know: thread.c. */
#ifndef RUNTIME_AGENT_INPROC_THREAD_H
#define RUNTIME_AGENT_INPROC_THREAD_H

/* The text of a number, for assembly. */
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

/* Offsets in struct agent_wake_entry; thread.c asserts them. */
#define DOOR_STACK 56
#define DOOR_TLS 64
#define DOOR_TID 72
#define DOOR_ERROR 76

/*
 * CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, CHILD_CLEARTID and
 * CHILD_SETTID. The thread leaves the table of descriptors at once.
 */
#define THREAD_FLAGS 0x012d0f00

#include <stdbool.h>
#include <stdint.h>

/* Prepares the memory of a thread that will call run(). Returns false without memory. */
bool thread_prepare(void (*run)(void));
/* Permits the thread to be made from now on, also by controllers. The rest of the agent must be ready. */
void thread_open(void);
/* Prevents that a thread is made in this process from now on. */
void thread_close(void);
/* Makes the thread unless it exists. Returns false if that failed. */
bool thread_start(void);
/* Returns the thread's id; 0: it does not exist; ~0u: it is being made. */
uint32_t thread_tid(void);
/* Notes the process that the thread is in, for controllers. */
void thread_set_pid(uint32_t pid);
/* In a forked child, which has no such thread. */
void thread_forget(void);
/* Waits until the thread is gone, ms milliseconds at most. Returns whether it is. */
bool thread_wait_gone(unsigned ms);

/* Assembly, thread-CPU.c: the stub makes the thread by one clone(2). */
void agent_stub(void);
extern const char agent_stub_end[], agent_restorer[];
/* The first function of the new thread. Never returns. */
void agent_thread_main(void) __attribute__((used));

#endif
