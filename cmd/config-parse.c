/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/config.h"
#include "cmd/suggest.h"
#include "cmd/ui.h"

enum { ERRORS_MAX = 20 };

void config_error(struct config *config, struct config_place place, const char *format, ...)
{
	char *message;
	va_list args;

	if (config->muted || config->errors++ >= ERRORS_MAX)
		return;
	va_start(args, format);
	message = xvasprintf(format, args);
	va_end(args);
	if (place.line)
		ui_error(config->options, "%s:%u:%u: %s", config->path, place.line, place.column, message);
	else
		ui_error(config->options, "%s: %s", config->path, message);
	free(message);
}

/* A key of a session or an entry, with its value. */
struct key_value {
	const struct config_key *key;
	const struct config_node *value;
};

struct pairs {
	struct key_value *list;
	size_t n;
};

static const struct key_value *pairs_find(const struct pairs *pairs, const struct config_key *key)
{
	for (size_t i = 0; i < pairs->n; i++)
		if (pairs->list[i].key == key)
			return &pairs->list[i];
	return NULL;
}

static void pairs_add(struct pairs *pairs, const struct config_key *key, const struct config_node *value)
{
	pairs->list = xreallocarray(pairs->list, pairs->n + 1, sizeof(*pairs->list));
	pairs->list[pairs->n++] = (struct key_value){ key, value };
}

static void pairs_apply(struct config *config, struct config_entry *entry, const struct pairs *pairs)
{
	for (size_t i = 0; i < pairs->n; i++)
		config_key_apply(config, entry, pairs->list[i].key, pairs->list[i].value);
}

/* ---- entries ---- */

static int pair_compare(const void *a, const void *b)
{
	const struct key_value *x = a, *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

/* Returns the keys and values in the order of the list of keys. The caller frees the text. */
static char *pairs_text(struct pairs *pairs)
{
	char *text = NULL;
	size_t size;
	FILE *out = xmemstream(&text, &size);

	if (pairs->n)
		qsort(pairs->list, pairs->n, sizeof(*pairs->list), pair_compare);
	for (size_t i = 0; i < pairs->n; i++)
		config_key_print(out, pairs->list[i].key, pairs->list[i].value);
	xmemstream_close(out);
	return text;
}

static void entry_release(struct config_entry *entry)
{
	free(entry->options.files);
	free(entry->options.pids);
	free(entry->options.strings);
	free(entry->options.addresses);
	free(entry->options.print);
	free(entry->options.usage_error);
	free(entry->arming.patterns);
	free(entry->build_ids);
	free(entry->text);
}

static bool files_have_glob(const struct options *o)
{
	for (size_t i = 0; i < o->nfiles; i++)
		if (strpbrk(o->files[i], "*?["))
			return true;
	return false;
}

/* Checks what is missing or cannot be combined. */
static void entry_check(struct config *config, struct config_entry *entry)
{
	struct argp_state state = { .flags = ARGP_NO_ERRS };
	struct options *o = &entry->options;
	size_t npids = o->npids;

	if (!entry->arming.npatterns && !o->latency[0])
		config_error(config, entry->place, "the entry names no probes; give probes or latency");
	else if (!o->nfiles && !entry->process)
		config_error(config, entry->place, "the entry names no target; give file or process");
	else if (entry->service && (o->cgroup || entry->process))
		config_error(config, entry->place, "service cannot be combined with cgroup or process");
	else if (entry->nbuild_ids && (!o->nfiles || entry->process))
		config_error(config, entry->place, "build-id needs file, and cannot be combined with process");
	else if (entry->process && files_have_glob(o))
		config_error(config, entry->place, "file cannot be a glob if process is given");
	else if ((o->children || o->pgrp) && !entry->process)
		config_error(config, entry->place, "%s needs process", o->children ? "children" : "pgrp");
	else {
		o->npids = entry->process != NULL; /* the checks count them only */
		if (arming_take_latency(&state, o, &entry->arming) || arming_check_options(&state, o, &entry->arming))
			config_error(config, entry->place, "%s", o->usage_error);
		o->npids = npids;
		if (o->latency[0] && !o->aggregate)
			o->aggregate = "pct(duration)";
	}
	free(o->usage_error);
	o->usage_error = NULL;
}

static void entry_parse(struct config *config, struct config_session *session, const struct pairs *inherited,
                        const struct config_node *node)
{
	struct config_entry *entry;
	struct pairs pairs = { 0 };

	if (node->type != CONFIG_MAP) {
		config_error(config, node->place, "an entry of arm must be a map of keys, such as '- probes: ...'");
		return;
	}
	session->entries = xreallocarray(session->entries, session->n + 1, sizeof(*session->entries));
	entry = &session->entries[session->n++];
	*entry = (struct config_entry){ .place = node->place, .arming = { .budget = -1 } };
	entry->options.session = session->name;
	for (size_t i = 0; i + 1 < node->n; i += 2) {
		const struct config_key *key = config_key_find(config, node->children[i], CONFIG_IN_ENTRY);

		if (key && pairs_find(&pairs, key))
			config_error(config, node->children[i]->place, "'%s' is given twice", node->children[i]->text);
		else if (key)
			pairs_add(&pairs, key, node->children[i + 1]);
	}
	pairs_apply(config, entry, &pairs);
	config->muted = true; /* session_parse() has reported them */
	for (size_t i = 0; i < inherited->n; i++) {
		if (pairs_find(&pairs, inherited->list[i].key))
			continue;
		config_key_apply(config, entry, inherited->list[i].key, inherited->list[i].value);
		pairs_add(&pairs, inherited->list[i].key, inherited->list[i].value);
	}
	config->muted = false;
	entry->text = pairs_text(&pairs);
	free(pairs.list);
	if (!config->errors)
		entry_check(config, entry);
	for (size_t i = 0; i + 1 < session->n; i++)
		if (!strcmp(session->entries[i].text, entry->text))
			config_error(config, entry->place, "the entry is the same as that of line %u",
			             session->entries[i].place.line);
}

/* ---- sessions ---- */

static bool name_is_valid(const char *name)
{
	struct pp_session *session;

	if (pp_session_open(name, true, &session) == -EINVAL)
		return false;
	pp_session_close(session);
	return true;
}

static void session_name(struct config *config, struct config_session *session, const struct config_node *value)
{
	if (session->name) {
		config_error(config, value->place, "'session' is given twice");
		return;
	}
	if (value->type != CONFIG_SCALAR || !name_is_valid(value->text)) {
		config_error(
			config, value->place,
			"session: give a name of 1 to 64 letters, digits, '_' and '-', which does not start with '-'");
		return;
	}
	session->name = xstrdup(value->text);
	for (size_t i = 0; i + 1 < config->n; i++)
		if (config->sessions[i].name && !strcmp(config->sessions[i].name, session->name))
			config_error(config, value->place, "session '%s' is described twice; line %u begins the first",
			             session->name, config->sessions[i].place.line);
}

static void session_parse(struct config *config, const struct config_node *node)
{
	const struct config_node *arm = NULL;
	struct config_entry defaults = { .text = NULL };
	struct config_session *session;
	struct pairs pairs = { 0 };

	if (node->type != CONFIG_MAP) {
		config_error(config, node->place, "a session must be a map of keys, such as '- session: NAME'");
		return;
	}
	config->sessions = xreallocarray(config->sessions, config->n + 1, sizeof(*config->sessions));
	session = &config->sessions[config->n++];
	*session = (struct config_session){ .place = node->place };
	for (size_t i = 0; i + 1 < node->n; i += 2) {
		const struct config_node *name = node->children[i], *value = node->children[i + 1];
		const char *word = name->type == CONFIG_SCALAR ? name->text : "";
		const struct config_key *key;

		if (!strcmp(word, "session")) {
			session_name(config, session, value);
		} else if (!strcmp(word, "arm")) {
			if (arm)
				config_error(config, name->place, "'arm' is given twice");
			arm = value;
		} else if ((key = config_key_find(config, name, CONFIG_IN_SESSION)) != NULL) {
			if (pairs_find(&pairs, key))
				config_error(config, name->place, "'%s' is given twice", word);
			else
				pairs_add(&pairs, key, value);
		}
	}
	pairs_apply(config, &defaults, &pairs);
	entry_release(&defaults);
	if (!session->name && !config->errors)
		config_error(config, node->place, "the session has no name; give 'session: NAME'");
	if (!arm || arm->type != CONFIG_LIST)
		config_error(config, arm ? arm->place : node->place,
		             "a session needs the key arm, a list of what it arms");
	for (size_t i = 0; arm && arm->type == CONFIG_LIST && i < arm->n; i++)
		entry_parse(config, session, &pairs, arm->children[i]);
	free(pairs.list);
}

static void tree_apply(struct config *config, const struct config_node *tree)
{
	const struct config_node *sessions = NULL;

	if (tree->type != CONFIG_MAP) {
		config_error(config, tree->place, "the file must begin with 'sessions:'");
		return;
	}
	for (size_t i = 0; i + 1 < tree->n; i += 2) {
		const struct config_node *name = tree->children[i];

		if (name->type != CONFIG_SCALAR || strcmp(name->text, "sessions"))
			config_error(config, name->place, "unknown key '%s'; the file has one key, sessions",
			             name->type == CONFIG_SCALAR ? name->text : "[...]");
		else if (sessions)
			config_error(config, name->place, "'sessions' is given twice");
		else
			sessions = tree->children[i + 1];
	}
	if (!sessions && !config->errors)
		config_error(config, tree->place, "the file has no key sessions");
	if (!sessions)
		return;
	if (sessions->type != CONFIG_LIST)
		config_error(config, sessions->place, "sessions: give a list, as in '- session: NAME'");
	for (size_t i = 0; sessions->type == CONFIG_LIST && i < sessions->n; i++)
		session_parse(config, sessions->children[i]);
}

bool config_parse(struct config *config, const char *bytes, size_t size)
{
	struct config_node *tree;
	struct config_place place;
	char *error;

	if (!config_tree_parse(bytes, size, &tree, &place, &error)) {
		config_error(config, place, "%s", error);
		free(error);
		return false;
	}
	if (tree)
		tree_apply(config, tree);
	else
		config_error(config, (struct config_place){ 0, 0 },
		             "the file is empty; 'sessions: []' describes that nothing is armed");
	config_tree_free(tree);
	if (config->errors > ERRORS_MAX)
		ui_error(config->options, "%s: %zu more errors", config->path, config->errors - ERRORS_MAX);
	return !config->errors;
}

void config_unread_free(struct config_unread *unread)
{
	for (size_t i = 0; i < unread->n; i++)
		free(unread->messages[i]);
	free(unread->messages);
	*unread = (struct config_unread){ 0 };
}

void config_free(struct config *config)
{
	for (size_t i = 0; i < config->n; i++) {
		for (size_t k = 0; k < config->sessions[i].n; k++)
			entry_release(&config->sessions[i].entries[k]);
		free(config->sessions[i].entries);
		free(config->sessions[i].name);
	}
	free(config->sessions);
	for (size_t i = 0; i < config->nstrings; i++)
		free(config->strings[i]);
	free(config->strings);
	free(config->real_path);
	config_unread_free(&config->unread);
	*config = (struct config){ .options = config->options };
}
