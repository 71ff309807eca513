/* SPDX-License-Identifier: MIT */
/*
 * An assembler for BPF, with the kernel's names for instructions, and the conventions that the parts of a program
 * share.
 *
 * Jumps: The offset of a jump is a label, which emitter_finish() replaces by the distance. A failure sets the emitter's
 * error. Calls after a failure have no effect, so callers check emitter_finish() only.
 *
 * Registers:
 *
 *     r6          the context (struct pt_regs)
 *     r7          the thread's scratch memory, after emit_scratch(); the frames of the thread in emit-returns.c
 *     r8          the offset in scratch memory of the record's end so far, if it has strings
 *     r9          the point's counters
 *     r0 to r5    scratch registers
 *
 * Stack: A program uses at most EMIT_STACK_MAX bytes. Since Linux 6.13 a program of this type that has 64 bytes or more
 * (sizes are rounded up to 16) runs on a per-CPU stack. A uprobe program may sleep and may be preempted, so another
 * thread on the same CPU would overwrite that stack.
 *
 * Scratch memory: Everything else is in the thread's task storage (SCRATCH_...): the value stack of fetch programs, a
 * buffer for a string that is compared, and the record, with its struct record_thread at the beginning. Its size depends on
 * the strings of the record (emit_scratch_size()). Two programs
 * never use the scratch memory of one thread at the same time, for three reasons. Uprobes are hit in user mode only.
 * Signal handlers also run in user mode. The kernel runs the programs of one hit one after the other, each to its end.
 */
#ifndef RUNTIME_KERNEL_EMITTER_H
#define RUNTIME_KERNEL_EMITTER_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/fetch/program.h"
#include "runtime/kernel/emit.h"

/* Offsets in the stack, from r10. */
enum {
	AT_COOKIE = -8,
	AT_PIDTGID = AT_COOKIE - 8,
	AT_KEY = AT_PIDTGID - 8, /* with AT_PIDTGID after it: the key of the handover map */
	AT_WORD = AT_KEY - 8,
	AT_TIME = AT_WORD - 8,
	AT_FRAME = AT_TIME - 8, /* the frame of the call that ends */
	AT_LIGHT_KEY =
		AT_FRAME, /* a key of 16 bytes, with AT_TIME: only if there is no frame, before the time is known */
	AT_END = AT_FRAME,
};
_Static_assert(AT_END >= -EMIT_STACK_MAX, "BPF's stack");

#define EMIT_REGISTERS 32 /* words of struct pt_regs that can be in the copy of the registers: see emit-specs.c */

/* Offsets in the scratch memory. */
#define SCRATCH_ALIGN(n) (((n) + 7) & ~7ul)
enum {
	SCRATCH_STACK = 0,                                  /* grows up */
	SCRATCH_TEXT = SCRATCH_STACK + 8 * FETCH_DEPTH_MAX, /* a string that is compared or searched */
	SCRATCH_REGISTERS = SCRATCH_TEXT,                   /* or the copy of the registers */
	SCRATCH_CALL =
		SCRATCH_TEXT + SCRATCH_ALIGN(FETCH_SEARCH_MAX + 2), /* a struct kernel_frame of a call with a key */
	SCRATCH_RECORD = SCRATCH_CALL + sizeof(struct kernel_frame),
};
/* What a record takes that has n strings of at most max bytes. A string is read to one byte more, and padded. */
#define SCRATCH_SIZE(n, max)                                                                                        \
	SCRATCH_ALIGN(SCRATCH_RECORD + sizeof(struct record_thread) + sizeof(struct record) + 8 * RECORD_ARGS_MAX + \
	              ((n) + 1) * RECORD_STRING_ROOM(max) + 16)
_Static_assert(EMIT_SCRATCH_SIZE >= SCRATCH_SIZE(RECORD_STRINGS_MAX, RECORD_STRING_DEFAULT), "scratch");
_Static_assert(SCRATCH_CALL - SCRATCH_REGISTERS >= 8 * EMIT_REGISTERS, "the copy of the registers");
_Static_assert(EMIT_GROUP_SIZE >= 2 * EMIT_REGISTERS, "emit_registers()");
_Static_assert(SCRATCH_SIZE(RECORD_STRINGS_MAX, RECORD_STRING_MAX) < 65000, "task storage has at most 64 KiB");

/* The aggregate uses the memory of the record, which is built after it. */
enum {
	SCRATCH_KEY = SCRATCH_RECORD,                                 /* struct agg_key with its parts */
	SCRATCH_CELL = SCRATCH_ALIGN(SCRATCH_KEY + AGG_KEY_SIZE_MAX), /* struct agg_cell to be added */
};
_Static_assert(SCRATCH_CELL + sizeof(struct agg_cell) <= EMIT_SCRATCH_SIZE, "scratch");

/* The offset of a member of the record, which is after its struct record_thread. */
#define AT_THREAD(member) ((int)(SCRATCH_RECORD + offsetof(struct record_thread, member)))
#define AT_RECORD(member) ((int)(SCRATCH_RECORD + sizeof(struct record_thread) + offsetof(struct record, member)))
#define AT_RECORD_POINT (AT_RECORD(time) + RECORD_POINT_AT)
#define AT_RECORD_WORDS (AT_RECORD(time) + RECORD_WORDS_AT) /* and faults */

/* ---- instructions, as in the kernel's include/linux/filter.h; jumps take a label as offset ---- */

#define BPF_RAW_INSN(CODE, DST, SRC, OFF, IMM) \
	((struct bpf_insn){ .code = (CODE), .dst_reg = (DST), .src_reg = (SRC), .off = (OFF), .imm = (IMM) })

#define BPF_ALU64_REG(OP, DST, SRC) BPF_RAW_INSN(BPF_ALU64 | (OP) | BPF_X, DST, SRC, 0, 0)
#define BPF_ALU64_IMM(OP, DST, IMM) BPF_RAW_INSN(BPF_ALU64 | (OP) | BPF_K, DST, 0, 0, IMM)
#define BPF_NEG64(DST) BPF_RAW_INSN(BPF_ALU64 | BPF_NEG, DST, 0, 0, 0)
#define BPF_MOV64_REG(DST, SRC) BPF_ALU64_REG(BPF_MOV, DST, SRC)
#define BPF_MOV64_IMM(DST, IMM) BPF_ALU64_IMM(BPF_MOV, DST, IMM)

#define BPF_LDX_MEM(SIZE, DST, SRC, OFF) BPF_RAW_INSN(BPF_LDX | BPF_MEM | (SIZE), DST, SRC, OFF, 0)
#define BPF_STX_MEM(SIZE, DST, SRC, OFF) BPF_RAW_INSN(BPF_STX | BPF_MEM | (SIZE), DST, SRC, OFF, 0)
#define BPF_ST_MEM(SIZE, DST, OFF, IMM) BPF_RAW_INSN(BPF_ST | BPF_MEM | (SIZE), DST, 0, OFF, IMM)
/* *(DST + OFF) OP= SRC; with BPF_FETCH in OP, SRC is then the former value. */
#define BPF_ATOMIC_OP(SIZE, OP, DST, SRC, OFF) BPF_RAW_INSN(BPF_STX | BPF_ATOMIC | (SIZE), DST, SRC, OFF, OP)

#define BPF_JMP_REG(OP, DST, SRC, LABEL) BPF_RAW_INSN(BPF_JMP | (OP) | BPF_X, DST, SRC, LABEL, 0)
#define BPF_JMP_IMM(OP, DST, IMM, LABEL) BPF_RAW_INSN(BPF_JMP | (OP) | BPF_K, DST, 0, LABEL, IMM)
#define BPF_JMP_A(LABEL) BPF_RAW_INSN(BPF_JMP | BPF_JA, 0, 0, LABEL, 0)
#define BPF_EMIT_CALL(HELPER) BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, HELPER)
#define BPF_EXIT_INSN() BPF_RAW_INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* ---- the emitter ---- */

typedef int16_t label; /* it has room where a jump has its offset */

struct emitter {
	struct bpf_insn *insns;
	size_t n, room;
	int *labels; /* the instruction that each label is placed at, or -1 */
	size_t nlabels, labels_room;
	int error;

	const struct emit_maps *maps;
	const struct emit_specs *specs;
	const struct emit_group *group; /* of the fetch program whose steps are emitted; NULL: of none */
	uint32_t attachment;
	const struct cpu *cpu;
	const struct abi *abi;
	enum site_role role;
	enum site_match match;
};

void emit(struct emitter *e, struct bpf_insn insn);
label label_new(struct emitter *e);
/* Places the label at the next instruction. */
void label_place(struct emitter *e, label l);
/* Returns whether one of the instructions from `from` on jumps to the label. The verifier rejects code that none reaches. */
bool label_is_used(const struct emitter *e, label l, size_t from);
/*
 * Resolves the jumps and releases the emitter. Returns 0 and the instructions, which the caller frees; -ENOMEM, or
 * -E2BIG if a jump does not reach its label, with an error message.
 */
int emitter_finish(struct emitter *e, struct emitted *out);

/* ---- memory of the thread (emitter.c) ---- */

/*
 * r7 = the thread's element of a task storage, which is created if it does not exist. Jumps to none if the kernel
 * cannot create it. The kernel refuses (EAGAIN) while another CPU removes the last element that the thread has in any
 * task storage, as when an earlier session's is freed. This takes less time than a call, so the program calls again.
 */
void emit_thread_storage(struct emitter *e, int map, label none);
/* r7 = the thread's scratch memory */
void emit_scratch(struct emitter *e, label lost);

/* ---- the steps of a fetch program (emit-steps.c) ---- */

/*
 * The following functions emit steps of a fetch program, which is the first one of e->group.
 */

/* Returns the column of the table for the constant or register of step i, or -1 if it is not in the table. */
static inline int emit_column(const struct emitter *e, size_t i)
{
	return e->group && e->group->columns ? e->group->columns[i] : -1;
}

/* Copies the registers of the group. The code of arguments reads this copy. */
void emit_registers(struct emitter *e);
/* Emits the steps of the arguments, or of the predicate. */
void emit_arguments(struct emitter *e, const struct fetch_program *p);
void emit_predicate(struct emitter *e, const struct fetch_program *p, label filtered);

/* The stack of values. */
struct value_stack {
	int depth;
	bool in_r1; /* the top is in r1, else in scratch memory */
};

/* Returns the offset in scratch memory of a value of the stack. */
static inline int value_at_depth(int depth)
{
	return SCRATCH_STACK + 8 * depth;
}

/* Stores the top of the stack if it is in r1. */
void emit_top_to_stack(struct emitter *e, struct value_stack *s);
/* r1 = the top. Scratch memory does not have it any more. */
void emit_top_to_r1(struct emitter *e, struct value_stack *s);

/*
 * Reads the string whose address is at address_at in scratch memory, at most room bytes with its NUL, to the offset `to`
 * of scratch memory; TO_RECORD: to the offset r8. Sets r0 to the length with NUL. Jumps to fault if a byte cannot be read.
 */
void emit_read_string(struct emitter *e, int to, int room, int address_at, label fault);

#define TO_RECORD (-1)

/*
 * Steps with jumps: those of a predicate or of an aggregate. By the rules of runtime/fetch/program.h the stack has the
 * same depth at a jump and at its target. Here its top is then in scratch memory, not in r1.
 */
struct expressions {
	const struct fetch_program *p;
	size_t from;
	label *targets; /* of the steps from `from` on; -1: no jump leads there */
	struct value_stack stack;
};

/* Begins to emit steps. Returns the emitter's error. The caller closes it in any case. */
int emit_expressions_open(struct emitter *e, struct expressions *x, const struct fetch_program *p, size_t from,
                          size_t to);
void emit_expressions_close(struct expressions *x);
/* Places the label of a step that jumps lead to. To be called before each step. */
void emit_expressions_target(struct emitter *e, struct expressions *x, size_t i);
/*
 * Emits a step other than the end of an expression, and perhaps the one after it. Returns the last step that it emitted. Jumps
 * to fault if memory cannot be read.
 */
size_t emit_expressions_step(struct emitter *e, struct expressions *x, size_t i, label fault);
/* Returns whether these steps, which are not a predicate's, need no scratch memory: one value is on the stack at most. */
bool expressions_are_light(const struct fetch_program *p, size_t from, size_t to);

/* ---- aggregates (emit-aggregate.c) ---- */

/*
 * Returns whether the aggregate can do without scratch memory for hits whose cells exist. Its key is then in BPF's stack, which
 * saves 40 ns.
 */
bool aggregate_is_light(const struct emitter *e, const struct fetch_program *p);
/* Emits the aggregate of a fetch program. light: r7 is not the scratch memory yet, for any fetch program. */
void emit_aggregate(struct emitter *e, const struct fetch_program *p, bool light);
/* Walks the stack of calls into the struct agg_stack at this offset of scratch memory (emit-stack.c). */
void emit_stack(struct emitter *e, int at);
/* Counts the hit as unread in this many columns, if the point has an aggregate. Uses no scratch memory. */
void emit_aggregate_unread(struct emitter *e, size_t ncolumns);
/*
 * Copies the record of r3 bytes, which is in scratch memory, to the flight recorder (emit-flight.c). Keeps r7 and r9. Jumps to
 * lost if there is no room now.
 */
void emit_flight(struct emitter *e, label lost);
/* Returns a rough upper bound of the instructions of a step of an aggregate. */
size_t emit_aggregate_bound(const struct fetch_program *p, const struct fetch_step *step);

/* ---- sampling (emit-sample.c) ---- */

/* Jumps to unsampled, with the point's struct kernel_sample in r8, if the hit is not chosen. Jumps to lost never. */
void emit_sample(struct emitter *e, const struct fetch_sample *sample, unsigned shards, label unsampled, label lost);
/* The instructions of emit_sample(), at most. */
#define EMIT_SAMPLE_MAX 90

/* ---- calls of functions (emit-returns.c) ---- */

/*
 * emit_call() emits the rest of a program for the beginning of calls. emit_leave() emits the part of a program for the
 * end of calls that finds the frame of the call (emit-returns.c).
 */
void emit_call(struct emitter *e, label out);
void emit_leave(struct emitter *e, label out);

/*
 * The same for calls between probes (emit-calls.c). emit_begin() gets the begin's arguments in the record in scratch memory,
 * and both get the key of the call in r8, if it has one. A begin that cannot be kept jumps to missed.
 */
void emit_begin(struct emitter *e, label missed, label out);
void emit_missed(struct emitter *e, label out);
void emit_end(struct emitter *e, label unmatched, label out);
void emit_unmatched(struct emitter *e, label out);
/* r8 = the key of a call. Jumps to fault if it cannot be read. r7 is scratch memory. */
void emit_key(struct emitter *e, const struct fetch_program *p, label fault);

/* ---- sequences of instructions ---- */

/* dst = value */
static inline void emit_imm64(struct emitter *e, int dst, int64_t value)
{
	if (value == (int32_t)value) {
		emit(e, BPF_MOV64_IMM(dst, (int32_t)value));
		return;
	}
	emit(e, BPF_RAW_INSN(BPF_LD | BPF_DW | BPF_IMM, dst, 0, 0, (int32_t)value));
	emit(e, BPF_RAW_INSN(0, 0, 0, 0, (int32_t)(value >> 32)));
}

/* dst = the map */
static inline void emit_map_fd(struct emitter *e, int dst, int fd)
{
	emit(e, BPF_RAW_INSN(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd));
	emit(e, BPF_RAW_INSN(0, 0, 0, 0, 0));
}

/* dst = the address of the value of an array map that has one element */
static inline void emit_map_value(struct emitter *e, int dst, int fd)
{
	emit(e, BPF_RAW_INSN(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_VALUE, 0, fd));
	emit(e, BPF_RAW_INSN(0, 0, 0, 0, 0));
}

/* dst = the address of an AT_... in the stack */
static inline void emit_stack_address(struct emitter *e, int dst, int at)
{
	emit(e, BPF_MOV64_REG(dst, BPF_REG_10));
	emit(e, BPF_ALU64_IMM(BPF_ADD, dst, at));
}

/* dst = the point in the link's cookie */
static inline void emit_point(struct emitter *e, int dst)
{
	emit(e, BPF_LDX_MEM(BPF_DW, dst, BPF_REG_10, AT_COOKIE));
	emit(e, BPF_ALU64_IMM(BPF_AND, dst, (1 << COOKIE_POINT_BITS) - 1));
}

/* dst = the spec in the link's cookie */
static inline void emit_spec(struct emitter *e, int dst)
{
	emit(e, BPF_LDX_MEM(BPF_DW, dst, BPF_REG_10, AT_COOKIE));
	emit(e, BPF_ALU64_IMM(BPF_RSH, dst, COOKIE_POINT_BITS));
	emit(e, BPF_ALU64_IMM(BPF_AND, dst, (1 << COOKIE_SPEC_BITS) - 1));
}

/* *(base + off) += imm, atomically; changes r1 */
static inline void emit_atomic_add(struct emitter *e, int base, int off, int32_t imm)
{
	emit(e, BPF_MOV64_IMM(BPF_REG_1, imm));
	emit(e, BPF_ATOMIC_OP(BPF_DW, BPF_ADD, base, BPF_REG_1, off));
}

/* Increments a member of the point's struct kernel_counts. */
static inline void emit_count(struct emitter *e, int off)
{
	emit_atomic_add(e, BPF_REG_9, off, 1);
}

/* The end of every program: return 0. */
static inline void emit_exit(struct emitter *e)
{
	emit(e, BPF_MOV64_IMM(BPF_REG_0, 0));
	emit(e, BPF_EXIT_INSN());
}

#endif
