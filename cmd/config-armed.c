/* SPDX-License-Identifier: MIT */
/*
 * The points that a configuration arms have a label, a text of lines:
 *
 *   config /etc/probepoint/web.yaml      the file, so that another file does not disarm it
 *   since 2026-11-29T05:00:00Z
 *   probes weblog:*
 *   target file /usr/sbin/weblog
 *                                        an empty line
 *   ...                                  the canonical text of the entry
 *
 * So the session itself says which entry has armed each target, and there is no second record that could disagree.
 */
#include "cmd/config-armed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/alloc.h"
#include "cmd/ui.h"

/* ---- writing ---- */

char *config_target_key(const struct config_target *target)
{
	if (target->pid)
		return xasprintf("pid %d %" PRIu64, target->pid, target->start);
	if (target->cgroup)
		return xasprintf("file %s in %" PRIu64 " %s", target->file, target->inode, target->cgroup);
	return xasprintf("file %s", target->file);
}

char *config_probes(const struct config_entry *entry)
{
	char *text = NULL;
	size_t size;
	FILE *out = xmemstream(&text, &size);

	for (size_t i = 0; i < entry->arming.npatterns; i++)
		fprintf(out, "%s%s", i ? " " : "", entry->arming.patterns[i]);
	xmemstream_close(out);
	return text;
}

char *config_label(const struct config *config, const struct config_entry *entry, const struct config_target *target)
{
	char *key = config_target_key(target), *probes = config_probes(entry), since[32], *label;
	time_t now = time(NULL);
	struct tm tm;

	strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	for (char *c = probes; *c; c++)
		*c = *c == '\n' ? ' ' : *c;
	label = xasprintf("config %s\nsince %s\nprobes %s\ntarget %s\n\n%s", config->real_path, since, probes, key,
	                  entry->text);
	free(probes);
	free(key);
	return label;
}

/* ---- reading ---- */

struct label_reading {
	struct config *config;
	struct config_armed_list *armed;
	const char *session;
	struct config_unread unread;
};

/* Takes a line of the label that begins with the word. Returns NULL if it does not. The caller frees it. */
static char *label_take(const char **label, const char *word)
{
	size_t length = strlen(word), n;
	char *value;

	if (strncmp(*label, word, length))
		return NULL;
	n = strcspn(*label + length, "\n");
	value = xasprintf("%.*s", (int)n, *label + length);
	*label += length + n + ((*label)[length + n] == '\n');
	return value;
}

static int armed_add(const struct pp_labelled *labelled, void *arg)
{
	struct label_reading *r = arg;
	const char *label = labelled->label;
	char *file = label_take(&label, "config ");
	bool is_ours = file && !strcmp(file, r->config->real_path);
	struct config_armed armed = { .attachment = labelled->attachment,
		                      .file_state = labelled->file_state,
		                      .life = labelled->life,
		                      .pid = labelled->pid,
		                      .sites = labelled->sites,
		                      .hits = labelled->hits };

	free(file);
	if (!is_ours)
		return 0;
	armed.since = label_take(&label, "since ");
	armed.probes = label_take(&label, "probes ");
	armed.target = label_take(&label, "target ");
	armed.text = xstrdup(*label == '\n' ? label + 1 : label);
	armed.session = xstrdup(r->session);
	armed.file = xstrdup(labelled->file);
	armed.build_id = xstrdup(labelled->build_id);
	r->armed->list = xreallocarray(r->armed->list, r->armed->n + 1, sizeof(*r->armed->list));
	r->armed->list[r->armed->n++] = armed;
	return 0;
}

/*
 * Reports that a session cannot be read, unless the last reading of the sessions found the same. Takes ownership of the
 * message.
 */
static void unread_report(struct label_reading *r, char *message)
{
	const struct config_unread *before = &r->config->unread;
	bool known = false;

	for (size_t i = 0; i < before->n; i++)
		known |= !strcmp(before->messages[i], message);
	if (!known)
		ui_error(r->config->options, "%s", message);
	r->unread.messages = xreallocarray(r->unread.messages, r->unread.n + 1, sizeof(*r->unread.messages));
	r->unread.messages[r->unread.n++] = message;
}

static int session_add(const char *name, void *arg)
{
	struct label_reading *r = arg;
	struct pp_session *session;
	int err = pp_session_open(name, false, &session);

	if (err == -ENOENT)
		return 0;
	r->session = name;
	if (!err) {
		err = pp_session_labels(session, armed_add, r);
		pp_session_close(session);
	}
	if (err && err != -ENOENT)
		unread_report(
			r, xasprintf("session '%s': cannot be read: %s; probes of %s in it stay armed until the next "
		                     "probe-enable --config",
		                     name, pp_error(), r->config->real_path));
	return 0;
}

void config_armed_read(struct config *config, struct config_armed_list *armed)
{
	struct label_reading r = { .config = config, .armed = armed };

	*armed = (struct config_armed_list){ 0 };
	pp_sessions(session_add, &r);
	config_unread_free(&config->unread);
	config->unread = r.unread;
}

void config_armed_free(struct config_armed_list *armed)
{
	for (size_t i = 0; i < armed->n; i++) {
		struct config_armed *a = &armed->list[i];

		free(a->session);
		free(a->since);
		free(a->probes);
		free(a->target);
		free(a->text);
		free(a->file);
		free(a->build_id);
	}
	free(armed->list);
	*armed = (struct config_armed_list){ 0 };
}
