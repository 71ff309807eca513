/* SPDX-License-Identifier: MIT */
/* Prints the number of uprobe-multi links of files below a directory, of all processes and pins. */
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINK_TYPE_UPROBE_MULTI 12 /* linux/bpf.h of Linux 6.6, as what follows */

struct link_info {
	uint32_t type, id, prog_id, reserved;
	uint64_t path, offsets, ref_ctr_offsets, cookies;
	uint32_t path_size, count, flags, pid;
	char more[128];
};

static int is_below(int fd, const char *folder)
{
	char path[4096] = "";
	struct link_info info = { .path = (uintptr_t)path, .path_size = sizeof(path) };
	union bpf_attr attr = { .info = {
					.bpf_fd = (uint32_t)fd, .info_len = sizeof(info), .info = (uintptr_t)&info } };

	return !syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) && info.type == LINK_TYPE_UPROBE_MULTI &&
	       !strncmp(path, folder, strlen(folder));
}

int main(int argc, char **argv)
{
	uint32_t id = 0;
	int n = 0;

	if (argc != 2)
		return 2;
	for (;;) {
		union bpf_attr next = { .start_id = id }, get = { 0 };
		int fd;

		if (syscall(SYS_bpf, BPF_LINK_GET_NEXT_ID, &next, sizeof(next)))
			break;
		get.link_id = id = next.next_id;
		fd = syscall(SYS_bpf, BPF_LINK_GET_FD_BY_ID, &get, sizeof(get));
		if (fd < 0)
			continue;
		n += is_below(fd, argv[1]);
		close(fd);
	}
	printf("%d\n", n);
	return 0;
}
