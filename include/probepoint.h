/* SPDX-License-Identifier: MIT */
/*
 * libprobepoint: probe points of compiled programs, read from their files and
 * armed in running processes.
 *
 * The order of life: an image is opened and lists its probes, each with its
 * sites. A request says which probes, in which processes, under which filters.
 * A session arms a request and keeps it armed after everybody has gone; it
 * counts, and while a reader is attached it records. Whatever was asked for
 * comes back in a report as armed, pending or refused, each with its reason.
 *
 * Functions that can fail return 0 or a negative errno, and leave a sentence in
 * pp_error() that names the thing, the reason and what to do. Strings that a
 * getter returns belong to the object it was asked of. *_free() takes NULL.
 * Objects are not to be shared between threads without a lock; pp_error() is
 * the calling thread's. The library prints nothing.
 *
 * Times are in ns of CLOCK_MONOTONIC, addresses as linked, offsets in bytes from
 * the start of the file.
 */
#ifndef PROBEPOINT_H
#define PROBEPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* The sentence of this thread's last failure; "" before the first. */
const char *pp_error(void);
/*
 * What went wrong in single processes while a call succeeded, such as an agent that does not answer:
 * one sentence at a time, the oldest first, each once; NULL: there is none. Of this thread; good until
 * the next call.
 */
const char *pp_notice(void);

/* The library's version, "MAJOR.MINOR.PATCH". */
const char *pp_version(void);

/* ---- images: what is in a file -------------------------------------------- */

struct pp_image;
struct pp_probe;
struct pp_site;
struct pp_arg;

/*
 * Reads the probes of an ELF file (an executable or a shared library; x86-64
 * sites can be armed, others are listed). -ENOENT and the like from open(2);
 * -ENOEXEC: not ELF, or damaged so that nothing can be read. A damaged note
 * spoils itself alone: it is left out and told by pp_image_warning().
 * An image without probes is no error.
 */
int pp_image_open(const char *path, struct pp_image **image);
void pp_image_free(struct pp_image *image);

const char *pp_image_path(const struct pp_image *image);
const char *pp_image_build_id(const struct pp_image *image); /* hex; "" where there is none */
size_t pp_image_warnings(const struct pp_image *image);
const char *pp_image_warning(const struct pp_image *image, size_t i);

/* Probes stand in the order of provider, name. */
size_t pp_image_probes(const struct pp_image *image);
const struct pp_probe *pp_image_probe(const struct pp_image *image, size_t i);

/* The functions that the symbol tables name, one name after the other (a name may come twice); NULL: not fit to print. */
size_t pp_image_functions(const struct pp_image *image);
const char *pp_image_function(const struct pp_image *image, size_t i);

const char *pp_probe_provider(const struct pp_probe *probe);
const char *pp_probe_name(const struct pp_probe *probe);
const char *pp_probe_signature(const struct pp_probe *probe); /* "(int fd, const char *path)"; NULL where unknown */

/* Arguments are named by the signature, else arg0, arg1, ...; type is "" where unknown. */
size_t pp_probe_args(const struct pp_probe *probe);
const struct pp_arg *pp_probe_arg(const struct pp_probe *probe, size_t i);
const char *pp_arg_name(const struct pp_arg *arg);
const char *pp_arg_type(const struct pp_arg *arg);

/*
 * Of an argument that points to a structure, its fields as far as the file tells;
 * of one that is an enumeration, its names. None: not known. A field has size bytes
 * at offset; of a bit-field, bits (else 0) from bit on of the byte at offset.
 */
size_t pp_arg_fields(const struct pp_arg *arg);
const struct pp_field *pp_arg_field(const struct pp_arg *arg, size_t i);
const char *pp_field_name(const struct pp_field *field);
const char *pp_field_type(const struct pp_field *field);
void pp_field_place(const struct pp_field *field, unsigned *offset, unsigned *size, unsigned *bit, unsigned *bits);
size_t pp_arg_values(const struct pp_arg *arg);
const char *pp_arg_value(const struct pp_arg *arg, size_t i, int64_t *value); /* its name */

/* Sites stand in the order of their offsets. */
size_t pp_probe_sites(const struct pp_probe *probe);
const struct pp_site *pp_probe_site(const struct pp_probe *probe, size_t i);
uint64_t pp_site_address(const struct pp_site *site);
uint64_t pp_site_offset(const struct pp_site *site);
const char *pp_site_operands(const struct pp_site *site);
bool pp_site_semaphore(const struct pp_site *site, uint64_t *offset); /* false: it has none */
const char *pp_site_function(const struct pp_site *site);             /* NULL where unknown */
const char *pp_site_source(const struct pp_site *site);               /* "file:line"; NULL where unknown */

/* True where PATTERN ("PROVIDER:NAME", both globs; no colon: NAME) matches the probe. */
bool pp_probe_matches(const struct pp_probe *probe, const char *pattern);

/* The same for a probe that is known by its name alone, "PROVIDER:NAME". */
bool pp_name_matches(const char *probe, const char *pattern);

/*
 * Calls fn with the path of each ELF file that the process maps executable, once
 * a file; a path may be one of /proc/PID/... where the file has no name any more
 * or is in another mount namespace, and name is then what the process calls it.
 * Stops early with what fn returns, unless 0. -ESRCH: no such process; -EACCES:
 * another user's.
 */
int pp_process_images(pid_t pid, int (*fn)(const char *path, const char *name, void *arg), void *arg);

/* ---- requests: what is to be armed ---------------------------------------- */

struct pp_request;

int pp_request_new(struct pp_request **request);
void pp_request_free(struct pp_request *request);

/* Each can be repeated; strings are copied. -EINVAL with a sentence for what can never be. */
int pp_request_pattern(struct pp_request *request, const char *pattern);
int pp_request_file(struct pp_request *request, const char *path);
/*
 * A process is held from here on by a pidfd: one that ends meanwhile, and
 * another with its number, are never taken for it. -ESRCH: no such process.
 */
int pp_request_pid(struct pp_request *request, pid_t pid);
/* As _pid, for a child of the caller that has not called exec(2) yet; file is what it will run. */
int pp_request_command(struct pp_request *request, pid_t pid, const char *file);

/* "auto" (the start), "kernel" or "agent". -EINVAL: none of these. */
int pp_request_backend(struct pp_request *request, const char *backend);
/*
 * Hits for which the expression is false are counted as filtered and go no further
 * (doc/filters.md has the language). It is compiled for each site when the request is
 * armed; a site whose arguments it does not fit is refused, with the place in it.
 */
int pp_request_filter(struct pp_request *request, const char *expression);
/*
 * The argument of this name points to a string, where no signature tells. Pointers of
 * any probe that have the name are then read as strings. Can be repeated.
 */
int pp_request_string(struct pp_request *request, const char *argument);
/*
 * Reads the argument of this name as an address, although its type is `char *`. Can be repeated. Arming fails with -EDOM
 * if no probe that matches has an argument of such a name, here and of pp_request_string().
 */
int pp_request_no_string(struct pp_request *request, const char *argument);
/*
 * Whom the request means beside the processes named; one of these. Every process that
 * maps the images then meets the trap, and those that are not meant are not counted.
 * _children: what the processes fork from now on, to any depth. _pgrp: all in their
 * process groups. _cgroup: all in a control group (a folder of cgroup2) and below it.
 */
int pp_request_children(struct pp_request *request);
int pp_request_pgrp(struct pp_request *request);
int pp_request_cgroup(struct pp_request *request, const char *dir);
/*
 * How many calls of a function whose returns are armed (func:SYMBOL%return) may be under
 * way at a time, in each process asked for; 256 where nothing is said. Calls beyond
 * are counted as missed, as are those that one thread has under way beyond 800.
 */
#define PP_MAXACTIVE_MAX 1000000
int pp_request_maxactive(struct pp_request *request, unsigned n);
/*
 * What is armed ends with this process, in whatever way that ends: it is to call
 * pp_session_hold() next and to stay there. The session is to be seen by others meanwhile as
 * ever, and changed by them.
 */
void pp_request_hold(struct pp_request *request);
/*
 * What this request arms through the kernel may cost this share of one CPU (0.25: 25 %; 0: any). The budget is kept
 * while a process is in pp_session_hold() or pp_session_watch().
 */
void pp_request_budget(struct pp_request *request, double share);
/*
 * Arms nothing if the kernel would arm more than this many sites in running processes: pp_session_enable() returns
 * -EDQUOT then, and pp_error() has the numbers. 0: any number.
 */
void pp_request_many(struct pp_request *request, size_t sites);
/* Records from the start: a flight recorder. */
void pp_request_record(struct pp_request *request);
/*
 * The same, and where there is no room for a new record the thread's oldest ones are
 * lost instead of it. By agents only, and for all of a session or nothing of it.
 */
void pp_request_overwrite(struct pp_request *request);
/*
 * Allows agents to make system calls in hits (process_vm_readv, rt_sigprocmask, prctl, tgkill,
 * clock_gettime) where they do not know by themselves that no seccomp filter forbids them.
 * A filter that kills for one of them then kills the process.
 */
void pp_request_calls(struct pp_request *request);

/*
 * Whether this process has the privileges that the backend needs: "kernel" needs CAP_SYS_ADMIN, or CAP_BPF and CAP_PERFMON,
 * outside of containers; "agent" needs none. Returns false if there is no backend of this name.
 */
bool pp_backend_permitted(const char *backend);

/* ---- reports: what became of it ------------------------------------------- */

struct pp_report;

enum pp_state { PP_ARMED, PP_PENDING, PP_REFUSED };

void pp_report_free(struct pp_report *report);

/*
 * Rows: armed and pending ones stand for a probe in one file and process, refused
 * ones for a site (or for a probe or pattern whole; the offset is then -1).
 * pid is 0 for "every process that maps the file".
 */
size_t pp_report_rows(const struct pp_report *report);
enum pp_state pp_report_state(const struct pp_report *report, size_t row);
const char *pp_report_probe(const struct pp_report *report, size_t row);
pid_t pp_report_pid(const struct pp_report *report, size_t row);
const char *pp_report_file(const struct pp_report *report, size_t row);
const char *pp_report_build_id(const struct pp_report *report, size_t row);
const char *pp_report_backend(const struct pp_report *report, size_t row);
size_t pp_report_sites(const struct pp_report *report, size_t row);
/* All the bytes were read back from the process; false: could not be (see the reason), or nobody maps it. */
bool pp_report_verified(const struct pp_report *report, size_t row);
int64_t pp_report_offset(const struct pp_report *report, size_t row);
/* Of func:SYMBOL%return: how many calls of one thread are seen at a time; further ones are missed. 0: not limited, or other. */
unsigned pp_report_calls_per_thread(const struct pp_report *report, size_t row);
const char *pp_report_reason(const struct pp_report *report, size_t row); /* NULL where there is none to give */

/*
 * What is wrong with the notes of the files that the rows name, or of all files that were looked at if a pattern matched
 * nothing: probes may be missing for that reason.
 */
size_t pp_report_warnings(const struct pp_report *report);
const char *pp_report_warning(const struct pp_report *report, size_t i);

/* ---- sessions -------------------------------------------------------------- */

struct pp_session;

/*
 * Opens the session called name; create: makes it where it is not there.
 * Names are of letters, digits, '_' and '-', at most 64, not starting with '-'.
 * -EINVAL: no such name can be; -ENOENT: no such session; -EPERM: what is missing is
 * told; -EBUSY: another command has been at work on the session for five seconds.
 * Calls that look at a session or change it wait for each other, in whichever
 * processes; a session that is merely open hinders nobody. It is made by what is
 * armed in it first, and ends with what is disarmed last.
 */
int pp_session_open(const char *name, bool create, struct pp_session **session);
/*
 * A session that nobody else sees: what it arms is disarmed when it is closed or
 * its process ends, in whatever way.
 */
int pp_session_private(struct pp_session **session);
void pp_session_close(struct pp_session *session);
const char *pp_session_name(const struct pp_session *session);

/*
 * Arms. 0 where anything was armed, is pending, or was armed in this session already:
 * the report has the rest. -ENOENT: no probe matches any pattern; other errors where
 * nothing could be armed at all. *report is made in any case in which anything was
 * looked at, and the caller frees it; else NULL.
 * Interrupted in the middle (SIGINT set to a handler of the caller's, which sets
 * what _interrupt points at), what this call had begun is rolled back: -EINTR.
 */
int pp_session_enable(struct pp_session *session, const struct pp_request *request, struct pp_report **report);
void pp_session_interrupt(struct pp_session *session, const volatile int *flag);

/*
 * Holds what this process armed by requests that said so (pp_request_hold()), until the
 * deadline (CLOCK_MONOTONIC; 0: none), until all of the processes have ended (pidfds; none:
 * not looked at), until others have disarmed all of it, or until SIGTERM, SIGINT or SIGHUP
 * comes; then disarms the rest. SIGUSR1 is used meanwhile.
 */
int pp_session_hold(struct pp_session *session, uint64_t deadline, const int *pidfds, size_t npidfds);
/*
 * For pp_session_hold(): hits may cost this share of one CPU (0.05: 5 %). Each second in
 * which they cost more, the points that were hit most are taken out; pp_stat_over_budget()
 * tells which.
 */
void pp_session_budget(struct pp_session *session, double share);

/*
 * Watches the budgets (pp_request_budget()) of what stays armed without a holder. If the session's hits cost more, the
 * points that were hit most are disarmed; they stay in the session with their counts, and pp_stat_stopped() tells why.
 * Calls ready once it watches, unless another process does already. Returns when no point is left to be watched, when
 * SIGTERM, SIGINT or SIGHUP comes, or when no other process can see the session's store (it is in a mount namespace
 * of its own). -EALREADY: another process watches.
 */
int pp_session_watch(const char *name, void (*ready)(void *arg), void *arg);
/* The budget of points that are armed, as a share of one CPU, 0 if they have none; watched: a process keeps it. */
double pp_session_limit(const struct pp_session *session, bool *watched);
/* Ends the budgets that pp_session_watch() keeps, of what is armed now. */
void pp_session_unlimit(struct pp_session *session);

struct pp_cost {
	uint64_t hits; /* while it was measured, of processes that are not meant too */
	double trap_ns,
		program_ns; /* CPU time of a hit: the trap, and (0 where there were no hits) what is done there */
	double share;       /* of one CPU */
	double call_ns;     /* what is subtracted from the durations of calls for their traps, at most; 0: no calls */
};

/* Measures for so many ms what the session's hits cost. */
int pp_session_cost(struct pp_session *session, int ms, struct pp_cost *cost);

/*
 * Disarms what matches any of the patterns (none: everything), in the process pid
 * (0: in any). *points is how many points were taken out; returns when their bytes
 * are back. A session with nothing left in it ends. -ENOENT: nothing matched.
 */
int pp_session_disable(struct pp_session *session, pid_t pid, const char *const *patterns, size_t npatterns,
                       size_t *points);

/* Calls fn with the name of each session that is there, in the order of the names. */
int pp_sessions(int (*fn)(const char *name, void *arg), void *arg);

/* ---- what is armed where --------------------------------------------------- */

struct pp_armed;

/* A snapshot of all sessions that the caller may see. */
int pp_armed_read(struct pp_armed **armed);
void pp_armed_free(struct pp_armed *armed);
/* The i-th session in which this site of this image is armed, NULL past the last. */
const char *pp_armed_session(const struct pp_armed *armed, const struct pp_image *image, const struct pp_site *site,
                             size_t i);

/* ---- counts ---------------------------------------------------------------- */

struct pp_stat;

struct pp_counts {
	uint64_t hits, filtered, idle, recorded, lost;
	/* of returns: calls begun, and those of them that were not watched, have not ended, ended otherwise */
	uint64_t entries, missed, under_way, abandoned;
	uint64_t other; /* of rows of all processes together: hits that pp_stat_process() has not */
};

/*
 * Reads the counters: one row a probe, file and process asked for (pid 0: all of
 * them together), in the order of probe, file, pid. hits = filtered + idle +
 * recorded + lost holds when nothing is under way. Of returns entries = hits + missed +
 * under_way + abandoned; abandoned are calls that a longjmp, an exception or the end of
 * their thread cut short, counted when that is seen: at their thread's next call, return
 * or end.
 */
int pp_session_stat(struct pp_session *session, struct pp_stat **stat);
void pp_stat_free(struct pp_stat *stat);
size_t pp_stat_rows(const struct pp_stat *stat);
/*
 * Compares what two rows count: 0 if it is the same probe of the same file and process, in two readings of a session.
 * Rows of one stat are in this order, and no two of them are equal: a pid that is used again, and a path whose file was
 * replaced, have a row for each process and file.
 */
int pp_stat_order(const struct pp_stat *a, size_t i, const struct pp_stat *b, size_t j);
const char *pp_stat_probe(const struct pp_stat *stat, size_t row);
pid_t pp_stat_pid(const struct pp_stat *stat, size_t row);
const char *pp_stat_file(const struct pp_stat *stat, size_t row);

/* What became of the row's process: one that is not PP_LIVES is not hit any more. PP_LIVES if pid is 0. */
enum pp_life {
	PP_LIVES,
	PP_ENDED,
	PP_OTHER, /* its pid is another process's now */
};

enum pp_life pp_stat_life(const struct pp_stat *stat, size_t row);

/*
 * What is at the file's path. Processes that map the old file are still hit after it was replaced or deleted; what
 * starts later is not.
 */
enum pp_file_state {
	PP_FILE_PRESENT,
	PP_FILE_REPLACED,
	PP_FILE_DELETED,
};

enum pp_file_state pp_stat_file_state(const struct pp_stat *stat, size_t row);
const char *pp_stat_backend(const struct pp_stat *stat, size_t row);
size_t pp_stat_sites(const struct pp_stat *stat, size_t row);
/*
 * Of a row of all processes together: how many of them are told apart, and the i-th with its hits, by
 * process id. A process that has ended stays. Some thousands are kept in a session; counts->other is of
 * the rest, and all together are counts->hits.
 */
size_t pp_stat_processes(const struct pp_stat *stat, size_t row);
pid_t pp_stat_process(const struct pp_stat *stat, size_t row, size_t i, uint64_t *hits);
size_t pp_stat_over_budget(const struct pp_stat *stat,
                           size_t row); /* sites that were taken out, see pp_session_budget() */
/* The same, and what the session cost when the last of them was stopped, and its budget: shares of one CPU. */
size_t pp_stat_stopped(const struct pp_stat *stat, size_t row, double *share, double *limit);
void pp_stat_counts(const struct pp_stat *stat, size_t row, struct pp_counts *counts);
/* Processes that were killed, or ended by _exit(2), and whose counts nobody kept: what they counted is missing. */
size_t pp_stat_uncounted(const struct pp_stat *stat);

/* ---- records --------------------------------------------------------------- */

struct pp_reader;
struct pp_event;

/* The session records from here on, until the reader is freed (or dies: then for two seconds more). */
int pp_reader_open(struct pp_session *session, struct pp_reader **reader);
void pp_reader_free(struct pp_reader *reader);

/*
 * The next record, in *event, which is the reader's and good until the next call.
 * 1: there is one; 0: none came within timeout_ms (-1: for ever); -EINTR; -EBADMSG:
 * a record that cannot be (it was passed over, and reading can go on).
 */
int pp_reader_next(struct pp_reader *reader, int timeout_ms, const struct pp_event **event);

/*
 * A descriptor for poll(2), select(2) and epoll(7). It becomes readable when pp_reader_next() may return a record, and stays
 * so until pp_reader_next() has returned 0. Hits do not wake readers, so it is a timer that expires every 5 ms: a caller
 * that waits for it wakes that often, as pp_reader_next() does when it waits. It belongs to the reader. -EMFILE and the like.
 */
int pp_reader_fd(struct pp_reader *reader);

/*
 * Ends recording; what was recorded before can still be read. Hits that come later are idle (of a session that records
 * without a reader: recorded, for the next one).
 */
void pp_reader_stop(struct pp_reader *reader);

/* Which point of which process a record is of. */
struct pp_mark {
	uint32_t attachment, point;
	pid_t pid;
};

void pp_event_mark(const struct pp_event *event, struct pp_mark *mark);
/*
 * The caller read the record and could not keep it (a full disk). The session counts it as lost from here on, and not
 * as recorded any more.
 */
void pp_reader_lose(struct pp_reader *reader, const struct pp_mark *mark);

/*
 * For a caller that ends before pp_reader_next() returns 0: what the reader has taken out of the session and not given
 * to the caller is lost, and nothing more can be read.
 */
void pp_reader_drop(struct pp_reader *reader);

/* What became of the session's records since the reader was opened. */
struct pp_reader_counts {
	uint64_t recorded; /* by the session's counters */
	uint64_t lost;     /* there was no room, or they were damaged, or pp_reader_lose() had them */
	uint64_t damaged;  /* of the lost ones, those that recorded contains too */
};

void pp_reader_counts(struct pp_reader *reader, struct pp_reader_counts *counts);

enum pp_kind {
	PP_SIGNED,
	PP_UNSIGNED,
	PP_POINTER,
	PP_STRING,
	PP_BOOL,
	PP_CHAR,
	PP_FLOAT,
	PP_FAULT,   /* could not be read: its memory was not there */
	PP_MISSING, /* can never be read at this site: its operand cannot be resolved */
};

uint64_t pp_event_time(const struct pp_event *event); /* ns of CLOCK_MONOTONIC, of the machine's first time namespace */
/*
 * The time of day, ns since 1970. It follows steps of the clock, and time that the machine was suspended, as far as the
 * reader was there; records of less than a tenth of a second before a step may be told by the new clock.
 */
int64_t pp_event_time_of_day(const struct pp_event *event);
pid_t pp_event_pid(const struct pp_event *event);
pid_t pp_event_tid(const struct pp_event *event);
const char *pp_event_comm(const struct pp_event *event);
const char *pp_event_probe(const struct pp_event *event); /* "provider:name" */
size_t pp_event_args(const struct pp_event *event);
const char *pp_event_arg_name(const struct pp_event *event, size_t i);
enum pp_kind pp_event_arg_kind(const struct pp_event *event, size_t i);
int64_t pp_event_arg_int(const struct pp_event *event,
                         size_t i); /* all but PP_STRING, PP_FLOAT, PP_FAULT, PP_MISSING */
double pp_event_arg_float(const struct pp_event *event, size_t i); /* PP_FLOAT */
/* PP_STRING: its bytes, *length of them and a NUL behind; *cut: there was more in the target. */
const char *pp_event_arg_string(const struct pp_event *event, size_t i, size_t *length, bool *cut);

/* ---- traces on disk (CTF 1.8) ---------------------------------------------- */

struct pp_trace;

/*
 * Makes the folder dir (which must not be there) and writes the session's metadata into
 * it. The trace is to be closed before the session.
 */
int pp_trace_create(const char *dir, struct pp_session *session, struct pp_trace **trace);
/* event NULL: writes out what is held back to be sorted. -EBADMSG: this event only is left out. */
int pp_trace_write(struct pp_trace *trace, const struct pp_event *event);
/* How many events the trace on disk has. What is held back is not among them. */
uint64_t pp_trace_events(const struct pp_trace *trace);
/*
 * Says how many events were lost in all since the trace was made. If it is not called, the session's counters say so.
 * pp_trace_close() writes the number into the trace, also on a full disk as long as a packet is there to hold it.
 */
void pp_trace_lost(struct pp_trace *trace, uint64_t lost);
/* Writes out the rest. Events that could not be written are lost, as by pp_reader_lose(). Errors that were put off (a full disk) come back here. Frees the trace in any case. */
int pp_trace_close(struct pp_trace *trace);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
