/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/task-iterator.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/kernel/emitter.h"
#include "runtime/kernel/link.h"

#define WORDS_MAX 1024 /* that are read at a time */

/* Loads a program that writes the word of each thread. Returns a descriptor, or a negative errno. */
static int word_program(const struct btf *btf, const struct task_word *word)
{
	/* struct bpf_iter__task: meta, task; struct bpf_iter_meta: seq; 8 bytes each */
	const int meta = 0, task = 8, seq = 0;
	const int id = btf__find_by_name_kind(btf, "bpf_iter_task", BTF_KIND_FUNC);
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_ITER, .attach_btf_id = (uint32_t)id);
	struct emitter e = { 0 };
	struct emitted program;
	label out = label_new(&e);
	int fd;

	if (id < 0)
		return -EOPNOTSUPP;
	emit(&e, BPF_MOV64_REG(BPF_REG_6, BPF_REG_1));
	emit(&e, BPF_LDX_MEM(BPF_DW, BPF_REG_7, BPF_REG_6, task));
	emit(&e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_7, 0, out));
	for (size_t i = 0; i + 1 < word->n; i++) {
		emit(&e, BPF_LDX_MEM(BPF_DW, BPF_REG_7, BPF_REG_7, (int16_t)word->at[i]));
		emit(&e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_7, 0, out));
	}
	emit(&e, BPF_LDX_MEM(word->size, BPF_REG_1, BPF_REG_7, (int16_t)word->at[word->n - 1]));
	emit(&e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, -8));
	emit(&e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_6, meta));
	emit(&e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_1, seq));
	emit_stack_address(&e, BPF_REG_2, -8);
	emit(&e, BPF_MOV64_IMM(BPF_REG_3, 8));
	emit(&e, BPF_EMIT_CALL(BPF_FUNC_seq_write));
	label_place(&e, out);
	emit_exit(&e);
	fd = emitter_finish(&e, &program);
	if (fd)
		return fd;
	fd = program_load(BPF_PROG_TYPE_TRACING, "pp_task_word", program.insns, program.ninsns, &opts);
	free(program.insns);
	return fd;
}

bool tasks_read_word(const struct btf *btf, const struct task_word *word, pid_t pid, pid_t tid, uint64_t *bits,
                     size_t *n)
{
	union bpf_iter_link_info info = { .task = { .tid = (uint32_t)tid, .pid = (uint32_t)pid } };
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));
	const int prog = word_program(btf, word),
		  link = prog < 0 ? -1 : bpf_link_create(prog, 0, BPF_TRACE_ITER, &opts);
	const int iterator = link < 0 ? -1 : bpf_iter_create(link), fds[] = { prog, link, iterator };
	uint64_t values[WORDS_MAX];
	ssize_t got = -1;

	*bits = *n = 0;
	while (iterator >= 0 && ((got = read(iterator, values, sizeof(values))) > 0 || (got < 0 && errno == EAGAIN)))
		for (size_t i = 0; got > 0 && i < (size_t)got / sizeof(*values); i++, ++*n)
			*bits |= values[i];
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return iterator >= 0 && !got;
}
