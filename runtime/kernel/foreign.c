/* SPDX-License-Identifier: MIT */
/*
 * A breakpoint in memory that the file does not have belongs to a uprobe, to a debugger, or to the program itself. The
 * kernel does not distinguish them: it takes any breakpoint for its own when it places another uprobe there, and writes
 * the file's bytes when it removes that uprobe. This file finds out whether the kernel has a uprobe there. The kernel
 * reports its uprobes in four ways:
 *
 * 1. It places a uprobe for all processes in every new mapping, so also in a mapping of our own (mapping_has_uprobe).
 * 2. A BPF link reports its file and its offsets (links_read).
 * 3. A tracefs event is listed in uprobe_events (tracefs_read).
 * 4. A perf event that runs a BPF program is reported by its descriptor, in any process (perf_read).
 *
 * A perf event without a BPF program does not report whether it is a uprobe. The list is incomplete then.
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

#include "base/array.h"
#include "base/text.h"
#include "runtime/cpu.h"
#include "sdt/image.h"

#define LINK_PERF_EVENT 7
#define LINK_UPROBE_MULTI 12
#define PERF_EVENT_UPROBE 1
#define COUNT_MAX (1u << 22)

/* struct bpf_link_info of Linux 6.9. Debian 12's header has only its first members. */
struct link_details {
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

/* Maps the file and returns true if the kernel places a breakpoint in the mapping. */
static bool mapping_has_uprobe(const struct pp_image *image, uint64_t offset)
{
	const struct cpu_code *cpu = cpu_code(image->machine);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), start = offset & -page;
	uint8_t bytes[BREAKPOINT_SIZE_MAX] = { 0 };
	struct iovec local = { bytes, cpu->breakpoint_size }, remote;
	int fd = image_reopen(image);
	bool found;
	char *map;

	if (fd < 0)
		return false;
	map = mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, (off_t)start);
	close(fd);
	if (map == MAP_FAILED)
		return false;
	/* The kernel reads, because the file may become shorter: a load would then raise SIGBUS. */
	remote = (struct iovec){ map + (offset - start), local.iov_len };
	found = process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)local.iov_len && cpu->is_uprobe(bytes);
	munmap(map, page);
	return found;
}

/* Copies the last component of a path, without the text that the kernel appends to the path of a removed file. */
static char *last_component(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	return strndup(name, text_path_length(name));
}

/*
 * Returns whether the path may lead elsewhere for this process. The kernel reports the path that a perf uprobe's
 * creator passed.
 */
static bool path_is_creators(const char *path)
{
	return !strncmp(path, "/proc/self/", 11) || !strncmp(path, "/proc/thread-self/", 18) || *path != '/';
}

/* Adds a uprobe. The path does not exist here if the file was removed or is in another mount namespace. */
static void foreign_add(struct foreign_list *l, const char *path, uint64_t offset)
{
	struct foreign_entry entry = { .offset = offset };
	struct stat st;

	if (path_is_creators(path)) {
		entry.name = strdup("");
	} else if (!stat(path, &st)) {
		entry.device = st.st_dev;
		entry.inode = st.st_ino;
	} else if (errno != ENOENT) {
		return;
	} else {
		entry.name = last_component(path);
	}
	if ((!entry.inode && !entry.name) || ALLOC_GROW(l->list, l->n + 1, l->room)) {
		free(entry.name);
		l->incomplete = true;
		return;
	}
	l->list[l->n++] = entry;
}

static int link_info_get(int fd, struct link_details *info)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = sizeof(*info);
	attr.info.info = (uint64_t)(uintptr_t)info;
	return syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) ? -errno : 0;
}

static void links_add_perf(struct foreign_list *l, int fd, const struct link_details *first)
{
	char path[4096] = "";
	struct link_details info = { .perf = { .name = (uintptr_t)path, .name_size = sizeof(path) } };

	if (first->perf.type && first->perf.type != PERF_EVENT_UPROBE && first->perf.type != PERF_EVENT_UPROBE + 1)
		return;
	if (link_info_get(fd, &info) || !info.perf.type)
		l->incomplete = true;
	else
		foreign_add(l, path, info.perf.offset);
}

static void links_add_multi(struct foreign_list *l, int fd, uint32_t count)
{
	uint64_t *offsets = count && count <= COUNT_MAX ? calloc(count, sizeof(*offsets)) : NULL;
	char path[4096] = "";
	struct link_details info = { .multi = { .path = (uintptr_t)path,
		                                .path_size = sizeof(path),
		                                .offsets = (uintptr_t)offsets,
		                                .count = count } };

	if (!offsets || link_info_get(fd, &info)) /* the count is 0 before Linux 6.8 */
		l->incomplete = true;
	else
		for (uint32_t i = 0; i < count; i++)
			foreign_add(l, path, offsets[i]);
	free(offsets);
}

static void links_read(struct foreign_list *l)
{
	union bpf_attr attr;
	uint32_t id = 0;

	for (;;) {
		struct link_details info = { 0 };
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
			l->incomplete |= errno != ENOENT; /* the link has ended meanwhile */
			continue;
		}
		if (link_info_get(fd, &info))
			l->incomplete = true;
		else if (info.type == LINK_UPROBE_MULTI)
			links_add_multi(l, fd, info.multi.count);
		else if (info.type == LINK_PERF_EVENT)
			links_add_perf(l, fd, &info);
		close(fd);
	}
}

/* "p:group/name PATH:0xOFFSET ARGUMENTS" */
static void tracefs_read(struct foreign_list *l)
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
			foreign_add(l, path + 1, strtoull(at + 1, NULL, 16));
		}
		free(line);
		if (f)
			fclose(f);
	}
}

static void descriptor_query(struct foreign_list *l, int pid, int fd)
{
	char path[4096] = "";
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.task_fd_query.pid = (uint32_t)pid;
	attr.task_fd_query.fd = (uint32_t)fd;
	attr.task_fd_query.buf = (uintptr_t)path;
	attr.task_fd_query.buf_len = sizeof(path);
	if (syscall(SYS_bpf, BPF_TASK_FD_QUERY, &attr, sizeof(attr)))
		l->incomplete |= errno != EOPNOTSUPP && errno != EBADF; /* a CPU counter; closed meanwhile */
	else if (attr.task_fd_query.fd_type == BPF_FD_TYPE_UPROBE ||
	         attr.task_fd_query.fd_type == BPF_FD_TYPE_URETPROBE)
		foreign_add(l, path, attr.task_fd_query.probe_offset);
}

static void descriptors_read(struct foreign_list *l, int pid)
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
			descriptor_query(l, pid, atoi(entry->d_name));
	}
	if (dir)
		closedir(dir);
}

static void perf_read(struct foreign_list *l)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			descriptors_read(l, atoi(entry->d_name));
	if (proc)
		closedir(proc);
}

/* Returns whether the uprobe is in the image's file. FOREIGN_UNKNOWN: its file is not known. */
static enum foreign entry_owner(const struct foreign_entry *e, const struct pp_image *image)
{
	char *name;
	bool same;

	if (e->inode)
		return (e->inode == image->inode && e->device == image->device) ||
		                       (e->inode == image->real_inode && e->device == image->real_device)
		               ? FOREIGN_UPROBE
		               : FOREIGN_NONE;
	name = last_component(image->name);
	same = name && !strcmp(name, e->name);
	free(name);
	return same ? FOREIGN_UPROBE : FOREIGN_UNKNOWN;
}

enum foreign foreign_uprobe(struct foreign_list *l, const struct pp_image *image, uint64_t offset)
{
	bool unknown;

	if (!l->read) {
		l->read = true;
		links_read(l);
		tracefs_read(l);
		perf_read(l);
	}
	unknown = l->incomplete;
	for (size_t i = 0; i < l->n; i++) {
		enum foreign owner = l->list[i].offset == offset ? entry_owner(&l->list[i], image) : FOREIGN_NONE;

		if (owner == FOREIGN_UPROBE)
			return owner;
		unknown |= owner == FOREIGN_UNKNOWN;
	}
	if (mapping_has_uprobe(image, offset))
		return FOREIGN_UPROBE;
	return unknown ? FOREIGN_UNKNOWN : FOREIGN_NONE;
}

void foreign_release(struct foreign_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->list[i].name);
	free(l->list);
	*l = (struct foreign_list){ 0 };
}
