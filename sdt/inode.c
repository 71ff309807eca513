/* SPDX-License-Identifier: MIT */
/*
 * The inode behind a mapping. stat(2) and /proc show the inode of the file system through which a file was opened. An
 * overlay maps the file of a layer, and no system call tells which. A BPF iterator over the mappings of a task sees it:
 *
 * 1. One page of the file is mapped at an address that was reserved for this purpose.
 * 2. The program writes i_ino and i_sb->s_dev of vma->vm_file->f_inode, for the mapping at that address.
 * 3. The iterator, which is limited to the calling thread, is read.
 *
 * Works whatever the names of the layers are, in any mount namespace, and for overlays on overlays.
 */
#include "sdt/inode.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sdt/btf.h"

#define INSN(c, d, s, o, i)                                                         \
	{                                                                           \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) \
	}
#define LOAD(size, d, s, o) INSN(BPF_LDX | BPF_MEM | (size), d, s, o, 0)
#define STORE(size, d, o, s) INSN(BPF_STX | BPF_MEM | (size), d, s, o, 0)
#define MOV(d, s) INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV_IMM(d, i) INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)

struct answer {
	uint64_t inode, device; /* device as the kernel has it: 12 bits major, 20 bits minor */
};

static struct {
	pthread_mutex_t lock;
	bool tried;
	int prog; /* -1: this user, or this kernel, cannot */
	char *page;
} ask = { .lock = PTHREAD_MUTEX_INITIALIZER, .prog = -1 };

static int load(const struct btf *btf, uint64_t page)
{
	/* struct bpf_iter__task_vma: meta, task, vma; struct bpf_iter_meta: seq; each in 8 bytes. */
	const int meta = 0, vma = 16, seq = 0;
	int start = btf_member_at(btf, "vm_area_struct", "vm_start"),
	    file = btf_member_at(btf, "vm_area_struct", "vm_file");
	int inode = btf_member_at(btf, "file", "f_inode"), number = btf_member_at(btf, "inode", "i_ino");
	int sb = btf_member_at(btf, "inode", "i_sb"), device = btf_member_at(btf, "super_block", "s_dev");
	int id = btf__find_by_name_kind(btf, "bpf_iter_task_vma", BTF_KIND_FUNC);
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_ITER, .attach_btf_id = id);
	const struct bpf_insn insns[] = {
		/* 0 */ MOV(BPF_REG_6, BPF_REG_1),
		/* 1 */ LOAD(BPF_DW, BPF_REG_7, BPF_REG_6, vma),
		/* 2 */ INSN(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_7, 0, 19, 0), /* to 22 */
		/* 3 */ LOAD(BPF_DW, BPF_REG_1, BPF_REG_7, start),
		/* 4 */ INSN(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_2, 0, 0, (int32_t)page),
		INSN(0, 0, 0, 0, (int32_t)(page >> 32)),
		/* 6 */ INSN(BPF_JMP | BPF_JNE | BPF_X, BPF_REG_1, BPF_REG_2, 15, 0),
		/* 7 */ LOAD(BPF_DW, BPF_REG_7, BPF_REG_7, file),
		/* 8 */ INSN(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_7, 0, 13, 0),
		/* 9 */ LOAD(BPF_DW, BPF_REG_7, BPF_REG_7, inode),
		/* 10 */ LOAD(BPF_DW, BPF_REG_1, BPF_REG_7, number),
		/* 11 */ STORE(BPF_DW, BPF_REG_10, -16, BPF_REG_1),
		/* 12 */ LOAD(BPF_DW, BPF_REG_7, BPF_REG_7, sb),
		/* 13 */ LOAD(BPF_W, BPF_REG_1, BPF_REG_7, device),
		/* 14 */ STORE(BPF_DW, BPF_REG_10, -8, BPF_REG_1),
		/* 15 */ LOAD(BPF_DW, BPF_REG_1, BPF_REG_6, meta),
		/* 16 */ LOAD(BPF_DW, BPF_REG_1, BPF_REG_1, seq),
		/* 17 */ MOV(BPF_REG_2, BPF_REG_10),
		/* 18 */ INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, -16),
		/* 19 */ MOV_IMM(BPF_REG_3, sizeof(struct answer)),
		/* 20 */ INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_seq_write),
		/* 21 */ MOV_IMM(BPF_REG_0, 0),
		/* 22 */ MOV_IMM(BPF_REG_0, 0),
		/* 23 */ INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};

	if (start < 0 || file < 0 || inode < 0 || number < 0 || sb < 0 || device < 0 || id < 0)
		return -1;
	return bpf_prog_load(BPF_PROG_TYPE_TRACING, "pp_inode", "Dual MIT/GPL", insns, sizeof(insns) / sizeof(*insns),
	                     &opts);
}

/* Under the lock. */
static bool prepare(void)
{
	struct btf *btf;
	void *page;

	if (ask.tried)
		return ask.prog >= 0;
	ask.tried = true;
	page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	btf = page == MAP_FAILED ? NULL : btf__load_vmlinux_btf();
	ask.page = page;
	if (btf)
		ask.prog = load(btf, (uintptr_t)page);
	btf__free(btf);
	return ask.prog >= 0;
}

static bool read_answer(struct answer *answer)
{
	union bpf_iter_link_info info = { .task.tid = (uint32_t)gettid() };
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));
	int link = bpf_link_create(ask.prog, 0, BPF_TRACE_ITER, &opts);
	int iterator = link < 0 ? -1 : bpf_iter_create(link);
	ssize_t n = -1;

	/* The iterator may answer with nothing for a time: it stops after so many mappings. */
	while (iterator >= 0 && (n = read(iterator, answer, sizeof(*answer))) < 0 && errno == EAGAIN)
		;
	if (iterator >= 0)
		close(iterator);
	if (link >= 0)
		close(link);
	return n == sizeof(*answer);
}

bool inode_mapped(int fd, dev_t *device, ino_t *inode)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	struct answer answer;
	bool known = false;

	pthread_mutex_lock(&ask.lock);
	if (prepare() && mmap(ask.page, size, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == ask.page) {
		known = read_answer(&answer);
		mmap(ask.page, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
	pthread_mutex_unlock(&ask.lock);
	if (known) {
		*device = makedev(answer.device >> 20, answer.device & 0xfffff);
		*inode = answer.inode;
	}
	return known;
}
