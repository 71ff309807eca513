/* SPDX-License-Identifier: MIT */
/*
 * The protocol between the agent inside a target process and controllers outside:
 * files, shared memory and messages. doc/agent-protocol.md explains it; the layouts are
 * here.
 *
 *     STATE/agents/PID            a SOCK_SEQPACKET socket of each agent that is running
 *     STATE/agents/keeper         the socket of the keeper
 *     STATE/SESSION/segment-N     struct agent_attachment, ...: what one probe-enable armed
 *     STATE/SESSION/counts-N-PID  struct agent_counts, ...: what a process counted
 *     STATE/SESSION/child-N-PID   struct agent_child: which ancestor a process is armed for
 *     STATE/SESSION/unkept-0-PID  struct agent_child: no keeper has the counts of a process
 *     STATE/SESSION/reader        locked by flock(2) while a reader reads the session
 *
 * STATE is $XDG_RUNTIME_DIR/probepoint if XDG_RUNTIME_DIR is a directory of the user,
 * else /tmp/probepoint-UID. Directories belong to the user and have mode 0700, files
 * 0600. A file is written under a name that begins with a dot, then renamed, and not
 * changed after that.
 *
 * There is one shared memory region for each session and process, a sealed memfd: a
 * header, the table of slots, and rings. Each thread that hits a point of the session
 * has its own ring, with its records and its counters. The agent writes to the region,
 * except to the fields that are the controller's. Neither side trusts the other with
 * more than its own results.
 */
#ifndef RUNTIME_AGENT_PROTOCOL_H
#define RUNTIME_AGENT_PROTOCOL_H

#include <stdint.h>

#include "runtime/manifest.h"
#include "runtime/fetch/program.h"

#define AGENT_VERSION 1
#define AGENT_SESSION_MAX 64 /* bytes of a session's name */

/* ---- attachment files --------------------------------------------------------- */

#define AGENT_ATTACHMENT_MAGIC 0x67737070u /* "ppsg" */
#define AGENT_ATTACHMENT_SIZE_MAX (64u << 20)

enum agent_attachment_flags {
	AGENT_ATTACHMENT_RECORD = 1,    /* record from the start, with or without a reader */
	AGENT_ATTACHMENT_CHILDREN = 2,  /* include children that the processes fork */
	AGENT_ATTACHMENT_OVERWRITE = 4, /* a full ring overwrites its oldest records; equal in all of a session */
	AGENT_ATTACHMENT_CALLS = 8,     /* hits may make system calls, whatever filters of them there are */
};

/* All *_at are offsets in the file, multiples of 8. The parts follow each other in this order. */
struct agent_attachment {
	uint32_t magic, version;
	uint64_t size; /* of the file */
	uint32_t number, flags;
	uint64_t manifest_at;  /* struct manifest (runtime/manifest.h); point.spec is the index of a program */
	uint64_t processes_at; /* struct agent_process[nprocesses] */
	uint64_t programs_at;  /* struct agent_program[nprograms] */
	uint64_t steps_at;     /* struct fetch_step[nsteps] */
	uint64_t literals_at;  /* struct fetch_literal[nliterals] */
	uint64_t on_at;        /* u8[npoints of the manifest]: 1, or 0 if the point was disarmed */
	uint32_t nprocesses, nprograms, nsteps, nliterals;
};

/*
 * The process that a pid of the manifest means. A process with another start time is
 * another process. A point is for no process if its pid is not among these, and for
 * every process if its pid is 0.
 */
struct agent_process {
	uint32_t pid, reserved;
	uint64_t start_time; /* field 22 of /proc/PID/stat */
};

/* A struct fetch_program, whose steps and literals are ranges of the file's. */
struct agent_program {
	uint32_t step, nsteps, npredicate;
	uint32_t literal, nliterals;
	uint32_t nargs;
	uint8_t kind[RECORD_ARGS_MAX], size[RECORD_ARGS_MAX];
};

/*
 * child-N-PID: the agent writes it in a process in which attachment N is armed because
 * an ancestor is in scope with its children. Therefore the process is armed again after
 * exec(2), and so are its own children.
 */
#define AGENT_CHILD_MAGIC 0x68637070u /* "ppch" */

struct agent_child {
	uint32_t magic, version;
	uint32_t pid, ancestor; /* ancestor: among the attachment's processes */
	uint64_t start_time;    /* of pid */
};

/* ---- the counts of a process that has ended ---------------------------------- */

#define AGENT_COUNTS_MAGIC 0x74637070u /* "ppct" */

/* The sum of the four is the number of hits. */
struct agent_count {
	uint64_t recorded, filtered, idle, lost;
};

struct agent_counts {
	uint32_t magic, version;
	uint64_t size; /* of the file */
	uint32_t attachment, npoints;
	uint32_t pid, reserved;
	uint64_t start_time;
	/* struct agent_count[npoints], in the order of the manifest */
};

/* ---- the shared memory region ------------------------------------------------ */

#define AGENT_SHM_MAGIC 0x72617070u /* "ppar" */

#define AGENT_RINGS 256
#define AGENT_SLOTS (128u << 10)
#define AGENT_RING_SIZE (256u << 10) /* bytes of records, a power of two */
#define AGENT_RING_SLACK 4096u       /* a record that begins before the end may end after it */

/*
 * A word that more than one process writes. It is read once and then checked, because
 * its value may change at any moment. In the agent's files the type allows only the
 * macros of shared-word.h, so that any other access fails to compile.
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
	AGENT_CLOCK_TSC = 1,       /* ticks of the CPU's counter: rdtsc, if it is invariant; cntvct_el0 */
	AGENT_CLOCK_MONOTONIC = 2, /* ns */
};

/* Records until this time: always. */
#define AGENT_RECORD_ALWAYS (~0ull)

struct agent_shm {
	uint32_t magic, version;
	uint64_t size; /* of the memfd, sealed */
	uint32_t pid, clock;
	uint64_t start_time;
	uint64_t slots_at; /* struct agent_slot[nslots] */
	uint64_t rings_at; /* nrings of ring_stride bytes each, which begin with a struct agent_ring */
	uint64_t ring_stride;
	uint32_t nslots, nrings;
	uint64_t counts_in_ring; /* offset in a ring of struct agent_count[nslots] */
	uint64_t data_in_ring;   /* offset in a ring of its records */
	uint64_t overflow_at;    /* struct agent_count[nslots] of threads that found no ring */
	shared32 nused;          /* slots that have been used */
	shared32 moved;          /* 1: the process has another region now; ask for it again */
	char session[AGENT_SESSION_MAX + 8];
	uint64_t base_ticks, base_ns; /* the CPU's counter and CLOCK_MONOTONIC when the region was made */
	shared32 overwrite;           /* 1: new records overwrite the oldest ones */
	shared32 written; /* the controllers': 1: the counts before exec(2) are written to a file, or about to be */
	uint64_t reserved[5];

	/*
	 * The controller's: hits before this time, by the region's clock, are recorded;
	 * later ones are idle. An attachment that records from the start sets it to
	 * AGENT_RECORD_ALWAYS, which the controller does not change.
	 *
	 * A process that starts and finds STATE/SESSION/reader locked, for a session that
	 * has points for it, waits in its constructor until a controller has asked for the
	 * region and this is not 0 any more, 1 s at most. The reader notices new sockets
	 * within milliseconds. So it has every record from the first one on, even after
	 * the process has died, however it dies.
	 */
	_Alignas(64) shared64 record_until;
};

/* The attachment of a slot that is not in use. */
#define AGENT_NO_ATTACHMENT (~0u)

/*
 * The `point` of a record is the index of a slot. It means this point of this
 * attachment, from the time `since` on, by the region's clock.
 */
struct agent_slot {
	uint32_t attachment, point;
	uint64_t since;
};

enum agent_ring_state {
	AGENT_RING_FREE,     /* no thread has it */
	AGENT_RING_TAKEN,    /* a thread has it */
	AGENT_RING_FINISHED, /* its thread has ended; it is free when it has been read to its end */
};

/*
 * Rings.
 *
 * 1. A ring's records are at data + (position & (AGENT_RING_SIZE - 1)), for positions
 *    from `tail`, which is limit - AGENT_RING_SIZE, to `head`.
 * 2. The first word of each record is
 *
 *     0                   the space is reserved, and nothing is written yet
 *     1 .. 255            that many words are reserved, and being written
 *     256 + (1 .. 255)    that many words are to be skipped
 *     512 and above       the time of a complete struct record; its `words` is the length
 *
 * 3. The space between head and limit contains zeroes. The reader clears what it has
 *    read, then moves `limit`, and with it `tail`.
 * 4. The reader waits for a record that is being written as long as the ring is TAKEN.
 *    Records of a signal handler may follow that record.
 * 5. A record that a handler leaves by longjmp() is never finished. After two seconds
 *    the reader may skip it, if anything follows it.
 * 6. In a region that is overwritten, the thread moves `limit` as well. `taken` decides
 *    whether a record belongs to the reader or is lost. Both move it by compare and
 *    exchange: the reader after it has copied the records, the thread before it clears
 *    them. So a copy is good if the reader's exchange succeeds.
 */
#define AGENT_WORD_SKIP 256u
#define AGENT_WORD_TIME 512u

struct agent_ring {
	shared32 state; /* enum agent_ring_state, changed by compare and exchange only */
	shared32 tid;
	char comm[16];  /* of the thread when it took the ring; "": unknown */
	shared32 turns; /* how often the ring was taken */
	uint32_t reserved0;
	uint64_t reserved1[4];
	_Alignas(64) shared64 head; /* the thread's */
	/* The controller's: tail + AGENT_RING_SIZE. AGENT_RING_SIZE when it is first taken, 0 before. */
	_Alignas(64) shared64 limit;
	shared64 taken; /* in a region that is overwritten: records before this position are read or lost */
};

/* ---- the door ---------------------------------------------------------------- */

/*
 * By the door, a controller that may trace the process wakes the agent. A note of the
 * agent's library leads to it: owner "probepoint", type AGENT_NOTE_DOOR, 8 bytes, which
 * are the distance from the note's description to the door. Addresses are those of the
 * process.
 */
#define AGENT_NOTE_DOOR 0x726f6f64u  /* "door" */
#define AGENT_DOOR_MAGIC 0x72647070u /* "ppdr" */
#define AGENT_DOOR_IMAGE 24576u      /* bytes at `image` */
#define AGENT_DOOR_CLAIMED (~0u)

struct agent_door {
	uint32_t magic, version;
	uint64_t self;           /* the door's own address */
	uint64_t stub, stub_end; /* a function without arguments that makes the agent's thread, by one clone(2) */
	uint64_t restorer;       /* in the stub's range: makes rt_sigreturn(2) */
	uint64_t image;          /* writable memory for controllers: the stack of a call of the stub */
	uint32_t image_size;
	uint32_t closed;     /* 1: there will be no thread in this process */
	uint64_t stack, tls; /* of the thread; stack 0: it cannot be made yet */
	uint32_t tid;        /* of the thread; 0: it does not exist; AGENT_DOOR_CLAIMED: it is being made */
	int32_t error;       /* why clone(2) failed last */
	uint32_t waker;      /* the controller's: the thread that it made call the stub last */
	uint32_t pid;        /* the process that the thread is or was in; a forked child has the parent's words */
};

/* ---- messages ---------------------------------------------------------------- */

#define AGENT_MESSAGE_MAGIC 0x6d737070u /* "ppsm" */
#define AGENT_MESSAGE_MAX 16384u        /* bytes of a whole reply */

enum agent_op {
	AGENT_HELLO = 1,  /* reply: struct agent_hello */
	AGENT_RESCAN = 2, /* read the session's files, arm and disarm; reply: struct agent_attachment_state[count] */
	AGENT_STATE = 3,  /* of the attachment's points from first on; reply: struct agent_point_state[count] */
	AGENT_SHM = 4,    /* reply: the descriptor of the session's region (SCM_RIGHTS), no payload; -ENOENT: none */
};

struct agent_request {
	uint32_t magic;
	uint16_t version, op;
	uint32_t attachment, first;
	char session[AGENT_SESSION_MAX + 8]; /* filled with NULs */
};

struct agent_reply {
	uint32_t magic;
	uint16_t version, op;
	int32_t error;        /* 0, or a negative errno */
	uint32_t reason;      /* enum agent_reason, with an error */
	uint32_t count, size; /* elements and bytes of the payload, which follows */
};

struct agent_hello {
	uint32_t pid, tid; /* of the process, of the agent's thread */
	uint64_t start_time;
	uint32_t uid;            /* effective, now */
	uint32_t reason;         /* enum agent_reason: why nothing can be armed in this process, or AGENT_OK */
	uint32_t sessions;       /* that have a region in this process */
	uint32_t not_interposed; /* 1: it does not see dlopen(), and has to be asked to rescan */
};

struct agent_attachment_state {
	uint32_t attachment, reason;               /* reason: why the file as a whole is refused, or AGENT_OK */
	uint32_t npoints, armed, pending, refused; /* of the points that are on and for this process */
};

/* ---- the keeper -------------------------------------------------------------- */

/*
 * STATE/agents/keeper is the socket of a process that keeps shared memory regions, so
 * that counts outlive the process that counted (doc/agent-protocol.md). An agent sends
 * one struct agent_keep with the descriptor of its region (SCM_RIGHTS), receives one
 * byte, '1', and keeps the connection as long as it uses the region.
 */
#define AGENT_KEEPER "keeper"
#define AGENT_KEEP_MAGIC 0x706b7070u /* "ppkp" */

enum agent_keep_op {
	AGENT_KEEP_SHM = 1,    /* keep this region */
	AGENT_KEEP_SETTLE = 2, /* write the counts of processes that have ended to files; reply: a byte */
};

struct agent_keep {
	uint32_t magic;
	uint16_t version, op;
	uint64_t start_time;
	char session[AGENT_SESSION_MAX + 8];
};

/* ---- the state of points ----------------------------------------------------- */

enum agent_state {
	AGENT_OFF,     /* not for this process, or switched off */
	AGENT_PENDING, /* the file is not mapped */
	AGENT_ARMED,   /* the reason is AGENT_OK or a warning: AGENT_CALLS, AGENT_COST */
	AGENT_REFUSED, /* for the reason */
};

enum agent_reason {
	AGENT_OK,
	AGENT_BYTES,          /* bytes 1 to 10 of the site are not a nop (aarch64: the site is not one); see `found` */
	AGENT_BLOCK,          /* bytes 1 and 2 are not in one aligned block of 8 */
	AGENT_NOT_TEXT,       /* the offset is not in a private, executable mapping */
	AGENT_PROTECT,        /* mprotect(2) of the text was refused, by a policy such as execmod */
	AGENT_FAR,            /* no room for trampolines within a jump's reach */
	AGENT_MEMORY,         /* no memory */
	AGENT_SEMAPHORE,      /* the semaphore is not in a private, writable mapping, or would overflow */
	AGENT_MEMBARRIER,     /* membarrier(2) SYNC_CORE is missing or forbidden */
	AGENT_CPU,            /* the CPU lacks lahf in 64-bit mode */
	AGENT_SLOTS_FULL,     /* more points than a region has slots */
	AGENT_SESSIONS_FULL,  /* more sessions than an agent has regions */
	AGENT_CONSUMERS_FULL, /* too many points on one site */
	AGENT_PROGRAM,        /* the fetch program cannot be compiled */
	AGENT_FILE,           /* the attachment file is damaged, or of another version */
	AGENT_DIRECTORY,      /* the session's directory or file cannot be read, or is not the user's */
	AGENT_BUSY,           /* a library is being unloaded for too long */
	AGENT_READ_BACK,      /* after writing, the site has other bytes */
	AGENT_LIMIT,          /* a resource limit (file size, address space) is too small for the region */
	AGENT_MAPS,           /* /proc/self/maps cannot be read */
	AGENT_NOT_LOADED,     /* the program mapped the code, not the C library's loader */
	AGENT_GONE,           /* the code was unmapped, or its protection changed, before it could be written */
	AGENT_ROBUST_LIST,    /* set_robust_list(2), by which the agent writes to text, is missing or forbidden */
	AGENT_CALLS, /* hits must not make system calls. ARMED: what needs a call is a fault; REFUSED: the filter needs one */
	AGENT_COST, /* ARMED: the filter may make a system call in each hit */
	AGENT_REASONS
};

struct agent_point_state {
	uint32_t slot; /* in the region; ~0u: none */
	uint8_t state, reason;
	uint8_t found[10]; /* with AGENT_BYTES */
};

_Static_assert(sizeof(struct agent_attachment) == 88 && sizeof(struct agent_process) == 16 &&
                       sizeof(struct agent_program) == 72 && sizeof(struct fetch_step) == 16 &&
                       sizeof(struct fetch_literal) == 65,
               "attachment layout");
_Static_assert(sizeof(struct agent_counts) == 40 && sizeof(struct agent_count) == 32, "counts layout");
_Static_assert(sizeof(struct agent_shm) == 320 && sizeof(struct agent_slot) == 16 && sizeof(struct agent_ring) == 192,
               "region layout");
_Static_assert(sizeof(struct agent_request) == 88 && sizeof(struct agent_reply) == 24 &&
                       sizeof(struct agent_hello) == 32 && sizeof(struct agent_attachment_state) == 24 &&
                       sizeof(struct agent_point_state) == 16,
               "message layout");
_Static_assert(sizeof(struct agent_keep) == 88, "keeper layout");
_Static_assert(sizeof(struct agent_door) == 88, "door layout");
_Static_assert(AGENT_RING_SLACK >= RECORD_SIZE_MAX, "a record fits after the end");

#endif
