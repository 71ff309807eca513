/* SPDX-License-Identifier: MIT */
/*
 * Makes the armed probes agree with the file:
 *
 * 1. Read what the file has armed before (config-armed.c), and find the targets of each entry (config-target.c).
 * 2. A target that is armed for an entry with the same text stays as it is, and keeps its counts.
 * 3. Disarm what no entry asks for. What an entry armed in a file that was replaced, or in a process that has ended, stays:
 *    processes can still run the old file, and the counts of each version are kept apart. Of these, the oldest are disarmed
 *    if there are more than OLD_MAX for one entry.
 * 4. Arm the targets that are not armed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/arming-report.h"
#include "cmd/budget.h"
#include "cmd/config-armed.h"
#include "cmd/config.h"
#include "cmd/images.h"
#include "cmd/signals.h"
#include "cmd/suggest.h"
#include "cmd/ui.h"

enum { OLD_MAX = 8 };

/* A target to arm. */
struct to_arm {
	const struct config_session *session;
	const struct config_entry *entry;
	const struct config_target *target;
};

struct applying {
	struct config *config;
	bool check;
	config_watch_fn *watch;
	struct config_armed_list armed;
	struct to_arm *to_arm;
	size_t nto_arm;
	struct config_result *result;
};

/* ---- rows ---- */

static char *text_copy(const char *text)
{
	return text && *text ? xstrdup(text) : NULL;
}

static struct config_row *result_add(struct config_result *result, enum config_state state, const char *session)
{
	struct config_row *row;

	result->rows = xreallocarray(result->rows, result->n + 1, sizeof(*result->rows));
	row = &result->rows[result->n++];
	*row = (struct config_row){ .state = state, .session = xstrdup(session) };
	result->changes += state == CONFIG_ARMED || state == CONFIG_TO_ARM || state == CONFIG_DISARMED ||
	                   state == CONFIG_TO_DISARM;
	result->partly |= state == CONFIG_WAITING || state == CONFIG_REFUSED;
	return row;
}

static void result_add_armed(struct config_result *result, enum config_state state, const struct config_armed *armed,
                             unsigned line, const char *reason)
{
	struct config_row *row = result_add(result, state, armed->session);

	row->line = line;
	row->probes = text_copy(armed->probes);
	row->file = text_copy(armed->file);
	row->build_id = text_copy(armed->build_id);
	row->since = text_copy(armed->since);
	row->pid = armed->pid;
	row->sites = armed->sites;
	row->hits = armed->hits;
	row->reason = text_copy(reason);
}

static struct config_row *result_add_target(struct config_result *result, enum config_state state,
                                            const struct to_arm *to_arm)
{
	struct config_row *row = result_add(result, state, to_arm->session->name);

	row->line = to_arm->entry->place.line;
	row->probes = config_probes(to_arm->entry);
	row->file = text_copy(to_arm->target->file);
	row->build_id = text_copy(to_arm->target->build_id);
	row->pid = to_arm->target->pid;
	return row;
}

void config_result_free(struct config_result *result)
{
	for (size_t i = 0; i < result->n; i++) {
		struct config_row *row = &result->rows[i];

		free(row->session);
		free(row->probes);
		free(row->file);
		free(row->build_id);
		free(row->since);
		free(row->reason);
	}
	free(result->rows);
	*result = (struct config_result){ 0 };
}

/* ---- comparing ---- */

static bool armed_is_of(const struct config_armed *armed, const struct config_session *session,
                        const struct config_entry *entry)
{
	return !strcmp(armed->session, session->name) && !strcmp(armed->text, entry->text);
}

/* Returns whether the target is armed as it is now: in this version of the file, in this process. */
static bool armed_is_current(const struct config_armed *armed, const struct config_target *target, const char *key)
{
	if (!armed->target || strcmp(armed->target, key) || armed->life != PP_LIVES)
		return false;
	return target->pid || (armed->file_state == PP_FILE_PRESENT && !strcmp(armed->build_id, target->build_id));
}

/* Returns whether the file was written in place: its inode, and so what is armed in it, is the same, and its contents differ. */
static bool armed_is_overwritten(const struct config_armed *armed, const struct config_target *target)
{
	return target->file && !target->pid && !target->missing && !strcmp(armed->file, target->file) &&
	       armed->file_state == PP_FILE_PRESENT && strcmp(armed->build_id, target->build_id) != 0;
}

/* Returns why something that an entry armed for another target must be disarmed. NULL: it can stay. */
static const char *armed_obsolete(const struct config_armed *armed, const struct config_targets *targets)
{
	for (size_t i = 0; i < targets->n; i++)
		if (armed_is_overwritten(armed, &targets->list[i]))
			return "the file was overwritten in place";
	/* It would count hits of the new control group as its own, because a session counts a hit once. */
	if (armed->target && strstr(armed->target, " in ") && armed->file_state == PP_FILE_PRESENT)
		return "the control group was made anew";
	return NULL;
}

static void to_arm_add(struct applying *a, const struct config_session *session, const struct config_entry *entry,
                       const struct config_target *target)
{
	a->to_arm = xreallocarray(a->to_arm, a->nto_arm + 1, sizeof(*a->to_arm));
	a->to_arm[a->nto_arm++] = (struct to_arm){ session, entry, target };
}

static void refusal_report(struct config *config, const struct config_entry *entry, const struct config_row *row)
{
	ui_error(config->options, "%s:%u:%u: %s", config->path, entry->place.line, entry->place.column,
	         row->reason ? row->reason : "nothing to arm");
}

static void target_compare(struct applying *a, const struct config_session *session, const struct config_entry *entry,
                           const struct config_target *target)
{
	const struct to_arm it = { session, entry, target };
	bool found = false;
	char *key;

	if (target->missing) {
		struct config_row *row =
			result_add_target(a->result, target->is_ambiguous ? CONFIG_REFUSED : CONFIG_WAITING, &it);

		row->reason = xstrdup(target->missing);
		if (target->is_ambiguous)
			refusal_report(a->config, entry, row);
		return;
	}
	key = config_target_key(target);
	for (size_t i = 0; i < a->armed.n; i++) {
		struct config_armed *armed = &a->armed.list[i];

		if (!armed_is_of(armed, session, entry) || !armed_is_current(armed, target, key))
			continue;
		armed->used = found = true;
		result_add_armed(a->result, CONFIG_SAME, armed, entry->place.line, NULL);
	}
	free(key);
	if (!found)
		to_arm_add(a, session, entry, target);
}

/* ---- disarming ---- */

/* Disarms a target, and adds a row. line: of its entry; 0: no entry asks for it. */
static void armed_disarm(struct applying *a, struct config_armed *armed, unsigned line, const char *reason)
{
	struct pp_session *session;
	size_t points;
	int err;

	armed->used = true;
	if (a->check) {
		result_add_armed(a->result, CONFIG_TO_DISARM, armed, line, reason);
		return;
	}
	err = pp_session_open(armed->session, false, &session);
	if (!err) {
		err = pp_session_disable_attachment(session, armed->attachment, &points);
		pp_session_close(session);
	}
	if (err && err != -ENOENT) {
		ui_error(a->config->options, "session '%s': cannot disarm %s: %s", armed->session, armed->probes,
		         pp_error());
		a->result->failed = true;
		return;
	}
	result_add_armed(a->result, CONFIG_DISARMED, armed, line, reason);
}

static int armed_compare_since(const void *x, const void *y)
{
	const struct config_armed *a = *(struct config_armed *const *)x, *b = *(struct config_armed *const *)y;
	int by = strcmp(a->since ? a->since : "", b->since ? b->since : "");

	return by ? by : (a->attachment > b->attachment) - (a->attachment < b->attachment);
}

/* What the entry armed for targets that it no longer has. */
static void entry_keep_old(struct applying *a, const struct config_session *session, const struct config_entry *entry,
                           const struct config_targets *targets)
{
	struct config_armed **old = xcalloc(a->armed.n + 1, sizeof(struct config_armed *));
	size_t n = 0;

	for (size_t i = 0; i < a->armed.n; i++) {
		struct config_armed *armed = &a->armed.list[i];
		const char *reason;

		if (armed->used || !armed_is_of(armed, session, entry))
			continue;
		reason = armed_obsolete(armed, targets);
		if (reason)
			armed_disarm(a, armed, entry->place.line, reason);
		else
			old[n++] = armed;
	}
	if (n)
		qsort(old, n, sizeof(struct config_armed *), armed_compare_since);
	for (size_t i = 0; i < n; i++) {
		old[i]->used = true;
		if (n - i > OLD_MAX)
			armed_disarm(a, old[i], entry->place.line, "newer versions are armed");
		else
			result_add_armed(a->result, CONFIG_OLD, old[i], entry->place.line, NULL);
	}
	free(old);
}

/* ---- arming ---- */

/* Sets the row's sites and reason. Returns whether anything is or would be armed. */
static bool row_take_report(struct applying *a, const struct to_arm *to_arm, struct config_row *row,
                            const struct pp_report *report)
{
	struct images images = { 0 };
	const char *first = NULL;
	size_t refused = 0;

	for (size_t i = 0; report && i < pp_report_rows(report); i++) {
		if (pp_report_state(report, i) != PP_REFUSED) {
			row->sites += pp_report_sites(report, i);
			if (!row->file && pp_report_file(report, i)) {
				row->file = text_copy(pp_report_file(report, i));
				row->build_id = text_copy(pp_report_build_id(report, i));
			}
			continue;
		}
		if (arming_report_is_unmatched(report, i)) {
			if (!images.n && !images.failed && to_arm->target->file)
				images_add_file(&images, to_arm->target->file);
			if (!images.n && !images.failed && to_arm->target->pid)
				images_add_process(&images, to_arm->target->pid);
			free(row->reason);
			row->reason = suggest_text(&images, pp_report_probe(report, i));
			refused++;
			continue;
		}
		if (!first)
			first = pp_report_reason(report, i);
		refused += pp_report_sites(report, i);
	}
	images_free(&images);
	if (refused && first && !row->reason)
		row->reason = row->sites
		                      ? xasprintf("%zu of %zu sites refused: %s", refused, refused + row->sites, first)
		                      : xstrdup(first);
	a->result->partly |= refused > 0;
	return row->sites > 0;
}

/* Arms the request, or checks it. */
static int request_run(struct applying *a, const struct to_arm *to_arm, const struct pp_request *request,
                       struct options *options, struct pp_report **report)
{
	struct pp_session *session;
	bool watched = true;
	int err;

	*report = NULL;
	if (a->check)
		return pp_request_check(request, report);
	err = pp_session_open(to_arm->session->name, true, &session);
	if (err)
		return err;
	pp_session_interrupt(session, &interrupted);
	err = pp_session_enable(session, request, report);
	if (!err)
		pp_session_limit(session, &watched);
	pp_session_close(session);
	if (!watched)
		a->watch(options);
	return err;
}

static void target_arm(struct applying *a, const struct to_arm *to_arm)
{
	struct config_row *row = result_add_target(a->result, a->check ? CONFIG_TO_ARM : CONFIG_ARMED, to_arm);
	const struct config_target *target = to_arm->target;
	struct options options = to_arm->entry->options;
	struct arming arming = to_arm->entry->arming;
	char *label = config_label(a->config, to_arm->entry, target);
	pid_t pid = target->pid;
	const char *file = target->file;
	struct pp_request *request = NULL;
	struct pp_report *report = NULL;
	char *error = NULL;
	int err;

	arming.label = label;
	if (arming.budget < 0)
		arming.budget = budget_default(a->config->options);
	if (pid) {
		options.pids = &pid;
		options.npids = 1;
	} else {
		options.files = &file;
		options.nfiles = 1;
	}
	options.cgroup = target->cgroup;
	err = arming_request_new(&options, &arming, &request);
	if (!err)
		err = request_run(a, to_arm, request, &options, &report);
	if (err)
		error = xstrdup(pp_error());
	if (!row_take_report(a, to_arm, row, report) || err) {
		row->state = CONFIG_REFUSED;
		row->sites = 0;
		a->result->changes--;
		a->result->partly = true;
		if (!row->reason)
			row->reason = error ? xstrdup(error) : NULL;
	}
	if (row->reason)
		refusal_report(a->config, to_arm->entry, row);
	pp_report_free(report);
	pp_request_free(request);
	free(label);
	free(error);
}

/* Refuses rows if another entry or command had armed all their sites before, because these rows count nothing. */
static void shadowed_report(struct applying *a, size_t first)
{
	struct config_armed_list now;

	config_armed_read(a->config, &now);
	for (size_t i = 0; i < a->nto_arm; i++) {
		struct config_row *row = &a->result->rows[first + i];
		char *key = config_target_key(a->to_arm[i].target);
		bool found = row->state != CONFIG_ARMED;

		for (size_t k = 0; k < now.n && !found; k++) {
			found = armed_is_of(&now.list[k], a->to_arm[i].session, a->to_arm[i].entry) &&
			        armed_is_current(&now.list[k], a->to_arm[i].target, key);
			if (found)
				row->since = text_copy(now.list[k].since);
		}
		free(key);
		if (found)
			continue;
		row->state = CONFIG_REFUSED;
		row->sites = 0;
		free(row->reason);
		row->reason = xasprintf("another entry or command has armed all these sites in session '%s'; give this "
		                        "entry a session of its own",
		                        row->session);
		a->result->changes--;
		a->result->partly = true;
		refusal_report(a->config, a->to_arm[i].entry, row);
	}
	config_armed_free(&now);
}

/* ---- all ---- */

void config_apply(struct config *config, bool check, config_watch_fn *watch, struct config_result *result)
{
	struct applying a = { .config = config, .check = check, .watch = watch, .result = result };
	struct config_targets *targets;
	size_t n = 0, first;

	*result = (struct config_result){ 0 };
	for (size_t i = 0; i < config->n; i++)
		n += config->sessions[i].n;
	targets = xcalloc(n + 1, sizeof(*targets));
	config_armed_read(config, &a.armed);
	n = 0;
	for (size_t i = 0; i < config->n; i++)
		for (size_t k = 0; k < config->sessions[i].n; k++) {
			const struct config_entry *entry = &config->sessions[i].entries[k];

			config_targets_find(entry, &targets[n]);
			for (size_t t = 0; t < targets[n].n; t++)
				target_compare(&a, &config->sessions[i], entry, &targets[n].list[t]);
			entry_keep_old(&a, &config->sessions[i], entry, &targets[n++]);
		}
	for (size_t i = 0; i < a.armed.n; i++)
		if (!a.armed.list[i].used)
			armed_disarm(&a, &a.armed.list[i], 0, "not in the file");
	first = result->n;
	for (size_t i = 0; i < a.nto_arm && !interrupted; i++)
		target_arm(&a, &a.to_arm[i]);
	if (!check && a.nto_arm && !interrupted)
		shadowed_report(&a, first);
	result->failed |= interrupted != 0;
	for (size_t i = 0; i < n; i++)
		config_targets_free(&targets[i]);
	free(targets);
	free(a.to_arm);
	config_armed_free(&a.armed);
}

void config_disarm(struct config *config, struct config_result *result)
{
	struct applying a = { .config = config, .result = result };

	*result = (struct config_result){ 0 };
	config_armed_read(config, &a.armed);
	for (size_t i = 0; i < a.armed.n; i++)
		armed_disarm(&a, &a.armed.list[i], 0, NULL);
	config_armed_free(&a.armed);
}
