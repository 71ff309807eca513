/* SPDX-License-Identifier: MIT */
/*
 * The manifest of an attachment describes what one probe-enable has armed: points, their probes, files and arguments, and
 * the layout of their records. Records and counters refer to points by their index in it.
 *
 * A manifest is one block of bytes that needs no unpacking, so that reading 50,000 points costs a copy. It is stored
 * outside of the process (in a BPF map or an agent's file), so manifest_check() checks every index and string in it before
 * anything else uses it.
 */
#ifndef RUNTIME_MANIFEST_H
#define RUNTIME_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/aggregate.h"
#include "runtime/fetch/program.h"
#include "runtime/record.h"

#define MANIFEST_MAGIC 0x63736470u /* "pdsc" */
#define MANIFEST_VERSION 4

struct manifest_file {
	uint32_t path, build_id; /* strings: offsets in the pool */
	uint64_t device, inode;  /* as in the maps of processes that map it */
	uint64_t real_device,
		real_inode; /* as the kernel knows the point; these differ on overlayfs, see sdt/overlayfs.h */
};

struct manifest_arg {
	uint32_t name;                    /* string */
	uint32_t names, nnames, reserved; /* index of the first name of its enumeration, and number */
};

struct manifest_probe {
	uint32_t name;        /* string, "provider:name" */
	uint32_t file;        /* index */
	uint32_t args, nargs; /* index of the first, and number */
};

/* How to read the records of a point. */
struct manifest_layout {
	uint16_t nargs;
	uint16_t string_max;           /* bytes of a string, at most; see record.h */
	uint8_t kind[RECORD_ARGS_MAX]; /* enum pp_kind */
	uint8_t size[RECORD_ARGS_MAX];
};

/*
 * Set in semaphore_offset if the file does not contain the semaphore (.bss), so the kernel backend raises it itself. The
 * other bits are then the semaphore's address as linked.
 */
#define MANIFEST_BY_HAND (1ull << 63)

/* Set in role if the kernel backend arms the site at MANIFEST_FAST_AT bytes after the offset: its second instruction. */
#define MANIFEST_FAST (1u << 8)
#define MANIFEST_FAST_AT 1

/* How to read the cells of points that compute an aggregate. */
struct manifest_aggregate {
	uint32_t text; /* string: the expression */
	uint32_t ncolumns, nparts, ncalls;
	struct agg_column columns[AGG_COLUMNS_MAX];
	struct manifest_part {
		uint32_t text;
		uint32_t kind;          /* enum pp_kind */
		uint32_t names, nnames; /* index of the first name of the enumeration, and number */
	} parts[AGG_PARTS_MAX];
	struct manifest_call {
		uint32_t text;
		uint16_t function, column; /* function: enum pp_function */
	} calls[AGG_CALLS_MAX];
};

/* The name of a value of an enumeration. */
struct manifest_name {
	int64_t value;
	uint32_t name, reserved;
};

/* What agg_key.group refers to: the points of a probe that compute the same aggregate. */
struct manifest_group {
	uint32_t probe, aggregate; /* indices */
};

struct manifest_point {
	uint64_t offset;           /* of the site */
	uint64_t semaphore_offset; /* 0: no semaphore */
	uint32_t probe, layout;    /* indices */
	uint32_t pid;              /* 0: every process that maps the file */
	uint32_t link, spec;       /* for the backend: the link that arms the point, and the program that it runs */
	uint32_t role;             /* enum site_role, and MANIFEST_FAST, MANIFEST_RETURN and MANIFEST_BETWEEN */
	uint32_t group, reserved;  /* index of its group + 1; 0: no aggregate */
};

/* Set in role if the kernel backend arms the point by a uretprobe. */
#define MANIFEST_RETURN (1u << 9)

/* Set in role if the point begins or ends a call between two probes: no instruction is single-stepped at a hit. */
#define MANIFEST_BETWEEN (1u << 10)

static inline uint32_t manifest_point_role(const struct manifest_point *point)
{
	return point->role & ~(MANIFEST_FAST | MANIFEST_RETURN | MANIFEST_BETWEEN);
}

static inline bool manifest_point_is_fast(const struct manifest_point *point)
{
	return point->role & MANIFEST_FAST;
}

/* Returns the offset at which the kernel backend arms the point. */
static inline uint64_t manifest_point_place(const struct manifest_point *point)
{
	return point->offset + (manifest_point_is_fast(point) ? MANIFEST_FAST_AT : 0);
}

/* A pid identifies a process only together with its start time. The agent's attachments have their own table of these. */
struct manifest_process {
	uint32_t pid, reserved;
	uint64_t start_time; /* field 22 of /proc/PID/stat */
};

struct manifest {
	uint32_t magic, version;
	uint64_t size; /* of the block, in bytes */
	uint32_t attachment, nprocesses;
	uint32_t nfiles, nargs, nprobes, nlayouts, npoints, npool;
	uint32_t naggregates, nnames, ngroups;
	uint32_t label;             /* string: its offset in the pool + 1; 0: none */
	struct fetch_sample sample; /* of all points */
	/* followed by: points, aggregates, names, groups, files, layouts, probes, args, pool, processes */
};

static inline const struct manifest_point *manifest_points(const struct manifest *d)
{
	return (const struct manifest_point *)(d + 1);
}

static inline const struct manifest_aggregate *manifest_aggregates(const struct manifest *d)
{
	return (const struct manifest_aggregate *)(manifest_points(d) + d->npoints);
}

static inline const struct manifest_name *manifest_names(const struct manifest *d)
{
	return (const struct manifest_name *)(manifest_aggregates(d) + d->naggregates);
}

static inline const struct manifest_group *manifest_groups(const struct manifest *d)
{
	return (const struct manifest_group *)(manifest_names(d) + d->nnames);
}

static inline const struct manifest_file *manifest_files(const struct manifest *d)
{
	return (const struct manifest_file *)(manifest_groups(d) + d->ngroups);
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

/* The pool is padded to a multiple of 8 bytes. */
static inline const struct manifest_process *manifest_processes(const struct manifest *d)
{
	return (const struct manifest_process *)(manifest_string(d, 0) + d->npool);
}

/* Returns the label of pp_request_label(). NULL: none. */
static inline const char *manifest_label(const struct manifest *d)
{
	return d->label ? manifest_string(d, d->label - 1) : NULL;
}

/* Returns the start time of the process with this pid, 0 if it is not known. */
uint64_t manifest_start_time(const struct manifest *d, uint32_t pid);

/*
 * Checks that the block of size bytes is a valid manifest. what is its name in error messages. Returns 0, or -EBADMSG with
 * an error message.
 */
int manifest_check(const struct manifest *d, size_t size, const char *what);

/* ---- making a manifest ---- */

struct manifest_builder;

int manifest_builder_new(struct manifest_builder **builder);
void manifest_builder_free(struct manifest_builder *builder);

struct pp_image;
struct pp_probe;

/* Each of these returns an index, or -ENOMEM. A file, probe, layout or process that was added before keeps its index. */
int manifest_add_file(struct manifest_builder *builder, const struct pp_image *image);
int manifest_add_probe(struct manifest_builder *builder, const struct pp_probe *probe, int file);
/* Names the arguments of a probe that was added as the program does, if print_compile() made them. Returns 0 or -ENOMEM. */
int manifest_name_args(struct manifest_builder *builder, int probe, const struct fetch_program *program);
int manifest_add_layout(struct manifest_builder *builder, const struct fetch_program *program);
int manifest_add_process(struct manifest_builder *builder, uint32_t pid, uint64_t start_time);
int manifest_add_point(struct manifest_builder *builder, const struct manifest_point *point);
/* Adds the group of a probe's points whose program has an aggregate. A group that was added before keeps its index. */
int manifest_add_group(struct manifest_builder *builder, const struct fetch_program *program, int probe);

/* Sets the label. Returns 0 or -ENOMEM. */
int manifest_set_label(struct manifest_builder *builder, const char *label);

/* Returns the size of the longest key in the attachment's cells, 0 if it has no aggregates. */
size_t manifest_key_size(const struct manifest *d);
/* Returns whether one of the aggregates has a stack in its key. */
static inline bool manifest_has_stacks(const struct manifest *d)
{
	for (uint32_t i = 0; i < d->naggregates; i++)
		for (uint32_t k = 0; k < manifest_aggregates(d)[i].nparts; k++)
			if (manifest_aggregates(d)[i].parts[k].kind == PP_STACK)
				return true;
	return false;
}
/* Returns the size of a key's parts, in bytes. */
size_t manifest_parts_size(const struct manifest_aggregate *aggregate);

/* Makes the block. Returns 0 or -ENOMEM. The caller frees *manifest with free(). */
int manifest_build(struct manifest_builder *builder, uint32_t attachment, struct manifest **manifest);

#endif
