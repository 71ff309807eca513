/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/agent/inproc/files.h"
#include "runtime/agent/inproc/proc.h"

/* /proc/thread-self. If the first thread of a process has ended, /proc/self says little. */
static int proc = -1;

void proc_open(void)
{
	proc = open("/proc/thread-self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int proc_dir(void)
{
	return proc;
}

int proc_threads(void)
{
	return openat(proc, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

bool proc_has_thread(uint32_t tid)
{
	char path[40] = "../";
	struct stat st;

	format_number(path + strlen(path), tid);
	return tid && !fstatat(proc, path, &st, 0);
}

/* Reads a file of a thread, as file_read_text(). */
static size_t thread_file_read(uint32_t tid, const char *name, char *text, size_t room)
{
	char path[40] = "../";

	format_number(path + strlen(path), tid);
	strcat(path, name);
	return file_read_text(proc, path, text, room);
}

bool proc_is_last_thread(uint32_t pid)
{
	char text[1024], *name_end;
	struct stat st;

	if (proc < 0 || fstatat(proc, "..", &st, 0))
		return false;
	/* The directory of threads has two links, and one for each thread. */
	if (st.st_nlink != 4)
		return st.st_nlink == 3;
	/* The first thread remains as a zombie as long as there is another thread, such as the agent's. */
	thread_file_read(pid, "/stat", text, sizeof(text));
	name_end = strrchr(text, ')');
	return name_end && (name_end[2] == 'Z' || name_end[2] == 'X');
}

static size_t digits_count(const char *text)
{
	size_t n = 0;

	while (text[n] >= '0' && text[n] <= '9')
		n++;
	return n;
}

/* The name, in parentheses, may contain anything; fields are counted from the last closing parenthesis. */
static uint64_t process_stat_field(uint32_t pid, int wanted)
{
	char text[1024], path[40] = "/proc/", *at;

	if (pid)
		format_number(path + strlen(path), pid);
	else
		strcat(path, "self");
	strcat(path, "/stat");
	if (!file_read_text(AT_FDCWD, path, text, sizeof(text)))
		return 0;
	at = strrchr(text, ')');
	for (int field = 2; at && field < wanted; field++)
		at = strchr(at + 1, ' ');
	if (at)
		at[1 + digits_count(at + 1)] = 0;
	return at && parse_number(at + 1) > 0 ? parse_number(at + 1) : 0;
}

uint64_t process_start_time(uint32_t pid)
{
	return process_stat_field(pid, 22);
}

uint64_t process_exec(void)
{
	return process_stat_field(0, 48);
}

/* ---- rights ---- */

/* The rights of a thread, by its status file. */
struct proc_status {
	char text[4096]; /* lines of users, groups, capabilities */
	size_t n;
	int privileges, filters, nfilters; /* NoNewPrivs, Seccomp, Seccomp_filters */
};

static void status_read(uint32_t tid, struct proc_status *r)
{
	static const char *const lines[] = { "Uid:", "Gid:", "Groups:", "Cap" };
	static char text[8192];
	const struct {
		const char *name;
		int *to;
	} numbers[] = { { "NoNewPrivs:\t", &r->privileges },
		        { "Seccomp:\t", &r->filters },
		        { "Seccomp_filters:\t", &r->nfilters } };

	r->n = r->privileges = r->filters = r->nfilters = 0;
	thread_file_read(tid, "/status", text, sizeof(text));
	for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1) {
		for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
			if (!strncmp(at, lines[i], strlen(lines[i])) && r->n + (end - at) < sizeof(r->text)) {
				memcpy(r->text + r->n, at, end - at);
				r->n += end - at;
			}
		*end = 0;
		for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
			if (!strncmp(at, numbers[i].name, strlen(numbers[i].name)))
				*numbers[i].to = parse_number(at + strlen(numbers[i].name));
	}
}

/* Returns whether one may do all that the other may. */
static bool status_covers(const struct proc_status *one, const struct proc_status *other)
{
	return one->n == other->n && !memcmp(one->text, other->text, one->n) && one->privileges <= other->privileges &&
	       (!one->filters || (one->filters == other->filters && one->nfilters <= other->nfilters));
}

static struct proc_status one_status, other_status;

bool rights_cover(uint32_t one, uint32_t other)
{
	status_read(one, &one_status);
	status_read(other, &other_status);
	return status_covers(&one_status, &other_status);
}

/* *arg is the thread to compare with; becomes 0 if the named thread covers it. */
static int status_compare(int dir, const char *name, void *arg)
{
	uint32_t tid = parse_number(name), *other = arg;

	(void)dir;
	if (!tid || tid == *other)
		return 0;
	status_read(tid, &one_status);
	if (!one_status.n || !status_covers(&one_status, &other_status))
		return 0;
	*other = 0;
	return 1;
}

bool rights_covered(uint32_t pid, uint32_t tid)
{
	int dir;

	if (rights_cover(pid, tid))
		return true;
	dir = proc_threads();
	if (dir < 0)
		return false;
	dir_list(dir, status_compare, &tid);
	close(dir);
	return !tid;
}
