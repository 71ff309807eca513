/* SPDX-License-Identifier: MIT */
#include "cmd/trace-about.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cmd/alloc.h"
#include "cmd/json.h"
#include "cmd/ui.h"

static json_object *probe_json(const struct pp_stat *stat, size_t i)
{
	json_object *row = json_new_object();
	struct pp_counts counts;
	size_t stopped = pp_stat_over_budget(stat, i);

	pp_stat_counts(stat, i, &counts, sizeof(counts));
	json_add_text(row, "probe", pp_stat_probe(stat, i));
	json_add(row, "pid", pp_stat_pid(stat, i) ? json_int(pp_stat_pid(stat, i)) : NULL);
	json_add_text(row, "file", pp_stat_file(stat, i));
	json_add_text(row, "backend", pp_stat_backend(stat, i));
	json_add_uint(row, "sites", pp_stat_sites(stat, i));
	json_add_uint(row, "hits", counts.hits);
	json_add_uint(row, "recorded", counts.recorded);
	json_add_uint(row, "lost", counts.lost);
	json_add_uint(row, "idle", counts.idle);
	json_add_uint(row, "filtered", counts.filtered);
	if (stopped)
		json_add_uint(row, "over_budget", stopped);
	return row;
}

static json_object *counts_json(struct pp_session *session)
{
	json_object *rows = json_new_array();
	struct pp_stat *stat;

	if (pp_session_stat(session, &stat))
		return rows;
	for (size_t i = 0; i < pp_stat_rows(stat); i++)
		json_append(rows, probe_json(stat, i));
	pp_stat_free(stat);
	return rows;
}

static json_object *about_json(struct pp_session *session, json_object *armed, const struct trace_totals *totals)
{
	json_object *about = json_new_object();
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	json_add_text(about, "version", pp_version());
	json_add_text(about, "session", pp_session_name(session));
	json_add_bool(about, "ended", totals != NULL);
	json_add_int(about, "time_of_day", now.tv_sec * INT64_C(1000000000) + now.tv_nsec);
	if (totals) {
		json_add_uint(about, "recorded", totals->recorded);
		json_add_uint(about, "lost", totals->lost);
		json_add_uint(about, "damaged", totals->damaged);
		json_add_uint(about, "removed", totals->removed);
	}
	if (totals && totals->is_snapshot)
		json_add(about, "complete_since",
		         totals->complete_since == UINT64_MAX ? NULL : json_uint(totals->complete_since));
	json_add(about, "arming", armed ? json_object_get(armed) : NULL);
	json_add(about, "probes", counts_json(session));
	return about;
}

/* Writes the file under another name and renames it, so that a reader always finds a complete one. Frees the document. */
static int about_put(const char *path, json_object *about)
{
	char *temporary = xasprintf("%s.new", path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644), err = 0;
	FILE *to = fd < 0 ? NULL : fdopen(fd, "w");

	if (!to)
		err = errno;
	if (!to && fd >= 0)
		close(fd);
	if (!to)
		json_object_put(about);
	if (to) {
		json_print(to, about);
		putc('\n', to);
		if (ferror(to) | fclose(to) || rename(temporary, path)) {
			err = errno ? errno : EIO;
			unlink(temporary);
		}
	}
	free(temporary);
	return err;
}

void trace_about_write(const struct options *options, const char *directory, struct pp_session *session,
                       struct json_object *armed, const struct trace_totals *totals)
{
	char *about = xasprintf("%s/about", directory), *path = xasprintf("%s/probepoint.json", about);
	int err = mkdir(about, 0755) && errno != EEXIST ? errno : about_put(path, about_json(session, armed, totals));

	if (err)
		ui_info(options, "cannot write '%s': %s", path, strerror(err));
	free(path);
	free(about);
}
