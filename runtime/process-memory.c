/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/process.h"

int process_read_spans(const struct process *process, const uint64_t *addresses, size_t n, size_t size, uint8_t *bytes,
                       bool *got)
{
	struct iovec remote[IOV_MAX];

	memset(got, 0, n * sizeof(*got));
	for (size_t i = 0; i < n;) {
		size_t batch = n - i < IOV_MAX ? n - i : IOV_MAX;

		for (size_t k = 0; k < batch; k++)
			remote[k] = (struct iovec){ (void *)addresses[i + k], size };

		struct iovec local = { bytes + i * size, batch * size };
		ssize_t read = process_vm_readv(process->tid, &local, 1, remote, batch, 0);

		if (read < 0 && errno != EFAULT)
			return -errno;
		read = read < 0 ? 0 : read / (ssize_t)size;
		for (ssize_t k = 0; k < read; k++)
			got[i + k] = true;
		/* skip the span that cannot be read */
		i += (size_t)read == batch ? batch : (size_t)read + 1;
	}
	return 0;
}

int process_read_bytes(const struct process *process, const uint64_t *addresses, size_t n, uint8_t *bytes, bool *got)
{
	return process_read_spans(process, addresses, n, 1, bytes, got);
}

/* Reads like a debugger: also memory that the process can execute but not read. */
static int process_read_forced(const struct process *process, uint64_t address, void *to, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/mem", process->pid, process->tid);
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
	return n == (ssize_t)size ? 0 : process_read_forced(process, address, to, size);
}
