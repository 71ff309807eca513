/* SPDX-License-Identifier: MIT */
/*
 * The way into the agent's thread: thread.c. The program's threads call the stub as a
 * C function; so does a controller that holds one of them (runtime/agent/wake.c).
 */
#include <asm/unistd.h>

#include "runtime/agent/inproc/thread.h"

/* clang-format off */
__asm__(".pushsection .text\n"
        ".p2align 6\n"
        ".globl agent_stub\n.hidden agent_stub\n.type agent_stub, @function\n"
        "agent_stub:\n"
        ".cfi_startproc\n"
        "endbr64\n"
        "mov agent_door+" TEXT(DOOR_STACK) "(%rip), %rsi\n"
        "test %rsi, %rsi\n"
        "jz 1f\n"
        "xor %eax, %eax\n"
        "mov $-1, %ecx\n"
        "lock cmpxchg %ecx, agent_door+" TEXT(DOOR_TID) "(%rip)\n"
        "jne 1f\n"
        "mov $" TEXT(THREAD_FLAGS) ", %edi\n"
        "xor %edx, %edx\n"
        "lea agent_door+" TEXT(DOOR_TID) "(%rip), %r10\n"
        "mov agent_door+" TEXT(DOOR_TLS) "(%rip), %r8\n"
        "mov $" TEXT(__NR_clone) ", %eax\n"
        "syscall\n"
        "test %rax, %rax\n"
        "jz 2f\n"
        "jns 1f\n"
        "mov %eax, agent_door+" TEXT(DOOR_ERROR) "(%rip)\n"
        "movl $0, agent_door+" TEXT(DOOR_TID) "(%rip)\n"
        "1: ret\n"
        "2: .cfi_undefined rip\n"
        "xor %ebp, %ebp\n"
        "call agent_thread_main\n"
        "ud2\n"
        ".cfi_endproc\n"
        ".size agent_stub, . - agent_stub\n"
        ".globl agent_restorer\n.hidden agent_restorer\n"
        "agent_restorer:\n"
        "mov $" TEXT(__NR_rt_sigreturn) ", %eax\n"
        "syscall\n"
        "ud2\n"
        ".globl agent_stub_end\n.hidden agent_stub_end\n"
        "agent_stub_end:\n"
        ".popsection");
