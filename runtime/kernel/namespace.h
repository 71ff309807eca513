/* SPDX-License-Identifier: MIT */
/*
 * Pid namespaces. Process ids in cookies, scopes, filters, records and counts are those of the pid namespace of the session,
 * which is that of the command that made the session. The kernel's helpers return ids of the initial namespace, so
 * programs of other sessions read the ids from the thread's struct pid, which has one for each namespace that the process is
 * visible in. Processes that the namespace does not see are out of scope.
 */
#ifndef RUNTIME_KERNEL_NAMESPACE_H
#define RUNTIME_KERNEL_NAMESPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/kernel/emitter.h"

#define PID_INIT_INO 0xeffffffcu /* PROC_PID_INIT_INO of linux/proc_ns.h */

struct kernel_session;

/* What programs need to know about a pid namespace. */
struct kernel_namespace {
	uint32_t inode; /* 0: the initial namespace */
	int level;      /* depth below the initial namespace */
	struct {
		int signal, thread_pid, pids, level, numbers, upid, nr, ns,
			inum; /* byte offsets, and the size of upid */
	} at;
};

/* Returns the inode number of this process's pid namespace, 0 if it is the initial one. */
uint32_t namespace_own(void);
/* Returns true if /proc is that of this process's pid namespace. */
bool namespace_has_proc(void);
/* Describes this process's pid namespace. Returns 0, or -EOPNOTSUPP with an error message. */
int namespace_describe(struct kernel_namespace *ns);

/* Returns true if the session belongs to another pid namespace than this process. */
bool namespace_is_foreign(const struct kernel_session *k);
/* Returns -EXDEV with an error message if it does. what: what this process cannot do, as in "read the records of". */
int namespace_check(const struct kernel_session *k, const char *name, const char *what);

enum { PIDTYPE_TGID = 1, PIDTYPE_PGID = 2 }; /* linux/pid.h */

/*
 * Emit r0 = an id in the namespace: the process id, or the process group id (type), of the task at r0; or its thread id.
 * Jumps to out if the namespace does not see it. Changes r0 to r5, r8 and AT_WORD.
 */
void emit_namespace_process(struct emitter *e, const struct kernel_namespace *ns, int type, label out);
void emit_namespace_thread(struct emitter *e, const struct kernel_namespace *ns, label out);

#endif
