/* SPDX-License-Identifier: MIT */
#include "runtime/stacks.h"

#include <limits.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/call-site.h"
#include "runtime/layout.h"
#include "sdt/image.h"

/* A word of a resolved stack: the number of a file + 1 and an offset in it, or 0 and an address of the process. */
#define OFFSET_BITS 48
#define OFFSET_MASK ((1ull << OFFSET_BITS) - 1)
#define FILES_MAX 65000

/* A file that processes map. */
struct stack_file {
	char *path;
	dev_t device;
	ino_t inode;
	struct pp_image *image; /* NULL: it cannot be read, or it is not the file that was mapped */
	int fd;                 /* of the image; -1 */
	bool opened;
};

/* A process image, as an attachment knows it. */
struct stack_process {
	const struct attachment *attachment;
	pid_t pid;
	uint64_t exec;
	struct layout layout;
};

/* A frame that was named. */
struct stack_name {
	uint64_t word;
	bool is_site; /* it is frame 0, whose address is not a return address */
	struct pp_frame frame;
	char *function; /* demangled; owned */
};

struct stacks {
	struct stack_file *files;
	size_t nfiles, files_room;
	struct stack_process *processes;
	size_t nprocesses, processes_room;
	struct stack_name *names; /* a hash table; word 0: free */
	size_t nnames, names_size;
};

struct stacks *stacks_new(void)
{
	struct stacks *stacks = calloc(1, sizeof(*stacks));

	if (!stacks)
		error_nomem();
	return stacks;
}

void stacks_free(struct stacks *stacks)
{
	if (!stacks)
		return;
	for (size_t i = 0; i < stacks->nfiles; i++) {
		if (stacks->files[i].fd >= 0)
			close(stacks->files[i].fd);
		pp_image_free(stacks->files[i].image);
		free(stacks->files[i].path);
	}
	for (size_t i = 0; i < stacks->nprocesses; i++)
		layout_release(&stacks->processes[i].layout);
	for (size_t i = 0; i < stacks->names_size; i++)
		free(stacks->names[i].function);
	free(stacks->files);
	free(stacks->processes);
	free(stacks->names);
	free(stacks);
}

/* ---- files ---- */

/* Writes to path how this process can open the file of a mapping. Returns false if the mapped file is not there any more. */
static bool file_find(const struct layout_mapping *m, pid_t pid, char *path, size_t room)
{
	struct stat st;

	for (int i = 0; i < 3; i++) {
		if (i == 0)
			snprintf(path, room, "%s", m->path);
		else if (i == 1)
			snprintf(path, room, "/proc/%d/root%s", pid, m->path);
		else
			snprintf(path, room, "/proc/%d/map_files/%lx-%lx", pid, m->start, m->end);
		/* The kernel's link leads to the mapped file, whatever its numbers are (overlay, btrfs). */
		if (!stat(path, &st) && S_ISREG(st.st_mode) && st.st_ino == m->inode &&
		    (i == 2 || st.st_dev == m->device))
			return true;
	}
	return false;
}

/* Opens the file of a mapping if it is still the one that was mapped. */
static void file_open(struct stack_file *file, const struct layout_mapping *m, pid_t pid)
{
	char path[PATH_MAX + 32];

	file->opened = true;
	if (m->path[0] != '/' || !file_find(m, pid, path, sizeof(path)) ||
	    pp_image_open_matching(path, (const char *const[]){ "" }, 1, PP_IMAGE_COUNTS, &file->image))
		return;
	file->fd = image_reopen(file->image);
}

/* Returns the number of the file of a mapping, FILES_MAX if there are too many, or -ENOMEM. */
static int file_number(struct stacks *stacks, const struct layout_mapping *m)
{
	struct stack_file *file;

	for (size_t i = 0; i < stacks->nfiles; i++) {
		file = &stacks->files[i];
		if (file->inode == m->inode && file->device == m->device && !strcmp(file->path, m->path))
			return (int)i;
	}
	if (stacks->nfiles == FILES_MAX)
		return FILES_MAX;
	if (ALLOC_GROW(stacks->files, stacks->nfiles + 1, stacks->files_room))
		return -ENOMEM;
	file = &stacks->files[stacks->nfiles];
	*file = (struct stack_file){ .device = m->device, .inode = m->inode, .fd = -1 };
	file->path = strdup(m->path);
	return file->path ? (int)stacks->nfiles++ : error_nomem();
}

/* ---- processes ---- */

static int layout_get(const struct attachment *attachment, pid_t pid, uint64_t exec, char **text)
{
	int err = attachment->backend->layout_load(attachment, pid, exec, text);
	bool changed;

	if (err || attachment->backend->pid_namespace(attachment))
		return err;
	err = layout_update(pid, exec, text, &changed);
	if (err || !changed)
		return err;
	attachment->backend->layout_store(attachment, pid, exec, *text);
	return 0;
}

/* Returns NULL without memory. */
static const struct stack_process *process_get(struct stacks *stacks, const struct attachment *attachment,
                                               const struct agg_stack *stack)
{
	struct stack_process *p;
	char *text = NULL;

	for (size_t i = stacks->nprocesses; i-- > 0;) {
		p = &stacks->processes[i];
		if (p->attachment == attachment && (uint64_t)p->pid == stack->pid && p->exec == stack->exec)
			return p;
	}
	if (ALLOC_GROW(stacks->processes, stacks->nprocesses + 1, stacks->processes_room))
		return NULL;
	p = &stacks->processes[stacks->nprocesses];
	*p = (struct stack_process){ .attachment = attachment, .pid = (pid_t)stack->pid, .exec = stack->exec };
	if (layout_get(attachment, p->pid, p->exec, &text)) {
		free(text);
		return NULL;
	}
	if (text && layout_parse(&p->layout, text)) {
		layout_release(&p->layout);
		return NULL;
	}
	stacks->nprocesses++;
	return p;
}

int stacks_keep(const struct attachment *attachment, pid_t pid)
{
	uint64_t exec = manifest_has_stacks(attachment->manifest) ? layout_exec(pid) : 0;
	char *text = NULL;
	int err = exec ? layout_get(attachment, pid, exec, &text) : 0;

	free(text);
	return err;
}

/* ---- resolving ---- */

/* Returns whether the address in a file can be a return address. True if the file cannot be read. */
static bool address_is_return(const struct stack_file *file, uint64_t offset)
{
	uint8_t code[CALL_SITE_BEFORE + CALL_SITE_AFTER] = { 0 };

	if (file->fd < 0 || offset < CALL_SITE_BEFORE)
		return true;
	if (pread(file->fd, code, sizeof(code), (off_t)(offset - CALL_SITE_BEFORE)) < CALL_SITE_BEFORE)
		return true;
	return call_site_is_before(file->image->machine, code) || call_site_is_signal(file->image->machine, code);
}

/* Resolves frame i. Returns 1 if the stack ends before it, 0, or -ENOMEM. */
static int frame_resolve(struct stacks *stacks, const struct stack_process *process, size_t i, uint64_t *word)
{
	uint64_t address = *word & OFFSET_MASK; /* without an authentication code */
	const struct layout_mapping *m = layout_find(&process->layout, address);
	struct stack_file *file;
	uint64_t offset;
	int number;

	*word = address;
	if (!m || !m->inode)
		return 0;
	number = file_number(stacks, m);
	if (number < 0 || number == FILES_MAX)
		return number < 0 ? number : 0;
	file = &stacks->files[number];
	if (!file->opened)
		file_open(file, m, process->pid);
	offset = address - m->start + m->offset;
	if (i && !address_is_return(file, offset))
		return 1;
	*word = (uint64_t)(number + 1) << OFFSET_BITS | offset;
	return 0;
}

/*
 * Returns whether frame i is in code, as far as the mappings of its process are known. A stack is cut after the last such frame: the
 * outermost frame of a stack is in the C library, so if it is in no mapping, a frame pointer has led to data. Inner frames may be in
 * code that was unmapped before a command saw it. Frames 0 and 1 always count as code, because the unwind tables find the first caller.
 */
static bool frame_is_code(const struct stack_process *process, size_t i, uint64_t word)
{
	return i < 2 || !process->layout.nmappings || layout_has(&process->layout, word & OFFSET_MASK);
}

int stacks_resolve(struct stacks *stacks, const struct attachment *attachment, struct agg_stack *stack)
{
	const struct stack_process *process = process_get(stacks, attachment, stack);
	bool in_files = true;
	size_t depth = 0;
	int end = 0;

	if (!process)
		return -ENOMEM;
	for (size_t i = 0; i < AGG_FRAMES && stack->frames[i] && !end; i++) {
		end = frame_resolve(stacks, process, i, &stack->frames[i]);
		if (!end && (stack->frames[i] >> OFFSET_BITS || frame_is_code(process, i, stack->frames[i])))
			depth = i + 1;
	}
	if (end < 0)
		return end;
	for (size_t i = 0; i < depth; i++)
		in_files &= stack->frames[i] >> OFFSET_BITS != 0;
	memset(&stack->frames[depth], 0, (AGG_FRAMES - depth) * sizeof(*stack->frames));
	stack->exec = 0;
	if (in_files)
		stack->pid = 0;
	return 0;
}

size_t stacks_depth(const struct agg_stack *stack)
{
	size_t n = 0;

	while (n < AGG_FRAMES && stack->frames[n])
		n++;
	return n;
}

/* ---- names ---- */

/* Converts an offset in the file to an address as linked. */
static bool image_address(const struct pp_image *image, uint64_t offset, uint64_t *address)
{
	for (size_t i = 0; i < image->nsegments; i++) {
		const struct image_segment *s = &image->segments[i];

		if (offset >= s->offset && offset - s->offset < s->filesz) {
			*address = s->address + (offset - s->offset);
			return true;
		}
	}
	return false;
}

/* Sets *start to the beginning of the function that contains the address, and returns its symbol. NULL: not known. */
static const char *function_at(const struct pp_image *image, uint64_t address, uint64_t *start)
{
	uint64_t end, frame_start, frame_end;
	const char *name = image_function_range(image, address, start, &end);

	/* A symbol without a size is believed if the unwind tables know a function that begins there. */
	if (name && end == *start &&
	    (!image_code_range(image, address, &frame_start, &frame_end) || frame_start != *start ||
	     frame_end <= address))
		return NULL;
	return name;
}

/* Returns whether the address is the first instruction of the C library's return from signal handlers. */
static bool frame_is_signal(const struct stack_file *file, uint64_t offset)
{
	uint8_t code[CALL_SITE_BEFORE + CALL_SITE_AFTER] = { 0 };

	return file->fd >= 0 && offset >= CALL_SITE_BEFORE &&
	       pread(file->fd, code, sizeof(code), (off_t)(offset - CALL_SITE_BEFORE)) == sizeof(code) &&
	       call_site_is_signal(file->image->machine, code);
}

static void name_find(struct stacks *stacks, struct stack_name *name)
{
	struct stack_file *file = &stacks->files[(name->word >> OFFSET_BITS) - 1];
	const struct pp_image *image = file->image;
	struct pp_frame *frame = &name->frame;
	uint64_t offset = name->word & OFFSET_MASK, start;
	const char *symbol;
	bool returns = !name->is_site && !frame_is_signal(file, offset);

	*frame = (struct pp_frame){ .file = file->path, .build_id = "", .address = offset };
	if (!image || !image_address(image, offset, &frame->address))
		return;
	frame->build_id = image->build_id;
	/* A call may be the last instruction of its function. */
	symbol = function_at(image, frame->address - returns, &start);
	if (!symbol)
		return;
	name->function = image_demangle(symbol);
	frame->function = name->function ? name->function : symbol;
	frame->offset = frame->address - start;
}

static size_t frame_name_hash(const struct stacks *stacks, uint64_t word, bool is_site)
{
	return (size_t)((word + is_site) * 0x9e3779b97f4a7c15u >> 32) & (stacks->names_size - 1);
}

static struct stack_name *name_place(const struct stacks *stacks, uint64_t word, bool is_site)
{
	size_t at = frame_name_hash(stacks, word, is_site);

	while (stacks->names[at].word && (stacks->names[at].word != word || stacks->names[at].is_site != is_site))
		at = (at + 1) & (stacks->names_size - 1);
	return &stacks->names[at];
}

/* Makes room for one more name. The table is at most half full. Returns false without memory. */
static bool names_reserve(struct stacks *stacks)
{
	struct stacks old = *stacks;

	if (2 * (stacks->nnames + 1) <= stacks->names_size)
		return true;
	stacks->names_size = old.names_size ? 2 * old.names_size : 256;
	stacks->names = calloc(stacks->names_size, sizeof(*stacks->names));
	if (!stacks->names) {
		*stacks = old;
		return false;
	}
	for (size_t i = 0; i < old.names_size; i++)
		if (old.names[i].word)
			*name_place(stacks, old.names[i].word, old.names[i].is_site) = old.names[i];
	free(old.names);
	return true;
}

void stacks_frame(struct stacks *stacks, const struct agg_stack *stack, size_t i, struct pp_frame *frame)
{
	uint64_t word = stack->frames[i];
	struct stack_name *name;

	if (!(word >> OFFSET_BITS) || !names_reserve(stacks)) {
		*frame = (struct pp_frame){ .build_id = "", .address = word & OFFSET_MASK, .pid = (pid_t)stack->pid };
	} else {
		name = name_place(stacks, word, !i);
		if (!name->word) {
			name->word = word;
			name->is_site = !i;
			name_find(stacks, name);
			stacks->nnames++;
		}
		*frame = name->frame;
	}
	frame->cut = i == AGG_FRAMES - 1;
}
