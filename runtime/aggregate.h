/* SPDX-License-Identifier: MIT */
/*
 * Aggregates: what a session computes at the hits instead of recording them. Both backends keep the same cells.
 *
 * A hit adds one value to each column of the aggregate, under the hit's key. A column that has a histogram keeps one cell
 * for each bucket that was hit, else it keeps one cell. So a cell is found by
 *
 *     u32 group    index of the probe in the attachment's manifest
 *     u16 column
 *     u16 bucket   agg_bucket(), 0 without a histogram
 *     u8  parts[]  the key: an integer has 8 bytes, a string AGG_STRING, a stack AGG_STACK
 *
 * A string has at most AGG_STRING - 1 bytes and is padded with zeroes. If it was longer, its last byte is AGG_CUT.
 *
 * A stack is a struct agg_stack. Its frames are the addresses in the process: the site, then the return addresses from the
 * innermost on, padded with zeroes.
 *
 * The number of cells is limited. A value that finds no cell is added to the misfits of its {group, column}, of which there
 * is always one. Therefore, when no hit is in flight, for each column of a probe
 *
 *     hits - filtered = sum of the cells' counts + other + unread
 *
 * Sums wrap at 64 bits.
 */
#ifndef RUNTIME_AGGREGATE_H
#define RUNTIME_AGGREGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGG_COLUMNS_MAX 8
#define AGG_PARTS_MAX 3
#define AGG_STRING 64       /* bytes of a string in a key */
#define AGG_CUT 1           /* the last byte of a string that was longer */
#define AGG_FRAMES 64       /* frames of a stack in a key */
#define AGG_LINEAR_MAX 1000 /* buckets of a linear histogram */
#define AGG_CELLS_DEFAULT 10000
#define AGG_CELLS_MAX 1000000

struct agg_key {
	uint32_t group;
	uint16_t column, bucket;
	uint8_t parts[];
};

/*
 * A stack of calls. A process has another `exec` after each execve(2): it is the address of the program's arguments (field 48
 * of /proc/PID/stat), which the kernel chooses at random, and which a forked child shares.
 *
 * Before the walk, the words FETCH_KEYWORD writes are in place: pid, the site, the first return address (0: not known without
 * the frame pointer), the frame pointer, and the stack pointer.
 */
struct agg_stack {
	uint64_t pid, exec;
	uint64_t frames[AGG_FRAMES];
};

#define LAYOUT_SIZE_MAX (1u << 20) /* bytes of the text of a layout (layout.h) */

/* Words of struct agg_stack that FETCH_KEYWORD writes. */
enum {
	AGG_WORD_PID = 0,
	AGG_WORD_SITE = 2,
	AGG_WORD_RETURN = 3,
	AGG_WORD_FRAME = 4,
	AGG_WORD_SP = 5,
	AGG_WORDS = 6,
};

/* The distance from a frame to its caller's is at most this. A larger one is not a frame pointer. */
#define AGG_FRAME_SIZE_MAX (16u << 20)
/*
 * A walk ends at a return address that is below this, or that is at most AGG_FRAME_SIZE_MAX above the end of the previous frame.
 * Such a value is a number or a pointer to the stack: a function has used the frame pointer for something else. Stacks with such
 * values would fill the table with keys.
 */
#define AGG_CODE_MIN 65536

#define AGG_STACK sizeof(struct agg_stack)
/* A key has at most one stack. */
#define AGG_KEY_SIZE_MAX (sizeof(struct agg_key) + AGG_STACK + (AGG_PARTS_MAX - 1) * (size_t)AGG_STRING)

struct agg_cell {
	uint64_t count, sum;
	int64_t min, max; /* compared as the column's type */
};

struct agg_misfit {
	uint64_t other, other_sum; /* values that found no cell, and their sum */
	uint64_t unread;           /* hits whose key or value is in memory that could not be read */
};

enum agg_histogram {
	AGG_PLAIN,     /* none */
	AGG_LOG2,      /* powers of two */
	AGG_LINEAR,    /* steps from low to high */
	AGG_LOGLINEAR, /* 32 steps for each power of two: a value is known within 1/32 */
};

struct agg_column {
	uint8_t histogram;   /* enum agg_histogram */
	uint8_t is_unsigned; /* the values are unsigned */
	uint8_t reserved[6];
	int64_t low, high, step; /* of AGG_LINEAR */
};

/*
 * Returns the bucket of a value:
 *
 *     AGG_LOG2        0: below 0; 1: 0; 2 + i: from 2^i to 2^(i+1) - 1
 *     AGG_LINEAR      0: below low; 1 + i: from low + i * step on; the last: high and above
 *     AGG_LOGLINEAR   0: below 0; 1 + v: v, up to 63; 65 + 32 * (i - 6) + j: from 2^i + j * 2^(i-5) on, below the next
 */
unsigned agg_bucket(const struct agg_column *column, uint64_t value);
/* Sets the least and the greatest value of a bucket. The greatest of an unsigned column's last bucket is UINT64_MAX. */
void agg_bucket_range(const struct agg_column *column, unsigned bucket, uint64_t *low, uint64_t *high);
/* Returns the number of buckets, 1 for AGG_PLAIN. */
unsigned agg_buckets(const struct agg_column *column);
/* Returns true if the column, which comes from outside, is valid. */
bool agg_column_is_valid(const struct agg_column *column);

/* Returns whether x < y as the column's type. */
static inline bool agg_less(const struct agg_column *column, int64_t x, int64_t y)
{
	return column->is_unsigned ? (uint64_t)x < (uint64_t)y : x < y;
}

/* Adds a cell to another. *to may be zeroes. */
void agg_cell_add(const struct agg_column *column, struct agg_cell *to, const struct agg_cell *from);

#endif
