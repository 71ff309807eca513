/* SPDX-License-Identifier: MIT */
/*
 * Layouts of the files, memory and messages that the agent inside a target process and the controller outside share.
 * doc/agent-protocol.md is the specification: it says who writes which field, and in which order.
 *
 *     STATE/agents/PID            SOCK_SEQPACKET socket of each agent that is awake
 *     STATE/SESSION/segment-N     struct agent_attachment, ...: what one command armed
 *     STATE/SESSION/counts-N-PID-REGION  struct agent_counts, ...: what a process counted; REGION: base_ns of its region
 *     STATE/SESSION/layout-N-PID  text: which code the process mapped, if the session has stacks; N: layout_number()
 *     STATE/SESSION/child-N-PID   struct agent_child: the ancestor because of which a child is armed
 *     STATE/SESSION/reader        locked by flock(2) while a controller reads the session's records
 *
 * STATE is $XDG_RUNTIME_DIR/probepoint if XDG_RUNTIME_DIR is a directory of the user, otherwise /tmp/probepoint-UID.
 * Directories belong to the user and have mode 0700. Files have mode 0600. A writer writes a file under a name that
 * begins with a dot, then renames it. Files do not change after that.
 *
 * The shared memory region is one sealed memfd per session and process. It holds a header, a table of slots and rings.
 * Each thread that hits a point of the session owns a ring, which holds the thread's records, counters and cells. The agent
 * writes all fields except those marked as the controller's. Neither side relies on the other for more
 * than correct results: invalid values cannot make it crash or write elsewhere.
 */
#ifndef RUNTIME_AGENT_PROTOCOL_H
#define RUNTIME_AGENT_PROTOCOL_H

#include <stdint.h>

#include "runtime/manifest.h"
#include "runtime/fetch/program.h"

#define AGENT_VERSION 6
#define AGENT_SESSION_MAX 64 /* bytes of a session's name, without the NUL */

/* ---- attachment files --------------------------------------------------------- */

#define AGENT_ATTACHMENT_MAGIC 0x67737070u /* "ppsg" */
#define AGENT_ATTACHMENT_SIZE_MAX (64u << 20)

enum agent_attachment_flags {
	AGENT_ATTACHMENT_RECORD = 1,   /* record from the start, with or without a reader */
	AGENT_ATTACHMENT_CHILDREN = 2, /* also arm what the named processes fork */
	AGENT_ATTACHMENT_OVERWRITE =
		4,                  /* a full ring drops its oldest records; equal in all attachments of a session */
	AGENT_ATTACHMENT_CALLS = 8, /* hits may make system calls, whatever seccomp filters exist */
};

/* All *_at are offsets in the file and multiples of 8. The parts follow each other in this order. */
struct agent_attachment {
	uint32_t magic, version;
	uint64_t size; /* of the file */
	uint32_t number, flags;
	uint64_t manifest_at;  /* struct manifest (manifest.h); its point.spec is an index into the programs */
	uint64_t processes_at; /* struct agent_process[nprocesses] */
	uint64_t programs_at;  /* struct agent_program[nprograms] */
	uint64_t steps_at;     /* struct fetch_step[nsteps] */
	uint64_t literals_at;  /* struct fetch_literal[nliterals] */
	uint64_t on_at;        /* u8[npoints of the manifest]: 1 armed, 0 disarmed */
	uint32_t nprocesses, nprograms, nsteps, nliterals;
	uint32_t cells; /* of the aggregates' table (aggregate.h); 0: the attachment has no aggregates */
	uint32_t
		ring_size; /* of the session's rings, a power of two, or 0 for the default; equal in all attachments of a session */
	uint32_t flight; /* slots of the session's flight recorder, equal in all its attachments; 0: it is not one */
	uint32_t pid_namespace; /* inode number of the pid namespace of the process ids; 0: not known */
};

/*
 * Identifies the process that a pid of the manifest means, by its start time. A point whose
 * pid is not among these does not concern any process. A point with pid 0 concerns every process.
 */
struct agent_process {
	uint32_t pid, reserved;
	uint64_t start_time; /* field 22 of /proc/PID/stat */
};

/* A struct fetch_program. Its steps and literals are ranges of the file's. */
struct agent_program {
	uint32_t step, nsteps, npredicate, naggregate;
	uint32_t role, match, nkey;
	struct fetch_sample sample;
	uint32_t literal, nliterals;
	uint32_t nargs, aggregate; /* aggregate: index in the manifest, if naggregate is not 0 */
	uint8_t kind[RECORD_ARGS_MAX], size[RECORD_ARGS_MAX];
};

/*
 * child-N-PID and unkept-0-PID-START. The agent writes child-N-PID in a process in which attachment N is armed because an
 * ancestor was named together with its children. The agent reads it after exec(2), and the agents of this process's
 * own children read it.
 */
#define AGENT_CHILD_MAGIC 0x68637070u /* "ppch" */

struct agent_child {
	uint32_t magic, version;
	uint32_t pid, ancestor; /* ancestor: a pid of the attachment's processes; 0 in unkept-0-PID-START */
	uint64_t start_time;    /* of pid */
};

/*
 * layout-N-PID has a line LAYOUT_EXEC with the number agg_stack.exec, then lines of /proc/PID/maps: the executable mappings that
 * the process image was seen to have. The agent writes it when it arms sites and when the process exits; the controller adds
 * what it sees.
 */
#define LAYOUT_EXEC "exec "

static inline uint32_t layout_number(uint64_t exec)
{
	return (uint32_t)(exec >> 4) & 0x0fffffff;
}

/* ---- counts of a process that has ended ------------------------------------- */

#define AGENT_COUNTS_MAGIC 0x74637070u /* "ppct" */

/*
 * The number of hits is the sum of all but unmatched. For a point that begins calls they are something else: calls that the
 * process follows, calls that were abandoned, 0, and calls that were missed. Calls in flight are those that were followed,
 * less those that were abandoned and the hits of the points that end them.
 */
struct agent_count {
	uint64_t recorded, filtered, idle, lost;
	uint64_t unmatched; /* of a point that ends calls: ends whose begin was not seen, which are not hits */
	uint64_t unsampled;
};

struct agent_counts {
	uint32_t magic, version;
	uint64_t size; /* of the file */
	uint32_t attachment, npoints;
	uint32_t pid, ncells;
	uint64_t start_time;
	/*
	 * Followed by struct agent_count[npoints], in the order of the manifest. If the manifest has aggregates:
	 *
	 *     struct agg_misfit[ngroups * ncolumns]   ncolumns: the greatest of the manifest's aggregates
	 *     ncells times: struct agg_cell, then a struct agg_key with its parts, padded to the longest key's size
	 */
};

/* ---- the shared memory region ------------------------------------------------ */

#define AGENT_SHM_MAGIC 0x72617070u /* "ppar" */

#define AGENT_RINGS 256
#define AGENT_SLOTS (128u << 10)
/*
 * The default sizes of rings in bytes of records, powers of two. A thread that records in bursts needs a large ring if the reader gets
 * no CPU, but a process with hundreds of threads needs small ones. So only the first AGENT_RINGS_LARGE rings are large. A session with
 * `overwrite`, or that is a flight recorder, has only small rings.
 */
#define AGENT_RING_SIZE (256u << 10)
#define AGENT_RING_SIZE_LARGE (4u << 20)
#define AGENT_RINGS_LARGE 4
#define AGENT_RING_SIZE_MIN (64u << 10)
#define AGENT_RING_SIZE_MAX (64u << 20)
#define AGENT_RING_SLACK (52u << 10) /* for a record that begins before the end of the ring and ends after it */
#define AGENT_TABLES 64              /* attachments with aggregates, at most */
#define AGENT_CELLS (2u << 20)       /* of all tables */
#define AGENT_RING_CELLS (32u << 10) /* the first cells, which each ring has, too */
#define AGENT_KEYS_SIZE (128u << 20) /* bytes for the keys of all tables */

/*
 * A word of the region that more than one process writes. Its value may change at any moment, so it is read once and
 * then checked. In the agent's own files the type permits only the macros of shared-word.h, so that the compiler
 * finds every other access.
 */
#ifdef AGENT_INSIDE
typedef struct {
	uint32_t word;
} shared32;
typedef struct {
	uint64_t word;
} shared64;
#else
typedef uint32_t shared32;
typedef uint64_t shared64;
#endif

enum agent_clock {
	AGENT_CLOCK_TSC = 1,       /* the CPU's counter: rdtsc if it is invariant; cntvct_el0 on aarch64 */
	AGENT_CLOCK_MONOTONIC = 2, /* CLOCK_MONOTONIC, ns */
};

#define AGENT_RECORD_ALWAYS (~0ull) /* record_until: without end */
#define AGENT_RECORD_ENDED 1ull     /* record_until: the reader of a private session has ended it, for good */

struct agent_shm {
	uint32_t magic, version;
	uint64_t size; /* of the memfd, sealed */
	uint32_t pid, clock;
	uint64_t start_time;
	uint64_t slots_at;    /* struct agent_slot[nslots] */
	uint64_t rings_at;    /* nrings times ring_stride bytes; each begins with a struct agent_ring */
	uint64_t ring_stride; /* bytes from one ring to the next */
	uint32_t nslots, nrings;
	uint64_t counts_in_ring; /* offset in a ring: struct agent_count[nslots] */
	uint64_t data_in_ring;   /* offset in a ring: its records */
	uint64_t overflow_at;    /* struct agent_count[nslots]: of threads that found no free ring */
	uint64_t tables_at;      /* struct agent_table[ntables] */
	uint64_t cells_at;       /* struct agent_cell[ncells]: of threads without a ring, and those that rings lack */
	uint64_t cells_in_ring;  /* offset in a ring: struct agent_cell[ncells_in_ring] */
	uint32_t ntables, ncells, ncells_in_ring;
	uint32_t
		ring_size; /* bytes of records of each of the first nlarge rings, a power of two; others have AGENT_RING_SIZE */
	shared32 nused; /* slots used so far */
	shared32 moved; /* 1: the process continues in another region; ask for it again */
	char session[AGENT_SESSION_MAX + 8];
	uint64_t base_ticks, base_ns; /* the CPU's counter and CLOCK_MONOTONIC when the region was made */
	shared32 overwrite;           /* 1: new records replace the oldest ones; AGENT_FLIGHT */
	shared32
		written; /* the controllers': 1 if one of them has claimed to write past-N-PID-START, see shm_claim() */
	uint64_t flight_at; /* flight_slots times AGENT_FLIGHT_SLOT bytes, each a struct agent_flight_slot */
	uint32_t flight_slots, nlarge;
	shared64 flight_next; /* the number of the next slot that is taken, modulo flight_slots */

	/*
	 * The controller's. Hits before this time (of the region's clock) are recorded, later hits are idle. The agent
	 * sets it to AGENT_RECORD_ALWAYS if an attachment records from the start; the controller then leaves it alone.
	 *
	 * A process that starts and finds STATE/SESSION/reader locked, for a session that concerns it, waits in its
	 * constructor until a controller has asked for the region and this is not 0 (or `moved` is 1), for at most a
	 * second. The reader notices new sockets within milliseconds. So it gets every record from the first on, even
	 * if the process is killed.
	 */
	_Alignas(64) shared64 record_until;
};

/*
 * A flight recorder keeps what full rings drop. A thread copies entries of its ring, as they are, to a slot, and then
 * moves `kept` of the ring on. No reader moves `taken` of its rings.
 *
 * A slot is written by one thread at a time, which sets the low bit of `turn` meanwhile. The rest of `turn` changes before
 * anything else of a slot that is used again. So a copy of a slot is valid if `described` was that turn before, and `turn`
 * is the same after it, but for the low bit. The first `used` bytes of the data are complete: parts, each of which has entries
 * of one thread that followed each other in a ring.
 */
#define AGENT_FLIGHT 2u /* agent_shm.overwrite */
#define AGENT_FLIGHT_SLOT 65536u
#define AGENT_FLIGHT_MAX 16384u /* slots */

struct agent_flight_slot {
	shared64 turn;      /* 0: never used */
	shared64 described; /* the turn of `used` and of the parts */
	shared32 used;
	uint32_t reserved[11];
	/* Followed by the parts. */
};

struct agent_flight_part {
	shared64 begin;      /* the position in the ring of the first entry */
	shared32 size, ring; /* size: of the entries */
	char comm[16];       /* as in struct agent_ring */
	shared32 tid;
	uint32_t reserved;
	/* Followed by the entries. */
};

#define AGENT_NO_ATTACHMENT (~0u) /* agent_slot.attachment: the slot is not in use */

/* The meaning of a record's `point`: point `point` of attachment `attachment`, from `since` on (the region's clock). */
struct agent_slot {
	uint32_t attachment, point;
	uint64_t since;
};

/*
 * The aggregates of an attachment. Its cells have consecutive numbers in the region. First come two for each column of
 * each group: the values that found no cell (`other`), and the hits that were `unread` (their count only). The cells of
 * keys follow.
 *
 * A thread finds the cell of a key by a hash table. Numbers of cells are given out in turn. The key is written before the
 * number is stored in the hash table, so a key that is found is complete. A thread that is killed in between, or that
 * leaves a signal handler by longjmp(3), leaves a cell that is never used.
 */
struct agent_table {
	uint32_t attachment; /* AGENT_NO_ATTACHMENT: not in use */
	uint32_t ngroups, ncolumns;
	uint32_t first_cell, ncells; /* ncells: of keys */
	uint32_t key_size;           /* of each key, a multiple of 8 */
	uint64_t keys_at;            /* ncells times key_size bytes: struct agg_key with its parts */
	uint64_t index_at;           /* shared32[nindex]: the hash table, with numbers of cells + 1; 0: free */
	uint32_t nindex;             /* a power of two, at least twice ncells */
	shared32 nused;              /* cells of keys that were given out */
};

/*
 * A cell, as threads add to it. low and high are the least and the greatest value, stored so that each only grows from
 * 0: high is the value, its sign bit inverted if the column is signed. low is the same of the least value, with all
 * bits inverted. They have a meaning if count is not 0. In a ring only the ring's thread writes, else all atomically.
 */
struct agent_cell {
	uint64_t count, sum, low, high;
};

static inline struct agg_cell agent_cell_value(const struct agent_cell *cell, bool is_unsigned)
{
	const uint64_t sign = is_unsigned ? 0 : 1ull << 63;

	return (struct agg_cell){ cell->count, cell->sum, (int64_t)(~cell->low ^ sign), (int64_t)(cell->high ^ sign) };
}

enum agent_ring_state {
	AGENT_RING_FREE,     /* has no owner */
	AGENT_RING_TAKEN,    /* belongs to a thread */
	AGENT_RING_FINISHED, /* its thread has ended; free after it has been read to its end */
	AGENT_RING_MOVING,   /* its thread has ended, and another one moves or drops the records to take it */
};

/*
 * The records of a ring lie at data + (position & (its size - 1)), from position `tail` to `head`. The first
 * word of each is one of:
 *
 *     0                   reserved space that nothing has been written to yet
 *     1 .. 255            this number of words is reserved and being written
 *     256 + (1 .. 255)    skip this number of words
 *     512 and above       the time of a complete struct record; its `words` is its length
 *
 * The space from head to limit holds zeroes. The reader clears what it has read, then moves `limit` (and its `tail`)
 * on. The reader waits for a record that is being written as long as the ring is TAKEN. Records of a signal handler may
 * follow it. A record that longjmp() out of a handler has left unfinished never completes: the reader may pass over it
 * after two seconds if anything follows it.
 *
 * If the region is overwritten, `limit` is the thread's as well. `taken` decides whether a record can still be read:
 * the reader and the thread both move it on by compare and exchange, the reader after it has copied the records, the
 * thread before it clears the records that it drops. So a copy is valid if the reader's exchange succeeds.
 */
#define AGENT_WORD_SKIP 65536u
#define AGENT_WORD_TIME 131072u

struct agent_ring {
	shared32 state; /* enum agent_ring_state; changed by compare and exchange only */
	shared32 tid;
	char comm[16];        /* of the thread, when it took the ring; "": not known */
	shared32 turns;       /* how often the ring was taken */
	shared32 ncells;      /* all cells of the ring from this one on are 0 */
	shared64 kept;        /* in a flight recorder: entries before this position are there, or dropped */
	shared64 flight_turn; /* of the slot that a thread of the ring wrote to last; 0: none */
	shared32 flight_slot; /* its number */
	uint32_t reserved0;
	shared64 origin;            /* where the positions of the session begin */
	_Alignas(64) shared64 head; /* the thread's */
	/* The controller's: tail + the ring's size. It is 0 before the ring is first taken, then the size. */
	_Alignas(64) shared64 limit;
	shared64 taken; /* in a region that is overwritten: records before this position were read or are lost */
};

/* ---- the wake entry ------------------------------------------------------------ */

/*
 * How a controller that may trace the process wakes the agent. A note of the agent's library leads to this structure
 * (owner "probepoint", type AGENT_NOTE_WAKE): its 8 bytes are the distance from them to the structure. Addresses are
 * the process's.
 */
#define AGENT_NOTE_WAKE 0x726f6f64u     /* "door" */
#define AGENT_WAKE_MAGIC 0x72647070u    /* "ppdr" */
#define AGENT_WAKE_STACK_SIZE 24576u    /* bytes at `image` */
#define AGENT_WAKE_THREAD_CLAIMED (~0u) /* `tid`: the thread is being made */

struct agent_wake_entry {
	uint32_t magic, version;
	uint64_t self;           /* the address of this structure */
	uint64_t stub, stub_end; /* a function without arguments that makes the agent's thread by one clone(2) */
	uint64_t restorer;       /* in the stub's range: rt_sigreturn(2) */
	uint64_t image;          /* writable memory for the stack of a call of the stub */
	uint32_t image_size;
	uint32_t closed;     /* 1: this agent sleeps forever */
	uint64_t stack, tls; /* of the agent's thread; 0: the agent is not ready to be woken */
	uint32_t tid;        /* of the agent's thread; 0: it sleeps; AGENT_WAKE_THREAD_CLAIMED */
	int32_t error;       /* result of the last clone(2) that failed: a negative errno */
	uint32_t waker;      /* the controller's: the thread that it last made call the stub */
	uint32_t pid;        /* the process that tid belongs or belonged to: a forked child has its parent's values */
};

/* ---- messages ------------------------------------------------------------------ */

#define AGENT_MESSAGE_MAGIC 0x6d737070u /* "ppsm" */
#define AGENT_MESSAGE_MAX 16384u        /* bytes of a whole reply */

enum agent_op {
	AGENT_HELLO = 1, /* reply: struct agent_hello */
	AGENT_RESCAN =
		2, /* read the sessions' files again, arm and disarm; reply: struct agent_attachment_state[count] */
	AGENT_STATE = 3, /* of `attachment`, points from `first` on; reply: struct agent_point_state[count] */
	AGENT_SHM = 4,   /* the session's region; reply: its descriptor (SCM_RIGHTS), no payload; -ENOENT: no region */
};

struct agent_request {
	uint32_t magic;
	uint16_t version, op;
	uint32_t attachment, first;
	char session[AGENT_SESSION_MAX + 8]; /* padded with zeroes, at least one */
};

struct agent_reply {
	uint32_t magic;
	uint16_t version, op;
	int32_t error;        /* 0, or a negative errno */
	uint32_t reason;      /* with an error: enum agent_reason */
	uint32_t count, size; /* elements and bytes of the payload, which follows */
};

struct agent_hello {
	uint32_t pid, tid; /* of the process, of the agent's thread */
	uint64_t start_time;
	uint32_t uid;      /* effective, now */
	uint32_t reason;   /* enum agent_reason: why no point can be armed in this process; else 0 */
	uint32_t sessions; /* number of sessions that have a region in this process */
	uint32_t
		not_interposed; /* 1: the agent does not see dlopen(3), so that a controller has to send AGENT_RESCAN */
};

struct agent_attachment_state {
	uint32_t attachment, reason;               /* reason: why the whole file was refused; else 0 */
	uint32_t npoints, armed, pending, refused; /* of the points that concern this process and are on */
};

/* ---- the keeper ------------------------------------------------------------------ */

/*
 * STATE/agents/keeper is the socket of the keeper: a process that holds regions, so that counts survive the process
 * that counted. An agent sends one struct agent_keep with the region's descriptor (SCM_RIGHTS), receives one byte, '1',
 * and keeps the connection for as long as it uses the region.
 */
#define AGENT_KEEPER "keeper"
#define AGENT_KEEP_MAGIC 0x706b7070u /* "ppkp" */

enum agent_keep_op {
	AGENT_KEEP_SHM = 1,    /* keep this region */
	AGENT_KEEP_SETTLE = 2, /* write the counts of processes that have ended; one byte replies */
	/* struct agent_kept replies to these, or one byte: there is none. */
	AGENT_KEEP_GET = 3,     /* region number `start_time` of a flight recorder */
	AGENT_KEEP_RECORDS = 4, /* the first region with unread records and no process, from number `start_time` on */
	AGENT_KEEP_PROCESS = 5, /* the region that the process uses */
};

struct agent_keep {
	uint32_t magic;
	uint16_t version, op;
	uint64_t start_time; /* of the process; AGENT_KEEP_GET, _RECORDS: a number */
	char session[AGENT_SESSION_MAX + 4];
	uint32_t pid; /* AGENT_KEEP_PROCESS */
};

/* With the region's descriptor (SCM_RIGHTS). */
struct agent_kept {
	uint32_t magic, pid;
	uint64_t start_time;
	uint64_t number; /* of the region */
	/* ns: the latest end of a process of the session whose flight recorder was dropped; 0: none, or another region has it */
	uint64_t dropped;
};

enum agent_state {
	AGENT_OFF,     /* the point does not concern this process, or is switched off */
	AGENT_PENDING, /* its file is not mapped */
	AGENT_ARMED,   /* the reason is a remark: AGENT_CALLS, AGENT_COST, AGENT_CLOCK or 0 */
	AGENT_REFUSED, /* for the reason */
};

enum agent_reason {
	AGENT_OK,
	AGENT_BYTES,      /* bytes 1 to 10 of the site are not the 10-byte nop (aarch64: not a nop); `found` has them */
	AGENT_BLOCK,      /* bytes 1 and 2 do not share an aligned block of 8 */
	AGENT_NOT_TEXT,   /* the offset is not in a private, executable mapping */
	AGENT_PROTECT,    /* mprotect() of the text was refused, for example by SELinux's execmod */
	AGENT_FAR,        /* no room for trampolines within reach of a jump */
	AGENT_MEMORY,     /* out of memory */
	AGENT_SEMAPHORE,  /* the semaphore is not in a private, writable mapping, or would overflow */
	AGENT_MEMBARRIER, /* membarrier(SYNC_CORE) is missing or forbidden */
	AGENT_CPU,        /* the CPU lacks lahf in 64-bit mode */
	AGENT_SLOTS_FULL, /* more points than the region has slots */
	AGENT_SESSIONS_FULL,  /* more sessions than an agent takes */
	AGENT_CONSUMERS_FULL, /* too many points on one site */
	AGENT_PROGRAM,        /* the fetch program cannot be compiled here */
	AGENT_FILE,           /* the attachment file is damaged or of another version */
	AGENT_DIRECTORY,      /* the session's directory or file cannot be read, or is not the user's */
	AGENT_BUSY,           /* an unload of a library does not end */
	AGENT_READ_BACK,      /* the write to text succeeded, but reads back differently */
	AGENT_LIMIT,          /* a resource limit (file size, address space) is too small for the region */
	AGENT_MAPS,           /* /proc/self/maps cannot be read */
	AGENT_NOT_LOADED,     /* the program mapped the code itself, not the C library's loader */
	AGENT_GONE,           /* the code was unmapped, or its protection changed, before it was written */
	AGENT_ROBUST_LIST,    /* set_robust_list(2), by which the agent writes to text, is missing or forbidden */
	AGENT_CALLS, /* hits must not make system calls. ARMED: a value that needs one is a fault; REFUSED: the filter needs one */
	AGENT_COST,         /* ARMED: the filter or aggregate may make a system call in each hit */
	AGENT_TABLES_FULL,  /* the region has no room for the aggregates of the attachment */
	AGENT_CLOCK,        /* ARMED: hits must not make system calls, and only one reads the time: records are lost */
	AGENT_FORKED,       /* the process was forked by the system call, not by the C library */
	AGENT_BUFFERS_FULL, /* every region that is free has rings of unsuitable sizes */
	AGENT_HALF_FORKED,  /* the process was forked in the middle of a change */
	AGENT_REASONS
};

struct agent_point_state {
	uint32_t slot; /* in the region; ~0u: none */
	uint8_t state, reason;
	uint8_t found[10]; /* with AGENT_BYTES */
};

_Static_assert(sizeof(struct agent_attachment) == 104 && sizeof(struct agent_process) == 16 &&
                       sizeof(struct agent_program) == 100 && sizeof(struct fetch_step) == 16 &&
                       sizeof(struct fetch_literal) == 65,
               "layout of attachment files");
_Static_assert(sizeof(struct agent_counts) == 40 && sizeof(struct agent_count) == 48, "layout of counts");
_Static_assert(sizeof(struct agent_table) == 48 && sizeof(struct agent_cell) == 32, "layout of aggregates");
_Static_assert(sizeof(struct agent_shm) == 320 && sizeof(struct agent_flight_slot) == 64 &&
                       sizeof(struct agent_slot) == 16 && sizeof(struct agent_ring) == 192,
               "layout of the shared memory region");
_Static_assert(sizeof(struct agent_request) == 88 && sizeof(struct agent_reply) == 24 &&
                       sizeof(struct agent_hello) == 32 && sizeof(struct agent_attachment_state) == 24 &&
                       sizeof(struct agent_point_state) == 16,
               "layout of messages");
_Static_assert(sizeof(struct agent_keep) == 88, "layout of keeper messages");
_Static_assert(sizeof(struct agent_wake_entry) == 88, "layout of the wake entry");
_Static_assert(AGENT_RING_SLACK >= RECORD_SIZE_MAX, "a record fits after the end of the ring");

#endif
