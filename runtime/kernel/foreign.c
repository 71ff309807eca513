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
 * 4. One of perf_event_open(2) that runs a BPF program is told by its descriptor, in whichever process that is.
 *
 * If there are other descriptors of perf events, it is not known whether they are uprobes.
 */
#include "runtime/kernel/foreign.h"

#include <dirent.h>
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
	                       &(struct iovec){ (char *)map + (offset - start), 1 }, 1, 0) == 1 &&
	      byte == INT3;
	munmap(map, page);
	return yes;
}

/* The kernel's name of a file that was removed leads nowhere: it may be any file. */
static void add(struct foreign_list *l, const char *path, uint64_t offset)
{
	struct stat st = { 0 };

	if (stat(path, &st) && errno != ENOENT)
		return;
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		void *more = realloc(l->list, room * sizeof(*l->list));

		if (!more) {
			l->incomplete = true;
			return;
		}
		l->list = more;
		l->room = room;
	}
	l->list[l->n++] = (struct foreign_entry){ st.st_dev, st.st_ino, offset };
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

static void add_perf_link(struct foreign_list *l, int fd, const struct link_info *first)
{
	char path[4096] = "";
	struct link_info info = { .perf = { .name = (uintptr_t)path, .name_size = sizeof(path) } };

	if (first->perf.type && first->perf.type != PERF_EVENT_UPROBE && first->perf.type != PERF_EVENT_UPROBE + 1)
		return;
	if (link_info(fd, &info) || !info.perf.type)
		l->incomplete = true;
	else
		add(l, path, info.perf.offset);
}

static void add_multi_link(struct foreign_list *l, int fd, uint32_t count)
{
	uint64_t *offsets = count && count <= COUNT_MAX ? calloc(count, sizeof(*offsets)) : NULL;
	char path[4096] = "";
	struct link_info info = { .multi = { .path = (uintptr_t)path,
		                             .path_size = sizeof(path),
		                             .offsets = (uintptr_t)offsets,
		                             .count = count } };

	/* before Linux 6.8 the count is 0 */
	if (!offsets || link_info(fd, &info))
		l->incomplete = true;
	else
		for (uint32_t i = 0; i < count; i++)
			add(l, path, offsets[i]);
	free(offsets);
}

static void read_links(struct foreign_list *l)
{
	union bpf_attr attr;
	uint32_t id = 0;

	for (;;) {
		struct link_info info = { 0 };
		int fd;

		memset(&attr, 0, sizeof(attr));
		attr.start_id = id;
		if (syscall(SYS_bpf, BPF_LINK_GET_NEXT_ID, &attr, sizeof(attr))) {
			l->incomplete |= errno != ENOENT;
			return;
		}
		id = attr.next_id;
		memset(&attr, 0, sizeof(attr));
		attr.link_id = id;
		fd = (int)syscall(SYS_bpf, BPF_LINK_GET_FD_BY_ID, &attr, sizeof(attr));
		if (fd < 0) {
			l->incomplete |= errno != ENOENT; /* it ended meanwhile */
			continue;
		}
		if (link_info(fd, &info))
			l->incomplete = true;
		else if (info.type == LINK_UPROBE_MULTI)
			add_multi_link(l, fd, info.multi.count);
		else if (info.type == LINK_PERF_EVENT)
			add_perf_link(l, fd, &info);
		close(fd);
	}
}

/* "p:group/name PATH:0xOFFSET ARGUMENTS" */
static void read_tracefs(struct foreign_list *l)
{
	static const char *const places[] = { "/sys/kernel/tracing/uprobe_events",
		                              "/sys/kernel/debug/tracing/uprobe_events" };

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		FILE *f = fopen(places[i], "re");
		char *line = NULL;
		size_t room = 0;

		while (f && getline(&line, &room, f) > 0) {
			char *path = strchr(line, ' '), *at = path ? strstr(path, ":0x") : NULL;

			if (!at)
				continue;
			*at = 0;
			add(l, path + 1, strtoull(at + 1, NULL, 16));
		}
		free(line);
		if (f)
			fclose(f);
	}
}

static void ask_descriptor(struct foreign_list *l, int pid, int fd)
{
	char path[4096] = "";
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.task_fd_query.pid = (uint32_t)pid;
	attr.task_fd_query.fd = (uint32_t)fd;
	attr.task_fd_query.buf = (uintptr_t)path;
	attr.task_fd_query.buf_len = sizeof(path);
	if (syscall(SYS_bpf, BPF_TASK_FD_QUERY, &attr, sizeof(attr)))
		l->incomplete |= errno != EOPNOTSUPP && errno != EBADF; /* the CPU's counters; it was closed */
	else if (attr.task_fd_query.fd_type == BPF_FD_TYPE_UPROBE ||
	         attr.task_fd_query.fd_type == BPF_FD_TYPE_URETPROBE)
		add(l, path, attr.task_fd_query.probe_offset);
}

static void read_descriptors(struct foreign_list *l, int pid)
{
	char path[300], link[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

		if (n <= 0)
			continue;
		link[n] = 0;
		if (!strcmp(link, "anon_inode:[perf_event]"))
			ask_descriptor(l, pid, atoi(entry->d_name));
	}
	if (dir)
		closedir(dir);
}

static void read_perf(struct foreign_list *l)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			read_descriptors(l, atoi(entry->d_name));
	if (proc)
		closedir(proc);
}

enum foreign foreign_uprobe(struct foreign_list *l, const struct pp_image *image, uint64_t offset)
{
	if (!l->read) {
		l->read = true;
		read_links(l);
		read_tracefs(l);
		read_perf(l);
	}
	for (size_t i = 0; i < l->n; i++) {
		const struct foreign_entry *e = &l->list[i];

		if (e->offset == offset && (!e->inode || (e->inode == image->inode && e->device == image->device) ||
		                            (e->inode == image->real_inode && e->device == image->real_device)))
			return FOREIGN_UPROBE;
	}
	if (in_own_mapping(image, offset))
		return FOREIGN_UPROBE;
	return l->incomplete ? FOREIGN_UNKNOWN : FOREIGN_NONE;
}

void foreign_release(struct foreign_list *l)
{
	free(l->list);
	*l = (struct foreign_list){ 0 };
}
