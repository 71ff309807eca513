/* SPDX-License-Identifier: MIT */
/* bare PID FILE OFFSET: keeps a uprobe-multi link with an empty program at one offset until standard input ends. */
#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/kernel/link.h"

int main(int argc, char **argv)
{
	static const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_SLEEPABLE,
	            .expected_attach_type = UPROBE_MULTI_ATTACH_TYPE);
	uint64_t offset = argc > 3 ? strtoull(argv[3], NULL, 0) : 0, cookie = 0;
	struct link_points points = { .n = 1, .offsets = &offset, .cookies = &cookie };
	int prog, link;

	if (!offset) {
		fprintf(stderr, "usage: bare PID FILE OFFSET\n");
		return 2;
	}
	prog = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "nothing", "Dual MIT/GPL", nothing, 2, &opts);
	link = prog < 0 ? -1 : link_multi(prog, argv[2], atoi(argv[1]), &points);
	if (link < 0) {
		fprintf(stderr, "bare: cannot attach: %s\n", strerror(link < -1 ? -link : 1));
		return 1;
	}
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
