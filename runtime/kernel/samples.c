/* SPDX-License-Identifier: MIT */
/* The map of an attachment that samples (struct kernel_sample). */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/kernel/kernel.h"

static size_t samples_number(const struct kernel_attachment *s)
{
	return s->counts_size / sizeof(struct kernel_counts);
}

static int samples_map(struct kernel_attachment *s)
{
	s->samples = kernel_map_memory(s->samples_fd, samples_number(s) * sizeof(*s->samples));
	return s->samples ? 0 : error_set(errno, "cannot map a BPF map: %s", strerror(errno));
}

/* Gives all points of a probe the bucket of the first one. */
static int samples_set_buckets(struct kernel_attachment *s, const struct manifest *manifest)
{
	uint32_t *first = calloc(manifest->nprobes + 1, sizeof(*first)); /* + 1; 0: none yet */

	if (!first)
		return error_nomem();
	for (uint32_t p = 0; p < manifest->npoints; p++) {
		uint32_t *bucket = &first[manifest_points(manifest)[p].probe];

		if (!*bucket)
			*bucket = p * s->shards + 1;
		for (unsigned i = 0; i < s->shards; i++)
			s->samples[(size_t)p * s->shards + i].bucket = *bucket - 1;
	}
	free(first);
	return 0;
}

int kernel_samples_create(struct kernel_attachment *s, const struct manifest *manifest)
{
	int err;

	if (manifest->sample.every <= 1 && !manifest->sample.rate)
		return 0;
	s->samples_fd = kernel_map_create(BPF_MAP_TYPE_ARRAY, "pp_samples", 4, sizeof(*s->samples),
	                                  (uint32_t)samples_number(s), BPF_F_MMAPABLE);
	if (s->samples_fd < 0)
		return s->samples_fd;
	err = samples_map(s);
	return err ? err : samples_set_buckets(s, manifest);
}

int kernel_samples_get(struct kernel_attachment *s, const struct manifest *manifest)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);
	const char *path;

	if (manifest->sample.every <= 1 && !manifest->sample.rate)
		return 0;
	s->samples_fd = pin_get(&s->session->pins, "samples", (int)manifest->attachment, -1);
	if (s->samples_fd == -ENOENT)
		return -ENOENT;
	path = pin_path(&s->session->pins, "samples", (int)manifest->attachment, -1);
	if (s->samples_fd < 0)
		return error_set(-s->samples_fd, "cannot open '%s': %s", path, strerror(-s->samples_fd));
	if (bpf_obj_get_info_by_fd(s->samples_fd, &info, &size) || info.value_size != sizeof(*s->samples) ||
	    info.max_entries != samples_number(s) || !(info.map_flags & BPF_F_MMAPABLE))
		return error_set(EBADMSG, "'%s' has another size than the manifest says", path);
	return samples_map(s);
}

void kernel_samples_close(struct kernel_attachment *s)
{
	if (s->samples)
		munmap(s->samples, samples_number(s) * sizeof(*s->samples));
	if (s->samples_fd >= 0)
		close(s->samples_fd);
}

uint64_t kernel_unsampled(const struct kernel_attachment *s, uint32_t point)
{
	uint64_t n = 0;

	for (unsigned i = 0; s->samples && i < s->shards; i++)
		n += __atomic_load_n(&s->samples[(size_t)point * s->shards + i].unsampled, __ATOMIC_RELAXED);
	return n;
}
