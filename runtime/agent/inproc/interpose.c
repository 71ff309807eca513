/* SPDX-License-Identifier: MIT */
/*
 * The functions of the C library that the agent interposes. Each does what it always
 * did. errno is the C library's, which the agent does not touch.
 *
 * Loading. dlopen() searches for a library by its caller: by RPATH and RUNPATH of the caller's
 * file, in which $ORIGIN is the directory of that file. If that could matter, the agent
 * must not be the caller. Then interpose-CPU.c passes the call on by a jump, with the
 * caller's return address, and the agent finds the new library a little later.
 *
 * Unloading. The agent must not write to a library that is being unloaded:
 *
 * 1. dlclose() takes agent.lock, so that a change in flight ends first, counts itself in
 *    agent.unloading, and releases the lock. It waits for the lock for 2 s at most.
 * 2. A scan waits until agent.unloading is 0, for 1 s at most, and then does nothing
 *    (scan.c). No lock is held during the C library's dlclose(), because it runs code
 *    of the program (destructors, fork handlers) that may call the agent.
 * 3. After it, points that were armed may be pending, so the next dlopen() asks for a
 *    scan.
 * 4. That scan finds that the site is not mapped any more, and disarms it without
 *    writing (arm.c). Its counts remain as long as its attachment.
 */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <grp.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/calls.h"
#include "runtime/agent/inproc/fit.h"
#include "runtime/agent/inproc/flights.h"
#include "runtime/agent/inproc/interpose.h"
#include "runtime/agent/inproc/lifecycle.h"
#include "runtime/agent/inproc/regions.h"
#include "runtime/agent/inproc/seccomp.h"

#define EXPORT __attribute__((visibility("default"), used))

/* ---- the C library's functions ---- */

HIDDEN void *interpose_real_syscall;

/* clang-format off */
#define INTERPOSED(F)                                                                                     \
	F(dlopen) F(dlclose) F(unshare) F(setns) F(setuid) F(setgid) F(seteuid) F(setegid) F(setreuid)    \
	F(setregid) F(setresuid) F(setresgid) F(setgroups) F(initgroups) F(setfsuid) F(setfsgid) F(capset) \
	F(prctl) F(clone) F(mlockall) F(setrlimit) F(setrlimit64) F(prlimit) F(prlimit64)
/* clang-format on */

#define KNOWN(name) static void *known_##name;
INTERPOSED(KNOWN)

/* Returns the function that the agent interposes, and stores it in *known. */
static void *next_function(void **known, const char *name)
{
	void *function = __atomic_load_n(known, __ATOMIC_RELAXED);

	if (!function) {
		function = dlsym(RTLD_NEXT, name);
		__atomic_store_n(known, function, __ATOMIC_RELAXED);
	}
	return function;
}

/* Finds all at the start, because dlsym(3) clears the message that the program may still ask dlerror(3) for. */
void interpose_begin(void)
{
#define FIND(name) next_function(&known_##name, #name);
	INTERPOSED(FIND)
	next_function(&interpose_real_syscall, "syscall");
}

/* ---- libraries ---- */

static bool link_map_has_tag(const struct link_map *map, ElfW(Sxword) one, ElfW(Sxword) other)
{
	for (const ElfW(Dyn) *d = map ? map->l_ld : NULL; d && d->d_tag != DT_NULL; d++)
		if (d->d_tag == one || d->d_tag == other)
			return true;
	return false;
}

/* Returns whether the result of dlopen() may depend on its caller. */
static bool caller_matters(const char *file, const void *caller)
{
	struct link_map *map = NULL;
	Dl_info info;

	if (!file || strchr(file, '$'))
		return true;
	if (!dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP) || !map)
		return true;
	if (link_map_has_tag(map, DT_RPATH, strchr(file, '/') ? DT_RPATH : DT_RUNPATH))
		return true;
	return link_map_has_tag(_r_debug.r_map, DT_RPATH, DT_RPATH);
}

/* A wrapper ran, so interposition works, possibly through another preloaded library. */
static void mark_interposed(void)
{
	if (__atomic_load_n(&agent.not_interposed, __ATOMIC_RELAXED))
		__atomic_store_n(&agent.not_interposed, false, __ATOMIC_RELAXED);
}

struct decision {
	void *result;
	void *jump; /* NULL: return the result; else jump to this function */
};

__attribute__((used)) struct decision interpose_dlopen(const char *file, int mode, const void *caller);

struct decision interpose_dlopen(const char *file, int mode, const void *caller)
{
	void *(*next)(const char *, int) = next_function(&known_dlopen, "dlopen");
	struct decision decision = { NULL, next };

	mark_interposed();
	if (!agent_awaits_library())
		return decision;
	if (caller_matters(file, caller)) {
		agent_request_rescan(false);
		return decision;
	}
	decision.jump = NULL;
	decision.result = next(file, mode);
	if (decision.result && !__atomic_load_n(&agent.unloading, __ATOMIC_RELAXED))
		agent_request_rescan(true);
	return decision;
}

EXPORT int dlclose(void *handle)
{
	int (*next)(void *) = next_function(&known_dlclose, "dlclose");
	bool locked;
	int result;

	mark_interposed();
	if (!agent_is_running())
		return next(handle);
	locked = lock_try(&agent.lock, 2000);
	__atomic_add_fetch(&agent.unloading, 1, __ATOMIC_ACQ_REL);
	if (locked)
		lock_put(&agent.lock);
	result = next(handle);
	/* Points that were armed in the library may wait for it again. */
	if (__atomic_load_n(&agent.narmed, __ATOMIC_RELAXED))
		__atomic_store_n(&agent.npending, 1, __ATOMIC_RELAXED);
	if (!__atomic_sub_fetch(&agent.unloading, 1, __ATOMIC_ACQ_REL))
		word_wake(&agent.unloading);
	return result;
}

extern int own_dlclose(void *handle) __attribute__((alias("dlclose"), visibility("hidden"), nothrow, nonnull(1)));

bool interpose_works(void)
{
	return dlsym(RTLD_DEFAULT, "dlclose") == (void *)own_dlclose;
}

/* ---- calls that need a process of one thread ---- */

EXPORT int unshare(int flags)
{
	int (*next)(int) = next_function(&known_unshare, "unshare");
	bool aside = flags & CLONE_NEWUSER && agent_stop(true);
	int result = next(flags);

	if (aside)
		agent_restart();
	return result;
}

EXPORT int setns(int fd, int kind)
{
	int (*next)(int, int) = next_function(&known_setns, "setns");
	bool aside = agent_stop(true);
	int result = next(fd, kind);

	if (aside)
		agent_restart();
	return result;
}

/* ---- rights ---- */

int capset(void *header, const void *data); /* no header of the C library declares it */

/* rights.h says why the agent's thread has to follow. */
#define RIGHTS(name, parameters, arguments)                                  \
	EXPORT int name parameters                                           \
	{                                                                    \
		int(*next) parameters = next_function(&known_##name, #name); \
		int result = next arguments;                                 \
                                                                             \
		if (result >= 0)                                             \
			agent_follow_rights();                               \
		return result;                                               \
	}

RIGHTS(setuid, (uid_t uid), (uid))
RIGHTS(setgid, (gid_t gid), (gid))
RIGHTS(seteuid, (uid_t uid), (uid))
RIGHTS(setegid, (gid_t gid), (gid))
RIGHTS(setreuid, (uid_t real_uid, uid_t uid), (real_uid, uid))
RIGHTS(setregid, (gid_t real_gid, gid_t gid), (real_gid, gid))
RIGHTS(setresuid, (uid_t real_uid, uid_t uid, uid_t saved), (real_uid, uid, saved))
RIGHTS(setresgid, (gid_t real_gid, gid_t gid, gid_t saved), (real_gid, gid, saved))
RIGHTS(setgroups, (size_t n, const gid_t *groups), (n, groups))
RIGHTS(initgroups, (const char *user, gid_t group), (user, group))
RIGHTS(setfsuid, (uid_t uid), (uid))
RIGHTS(setfsgid, (gid_t gid), (gid))
RIGHTS(capset, (void *header, const void *data), (header, data))

EXPORT int prctl(int option, ...)
{
	int (*next)(int, unsigned long, unsigned long, unsigned long, unsigned long) =
		next_function(&known_prctl, "prctl");
	unsigned long a, b, c, d;
	bool aside;
	va_list rest;
	int result;

	va_start(rest, option);
	a = va_arg(rest, unsigned long);
	b = va_arg(rest, unsigned long);
	c = va_arg(rest, unsigned long);
	d = va_arg(rest, unsigned long);
	va_end(rest);
	aside = seccomp_before_call(SYS_prctl, option, a, b);
	result = next(option, a, b, c, d);
	if (aside && !result)
		agent_stay_stopped();
	else if (aside)
		agent_restart();
	if (result >= 0 && (option == PR_SET_NO_NEW_PRIVS || option == PR_CAPBSET_DROP || option == PR_CAP_AMBIENT ||
	                    option == PR_SET_SECUREBITS))
		agent_follow_prctl(option, a, b, c, d);
	return result;
}

/* ---- clone ---- */

/* The C library does not count a task that shares the memory and is neither a thread nor waited for. */
EXPORT int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	int (*next)(int (*)(void *), void *, int, void *, ...) = next_function(&known_clone, "clone");
	va_list rest;
	void *a, *b, *c;

	va_start(rest, arg);
	a = va_arg(rest, void *);
	b = va_arg(rest, void *);
	c = va_arg(rest, void *);
	va_end(rest);
	if (flags & CLONE_VM && !(flags & CLONE_VFORK))
		__atomic_store_n(&agent.shares_memory, 1, __ATOMIC_SEQ_CST);
	/* Two tasks with one block of thread-local storage cannot both write to one ring. They count in shared cells. */
	if (flags & CLONE_VM && !(flags & (CLONE_VFORK | CLONE_SETTLS))) {
		agent_thread.muted |= MUTED_SHARED;
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		rings_release(NULL);
	}
	return next(fn, stack, flags, arg, a, b, c);
}

/* ---- mlockall ---- */

/*
 * MCL_CURRENT reads in all mappings, and the agent's are large and mostly empty.
 * Therefore their unused parts are inaccessible during the call.
 */
EXPORT int mlockall(int flags)
{
	int (*next)(int) = next_function(&known_mlockall, "mlockall");
	int result;

	if (!(flags & MCL_CURRENT) || !agent_is_running() || !lock_try(&agent.lock, 1000))
		return next(flags);
	__atomic_store_n(&agent.hidden, 1, __ATOMIC_SEQ_CST);
	flights_wait();
	shms_hide(true);
	regions_hide(true);
	result = next(flags);
	shms_hide(false);
	regions_hide(false);
	__atomic_store_n(&agent.hidden, 0, __ATOMIC_SEQ_CST);
	lock_put(&agent.lock);
	return result;
}

/* ---- limits ---- */

/* A program that lowers its limit of address space needs what is left of it, and the agent's regions are mostly empty. */
static void limit_changed(int resource, const void *limit, int result)
{
	if (result || resource != RLIMIT_AS || !limit || !agent_is_running() || !lock_try(&agent.lock, 1000))
		return;
	regions_fit();
	lock_put(&agent.lock);
}

#define LIMIT_SET(name, type)                                                                                \
	EXPORT int name(__rlimit_resource_t resource, const struct type *limit)                              \
	{                                                                                                    \
		int (*next)(__rlimit_resource_t, const struct type *) = next_function(&known_##name, #name); \
		int result = next(resource, limit);                                                          \
                                                                                                             \
		limit_changed(resource, limit, result);                                                      \
		return result;                                                                               \
	}

#define LIMIT_SWAP(name, type)                                                                               \
	EXPORT int name(pid_t pid, __rlimit_resource_t resource, const struct type *limit, struct type *old) \
	{                                                                                                    \
		int (*next)(pid_t, __rlimit_resource_t, const struct type *, struct type *) =                \
			next_function(&known_##name, #name);                                                 \
		int result = next(pid, resource, limit, old);                                                \
                                                                                                             \
		limit_changed(resource, limit, result);                                                      \
		return result;                                                                               \
	}

LIMIT_SET(setrlimit, rlimit)
LIMIT_SET(setrlimit64, rlimit64)
LIMIT_SWAP(prlimit, rlimit)
LIMIT_SWAP(prlimit64, rlimit64)

/* ---- filters of system calls ---- */

__attribute__((used)) void interpose_syscall(long number, unsigned long a, unsigned long b, unsigned long c);

/*
 * interpose-CPU.c calls this before prctl(2) and seccomp(2), and before the first
 * system call. It then passes the call on by a jump, because the call may return on
 * another stack.
 */
void interpose_syscall(long number, unsigned long a, unsigned long b, unsigned long c)
{
	next_function(&interpose_real_syscall, "syscall");
	if (seccomp_before_call(number, a, b, c))
		agent_stay_stopped();
}
