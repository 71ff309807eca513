/* SPDX-License-Identifier: MIT */
/*
 * What the agent inside a target and the controller outside share: files, memory
 * and messages. doc/agent-protocol.md tells it at length; the layouts are here.
 *
 *     STATE/agents/PID            a SOCK_SEQPACKET socket of each living agent
 *     STATE/SESSION/segment-N     struct agent_attachment, ...: what one command armed
 *     STATE/SESSION/counts-N-PID  struct agent_counts, ...: what a process counted
 *     STATE/SESSION/child-N-PID   struct agent_child: for whose sake it is armed
 *     STATE/SESSION/reader        locked by flock() as long as somebody reads the session
 *
 * STATE is $XDG_RUNTIME_DIR/probepoint where XDG_RUNTIME_DIR is a folder of the
 * user's own, else /tmp/probepoint-UID. Every folder is the user's and 0700, every
 * file 0600. Files are written whole under a name that begins with a dot, then
 * renamed, and never changed after that.
 *
 * The memory is one sealed memfd for each session and process, the shared memory region: a header,
 * the table of places, then rings. Each thread that hits a point of the session
 * has a ring to itself, with its records and its counters. What is in the shared memory region is
 * written by the agent, except for the fields said to be the controller's; neither
 * trusts the other with more than its own results.
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
	AGENT_ATTACHMENT_RECORD = 1,   /* records from the start, reader or not */
	AGENT_ATTACHMENT_CHILDREN = 2, /* also in what the processes named fork */
	AGENT_ATTACHMENT_CALLS = 8,    /* hits may make system calls, whatever filters there are */
	AGENT_ATTACHMENT_OVERWRITE =
		4, /* a full ring makes room by its oldest records; the same in all of a session's */
};

/* All *_at are offsets in the file, multiples of 8; the parts lie behind each other in this order. */
struct agent_attachment {
	uint32_t magic, version;
	uint64_t size; /* of the file */
	uint32_t number, flags;
	uint64_t manifest_at;  /* struct manifest: desc.h; point.spec is an index among the programs */
	uint64_t processes_at; /* struct agent_process[nprocesses] */
	uint64_t programs_at;  /* struct agent_program[nprograms] */
	uint64_t steps_at;     /* struct fetch_step[nsteps] */
	uint64_t literals_at;  /* struct fetch_literal[nliterals] */
	uint64_t on_at;        /* u8[npoints of the description]: 1, or 0 where it was disarmed */
	uint32_t nprocesses, nprograms, nsteps, nliterals;
};

/*
 * Which process a pid of the description means: one with another start time is
 * another process. A point whose pid is not among these concerns nobody; one with
 * pid 0 concerns every process.
 */
struct agent_process {
	uint32_t pid, reserved;
	uint64_t start_time; /* field 22 of /proc/PID/stat */
};

/* A struct fetch_program; steps and literals are ranges of the file's. */
struct agent_program {
	uint32_t step, nsteps, npredicate;
	uint32_t literal, nliterals;
	uint32_t nargs;
	uint8_t kind[RECORD_ARGS_MAX], size[RECORD_ARGS_MAX];
};

/*
 * child-N-PID: written by the agent in a process that attachment N is armed in because an
 * ancestor was meant with its children; so it is armed again behind exec(2), and its
 * own children know.
 */
#define AGENT_CHILD_MAGIC 0x68637070u /* "ppch" */

struct agent_child {
	uint32_t magic, version;
	uint32_t pid, ancestor; /* ancestor: a pid of the attachment's processes */
	uint64_t start_time;    /* of pid */
};

/* ---- counts of a process that has ended ------------------------------------- */

#define AGENT_COUNTS_MAGIC 0x74637070u /* "ppct" */

/* hits are the sum of the four */
struct agent_count {
	uint64_t recorded, filtered, idle, lost;
};

struct agent_counts {
	uint32_t magic, version;
	uint64_t size; /* of the file */
	uint32_t attachment, npoints;
	uint32_t pid, reserved;
	uint64_t start_time;
	/* struct agent_count[npoints], by the description's index */
};

/* ---- the shared memory region ---------------------------------------------------------------- */

#define AGENT_SHM_MAGIC 0x72617070u /* "ppar" */

#define AGENT_RINGS 256
#define AGENT_SLOTS (128u << 10)
#define AGENT_RING_SIZE (256u << 10) /* bytes of records, a power of two */
#define AGENT_RING_SLACK 4096u       /* a record that begins before the end may end behind it */

/*
 * A word of the shared memory region that more than one process writes. Each is read once and then
 * checked, because its value may change at any moment. In the agent's own files its
 * type allows nothing but the macros of agent.h, so that the compiler finds every
 * other access.
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
	AGENT_CLOCK_TSC = 1,       /* of the CPU's counter: rdtsc, where that is invariant; cntvct_el0 */
	AGENT_CLOCK_MONOTONIC = 2, /* ns */
};

/* Record without end. */
#define AGENT_RECORD_ALWAYS (~0ull)

struct agent_shm {
	uint32_t magic, version;
	uint64_t size; /* of the memfd, sealed */
	uint32_t pid, clock;
	uint64_t start_time;
	uint64_t slots_at; /* struct agent_slot[nplaces] */
	uint64_t rings_at; /* nrings times ring_stride bytes, each a struct agent_ring and so on */
	uint64_t ring_stride;
	uint32_t nslots, nrings;
	uint64_t counts_in_ring; /* offset in a ring: struct agent_count[nplaces] */
	uint64_t data_in_ring;   /* offset in a ring: its records */
	uint64_t overflow_at;    /* struct agent_count[nplaces]: of threads that found no ring */
	shared32 nused;          /* places in use so far */
	shared32 moved;          /* 1: the process goes on in another shared memory region, ask again */
	char session[AGENT_SESSION_MAX + 8];
	uint64_t base_ticks, base_ns; /* what rdtsc and CLOCK_MONOTONIC said when this was made */
	shared32 overwrite;           /* 1: the oldest records make room for new ones */
	shared32
		written; /* the controllers': 1: what was counted before exec(2) has been written down, or is just now */
	uint64_t reserved[5];

	/*
	 * The controller's: hits at a time (of the shared memory region's clock) before this are recorded,
	 * later ones are idle. An attachment that records from the start makes it
	 * AGENT_RECORD_ALWAYS; the controller leaves that alone.
	 *
	 * A process that starts and finds STATE/SESSION/reader locked, of a session that
	 * concerns it, waits in its constructor until the shared memory region was asked for and this is
	 * not 0 any more (or `moved`), a second at most: the reader notices new sockets
	 * within milliseconds, and so has every record from the first on, and after the
	 * process's death too, however it dies.
	 */
	_Alignas(64) shared64 record_until;
};

/* A place that is not in use. */
#define AGENT_NO_ATTACHMENT (~0u)

/* What a record's `point` means: point `point` of attachment `segment`, from `since` on (the shared memory region's clock). */
struct agent_slot {
	uint32_t attachment, point;
	uint64_t since;
};

enum agent_ring_state {
	AGENT_RING_FREE,     /* nobody's */
	AGENT_RING_TAKEN,    /* a thread's */
	AGENT_RING_FINISHED, /* its thread has ended; free once it has been read to its end */
};

/*
 * A ring's records lie at data + (position & (AGENT_RING_SIZE - 1)), from position
 * `tail` to `head`. The first word of each is
 *     0                   the space is reserved and nothing is written yet
 *     1 .. 255            so many words are reserved, and being written
 *     256 + (1 .. 255)    so many words are to be skipped
 *     512 and above       the time of a struct record that is whole; its `words` says how long
 * Space between head and limit holds zeroes: whoever reads clears what it has read,
 * then moves `limit` (and its `tail`) on. A record that is being written is waited
 * for as long as the ring is TAKEN; a signal handler's records may stand behind it.
 * (One left in the middle by longjmp() out of a handler is never finished: after two
 * seconds it may be passed over, if there is anything behind it.)
 *
 * In a shared memory region that is overwritten `limit` is the thread's as well. What decides whose
 * a record is, the reader's or nobody's any more, is `taken`: both move it on by
 * compare and exchange, the reader behind copying what it takes, the thread before
 * it clears what it overwrites. So a copy is good if that exchange succeeds.
 */
#define AGENT_WORD_SKIP 256u
#define AGENT_WORD_TIME 512u

struct agent_ring {
	shared32 state; /* enum agent_ring_state, changed by compare and exchange only */
	shared32 tid;
	char comm[16];  /* when it was taken; "": not known */
	shared32 turns; /* how often it was taken */
	uint32_t reserved0;
	uint64_t reserved1[4];
	_Alignas(64) shared64 head; /* the thread's */
	/* The controller's: tail + AGENT_RING_SIZE. AGENT_RING_SIZE when it is first taken, 0 before. */
	_Alignas(64) shared64 limit;
	shared64 taken; /* in a shared memory region that is overwritten: what is before this was read, or is lost */
};

/* ---- the door ------------------------------------------------------------------ */

/*
 * Where a controller that may trace the process wakes the agent: a note of the
 * library's (owner "probepoint", type AGENT_NOTE_DOOR, 8 bytes: how far behind the
 * note's own description the door lies) leads to it. Addresses are the process's.
 */
#define AGENT_NOTE_DOOR 0x726f6f64u  /* "door" */
#define AGENT_DOOR_MAGIC 0x72647070u /* "ppdr" */
#define AGENT_DOOR_IMAGE 24576u      /* bytes at `image` */
#define AGENT_DOOR_CLAIMED (~0u)

struct agent_door {
	uint32_t magic, version;
	uint64_t self;           /* the door's own address */
	uint64_t stub, stub_end; /* a function without arguments that makes the agent's thread, by one clone(2) */
	uint64_t restorer;       /* in the stub's range: rt_sigreturn(2) */
	uint64_t image;          /* writable memory, for whoever has the stub called: what the call needs of a stack */
	uint32_t image_size;
	uint32_t closed;     /* 1: this agent sleeps for good */
	uint64_t stack, tls; /* the thread's; 0: not ready to be woken */
	uint32_t tid;        /* of the agent's thread; 0: it sleeps; AGENT_DOOR_CLAIMED: it is being made */
	int32_t error;       /* why clone(2) failed last */
	uint32_t waker;      /* the controller's: the thread that it had call the stub last */
	uint32_t pid;        /* the process whose thread it is or was: a forked child has the parent's words */
};

/* ---- messages ------------------------------------------------------------------ */

#define AGENT_MESSAGE_MAGIC 0x6d737070u /* "ppsm" */
#define AGENT_MESSAGE_MAX 16384u        /* bytes of a whole answer */

enum agent_op {
	AGENT_HELLO = 1, /* answer: struct agent_hello */
	AGENT_LOOK =
		2, /* look at the session's files again, arm and disarm; answer: struct agent_attachment_state[count] */
	AGENT_STATE = 3, /* of attachment, points from first on: struct agent_point_state[count] */
	AGENT_SHM =
		4, /* the session's shared memory region: its descriptor (SCM_RIGHTS), no payload; -ENOENT: it has none */
};

struct agent_request {
	uint32_t magic;
	uint16_t version, op;
	uint32_t attachment, first;
	char session[AGENT_SESSION_MAX + 8]; /* NUL behind it, and zeroes to the end */
};

struct agent_reply {
	uint32_t magic;
	uint16_t version, op;
	int32_t error;        /* 0, or a negative errno */
	uint32_t reason;      /* enum agent_reason, with an error */
	uint32_t count, size; /* how many, and bytes in all, of the payload behind this */
};

struct agent_hello {
	uint32_t pid, tid; /* the target's, the agent's thread's */
	uint64_t start_time;
	uint32_t uid;      /* effective, now */
	uint32_t reason;   /* enum agent_reason: why nothing can be armed here, or 0 */
	uint32_t sessions; /* that have a shared memory region here */
	uint32_t behind;   /* 1: it does not hear of dlopen(), and is to be asked to look */
};

struct agent_attachment_state {
	uint32_t attachment, reason;               /* reason: why the attachment's file was refused whole, or 0 */
	uint32_t npoints, armed, pending, refused; /* of the points that concern this process and are on */
};

/* ---- the keeper ------------------------------------------------------------------ */

/*
 * STATE/agents/keeper is the socket of a process that keeps shared memory regions, so that what was
 * counted outlives the process that counted: doc/agent-protocol.md. An agent sends one
 * struct agent_keep with its shared memory region's descriptor (SCM_RIGHTS), gets one byte, '1', and
 * keeps the connection for as long as it uses the shared memory region.
 */
#define AGENT_KEEPER "keeper"
#define AGENT_KEEP_MAGIC 0x706b7070u /* "ppkp" */

enum agent_keep_op {
	AGENT_KEEP_SHM = 1,    /* this is one to keep */
	AGENT_KEEP_SETTLE = 2, /* write down what is left of processes that have ended; a byte answers */
};

struct agent_keep {
	uint32_t magic;
	uint16_t version, op;
	uint64_t start_time;
	char session[AGENT_SESSION_MAX + 8];
};

enum agent_state {
	AGENT_OFF,     /* does not concern this process, or is switched off */
	AGENT_PENDING, /* no module mapped is its file */
	AGENT_ARMED,   /* the reason is a remark: AGENT_CALLS, AGENT_COST */
	AGENT_REFUSED, /* for a reason */
};

enum agent_reason {
	AGENT_OK,
	AGENT_BYTES,    /* bytes 1 to 10 of the site are no nop of 10 bytes (aarch64: it is no nop); `found` has them */
	AGENT_BLOCK,    /* bytes 1 and 2 do not share an aligned block of 8 */
	AGENT_NOT_TEXT, /* the offset is not in a private, executable mapping */
	AGENT_PROTECT,  /* mprotect() of the text was refused: a policy such as execmod */
	AGENT_FAR,      /* no room for slots within a jump's reach */
	AGENT_MEMORY,   /* no memory */
	AGENT_SEMAPHORE,      /* the semaphore is in no private, writable mapping, or would overflow */
	AGENT_MEMBARRIER,     /* membarrier SYNC_CORE is missing or forbidden */
	AGENT_CPU,            /* the CPU lacks lahf in 64-bit mode */
	AGENT_SLOTS_FULL,     /* more points than a shared memory region has places */
	AGENT_SESSIONS_FULL,  /* more sessions than an agent takes */
	AGENT_CONSUMERS_FULL, /* too many points on one site */
	AGENT_PROGRAM,        /* the fetch program cannot be compiled here */
	AGENT_FILE,           /* an attachment file that is damaged, or of another version */
	AGENT_FOLDER,         /* the session's folder or file cannot be read, or is not the user's */
	AGENT_BUSY,           /* a module is being unloaded, and does not end */
	AGENT_READ_BACK,      /* written, but not there when read back */
	AGENT_LIMIT,      /* a resource limit (file size, address space) is too small for the shared memory region */
	AGENT_MAPS,       /* /proc/self/maps cannot be read */
	AGENT_NOT_LOADED, /* the program mapped the code itself, not the C library's loader */
	AGENT_GONE,       /* the code was unmapped, or its protection changed, while it was to be written */
	AGENT_STORE,      /* set_robust_list(2) is missing or forbidden, by which the agent writes to text */
	AGENT_CALLS, /* hits must not make system calls. ARMED: what only a call can read is a fault; REFUSED: the filter needs one */
	AGENT_COST, /* ARMED: the filter may make a system call in each hit */
	AGENT_REASONS
};

struct agent_point_state {
	uint32_t slot; /* in the shared memory region; ~0u: none */
	uint8_t state, reason;
	uint8_t found[10]; /* with AGENT_BYTES */
};

_Static_assert(sizeof(struct agent_attachment) == 88 && sizeof(struct agent_process) == 16 &&
                       sizeof(struct agent_program) == 72 && sizeof(struct fetch_step) == 16 &&
                       sizeof(struct fetch_literal) == 65,
               "segment layout");
_Static_assert(sizeof(struct agent_counts) == 40 && sizeof(struct agent_count) == 32, "counts layout");
_Static_assert(sizeof(struct agent_shm) == 320 && sizeof(struct agent_slot) == 16 && sizeof(struct agent_ring) == 192,
               "area layout");
_Static_assert(sizeof(struct agent_request) == 88 && sizeof(struct agent_reply) == 24 &&
                       sizeof(struct agent_hello) == 32 && sizeof(struct agent_attachment_state) == 24 &&
                       sizeof(struct agent_point_state) == 16,
               "message layout");
_Static_assert(sizeof(struct agent_keep) == 88, "keeper layout");
_Static_assert(sizeof(struct agent_door) == 88, "door layout");
_Static_assert(AGENT_RING_SLACK >= RECORD_SIZE_MAX, "a record fits behind the end");

#endif
