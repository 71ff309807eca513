/* SPDX-License-Identifier: MIT */
#include "cmd/latency.h"

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLICE_NS 500000

/* struct sched_attr of the kernel, as of its first version. The C library declares it since glibc 2.41. */
struct latency_attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

void latency_request_low(void)
{
	struct latency_attr attr = { 0 };

	/* Keeps the policy and the nice value. Only the fair policies have slices; others use the runtime differently. */
	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) || attr.policy != SCHED_OTHER)
		return;
	attr.runtime = SLICE_NS;
	syscall(SYS_sched_setattr, 0, &attr, 0);
}
