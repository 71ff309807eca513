/* SPDX-License-Identifier: MIT */
/*
 * Finds what an entry means now: the files that its globs match, the processes whose name or program matches, and the control group
 * of its service. config_targets_hash() looks at the same things but opens no file, so that config_follow() can call it often.
 */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <glob.h>
#include <limits.h>
#include <mntent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "cmd/alloc.h"
#include "cmd/config.h"
#include "cmd/process-stat.h"

/* ---- control groups ---- */

enum { CGROUP_DEPTH = 8 };

/* Returns the mount point of cgroup2. NULL: it is not mounted. */
static char *cgroup_root(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	const struct mntent *mount;
	char *root = NULL;

	while (mounts && !root && (mount = getmntent(mounts)) != NULL)
		if (!strcmp(mount->mnt_type, "cgroup2"))
			root = xstrdup(mount->mnt_dir);
	if (mounts)
		endmntent(mounts);
	return root;
}

/* The control group of a unit. */
struct unit {
	char *name, *escaped; /* the names that its directory can have */
	char *found;          /* the first directory; NULL: none */
	char *second;         /* another directory; NULL: none */
};

static void unit_check(struct unit *unit, const char *dir, const char *name)
{
	char *path = xasprintf("%s/%s", dir, name);
	struct stat st;

	if (unit->second || stat(path, &st) || !S_ISDIR(st.st_mode))
		free(path);
	else if (!unit->found)
		unit->found = path;
	else
		unit->second = path;
}

/*
 * Looks for the unit in a directory and in the slices below it, because systemd makes the group of a unit in the group of its slice.
 * Does not search other groups, because they belong to other units: a user's manager or a container can have a unit of this name.
 */
static void unit_find(struct unit *unit, const char *dir, unsigned depth)
{
	DIR *list = depth ? opendir(dir) : NULL;
	struct dirent *entry;

	if (unit->name[0] != '_')
		unit_check(unit, dir, unit->name);
	unit_check(unit, dir, unit->escaped);
	while (list && (entry = readdir(list)) != NULL) {
		char *below;

		if (entry->d_type != DT_DIR || !text_has_end(entry->d_name, ".slice"))
			continue;
		below = xasprintf("%s/%s", dir, entry->d_name);
		unit_find(unit, below, depth - 1);
		free(below);
	}
	if (list)
		closedir(list);
}

/* Returns the name of the unit that the value of the key means. The caller frees it. */
static char *unit_name(const char *service)
{
	static const char *const types[] = { ".service", ".scope", ".slice", ".socket", ".mount", ".swap" };

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (text_has_end(service, types[i]))
			return xstrdup(service);
	return xasprintf("%s.service", service);
}

/*
 * Returns the control group of a unit, which the caller frees. Returns NULL if the unit does not run, or if several groups have its
 * name: *first and *second are then two of them, which the caller frees, else NULL.
 */
static char *service_cgroup(const char *service, char **first, char **second)
{
	char *root = cgroup_root();
	struct unit unit = { .name = unit_name(service) };

	/* systemd puts "_" before a name that begins with "_" or that a file of the kernel could have. */
	unit.escaped = xasprintf("_%s", unit.name);
	if (root)
		unit_find(&unit, root, CGROUP_DEPTH);
	free(unit.name);
	free(unit.escaped);
	free(root);
	*first = unit.second ? unit.found : NULL;
	*second = unit.second;
	return unit.second ? NULL : unit.found;
}

/* ---- processes ---- */

/* Returns whether the glob matches the program's path, if it has a slash, or else the process's name. */
static bool process_matches(pid_t pid, const char *glob, const char *comm)
{
	char path[32], program[PATH_MAX + 1];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, program, PATH_MAX);
	if (n <= 0)
		return false; /* a kernel thread, a zombie, or another user's */
	program[n] = 0;
	if (!strchr(glob, '/'))
		return !fnmatch(glob, comm, 0);
	program[text_path_length(program)] = 0;
	return !fnmatch(glob, program, 0);
}

/* Calls fn with each process that matches. */
static void processes_find(const char *glob, void (*fn)(pid_t pid, uint64_t start, void *arg), void *arg)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc)) != NULL) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		char comm[PROCESS_COMM];
		uint64_t start = pid > 0 && pid != getpid() ? process_stat_start(pid, comm) : 0;

		if (start && process_matches(pid, glob, comm))
			fn(pid, start, arg);
	}
	if (proc)
		closedir(proc);
}

/* ---- targets ---- */

struct finding {
	const struct config_entry *entry;
	struct config_targets *targets;
	const char *cgroup; /* NULL: none */
	uint64_t inode;
};

static struct config_target *finding_add(struct finding *f)
{
	struct config_targets *t = f->targets;
	struct config_target *target;

	t->list = xreallocarray(t->list, t->n + 1, sizeof(*t->list));
	target = &t->list[t->n++];
	*target = (struct config_target){ .inode = f->inode };
	if (f->cgroup)
		target->cgroup = xstrdup(f->cgroup);
	return target;
}

static bool build_id_is_wanted(const struct config_entry *entry, const char *build_id)
{
	for (size_t i = 0; i < entry->nbuild_ids; i++)
		if (!strncasecmp(build_id, entry->build_ids[i], strlen(entry->build_ids[i])))
			return true;
	return !entry->nbuild_ids;
}

/* Adds a file. is_glob: files that do not have the wanted build-id are left out. */
static void finding_add_file(struct finding *f, const char *path, bool is_glob)
{
	static const char *const none[] = { "no:probe" }; /* only the build-id is needed */
	struct config_target *target;
	struct pp_image *image;
	char *missing = NULL, *build_id = NULL;

	/* The label of what is armed consists of lines (config-armed.c). Any user may create such a file below a glob. */
	if (strchr(path, '\n')) {
		missing = xasprintf("'%s': the path contains a newline", path);
		is_glob = false;
	} else if (pp_image_open_matching(path, none, 1, PP_IMAGE_COUNTS, &image)) {
		missing = xstrdup(pp_error());
	} else {
		build_id = xstrdup(pp_image_build_id(image));
		pp_image_free(image);
		if (!build_id_is_wanted(f->entry, build_id))
			missing = xasprintf("'%s' has another build-id, %s", path, *build_id ? build_id : "none");
	}
	if (missing && is_glob) {
		free(missing);
		free(build_id);
		return;
	}
	target = finding_add(f);
	target->file = xstrdup(path);
	target->build_id = build_id ? build_id : xstrdup("");
	target->missing = missing;
}

static void targets_add_glob(struct finding *f, const char *pattern)
{
	bool is_glob = strpbrk(pattern, "*?[") != NULL;
	size_t before = f->targets->n;
	glob_t found;

	if (!is_glob) {
		finding_add_file(f, pattern, false);
		return;
	}
	if (!glob(pattern, GLOB_NOSORT, NULL, &found)) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			finding_add_file(f, found.gl_pathv[i], true);
		globfree(&found);
	}
	if (f->targets->n == before) {
		struct config_target *target = finding_add(f);

		target->file = xstrdup(pattern);
		target->missing = xasprintf("no program or library%s matches '%s'",
		                            f->entry->nbuild_ids ? " with the build-id" : "", pattern);
	}
}

static void finding_add_process(pid_t pid, uint64_t start, void *arg)
{
	struct config_target *target = finding_add(arg);

	target->pid = pid;
	target->start = start;
}

static void finding_add_missing(struct finding *f, char *missing, bool is_ambiguous)
{
	struct config_target *target = finding_add(f);

	target->missing = missing;
	target->is_ambiguous = is_ambiguous;
}

void config_targets_find(const struct config_entry *entry, struct config_targets *targets)
{
	struct finding f = { .entry = entry, .targets = targets, .cgroup = entry->options.cgroup };
	char *first = NULL, *second = NULL;
	char *service = entry->service ? service_cgroup(entry->service, &first, &second) : NULL;
	struct stat st;

	*targets = (struct config_targets){ 0 };
	if (service)
		f.cgroup = service;
	if (second) {
		finding_add_missing(&f,
		                    xasprintf("service '%s' has several control groups, '%s' and '%s'; name one of "
		                              "them by cgroup",
		                              entry->service, first, second),
		                    true);
	} else if (entry->service && !service) {
		finding_add_missing(&f, xasprintf("service '%s' is not running", entry->service), false);
	} else if (f.cgroup && stat(f.cgroup, &st)) {
		finding_add_missing(&f, xasprintf("control group '%s': %s", f.cgroup, strerror(errno)), false);
	} else if (entry->process) {
		processes_find(entry->process, finding_add_process, &f);
		if (!targets->n)
			finding_add_missing(&f, xasprintf("no process matches '%s'", entry->process), false);
	} else {
		f.inode = f.cgroup ? st.st_ino : 0;
		for (size_t i = 0; i < entry->options.nfiles; i++)
			targets_add_glob(&f, entry->options.files[i]);
	}
	free(service);
	free(first);
	free(second);
}

void config_targets_free(struct config_targets *targets)
{
	for (size_t i = 0; i < targets->n; i++) {
		free(targets->list[i].file);
		free(targets->list[i].build_id);
		free(targets->list[i].cgroup);
		free(targets->list[i].missing);
	}
	free(targets->list);
	*targets = (struct config_targets){ 0 };
}

/* ---- the hash ---- */

static void hash_add(uint64_t *hash, uint64_t value)
{
	*hash = (*hash ^ value) * 0x9e3779b97f4a7c15u;
	*hash ^= *hash >> 29;
}

static void hash_add_file(uint64_t *hash, const char *path)
{
	struct stat st;

	hash_add(hash, 1);
	if (stat(path, &st))
		return;
	hash_add(hash, st.st_dev);
	hash_add(hash, st.st_ino);
	hash_add(hash, (uint64_t)st.st_size);
	hash_add(hash, (uint64_t)st.st_mtim.tv_sec);
	hash_add(hash, (uint64_t)st.st_mtim.tv_nsec);
}

/* The order in which /proc lists processes is stable, because it is that of pids. */
static void hash_add_process(pid_t pid, uint64_t start, void *arg)
{
	hash_add(arg, (uint64_t)pid);
	hash_add(arg, start);
}

static void hash_add_entry(uint64_t *hash, const struct config_entry *entry)
{
	const struct options *o = &entry->options;
	char *first = NULL, *second = NULL;
	char *service = entry->service ? service_cgroup(entry->service, &first, &second) : NULL;
	struct stat st;
	glob_t found;

	if (service || o->cgroup)
		hash_add(hash, stat(service ? service : o->cgroup, &st) ? 0 : st.st_ino);
	hash_add(hash, second != NULL);
	free(service);
	free(first);
	free(second);
	if (entry->process)
		processes_find(entry->process, hash_add_process, hash);
	for (size_t i = 0; i < o->nfiles; i++) {
		if (!strpbrk(o->files[i], "*?[")) {
			hash_add_file(hash, o->files[i]);
			continue;
		}
		if (glob(o->files[i], 0, NULL, &found))
			continue;
		for (size_t k = 0; k < found.gl_pathc; k++)
			hash_add_file(hash, found.gl_pathv[k]);
		globfree(&found);
	}
}

uint64_t config_targets_hash(const struct config *config)
{
	uint64_t hash = 1;

	for (size_t i = 0; i < config->n; i++)
		for (size_t k = 0; k < config->sessions[i].n; k++)
			hash_add_entry(&hash, &config->sessions[i].entries[k]);
	return hash;
}
