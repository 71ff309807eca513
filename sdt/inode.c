/* SPDX-License-Identifier: MIT */
/*
 * The inode of a mapping. stat(2) and /proc show the inode of the file system through which a file was opened. An
 * overlay maps the file of a layer, and no system call returns which. A BPF iterator over the mappings of a task sees it:
 *
 * 1. inode_of_mapping() maps one page of the file at an address that it reserved for this purpose.
 * 2. The program writes i_ino and i_sb->s_dev of vma->vm_file->f_inode, for the mapping at that address.
 * 3. inode_of_mapping() reads the iterator, which is limited to the calling thread.
 *
 * This works for layers of any name, in any mount namespace, and for overlays on overlays.
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

#include "base/bpf-insn.h"
#include "sdt/btf.h"

struct inode_answer {
	uint64_t inode, device; /* device in the kernel's format: 12 bits major, 20 bits minor */
};

static struct {
	pthread_mutex_t lock;
	bool tried;
	int prog; /* -1: not permitted, or not supported by the kernel */
	char *page;
} iterator_state = { .lock = PTHREAD_MUTEX_INITIALIZER, .prog = -1 };

/* Sets the target of each jump in the program to its last two instructions, which return 0. */
static void program_link_exits(struct bpf_insn *insns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (BPF_CLASS(insns[i].code) == BPF_JMP && insns[i].code != (BPF_JMP | BPF_CALL) &&
		    insns[i].code != (BPF_JMP | BPF_EXIT))
			insns[i].off = (int16_t)(n - 2 - i - 1);
}

static int inode_load_program(const struct btf *btf, uint64_t page)
{
	/* struct bpf_iter__task_vma: meta, task, vma; struct bpf_iter_meta: seq; 8 bytes each. */
	const int meta = 0, vma = 16, seq = 0;
	int start = btf_member_at(btf, "vm_area_struct", "vm_start"),
	    file = btf_member_at(btf, "vm_area_struct", "vm_file");
	int inode = btf_member_at(btf, "file", "f_inode"), number = btf_member_at(btf, "inode", "i_ino");
	int sb = btf_member_at(btf, "inode", "i_sb"), device = btf_member_at(btf, "super_block", "s_dev");
	int id = btf__find_by_name_kind(btf, "bpf_iter_task_vma", BTF_KIND_FUNC);
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_ITER, .attach_btf_id = id);
	struct bpf_insn insns[] = {
		BPF_MOV64_REG(BPF_REG_6, BPF_REG_1),
		/* if (!vma || vma->vm_start != page) return 0; */
		BPF_LDX_MEM(BPF_DW, BPF_REG_7, BPF_REG_6, vma),
		BPF_JMP_IMM(BPF_JEQ, BPF_REG_7, 0, 0),
		BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, start),
		BPF_LD_IMM64_RAW(BPF_REG_2, page),
		BPF_JMP_REG(BPF_JNE, BPF_REG_1, BPF_REG_2, 0),
		/* if (!vma->vm_file) return 0; */
		BPF_LDX_MEM(BPF_DW, BPF_REG_7, BPF_REG_7, file),
		BPF_JMP_IMM(BPF_JEQ, BPF_REG_7, 0, 0),
		/* answer.inode = inode->i_ino; answer.device = inode->i_sb->s_dev; */
		BPF_LDX_MEM(BPF_DW, BPF_REG_7, BPF_REG_7, inode),
		BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, number),
		BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, -16),
		BPF_LDX_MEM(BPF_DW, BPF_REG_7, BPF_REG_7, sb),
		BPF_LDX_MEM(BPF_W, BPF_REG_1, BPF_REG_7, device),
		BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, -8),
		/* bpf_seq_write(meta->seq, &answer, sizeof(answer)); */
		BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_6, meta),
		BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_1, seq),
		BPF_MOV64_REG(BPF_REG_2, BPF_REG_10),
		BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, -16),
		BPF_MOV64_IMM(BPF_REG_3, sizeof(struct inode_answer)),
		BPF_EMIT_CALL(BPF_FUNC_seq_write),
		BPF_MOV64_IMM(BPF_REG_0, 0),
		BPF_EXIT_INSN(),
	};

	if (start < 0 || file < 0 || inode < 0 || number < 0 || sb < 0 || device < 0 || id < 0)
		return -1;
	program_link_exits(insns, sizeof(insns) / sizeof(*insns));
	return bpf_prog_load(BPF_PROG_TYPE_TRACING, "pp_inode", "Dual MIT/GPL", insns, sizeof(insns) / sizeof(*insns),
	                     &opts);
}

/* Loads the program at the first call. Returns false if that is not possible. The caller holds the lock. */
static bool inode_prepare(void)
{
	struct btf *btf;
	void *page;

	if (iterator_state.tried)
		return iterator_state.prog >= 0;
	iterator_state.tried = true;
	page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	btf = page == MAP_FAILED ? NULL : btf__load_vmlinux_btf();
	iterator_state.page = page;
	if (btf)
		iterator_state.prog = inode_load_program(btf, (uintptr_t)page);
	btf__free(btf);
	return iterator_state.prog >= 0;
}

static bool inode_read_answer(struct inode_answer *answer)
{
	union bpf_iter_link_info info = { .task.tid = (uint32_t)gettid() };
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));
	int link = bpf_link_create(iterator_state.prog, 0, BPF_TRACE_ITER, &opts);
	int iterator = link < 0 ? -1 : bpf_iter_create(link);
	ssize_t n = -1;

	/* The iterator returns EAGAIN after a number of mappings without output. */
	while (iterator >= 0 && (n = read(iterator, answer, sizeof(*answer))) < 0 && errno == EAGAIN)
		;
	if (iterator >= 0)
		close(iterator);
	if (link >= 0)
		close(link);
	return n == sizeof(*answer);
}

bool inode_of_mapping(int fd, dev_t *device, ino_t *inode)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	struct inode_answer answer;
	bool known = false;

	pthread_mutex_lock(&iterator_state.lock);
	if (inode_prepare() &&
	    mmap(iterator_state.page, size, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == iterator_state.page) {
		known = inode_read_answer(&answer);
		mmap(iterator_state.page, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
	pthread_mutex_unlock(&iterator_state.lock);
	if (known) {
		*device = makedev(answer.device >> 20, answer.device & 0xfffff);
		*inode = answer.inode;
	}
	return known;
}
