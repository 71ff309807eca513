/* SPDX-License-Identifier: MIT */
/*
 * What arming costs: pp_session_enable() on all sites of one image in one running
 * process (look at the process, read its images' notes, check the sites, compile,
 * load, link, read the bytes back, report), against the bare system call that makes
 * one uprobe-multi link of the same offsets for the same process, with a BPF program
 * that does nothing. The two in turn, in one run; medians.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <probepoint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/kernel/link.h"

#define ROUNDS 9

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof(*values), compare);
	return values[ROUNDS / 2];
}

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "bench/arm: %s: %s\n", what, pp_error());
	exit(1);
}

/* A program of n sites, with operands as compilers make them, which waits. */
static void make_target(const char *path, unsigned n)
{
	char source[300], command[800];
	FILE *f;

	snprintf(source, sizeof(source), "%s.c", path);
	f = fopen(source, "w");
	if (!f)
		die(source);
	fprintf(f, "#include <sys/sdt.h>\n#include <unistd.h>\n");
	for (unsigned i = 0; i < n; i += 100) {
		fprintf(f, "__attribute__((noinline)) void f%u(long a, int b)\n{\n", i);
		for (unsigned k = i; k < i + 100 && k < n; k++)
			fprintf(f, "\tSTAP_PROBE2(bench, p%u, a + %u, b);\n", k / 4, k % 5);
		fprintf(f, "}\n");
	}
	fprintf(f, "int main(void)\n{\n\tpause();\n}\n");
	if (fclose(f))
		die(source);
	snprintf(command, sizeof(command), "%s -O1 -Iinclude -o %s %s", getenv("CC") ? getenv("CC") : "cc", path, source);
	if (system(command))
		die(command);
}

static double ours(pid_t pid, size_t *armed)
{
	struct pp_session *session;
	struct pp_request *request;
	struct pp_report *report;
	double start, took;

	if (pp_session_private(&session) || pp_request_new(&request) || pp_request_pattern(request, "bench:*") ||
	    pp_request_backend(request, "kernel") || pp_request_pid(request, pid))
		die("request");
	start = now();
	if (pp_session_enable(session, request, &report))
		die("pp_session_enable");
	took = now() - start;
	*armed = 0;
	for (size_t i = 0; i < pp_report_rows(report); i++)
		if (pp_report_state(report, i) == PP_ARMED && pp_report_verified(report, i))
			*armed += pp_report_sites(report, i);
	pp_report_free(report);
	pp_request_free(request);
	pp_session_close(session);
	return took;
}

static double bare(pid_t pid, const char *path, const uint64_t *offsets, size_t n)
{
	static const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct link_points points = { .n = n, .offsets = offsets, .cookies = offsets };
	int prog = link_program(nothing, 2), link;
	double start, took;

	if (prog < 0)
		die("link_program");
	start = now();
	link = link_multi(prog, path, pid, &points);
	took = now() - start;
	if (link < 0) {
		errno = -link;
		perror("link_multi");
		exit(1);
	}
	close(link);
	close(prog);
	return took;
}

static void bench(const char *dir, unsigned n)
{
	double ours_ms[ROUNDS], bare_ms[ROUNDS], ratio[ROUNDS];
	struct pp_image *image;
	uint64_t *offsets = calloc(n, sizeof(*offsets));
	size_t have = 0, armed = 0;
	char path[256];
	pid_t pid;

	snprintf(path, sizeof(path), "%s/sites%u", dir, n);
	make_target(path, n);
	if (!offsets || pp_image_open(path, &image))
		die(path);
	for (size_t i = 0; i < pp_image_probes(image); i++)
		for (size_t k = 0; k < pp_probe_sites(pp_image_probe(image, i)) && have < n; k++)
			offsets[have++] = pp_site_offset(pp_probe_site(pp_image_probe(image, i), k));
	pid = fork();
	if (!pid) {
		execl(path, path, NULL);
		_exit(1);
	}
	usleep(200000);
	for (int i = 0; i < ROUNDS; i++) {
		bare_ms[i] = bare(pid, path, offsets, have);
		ours_ms[i] = ours(pid, &armed);
		ratio[i] = ours_ms[i] / bare_ms[i];
		if (armed != have) {
			fprintf(stderr, "bench/arm: %zu of %zu sites armed\n", armed, have);
			exit(1);
		}
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	printf("%8zu %14.2f %14.2f %10.2f\n", have, median(bare_ms), median(ours_ms), median(ratio));
	fflush(stdout);
	pp_image_free(image);
	free(offsets);
}

int main(void)
{
	char dir[] = "/tmp/probepoint-bench.XXXXXX", command[64];

	if (geteuid()) {
		printf("bench/arm: left out: it needs root\n");
		return 0;
	}
	if (!mkdtemp(dir))
		return 1;
	printf("arming, ms (medians of %d)\n   sites      bare link         enable      ratio\n", ROUNDS);
	bench(dir, 1);
	bench(dir, 100);
	bench(dir, 10000);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) != 0;
}
