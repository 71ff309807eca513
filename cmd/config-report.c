/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/config.h"
#include "cmd/escape.h"
#include "cmd/ui.h"

static const char *const state_names[] = {
	[CONFIG_SAME] = "same",         [CONFIG_ARMED] = "armed",         [CONFIG_TO_ARM] = "to arm",
	[CONFIG_DISARMED] = "disarmed", [CONFIG_TO_DISARM] = "to disarm", [CONFIG_OLD] = "old",
	[CONFIG_WAITING] = "waiting",   [CONFIG_REFUSED] = "refused",
};

enum { BUILD_ID_SHOWN = 12 };

static void config_row_put(FILE *out, const struct config_row *row, bool verbose)
{
	const int id = verbose ? 64 : BUILD_ID_SHOWN;

	fprintf(out, "%-9s  ", state_names[row->state]);
	escape_put(out, row->session);
	if (row->line)
		fprintf(out, "  line %u", row->line);
	fputs("  ", out);
	escape_put(out, row->probes ? row->probes : "");
	if (row->file) {
		fputs("  ", out);
		escape_put(out, row->file);
	}
	if (row->build_id)
		fprintf(out, "  build-id %.*s", id, row->build_id);
	if (row->pid)
		fprintf(out, "  pid %d", row->pid);
	if (row->sites)
		fprintf(out, "  %zu site%s", row->sites, ui_plural(row->sites));
	if (row->state == CONFIG_SAME || row->state == CONFIG_OLD || row->state == CONFIG_DISARMED ||
	    row->state == CONFIG_TO_DISARM)
		fprintf(out, "  %" PRIu64 " hits", row->hits);
	if (row->since)
		fprintf(out, "  since %s", row->since);
	if (row->reason && row->state != CONFIG_ARMED && row->state != CONFIG_TO_ARM && row->state != CONFIG_REFUSED) {
		fputs("  (", out);
		escape_put(out, row->reason);
		putc(')', out);
	}
	putc('\n', out);
}

static json_object *config_row_json(const struct config_row *row)
{
	json_object *object = json_new_object();

	json_add_text(object, "state", state_names[row->state]);
	json_add_text(object, "session", row->session);
	json_add(object, "line", row->line ? json_uint(row->line) : NULL);
	json_add_text(object, "probes", row->probes);
	json_add_text(object, "file", row->file);
	json_add_text(object, "build_id", row->build_id);
	json_add(object, "pid", row->pid ? json_int(row->pid) : NULL);
	json_add_uint(object, "sites", row->sites);
	json_add_uint(object, "hits", row->hits);
	json_add_text(object, "since", row->since);
	if (row->reason)
		json_add_text(object, "reason", row->reason);
	return object;
}

static size_t result_count(const struct config_result *result, enum config_state state)
{
	size_t n = 0;

	for (size_t i = 0; i < result->n; i++)
		n += result->rows[i].state == state;
	return n;
}

static void check_report(struct config *config, const struct config_result *result)
{
	size_t refused = result_count(result, CONFIG_REFUSED);
	char *tail = refused ? xasprintf(", %zu refused", refused) : xstrdup("");

	ui_info(config->options, "%s: valid; %zu change%s%s", config->path, result->changes, ui_plural(result->changes),
	        tail);
	free(tail);
	if (result_count(result, CONFIG_TO_ARM))
		ui_info(config->options,
		        "not checked: your privileges, and what running processes and their agents allow");
}

void config_report(struct config *config, const struct config_result *result, bool check, bool only_changes)
{
	struct options *o = config->options;
	json_object *document, *rows;

	if (!o->json) {
		for (size_t i = 0; i < result->n && !o->quiet; i++)
			if (!only_changes ||
			    (result->rows[i].state != CONFIG_SAME && result->rows[i].state != CONFIG_OLD))
				config_row_put(stdout, &result->rows[i], o->verbose);
		if (check)
			check_report(config, result);
		ui_flush();
		ui_notices(o);
		return;
	}
	document = json_new_object();
	rows = json_new_array();
	json_add_text(document, "config", config->real_path);
	json_add_bool(document, "check", check);
	json_add_uint(document, "changes", result->changes);
	for (size_t i = 0; i < result->n; i++)
		json_append(rows, config_row_json(&result->rows[i]));
	json_add(document, "entries", rows);
	ui_print_document(o, stdout, document);
	ui_flush();
	ui_notices(o);
}

enum status config_status(const struct config_result *result)
{
	return result->failed ? STATUS_FAILED : result->partly ? STATUS_PART : STATUS_DONE;
}
