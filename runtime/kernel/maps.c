/* SPDX-License-Identifier: MIT */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/namespace.h"

#define PREALLOCATED_MAX (16u << 20) /* bytes of a hash */
#define ELEMENT_OVERHEAD 64          /* bytes that the kernel needs for an element of a hash, about */

int kernel_map_create(enum bpf_map_type type, const char *name, uint32_t key, uint32_t value, uint32_t n,
                      uint32_t flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	int fd = bpf_map_create(type, name, key, value, n, &opts);

	if (fd >= 0)
		return fd;
	if (errno == ENOSYS)
		return error_set(ENOSYS, "this kernel does not have BPF, which the kernel backend needs; use -b agent");
	if (errno == EPERM)
		return error_set(EPERM, "this user may not use BPF; run as root or with CAP_BPF and CAP_PERFMON");
	return error_set(errno, "cannot create the BPF map '%s' of %u times %u bytes: %s", name, n, value,
	                 strerror(errno));
}

int kernel_hash_create(const char *name, uint32_t key, uint32_t value, uint32_t n)
{
	bool preallocate = (uint64_t)n * (key + value + ELEMENT_OVERHEAD) <= PREALLOCATED_MAX;

	return kernel_map_create(BPF_MAP_TYPE_HASH, name, key, value, n, preallocate ? 0 : BPF_F_NO_PREALLOC);
}

/* Task storage needs a BTF description of its value: an array of bytes. */
int kernel_task_storage(const char *name, uint32_t size)
{
	struct btf *btf = btf__new_empty();
	int key, byte, value, fd = -1;

	if (!btf)
		return error_nomem();
	key = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	byte = btf__add_int(btf, "char", 1, 0);
	value = btf__add_array(btf, key, byte, size);
	if (key > 0 && byte > 0 && value > 0 && !btf__load_into_kernel(btf)) {
		LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC, .btf_fd = btf__fd(btf),
		            .btf_key_type_id = key, .btf_value_type_id = value);

		fd = bpf_map_create(BPF_MAP_TYPE_TASK_STORAGE, name, 4, size, 0, &opts);
	}
	if (fd < 0)
		fd = error_set(errno, "cannot create BPF task storage: %s", strerror(errno));
	btf__free(btf);
	return fd;
}

static int task_storage_try(int fd, const void *value)
{
	int task = pidfd_open(getpid(), 0), err, tries = 0;

	if (task < 0)
		return -errno;
	do /* EAGAIN: emitter.h, emit_thread_storage() */
		err = bpf_map_update_elem(fd, &task, value, BPF_ANY) ? -errno : 0;
	while (err == -EAGAIN && ++tries < 100);
	if (!err)
		bpf_map_delete_elem(fd, &task);
	close(task);
	return err;
}

int kernel_task_storage_allocates(int fd, uint32_t size)
{
	const char *limit = getenv("PROBEPOINT_TASK_STORAGE_MAX");
	void *zeros;
	int err;

	if (limit && size > strtoul(limit, NULL, 10))
		return -ENOMEM;
	zeros = calloc(1, size);
	if (!zeros)
		return -ENOMEM;
	err = task_storage_try(fd, zeros);
	free(zeros);
	return err;
}

void *kernel_map_memory(int fd, size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

void kernel_fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- maps of a session ---- */

static int config_map(struct kernel_session *k)
{
	k->config = kernel_map_memory(k->config_fd, sizeof(*k->config));
	return k->config ? 0 : error_set(errno, "cannot map a BPF map: %s", strerror(errno));
}

static int session_maps_pin(struct kernel_session *k)
{
	const struct {
		int fd;
		const char *name;
	} pins[] = {
		{ k->ring_fd, "ring" },
		{ k->handover_fd, "mark" },
		{ k->scratch_fd, "scratch" },
		{ k->config_fd, "config" }, /* the last one: a session with this pin is complete */
	};
	int err = 0;

	for (size_t i = 0; i < sizeof(pins) / sizeof(*pins) && !err; i++)
		err = pin_add(&k->pins, pins[i].fd, pins[i].name, -1, -1);
	return err;
}

size_t kernel_ring_size(const struct kernel_session *k)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);

	return bpf_obj_get_info_by_fd(k->ring_fd, &info, &size) ? 0 : info.max_entries;
}

int kernel_maps_create(struct kernel_session *k, size_t ring_size)
{
	int err;

	k->config_fd =
		kernel_map_create(BPF_MAP_TYPE_ARRAY, "pp_config", 4, sizeof(struct kernel_config), 1, BPF_F_MMAPABLE);
	if (k->config_fd < 0)
		return k->config_fd;
	k->ring_fd =
		kernel_map_create(BPF_MAP_TYPE_RINGBUF, "pp_ring", 0, 0, ring_size ? ring_size : KERNEL_RING_SIZE, 0);
	if (k->ring_fd < 0)
		return k->ring_fd;
	k->handover_fd =
		kernel_map_create(BPF_MAP_TYPE_HASH, "pp_mark", KERNEL_HANDOVER_KEY_SIZE, 8, 65536, BPF_F_NO_PREALLOC);
	if (k->handover_fd < 0)
		return k->handover_fd;
	k->scratch_fd = kernel_task_storage("pp_scratch", EMIT_SCRATCH_SIZE);
	if (k->scratch_fd < 0)
		return k->scratch_fd;
	err = session_maps_pin(k);
	if (!err)
		err = config_map(k);
	if (!err)
		k->config->pid_namespace = namespace_own();
	return err;
}

int kernel_maps_get(struct kernel_session *k)
{
	struct {
		int *fd;
		const char *name;
	} maps[] = {
		{ &k->config_fd, "config" },
		{ &k->ring_fd, "ring" },
		{ &k->handover_fd, "mark" },
		{ &k->scratch_fd, "scratch" },
	};
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);

	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++) {
		*maps[i].fd = pin_get(&k->pins, maps[i].name, -1, -1);
		if (*maps[i].fd == -ENOENT && i == 0)
			return -ENOENT;
		if (*maps[i].fd < 0)
			return error_set(-*maps[i].fd, "cannot open '%s': %s", pin_path(&k->pins, maps[i].name, -1, -1),
			                 strerror(-*maps[i].fd));
	}
	if (bpf_obj_get_info_by_fd(k->config_fd, &info, &size) || info.type != BPF_MAP_TYPE_ARRAY ||
	    info.value_size != sizeof(struct kernel_config) || !(info.map_flags & BPF_F_MMAPABLE))
		return error_set(
			EBADMSG,
			"'%s' was made by another version of probepoint; disarm the session with that version, or remove its "
			"directory",
			pin_path(&k->pins, "config", -1, -1));
	return config_map(k);
}

void kernel_maps_close(struct kernel_session *k)
{
	if (k->config)
		munmap(k->config, sizeof(*k->config));
	k->config = NULL;
	kernel_fd_close(&k->config_fd);
	kernel_fd_close(&k->ring_fd);
	kernel_fd_close(&k->handover_fd);
	kernel_fd_close(&k->scratch_fd);
}

/* ---- maps of an attachment ---- */

/* Returns the number of CPUs as a power of two, at most KERNEL_SHARDS_MAX. */
static unsigned shards_for_cpus(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	unsigned shards = 1;

	while (shards < KERNEL_SHARDS_MAX && shards < (unsigned)cpus)
		shards *= 2;
	return shards;
}

static int attachment_map(struct kernel_attachment *s)
{
	s->counts = kernel_map_memory(s->counts_fd, s->counts_size);
	s->control = s->counts ? kernel_map_memory(s->control_fd, sizeof(*s->control)) : NULL;
	return s->control ? 0 : error_set(errno, "cannot map a BPF map: %s", strerror(errno));
}

int kernel_attachment_maps_create(struct kernel_attachment *s, const struct manifest *manifest, bool by_process,
                                  unsigned cells)
{
	uint32_t npoints = manifest->npoints;
	int err;

	s->shards = shards_for_cpus();
	s->counts_size = (size_t)npoints * s->shards * sizeof(struct kernel_counts);
	s->counts_fd = kernel_map_create(BPF_MAP_TYPE_ARRAY, "pp_counts", 4, sizeof(struct kernel_counts),
	                                 npoints * s->shards, BPF_F_MMAPABLE);
	if (s->counts_fd < 0)
		return s->counts_fd;
	s->control_fd =
		kernel_map_create(BPF_MAP_TYPE_ARRAY, "pp_switch", 4, sizeof(struct kernel_control), 1, BPF_F_MMAPABLE);
	if (s->control_fd < 0)
		return s->control_fd;
	if (by_process) {
		s->processes_fd = kernel_map_create(BPF_MAP_TYPE_HASH, "pp_processes", sizeof(struct kernel_process), 8,
		                                    KERNEL_PROCESSES_MAX, BPF_F_NO_PREALLOC);
		if (s->processes_fd < 0)
			return s->processes_fd;
	}
	err = attachment_map(s);
	return err ? err : kernel_aggregates_create(s, manifest, cells);
}

int kernel_attachment_maps_get(struct kernel_attachment *s, const struct manifest *manifest)
{
	uint32_t number = manifest->attachment, npoints = manifest->npoints;
	const struct session_pins *pins = &s->session->pins;
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);
	int err;

	s->counts_fd = pin_get(pins, "counts", (int)number, -1);
	s->control_fd = pin_get(pins, "switch", (int)number, -1);
	s->processes_fd = pin_get(pins, "processes", (int)number, -1);
	if (s->counts_fd == -ENOENT || s->control_fd == -ENOENT)
		return -ENOENT;
	/*
	 * Other errors must not be -ENOENT, after which callers remove the attachment: this process may lack
	 * descriptors.
	 */
	if (s->counts_fd < 0 || s->control_fd < 0 || (s->processes_fd < 0 && s->processes_fd != -ENOENT)) {
		err = s->counts_fd < 0 ? s->counts_fd : s->control_fd < 0 ? s->control_fd : s->processes_fd;

		return error_set(-err, "cannot open attachment %u of '%s': %s", number, pins->path, strerror(-err));
	}
	if (bpf_obj_get_info_by_fd(s->counts_fd, &info, &size) || info.value_size != sizeof(struct kernel_counts) ||
	    !npoints || info.max_entries % npoints || !(info.map_flags & BPF_F_MMAPABLE))
		return error_set(EBADMSG, "'%s' has another size than the manifest says",
		                 pin_path(pins, "counts", (int)number, -1));
	s->shards = info.max_entries / npoints;
	s->counts_size = (size_t)info.max_entries * sizeof(struct kernel_counts);
	err = attachment_map(s);
	return err ? err : kernel_aggregates_get(s, manifest);
}

/* ---- manifests ---- */

int kernel_manifest_pin(struct kernel_session *k, const struct manifest *manifest)
{
	uint32_t key = 0;
	int fd, err;

	if (k->pins.dir < 0)
		return 0;
	fd = kernel_map_create(BPF_MAP_TYPE_ARRAY, "pp_desc", 4, manifest->size, 1, 0);
	if (fd < 0)
		return fd;
	err = bpf_map_update_elem(fd, &key, manifest, BPF_ANY)
	              ? error_set(errno, "cannot fill a BPF map: %s", strerror(errno))
	              : pin_add(&k->pins, fd, "desc", (int)manifest->attachment, -1);
	close(fd);
	return err;
}

static int manifest_read(int fd, const char *path, struct manifest **manifest)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info), key = 0;
	struct manifest *m;
	int err;

	if (bpf_obj_get_info_by_fd(fd, &info, &size) || info.type != BPF_MAP_TYPE_ARRAY || info.max_entries != 1)
		return error_set(EBADMSG, "'%s' is not a manifest; remove it", path);
	m = malloc((info.value_size + 7) & ~7u);
	if (!m)
		return error_nomem();
	err = bpf_map_lookup_elem(fd, &key, m) ? error_set(errno, "cannot read '%s': %s", path, strerror(errno))
	                                       : manifest_check(m, info.value_size, path);
	if (err) {
		free(m);
		return err;
	}
	*manifest = m;
	return 0;
}

int kernel_manifest_get(struct kernel_session *k, uint32_t number, struct manifest **manifest)
{
	const char *path = pin_path(&k->pins, "desc", (int)number, -1);
	int fd = pin_get(&k->pins, "desc", (int)number, -1), err;

	if (fd == -ENOENT)
		return fd;
	if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
		return error_set(-fd, "cannot open '%s': %s", path, strerror(-fd));
	if (fd < 0)
		return error_set(-fd, "'%s' is not a manifest: %s; remove it", path, strerror(-fd));
	err = manifest_read(fd, path, manifest);
	close(fd);
	if (err || (*manifest)->attachment == number)
		return err;
	err = error_set(EBADMSG, "'%s' is damaged: its manifest has the number %u", path, (*manifest)->attachment);
	free(*manifest);
	return err;
}
