/* SPDX-License-Identifier: MIT */
/*
 * The process that reads sessions. It opens each session, copies its counts and closes it, as probe-stat does. So it holds the
 * lock of a session for some milliseconds only, and never waits for a target.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cmd/alloc.h"
#include "cmd/export/export.h"
#include "cmd/export/protobuf.h"
#include "cmd/metrics-text.h"
#include "cmd/stat-reading.h"

#define SESSIONS_MAX 1000
#define READ_NS 8000000000u  /* sessions that were not reached in this time are left out */
#define COST_NS 30000000000u /* a session's cost is measured again after this time */

struct session_cost {
	char *name;
	uint64_t time; /* when it was measured, 0: not yet */
	bool known, seen;
	struct pp_cost cost;
};

struct session_reader {
	struct export_options options;
	struct metrics *last; /* what was written last: its members keep their series */
	struct session_cost *costs;
	size_t ncosts;
};

/* ---- costs ---- */

static struct session_cost *cost_find(struct session_reader *r, const char *name)
{
	for (size_t i = 0; i < r->ncosts; i++)
		if (!strcmp(r->costs[i].name, name))
			return &r->costs[i];
	r->costs = xreallocarray(r->costs, r->ncosts + 1, sizeof(*r->costs));
	r->costs[r->ncosts] = (struct session_cost){ .name = xstrdup(name) };
	return &r->costs[r->ncosts++];
}

/* Forgets sessions that were not seen. */
static void costs_tidy(struct session_reader *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->ncosts; i++) {
		if (r->costs[i].seen)
			r->costs[n++] = r->costs[i];
		else
			free(r->costs[i].name);
	}
	r->ncosts = n;
	for (size_t i = 0; i < n; i++)
		r->costs[i].seen = false;
}

/* Returns the session whose cost was measured first, if that is long ago, else NULL. */
static struct session_cost *cost_due(const struct session_reader *r)
{
	struct session_cost *oldest = NULL;

	for (size_t i = 0; i < r->ncosts; i++)
		if (!oldest || r->costs[i].time < oldest->time)
			oldest = &r->costs[i];
	return oldest && (!oldest->time || clock_local_ns() - oldest->time >= COST_NS) ? oldest : NULL;
}

static void cost_measure(struct session_cost *cost)
{
	struct pp_session *session;

	cost->time = clock_local_ns();
	if (pp_session_open(cost->name, false, &session))
		return;
	cost->known = !pp_session_cost(session, STAT_COST_MS, &cost->cost, sizeof(cost->cost));
	pp_session_close(session);
}

/* ---- sessions ---- */

struct export_names {
	char **list;
	size_t n, more; /* more: not in the list */
};

static int export_names_add(const char *name, void *arg)
{
	struct export_names *names = arg;

	if (names->n == SESSIONS_MAX) {
		names->more++;
		return 0;
	}
	names->list = xreallocarray(names->list, names->n + 1, sizeof(*names->list));
	names->list[names->n++] = xstrdup(name);
	return 0;
}

/* Returns 1 if the session was read, 0 if it has ended, or a negative errno. */
static int reader_take_session(struct session_reader *r, struct metrics *m, const char *name)
{
	struct stat_command c = { .options.session = name, .options.quiet = true };
	struct reading reading = { 0 };
	int err = reading_take(&reading, &c);

	if (err) {
		reading_free(&reading);
		return err == -ENOENT ? 0 : err;
	}
	if (r->options.cost) {
		struct session_cost *cost = cost_find(r, name);

		cost->seen = true;
		reading.has_cost = cost->known;
		reading.cost = cost->cost;
	}
	metrics_add_session(m, name, &reading);
	reading_free(&reading);
	return 1;
}

static struct metrics *reader_take_sessions(struct session_reader *r)
{
	struct metrics *m = metrics_new(r->options.series, r->last);
	struct export_names names = { 0 };
	size_t done = 0, unread;
	uint64_t start = clock_local_ns();
	int err = pp_sessions(export_names_add, &names);

	unread = names.more + (err != 0);
	for (size_t i = 0; i < names.n; i++) {
		int result = clock_local_ns() - start > READ_NS ? -ETIME : reader_take_session(r, m, names.list[i]);

		done += result > 0;
		unread += result < 0;
		free(names.list[i]);
	}
	free(names.list);
	costs_tidy(r);
	metrics_add_export(m, done, unread, (double)(clock_local_ns() - start) / 1e9);
	metrics_finish(m);
	metrics_free(r->last);
	r->last = m;
	return m;
}

/* ---- requests ---- */

static int write_all(int fd, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size) {
		ssize_t n = write(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EPIPE;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

static int document_write(int fd, struct session_reader *r, enum export_format format)
{
	const struct metrics *m = reader_take_sessions(r);
	struct export_head head;
	size_t size = 0;
	char *text = NULL;
	FILE *out = xmemstream(&text, &size);
	int err;

	if (format == EXPORT_PROTOBUF)
		metrics_put_protobuf(out, m);
	else
		metrics_print(out, m, format == EXPORT_OPENMETRICS ? METRICS_OPENMETRICS : METRICS_PROMETHEUS);
	xmemstream_close(out);
	head.size = size <= EXPORT_REPLY_MAX ? size : 0;
	err = write_all(fd, &head, sizeof(head));
	if (!err)
		err = write_all(fd, text, head.size);
	free(text);
	return err;
}

int reader_run(int fd, const struct export_options *options)
{
	struct session_reader r = { .options = *options };

	for (;;) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		unsigned char format;
		struct session_cost *due = cost_due(&r);
		int ready = poll(&wait, 1, due ? 0 : options->cost ? 1000 : -1);
		ssize_t n;

		if (!ready && due)
			cost_measure(due);
		if (ready <= 0)
			continue;
		n = read(fd, &format, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != 1 || format >= EXPORT_FORMATS || document_write(fd, &r, format))
			return 0; /* the server has ended */
	}
}
