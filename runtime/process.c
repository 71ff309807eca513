/* SPDX-License-Identifier: MIT */
#include "runtime/process.h"

#include <ctype.h>
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <poll.h>
#include <probepoint.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/error.h"

static void maps_free(struct process *process)
{
	for (size_t i = 0; i < process->nmaps; i++)
		free(process->maps[i].path);
	free(process->maps);
	process->maps = NULL;
	process->nmaps = 0;
}

void process_free(struct process *process)
{
	if (!process)
		return;
	maps_free(process);
	if (process->pidfd >= 0)
		close(process->pidfd);
	free(process);
}

/* Of the first thread, which may have exited before the others. The name in field 2 may hold anything, ')' too. */
static bool read_stat(pid_t pid, char *state, unsigned long long *start_time)
{
	char path[32], line[1024], *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	line[fread(line, 1, sizeof(line) - 1, f)] = 0;
	fclose(f);
	at = strrchr(line, ')');
	return at && sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
	                    state, start_time) == 2;
}

uint64_t process_start_time(pid_t pid)
{
	unsigned long long time;
	char state;

	return read_stat(pid, &state, &time) ? time : 0;
}

bool process_is_stopped(pid_t pid)
{
	unsigned long long time;
	char state;

	return read_stat(pid, &state, &time) && (state == 'T' || state == 't');
}

static bool is_leader_gone(pid_t pid)
{
	unsigned long long time;
	char state;

	return read_stat(pid, &state, &time) && (state == 'Z' || state == 'X');
}

/* Another thread than the first, which has exited and has no memory any more. 0: none. */
static pid_t other_thread(pid_t pid)
{
	char path[64];
	pid_t tid = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	for (struct dirent *entry; tasks && !tid && (entry = readdir(tasks));)
		if (isdigit((unsigned char)entry->d_name[0]) && atoi(entry->d_name) != pid)
			tid = atoi(entry->d_name);
	if (tasks)
		closedir(tasks);
	return tid;
}

pid_t process_thread(pid_t pid)
{
	pid_t tid = is_leader_gone(pid) ? other_thread(pid) : 0;

	return tid ? tid : pid;
}

enum process_life process_life(pid_t pid, uint64_t start_time)
{
	unsigned long long time;
	char state;

	/* It may be there and not be readable: no descriptors, hidepid, no /proc. */
	if (!read_stat(pid, &state, &time))
		return kill(pid, 0) && errno == ESRCH ? PROCESS_ENDED : PROCESS_LIVES;
	if (start_time && time != start_time)
		return PROCESS_OTHER;
	return (state == 'Z' || state == 'X') && !other_thread(pid) ? PROCESS_ENDED : PROCESS_LIVES;
}

int process_open(pid_t pid, struct process **process)
{
	struct process *p = NULL;
	int fd, err;

	if (pid <= 0)
		return error_set(EINVAL, "%d is no process id", pid);
	fd = syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0) {
		char path[32];

		err = errno;
		snprintf(path, sizeof(path), "/proc/%d", pid);
		if ((err == EINVAL || err == ENOENT) && !access(path, F_OK))
			return error_set(EINVAL, "%d is a thread: name its process", pid);
		return error_set(err == EINVAL ? ESRCH : err, "no process %d: %s", pid, strerror(err));
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		close(fd);
		return error_nomem();
	}
	p->pid = p->tid = pid;
	p->pidfd = fd;
	p->leader_gone = is_leader_gone(pid);
	if (p->leader_gone) {
		p->tid = other_thread(pid);
		if (!p->tid) {
			process_free(p);
			return error_set(ESRCH, "process %d has ended and waits for its parent to notice", pid);
		}
	}
	*process = p;
	return 0;
}

bool process_alive(const struct process *process)
{
	if (process->pidfd < 0) {
		unsigned long long time;
		char state;

		return read_stat(process->pid, &state, &time) && time == process->start_time &&
		       ((state != 'Z' && state != 'X') || other_thread(process->pid));
	}

	struct pollfd ended = { .fd = process->pidfd, .events = POLLIN };

	return poll(&ended, 1, 0) == 0;
}

int process_read_maps(struct process *process)
{
	char *line = NULL, name[64];
	size_t room = 0, have = 0;
	int err = 0;
	FILE *f;

	maps_free(process);
	snprintf(name, sizeof(name), "/proc/%d/task/%d/maps", process->pid, process->tid);
	f = fopen(name, "re");
	if (!f) {
		err = errno == ENOENT ? ESRCH : errno;
		return error_set(err, "cannot look at process %d: %s%s", process->pid, strerror(err),
		                 err == EACCES ? ": it is another user's; root, or CAP_SYS_PTRACE, is needed" : "");
	}
	while (getline(&line, &room, f) > 0) {
		struct mapping m = { 0 };
		unsigned major, minor;
		unsigned long inode;
		char prot[5];
		int path = 0;

		if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %n", &m.start, &m.end, prot, &m.offset, &major, &minor,
		           &inode, &path) < 7 ||
		    !path)
			continue;
		if (process->nmaps == have) {
			size_t more = have ? 2 * have : 64;
			struct mapping *maps = realloc(process->maps, more * sizeof(*maps));

			if (!maps) {
				err = error_nomem();
				break;
			}
			process->maps = maps;
			have = more;
		}
		line[strcspn(line, "\n")] = 0;
		m.write = prot[1] == 'w';
		m.exec = prot[2] == 'x';
		m.shared = prot[3] == 's';
		m.device = makedev(major, minor);
		m.inode = inode;
		m.path = strdup(line + path);
		if (!m.path) {
			err = error_nomem();
			break;
		}
		process->maps[process->nmaps++] = m;
	}
	if (!err && ferror(f))
		err = error_set(ESRCH, "process %d has ended", process->pid);
	free(line);
	fclose(f);
	if (!err && !process_alive(process))
		err = error_set(ESRCH, "process %d has ended", process->pid);
	return err;
}

/*
 * On some file systems (overlay, btrfs) the device in maps is not the one that
 * stat() tells; then the mapping itself is asked.
 */
static bool same_file(const struct process *process, const struct mapping *m, dev_t device, ino_t inode)
{
	char path[96];
	struct stat st;

	if (m->inode != inode)
		return false;
	if (m->device == device)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", process->tid, m->start, m->end);
	if (stat(path, &st) && stat(m->path, &st))
		return false;
	return st.st_dev == device && st.st_ino == inode;
}

const struct mapping *process_mapping(const struct process *process, dev_t device, ino_t inode, uint64_t offset,
                                      const struct mapping *from)
{
	for (size_t i = from ? (size_t)(from - process->maps) + 1 : 0; i < process->nmaps; i++) {
		const struct mapping *m = &process->maps[i];

		if (offset >= m->offset && offset - m->offset < m->end - m->start &&
		    same_file(process, m, device, inode))
			return m;
	}
	return NULL;
}

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
		/* the one that could not be read is passed over */
		i += (size_t)read == batch ? batch : (size_t)read + 1;
	}
	return 0;
}

int process_read_bytes(const struct process *process, const uint64_t *addresses, size_t n, uint8_t *bytes, bool *got)
{
	return process_read_spans(process, addresses, n, 1, bytes, got);
}

/* As a debugger reads: also what the process may execute and not read itself. */
static int read_by_force(const struct process *process, uint64_t address, void *to, size_t size)
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
	return n == (ssize_t)size ? 0 : read_by_force(process, address, to, size);
}

pid_t process_tracer(const struct process *process)
{
	char path[64], line[256];
	pid_t tracer = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", process->pid, process->tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	if (f)
		fclose(f);
	return tracer;
}

static bool has_ptrace_capability(void)
{
	unsigned long long effective = 0;
	char line[128];
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &effective) == 1)
			break;
	if (f)
		fclose(f);
	return effective >> CAP_SYS_PTRACE & 1;
}

/*
 * What is closed to CAP_SYS_PTRACE too (an init outside of our container, a process that a security module guards) would
 * be counted on such machines every time; the kernel's registration, which covers it, must do.
 */
static void count_unread(struct unread *unread, pid_t pid, int err)
{
	if (!unread || err == -ESRCH || err == -ENOENT || (err == -EACCES && has_ptrace_capability()))
		return;
	unread->n++;
	unread->pid = pid;
	unread->error = err;
}

int processes_mapping_all(dev_t device, ino_t inode, struct process ***processes, size_t *n, struct unread *unread)
{
	DIR *proc = opendir("/proc");
	struct process **found = NULL;
	size_t count = 0;
	int err = 0;

	*processes = NULL;
	*n = 0;
	if (!proc)
		return error_set(errno, "/proc: %s", strerror(errno));
	for (struct dirent *entry; err != -ENOMEM && (entry = readdir(proc));) {
		struct process *p, **more;
		bool maps_it = false;
		pid_t pid = atoi(entry->d_name);

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		err = process_open(pid, &p);
		if (err) {
			count_unread(unread, pid, err);
			continue;
		}
		p->start_time = process_start_time(pid);
		err = process_read_maps(p);
		if (err)
			count_unread(unread, pid, err);
		for (size_t i = 0; !err && i < p->nmaps && !maps_it; i++)
			maps_it = p->maps[i].exec && same_file(p, &p->maps[i], device, inode);
		close(p->pidfd);
		p->pidfd = -1;
		more = maps_it ? realloc(found, (count + 1) * sizeof(*found)) : NULL;
		if (!more) {
			err = maps_it ? error_nomem() : 0;
			process_free(p);
			continue;
		}
		found = more;
		found[count++] = p;
	}
	closedir(proc);
	if (err == -ENOMEM) {
		while (count)
			process_free(found[--count]);
		free(found);
		return err;
	}
	*processes = found;
	*n = count;
	return 0;
}

int processes_mapping(dev_t device, ino_t inode, struct process ***processes, size_t *n)
{
	return processes_mapping_all(device, inode, processes, n, NULL);
}

static bool maps_file(const struct process *process, const struct stat *st)
{
	for (size_t i = 0; i < process->nmaps; i++)
		if (same_file(process, &process->maps[i], st->st_dev, st->st_ino))
			return true;
	return false;
}

/* Where links lead to is looked up in the process's root; the kernel's name of what is found follows /proc/PID/root. */
static bool file_in_root(const struct process *process, const char *name, struct stat *st, char *path, size_t room)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	char root[48], link[48], real[PATH_MAX];
	int fd, dir;
	ssize_t n;
	struct stat again;

	snprintf(root, sizeof(root), "/proc/%d/root", process->tid);
	dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
	if (dir >= 0)
		close(dir);
	if (fd < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = fstat(fd, st) ? -1 : readlink(link, real, sizeof(real) - 1);
	close(fd);
	if (n <= 0)
		return false;
	real[n] = 0;
	/* In a chroot the kernel's name has the way to the root in front; then the name that was asked for must do. */
	for (int way = 0; way < 2; way++) {
		snprintf(path, room, "%s%s", root, way ? name : real);
		if (!stat(path, &again) && again.st_dev == st->st_dev && again.st_ino == st->st_ino)
			return true;
	}
	return false;
}

void process_file(const struct process *process, const char *name, char *path, size_t room)
{
	struct stat here, there;
	bool is_here = !stat(name, &here);

	if (name[0] == '/' && strncmp(name, "/proc/", 6) && file_in_root(process, name, &there, path, room) &&
	    (!is_here || ((here.st_dev != there.st_dev || here.st_ino != there.st_ino) &&
	                  (maps_file(process, &there) || !maps_file(process, &here)))))
		return;
	snprintf(path, room, "%s", name);
}

/* A path by which the mapped file can be opened from here; false: by none. */
static bool mapping_path(const struct process *process, const struct mapping *m, char *path, size_t room)
{
	struct stat st;

	for (int way = 0; way < 3; way++) {
		if (way == 0)
			snprintf(path, room, "%s", m->path);
		else if (way == 1)
			snprintf(path, room, "/proc/%d/root%s", process->tid, m->path);
		else
			snprintf(path, room, "/proc/%d/map_files/%lx-%lx", process->tid, m->start, m->end);
		if (!stat(path, &st) && S_ISREG(st.st_mode) && same_file(process, m, st.st_dev, st.st_ino))
			return true;
	}
	return false;
}

/* Code that a program wrote itself, as just-in-time compilers and the agent do, can be a mapped file and is not an image. */
static bool is_no_image(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char magic[SELFMAG];
	bool other = fd >= 0 && pread(fd, magic, sizeof(magic), 0) == sizeof(magic) && memcmp(magic, ELFMAG, SELFMAG);

	if (fd >= 0)
		close(fd);
	return other;
}

int pp_process_images(pid_t pid, int (*fn)(const char *path, const char *name, void *arg), void *arg)
{
	struct process *process;
	char path[PATH_MAX + 32];
	struct file_id {
		dev_t device;
		ino_t inode;
	} *seen = NULL;
	size_t nseen = 0;
	int err = process_open(pid, &process);

	if (err)
		return err;
	err = process_read_maps(process);
	seen = calloc(process->nmaps + 1, sizeof(*seen));
	if (!seen)
		err = error_nomem();
	for (size_t i = 0; !err && i < process->nmaps; i++) {
		const struct mapping *m = &process->maps[i];
		struct stat st;
		size_t k;

		if (!m->exec || m->path[0] != '/')
			continue;
		/* One file is mapped in pieces, mostly in a row. */
		for (k = 0; k < i; k++)
			if (process->maps[k].exec && process->maps[k].inode == m->inode &&
			    process->maps[k].device == m->device && !strcmp(process->maps[k].path, m->path))
				break;
		if (k < i || !mapping_path(process, m, path, sizeof(path)) || stat(path, &st))
			continue;
		/* Two files of two subvolumes of btrfs have one device and inode in maps; two names may be of one file. */
		for (k = 0; k < nseen && (seen[k].device != st.st_dev || seen[k].inode != st.st_ino); k++)
			;
		if (k < nseen)
			continue;
		seen[nseen++] = (struct file_id){ st.st_dev, st.st_ino };
		if (is_no_image(path))
			continue;
		err = fn(path, m->path, arg);
	}
	free(seen);
	process_free(process);
	return err;
}

pid_t process_fork_untraced(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
}
