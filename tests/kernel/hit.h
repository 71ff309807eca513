/* SPDX-License-Identifier: MIT */
/*
 * For suites that arm a site of their own program and know all registers there. hit_run() loads the registers, passes
 * the site hit_here, and restores its own. The site can be armed many times with different fetch programs, so that one
 * hit runs all of them.
 */
#ifndef TESTS_KERNEL_HIT_H
#define TESTS_KERNEL_HIT_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/manifest.h"
#include "runtime/fetch/program.h"
#include "runtime/kernel/kernel.h"
#include "runtime/process.h"
#include "runtime/request.h"
#include "runtime/session.h"
#include "sdt/image.h"
#include "tests/unit/random.h"

/*
 * Loads 16 registers, by the CPU's numbers, and passes the site. Number 4, the stack pointer, must be canonical; it is
 * not used to access memory.
 */
void hit_run(const uint64_t registers[16]);
extern const char hit_here[];
/* The same with another site, which ends calls that hit_here begins. */
void hit_end_run(const uint64_t registers[16]);
extern const char hit_end_here[];

#define HIT_FUNCTION(name, site)                                                               \
	".globl " name "\n"                                                                    \
	".type " name ",@function\n" name ":\n"                                                \
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"                  \
	"	mov %rsp, hit_stack(%rip)\n"                                                         \
	"	mov (%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx\n"       \
	"	mov 32(%rdi), %rsp; mov 40(%rdi), %rbp; mov 48(%rdi), %rsi\n"                        \
	"	mov 64(%rdi), %r8; mov 72(%rdi), %r9; mov 80(%rdi), %r10; mov 88(%rdi), %r11\n"      \
	"	mov 96(%rdi), %r12; mov 104(%rdi), %r13; mov 112(%rdi), %r14; mov 120(%rdi), %r15\n" \
	"	mov 56(%rdi), %rdi\n"                                                                \
	"	.globl " site "\n" site ":\n"                                                  \
	"	nop; .byte 0x66,0x2e,0x0f,0x1f,0x84,0,0,0,0,0\n"                                     \
	"	mov hit_stack(%rip), %rsp\n"                                                         \
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"                        \
	"	ret\n"                                                                               \
	"	.size " name ", . - " name "\n"

__asm__(".local hit_stack\n"
        ".comm hit_stack,8,8\n"
        ".text\n" HIT_FUNCTION("hit_run", "hit_here") HIT_FUNCTION("hit_end_run", "hit_end_here"));

/*
 * Returns the address in canonical form: bits 48 to 63 equal bit 47. Some processors (AMD family 26) fault when they
 * return from a trap with another stack pointer.
 */
static inline uint64_t hit_canonical(uint64_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16);
}

/* ---- this program as an image, with the two sites ---- */

static struct pp_image *hit_image;
static struct pp_probe hit_probe;
static struct pp_site hit_site, hit_end_site;

static inline void hit_site_find(struct pp_site *site, const char *symbol)
{
	*site = (struct pp_site){ .probe = &hit_probe };
	ck_assert_msg(!image_symbol(hit_image, symbol, &site->address), "%s", pp_error());
	ck_assert_msg(!image_offset(hit_image, site->address, &site->offset), "%s", pp_error());
}

static inline void hit_open(void)
{
	struct pp_image *image;

	ck_assert_msg(!pp_image_open("/proc/self/exe", &image), "%s", pp_error());
	hit_image = image;
	hit_probe =
		(struct pp_probe){ .image = image, .provider = "it", .name = "here", .sites = &hit_site, .nsites = 1 };
	hit_site_find(&hit_site, "hit_here");
	hit_site_find(&hit_end_site, "hit_end_here");
}

/*
 * Reads memory through a pipe, because write(2) copies as BPF programs do. process_vm_readv(2) cannot read [vvar],
 * which may follow the memory of a test.
 */
static inline int hit_read(void *arg, uint64_t address, void *to, size_t size)
{
	static int ends[2];
	ssize_t n;

	(void)arg;
	if (!ends[1] &&
	    pipe2(ends, O_NONBLOCK | O_CLOEXEC)) /* not an assertion, because check writes a message for each */
		ck_abort_msg("no pipe: %s", strerror(errno));
	n = write(ends[1], (const void *)address, size);
	if (n > 0)
		n = read(ends[0], to, (size_t)n);
	if (n == (ssize_t)size)
		return 0;
	memset(to, 0, size);
	return -EFAULT;
}

/* ---- arming ---- */

struct armed {
	struct pp_session *session;
	struct attachment *attachment;
	struct process *process;
	void *reader;
};

/* Adds the point of programs[i]. A program with an aggregate has a probe, and therefore a group, of its own. */
static inline uint32_t add_point(struct manifest_builder *builder, int file, const struct pp_site *site,
                                 const struct fetch_program *program, size_t i)
{
	struct manifest_point point = { .offset = site->offset, .pid = getpid(), .link = ~0u, .role = site->role };
	struct pp_probe probe = hit_probe;
	int layout = manifest_add_layout(builder, program), index, group;
	char name[32];

	snprintf(name, sizeof(name), "here%zu", i);
	if (program->aggregate)
		probe.name = name;
	index = manifest_add_probe(builder, &probe, file);
	ck_assert(layout >= 0 && index >= 0);
	point.probe = index;
	point.layout = layout;
	if (program->aggregate) {
		group = manifest_add_group(builder, program, index);
		ck_assert_int_ge(group, 0);
		point.group = group + 1;
	}
	return manifest_add_point(builder, &point);
}

/* Arms n points in this process: point i runs programs[i] at *sites[i]. cells: room of their aggregates.
 * maxactive: of calls. */
static inline void arm_sites(struct armed *a, const struct pp_site *const *sites, const struct fetch_program *programs,
                             size_t n, unsigned cells, unsigned maxactive)
{
	struct arm_point *points = calloc(n, sizeof(*points)), **list = calloc(n, sizeof(*list));
	pid_t self = getpid();
	const struct scope scope = { .kind = SCOPE_PROCESSES, .pids = &self, .npids = 1 };
	struct manifest_builder *builder;
	struct manifest *manifest;
	int file;

	ck_assert(!pp_session_private(&a->session));
	ck_assert_msg(!backend_kernel.open(a->session, true), "%s", pp_error());
	ck_assert(!process_open(getpid(), &a->process));
	ck_assert(!manifest_builder_new(&builder));
	ck_assert_int_ge(file = manifest_add_file(builder, hit_image), 0);
	for (size_t i = 0; i < n; i++) {
		points[i] = (struct arm_point){
			.image = hit_image, .site = sites[i], .process = a->process, .program = &programs[i]
		};
		points[i].point = add_point(builder, file, sites[i], &programs[i], i);
		ck_assert_uint_eq(points[i].point, i);
		list[i] = &points[i];
	}
	ck_assert(!manifest_build(builder, 0, &manifest));
	manifest->sample = programs[0].sample;
	manifest_builder_free(builder);
	a->attachment = session_add_attachment(a->session, &backend_kernel, 0, manifest, NULL);
	ck_assert_ptr_nonnull(a->attachment);
	ck_assert_msg(
		!backend_kernel.arm(a->session, a->attachment, list, n,
	                            &(struct arm_options){ .scope = &scope, .cells = cells, .maxactive = maxactive }),
		"seed %llu: %s", (unsigned long long)seed, pp_error());
	for (size_t i = 0; i < n; i++)
		ck_assert_msg(!points[i].error, "point %zu: %s", i, points[i].reason);
	free(list);
	free(points);
	ck_assert_msg(!backend_kernel.reader_open(a->session, &a->reader), "%s", pp_error());
}

/* Arms the site hit_here n times. */
static inline void arm_aggregates(struct armed *a, const struct fetch_program *programs, size_t n, unsigned cells)
{
	const struct pp_site **sites = malloc(n * sizeof(*sites));

	for (size_t i = 0; i < n; i++)
		sites[i] = &hit_site;
	arm_sites(a, sites, programs, n, cells, 0);
	free(sites);
}

static inline void arm_programs(struct armed *a, const struct fetch_program *programs, size_t n)
{
	arm_aggregates(a, programs, n, AGG_CELLS_DEFAULT);
}

/* Disarms all points. They can be armed again at once, but old links may still count for a moment. */
static inline void disarm_programs(struct armed *a)
{
	backend_kernel.reader_close(a->reader);
	pp_session_close(a->session);
	process_free(a->process);
}

static inline int need_kernel(void)
{
	if (geteuid()) {
		puts("needs root");
		return 77;
	}
	if (access("/sys/bus/event_source/devices/uprobe", F_OK)) {
		puts("this kernel has no uprobes");
		return 77;
	}
	return 0;
}

#endif
