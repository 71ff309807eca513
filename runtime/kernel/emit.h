/* SPDX-License-Identifier: MIT */
/*
 * BPF programs for uprobes. One program serves any number of points: what it
 * needs to know of the point that was hit stands in the link's cookie.
 */
#ifndef RUNTIME_KERNEL_EMIT_H
#define RUNTIME_KERNEL_EMIT_H

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/fetch/program.h"
#include "runtime/function.h"

/*
 * cookie: point 24 bits, spec (index among the program's fetch programs) 16 bits,
 * pid 22 bits (0: any), generation 1 bit (flips each time the link is made anew).
 */
#define COOKIE_POINT_BITS 24
#define COOKIE_SPEC_BITS 16
#define COOKIE_PID_BITS 22

static inline uint64_t cookie_make(uint32_t point, uint32_t spec, uint32_t pid, unsigned generation)
{
	return point | (uint64_t)spec << COOKIE_POINT_BITS | (uint64_t)pid << (COOKIE_POINT_BITS + COOKIE_SPEC_BITS) |
	       (uint64_t)(generation & 1) << (COOKIE_POINT_BITS + COOKIE_SPEC_BITS + COOKIE_PID_BITS);
}

/* The counters of a point, in SHARDS copies (by CPU) that the reader adds up. */
struct kernel_counts {
	uint64_t hits, filtered, idle, recorded, lost;
	uint64_t other; /* of hits: of processes for which the map `processes` has no room */
	uint64_t off;   /* enum kernel_off, and why (KERNEL_OFF_WHY), in every copy */
};

/* A key of an attachment's map `processes`, where points are everybody's; the value is the number of hits. */
struct kernel_process {
	uint32_t point, pid;
};

#define KERNEL_PROCESSES_MAX 16384

enum kernel_off { KERNEL_ON, KERNEL_OFF, KERNEL_OVER_BUDGET };

/*
 * The value of kernel_counts.off for a point that was stopped: the budget, and what the session cost then. Both are
 * shares of one CPU in units of KERNEL_SHARE.
 */
#define KERNEL_SHARE 10000
#define KERNEL_SHARE_MAX ((1u << 24) - 1)

static inline uint64_t kernel_off_why(uint64_t limit, uint64_t share)
{
	return KERNEL_OVER_BUDGET | limit << 8 | share << 32;
}

/* The only element of a session's map `config`. */
struct kernel_config {
	uint64_t record_until;    /* CLOCK_MONOTONIC; 0: nobody reads; ~0: for ever */
	uint64_t next_attachment; /* number of the next attachment; commands only */
};

/* The only element of an attachment's map `switch`. */
struct kernel_switch {
	uint64_t overlap;     /* 0, or 1 + the generation of the links that take over */
	uint64_t unfinished;  /* points were switched off, and their links are not made anew yet; commands only */
	uint64_t holder;      /* its process id, where there is one; commands only */
	uint64_t asked, done; /* how often the holder was asked to make links anew, and has; commands only */
	uint64_t
		limit; /* the budget that a process is to watch (brake.c), in units of KERNEL_SHARE; 0: none; commands only */
	uint64_t unseen; /* programs may run without counting hits: processes that are not meant have traps, too */
};

/* A key of the session's map `mark`: point and generation, process and thread. */
#define KERNEL_MARK_SIZE 16

struct members;

struct emit_maps {
	int config, ring, counts, mark, overlap;
	int scratch;                   /* task storage of EMIT_SCRATCH_SIZE bytes */
	const struct members *members; /* who is meant beside the cookie's process; NULL: everybody */
	int processes;                 /* -1: hits are not told apart */
	int calls, frames;             /* of attachments that have calls; else -1 */
	uint32_t depth;                /* how many frames a thread has */
};

/* Of each point of an attachment that has calls, the map `calls`. */
struct kernel_calls {
	uint64_t owner;     /* of a SITE_LEAVE: the point where its calls begin */
	uint64_t maxactive; /* the others of a SITE_CALL */
	uint64_t active, missed, abandoned;
	uint64_t overhead; /* ns that the traps add to what a call seems to take; see overhead_call_ns() */
};

/* A call under way. Of a thread they are kept in task storage, the innermost last. */
struct kernel_frame {
	uint64_t sp;    /* at the function's first instruction, and where it is left */
	uint64_t time;  /* of the entry; once left, what it took */
	uint64_t spent; /* the thread's, at the entry */
	uint32_t point, reserved;
	uint64_t args[LEAVE_ENTRY_COUNT];
};

struct kernel_frames {
	uint64_t depth;
	uint64_t now;   /* while a call is being left */
	uint64_t spent; /* ns that the traps of calls that were left have taken, as far as they are known */
	struct kernel_frame frames[];
};

#define KERNEL_FRAMES_MAX 800 /* task storage holds 64 KiB at most */

#define EMIT_SCRATCH_SIZE 2304
#define EMIT_STACK_MAX 48 /* bytes of BPF stack in every program, see emitter.h */
/*
 * About as many as a program is to have. More would fit (conditional jumps reach
 * 32767 instructions), but the verifier's time grows faster than its programs.
 */
#define EMIT_INSNS_MAX 12000

struct emitted {
	struct bpf_insn *insns;
	size_t ninsns;
};

/* A rough upper bound of the instructions that a program costs within the whole. */
size_t emit_cost(const struct fetch_program *program);

/*
 * programs[i] is spec i. shards is a power of two. -E2BIG: too many for one program; -ENOMEM. *out->insns is the
 * caller's, to be freed by free(). All programs are of one role.
 */
int emit_program(const struct fetch_program *const *programs, size_t nprograms, const struct emit_maps *maps,
                 uint32_t attachment, unsigned shards, struct emitted *out);
/* For a tracepoint whose first argument is the current task: all calls that are under way in it are abandoned. */
int emit_abandon(const struct emit_maps *maps, struct emitted *out);

/* Checks that instructions use at most EMIT_STACK_MAX bytes of stack. Returns 0, or -EINVAL with an internal error. */
int emit_check_stack(const struct bpf_insn *insns, size_t n);

#endif
