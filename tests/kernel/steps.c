/* SPDX-License-Identifier: MIT */
/*
 * Asks the kernel which instructions its uprobes accept, without probepoint and without executing them.
 *
 * steps FILE STRIDE COUNT [MAPPER]: places a uprobe at each of COUNT offsets of FILE, which no process maps. Then it maps
 * the file itself, or MAPPER does, a program whose descriptor 3 is the file; its mapping decides whether the kernel
 * decodes 32-bit or 64-bit code. Prints the bytes of the mapping: the kernel has replaced those by int3 that it accepts.
 *
 * steps FILE OFFSET: maps the file, places one uprobe, and prints the kernel's error.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRACE_UPROBE_MULTI 48 /* linux/bpf.h of Linux 6.6, as what follows */

struct uprobe_multi {
	uint32_t prog_fd, target_fd, attach_type, flags;
	uint64_t path, offsets, ref_ctr_offsets, cookies;
	uint32_t cnt, multi_flags, pid, reserved;
};

static int perf_uprobe(const char *path, uint64_t offset, pid_t pid)
{
	struct perf_event_attr attr = { .size = sizeof(attr), .config1 = (uintptr_t)path, .config2 = offset };
	FILE *f = fopen("/sys/bus/event_source/devices/uprobe/type", "re");

	if (!f || fscanf(f, "%u", &attr.type) != 1)
		return -1;
	fclose(f);
	return (int)syscall(SYS_perf_event_open, &attr, pid, pid < 0 ? 0 : -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* Returns the link of all offsets, or -1 before Linux 6.6. */
static int multi_uprobes(const char *path, uint64_t stride, uint32_t count)
{
	/* r0 = 0; exit */
	struct bpf_insn insns[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K }, { .code = BPF_JMP | BPF_EXIT } };
	union bpf_attr load = { .prog_type = BPF_PROG_TYPE_KPROBE,
		                .insns = (uintptr_t)insns,
		                .insn_cnt = 2,
		                .license = (uintptr_t) "GPL",
		                .expected_attach_type = TRACE_UPROBE_MULTI };
	uint64_t *offsets = calloc(count, sizeof(*offsets));
	struct uprobe_multi attr = {
		.attach_type = TRACE_UPROBE_MULTI, .path = (uintptr_t)path, .offsets = (uintptr_t)offsets, .cnt = count
	};

	for (uint32_t i = 0; i < count; i++)
		offsets[i] = i * stride;
	attr.prog_fd = (uint32_t)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
	return (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
}

static int fail(const char *what)
{
	perror(what);
	return 1;
}

int main(int argc, char **argv)
{
	struct stat st;
	char *map;
	int file;

	if (argc < 3)
		return 2;
	file = open(argv[1], O_RDONLY);
	if (file < 0 || fstat(file, &st))
		return fail(argv[1]);
	if (argc == 3) {
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, file, 0);
		if (map == MAP_FAILED)
			return fail("mmap");
		printf("%d\n", perf_uprobe(argv[1], strtoul(argv[2], NULL, 10), 0) < 0 ? errno : 0);
		return 0;
	}
	if (multi_uprobes(argv[1], strtoul(argv[2], NULL, 10), (uint32_t)strtoul(argv[3], NULL, 10)) < 0) {
		for (unsigned long i = 0; i < strtoul(argv[3], NULL, 10); i++)
			if (perf_uprobe(argv[1], i * strtoul(argv[2], NULL, 10), -1) < 0)
				return fail("perf_event_open");
	}
	if (argc > 4) {
		int status = 0;

		if (!fork()) {
			dup2(file, 3);
			execl(argv[4], argv[4], NULL);
			_exit(77);
		}
		wait(&status);
		return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	}
	/* Not executable: the kernel places breakpoints in it nevertheless. */
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, file, 0);
	if (map == MAP_FAILED)
		return fail("mmap");
	return fwrite(map, 1, (size_t)st.st_size, stdout) != (size_t)st.st_size;
}
