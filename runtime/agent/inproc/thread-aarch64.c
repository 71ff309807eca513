/* SPDX-License-Identifier: MIT */
/* The way into the agent's thread, as in thread-x86_64.c. */
#include "runtime/agent/inproc/thread.h"

__asm__(".pushsection .text\n"
        ".p2align 6\n"
        ".globl agent_stub\n.hidden agent_stub\n.type agent_stub, %function\n"
        "agent_stub:\n"
        ".cfi_startproc\n"
        "hint 34\n" /* bti c */
        "adrp x9, agent_door\n"
        "add x9, x9, :lo12:agent_door\n"
        "ldr x1, [x9, #" TEXT(
		DOOR_STACK) "]\n"
                            "cbz x1, 1f\n"
                            "add x4, x9, #" TEXT(
				    DOOR_TID) "\n"
                                              "mov w10, #-1\n"
                                              "3: ldaxr w11, [x4]\n"
                                              "cbnz w11, 4f\n"
                                              "stlxr w12, w10, [x4]\n"
                                              "cbnz w12, 3b\n"
                                              "ldr w0, 5f\n"
                                              "mov x2, #0\n"
                                              "ldr x3, [x9, #" TEXT(
						      DOOR_TLS) "]\n"
                                                                "mov x8, #220\n" /* clone */
                                                                "svc 0\n"
                                                                "cbz x0, 2f\n"
                                                                "tbz x0, #63, 1f\n"
                                                                "str w0, [x9, #" TEXT(
									DOOR_ERROR) "]\n"
                                                                                    "stlr wzr, [x4]\n"
                                                                                    "1: ret\n"
                                                                                    "4: clrex\n"
                                                                                    "ret\n"
                                                                                    "2: .cfi_undefined x30\n"
                                                                                    "mov x29, #0\n"
                                                                                    "mov x30, #0\n"
                                                                                    "bl agent_thread_main\n"
                                                                                    "brk #0\n"
                                                                                    ".cfi_endproc\n"
                                                                                    ".size agent_stub, . - agent_stub\n"
                                                                                    "5: .word " TEXT(
											    THREAD_FLAGS) "\n"
                                                                                                          ".globl agent_restorer\n.hidden agent_restorer\n"
                                                                                                          "agent_restorer:\n"
                                                                                                          "mov x8, #139\n" /* rt_sigreturn */
                                                                                                          "svc 0\n"
                                                                                                          "brk #0\n"
                                                                                                          ".globl agent_stub_end\n.hidden agent_stub_end\n"
                                                                                                          "agent_stub_end:\n"
                                                                                                          ".popsection");
