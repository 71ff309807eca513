/* SPDX-License-Identifier: MIT */
/*
 * Between the parts of injecting: inject-code-CPU.c, inject-libc.c, inject-scan.c, inject.c. Each uses only those
 * before it.
 */
#ifndef RUNTIME_AGENT_INJECT_PARTS_H
#define RUNTIME_AGENT_INJECT_PARTS_H

#include "runtime/agent/tracee.h"
#include "runtime/process.h"

struct agent_dir;

#define INJECT_BUSY_MAX 128

/* Bytes that inject-code-CPU.c examines: before and after a return address, and of the code that handlers return to. */
#define INJECT_BEFORE 7
#define INJECT_AFTER 10
#define INJECT_RESTORER 9

struct address_range {
	uint64_t start, end;
};

/* A process that the agent is to be loaded into. */
struct inject {
	pid_t pid;
	struct process *process;
	const char *library;
	const struct agent_dir *dir;
	struct tracee thread;
	uint64_t program; /* inject_program() when the agent is loaded */

	/* Set by inject_find_libc(): */
	struct address_range libc, loader; /* the executable mappings of the C library and of its loader */
	uint64_t libc_inode, loader_inode;
	struct address_range busy[INJECT_BUSY_MAX]; /* functions that the thread must not be in */
	size_t nbusy;
	unsigned char *libc_code; /* a copy of libc; freed by the caller */
	bool other_malloc;        /* another malloc than the C library's may be in use */
	uint64_t stack_start;     /* of the first thread */
	uint64_t dlopen, dlerror, exit, errno_location;
	uint64_t errno_offset;          /* of errno from the thread pointer; 0: not known */
	uint64_t restorer, result_stub; /* see struct tracee_call; result_stub may be 0 */
	unsigned stub_words;
};

/* ---- inject-code-CPU.c: what the C library's code looks like ---- */

/* Finds code in a copy of the C library. Returns its address, 0 if it does not exist. */
uint64_t inject_find_restorer(const struct inject *t);
/* Sets *words to struct tracee_call.stub_words. */
uint64_t inject_find_result_stub(const struct inject *t, unsigned *words);
/* Returns the offset of errno from the thread pointer, by the code of __errno_location(); 0: not known. */
uint64_t inject_find_errno(const struct inject *t);
/* Returns whether signal handlers return to this code. */
bool inject_is_restorer(const unsigned char code[INJECT_RESTORER]);
/* Returns whether a call instruction, or an indirect one, ends after this code. */
bool inject_is_call(const unsigned char before[INJECT_BEFORE]);
bool inject_is_indirect_call(const unsigned char before[INJECT_BEFORE]);
/* Returns whether the C library's code after an indirect call is that which ends a thread. */
bool inject_ends_thread(const unsigned char after[INJECT_AFTER]);
/* The same for the code that ends main(): stores the address that it calls, exit(). */
bool inject_ends_main(const unsigned char after[INJECT_AFTER], uint64_t address, uint64_t *callee);

/* ---- inject-libc.c ---- */

bool range_has(const struct address_range *range, uint64_t address);
/*
 * Finds the C library of the process, whose maps have been read, and fills in the fields above. Returns 0 or an error
 * with a message. Returns -EAGAIN if the process may be just starting, because its C library is not loaded yet or no
 * longer mapped.
 */
int inject_find_libc(struct inject *t);
/*
 * Returns an address that the kernel chooses at each exec(2). Returns 0 if exec(2) has not finished, so that the
 * mappings and the environment are not complete.
 */
uint64_t inject_program(pid_t pid);
/*
 * Reads the maps again. Returns whether the C library and the loader are still where inject_find_libc() has found them.
 */
bool inject_is_current(const struct inject *t);

/* ---- inject-scan.c ---- */

/* Returns whether the thread that is held can load the agent, see inject.c. */
bool inject_may_use(const struct inject *t);

#endif
