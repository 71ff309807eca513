/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/semaphore-hook.h"

#include <bpf/bpf.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/kernel/emitter.h"
#include "runtime/kernel/link.h"
#include "runtime/kernel/namespace.h"
#include "sdt/image.h"

/* ---- the address ---- */

static bool header_read(int fd, Elf64_Ehdr *header)
{
	return pread(fd, header, sizeof(*header), 0) == sizeof(*header) && header->e_phentsize == sizeof(Elf64_Phdr);
}

static bool segment_read(int fd, const Elf64_Ehdr *header, int i, Elf64_Phdr *segment)
{
	off_t at = (off_t)(header->e_phoff + (uint64_t)i * sizeof(*segment));

	return pread(fd, segment, sizeof(*segment), at) == sizeof(*segment);
}

/* Returns the value of DT_INIT, or 0. */
static uint64_t dynamic_init(const struct pp_image *image, int fd, const Elf64_Ehdr *header)
{
	for (int i = 0; i < header->e_phnum; i++) {
		Elf64_Phdr p;
		Elf64_Dyn d;

		if (!segment_read(fd, header, i, &p))
			return 0;
		if (p.p_type != PT_DYNAMIC || p.p_filesz > image->size)
			continue;
		for (uint64_t at = 0; at + sizeof(d) <= p.p_filesz; at += sizeof(d)) {
			if (pread(fd, &d, sizeof(d), (off_t)(p.p_offset + at)) != sizeof(d) || d.d_tag == DT_NULL)
				break;
			if (d.d_tag == DT_INIT)
				return d.d_un.d_ptr;
		}
	}
	return 0;
}

static bool header_has_interpreter(int fd, const Elf64_Ehdr *header)
{
	for (int i = 0; i < header->e_phnum; i++) {
		Elf64_Phdr p;

		if (segment_read(fd, header, i, &p) && p.p_type == PT_INTERP)
			return true;
	}
	return false;
}

bool image_is_program(const struct pp_image *image)
{
	Elf64_Ehdr header;
	bool is_program;
	int fd;

	if (image->type == ET_EXEC)
		return true;
	fd = image->is_64 ? image_reopen(image) : -1;
	if (fd < 0)
		return false;
	is_program = header_read(fd, &header) && header_has_interpreter(fd, &header);
	close(fd);
	return is_program;
}

/* Returns the file offset of the first instruction that every process runs in the image, or 0 if it is not known. */
static uint64_t image_entry_offset(const struct pp_image *image)
{
	uint64_t address = 0, offset;
	Elf64_Ehdr header;
	int fd = image->is_64 ? image_reopen(image) : -1;

	if (fd < 0)
		return 0;
	if (header_read(fd, &header)) {
		address = image_is_program(image) ? header.e_entry : dynamic_init(image, fd, &header);
		if (!address)
			address = header.e_entry; /* a static program that is position-independent */
	}
	close(fd);
	return address && !image_offset(image, address, &offset) ? offset : 0;
}

/* ---- the uprobe ---- */

int hook_load(int ring)
{
	struct emitter e = { 0 };
	struct kernel_namespace ns;
	struct emitted program;
	int fd = namespace_describe(&ns);
	label out;

	if (fd)
		return fd;
	out = label_new(&e);
	if (ns.inode) {
		emit(&e, BPF_EMIT_CALL(BPF_FUNC_get_current_task));
		emit_namespace_process(&e, &ns, PIDTYPE_TGID, out);
	} else {
		emit(&e, BPF_EMIT_CALL(BPF_FUNC_get_current_pid_tgid));
		emit(&e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_0, 32));
	}
	emit(&e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_0, -8));
	emit_map_fd(&e, BPF_REG_1, ring);
	emit_stack_address(&e, BPF_REG_2, -8);
	emit(&e, BPF_MOV64_IMM(BPF_REG_3, 8));
	emit(&e, BPF_MOV64_IMM(BPF_REG_4, 0));
	emit(&e, BPF_EMIT_CALL(BPF_FUNC_ringbuf_output));
	label_place(&e, out);
	emit_exit(&e);
	fd = emitter_finish(&e, &program);
	if (fd)
		return fd;
	fd = link_program(program.insns, program.ninsns);
	free(program.insns);
	return fd;
}

int hook_attach(const struct pp_image *image, int prog)
{
	uint64_t offset = image_entry_offset(image), cookie = 0;
	struct link_points at = { .n = 1, .offsets = &offset, .cookies = &cookie };
	char path[64];
	int file, fd;

	if (!offset)
		return -ENOENT;
	fd = link_file(image->path, image->device, image->inode, &file, path, sizeof(path));
	if (fd)
		return fd;
	fd = link_multi_supported() ? link_multi(prog, path, 0, &at) : link_perf(prog, path, 0, offset, 0, 0, false);
	close(file);
	return fd;
}
