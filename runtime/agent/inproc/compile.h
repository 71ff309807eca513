/* SPDX-License-Identifier: MIT */
/*
 * The two halves of the compiler of trampolines. compile.c knows fetch programs and
 * what a trampoline does, in which order. The functions gen_*() write the
 * instructions; each CPU has its own in trampoline-CPU.c.
 *
 * Fetch programs work on a stack of values. The top of that stack is in a register,
 * here called the top. The values below it are on the machine's stack. At each step
 * the depth is known when the trampoline is made:
 *
 *     depth   how many values the program's stack holds before the step
 *     words   how many of them are on the machine's stack: depth - 1, or 0
 *
 * Further registers have a fixed purpose: the second operand, the thread's ring, the
 * record, its time, and the address of the next string.
 */
#ifndef RUNTIME_AGENT_INPROC_COMPILE_H
#define RUNTIME_AGENT_INPROC_COMPILE_H

#include "runtime/agent/inproc/codebuf.h"

#define VALUE(i) (16 + 8 * (i)) /* offset of value i in a record */
#define FRAME_READ 256          /* loads this far above the stack pointer are tried without a call */

enum operand { OPERAND_TOP, OPERAND_SECOND };

/* ---- the frame of a trampoline ---- */

/* Saves the registers that the trampoline changes; jumps to end if the process has no agent. */
void gen_enter(struct codebuf *c, const struct trampoline_consumer *consumers, size_t n, uint32_t end);
/* Restores them and jumps back to the site. Returns false if the site is out of reach. */
bool gen_leave(struct codebuf *c);
void gen_jump(struct codebuf *c, uint32_t label);
/* Fills in the jump at offset at, so that it goes to offset to. */
void gen_link(struct codebuf *c, uint32_t at, int32_t to);

/* ---- steps of a program ---- */

/* Moves the top to the machine's stack, if depth is not 0, so that a new top can be loaded. */
void gen_spill(struct codebuf *c, unsigned depth);
/* Loads the value of a FETCH_IMM or FETCH_REG step. */
void gen_operand(struct codebuf *c, enum operand to, const struct fetch_step *step, unsigned words);
/* Moves the top to the second operand and loads the value below it. */
void gen_pop_operands(struct codebuf *c, unsigned depth);
/* Drops the top, if there is a value below it, and loads that. */
void gen_drop(struct codebuf *c, unsigned depth);
/* top = top op second */
void gen_binary(struct codebuf *c, const struct fetch_step *step);
/* top = op top, for FETCH_NOT, FETCH_NEG and FETCH_COM */
void gen_unary(struct codebuf *c, unsigned op);
/* top = size bytes of the top from a bit on, extended */
void gen_extend(struct codebuf *c, unsigned size, unsigned bit, bool is_signed);
/* top = the number of the CPU. Jumps to fault if it cannot be known. */
void gen_cpu(struct codebuf *c, uint32_t fault);
void gen_pid(struct codebuf *c);
void gen_tid(struct codebuf *c);
/* Jumps if the top is zero, or if it is not. */
void gen_jump_if(struct codebuf *c, bool zero, uint32_t label);

/* Loads from the address in the top if that part of the stack is known to be readable, else jumps to the stub. */
void gen_load(struct codebuf *c, const struct fetch_step *load, unsigned words, uint32_t stub);
/* Jumps to the stub if the byte before end, an offset to the stack pointer, may be beyond the stack's last page. */
void gen_frame_check(struct codebuf *c, int32_t end, uint32_t stub);
/* Loads at an offset to the program's stack pointer. */
void gen_load_frame(struct codebuf *c, int32_t offset, const struct fetch_step *load);
/* Loads at a fixed address. */
void gen_load_address(struct codebuf *c, uint64_t address, const struct fetch_step *load);

/*
 * Calls the table's match or comm with the literal (how: enum literal_place): top = whether it matches. Jumps to fault if memory is unreadable.
 */
void gen_match(struct codebuf *c, void *const *entry, const struct fetch_literal *literal, unsigned how,
               uint32_t fault);
/* top = a hash of the string at the address in the top. Jumps to fault if it is unreadable. */
void gen_hash(struct codebuf *c, uint32_t fault);
/* Writes the string at the address in the top into the record, after the values. how: string_how(). */
void gen_string(struct codebuf *c, uint32_t how);
/* Writes the top into the record as argument i. */
void gen_argument(struct codebuf *c, unsigned i);

/* ---- aggregates ---- */

/* Takes size bytes of stack for a key, as c->key says from then on. The program's stack of values is empty. */
void gen_key_begin(struct codebuf *c, unsigned size);
void gen_key_end(struct codebuf *c);
/* Writes the top into the key at an offset. */
void gen_key(struct codebuf *c, unsigned offset);
/* Calls the table's keystr, with the top as address, or keycomm. Jumps to fault if memory is unreadable. */
void gen_key_string(struct codebuf *c, void *const *entry, unsigned offset, uint32_t fault);
/* Calls the table's keystack for the struct agg_stack at an offset of the key. */
void gen_key_stack(struct codebuf *c, unsigned offset);
/* Adds the top to a column under the key. what: HIT_COLUMN(). */
void gen_aggregate(struct codebuf *c, const struct hit_group *group, const struct agg_column *column, unsigned what);
/*
 * Does the same without C. The key has at most two words, the histogram is not linear, and the thread has a ring.
 * Jumps to the stub, with the top unchanged, if the key's cell is not found at once or has to be changed in more than
 * its count and sum. Returns false if the CPU has no such code.
 */
bool gen_aggregate_near(struct codebuf *c, const struct hit_group *group, const struct agg_column *column,
                        unsigned what, uint32_t stub);
/* Counts the hit as unread in n columns. */
void gen_unread(struct codebuf *c, const struct hit_group *group, unsigned first, unsigned n);

/* ---- sampling ---- */

/*
 * Jumps to `unsampled` unless the hit is one of each `every`th that pass the predicate. Needs only the counters of the slot. Without
 * a rate, jumps if unsampled < (idle + recorded + lost + 1) * (every - 1). With a rate, hits that the rate rejects are counted as
 * unsampled, too, so the code divides the sum of all counters by `every`.
 */
void gen_every(struct codebuf *c, const struct trampoline_consumer *consumer, bool has_ring, uint32_t unsampled);
/* Jumps if the bucket has no token at the time that was taken. */
void gen_token(struct codebuf *c, struct hit_bucket *bucket, uint32_t unsampled);

/* ---- calls ---- */

/* Adds the begin of a call, whose place is the top. Values and time then go to the call. */
void gen_call_begin(struct codebuf *c, const struct trampoline_consumer *consumer);
/* Finds the call that ends, whose place is the top; jumps to none if it was not seen. */
void gen_call_find(struct codebuf *c, const struct trampoline_consumer *consumer, uint32_t none);
/* Releases the call that was found. */
void gen_call_done(struct codebuf *c);
/* top = the duration of the call that was found */
void gen_duration(struct codebuf *c, unsigned words);
/* top = argument i of its begin; jumps to fault if it could not be read */
void gen_entry(struct codebuf *c, unsigned words, unsigned i, uint32_t fault);

/* ---- stubs ---- */

/* top = the address at an offset to the program's stack pointer */
void gen_frame_address(struct codebuf *c, int32_t offset);
/* Loads from the address in the top through C. Jumps to the stub's fault if it cannot be read. */
void gen_load_call(struct codebuf *c, const struct stub *stub);
/* Marks argument i of the record as a fault, with the value 0. */
void gen_argument_fault(struct codebuf *c, unsigned i);
/* Drops values from the machine's stack. */
void gen_discard(struct codebuf *c, unsigned words);

/* ---- a consumer's ring and record ---- */

/* Loads the thread's ring; jumps if the thread has none. */
void gen_ring(struct codebuf *c, unsigned shm, uint32_t none);
/* Calls C to take a ring; jumps to taken if it got one. */
void gen_ring_take(struct codebuf *c, unsigned shm, uint32_t taken);
/* time = the CPU's counter */
void gen_time(struct codebuf *c);
/* time = what an entry of the table returns */
void gen_time_call(struct codebuf *c, void *const *entry);
/* Jumps if nothing has ever recorded: record_until is 0. */
void gen_never_check(struct codebuf *c, const struct agent_shm *shm, uint32_t late);
/* Jumps if the time is not before record_until. */
void gen_time_check(struct codebuf *c, const struct agent_shm *shm, uint32_t late);
/* Reserves words in the ring; jumps if it has no room. retry is the label of this code, placed before it. */
void gen_reserve(struct codebuf *c, unsigned words, uint32_t retry, uint32_t full);
/* Makes room in a ring that may be overwritten, and jumps to retry; jumps to lost if it must not be overwritten. */
void gen_ring_room(struct codebuf *c, const struct agent_shm *shm, uint32_t retry, uint32_t lost);
/* Writes the head of a record that is not complete yet. */
void gen_record(struct codebuf *c, unsigned words, uint32_t slot);
/* The next string goes to this offset in the record. */
void gen_strings(struct codebuf *c, unsigned offset);
/* Gives back the words that strings did not need. */
void gen_shrink(struct codebuf *c, unsigned words);
/* Writes the time, which completes the record. */
void gen_publish(struct codebuf *c);
/* Adds one to the slot's counter at that offset in struct agent_count: in the ring, or for threads without one. */
void gen_count(struct codebuf *c, uint32_t slot, size_t counter);
void gen_count_shared(struct codebuf *c, const struct trampoline_consumer *consumer, size_t counter);

#endif
