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

#include "runtime/fetch.h"

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
	uint64_t off; /* not 0: the point was taken out; in every copy */
};

/* The only element of a session's map `config`. */
struct kernel_config {
	uint64_t record_until; /* CLOCK_MONOTONIC; 0: nobody reads; ~0: for ever */
	uint64_t next_segment; /* number of the next segment; commands only */
};

/* The only element of a segment's map `switch`. */
struct kernel_switch {
	uint64_t overlap;    /* 0, or 1 + the generation of the links that take over */
	uint64_t unfinished; /* points were switched off, and their links are not made anew yet; commands only */
};

struct members;

struct emit_maps {
	int config, ring, counts, mark, overlap;
	int scratch; /* task storage of EMIT_SCRATCH_SIZE bytes; -1 where no program has strings */
	const struct members *members; /* who is meant beside the cookie's process; NULL: everybody */
};

#define EMIT_SCRATCH_SIZE 2304
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

bool emit_has_strings(const struct fetch_program *program);

/*
 * programs[i] is spec i; those with strings stand behind those without. shards is a power of two. -E2BIG: too many for one
 * program; -ENOMEM. *out->insns is the caller's, to be freed by free().
 */
int emit_program(const struct fetch_program *const *programs, size_t nprograms, const struct emit_maps *maps,
                 uint32_t segment, unsigned shards, struct emitted *out);

#endif
