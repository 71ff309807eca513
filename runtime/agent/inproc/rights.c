/* SPDX-License-Identifier: MIT */
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/proc.h"
#include "runtime/agent/inproc/rights.h"

#define GROUPS_MAX 65536
#define CAPS_VERSION 0x20080522u

struct caps_header {
	uint32_t version;
	int pid;
};

/* The rights of a thread, and the prctl(2) that it made. */
static struct thread_rights {
	long option, a, b, c, d; /* of prctl(2); option 0: none */
	uint32_t tid;
	uint32_t uid[3], gid[3], fsuid, fsgid;
	int ngroups;
	struct {
		uint32_t effective, permitted, inheritable;
	} caps[2];
	uint32_t groups[GROUPS_MAX];
} rights;

static uint32_t requested, followed; /* numbers of requests */

/* ---- a thread of the program ---- */

static void rights_of_caller(struct thread_rights *r)
{
	struct caps_header h = { CAPS_VERSION, 0 };

	r->tid = syscall(SYS_gettid);
	syscall(SYS_getresuid, &r->uid[0], &r->uid[1], &r->uid[2]);
	syscall(SYS_getresgid, &r->gid[0], &r->gid[1], &r->gid[2]);
	r->fsuid = syscall(SYS_setfsuid, -1);
	r->fsgid = syscall(SYS_setfsgid, -1);
	r->ngroups = syscall(SYS_getgroups, GROUPS_MAX, r->groups);
	syscall(SYS_capget, &h, r->caps);
}

uint32_t rights_request(long option, long a, long b, long c, long d)
{
	rights.option = option;
	rights.a = a;
	rights.b = b;
	rights.c = c;
	rights.d = d;
	rights_of_caller(&rights);
	return __atomic_add_fetch(&requested, 1, __ATOMIC_SEQ_CST);
}

bool rights_done(uint32_t request)
{
	return __atomic_load_n(&followed, __ATOMIC_ACQUIRE) == request;
}

void rights_wait(uint32_t request)
{
	word_wait(&followed, request - 1, 1);
}

void rights_forget(void)
{
	followed = requested;
}

/* ---- the agent's thread ---- */

/*
 * Takes groups, then users, then capabilities, because each needs rights that the next
 * may take away. rights_follow() checks the result.
 */
static void rights_take(const struct thread_rights *r)
{
	struct caps_header h = { CAPS_VERSION, 0 };

	if (r->option) {
		syscall(SYS_prctl, r->option, r->a, r->b, r->c, r->d);
		return;
	}
	syscall(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
	for (int again = 0; again < 2; again++) { /* the change of user may give rights back */
		if (r->ngroups >= 0)
			syscall(SYS_setgroups, r->ngroups, r->groups);
		syscall(SYS_setresgid, r->gid[0], r->gid[1], r->gid[2]);
		syscall(SYS_setresuid, r->uid[0], r->uid[1], r->uid[2]);
		syscall(SYS_setfsgid, r->fsgid);
		syscall(SYS_setfsuid, r->fsuid);
	}
	syscall(SYS_capset, &h, r->caps);
	syscall(SYS_prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0);
}

bool rights_follow(void)
{
	uint32_t wanted = __atomic_load_n(&requested, __ATOMIC_ACQUIRE);
	bool same;

	if (wanted == followed)
		return true;
	rights_take(&rights);
	same = rights_cover(rights.tid, agent.tid);
	__atomic_store_n(&followed, wanted, __ATOMIC_RELEASE);
	word_wake(&followed);
	return same;
}

bool rights_wait_request(unsigned ms)
{
	if (__atomic_load_n(&requested, __ATOMIC_ACQUIRE) != followed)
		return false;
	word_wait(&requested, followed, ms);
	return true;
}
