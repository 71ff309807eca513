/* SPDX-License-Identifier: MIT */
/*
 * An attachment's description: what one probe-enable armed, in one block of bytes that
 * needs no unpacking, so that 50,000 points cost a copy. A session is a list of
 * attachments, in the order in which they were made. Records and counters name
 * points by their index in their attachment.
 *
 * The block is kept outside (a BPF map, an agent's file), so manifest_check() looks at
 * every index and string in it before anything else does.
 */
#ifndef RUNTIME_MANIFEST_H
#define RUNTIME_MANIFEST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/record.h"

#define MANIFEST_MAGIC 0x63736470u /* "pdsc" */
#define MANIFEST_VERSION 2

struct manifest_file {
	uint32_t path, build_id;          /* strings: offsets in the pool */
	uint64_t device, inode;           /* as processes that map it show them */
	uint64_t real_device, real_inode; /* the point's: others on an overlay, see sdt/overlayfs.h */
};

struct manifest_arg {
	uint32_t name, type; /* strings */
};

struct manifest_probe {
	uint32_t name;        /* string, "provider:name" */
	uint32_t file;        /* index */
	uint32_t args, nargs; /* first, number */
};

/* How the records of a point are read. */
struct manifest_layout {
	uint32_t nargs;
	uint8_t kind[RECORD_ARGS_MAX]; /* enum pp_kind */
	uint8_t size[RECORD_ARGS_MAX];
};

/* A semaphore that the file does not hold (.bss), which the kernel backend raises by hand: this and its address as linked. */
#define MANIFEST_BY_HAND (1ull << 63)

struct manifest_point {
	uint64_t offset;
	uint64_t semaphore_offset; /* 0: none */
	uint32_t probe, layout;    /* indices */
	uint32_t pid;              /* 0: every process that maps the file */
	uint32_t link, spec;       /* the backend's: which link arms it, by which program */
	uint32_t role;             /* enum site_role */
};

/* A pid means a process only together with its start time. The agent's attachments have a table of their own. */
struct manifest_process {
	uint32_t pid, reserved;
	uint64_t start_time; /* field 22 of /proc/PID/stat */
};

struct manifest {
	uint32_t magic, version;
	uint64_t size; /* of the whole block, in bytes */
	uint32_t attachment, nprocesses;
	uint32_t nfiles, nargs, nprobes, nlayouts, npoints, npool;
	/* behind it, in this order: points, files, layouts, probes, args, pool, processes */
};

static inline const struct manifest_point *manifest_points(const struct manifest *d)
{
	return (const struct manifest_point *)(d + 1);
}

static inline const struct manifest_file *manifest_files(const struct manifest *d)
{
	return (const struct manifest_file *)(manifest_points(d) + d->npoints);
}

static inline const struct manifest_layout *manifest_layouts(const struct manifest *d)
{
	return (const struct manifest_layout *)(manifest_files(d) + d->nfiles);
}

static inline const struct manifest_probe *manifest_probes(const struct manifest *d)
{
	return (const struct manifest_probe *)(manifest_layouts(d) + d->nlayouts);
}

static inline const struct manifest_arg *manifest_args(const struct manifest *d)
{
	return (const struct manifest_arg *)(manifest_probes(d) + d->nprobes);
}

static inline const char *manifest_string(const struct manifest *d, uint32_t at)
{
	return (const char *)(manifest_args(d) + d->nargs) + at;
}

/* The pool is padded to a whole number of words. */
static inline const struct manifest_process *manifest_processes(const struct manifest *d)
{
	return (const struct manifest_process *)(manifest_string(d, 0) + d->npool);
}

/* When the process of this pid started; 0: it is not known. */
uint64_t manifest_start_time(const struct manifest *d, uint32_t pid);

/* 0, or -EBADMSG with a sentence: the block of size bytes is no description. what names it there. */
int manifest_check(const struct manifest *d, size_t size, const char *what);

/* ---- making one ---- */

struct manifest_builder;

int manifest_builder_new(struct manifest_builder **builder);
void manifest_builder_free(struct manifest_builder *builder);

struct pp_image;
struct pp_probe;
struct fetch_program;

/* Each returns an index, or -ENOMEM. Files, probes and layouts that are there already are found again. */
int manifest_add_file(struct manifest_builder *builder, const struct pp_image *image);
int manifest_add_probe(struct manifest_builder *builder, const struct pp_probe *probe, int file);
int manifest_add_layout(struct manifest_builder *builder, const struct fetch_program *program);
int manifest_add_process(struct manifest_builder *builder, uint32_t pid, uint64_t start_time);
int manifest_add_point(struct manifest_builder *builder, const struct manifest_point *point);

/* The block, in *desc, which the caller frees by free(). */
int manifest_build(struct manifest_builder *builder, uint32_t attachment, struct manifest **manifest);

#endif
