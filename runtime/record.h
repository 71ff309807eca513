/* SPDX-License-Identifier: MIT */
/*
 * The record of one hit. Both backends write the same layout:
 *
 *     u64 time      ns of CLOCK_MONOTONIC (agent: of the ring's own clock, see its header)
 *     u24 point     index among the points of its attachment
 *     u8  high      length of the whole record, in 8-byte words: the high-order byte
 *     u8  low       and the low-order byte
 *     u24 faults    bit i: argument i could not be read
 *     u64 value[]   one for each argument, sign-extended to 64 bits
 *     strings       of the string arguments in their order, each padded to 8 bytes
 *
 * The high-order byte is separate because most records have fewer than 256 words. Their writers store the point as 32 bits
 * and the low-order byte.
 *
 * The value of a string argument is the length of its bytes. The layout of the record has the limit for its strings. A
 * length of one byte more means that the string was longer; the last byte is then ignored. All threads share the kernel's ring, so a struct record_thread precedes each record there.
 * Each ring of the agent belongs to one thread, and its header has the struct once.
 *
 * Readers check a record by event_set() before they use it.
 */
#ifndef RUNTIME_RECORD_H
#define RUNTIME_RECORD_H

#include <stdint.h>

#define RECORD_ARGS_MAX 24
#define RECORD_STRINGS_MAX 12     /* further strings are recorded as addresses */
#define RECORD_STRING_DEFAULT 127 /* bytes of a string, at most */
#define RECORD_STRING_MAX 4096    /* PP_STRING_MAX */

/* The bytes that a string takes in a record, at most, if it has at most max bytes. */
#define RECORD_STRING_ROOM(max) (((max) + 8) & ~7u)

struct record {
	uint64_t time;
	uint32_t point : 24, words_high : 8;
	uint32_t words_low : 8, faults : 24;
	uint64_t value[];
};

/* Offsets of the two members of bit-fields. */
#define RECORD_POINT_AT 8
#define RECORD_WORDS_AT 12
#define RECORD_POINT_MASK 0xffffffu

/* Returns the length of the record, which another process may change. */
static inline uint32_t record_words(const volatile struct record *record)
{
	return record->words_low | (uint32_t)record->words_high << 8;
}

static inline void record_set_words(struct record *record, uint32_t words)
{
	record->words_low = words & 255;
	record->words_high = words >> 8 & 255;
}

struct record_thread {
	uint32_t attachment;
	uint32_t pid, tid;
	uint32_t
		kept; /* the reader's: not 0 if the record was in the session when the reader returned it. Writers: 0 */
	char comm[16];
};

_Static_assert(sizeof(struct record) == 16, "record layout");
_Static_assert(sizeof(struct record_thread) == 32, "record layout");

/* RECORD_SPARE: what a writer may reserve beyond the last string. */
#define RECORD_SPARE 16
#define RECORD_SIZE_MAX                                                                                             \
	(sizeof(struct record) + 8 * RECORD_ARGS_MAX + RECORD_STRING_ROOM(RECORD_STRING_MAX) * RECORD_STRINGS_MAX + \
	 RECORD_SPARE)
_Static_assert(RECORD_SIZE_MAX / 8 <= 65535, "words is 16 bits");

#endif
