/* SPDX-License-Identifier: MIT */
/*
 * A trap in memory that the file does not have is a uprobe's, or it is a debugger's or the
 * program's own. The kernel takes all of them for its own when it places another uprobe
 * there, and puts the file's byte in their place when it takes that one out. So they must
 * be distinguished, and only the kernel knows its uprobes:
 *
 * 1. One for all processes is placed in every new mapping, so in a mapping of our own.
 * 2. One of a BPF link is told by the link, with its file and offset.
 * 3. One of tracefs stands in uprobe_events.
 *
 * What is left are uprobes for one process that perf_event_open(2) made without a link.
 */
#include "runtime/foreign.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sdt/image.h"

#define INT3 0xcc
#define LINK_PERF_EVENT 7
#define LINK_UPROBE_MULTI 12
#define PERF_EVENT_UPROBE 1
#define COUNT_MAX (1u << 22)

/* struct bpf_link_info as of Linux 6.9; Debian 12's header has no more than its begin. */
struct link_info {
	uint32_t type, id, program, unused;
	union {
		struct {
			uint64_t path, offsets, ref_ctr_offsets, cookies;
			uint32_t path_size, count, flags, pid;
		} multi;
		struct {
			uint32_t type, unused;
			uint64_t name;
			uint32_t name_size, offset;
		} perf;
	};
};

static bool in_own_mapping(const struct pp_image *image, uint64_t offset)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), start = offset & -page;
	int fd = image_reopen(image);
	uint8_t byte = 0;
	void *map;
	bool yes;

	if (fd < 0)
		return false;
	map = mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, (off_t)start);
	close(fd);
	if (map == MAP_FAILED)
		return false;
	/* read by the kernel, because the file may become shorter */
	yes = process_vm_readv(getpid(), &(struct iovec){ &byte, 1 }, 1,
	                       &(struct iovec){ (char *)map + (offset - start), 1 }, 1, 0) == 1 && byte == INT3;
	munmap(map, page);
	return yes;
}

/* The kernel's name of a file that was removed leads nowhere: it may be the image. */
static bool is_file(const struct pp_image *image, const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return errno == ENOENT;
	return (st.st_dev == image->device && st.st_ino == image->inode) ||
	       (st.st_dev == image->real_device && st.st_ino == image->real_inode);
}

static int link_info(int fd, struct link_info *info)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = sizeof(*info);
	attr.info.info = (uint64_t)(uintptr_t)info;
	return syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) ? -errno : 0;
}

/* One link. */
static enum foreign link_has(int fd, const struct pp_image *image, uint64_t offset)
{
	enum foreign answer = FOREIGN_NONE;
	char path[4096] = "";
	struct link_info info = { 0 };
	uint64_t *offsets;

	if (link_info(fd, &info) || (info.type != LINK_UPROBE_MULTI && info.type != LINK_PERF_EVENT))
		return FOREIGN_NONE;
	if (info.type == LINK_PERF_EVENT) {
		if (info.perf.type && info.perf.type != PERF_EVENT_UPROBE && info.perf.type != PERF_EVENT_UPROBE + 1)
			return FOREIGN_NONE;
		info = (struct link_info){ .perf = { .name = (uintptr_t)path, .name_size = sizeof(path) } };
		if (link_info(fd, &info) || !info.perf.type)
			return FOREIGN_UNKNOWN;
		return info.perf.offset == (uint32_t)offset && is_file(image, path) ? FOREIGN_UPROBE : FOREIGN_NONE;
	}
	if (!info.multi.count) /* before Linux 6.8 */
		return FOREIGN_UNKNOWN;
	offsets = info.multi.count <= COUNT_MAX ? calloc(info.multi.count, sizeof(*offsets)) : NULL;
	if (!offsets)
		return FOREIGN_UNKNOWN;
	info = (struct link_info){ .multi = { .path = (uintptr_t)path, .path_size = sizeof(path),
	                                      .offsets = (uintptr_t)offsets, .count = info.multi.count } };
	if (link_info(fd, &info))
		answer = FOREIGN_UNKNOWN;
	for (uint32_t i = 0; answer == FOREIGN_NONE && i < info.multi.count && is_file(image, path); i++)
		if (offsets[i] == offset)
			answer = FOREIGN_UPROBE;
	free(offsets);
	return answer;
}

static enum foreign in_links(const struct pp_image *image, uint64_t offset)
{
	enum foreign answer = FOREIGN_NONE;
	union bpf_attr attr;
	uint32_t id = 0;

	for (;;) {
		enum foreign one;
		int fd;

		memset(&attr, 0, sizeof(attr));
		attr.start_id = id;
		if (syscall(SYS_bpf, BPF_LINK_GET_NEXT_ID, &attr, sizeof(attr)))
			return errno == ENOENT ? answer : FOREIGN_UNKNOWN;
		id = attr.next_id;
		memset(&attr, 0, sizeof(attr));
		attr.link_id = id;
		fd = (int)syscall(SYS_bpf, BPF_LINK_GET_FD_BY_ID, &attr, sizeof(attr));
		if (fd < 0 && errno == ENOENT)
			continue; /* ended meanwhile */
		one = fd < 0 ? FOREIGN_UNKNOWN : link_has(fd, image, offset);
		if (fd >= 0)
			close(fd);
		if (one == FOREIGN_UPROBE)
			return one;
		if (one == FOREIGN_UNKNOWN)
			answer = one;
	}
}

/* "p:group/name PATH:0xOFFSET ARGUMENTS" */
static bool in_tracefs(const struct pp_image *image, uint64_t offset)
{
	static const char *const places[] = { "/sys/kernel/tracing/uprobe_events", "/sys/kernel/debug/tracing/uprobe_events" };
	bool found = false;

	for (size_t i = 0; i < sizeof(places) / sizeof(*places) && !found; i++) {
		FILE *f = fopen(places[i], "re");
		char *line = NULL;
		size_t room = 0;

		while (f && !found && getline(&line, &room, f) > 0) {
			char *path = strchr(line, ' '), *at = path ? strstr(path, ":0x") : NULL;

			if (!at || strtoull(at + 1, NULL, 16) != offset)
				continue;
			*at = 0;
			found = is_file(image, path + 1);
		}
		free(line);
		if (f)
			fclose(f);
	}
	return found;
}

enum foreign foreign_uprobe(const struct pp_image *image, uint64_t offset)
{
	if (in_own_mapping(image, offset) || in_tracefs(image, offset))
		return FOREIGN_UPROBE;
	return in_links(image, offset);
}
