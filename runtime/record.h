/* SPDX-License-Identifier: MIT */
/*
 * The record of one hit. Both backends write the same layout:
 *
 *     u64 time      ns of CLOCK_MONOTONIC (agent: of the ring's own clock, see its header)
 *     u32 point     index among the points of its attachment
 *     u8  words     length of the whole record, in 8-byte words
 *     u24 faults    bit i: argument i could not be read
 *     u64 value[]   one for each argument, sign-extended to 64 bits
 *     strings       of the string arguments in their order, each padded to 8 bytes
 *
 * The value of a string argument is the length of its bytes. RECORD_STRING_CUT means that the string was longer; the
 * last byte is then ignored. All threads share the kernel's ring, so a struct record_thread precedes each record there.
 * Each ring of the agent belongs to one thread, and its header has the struct once.
 *
 * Readers check a record by event_set() before they use it.
 */
#ifndef RUNTIME_RECORD_H
#define RUNTIME_RECORD_H

#include <stdint.h>

#define RECORD_ARGS_MAX 24
#define RECORD_STRING_CUT 128  /* a string of this length was longer: its first 127 bytes are valid */
#define RECORD_STRING_ROOM 136 /* the most that a string takes, with NUL and padding */
#define RECORD_STRINGS_MAX 12  /* further strings are recorded as addresses */

struct record {
	uint64_t time;
	uint32_t point;
	uint32_t words : 8, faults : 24;
	uint64_t value[];
};

struct record_thread {
	uint32_t attachment;
	uint32_t pid, tid, reserved;
	char comm[16];
};

_Static_assert(sizeof(struct record) == 16, "record layout");
_Static_assert(sizeof(struct record_thread) == 32, "record layout");

#define RECORD_SIZE_MAX (sizeof(struct record) + 8 * RECORD_ARGS_MAX + RECORD_STRING_ROOM * RECORD_STRINGS_MAX)
_Static_assert(RECORD_SIZE_MAX / 8 <= 255, "words is 8 bits");

#endif
