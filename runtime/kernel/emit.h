/* SPDX-License-Identifier: MIT */
/*
 * BPF programs for uprobes, and the maps that they share with commands. One program serves any number of points. The
 * link's cookie says which point was hit.
 */
#ifndef RUNTIME_KERNEL_EMIT_H
#define RUNTIME_KERNEL_EMIT_H

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/abi.h"
#include "runtime/fetch/program.h"
#include "runtime/function.h"

/* ---- cookies ---- */

/*
 * A cookie has four fields: the point (24 bits), the spec, which is an index among the program's fetch programs (16
 * bits), the pid or 0 for any process (22 bits), and the generation of the link (1 bit; see handover.c).
 */
#define COOKIE_POINT_BITS 24
#define COOKIE_SPEC_BITS 16
#define COOKIE_PID_BITS 22

static inline uint64_t cookie_make(uint32_t point, uint32_t spec, uint32_t pid, unsigned generation)
{
	return point | (uint64_t)spec << COOKIE_POINT_BITS | (uint64_t)pid << (COOKIE_POINT_BITS + COOKIE_SPEC_BITS) |
	       (uint64_t)(generation & 1) << (COOKIE_POINT_BITS + COOKIE_SPEC_BITS + COOKIE_PID_BITS);
}

/* ---- maps of a session ---- */

/* The only element of the map `config`. */
struct kernel_config {
	uint64_t record_until;    /* CLOCK_MONOTONIC; 0: no reader; ~0: forever */
	uint64_t next_attachment; /* number of the next attachment; only commands use it */
	uint64_t pid_namespace;   /* namespace.h: the inode number, 0 for the initial one; only commands use it */
};

/* The size of a key of the handover map: point and generation, process and thread. Its pin is called `mark`. */
#define KERNEL_HANDOVER_KEY_SIZE 16

/* ---- maps of an attachment ---- */

/* The counters of a point. There are several copies (shards) per point, for different CPUs; readers add them up. */
struct kernel_counts {
	uint64_t hits, filtered, idle, recorded, lost;
	uint64_t other; /* hits of processes for which the map `processes` had no room */
	uint64_t off;   /* enum kernel_off, and the reason (kernel_off_why()), the same in every shard */
	uint64_t
		group; /* of the manifest: 1 + the group of the point's cells, 0: no aggregate; the same in every shard */
};

/*
 * The map `samples` of an attachment that samples has an element for each of the counters. They are apart from the counters,
 * so that the counters of other attachments keep their size of a cache line.
 */
struct kernel_sample {
	uint64_t unsampled;
	uint64_t passed;     /* hits that passed the predicate */
	uint64_t next;       /* of a bucket: see rate_interval() */
	uint32_t bucket;     /* the element whose `next` the point's probe uses */
	uint32_t padding[9]; /* to a cache line */
};

enum kernel_off { KERNEL_ON, KERNEL_OFF, KERNEL_OVER_BUDGET };

/* Shares of one CPU are stored in this unit. */
#define KERNEL_SHARE 10000
#define KERNEL_SHARE_MAX ((1u << 24) - 1)

/* The value of kernel_counts.off of a point over budget: the budget, and the share that the session took. */
static inline uint64_t kernel_off_why(uint64_t limit, uint64_t share)
{
	return KERNEL_OVER_BUDGET | limit << 8 | share << 32;
}

/*
 * Aggregates (runtime/aggregate.h): the hash map `cells` has a struct agg_cell for each struct agg_key, which is padded
 * with zeroes to the size of the longest one. The array map `misfits` has AGG_COLUMNS_MAX elements for each group:
 */
struct kernel_misfit {
	struct agg_misfit counts;
	uint64_t full; /* 1: the map `cells` has no room, and will have none, because nothing removes cells */
};

/* A key of the map `processes` of points for every process. The value is the number of hits. */
struct kernel_process {
	uint32_t point, pid;
};

#define KERNEL_PROCESSES_MAX 16384

/* The only element of the control map, whose pin is called `switch-S`. Programs read handover only. */
struct kernel_control {
	uint64_t handover;    /* 0, or 1 + the generation of the links that take over */
	uint64_t unfinished;  /* 1: points were switched off, and their links were not replaced yet */
	uint64_t owner;       /* pid of the owner process; 0: none */
	uint64_t asked, done; /* how often the owner was asked to renew links, and how often it has done so */
	uint64_t limit;       /* budget for the watcher or the owner, in units of KERNEL_SHARE; 0: none */
	uint64_t unseen;      /* nonzero: processes out of scope may hit the traps; these hits are not counted */
	uint64_t flight;      /* the turn of the current part of the flight recorder (emit-flight.c) */
	uint64_t flight_key;  /* random: marks of its records */
	uint64_t flight_each; /* arm_options.flight; only commands use it */
};

/*
 * A flight recorder is an array map of parts, which are filled in turn. Turn N fills part N % parts. A record that begins
 * before KERNEL_FLIGHT_PART may end after it. The state has
 *
 *     32 bits   the offset of the next record
 *     16 bits   how many programs write to the part now
 *     16 bits   the low bits of the turn
 *
 * A record is a mark and a struct record_thread with its struct record. The mark is the state when the record was
 * reserved, without the number of writers, xor flight_key. It is written last.
 */
struct kernel_flight_part {
	uint64_t state, reserved;
	unsigned char records[];
};

#define KERNEL_FLIGHT_PART 65536u
#define KERNEL_FLIGHT_WRITER (1ull << 32)
#define KERNEL_FLIGHT_WRITERS (0xffffull << 32)
#define KERNEL_FLIGHT_TURN_SHIFT 48

/* Returns the size of a part for records that are built in this much scratch memory. */
static inline uint32_t kernel_flight_part_size(size_t scratch_size)
{
	return (uint32_t)(sizeof(struct kernel_flight_part) + KERNEL_FLIGHT_PART + 8 +
	                  ((scratch_size + 7) & ~(size_t)7));
}

/* An element of the map `calls`, for each point of an attachment with calls. */
struct kernel_calls {
	uint64_t owner; /* the first SITE_CALL point of those at which its calls begin. It has the following: */
	uint64_t maxactive;
	uint64_t active, missed,
		abandoned; /* of a SITE_LEAVE, missed is the number of ends whose begin was not found */
	uint64_t overhead; /* ns that the traps add to the measured duration: overhead_call_ns() */
};

/* A call in flight. A thread's frames are in its task storage, the innermost frame last. */
struct kernel_frame {
	uint64_t sp;    /* the stack pointer at the function's first instruction, and again where it is left */
	uint64_t time;  /* of the entry; the duration when the call ends */
	uint64_t spent; /* kernel_frames.spent at the entry */
	uint32_t point; /* at which such calls are counted: kernel_calls.owner */
	uint32_t what;  /* the point of the begin, KERNEL_FRAME_*, and from KERNEL_FRAME_FAULTS on a bit for each
	                   argument that could not be read */
	uint64_t args[ABI_ARGS_HERE];
};

#define KERNEL_FRAME_MISSED \
	(1 << 24)                    /* the call was counted as missed; the frame only keeps its end from other calls */
#define KERNEL_FRAME_EXACT (1 << 25) /* emit-returns.c: no other frame has its stack pointer */
#define KERNEL_FRAME_FAULTS 26

struct kernel_frames {
	uint64_t depth;
	uint64_t now;   /* the time of the end, while a call ends */
	uint64_t spent; /* ns that the traps of finished calls took, as far as they are known */
	uint64_t base;  /* MATCH_THREAD: the index of the oldest frame */
	uint64_t full,
		full_sp; /* MATCH_FRAME: calls that found no room and have not ended, and the first one's stack */
	struct kernel_frame frames[];
};

/* A key of the map `starts` of calls with a key. The value is a struct kernel_frame whose sp is the key. */
struct kernel_start {
	uint64_t key, pid;
};

/* Calls in flight if pp_request_maxactive() was not called: of a function, with a key, and of a thread. */
#define KERNEL_CALLS_DEFAULT 256
#define KERNEL_STARTS_DEFAULT 16384
/*
 * This many frames fit in 8 KiB. A hit that needs more than 16 KiB makes the kernel look for 8 contiguous pages. If
 * memory is fragmented, the kernel kills a process to get them.
 */
#define KERNEL_FRAMES_DEFAULT 100
#define KERNEL_FRAMES_MAX 800 /* task storage has at most 64 KiB */

/* ---- programs ---- */

struct kernel_namespace;
struct kernel_scope;

/* Byte offsets of task_struct.mm and mm_struct.arg_start, -1 if the kernel's BTF does not describe them. */
struct kernel_stack_offsets {
	int mm, arg_start;
};

/* File descriptors of the maps that a program uses. */
struct emit_maps {
	int config, ring, counts, handover, control;
	int scratch;           /* task storage of at least emit_scratch_size() bytes */
	int processes;         /* -1: hits are not counted by process */
	int calls, frames;     /* -1: the attachment has no calls */
	int starts;            /* a hash of struct kernel_start and frames; -1: no call has a key */
	int cells, misfits;    /* -1: the attachment has no aggregates */
	int samples;           /* -1: the attachment does not sample */
	int constants;         /* an array map whose only element is struct emit_specs.constants, if there are any */
	int flight;            /* the flight recorder */
	uint32_t flight_parts; /* the number of its parts; 0: records go to the ring */
	uint32_t key_size;     /* of cells */
	uint32_t depth;        /* frames of a thread */
	const struct kernel_stack_offsets
		*stack;                    /* of the kernel's structures, for stacks in keys; NULL: there are none */
	const struct kernel_namespace *ns; /* of process ids; NULL: the initial one */
	const struct kernel_scope *scope;  /* processes in scope, in addition to the cookie's; NULL: all */
};

#define EMIT_SCRATCH_SIZE 2688 /* enough for strings of the default length */
#define EMIT_STACK_MAX 48      /* bytes of BPF stack in every program: see emitter.h */
/*
 * The maximum size that callers plan for a program. Larger programs work (conditional jumps reach 32767
 * instructions), but the verifier's time grows faster than the size.
 */
#define EMIT_INSNS_MAX 12000

struct emitted {
	struct bpf_insn *insns;
	size_t ninsns;
};

/* Fetch programs of equal shape, which share their code. */
struct emit_group {
	size_t from; /* the first one */
	int16_t *
		columns; /* of each step: the column of its entry in the table; -1: it has none. NULL: no step has one */
	uint32_t registers; /* bit i: the code copies word i of struct pt_regs, because the table refers to it */
};

/* The largest number of instructions of a group besides those of its fetch program. */
#define EMIT_GROUP_SIZE 64

/* Orders fetch programs by shape. Returns 0 if they can be in one group. */
int emit_specs_compare(const struct fetch_program *a, const struct fetch_program *b);

/*
 * The fetch programs (specs) of a BPF program, sorted by shape. A table has the constants and registers in which the programs of a
 * group differ, with a row for each spec.
 */
struct emit_specs {
	const struct fetch_program *const *programs;
	size_t nprograms;
	struct emit_group *groups;
	size_t ngroups;
	int64_t *constants;
	size_t nrows, ncolumns; /* nrows is a power of two. ncolumns is 0 if each group has one program */
};

/* Finds the groups. Returns 0 or -ENOMEM. emit_specs_close() releases them. */
int emit_specs_open(struct emit_specs *specs, const struct fetch_program *const *programs, size_t nprograms);
void emit_specs_close(struct emit_specs *specs);

/* Returns a rough upper bound of the instructions that a fetch program takes within a BPF program. */
size_t emit_size_bound(const struct fetch_program *program);

/* Returns how many bytes of task storage the fetch programs need: EMIT_SCRATCH_SIZE or more. */
size_t emit_scratch_size(const struct fetch_program *const *programs, size_t nprograms);

/*
 * Emits the program for points with these specs, which have one role and sample alike. shards is a power of two.
 * Returns 0 and the instructions, which the caller frees; -E2BIG if the program is too long; or -ENOMEM; with an error
 * message.
 */
int emit_program(const struct emit_specs *specs, const struct emit_maps *maps, uint32_t attachment, unsigned shards,
                 struct emitted *out);
/*
 * Emits a program for a tracepoint whose first argument is the current task. The program abandons all calls in
 * flight of the task.
 */
int emit_abandon(const struct emit_maps *maps, struct emitted *out);

/*
 * Checks that the instructions use at most EMIT_STACK_MAX bytes of stack. Returns 0, or -EINVAL with an error message.
 */
int emit_check_stack(const struct bpf_insn *insns, size_t n);

#endif
