/* SPDX-License-Identifier: MIT */
/*
 * libprobepoint: probe points of compiled programs, read from their files and armed in running processes.
 *
 * An image (struct pp_image) is an ELF file. It has probes, each with its sites. A request (struct pp_request) says
 * which probes, in which processes, under which filter. A session (struct pp_session) arms requests: a report (struct
 * pp_report) says for each probe whether it was armed, is pending, or was refused, and why. Points stay armed after the
 * process that armed them has ended, until pp_session_disable(). A session counts hits (struct pp_stat), and records
 * them while a reader (struct pp_reader) is attached. The events that a reader returns can be written to a trace on
 * disk (struct pp_trace).
 *
 * Errors. Functions that can fail return 0 or a negative errno. pp_error() then returns a message that names the thing,
 * the reason and the remedy. Every function may fail with -ENOMEM. The library prints nothing.
 *
 * Ownership. A function that makes an object stores it at its last argument; if it fails, it stores NULL or nothing.
 * The caller frees the object by its _free() or _close() function, which accepts NULL. Strings and objects that a
 * getter returns belong to the object passed to the getter, and are valid until that object is freed or changed.
 * Strings passed in are copied. Free readers and close traces before their session. Reports and statistics may outlive
 * their session.
 *
 * Indices start at 0. For an index out of range, a getter returns NULL or 0; one that returns an enumeration returns
 * its last value; pp_event_arg_kind() returns PP_MISSING.
 *
 * Functions that fill a structure which can grow take its size, the caller's sizeof, as an argument. The library writes
 * no more than this size, and clears members that it does not know. So programs and libraries of different versions work
 * together. struct pp_mark does not grow.
 *
 * Threads. An object must not be used by two threads at once. pp_error() and pp_notice() are per thread.
 *
 * Blocking. Functions that look at a session or change it take a lock of the session and wait for it at most 5 s for
 * each backend; then they return -EBUSY. An open session holds no lock. Other waits are stated at each function.
 *
 * Privileges. The agent backend arms processes of the same user and needs none. The kernel backend needs CAP_SYS_ADMIN,
 * or CAP_BPF and CAP_PERFMON on Linux 6.6 and later, in the first user namespace; without them, functions that need it
 * return -EPERM.
 * With CAP_SYS_PTRACE it can also verify what it armed in processes of other users.
 *
 * Times are ns of CLOCK_MONOTONIC in the initial time namespace, addresses are as linked, offsets are bytes
 * from the start of the file.
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

/* The version of this header. */
#define PROBEPOINT_VERSION_MAJOR 0
#define PROBEPOINT_VERSION_MINOR 2
#define PROBEPOINT_VERSION_PATCH 0

#pragma GCC visibility push(default)

/* Returns the message of this thread's last failure, "" before the first. Valid until the next failure. */
const char *pp_error(void);
/*
 * Returns the next message about a single process that a successful call could not use, such as one whose agent does
 * not answer. Returns each message once, the oldest first, and then NULL. Per thread. A message is valid until the next
 * call.
 */
const char *pp_notice(void);

/* Returns the version of the library, "MAJOR.MINOR.PATCH". */
const char *pp_version(void);

/* ---- images: what is in a file -------------------------------------------- */

struct pp_image;
struct pp_probe;
struct pp_site;
struct pp_arg;
struct pp_field;

/*
 * Reads the probes of an ELF file: an executable, a shared library, or an object file, which cannot be armed and whose
 * addresses are offsets in the file. An image may have no probes. A damaged note is
 * left out and reported by pp_image_warning(). Fails as open(2) does; -ENOEXEC: the file is not ELF, or too damaged to
 * be read.
 */
int pp_image_open(const char *path, struct pp_image **image);
/*
 * Does the same, but keeps only the probes that match one of n patterns (see pp_probe_matches()); all if n is 0. With many
 * sites on one semaphore, probes that do not match may be kept, too. flags: PP_IMAGE_COUNTS counts the sites of each probe
 * without keeping them, which takes less memory: pp_probe_site() then returns NULL.
 */
#define PP_IMAGE_COUNTS 1u
int pp_image_open_matching(const char *path, const char *const *patterns, size_t n, unsigned flags,
                           struct pp_image **image);
void pp_image_free(struct pp_image *image);
/*
 * Calls fn with the path "ARCHIVE(MEMBER)" of each ELF file in an archive, until it returns nonzero, and returns that value.
 * pp_image_open() opens such a path. Returns 1 without a call if the file is not an archive, or a negative errno.
 */
int pp_archive_members(const char *path, int (*fn)(const char *member, void *arg), void *arg);

const char *pp_image_path(const struct pp_image *image);
/* Returns the build id in hex, "" if the file has none. */
const char *pp_image_build_id(const struct pp_image *image);
size_t pp_image_warnings(const struct pp_image *image);
const char *pp_image_warning(const struct pp_image *image, size_t i);

/* Probes are sorted by provider and name. */
size_t pp_image_probes(const struct pp_image *image);
const struct pp_probe *pp_image_probe(const struct pp_image *image, size_t i);

/* The functions that the symbol tables name. A name may occur twice. NULL: the name cannot be printed. */
size_t pp_image_functions(const struct pp_image *image);
const char *pp_image_function(const struct pp_image *image, size_t i);

const char *pp_probe_provider(const struct pp_probe *probe);
const char *pp_probe_name(const struct pp_probe *probe);
/* Returns for example "(int fd, const char *path)". NULL: not known. */
const char *pp_probe_signature(const struct pp_probe *probe);

/* Arguments have the names of the signature, else arg0, arg1, .... A type is "" if it is not known. */
size_t pp_probe_args(const struct pp_probe *probe);
const struct pp_arg *pp_probe_arg(const struct pp_probe *probe, size_t i);
const char *pp_arg_name(const struct pp_arg *arg);
const char *pp_arg_type(const struct pp_arg *arg);

/*
 * The fields of an argument that points to a structure, and the names of an argument that is an enumeration. Both lists
 * are empty if the file does not describe them. A field has `size` bytes at `offset`. `bits` is the width of a
 * bit-field, which begins at bit `bit` of the byte at `offset`; it is 0 if the field is not a bit-field.
 */
size_t pp_arg_fields(const struct pp_arg *arg);
const struct pp_field *pp_arg_field(const struct pp_arg *arg, size_t i);
const char *pp_field_name(const struct pp_field *field);
const char *pp_field_type(const struct pp_field *field);
void pp_field_place(const struct pp_field *field, unsigned *offset, unsigned *size, unsigned *bit, unsigned *bits);
size_t pp_arg_values(const struct pp_arg *arg);
/* Returns the name of the value, and the value in *value. */
const char *pp_arg_value(const struct pp_arg *arg, size_t i, int64_t *value);

/* Sites are sorted by offset. */
size_t pp_probe_sites(const struct pp_probe *probe);
const struct pp_site *pp_probe_site(const struct pp_probe *probe, size_t i);
uint64_t pp_site_address(const struct pp_site *site);
uint64_t pp_site_offset(const struct pp_site *site);
const char *pp_site_operands(const struct pp_site *site);
/* Returns false if the site has no semaphore, else the semaphore's offset in *offset. */
bool pp_site_semaphore(const struct pp_site *site, uint64_t *offset);
const char *pp_site_function(const struct pp_site *site); /* NULL: not known */
const char *pp_site_source(const struct pp_site *site);   /* "file:line"; NULL: not known */

/*
 * Returns true if the pattern matches the probe. A pattern is "PROVIDER:NAME" or "NAME", each of them a glob. A NAME with
 * "::" is the C++ name of a function whose probes the plugin made, as in "shop::Cart::add*" or "shop::Cart::add(int)".
 */
bool pp_probe_matches(const struct pp_probe *probe, const char *pattern);

/* Returns true if a function of the image matches a pattern such as "func:main" or "func:shop::Cart::*". */
bool pp_image_has_function(const struct pp_image *image, const char *pattern);

/* Returns the same for the name of a probe, "PROVIDER:NAME". It does not know parameters, and matches all overloads. */
bool pp_name_matches(const char *probe, const char *pattern);

/*
 * Calls fn once for each ELF file that the process maps executable. `name` is the path in the process. `path` is a path
 * that the caller can open: it is below /proc/PID if the file was deleted or is in another mount namespace. Stops when
 * fn returns nonzero, and returns that value. -ESRCH: the process does not exist; -EACCES: the process belongs to
 * another user.
 */
int pp_process_images(pid_t pid, int (*fn)(const char *path, const char *name, void *arg), void *arg);
/* A fault of a probe, see doc/linting.md. The strings are valid during the call. */
struct pp_finding {
	const char *code;            /* "PP001" */
	const char *provider, *name; /* NULL: not known */
	uint64_t address;            /* of the site as linked */
	const char *reason;
	const char *advice; /* what to change in the build */
};
/*
 * Calls fn for each fault of the probes of a file that keeps tools from arming them or reading their arguments. Stops when
 * fn returns nonzero, and returns that value. Fails as pp_image_open() does.
 */
int pp_image_check(const char *path, int (*fn)(const struct pp_finding *finding, void *arg), void *arg);

/*
 * Finds a library by its name, such as "libc.so.6", where the dynamic loader finds it for the calling program. Runs the
 * loader for that. The caller frees *path. -ENOENT: not found.
 */
int pp_library_find(const char *name, char **path);

/* ---- requests: what is to be armed ---------------------------------------- */

struct pp_request;

int pp_request_new(struct pp_request **request);
void pp_request_free(struct pp_request *request);

/* Add probes and files to the request. Can be repeated. -EINVAL: the pattern cannot match any probe. */
int pp_request_pattern(struct pp_request *request, const char *pattern);
int pp_request_file(struct pp_request *request, const char *path);
/*
 * Adds a process to the request. Can be repeated. If a request names no process, every process that maps the files is
 * armed. The request holds the process by a pidfd, so that a later process with the same pid is not mistaken for it.
 * -ESRCH: the process does not exist.
 */
int pp_request_pid(struct pp_request *request, pid_t pid);
/* Adds a child of the caller that has not called exec(2) yet. file is the program that the child will execute. */
int pp_request_command(struct pp_request *request, pid_t pid, const char *file);

/* Sets the backend: "auto" (default), "kernel" or "agent". -EINVAL: unknown backend. */
int pp_request_backend(struct pp_request *request, const char *backend);
/*
 * Returns true if this process has the privileges that the backend needs ("Privileges" above). Returns false if the
 * backend is unknown.
 */
bool pp_backend_permitted(const char *backend);
/*
 * Counts hits for which the expression is false as filtered, and does nothing else with them. doc/expressions.md describes
 * the language. pp_session_enable() compiles the expression for each site, and refuses the site if the expression does
 * not fit its arguments.
 */
int pp_request_filter(struct pp_request *request, const char *expression);
/*
 * Measures the time from a hit of probe `begin` to a hit of probe `end`. Each pattern must match exactly one probe, and both
 * probes must be in the same file. At an end, expressions and records have the arguments of both probes and `duration` (ns).
 * - If key is NULL, an end belongs to the thread's last begin that has not ended. For NAME__entry and NAME__return of a
 *   function, it belongs to the begin of the same call of the function.
 * - Otherwise key is an expression over the arguments of both probes. An end belongs to the begin with an equal key in any
 *   thread of the process.
 * Each thread keeps at most pp_request_maxactive() begins. With a key, all threads together keep at most that number, or
 * 16384 if it is not set. Call this function instead of pp_request_pattern().
 */
int pp_request_latency(struct pp_request *request, const char *begin, const char *end, const char *key);
/*
 * Computes an aggregate at the hits that pass the filter, as in "count(), pct(size) by path". doc/expressions.md describes the
 * language. pp_session_aggregates() reads the results. cells limits the number of {key, bucket} pairs that are kept (0:
 * 10000); values that find no room are counted as pp_rest.other. -EINVAL: more than 1000000 cells. pp_session_enable()
 * refuses sites whose arguments do not fit the expression.
 */
int pp_request_aggregate(struct pp_request *request, const char *expression, unsigned cells);
/*
 * Sample the hits that pass the filter: only those that are chosen are recorded and aggregated. All hits are counted; those
 * that are not chosen are pp_counts.unsampled.
 *
 * - _every: chooses each nth hit, counted for each site and CPU by the kernel, and for each site and thread by the agent.
 * - _rate: chooses at most n hits of a probe in a second, and at most n / 10 at once. The agent limits each process.
 *
 * With both, _rate limits those that _every chooses. -EINVAL: n is 0 or more than 1000000000.
 */
int pp_request_every(struct pp_request *request, unsigned n);
int pp_request_rate(struct pp_request *request, unsigned n);
/*
 * Records the values of these expressions instead of the probe's arguments: a list such as "c->id, key->ptr, argv[1]".
 * The name of a value (pp_event_arg_name()) is the text of its expression. doc/expressions.md describes the language.
 * pp_session_enable() refuses a site if an expression does not fit its arguments.
 */
int pp_request_print(struct pp_request *request, const char *expressions);
/* Records at most n bytes of each string, 1 to PP_STRING_MAX (default 127). -EINVAL: n is out of range. */
#define PP_STRING_MAX 4096
int pp_request_string_max(struct pp_request *request, unsigned n);
/*
 * Reads the argument of this name as a string, in all probes. For probes without a signature. Can be repeated. With
 * "ARGUMENT:LENGTH", the argument LENGTH is the string's length in bytes, and the string may contain NUL bytes.
 */
int pp_request_string(struct pp_request *request, const char *argument);
/*
 * Reads the argument of this name as an address, although its type is `char *`. Can be repeated.
 *
 * pp_session_enable() fails with -EDOM if a name passed to this function or to pp_request_string() is not the name of
 * an argument of any matching probe.
 */
int pp_request_no_string(struct pp_request *request, const char *argument);
/*
 * Widen the scope of the request beyond the processes named. Call at most one of:
 *
 * - _children: includes all descendants that the processes fork from now on.
 * - _pgrp: includes all processes in the process groups of the processes.
 * - _cgroup: includes all processes in a control group, a directory of cgroup2, and in those below it.
 *
 * Only the kernel backend can do the last two. With it, every process that maps the files then executes the traps; hits
 * of processes out of scope are not counted. -EINVAL: the request has another scope.
 */
int pp_request_children(struct pp_request *request);
int pp_request_pgrp(struct pp_request *request);
int pp_request_cgroup(struct pp_request *request, const char *dir);
/*
 * Sets how many calls of a function whose returns are armed (func:SYMBOL%return) may be in flight at a time, in each
 * process named: 1 to PP_MAXACTIVE_MAX (default 256). Further calls are counted as missed, and so are calls of one
 * thread beyond n or 800 (default 100).
 */
#define PP_MAXACTIVE_MAX 1000000
int pp_request_maxactive(struct pp_request *request, unsigned n);
/*
 * Ties the points of the request to this process: they are disarmed when this process ends, even if it is killed. Call
 * pp_session_hold() after pp_session_enable(). Other processes can see and change the session meanwhile. Only the
 * kernel backend can do this.
 */
int pp_request_hold(struct pp_request *request);
/*
 * Limits the CPU time of hits of the points that this request arms through the kernel, as a share of one CPU (0.25: 25
 * %; 0, the default: no limit). The limit is enforced while a process is in pp_session_hold() or pp_session_watch().
 * -EINVAL: the share is negative.
 */
int pp_request_budget(struct pp_request *request, double share);
/*
 * Sees the returns of func:SYMBOL%return by the kernel's uretprobes, which cost less than the return instructions of a
 * function, but replace return addresses on the stack. Refused in processes that have an unwinder.
 */
int pp_request_uretprobe(struct pp_request *request);
/*
 * Arms probes by calls instead of traps where the kernel can (Linux 7.2) and where that does not harm the process. A hit then
 * costs about a quarter. Unwinders that are called at a hit, such as those of debuggers, profilers and thread cancellation,
 * do not find the caller. Other points are armed as without it, and their row has the reason. The agent ignores it.
 */
int pp_request_fast(struct pp_request *request);
/*
 * Makes pp_session_enable() fail with -EDQUOT, before it arms anything, if the kernel would arm more than this number
 * of sites in running processes (0, the default: no limit).
 */
int pp_request_many(struct pp_request *request, size_t sites);
/*
 * Sets the size of the session's rings, from PP_BUFFER_MIN to PP_BUFFER_MAX bytes, rounded up to a power of two. All requests of a
 * session must agree. The kernel has one ring (default 4 MiB), which is the kernel's memory and allocated as a whole. An agent has one
 * for each thread (at most 64 MiB), which is the process's memory. Its default is 4 MiB for the first four threads of a process that
 * record, 256 KiB for the others, and 256 KiB for all with pp_request_overwrite(). -EINVAL: the size is out of range, or
 * pp_request_flight_recorder() was called.
 */
#define PP_BUFFER_MIN 65536u
#define PP_BUFFER_MAX 1073741824u
int pp_request_buffer(struct pp_request *request, size_t bytes);
/*
 * Makes the session a flight recorder: records from the start, and keeps the newest records in this number of bytes of
 * memory for each process, from PP_FLIGHT_MIN to PP_FLIGHT_MAX. They are read by pp_reader_open_snapshot(), also after
 * the process has ended, until they are disarmed. All requests of a session must agree. The kernel backend takes the
 * memory at once, for each process of pp_request_pid(), which share it; for one process if none is named. -EINVAL: the
 * size is out of range, or pp_request_buffer() was called.
 */
#define PP_FLIGHT_MIN 1048576u
#define PP_FLIGHT_MAX 1073741824u
int pp_request_flight_recorder(struct pp_request *request, size_t bytes);
/* Records from the start, without a reader. When the memory is full, further records are lost. */
int pp_request_record(struct pp_request *request);
/*
 * Records from the start, and overwrites a thread's oldest records when its ring is full. Only the agent backend
 * supports it. All requests of a session must agree: either all overwrite or none does.
 */
int pp_request_overwrite(struct pp_request *request);
/*
 * Allows agents to make system calls in hits (process_vm_readv, rt_sigprocmask, prctl, tgkill, clock_gettime) even if
 * they do not know whether a seccomp filter forbids them. A filter that kills for one of them then kills the process.
 */
int pp_request_calls(struct pp_request *request);

/*
 * Gives what the request arms a label: a text of the caller, such as the part of a file that asks for it. The label is kept with
 * the session; see pp_session_labels(). -EINVAL: more than PP_LABEL_MAX bytes.
 */
#define PP_LABEL_MAX 65536u
int pp_request_label(struct pp_request *request, const char *label);

/*
 * Loads the agent, a shared library, into a running process that has none. The process is stopped by ptrace(2) for some
 * ms. Blocks for some seconds at most. Needs the right to trace the process (ptrace(2), "access mode"). On failure the
 * process goes on as before. -EBUSY: no thread of it could be used; -ETIMEDOUT: the library is still being loaded.
 */
int pp_agent_inject(pid_t pid, const char *library);

/* ---- reports: what became of a request ------------------------------------- */

struct pp_report;

enum pp_state { PP_ARMED, PP_PENDING, PP_REFUSED };

void pp_report_free(struct pp_report *report);

/*
 * A row that is armed or pending stands for a probe in one file and one process. A row that is refused stands for a
 * site; if its offset is -1, for a whole probe or pattern. The pid of a row is 0 if the row stands for all processes
 * that map the file.
 */
size_t pp_report_rows(const struct pp_report *report);
enum pp_state pp_report_state(const struct pp_report *report, size_t row);
const char *pp_report_probe(const struct pp_report *report, size_t row);
pid_t pp_report_pid(const struct pp_report *report, size_t row);
const char *pp_report_file(const struct pp_report *report, size_t row);
const char *pp_report_build_id(const struct pp_report *report, size_t row);
const char *pp_report_backend(const struct pp_report *report, size_t row);
size_t pp_report_sites(const struct pp_report *report, size_t row);
/*
 * Returns true if all sites were read back from the processes. If it returns false, pp_report_reason() says why the
 * sites could not be read; without a reason, no process maps the file.
 */
bool pp_report_verified(const struct pp_report *report, size_t row);
/* Returns true if all sites of the row are armed as pp_request_fast() asks. */
bool pp_report_fast(const struct pp_report *report, size_t row);
int64_t pp_report_offset(const struct pp_report *report, size_t row);
/*
 * For func:SYMBOL%return: returns how many calls of one thread are tracked at a time. 0: no limit, or another kind of
 * probe.
 */
unsigned pp_report_calls_per_thread(const struct pp_report *report, size_t row);
/* Returns why the row is refused, or a remark on an armed or pending row. NULL: there is no remark. */
const char *pp_report_reason(const struct pp_report *report, size_t row);

/*
 * Warnings about damaged notes in the files of the rows, or in all files that were read if a pattern matched nothing.
 * Probes may be missing because of them.
 */
size_t pp_report_warnings(const struct pp_report *report);
const char *pp_report_warning(const struct pp_report *report, size_t i);

/* ---- sessions -------------------------------------------------------------- */

struct pp_session;

/*
 * Opens the session of this name. If the session does not exist and `create` is true, the first successful
 * pp_session_enable() makes it. A session ends when its last point is disarmed. A name has 1 to 64 letters, digits, '_'
 * and '-', and does not start with '-'. -EINVAL: invalid name; -ENOENT: the session does not exist and `create` is
 * false; -EPERM: a privilege is missing.
 */
int pp_session_open(const char *name, bool create, struct pp_session **session);
/*
 * Makes a session that other processes do not see. It ends when it is closed or this process ends, even if killed. It
 * records while it has a reader. The agent also records before there is a reader if pp_request_record() was called.
 */
int pp_session_private(struct pp_session **session);
/* Closes the session. The points of a named session stay armed. */
void pp_session_close(struct pp_session *session);
/* Returns "" for a private session. */
const char *pp_session_name(const struct pp_session *session);

/*
 * Arms the request. Returns 0 if any point was armed, is pending, or was armed in this session before. The caller frees
 * *report, also after an error. *report is NULL if the request could not be resolved at all. Errors:
 *
 * -ENOENT: no probe matches any pattern; -EINVAL: the request has no pattern, or neither a process nor a file; -EDOM:
 * see pp_request_no_string(); -EDQUOT: see pp_request_many(); -ESRCH: a process of the request has ended; -EINTR: the
 * flag of pp_session_interrupt() became nonzero, and everything that this call armed is disarmed; -EOPNOTSUPP: the
 * backend cannot serve the request. If no point could be armed at all, the error is that of the first point.
 *
 * Blocks for a time that grows with the number of sites and processes, usually less than a second. Agents that do not
 * answer can add some seconds. With pp_request_hold() the calling thread blocks SIGUSR1 until pp_session_hold() returns
 * or the session is closed.
 */
int pp_session_enable(struct pp_session *session, const struct pp_request *request, struct pp_report **report);
/*
 * Resolves the request as pp_session_enable() does, and arms nothing. In the report, rows that could be armed are pending, and
 * those that the backend can arm in no process are refused. Does not look at the state of processes and the privileges of the caller,
 * so points can still be refused when they are armed. Needs no privilege for a request without processes. Fails as
 * pp_session_enable() does.
 */
int pp_request_check(const struct pp_request *request, struct pp_report **report);
/*
 * Sets the address of a flag (NULL: none). A signal handler of the caller can set the flag to nonzero:
 * pp_session_enable() then fails with -EINTR, and pp_session_disable() disarms but does not wait for the original
 * bytes.
 */
int pp_session_interrupt(struct pp_session *session, const volatile int *flag);

/*
 * Waits, and then disarms the points that this process armed by requests with pp_request_hold(). Waits until one of:
 *
 * - the deadline has passed (CLOCK_MONOTONIC of the caller, in ns; 0: none);
 * - all processes of the npidfds pidfds have ended (npidfds 0: does not wait for processes);
 * - other processes have disarmed all these points;
 * - SIGTERM, SIGINT or SIGHUP arrives.
 *
 * The calling thread blocks these signals and SIGUSR1 meanwhile, and its mask is restored on return. The signal that
 * ended the call is consumed. Other threads must block the same signals. Other processes send SIGUSR1 to ask the holder
 * to disarm.
 */
int pp_session_hold(struct pp_session *session, uint64_t deadline, const int *pidfds, size_t npidfds);
/*
 * Limits the CPU time of hits while pp_session_hold() runs, as a share of one CPU (0.05: 5 %). After each second in
 * which hits cost more, the points that were hit most are disarmed; pp_stat_over_budget() counts them. -EINVAL: the
 * share is negative.
 */
int pp_session_budget(struct pp_session *session, double share);

/*
 * Enforces the budgets (pp_request_budget()) of points that were armed without pp_request_hold(). When the session's
 * hits cost more than the budget, the points that were hit most are disarmed; they stay in the session with their
 * counts, and pp_stat_stopped() says why. Calls `ready` when it has begun to watch.
 *
 * Blocks until no point with a budget is left, until SIGTERM, SIGINT or SIGHUP arrives (-EINTR), or until no other
 * process can see the session (-ENOENT: it was removed, or is in a mount namespace of this process alone). The calling
 * thread blocks the three signals meanwhile, and the signal that ended the call is consumed. -EALREADY: another process
 * watches the session.
 */
int pp_session_watch(const char *name, void (*ready)(void *arg), void *arg);
/*
 * Returns the budget of the armed points as a share of one CPU, 0 if they have none. Sets *watched to true if a process
 * enforces the budget.
 */
double pp_session_limit(const struct pp_session *session, bool *watched);
/* Removes the budgets that pp_session_watch() enforces, from all points that are armed now. */
int pp_session_unlimit(struct pp_session *session);

struct pp_cost {
	uint64_t hits;     /* during the measurement, including those of processes out of scope */
	double trap_ns;    /* CPU time of the trap of one hit */
	double program_ns; /* CPU time of the program that runs at one hit; 0 if there were no hits */
	double share;      /* of one CPU, for all hits */
	double call_ns;    /* the most that is subtracted from the duration of a call for its traps; 0: no calls */
};

/*
 * Measures the cost of the session's hits. Blocks for ms milliseconds. size is sizeof(struct pp_cost). -EOPNOTSUPP: the
 * cost of the points that the session has armed cannot be measured.
 */
int pp_session_cost(struct pp_session *session, int ms, struct pp_cost *cost, size_t size);

/*
 * Disarms the points that match any of the patterns (npatterns 0: all points) in the process (pid 0: in all processes).
 * Sets *points to the number of points disarmed. Returns when their original bytes are back, usually in less than a
 * second. Does not wait for points that another session has armed. A session without points ends. -ENOENT: nothing
 * matched. -ETIMEDOUT: the points were disarmed, but no more bytes have changed back for 20 s. -EINTR: the points were
 * disarmed, but the flag of pp_session_interrupt() was set before their bytes had changed back.
 */
int pp_session_disable(struct pp_session *session, pid_t pid, const char *const *patterns, size_t npatterns,
                       size_t *points);

/* Calls fn with the name of each session that this user may see, in sorted order. Stops when fn returns nonzero. */
int pp_sessions(int (*fn)(const char *name, void *arg), void *arg);

/* ---- what is armed where --------------------------------------------------- */

struct pp_armed;

/* Takes a snapshot of all sessions that this user may see. */
int pp_armed_read(struct pp_armed **armed);
void pp_armed_free(struct pp_armed *armed);
/* Returns true if a session arms a site of this image. */
bool pp_armed_any(const struct pp_armed *armed, const struct pp_image *image);
/* Returns the i-th session in which this site of this image is armed, NULL after the last. */
const char *pp_armed_session(const struct pp_armed *armed, const struct pp_image *image, const struct pp_site *site,
                             size_t i);

/* ---- counts ---------------------------------------------------------------- */

struct pp_stat;

/*
 * hits = filtered + unsampled + idle + recorded + lost, if no hit is in flight. A hit is idle if the session was not recording. For
 * returns, hits are calls that have ended, and entries = hits + missed + under_way + abandoned.
 */
struct pp_counts {
	uint64_t hits, filtered, idle, recorded, lost;
	uint64_t entries;   /* calls begun */
	uint64_t missed;    /* calls that were not watched: see pp_request_maxactive() */
	uint64_t under_way; /* calls in flight */
	/*
	 * Calls that ended by a longjmp, an exception or the end of their thread. They are counted at the thread's next
	 * call or return, or at its end.
	 */
	uint64_t abandoned;
	uint64_t other;     /* in rows for all processes: hits of processes that pp_stat_process() does not return */
	uint64_t unmatched; /* ends of calls between probes whose begin was not seen; they are not hits */
	/* In a flight recorder: the records, among `recorded`, that are not in memory any more. */
	uint64_t overwritten;
	uint64_t unsampled; /* hits that passed the filter and were not chosen: see pp_request_every() */
};

/*
 * Reads the counters: one row for each probe, file and process (pid 0: for all processes together), sorted by probe,
 * file and pid. Counters of agents may be 50 ms old. -ENOENT: the session has ended.
 */
int pp_session_stat(struct pp_session *session, struct pp_stat **stat);
void pp_stat_free(struct pp_stat *stat);
size_t pp_stat_rows(const struct pp_stat *stat);
/*
 * Compares two rows, of one statistic or of two statistics of a session. Returns 0 if both rows count the same probe of
 * the same file and process, else a number below or above 0. The rows of a statistic are sorted in this order, and no
 * two of them are equal: if a pid is reused or a file is replaced, each process and each file has its own row. Both
 * rows must exist.
 */
int pp_stat_order(const struct pp_stat *a, size_t i, const struct pp_stat *b, size_t j);
const char *pp_stat_probe(const struct pp_stat *stat, size_t row);
pid_t pp_stat_pid(const struct pp_stat *stat, size_t row);
const char *pp_stat_file(const struct pp_stat *stat, size_t row);
/* Returns the build-id in hexadecimal digits of the file that was armed, "" if it has none. */
const char *pp_stat_build_id(const struct pp_stat *stat, size_t row);

/*
 * Returns the inode number of the pid namespace (as in /proc/PID/ns/pid) that the row's process ids belong to, 0 if it is
 * that of this process. A session made in another pid namespace has its process ids; pp_stat_life() and
 * pp_stat_file_state() are then not known and return their first value.
 */
uint32_t pp_stat_pid_namespace(const struct pp_stat *stat, size_t row);

/* The state of the row's process. Only PP_LIVES can still hit the probe. PP_LIVES if pid is 0. */
enum pp_life {
	PP_LIVES,
	PP_ENDED,
	PP_OTHER /* another process has its pid now */
};

enum pp_life pp_stat_life(const struct pp_stat *stat, size_t row);

/*
 * The state of the file's path. Processes that map the old file still hit its probes after it was replaced or deleted;
 * processes that start later do not.
 */
enum pp_file_state { PP_FILE_PRESENT, PP_FILE_REPLACED, PP_FILE_DELETED };

enum pp_file_state pp_stat_file_state(const struct pp_stat *stat, size_t row);
const char *pp_stat_backend(const struct pp_stat *stat, size_t row);
size_t pp_stat_sites(const struct pp_stat *stat, size_t row);
/*
 * For a row for all processes: the processes that hit it, sorted by pid, each with its hits. Processes that have ended
 * are included. A session keeps the hits of some thousands of processes; pp_counts.other has the hits of the others.
 */
size_t pp_stat_processes(const struct pp_stat *stat, size_t row);
pid_t pp_stat_process(const struct pp_stat *stat, size_t row, size_t i, uint64_t *hits);
/* Returns the number of sites that were disarmed because of a budget. */
size_t pp_stat_over_budget(const struct pp_stat *stat, size_t row);
/*
 * Returns the number of pp_stat_over_budget(). Sets *share to the cost of the session when the last of these sites was
 * disarmed, and *limit to the budget, both as shares of one CPU.
 */
size_t pp_stat_stopped(const struct pp_stat *stat, size_t row, double *share, double *limit);
/* The sampling of the row's points, as given to pp_request_every() and pp_request_rate(). 0: all hits are chosen. */
void pp_stat_sample(const struct pp_stat *stat, size_t row, unsigned *every, unsigned *rate);
/* size is sizeof(struct pp_counts). */
void pp_stat_counts(const struct pp_stat *stat, size_t row, struct pp_counts *counts, size_t size);
/*
 * Returns the number of processes whose counts are missing: they were killed or ended by _exit(2) while no keeper of
 * the agent backend held their counts.
 */
size_t pp_stat_uncounted(const struct pp_stat *stat);

/*
 * What one request armed with pp_request_label() through one backend. Members are appended by later versions. The strings
 * are valid during the call.
 */
struct pp_labelled {
	uint32_t attachment; /* as in struct pp_mark */
	const char *label, *backend;
	const char *file, *build_id; /* of the first site */
	enum pp_file_state file_state;
	pid_t pid; /* of the first site; 0: all processes that map the file */
	enum pp_life life;
	size_t sites; /* armed, or disarmed because of a budget */
	uint64_t hits;
};

/*
 * Calls fn for each part of the session that has a label, until it returns nonzero, and returns that value. -ENOENT: the
 * session has ended. fn must not use the session.
 */
int pp_session_labels(struct pp_session *session, int (*fn)(const struct pp_labelled *labelled, void *arg), void *arg);
/* Disarms all points of one pp_labelled.attachment. Sets *points and blocks as pp_session_disable(). -ENOENT: no such attachment. */
int pp_session_disable_attachment(struct pp_session *session, uint32_t attachment, size_t *points);

/* ---- records --------------------------------------------------------------- */

struct pp_reader;
struct pp_event;

/*
 * Attaches a reader. The session records until the reader is freed. If this process ends without freeing the reader,
 * the session records for two more seconds. -EBUSY: the session has a reader; -ENOENT: the session has nothing armed;
 * -EOPNOTSUPP: the session is a flight recorder.
 */
int pp_reader_open(struct pp_session *session, struct pp_reader **reader);
void pp_reader_free(struct pp_reader *reader);
/*
 * Copies the records that the memory of a flight recorder holds now. pp_reader_next() returns them in the order of their
 * times, and then 0. The records stay in memory, so any number of processes can read them. The recording goes on.
 * Records that are being written or were overwritten while they were copied are not returned; they are the `damaged` of
 * pp_reader_counts(), at least. pp_reader_lose() and pp_reader_drop() have no effect. -EOPNOTSUPP: the session is not a
 * flight recorder.
 */
int pp_reader_open_snapshot(struct pp_session *session, struct pp_reader **reader);
/*
 * Stores the time since which a snapshot is complete: from then on until the snapshot was taken, no record was
 * overwritten. The time is 0 if no record was overwritten at all. Before this time, records of some threads may be
 * missing. Lost hits and `damaged` records are missing at any time. *time is as from pp_event_time(), and can be
 * compared with records of this reader only. *time_of_day is as from pp_event_time_of_day(), or 0. Returns -ENODATA if
 * the time is not known, because records of processes that have ended may be missing, or -EINVAL if the reader does not
 * read a snapshot.
 */
int pp_reader_complete_since(struct pp_reader *reader, uint64_t *time, int64_t *time_of_day);
/*
 * Returns the size of a flight recorder's memory for each process, 0 if the session is not a flight recorder. Stores in
 * *held how many bytes the session holds now for the records of all processes, those that have ended included.
 */
size_t pp_session_flight_recorder(struct pp_session *session, uint64_t *held);

/*
 * Waits timeout_ms for the next record (0: does not wait; -1: no limit). Returns 1 and sets *event, which belongs to
 * the reader and is valid until the next call. Returns 0 if no record came. -EINTR: a signal arrived; -EBADMSG: a
 * damaged record was skipped, and the next call continues after it. It continues to wait after
 * the session has ended.
 */
int pp_reader_next(struct pp_reader *reader, int timeout_ms, const struct pp_event **event);

/*
 * Makes pp_reader_next() return records in the order of their times, across threads, CPUs and backends, and hold each record
 * back for delay_ms milliseconds (0 to 60000). A record is out of order if its thread takes longer than that to write it.
 * Without this call, the records of each thread are in order. The reader takes records out of the session before it
 * returns them; pp_reader_drop() counts those that were not returned as lost. Call it before pp_reader_next(). -EINVAL:
 * invalid delay.
 */
int pp_reader_order(struct pp_reader *reader, int delay_ms);
/*
 * Makes pp_reader_next() return at most `count` records. All others stay in the session for its next reader. In a session of the
 * agent, a thread's buffer has room again when pp_reader_done() was called. Call it before pp_reader_next(), and not with
 * pp_reader_order(): -EINVAL.
 */
int pp_reader_limit(struct pp_reader *reader, uint64_t count);
/*
 * Leaves records of agents in the session until they are delivered, if their process has ended or pp_reader_limit() was called.
 * If this process is killed before, the next reader gets them, some of them perhaps a second time. Records are delivered if
 * pp_reader_next() has returned them before a call of pp_reader_done(), as the caller has written them or passed them to
 * pp_reader_lose(). Call pp_reader_done() often: more than 32 MiB are not left in the session. Without pp_reader_keep(),
 * records are delivered when pp_reader_next() is called again, or the reader is freed.
 */
void pp_reader_keep(struct pp_reader *reader);
void pp_reader_done(struct pp_reader *reader);
/*
 * Returns a descriptor for poll(2), select(2) and epoll(7), or a negative errno. It is readable when pp_reader_next()
 * may return a record, and stays so until pp_reader_next() has returned 0. It belongs to the reader. Call
 * pp_reader_next() with timeout 0 until it returns 0, then wait.
 *
 * The descriptor is a timer that expires every 5 ms, because waking a reader would cost each hit a system call. So a
 * waiting caller wakes every 5 ms. pp_reader_next() polls more often while records come.
 */
int pp_reader_fd(struct pp_reader *reader);

/*
 * Ends recording. Earlier records can still be read. Later hits are idle; if the session records without a reader, they
 * are recorded for the next reader.
 */
void pp_reader_stop(struct pp_reader *reader);

/* Names the point and the process of a record. */
struct pp_mark {
	uint32_t attachment, point;
	pid_t pid;
};

void pp_event_mark(const struct pp_event *event, struct pp_mark *mark);
/* Counts the record as lost instead of recorded, for a caller that read it and could not keep it (the disk is full). */
void pp_reader_lose(struct pp_reader *reader, const struct pp_mark *mark);

/*
 * Calls fn with the name of each argument that records of the session have, and the probe. A pair can occur more than once.
 * Stops when fn returns nonzero, and returns that value.
 */
int pp_session_arguments(struct pp_session *session, int (*fn)(const char *probe, const char *argument, void *arg),
                         void *arg);
/*
 * For a caller that stops before pp_reader_next() returns 0: counts as lost the records that the reader has taken out
 * of the session and not returned. No more records can be read.
 */
void pp_reader_drop(struct pp_reader *reader);

/* The session's records since the reader was opened. */
struct pp_record_counts {
	uint64_t recorded; /* by the session's counters */
	uint64_t lost;     /* had no room, were damaged, or were passed to pp_reader_lose() */
	uint64_t damaged;  /* included in lost, and in recorded if the hit was completed */
};

/* size is sizeof(struct pp_record_counts). */
void pp_reader_counts(struct pp_reader *reader, struct pp_record_counts *counts, size_t size);

enum pp_kind {
	PP_SIGNED,
	PP_UNSIGNED,
	PP_POINTER,
	PP_STRING,
	PP_BOOL,
	PP_CHAR,
	PP_FLOAT,
	PP_FAULT,   /* the memory of the argument could not be read at this hit */
	PP_MISSING, /* the argument can never be read at this site, because its operand cannot be resolved */
	PP_STACK    /* a stack of calls; only in the keys of aggregates */
};

uint64_t pp_event_time(const struct pp_event *event);
/*
 * Returns the time of day in ns since 1970. It follows steps of the clock, and suspensions of the machine, while the
 * reader is open. A record from less than 0.1 s before a step may have the time of the new clock.
 */
int64_t pp_event_time_of_day(const struct pp_event *event);
pid_t pp_event_pid(const struct pp_event *event);
pid_t pp_event_tid(const struct pp_event *event);
const char *pp_event_comm(const struct pp_event *event);
const char *pp_event_probe(const struct pp_event *event); /* "PROVIDER:NAME" */
size_t pp_event_args(const struct pp_event *event);
const char *pp_event_arg_name(const struct pp_event *event, size_t i);
enum pp_kind pp_event_arg_kind(const struct pp_event *event, size_t i);
/* Returns the name of the enumerator that equals the argument's value. NULL: no enumerator, or not an enumeration. */
const char *pp_event_arg_value_name(const struct pp_event *event, size_t i);
/* For all kinds but PP_STRING, PP_FLOAT, PP_FAULT and PP_MISSING. */
int64_t pp_event_arg_int(const struct pp_event *event, size_t i);
/* For PP_FLOAT. */
double pp_event_arg_float(const struct pp_event *event, size_t i);
/* For PP_STRING: *length bytes, followed by a NUL. *cut: the string was longer. length and cut may be NULL. */
const char *pp_event_arg_string(const struct pp_event *event, size_t i, size_t *length, bool *cut);

/* ---- aggregates ------------------------------------------------------------ */

struct pp_aggregates;

/*
 * Reads what requests with pp_request_aggregate() have computed: one table for each probe, file and expression, over all
 * processes, sorted by probe, file and expression. A table has an entry for each key, sorted by the value of
 * the first function: sum, greatest and average in descending order, least in ascending order, others by their count; an
 * expression without a key has at most one entry. -ENOENT: the session has ended.
 */
int pp_session_aggregates(struct pp_session *session, struct pp_aggregates **aggregates);
void pp_aggregates_free(struct pp_aggregates *aggregates);
size_t pp_aggregates_tables(const struct pp_aggregates *aggregates);
const char *pp_table_probe(const struct pp_aggregates *aggregates, size_t table);
const char *pp_table_file(const struct pp_aggregates *aggregates, size_t table);
/* As pp_stat_build_id(); "" also if files with different build-ids had the path. */
const char *pp_table_build_id(const struct pp_aggregates *aggregates, size_t table);
const char *pp_table_text(const struct pp_aggregates *aggregates, size_t table); /* the expression */
/*
 * The sites of a probe can have arguments of different types, whose keys and values cannot be compared. They have
 * tables of their own. Returns the types that differ, such as "arg0 unsigned". "": no other table has the same probe,
 * file, expression and sampling.
 */
const char *pp_table_types(const struct pp_aggregates *aggregates, size_t table);
/* The sampling of the hits that were aggregated, as given to pp_request_every() and pp_request_rate(). 0: all. */
void pp_table_sample(const struct pp_aggregates *aggregates, size_t table, unsigned *every, unsigned *rate);

/* The functions that the expression calls, such as "max(size)". */
enum pp_function { PP_COUNT, PP_SUM, PP_MIN, PP_MAX, PP_AVG, PP_HIST, PP_LHIST, PP_PCT };

size_t pp_table_calls(const struct pp_aggregates *aggregates, size_t table);
const char *pp_table_call(const struct pp_aggregates *aggregates, size_t table, size_t call);
enum pp_function pp_table_function(const struct pp_aggregates *aggregates, size_t table, size_t call);

/* The parts of the key, such as "path". kind is how a part's values are shown. */
size_t pp_table_parts(const struct pp_aggregates *aggregates, size_t table);
const char *pp_table_part(const struct pp_aggregates *aggregates, size_t table, size_t part);
enum pp_kind pp_table_part_kind(const struct pp_aggregates *aggregates, size_t table, size_t part);

size_t pp_table_entries(const struct pp_aggregates *aggregates, size_t table);
/* For all kinds but PP_STRING. */
int64_t pp_entry_int(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part);
/* The name of the value if the part is an enumeration. NULL: it has no name. */
const char *pp_entry_name(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part);
/* For PP_STRING, as pp_event_arg_string(). */
const char *pp_entry_string(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part,
                            size_t *length, bool *cut);

/*
 * For PP_STACK. Frame 0 is the place of the probe, frame 1 its caller, and so on, at most PP_FRAMES_MAX: the backends follow
 * frame pointers, so a function that was built without one hides its caller. pp_entry_frame() describes a frame; its strings are
 * valid until pp_aggregates_free(). size is sizeof(struct pp_frame).
 */
#define PP_FRAMES_MAX 64
struct pp_frame {
	const char *function; /* demangled; NULL: not known */
	const char *file;     /* the file that contains the code; NULL: not known */
	const char *build_id; /* of the file, "" if it has none or cannot be read */
	uint64_t
		address; /* as linked if the file can be read; an offset in the file if not; without a file, in the process */
	uint64_t offset; /* distance of the address to the beginning of the function, if it is known */
	pid_t pid;       /* the process if there is no file; else 0 */
	bool cut;        /* the last frame of a stack that may have more */
};
size_t pp_entry_frames(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part);
void pp_entry_frame(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part, size_t i,
                    struct pp_frame *frame, size_t size);

/* The values of a call: of one entry, or of all together if entry is PP_ALL. min and max are 0 if count is 0. */
struct pp_values {
	uint64_t count;
	int64_t sum, min, max; /* unsigned if is_unsigned; sum wraps */
	bool is_unsigned;
};

#define PP_ALL SIZE_MAX

/* size is sizeof(struct pp_values). */
void pp_entry_values(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t call,
                     struct pp_values *values, size_t size);

/* A bucket of a histogram: `count` values are in low..high. These are unsigned if pp_values.is_unsigned is. */
struct pp_bucket {
	int64_t low, high;
	uint64_t count;
};

/* The buckets that were hit, in ascending order. 0 for a call without a histogram. size is sizeof(struct pp_bucket). */
size_t pp_entry_buckets(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t call);
void pp_entry_bucket(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t call, size_t i,
                     struct pp_bucket *bucket, size_t size);
/*
 * Returns the value below or at which the share q (0 to 1) of the values of a pct() call lies, within 1/32 of the value.
 * 0 if there are none. The double nearest to a value beyond 2^53 can be above the greatest value, or below the least.
 */
double pp_entry_quantile(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t call, double q);

/*
 * Values that are in no entry. When no hit is in flight, hits - filtered - unsampled of the probe = count of all entries + other + unread, for
 * each call.
 */
struct pp_rest {
	uint64_t other;    /* values that found no room */
	int64_t other_sum; /* their sum, as pp_values.sum */
	uint64_t unread;   /* hits whose key or value is in memory that could not be read */
};

/* size is sizeof(struct pp_rest). */
void pp_table_rest(const struct pp_aggregates *aggregates, size_t table, size_t call, struct pp_rest *rest,
                   size_t size);

/* ---- traces on disk (CTF 1.8) ---------------------------------------------- */

struct pp_trace;

/*
 * Makes the directory dir, which must not exist, with mode 0700, and writes the session's metadata there. Close the trace before
 * the session.
 */
int pp_trace_create(const char *dir, struct pp_session *session, struct pp_trace **trace);
/*
 * Makes the directory dir, which must not exist, and in it a trace part-000001. When a part would be larger than max_size
 * bytes (at least 1 MiB), a next part begins. Each part is a trace that can be read alone. If there are more than max_files
 * parts (0: no limit), removes the oldest. -EINVAL: max_size is too small, or the metadata would take more than half of it.
 */
int pp_trace_create_parts(const char *dir, struct pp_session *session, uint64_t max_size, unsigned max_files,
                          struct pp_trace **trace);
/* Returns the number of events in parts that were removed. pp_trace_events() includes them. */
uint64_t pp_trace_removed(const struct pp_trace *trace);
/*
 * Writes the event. Events are held back for up to 1 s, so that they can be sorted by time. event NULL: writes the
 * events that are held back. -EBADMSG: this event was left out, because its time is invalid; later calls work.
 */
int pp_trace_write(struct pp_trace *trace, const struct pp_event *event);
/* Returns the number of events on disk, without those held back. */
uint64_t pp_trace_events(const struct pp_trace *trace);
/*
 * Sets the number of events that were lost since the trace was made (default: the number by the session's counters).
 * pp_trace_close() writes this number into the trace, also on a full disk if the trace already has a packet that can
 * hold it.
 */
int pp_trace_lost(struct pp_trace *trace, uint64_t lost);
/*
 * Writes the events that are held back, and frees the trace, also after an error. Returns errors that were deferred,
 * such as -ENOSPC. Events that could not be written are counted as lost, as by pp_reader_lose().
 */
int pp_trace_close(struct pp_trace *trace);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
