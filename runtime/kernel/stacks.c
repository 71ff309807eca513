/* SPDX-License-Identifier: MIT */
/*
 * The map `layouts` keeps the text of each layout in chunks. A chunk that is not full is the last one. A reader that meets a
 * writer may get a mixture of both texts; every line of it that can be parsed is in one of them.
 */
#include "runtime/kernel/stacks.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

#include "runtime/kernel/kernel.h"
#include "runtime/layout.h"
#include "sdt/btf.h"

#define CHUNK 1024
#define CHUNKS_MAX 16384

/* All processes that a process image forks have one layout. */
struct layout_key {
	uint64_t exec, chunk;
};

void stack_offsets_find(struct kernel_stack_offsets *offsets, const struct manifest *manifest)
{
	struct btf *btf;

	*offsets = (struct kernel_stack_offsets){ -1, -1 };
	if (!manifest_has_stacks(manifest))
		return;
	btf = btf__load_vmlinux_btf();
	if (!btf)
		return;
	offsets->mm = btf_member_at(btf, "task_struct", "mm");
	offsets->arg_start = btf_member_at(btf, "mm_struct", "arg_start");
	btf__free(btf);
}

/* ---- the map ---- */

int kernel_layouts_create(struct kernel_attachment *s, const struct manifest *manifest)
{
	if (!manifest_has_stacks(manifest))
		return 0;
	s->layouts_fd = kernel_map_create(BPF_MAP_TYPE_HASH, "pp_layouts", sizeof(struct layout_key), CHUNK, CHUNKS_MAX,
	                                  BPF_F_NO_PREALLOC);
	return s->layouts_fd < 0 ? s->layouts_fd : 0;
}

int kernel_layouts_get(struct kernel_attachment *s, const struct manifest *manifest)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);

	if (!manifest_has_stacks(manifest))
		return 0;
	s->layouts_fd = pin_get(&s->session->pins, "layouts", (int)manifest->attachment, -1);
	if (s->layouts_fd == -ENOENT) /* the names of ended processes are missing then */
		return 0;
	if (s->layouts_fd >= 0 && !bpf_obj_get_info_by_fd(s->layouts_fd, &info, &size) &&
	    info.key_size == sizeof(struct layout_key) && info.value_size == CHUNK)
		return 0;
	return error_set(EBADMSG, "'%s' is not a map of layouts; remove it",
	                 pin_path(&s->session->pins, "layouts", (int)manifest->attachment, -1));
}

int kernel_layout_load(const struct attachment *attachment, pid_t pid, uint64_t exec, char **text)
{
	const struct kernel_attachment *s = attachment->state;
	struct layout_key key = { exec, 0 };
	char *made = NULL, *grown;
	size_t n = 0, got = CHUNK;

	(void)pid;
	*text = NULL;
	if (s->layouts_fd < 0)
		return 0;
	for (; got == CHUNK && n < LAYOUT_SIZE_MAX; key.chunk++, n += got) {
		grown = realloc(made, n + CHUNK + 1);
		if (!grown) {
			free(made);
			return error_nomem();
		}
		made = grown;
		made[n] = 0;
		if (bpf_map_lookup_elem(s->layouts_fd, &key, made + n))
			break;
		got = strnlen(made + n, CHUNK);
		made[n + got] = 0;
	}
	*text = made;
	return 0;
}

void kernel_layout_store(const struct attachment *attachment, pid_t pid, uint64_t exec, const char *text)
{
	const struct kernel_attachment *s = attachment->state;
	struct layout_key key = { exec, 0 };
	size_t length = strlen(text);

	(void)pid;
	for (size_t at = 0; s->layouts_fd >= 0 && at <= length; at += CHUNK, key.chunk++) {
		char chunk[CHUNK] = { 0 };

		memcpy(chunk, text + at, length - at < CHUNK ? length - at : CHUNK);
		if (bpf_map_update_elem(s->layouts_fd, &key, chunk, BPF_ANY))
			return;
	}
}
