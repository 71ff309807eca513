/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/link.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/kernel/shielded.h"
#include "runtime/kernel/emitter.h"
#include "base/error.h"

#define ENOTSUPP 524 /* internal to the kernel: no header for programs defines it */
#define VERIFIER_LOG_SIZE (1 << 20)

/* The members of union bpf_attr that BPF_LINK_CREATE reads for BPF_TRACE_UPROBE_MULTI. */
struct attr_uprobe_multi {
	uint32_t prog_fd, target_fd, attach_type, flags;
	uint64_t path, offsets, ref_ctr_offsets, cookies;
	uint32_t cnt, multi_flags, pid, reserved;
};

static int link_create_multi(void *attr)
{
	int fd = syscall(SYS_bpf, BPF_LINK_CREATE, attr, sizeof(struct attr_uprobe_multi));

	return fd < 0 ? -errno : fd;
}

int link_multi(int prog, const char *path, pid_t pid, const struct link_points *points)
{
	struct attr_uprobe_multi attr = {
		.prog_fd = prog,
		.attach_type = UPROBE_MULTI_ATTACH_TYPE,
		.path = (uintptr_t)path,
		.offsets = (uintptr_t)points->offsets,
		.cookies = (uintptr_t)points->cookies,
		.cnt = points->n,
		.multi_flags = points->returns, /* BPF_F_UPROBE_MULTI_RETURN */
		.pid = pid,
	};

	for (size_t i = 0; points->semaphores && i < points->n; i++)
		if (points->semaphores[i])
			attr.ref_ctr_offsets = (uintptr_t)points->semaphores;
	return run_shielded(link_create_multi, &attr);
}

static const struct bpf_insn return_0[] = { BPF_MOV64_IMM(BPF_REG_0, 0), BPF_EXIT_INSN() };

static bool multi_detect(void)
{
	/* A directory cannot be probed: EBADF shows that the kernel supports the link and rejects only its path. */
	uint64_t zero = 0;
	struct link_points points = { .n = 1, .offsets = &zero, .cookies = &zero };
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_SLEEPABLE,
	            .expected_attach_type = UPROBE_MULTI_ATTACH_TYPE);
	int prog = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "probepoint", "Dual MIT/GPL", return_0, 2, &opts), fd;

	if (prog < 0)
		return false;
	fd = link_multi(prog, "/", 0, &points);
	close(prog);
	if (fd >= 0)
		close(fd);
	return fd == -EBADF;
}

bool link_multi_supported(void)
{
	static int known = -1;
	const char *no = getenv("PROBEPOINT_NO_UPROBE_MULTI");

	if (no && *no && strcmp(no, "0") != 0)
		return false;
	if (known < 0)
		known = multi_detect();
	return known;
}

static int uprobe_type(void)
{
	static int type = -1;
	FILE *f = type < 0 ? fopen("/sys/bus/event_source/devices/uprobe/type", "re") : NULL;

	if (f && fscanf(f, "%d", &type) != 1)
		type = -1;
	if (f)
		fclose(f);
	return type;
}

struct perf_link {
	struct perf_event_attr attr;
	int prog;
	pid_t pid;
	uint64_t cookie;
};

static int link_create_perf(void *arg)
{
	struct perf_link *l = arg;
	LIBBPF_OPTS(bpf_link_create_opts, opts, .perf_event.bpf_cookie = l->cookie);
	int event =
		syscall(SYS_perf_event_open, &l->attr, l->pid ? l->pid : -1, l->pid ? -1 : 0, -1, PERF_FLAG_FD_CLOEXEC);
	int link, err;

	if (event < 0)
		return -errno;
	link = bpf_link_create(l->prog, event, BPF_PERF_EVENT, &opts);
	err = link < 0 ? -errno : 0;
	close(event);
	return err ? err : link;
}

int link_perf(int prog, const char *path, pid_t pid, uint64_t offset, uint64_t semaphore, uint64_t cookie, bool returns)
{
	struct perf_link l = {
		/*
		 * The kernel runs the program of a disabled event, too. An enabled event takes ten times as long when
		 * its thread is scheduled.
		 */
		.attr = { .disabled = 1,
		          .type = uprobe_type(),
		          .size = sizeof(l.attr),
		          .config = semaphore << 32 | returns, /* format/retprobe */
		          .config1 = (uintptr_t)path,
		          .config2 = offset },
		.prog = prog,
		.pid = pid,
		.cookie = cookie,
	};

	if ((int)l.attr.type < 0)
		return -ENODEV;
	if (semaphore >> 32)
		return -EFBIG;
	return run_shielded(link_create_perf, &l);
}

static int fd_close(void *fd)
{
	return close(*(int *)fd);
}

void link_close(int fd)
{
	if (fd >= 0)
		run_shielded(fd_close, &fd);
}

/* Loads the program again with a log, to report the verifier's reason. Returns a descriptor, or -err. */
static int program_explain(enum bpf_prog_type type, const char *name, const struct bpf_insn *insns, size_t ninsns,
                           struct bpf_prog_load_opts *opts, int err)
{
	char *log = calloc(1, VERIFIER_LOG_SIZE), *last;
	int fd;

	if (!log)
		return error_nomem();
	opts->log_buf = log;
	opts->log_size = VERIFIER_LOG_SIZE;
	opts->log_level = 1;
	fd = bpf_prog_load(type, name, "Dual MIT/GPL", insns, ninsns, opts);
	if (fd < 0) {
		/* The reason is the last line before the statistics. */
		while ((last = strrchr(log, '\n')) && (!last[1] || !strncmp(last + 1, "processed ", 10)))
			*last = 0;
		if (err == E2BIG)
			fd = error_set(err,
			               "the kernel rejects a BPF program of %zu instructions, because its verifier "
			               "would follow more than a million: shorten the filter, the aggregate or the "
			               "list of values",
			               ninsns);
		else
			fd = error_set(err, "the kernel rejects a BPF program of %zu instructions: %s: %s", ninsns,
			               strerror(err), last ? last + 1 : log);
	}
	free(log);
	return fd;
}

int program_load(enum bpf_prog_type type, const char *name, const struct bpf_insn *insns, size_t ninsns,
                 struct bpf_prog_load_opts *opts)
{
	int err = emit_check_stack(insns, ninsns), fd;

	if (err)
		return err;
	fd = bpf_prog_load(type, name, "Dual MIT/GPL", insns, ninsns, opts);
	if (fd >= 0)
		return fd;
	if (errno == EPERM)
		return error_set(EPERM,
		                 "cannot load a BPF program: this user lacks CAP_BPF or CAP_PERFMON; run as root "
		                 "or with CAP_BPF and CAP_PERFMON");
	return program_explain(type, name, insns, ninsns, opts, errno);
}

int link_program(const struct bpf_insn *insns, size_t ninsns)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_SLEEPABLE,
	            .expected_attach_type = link_multi_supported() ? UPROBE_MULTI_ATTACH_TYPE : 0);

	return program_load(BPF_PROG_TYPE_KPROBE, "probepoint", insns, ninsns, &opts);
}

int link_program_empty(void)
{
	return link_program(return_0, sizeof(return_0) / sizeof(*return_0));
}

int link_file(const char *path, dev_t device, ino_t inode, int *fd, char *kernel_path, size_t room)
{
	struct stat st;

	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return error_set(errno, "cannot open '%s': %s", path, strerror(errno));
	if (fstat(*fd, &st) || st.st_dev != device || st.st_ino != inode) {
		close(*fd);
		return error_set(ESTALE, "'%s' was replaced by another file meanwhile; try again", path);
	}
	snprintf(kernel_path, room, "/proc/self/fd/%d", *fd);
	return 0;
}

const char *link_reason(int err)
{
	switch (-err) {
	case ENOTSUPP: return "the kernel cannot step over the instruction, or it is a trap";
	case EINVAL:
		return "the kernel rejects the offset: a point with another semaphore is armed there, or the offset is "
		       "past the end of the file";
	case EIO: return "the kernel cannot arm the file, because its file system has no page cache";
	case EPERM:
	case EACCES:
		/* perf_event_open(2) of a uprobe may refuse CAP_PERFMON (seen on 6.1.176 and 6.18.44). */
		return link_multi_supported()
		               ? "this user may not arm points; run as root or with CAP_BPF and CAP_PERFMON"
		               : "this user may not arm points; run as root or with CAP_SYS_ADMIN, which this kernel "
		                 "needs because it has no uprobe-multi links (Linux 6.6)";
	case ESRCH: return "the process has ended";
	case EFBIG: return "the semaphore's file offset is too large for this kernel";
	case ENODEV: return "this kernel has no uprobes";
	case EINTR: return "interrupted";
	default: return strerror(-err);
	}
}
