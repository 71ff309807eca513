/* SPDX-License-Identifier: MIT */
/*
 * What one hit leaves, the same from both backends.
 *
 *     u64 time      ns of CLOCK_MONOTONIC (agent: of the ring's own clock, see its header)
 *     u32 point     index among the points of its attachment
 *     u8  words     length of the whole record, in 8-byte words
 *     u24 faults    bit i: argument i could not be read
 *     u64 value[]   one for each argument, extended to 64 bits by its sign
 *     strings       of the string arguments in their order, each padded to 8 bytes
 *
 * A string argument's value is the length of its bytes; RECORD_STRING_CUT says
 * that there was more (then the last of the bytes is to be ignored). The 
 * kernel's ring is shared by all threads, so there a struct record_thread stands
 * before each record; the agent's rings belong to a thread each and hold one.
 *
 * Whatever reads a record checks it by record_check() first.
 */
#ifndef RUNTIME_RECORD_H
#define RUNTIME_RECORD_H

#include <stdint.h>

#define RECORD_ARGS_MAX 24
#define RECORD_STRING_CUT 128  /* a string of this length was longer: 127 bytes of it count */
#define RECORD_STRING_ROOM 136 /* what one takes at most: NUL and padding included */
#define RECORD_STRINGS_MAX 12  /* further ones are recorded as addresses */

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
