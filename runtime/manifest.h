/* SPDX-License-Identifier: MIT */
/*
 * A segment's description: what one probe-enable armed, in one block of bytes that
 * needs no unpacking, so that 50,000 points cost a copy. A session is a list of
 * segments, in the order in which they were made. Records and counters name
 * points by their index in their segment.
 *
 * The block is kept outside (a BPF map, an agent's file), so desc_check() looks at
 * every index and string in it before anything else does.
 */
#ifndef RUNTIME_MANIFEST_H
#define RUNTIME_MANIFEST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/record.h"

#define DESC_MAGIC 0x63736470u /* "pdsc" */
#define DESC_VERSION 2

struct desc_file {
	uint32_t path, build_id;          /* strings: offsets in the pool */
	uint64_t device, inode;           /* as processes that map it show them */
	uint64_t real_device, real_inode; /* the point's: others on an overlay, see sdt/overlayfs.h */
};

struct desc_arg {
	uint32_t name, type; /* strings */
};

struct desc_probe {
	uint32_t name;        /* string, "provider:name" */
	uint32_t file;        /* index */
	uint32_t args, nargs; /* first, number */
};

/* How the records of a point are read. */
struct desc_layout {
	uint32_t nargs;
	uint8_t kind[RECORD_ARGS_MAX]; /* enum pp_kind */
	uint8_t size[RECORD_ARGS_MAX];
};

/* A semaphore that the file does not hold (.bss), which the kernel backend raises by hand: this and its address as linked. */
#define DESC_BY_HAND (1ull << 63)

struct desc_point {
	uint64_t offset;
	uint64_t semaphore_offset; /* 0: none */
	uint32_t probe, layout;    /* indices */
	uint32_t pid;              /* 0: every process that maps the file */
	uint32_t link, spec;       /* the backend's: which link arms it, by which program */
	uint32_t role;             /* enum site_role */
};

/* A pid means a process only together with its start time. The agent's segments have a table of their own. */
struct desc_process {
	uint32_t pid, reserved;
	uint64_t start_time; /* field 22 of /proc/PID/stat */
};

struct desc {
	uint32_t magic, version;
	uint64_t size; /* of the whole block, in bytes */
	uint32_t segment, nprocesses;
	uint32_t nfiles, nargs, nprobes, nlayouts, npoints, npool;
	/* behind it, in this order: points, files, layouts, probes, args, pool, processes */
};

static inline const struct desc_point *desc_points(const struct desc *d)
{
	return (const struct desc_point *)(d + 1);
}

static inline const struct desc_file *desc_files(const struct desc *d)
{
	return (const struct desc_file *)(desc_points(d) + d->npoints);
}

static inline const struct desc_layout *desc_layouts(const struct desc *d)
{
	return (const struct desc_layout *)(desc_files(d) + d->nfiles);
}

static inline const struct desc_probe *desc_probes(const struct desc *d)
{
	return (const struct desc_probe *)(desc_layouts(d) + d->nlayouts);
}

static inline const struct desc_arg *desc_args(const struct desc *d)
{
	return (const struct desc_arg *)(desc_probes(d) + d->nprobes);
}

static inline const char *desc_string(const struct desc *d, uint32_t at)
{
	return (const char *)(desc_args(d) + d->nargs) + at;
}

/* The pool is padded to a whole number of words. */
static inline const struct desc_process *desc_processes(const struct desc *d)
{
	return (const struct desc_process *)(desc_string(d, 0) + d->npool);
}

/* When the process of this pid started; 0: it is not known. */
uint64_t desc_start_time(const struct desc *d, uint32_t pid);

/* 0, or -EBADMSG with a sentence: the block of size bytes is no description. what names it there. */
int desc_check(const struct desc *d, size_t size, const char *what);

/* ---- making one ---- */

struct desc_builder;

int desc_builder_new(struct desc_builder **builder);
void desc_builder_free(struct desc_builder *builder);

struct pp_image;
struct pp_probe;
struct fetch_program;

/* Each returns an index, or -ENOMEM. Files, probes and layouts that are there already are found again. */
int desc_add_file(struct desc_builder *builder, const struct pp_image *image);
int desc_add_probe(struct desc_builder *builder, const struct pp_probe *probe, int file);
int desc_add_layout(struct desc_builder *builder, const struct fetch_program *program);
int desc_add_process(struct desc_builder *builder, uint32_t pid, uint64_t start_time);
int desc_add_point(struct desc_builder *builder, const struct desc_point *point);

/* The block, in *desc, which the caller frees by free(). */
int desc_build(struct desc_builder *builder, uint32_t segment, struct desc **desc);

#endif
