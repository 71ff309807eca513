/* SPDX-License-Identifier: MIT */
/*
 * The agent's own: what its files share. It lives in somebody else's process, so
 * its rules are narrow. It allocates by mmap, never by malloc; prints nothing;
 * keeps errno; has no signal handler; and whatever it is in doubt about, it
 * refuses with a reason.
 *
 * All but the trampolines runs with `agent.lock` held, mostly in the agent's thread. That
 * thread has a table of descriptors to itself, so that neither sees the other's:
 * a daemon that closes all of its descriptors closes none of ours.
 */
#ifndef RUNTIME_AGENT_INPROC_AGENT_H
#define RUNTIME_AGENT_INPROC_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* The agent's own (libc.c); the name itself is a wrapper's, which the program calls. */
#ifdef AGENT_INSIDE
long agent_syscall(long number, ...) __attribute__((visibility("hidden")));
#define syscall agent_syscall
#endif

#include "runtime/agent/inproc/cpu.h"
#include "runtime/agent/protocol.h"

#define SHMS_MAX 8
#define SESSIONS_MAX 256
#define CONSUMERS_MAX 8 /* on one site */
#define MUTED_MAX 64
#define FLIGHTS 16

/*
 * Words that other processes can write: each macro reads or writes its word once. What
 * was read is checked before it becomes an index or an address, and is not read again.
 */
#define shared_get(x) __atomic_load_n(&(x).word, __ATOMIC_RELAXED)
#define shared_acquire(x) __atomic_load_n(&(x).word, __ATOMIC_ACQUIRE)
#define shared_set(x, value) __atomic_store_n(&(x).word, value, __ATOMIC_RELAXED)
#define shared_release(x, value) __atomic_store_n(&(x).word, value, __ATOMIC_RELEASE)
#define shared_add(x, value) __atomic_fetch_add(&(x).word, value, __ATOMIC_RELAXED)
#define shared_swap(x, was, will) \
	__atomic_compare_exchange_n(&(x).word, was, will, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)

#define MUTED_CLOCK 1u  /* reading the CPU's counter would kill it */
#define MUTED_SHARED 2u /* another task has the same thread-local data */

/* What a thread knows of itself; trampolines reach it by the thread pointer. All zero before its first hit. */
struct thread {
	struct agent_ring *ring[SHMS_MAX];
	uintptr_t sure_low, sure_last; /* what of its stack can be read directly; last is 8 below the end. 0: nothing */
	uintptr_t stack_low, stack_end; /* the stack that the C library gave it; end 1: unknown */
	uint32_t tid;
	uint32_t busy;           /* taking a ring */
	uint32_t skip, patience; /* hits until it looks for one again */
	uint32_t dropping;       /* old records */
	uint32_t muted;          /* MUTED_*: it takes no ring */
};

extern __thread struct thread agent_thread __attribute__((tls_model("initial-exec")));

/*
 * Beside each region of trampolines, in a page that fork wipes: with alive 0 a trampoline does
 * nothing at all. So a child that was made behind the C library's back stays quiet.
 */
struct life {
	uint32_t alive;
	uint32_t pid;
};

/* ---- memory: arena.c ---- */

void *arena_get(size_t size); /* zeroed, for ever; NULL */
void *pages_get(size_t size); /* zeroed */
/* As mmap(2), at a place that neither the kernel nor programs choose. */
void *map_apart(size_t size, int protection, int flags, int fd);
void pages_put(void *at, size_t size);
/* size bytes of the file, shared; pages come as they are touched, also where the process locks its memory. NULL. */
void *memory_map(int fd, void *at, size_t size, int protection);
bool memory_allowed(size_t size); /* by RLIMIT_AS, with enough left for the program */
/* More than a few pages are made ready in steps, as they come to be used: from had to used. */
void pages_ready(const void *at, size_t had, size_t used, size_t room);

/* A vector that grows. */
struct vector {
	void *at;
	size_t n, room; /* bytes */
};
void *vector_add(struct vector *v, size_t size); /* zeroed; NULL. Moves what is there */
static inline void vector_clear(struct vector *v)
{
	v->n = 0;
}

/* ---- lock: a futex, with a way out ---- */

struct lock {
	uint32_t word;
};
void lock_get(struct lock *lock);
bool lock_try(struct lock *lock, unsigned ms);
void lock_put(struct lock *lock);
void word_wait(uint32_t *word, uint32_t value, unsigned ms);
void word_wake(uint32_t *word);

/* ---- the store: store.c ---- */

/* Where the user's folder for such things is, as the process began with; NULL. */
void store_remember(const char *runtime_dir);
/* The state folder; -1. make: where it is missing. From the second time on only the same. */
int store_open(bool make);
/* The same, where there may be none, with as few system calls as that takes. */
int store_look(void);
/* The folder of that name in dir, if it is the user's alone. */
int store_folder(int dir, const char *name, bool make);
bool store_session_ok(const char *name);
/* Calls fn with each name in the folder; stops with what is not 0. */
int store_list(int dir, int (*fn)(int dir, const char *name, void *arg), void *arg);
/* Writes it whole: 0, or a negative errno. */
int store_write(int dir, const char *name, const void *data, size_t size);
uint64_t process_start_time(uint32_t pid);  /* 0: own */
size_t format_number(char *to, uint64_t n); /* NUL behind it */
int64_t parse_number(const char *text);     /* -1: it is none */

/* ---- programs and attachments: attachment.c ---- */

/* A program as trampolines are made from it: one copy for all that are equal, for ever. */
struct program {
	struct program *next;
	uint64_t hash;
	struct fetch_program fetch;
	uint8_t *depths;
	bool filter_calls, argument_calls; /* may have to make a system call for memory that it reads */
};

struct identity {
	uint64_t device, inode, size, changed, changed_ns;
};

struct loaded_attachment {
	struct session *session;
	uint32_t number;
	uint32_t reason; /* of the file: refused whole */
	struct identity identity;
	bool seen;
	uint32_t inherited; /* the pid of the ancestor that it was armed for, with its children; 0 */
	void *data;
	size_t size;
	const struct agent_attachment *header;
	const struct manifest *manifest;
	const uint8_t *on;
	struct program **programs; /* nprograms; looked up when first wanted */
	struct agent_point_state *points;
	size_t programs_size, points_size;
};

/* 0; else an enum agent_reason, and nothing is kept. fd is read whole. */
enum agent_reason attachment_read(struct loaded_attachment *attachment, int fd, size_t size);
bool attachment_names(const struct loaded_attachment *attachment, uint32_t pid, uint64_t start_time);
void attachment_release(struct loaded_attachment *attachment);
bool attachment_concerns(const struct loaded_attachment *attachment, const struct manifest_point *point);
struct program *attachment_program(struct loaded_attachment *attachment, uint32_t spec);

/* ---- modules: modules.c ---- */

struct mapping {
	uintptr_t start, end;
	uint64_t offset, device, inode;
	const char *path;   /* "" where there is none; good until they are read again */
	uint8_t protection; /* PROT_* */
	bool shared, is_stack, is_heap;
};

/* Opens what is read later, before a chroot() hides it. */
void modules_open(void);
bool modules_has_thread(uint32_t tid);
int modules_threads(void); /* the directory of all threads of the process, opened; -1 */
/* Whether the process has no thread any more but the one that asks. */
bool modules_last(uint32_t pid);
/* By users, groups, capabilities and filters of system calls: whether one thread may do all that the other may; whether any of the program's may do what ours may. */
bool modules_covers(uint32_t one, uint32_t other);
bool modules_covered(uint32_t tid);
/* Reads /proc/self/maps anew; -errno. They stand in the order of their addresses. */
int modules_read(void);
size_t modules_count(void);
uint64_t modules_size(void); /* bytes of all mappings */
const struct mapping *modules_get(size_t i);
const struct mapping *modules_at(uintptr_t address);
bool modules_is_file(const struct mapping *mapping, const struct manifest_file *file, const char *path);
/* Whether size readable bytes there are of the image whose text that is: its file's or its bss. */
bool modules_is_image(const struct mapping *text, uintptr_t address, size_t size);
/*
 * Whether the C library's loader has mapped the image around that text. Only dlclose() unmaps
 * such an image. What the program maps itself it may unmap at any moment.
 */
enum modules_loaded {
	MODULES_NOT_LOADED,
	MODULES_LOADED,
	MODULES_LOADING, /* not in the loader's list, which is being changed */
};
enum modules_loaded modules_loaded(const struct mapping *text);
/* Reads /proc/self/maps again, for modules_unchanged() alone; -errno. */
int modules_reread(void);
/* Whether all of start to end is still mapped from the text's file, at the same offset and with that protection. */
bool modules_unchanged(const struct mapping *text, uintptr_t start, uintptr_t end, int protection);
/* Reads memory of this process that may not be there. */
bool modules_copy(void *to, uintptr_t from, size_t size);
/* The nth place for size bytes within 2 GiB of all from low to high; 0: there is no more. */
uintptr_t modules_gap(uintptr_t low, uintptr_t high, size_t size, unsigned nth);

/* ---- shared memory regions and rings: ring.c ---- */

/* One of the few shared memory regions; a session gets one when it first arms a point here. */
struct shm {
	unsigned index;
	struct session *session; /* NULL: nobody's now */
	struct agent_shm *at;    /* mapped for ever, at one place; NULL before its first use */
	int fd;                  /* the memfd, in the agent's thread; -1 */
	int keep;                /* a connection to whoever keeps it, there as well; -1 */
	bool asked;              /* somebody has been given it */
	uint32_t next_ring;      /* where to look first for one to take by force: the last such was the one before */
	struct vector slots;     /* struct agent_slot: our own copy */
};

struct session {
	char name[AGENT_SESSION_MAX + 8]; /* "": free */
	struct identity folder;
	bool seen;
	uint32_t reason; /* of the folder, or why there is no shared memory region */
	bool records;    /* an attachment asked for it */
	bool overwrites; /* the same */
	bool awaited;    /* it is being read, and its reader does not know our shared memory region yet */
	struct shm *shm;
	struct vector attachments; /* struct loaded_attachment * */
};

enum agent_reason shm_make(struct session *session);
/* In a forked child, or an agent that starts again: another memfd in the shared memory region's place. keep: with what it holds. */
int shm_renew(struct shm *shm, bool keep);
void shm_leave(struct session *session);
/* Makes what is unused of all shared memory regions inaccessible, and accessible again and unlocked; the lock is held. */
void shms_hide(bool hide);
void shm_records(struct session *session);
int64_t shm_slot(struct shm *shm); /* a new one; -1 */
void shm_name_slot(struct shm *shm, uint32_t slot, uint32_t attachment, uint32_t point);
void shm_count(const struct shm *shm, uint32_t slot, struct agent_count *count);
void rings_at_exit(void *unused); /* gives the calling thread's rings back, without a system call */
uint64_t agent_now(void);         /* of the shared memory regions' clock */

/* ---- trampolines: trampoline.h; sites: sites.h ---- */

/* There may be a hundred thousand of these two, and clearing their pages is most of what making them costs. */
struct consumer {
	uint32_t next; /* index + 1, of an older one */
	uint32_t slot;
	struct program *program;
	struct loaded_attachment *attachment; /* whose point takes it in this pass */
	uint32_t point;
	uint8_t shm;
	uint8_t live;          /* in the trampoline that is armed */
	uint8_t in_trampoline; /* in the trampoline that was made last */
	uint8_t taken;         /* in this pass */
};

struct site {
	uintptr_t address;  /* of byte 0 */
	uint32_t consumers; /* index + 1 of the first */
	uint8_t armed, touched, failed;
	uint8_t nwant; /* consumers taken */
	uint8_t was[JUMP], will[JUMP];
	uint8_t tail[5]; /* what follows the jump in the nop of 10 bytes, and stays */
	uint8_t semaphore_held;
	uint16_t *semaphore;  /* where one is held or wanted */
	uintptr_t trampoline; /* the last one made for it, in this module */
	uintptr_t trampoline_base;
	uint64_t trampoline_device, trampoline_inode;
};

/* The CPU's: patch-CPU.c. */
extern const uint8_t site_nop[SITE_NOP];
bool site_fits(uintptr_t address); /* whether it can be patched where it stands */
void site_jump(uintptr_t address, uintptr_t trampoline, uint8_t bytes[JUMP]);
int site_protection(const struct mapping *text); /* what mprotect() is to be told that it has */
/* Whether these bytes, from SITE_AT on, do nothing and may become a jump. */
bool site_is_nop(const uint8_t now[SITE_NOP]);
/* Around the steps of a batch. false: this kernel cannot write safely. */
bool site_write_begin(void);
void site_write_end(void);
/*
 * Makes one of the SITE_STEPS from site->was to site->will; all processors serialize
 * after each. false: the text is not there any more; nothing was written. It may be
 * written later, by site_write_flush(): call that when site_write_full(), and after a
 * step, until it returns NULL; it returns sites whose text is not there any more.
 */
bool site_write(struct site *site, unsigned step);
bool site_write_full(void);
struct site *site_write_flush(void);

/* Makes the sites what the attachments want; every point's state says what became of it. */
void sites_apply(void);

/* ---- sessions: session.c ---- */

struct session *agent_session(const char *name);
/* Reads the sessions' files as the process begins: whether any is for it. Nothing is armed yet. */
bool sessions_concern(int store);
/* Says in the session's folder that nobody keeps what this process counts, or takes it back. */
void session_unkept(int store, const struct session *session, bool unkept);
/* A forked child's files, and what is left behind at the end. */
void sessions_inherit(int store);
void sessions_leave(void);

static inline size_t nattachments(const struct session *session)
{
	return session->attachments.n / sizeof(struct loaded_attachment *);
}

static inline struct loaded_attachment **attachments_of(const struct session *session)
{
	return session->attachments.at;
}

/* ---- all of it: agent.c ---- */

struct agent {
	struct lock lock;
	uint32_t reason; /* why nothing can be armed here */
	uint32_t pid, tid;
	uint64_t start_time;
	struct session sessions[SESSIONS_MAX];
	struct shm shms[SHMS_MAX];
	uint32_t unloading; /* threads in dlclose() */
	uint32_t npending;  /* points that wait for their module, or may */
	uint32_t narmed;    /* sites */
	bool begins;        /* the program does, and this is the first look at the files */
	bool behind;        /* the C library comes before us: we do not hear of dlopen() and dlclose() */
	int key;            /* of thread-specific data, -1 */
	/* For strings on the heap, see entry.c: */
	const unsigned *nthreads; /* the C library's, which debuggers read; NULL */
	uint32_t own_threads;     /* that the C library counts: none */
	uint32_t shares_memory;   /* it was cloned, and not as a thread */
	uintptr_t heap;           /* its beginning */
	const void *heap_end;     /* where the C library has its end */
	/* For the path of a hit, see calls.c: */
	uint32_t calls;                /* hits may make system calls, if this is more than sealed */
	uint32_t sealed;               /* a thread has asked for a filter of system calls */
	bool began_filtered, harmless; /* there was a filter at first; one was set that lets calls fail at worst */
	bool has_ticks;                /* the shared memory regions' clock is the CPU's counter */
	uint32_t hidden;    /* unused parts of shared memory regions cannot be touched now: no ring is taken */
	uint32_t clockless; /* a thread has given up its clock: threads without a ring take none */
	uint32_t nmuted;    /* threads in seccomp's strict mode */
	uint32_t muted[MUTED_MAX];
	uint32_t tid_at;              /* where the C library has a thread's id, from the thread pointer; 0: unknown */
	uint32_t pthread_size;        /* of its struct pthread */
	uintptr_t main_low, main_end; /* the first thread's stack */
	struct {
		_Alignas(64) uint32_t n; /* calls under way in hits, and rings being taken, of some of the threads */
	} flight[FLIGHTS];
};

extern struct agent agent;
extern struct agent_wake_entry agent_door __attribute__((visibility("hidden")));

/*
 * Reads the sessions' files again and applies them; the lock is held. The agent's
 * thread only. false: a library is being unloaded, and that does not end.
 */
bool agent_look(int store);

/* Around what the agent's thread changes: agent.lock is held, and nobody forks. */
void change_begin(void);
void change_end(void);

/* For wrappers, in any thread. */
bool agent_awake(void);
bool agent_waits(void);
void agent_look_soon(bool wait);
/* Has the thread end; alone: only where the process has no other. false: there is nothing to have back. */
bool agent_step_aside(bool alone);
void agent_leave(void); /* the thread ends, before a filter for all threads reaches it */
/* Whether the program's calls come to our wrappers: wrap.c. */
bool wrap_hears(void);
/* Finds the functions that stand behind ours. */
void wrap_begin(void);
void agent_step_back(void);
void agent_stay_aside(void);
/* The calling thread has other rights now, or made this prctl(2): the agent's thread takes the same, or ends. */
void agent_follow(void);
void agent_follow_prctl(long option, long a, long b, long c, long d);

/* The socket; serves one peer to its end, or until wake is readable. false: nobody came. */
int control_open(int store);
void control_close(int store);
bool control_serve(int listener, int wake, int store);

/* Hands shared memory regions to the keeper that it has not got yet. */
void shms_keep(int store);

/* What a hit may do: calls.c. */
void calls_begin(void);  /* once, in a thread of the C library's */
void calls_forked(void); /* in a child whose parent's agent slept */
void calls_settle(void); /* in the agent's thread, before anything is armed */
void calls_look(void);   /* before anything is armed: sets agent.calls by what /proc says of the threads */
bool calls_allowed(void);
/* Of a system call that the program is about to make. Returns whether the agent's thread was sent away for it. */
bool calls_hear(long number, unsigned long a, unsigned long b, unsigned long c);
bool calls_filtered(void); /* of the calling thread */
bool calls_sealed(void);   /* a filter may be in force here: no system call that the program did not ask for */

void regions_alive(bool alive);
void regions_close(void);
void regions_hide(bool hide);                                   /* as areas_hide() */
void memory_hide(uintptr_t from, uintptr_t to, int protection); /* whole pages in between */
void hits_wait(void); /* until what hits did under flight[] when this was called is done, or a while */

#endif
