/* SPDX-License-Identifier: MIT */
/*
 * arm PID FILE [TIMES]: measures how long it takes to arm all sites of the process's file
 *
 * - by pp_session_enable(), which inspects the process, reads the notes of all files that it maps, checks and compiles
 *   the sites, loads, links, pins, verifies and reports;
 * - by the bare system call, which creates one uprobe-multi link of the same offsets and an empty program.
 *
 * Alternates between both TIMES times (default 7, at most 1000). Prints the medians and their ratio.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runtime/kernel/link.h"
#include "runtime/resolve.h"
#include "sdt/image.h"

#define TIMES_MAX 1000

static const struct bpf_insn nothing[] = {
	{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
	{ .code = BPF_JMP | BPF_EXIT },
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void die(const char *what)
{
	fprintf(stderr, "arm: %s: %s\n", what, *pp_error() ? pp_error() : strerror(errno));
	exit(1);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *times, int n)
{
	qsort(times, n, sizeof(*times), compare);
	return times[n / 2];
}

static size_t offsets_of(const struct pp_image *image, uint64_t **offsets)
{
	size_t n = 0;

	*offsets = NULL;
	for (size_t p = 0; p < pp_image_probes(image); p++) {
		const struct pp_probe *probe = pp_image_probe(image, p);

		*offsets = realloc(*offsets, (n + pp_probe_sites(probe)) * sizeof(**offsets));
		for (size_t s = 0; s < pp_probe_sites(probe); s++)
			(*offsets)[n++] = pp_site_offset(pp_probe_site(probe, s));
	}
	return n;
}

/* Measures the system call only. */
static double bare(int prog, const char *file, pid_t pid, const uint64_t *offsets, size_t n)
{
	struct {
		uint32_t prog_fd, target_fd, attach_type, flags;
		uint64_t path, offsets, ref_ctr_offsets, cookies;
		uint32_t cnt, multi_flags, pid, reserved;
	} attr = { .prog_fd = prog,
		   .attach_type = UPROBE_MULTI_ATTACH_TYPE,
		   .path = (uintptr_t)file,
		   .offsets = (uintptr_t)offsets,
		   .cnt = n,
		   .pid = pid };
	double start = now();
	int fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	double took = now() - start;

	if (fd < 0)
		die("cannot create the link");
	close(fd);
	return took;
}

static double ours(const struct pp_request *request, size_t nsites)
{
	char name[64];
	struct pp_session *session;
	struct pp_report *report;
	size_t points, armed = 0;
	double start, took;

	snprintf(name, sizeof(name), "k_bench_%d", getpid());
	if (pp_session_open(name, true, &session))
		die("cannot open a session");
	start = now();
	if (pp_session_enable(session, request, &report))
		die("cannot arm");
	took = now() - start;
	for (size_t i = 0; i < pp_report_rows(report); i++)
		if (pp_report_state(report, i) == PP_ARMED && pp_report_verified(report, i))
			armed += pp_report_sites(report, i);
	if (armed != nsites) {
		fprintf(stderr, "arm: %zu of %zu sites are armed\n", armed, nsites);
		exit(1);
	}
	pp_report_free(report);
	if (pp_session_disable(session, 0, NULL, 0, &points) || points != nsites)
		die("cannot disarm");
	pp_session_close(session);
	return took;
}

int main(int argc, char **argv)
{
	pid_t pid = argc > 2 ? atoi(argv[1]) : 0;
	int times = argc > 3 ? atoi(argv[3]) : 7;
	double system_call[TIMES_MAX], call[TIMES_MAX], parse[TIMES_MAX], find[TIMES_MAX], ratio[TIMES_MAX];
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_SLEEPABLE,
	            .expected_attach_type = UPROBE_MULTI_ATTACH_TYPE);
	struct pp_request *request;
	struct pp_image *image;
	uint64_t *offsets;
	size_t n;
	int prog;

	if (!pid || times < 1 || times > TIMES_MAX) {
		fprintf(stderr, "usage: arm PID FILE [TIMES]\n");
		return 2;
	}
	if (pp_image_open(argv[2], &image))
		die(argv[2]);
	n = offsets_of(image, &offsets);
	prog = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "nothing", "Dual MIT/GPL", nothing, 2, &opts);
	if (prog < 0)
		die("cannot load the empty program");
	if (pp_request_new(&request) || pp_request_pattern(request, "gen:*") || pp_request_pid(request, pid) ||
	    pp_request_backend(request, "kernel"))
		die("cannot build the request");
	for (int i = 0; i < times; i++) {
		struct targets targets = { 0 };
		struct pp_image *again;
		double start;

		system_call[i] = bare(prog, argv[2], pid, offsets, n);
		call[i] = ours(request, n);
		ratio[i] = call[i] / system_call[i];
		start = now();
		if (pp_image_open(argv[2], &again))
			die(argv[2]);
		parse[i] = now() - start;
		pp_image_free(again);
		start = now();
		if (targets_find(&targets, request))
			die("cannot find the sites");
		find[i] = now() - start - parse[i];
		targets_release(&targets);
	}
	printf("%zu sites, %zu probes\n", n, pp_image_probes(image));
	printf("  %8.2f ms  the bare system call\n", median(system_call, times));
	printf("  %8.2f ms  pp_session_enable(), including\n", median(call, times));
	printf("  %8.2f ms    reading the file's notes\n", median(parse, times));
	printf("  %8.2f ms    reading the notes of other files, choosing sites, compiling operands\n",
	       median(find, times));
	printf("  %8.2f     times the bare system call (in pairs: %.2f to %.2f)\n",
	       median(call, times) / median(system_call, times), ratio[0], (median(ratio, times), ratio[times - 1]));
	pp_image_free(image);
	pp_request_free(request);
	free(offsets);
	return 0;
}
