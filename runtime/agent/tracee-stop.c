/* SPDX-License-Identifier: MIT */
/* Stops of a traced thread, and what /proc says about it. */
#include "runtime/agent/tracee-cpu.h"

#ifdef TRACEE_SUPPORTED

#include <errno.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"

#define RUN_NS 1000000ull /* a thread that runs this long (CPU time) is not about to sleep in a write */
#define RUN_CHECKS 100    /* times that the thread is looked at meanwhile */

int tracee_wait_stop(const struct tracee *t, uint64_t timeout_ns, int *status)
{
	uint64_t until = clock_ns() + timeout_ns;

	for (;;) {
		pid_t got = waitpid(t->tid, status, __WALL | WNOHANG);

		if (got < 0 && errno != EINTR)
			return -ESRCH;
		if (got == t->tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (clock_ns() > until)
			return -ETIMEDOUT;
		nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	}
}

bool tracee_is_event_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

bool tracee_is_syscall_stop(int status)
{
	return WSTOPSIG(status) == (SIGTRAP | 0x80);
}

static FILE *tracee_open_proc(const struct tracee *t, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", t->pid, t->tid, name);
	return fopen(path, "re");
}

struct tracee_status tracee_read_status(const struct tracee *t)
{
	struct tracee_status s = { 0 };
	char line[256];
	FILE *f = tracee_open_proc(t, "status");

	if (!f)
		return s;
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "State: %c", &s.state);
		sscanf(line, "SigPnd: %llx", &s.pending);
		sscanf(line, "ShdPnd: %llx", &s.shared);
		sscanf(line, "SigBlk: %llx", &s.blocked);
	}
	fclose(f);
	return s;
}

/* Whether a system call with these arguments returns a part of what was asked for when it is interrupted. */
static bool syscall_is_partial(long call, const unsigned long long a[6])
{
	static const short writes[] = {
		SYS_write,    SYS_writev,   SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_sendto,          SYS_sendmsg,
		SYS_sendmmsg, SYS_sendfile, SYS_splice,   SYS_tee,     SYS_vmsplice, SYS_copy_file_range,
	};

	for (size_t i = 0; i < sizeof(writes) / sizeof(*writes); i++)
		if (call == writes[i])
			return true;
	switch (call) {
	case SYS_recvfrom: return a[3] & MSG_WAITALL;
	case SYS_recvmsg: return a[2] & MSG_WAITALL;
	case SYS_recvmmsg: return a[3] & MSG_WAITALL || (a[2] > 1 && !(a[3] & MSG_WAITFORONE));
	default: return false;
	}
}

enum tracee_sleep {
	SLEEP_NONE, /* the thread runs, or /proc does not say */
	SLEEP_RESTARTS,
	SLEEP_CUT_SHORT,
};

/* Returns what a stop would do to the system call that the thread sleeps in. */
static enum tracee_sleep tracee_read_sleep(const struct tracee *t)
{
	unsigned long long a[6];
	FILE *f = tracee_open_proc(t, "syscall");
	long call;
	int n;

	if (!f)
		return SLEEP_NONE;
	n = fscanf(f, "%ld %llx %llx %llx %llx %llx %llx", &call, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5]);
	fclose(f);
	if (n != 7)
		return SLEEP_NONE;
	return syscall_is_partial(call, a) ? SLEEP_CUT_SHORT : SLEEP_RESTARTS;
}

/* Reads the CPU time of the thread in ns, as of its last tick or switch. Returns false if the kernel does not say. */
static bool tracee_read_cpu_time(const struct tracee *t, unsigned long long *ns)
{
	FILE *f = tracee_open_proc(t, "schedstat");
	bool known;

	if (!f)
		return false;
	known = fscanf(f, "%llu", ns) == 1;
	fclose(f);
	return known;
}

static int sleep_error(enum tracee_sleep sleep)
{
	return sleep == SLEEP_CUT_SHORT ? -EINPROGRESS : 0;
}

int tracee_check_sleep(const struct tracee *t)
{
	unsigned long long from, now;

	if (!tracee_read_cpu_time(t, &from))
		return sleep_error(tracee_read_sleep(t));
	for (unsigned i = 0; i < RUN_CHECKS; i++) {
		enum tracee_sleep sleep = tracee_read_sleep(t);

		if (sleep != SLEEP_NONE)
			return sleep_error(sleep);
		if (!tracee_read_cpu_time(t, &now) || now - from >= RUN_NS)
			return 0;
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	}
	return -EBUSY;
}

#endif
