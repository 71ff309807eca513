/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/process.h"

#define BATCH_ROOM 32768
#define GAP_MAX 1024

/*
 * Spans that one system call reads. It reads neighbours together with the bytes between them, because the kernel takes longer to
 * find a page than to copy it. GAP_MAX is less than a page, so each page that is read contains a part of a span.
 */
struct span_batch {
	const uint64_t *addresses;
	size_t n, size;               /* spans, and the size of each */
	struct iovec remote[IOV_MAX]; /* runs of spans */
	uint16_t spans[IOV_MAX];      /* how many each run has */
	size_t nruns, total;
	uint8_t bytes[BATCH_ROOM];
};

/* Returns how many of n spans the run has that begins with the first one and fits into `room` bytes. Sets its length. */
static size_t span_run(const uint64_t *addresses, size_t n, size_t size, size_t room, size_t *length)
{
	size_t i = 1;

	*length = size;
	while (i < n && addresses[i] >= addresses[i - 1] && addresses[i] - addresses[i - 1] <= GAP_MAX &&
	       addresses[i] - addresses[0] + size <= room) {
		*length = addresses[i] - addresses[0] + size;
		i++;
	}
	return i;
}

/* Fills the batch with as many of n spans as fit. */
static void batch_fill(struct span_batch *b, const uint64_t *addresses, size_t n, size_t size)
{
	size_t length;

	b->addresses = addresses;
	b->size = size;
	b->n = b->nruns = b->total = 0;
	while (b->n < n && b->nruns < IOV_MAX && b->total + size <= BATCH_ROOM) {
		size_t run = span_run(addresses + b->n, n - b->n, size, BATCH_ROOM - b->total, &length);

		b->spans[b->nruns] = (uint16_t)run;
		b->remote[b->nruns++] = (struct iovec){ (void *)addresses[b->n], length };
		b->n += run;
		b->total += length;
	}
}

/* Reads the batch up to the first span that cannot be read. Returns the number of spans read, or a negative errno. */
static ssize_t batch_read(struct span_batch *b, const struct process *process, uint8_t *bytes)
{
	struct iovec local = { b->bytes, b->total };
	ssize_t read = process_vm_readv(process->tid, &local, 1, b->remote, b->nruns, 0);
	size_t i = 0, at = 0;

	if (read < 0 && errno != EFAULT)
		return -errno;
	for (size_t r = 0; r < b->nruns; r++) {
		for (size_t end = i + b->spans[r]; i < end; i++) {
			size_t from = at + (b->addresses[i] - (uintptr_t)b->remote[r].iov_base);

			if (read < 0 || from + b->size > (size_t)read)
				return (ssize_t)i;
			memcpy(bytes + i * b->size, b->bytes + from, b->size);
		}
		at += b->remote[r].iov_len;
	}
	return (ssize_t)i;
}

int process_read_spans(const struct process *process, const uint64_t *addresses, size_t n, size_t size, uint8_t *bytes,
                       bool *got)
{
	struct span_batch batch;

	memset(got, 0, n * sizeof(*got));
	for (size_t i = 0; i < n;) {
		ssize_t read;

		batch_fill(&batch, addresses + i, n - i, size);
		read = batch_read(&batch, process, bytes + i * size);
		if (read < 0)
			return (int)read;
		memset(got + i, true, (size_t)read * sizeof(*got));
		/* skip the span that cannot be read */
		i += (size_t)read == batch.n ? batch.n : (size_t)read + 1;
	}
	return 0;
}

int process_read_bytes(const struct process *process, const uint64_t *addresses, size_t n, uint8_t *bytes, bool *got)
{
	return process_read_spans(process, addresses, n, 1, bytes, got);
}

int process_read_forced(pid_t pid, pid_t tid, uint64_t address, void *to, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/mem", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = pread(fd, to, size, (off_t)address);
	close(fd);
	return n == (ssize_t)size ? 0 : -EFAULT;
}

int process_read(const struct process *process, uint64_t address, void *to, size_t size)
{
	struct iovec local = { to, size }, remote = { (void *)address, size };
	ssize_t n = process_vm_readv(process->tid, &local, 1, &remote, 1, 0);

	if (n < 0 && errno != EFAULT)
		return -errno;
	return n == (ssize_t)size ? 0 : process_read_forced(process->pid, process->tid, address, to, size);
}
