/* SPDX-License-Identifier: MIT */
/* Error messages for the reasons that agents give. */
#include <elf.h>
#include <stdio.h>

#include "runtime/agent/client.h"
#include "runtime/cpu.h"
#include "sdt/operand.h"

/* Says which bytes are at the site. Returns a buffer of the calling thread. */
static const char *reason_bytes(const uint8_t found[10])
{
	static _Thread_local char text[160];
	const struct cpu_code *cpu = cpu_code(MACHINE_HERE);
	int n;

	/* What the kernel writes there for a uprobe at the nop: cpu-x86_64.c */
	if (found && cpu_code_x86_64.is_fast(found))
		return "another tool, or a session with --fast, has armed the site's nop by a uprobe; use -b kernel";
	if (found && MACHINE_HERE == EM_X86_64 && cpu_code_x86_64.is_uprobe(found))
		return "another tool, or a debugger, has a trap at the site's nop; use -b kernel";

	if (cpu->jump_at)
		n = snprintf(text, sizeof(text), "the site is not followed by the 10-byte nop%s",
		             found ? ", but by" : "");
	else
		n = snprintf(text, sizeof(text), "the site is not a nop%s%s", found ? ", but" : "",
		             found && cpu->is_breakpoint(found) ? " a breakpoint:" : "");
	for (size_t i = 0; i < (cpu->jump_at ? 10 : cpu->jump_size) && found; i++)
		n += snprintf(text + n, sizeof(text) - n, " %02x", found[i]);
	snprintf(text + n, sizeof(text) - n, "; use -b kernel");
	return text;
}

const char *agent_reason_text(uint32_t reason, const uint8_t found[10])
{
	switch (reason) {
	case AGENT_BYTES: return reason_bytes(found);
	case AGENT_BLOCK:
		return "the site is not aligned so that it can be patched while threads run it; use -b kernel";
	case AGENT_NOT_TEXT: return "the site is not in a private mapping of code";
	case AGENT_PROTECT:
		return "mprotect() of the code was refused: a policy such as SELinux's execmod forbids changing code";
	case AGENT_FAR: return "no room for trampolines within reach of a jump from the site";
	case AGENT_MEMORY: return "the agent is out of memory";
	case AGENT_SEMAPHORE:
		return "the semaphore is not in a private, writable mapping, or has its highest value already";
	case AGENT_MEMBARRIER: return "membarrier(SYNC_CORE) is missing, or a seccomp filter forbids it; use -b kernel";
	case AGENT_CPU: return "the agent needs a CPU with lahf in 64-bit mode";
	case AGENT_SLOTS_FULL: return "the session has more sites than the agent can take";
	case AGENT_SESSIONS_FULL: return "the agent cannot take another session";
	case AGENT_BUFFERS_FULL:
		return "the process keeps buffers of the sizes that ended sessions had, and none that is free suits; give "
		       "--buffer a size that an ended session had, or none";
	case AGENT_CONSUMERS_FULL: return "too many sessions have armed this site";
	case AGENT_PROGRAM: return "the agent cannot compile the program that reads the arguments";
	case AGENT_FILE: return "the session's file is damaged or of another version";
	case AGENT_DIRECTORY: return "the agent cannot read the session's directory";
	case AGENT_BUSY: return "the process has been unloading a library for too long";
	case AGENT_FORKED:
		return "the process was forked from one with an agent by the system call, not by the C library; use -b kernel";
	case AGENT_HALF_FORKED:
		return "the process was forked while the agent of its parent was changing what is armed; use -b kernel";
	case AGENT_READ_BACK: return "the jump was written, but reads back differently";
	case AGENT_LIMIT: return "a resource limit (file size, address space) is too small for the agent's buffers";
	case AGENT_MAPS: return "the agent cannot read /proc/self/maps";
	case AGENT_NOT_LOADED:
		return "the program mapped this code itself and may unmap it at any moment; the agent patches only what "
		       "the C library's loader mapped; use -b kernel";
	case AGENT_GONE:
		return "the code was unmapped, or its protection changed, while the agent was about to write to it";
	case AGENT_ROBUST_LIST:
		return "set_robust_list() or process_vm_writev(), by which the agent writes to code, is missing or "
		       "forbidden; use -b kernel";
	case AGENT_TABLES_FULL:
		return "the session has no room for another table of aggregates of this size; use a smaller --agg-size, or "
		       "another session (-s)";
	case AGENT_CALLS:
		return "the filter reads memory that only a system call can read safely, and hits must not make system "
		       "calls: a thread has a seccomp filter, or the agent would not notice a new one; use -b kernel, or "
		       "--system-calls to allow them";
	default: return "the agent gives no reason";
	}
}
