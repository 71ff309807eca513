/* SPDX-License-Identifier: MIT */
/*
 * Differences between CPUs, apart from the files with a CPU in their names: sizes of
 * sites and jumps, registers, and a few instructions.
 */
#ifndef RUNTIME_AGENT_INPROC_CPU_H
#define RUNTIME_AGENT_INPROC_CPU_H

#include <stdbool.h>
#include <stdint.h>

#if defined __x86_64__

#define SITE_AT 1   /* offset in a site of the agent's bytes; the byte before is the kernel's */
#define SITE_NOP 10 /* the agent's bytes */
#define SITE_NOP_BYTES                                      \
	{                                                   \
		0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0 \
	}
#define JUMP 5
#define SITE_STEPS 3                           /* of patching: patch-CPU.c */
#define SITE_REACH ((1ull << 31) - (1u << 20)) /* of a jump */
#define ADDRESS_END (1ull << 47)               /* of the addresses of a process */
#define SEGMENT_GAP 0u                         /* between the segments of an image, at most */
#define REGION_SIZE (64u << 20)                /* of trampolines; memory is allocated as it is used */
#define REGISTERS 17                           /* that fetch programs can name */
#define RED_ZONE 128                           /* bytes below the stack pointer that are the program's */
#define REGISTER_SP 4                          /* as fetch programs number them */
#define REGISTER_PC 16
/*
 * The least distance from an entry's frame pointer to the program's stack pointer: what
 * the entry, the trampoline and the red zone take.
 */
#define FRAME_TO_STACK (16u + 56 + RED_ZONE)
#define is_frame_register(reg)                 \
	((reg) == REGISTER_SP || (reg) == 5 || \
	 (reg) == REGISTER_PC)        /* rsp, rbp, rip: operands in the frame or the image */
#define PTHREAD_AT(self, size) (self) /* the C library's struct pthread */

/* Makes a system call. Returns its result or a negative errno. */
static inline long cpu_call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	return result;
}

static inline uint64_t cpu_ticks(void)
{
	return __builtin_ia32_rdtsc();
}

/*
 * Compares and exchanges. Atomic with respect to the thread's signal handlers, not to
 * other threads. Returns whether it exchanged.
 */
static inline bool cpu_exchange(uint64_t *at, uint64_t was, uint64_t will)
{
	uint64_t found = was;

	__asm__ volatile("cmpxchgq %2, %1" : "+a"(found), "+m"(*at) : "r"(will) : "memory", "cc");
	return found == was;
}

/* Adds atomically with respect to the thread's signal handlers. */
static inline void cpu_add(uint64_t *at, uint64_t value)
{
	__asm__ volatile("addq %1, %0" : "+m"(*at) : "er"(value) : "cc");
}

/* Sets *cpu to the number of the CPU. Linux keeps it in the limit of this segment. Returns whether it does. */
static inline bool cpu_number(unsigned *cpu)
{
	unsigned limit = 0;
	bool valid;

	__asm__("lsl %2, %0" : "+r"(limit), "=@ccz"(valid) : "r"(0x7b));
	*cpu = limit & 0xfff;
	return valid;
}

static inline void cpu_code_written(const void *at, uint64_t size)
{
	(void)at, (void)size;
}

#elif defined __aarch64__

#define SITE_AT 0
#define SITE_NOP 4
#define SITE_NOP_BYTES                 \
	{                              \
		0x1f, 0x20, 0x03, 0xd5 \
	}
#define JUMP 4
#define SITE_STEPS 1
#define SITE_REACH ((128ull << 20) - (1u << 20))
#define ADDRESS_END (1ull << 48)
#define SEGMENT_GAP 0x20000u /* images are linked for pages of 64 KiB */
#define REGION_SIZE (16u << 20)
#define REGISTERS 33
#define RED_ZONE 0
#define REGISTER_SP 31
#define REGISTER_PC 32
#define FRAME_TO_STACK (160u + 80)
#define is_frame_register(reg) ((reg) == REGISTER_SP || (reg) == 29 || (reg) == REGISTER_PC) /* sp, x29, pc */
#define PTHREAD_AT(self, size) ((self) - (size))

static inline long cpu_call(long number, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
	return x0;
}

static inline uint64_t cpu_ticks(void)
{
	uint64_t now;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(now));
	return now;
}

static inline bool cpu_exchange(uint64_t *at, uint64_t was, uint64_t will)
{
	return __atomic_compare_exchange_n(at, &was, will, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static inline void cpu_add(uint64_t *at, uint64_t value)
{
	__atomic_fetch_add(at, value, __ATOMIC_RELAXED);
}

/* No register has the number. */
static inline bool cpu_number(unsigned *cpu)
{
	(void)cpu;
	return false;
}

/* Instruction caches do not see stores. */
static inline void cpu_code_written(const void *at, uint64_t size)
{
	__builtin___clear_cache((char *)at, (char *)at + size);
}

#else
#error "the agent does not support this CPU"
#endif

#endif
