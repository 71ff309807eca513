/* SPDX-License-Identifier: MIT */
/*
 * The few functions of the C library that the agent stands in front of. Each does
 * what it always did; errno is the C library's, which the agent does not touch.
 *
 * dlopen() finds libraries by who called it: by the RPATH and RUNPATH of the
 * caller's file, and $ORIGIN is the caller's folder. Where that could matter we
 * must not stand in between, so the call is passed on by a jump, with the caller's
 * return address, and the new library is found a little later.
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
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"

#define EXPORT __attribute__((visibility("default"), used))

__attribute__((visibility("hidden"))) void *interpose_real_syscall;

#define WRAPPED(F)                                                                                           \
	F(dlopen)                                                                                            \
	F(dlclose)                                                                                           \
	F(unshare)                                                                                           \
	F(setns) F(setuid) F(setgid) F(seteuid) F(setegid) F(setreuid) F(setregid) F(setresuid) F(setresgid) \
		F(setgroups) F(initgroups) F(setfsuid) F(setfsgid) F(capset) F(prctl) F(clone) F(mlockall)

#define KNOWN(name) static void *known_##name;
WRAPPED(KNOWN)

static void *real(void **known, const char *name)
{
	void *function = __atomic_load_n(known, __ATOMIC_RELAXED);

	if (!function) {
		function = dlsym(RTLD_NEXT, name);
		__atomic_store_n(known, function, __ATOMIC_RELAXED);
	}
	return function;
}

/* All at the start, because dlsym(3) takes away what the program has not yet asked dlerror(3) for. */
void wrap_begin(void)
{
#define FIND(name) real(&known_##name, #name);
	WRAPPED(FIND)
	real(&interpose_real_syscall, "syscall");
}

static bool has_tag(const struct link_map *map, ElfW(Sxword) one, ElfW(Sxword) other)
{
	for (const ElfW(Dyn) *d = map ? map->l_ld : NULL; d && d->d_tag != DT_NULL; d++)
		if (d->d_tag == one || d->d_tag == other)
			return true;
	return false;
}

static bool caller_matters(const char *file, const void *caller)
{
	struct link_map *map = NULL;
	Dl_info info;

	if (!file || strchr(file, '$'))
		return true;
	if (!dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP) || !map)
		return true;
	if (has_tag(map, DT_RPATH, strchr(file, '/') ? DT_RPATH : DT_RUNPATH))
		return true;
	return has_tag(_r_debug.r_map, DT_RPATH, DT_RPATH);
}

/* We are called: perhaps by one that stands before us. */
static void is_heard(void)
{
	if (__atomic_load_n(&agent.behind, __ATOMIC_RELAXED))
		__atomic_store_n(&agent.behind, false, __ATOMIC_RELAXED);
}

struct decision {
	void *result;
	void *jump; /* to this instead of returning the result */
};

__attribute__((used)) struct decision interpose_dlopen(const char *file, int mode, const void *caller);

struct decision interpose_dlopen(const char *file, int mode, const void *caller)
{
	void *(*next)(const char *, int) = real(&known_dlopen, "dlopen");
	struct decision decision = { NULL, next };

	is_heard();
	if (!agent_waits())
		return decision;
	if (caller_matters(file, caller)) {
		agent_look_soon(false);
		return decision;
	}
	decision.jump = NULL;
	decision.result = next(file, mode);
	if (decision.result && !__atomic_load_n(&agent.unloading, __ATOMIC_RELAXED))
		agent_look_soon(true);
	return decision;
}

/*
 * The agent writes to no library while one is being unloaded. What runs meanwhile
 * (destructors, fork handlers that call us) finds no lock held.
 */
EXPORT int dlclose(void *handle)
{
	int (*next)(void *) = real(&known_dlclose, "dlclose");
	bool locked;
	int result;

	is_heard();
	if (!agent_awake())
		return next(handle);
	locked = lock_try(&agent.lock, 2000);
	__atomic_add_fetch(&agent.unloading, 1, __ATOMIC_ACQ_REL);
	if (locked)
		lock_put(&agent.lock);
	result = next(handle);
	/* What was armed may wait again. */
	if (__atomic_load_n(&agent.narmed, __ATOMIC_RELAXED))
		__atomic_store_n(&agent.npending, 1, __ATOMIC_RELAXED);
	if (!__atomic_sub_fetch(&agent.unloading, 1, __ATOMIC_ACQ_REL))
		word_wake(&agent.unloading);
	return result;
}

extern int own_dlclose(void *handle) __attribute__((alias("dlclose"), visibility("hidden"), nothrow, nonnull(1)));

bool wrap_hears(void)
{
	return dlsym(RTLD_DEFAULT, "dlclose") == (void *)own_dlclose;
}

/* ---- what the agent's thread must not be there for ---- */

EXPORT int unshare(int flags)
{
	int (*next)(int) = real(&known_unshare, "unshare");
	bool aside = flags & CLONE_NEWUSER && agent_step_aside(true);
	int result = next(flags);

	if (aside)
		agent_step_back();
	return result;
}

EXPORT int setns(int fd, int kind)
{
	int (*next)(int, int) = real(&known_setns, "setns");
	bool aside = agent_step_aside(true);
	int result = next(fd, kind);

	if (aside)
		agent_step_back();
	return result;
}

/* The C library changes its own threads; ours would keep the rights that the program gives up. */
#define RIGHTS(name, parameters, arguments)                         \
	EXPORT int name parameters                                  \
	{                                                           \
		int(*next) parameters = real(&known_##name, #name); \
		int result = next arguments;                        \
                                                                    \
		if (result >= 0)                                    \
			agent_follow();                             \
		return result;                                      \
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
	int (*next)(int, unsigned long, unsigned long, unsigned long, unsigned long) = real(&known_prctl, "prctl");
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
	aside = calls_hear(SYS_prctl, option, a, b);
	result = next(option, a, b, c, d);
	if (aside && !result)
		agent_stay_aside();
	else if (aside)
		agent_step_back();
	if (result >= 0 && (option == PR_SET_NO_NEW_PRIVS || option == PR_CAPBSET_DROP || option == PR_CAP_AMBIENT ||
	                    option == PR_SET_SECUREBITS))
		agent_follow_prctl(option, a, b, c, d);
	return result;
}

/* Who shares our memory without being a thread, or waited for, is not counted by the C library. */
EXPORT int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	int (*next)(int (*)(void *), void *, int, void *, ...) = real(&known_clone, "clone");
	va_list rest;
	void *a, *b, *c;

	va_start(rest, arg);
	a = va_arg(rest, void *);
	b = va_arg(rest, void *);
	c = va_arg(rest, void *);
	va_end(rest);
	if (flags & CLONE_VM && !(flags & CLONE_VFORK))
		__atomic_store_n(&agent.shares_memory, 1, __ATOMIC_SEQ_CST);
	/* Two tasks with one thread-local block cannot both write one ring: they count in the shared cells. */
	if (flags & CLONE_VM && !(flags & (CLONE_VFORK | CLONE_SETTLS))) {
		agent_thread.muted |= MUTED_SHARED;
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		rings_at_exit(NULL);
	}
	return next(fn, stack, flags, arg, a, b, c);
}

/*
 * MCL_CURRENT brings all that is mapped into memory, and the agent's mappings are large
 * and mostly empty: what is unused of them is hidden meanwhile.
 */
EXPORT int mlockall(int flags)
{
	int (*next)(int) = real(&known_mlockall, "mlockall");
	int result;

	if (!(flags & MCL_CURRENT) || !agent_awake() || !lock_try(&agent.lock, 1000))
		return next(flags);
	__atomic_store_n(&agent.hidden, 1, __ATOMIC_SEQ_CST);
	hits_wait();
	shms_hide(true);
	regions_hide(true);
	result = next(flags);
	shms_hide(false);
	regions_hide(false);
	__atomic_store_n(&agent.hidden, 0, __ATOMIC_SEQ_CST);
	lock_put(&agent.lock);
	return result;
}

/* ---- filters of system calls ---- */

__attribute__((used)) void interpose_syscall(long number, unsigned long a, unsigned long b, unsigned long c);

/*
 * syscall() is passed on by a jump, for it may be a call that returns on another stack;
 * this is called before it at first, and for the calls that calls.c hears of.
 */
void interpose_syscall(long number, unsigned long a, unsigned long b, unsigned long c)
{
	real(&interpose_real_syscall, "syscall");
	if (calls_hear(number, a, b, c))
		agent_stay_aside();
}
