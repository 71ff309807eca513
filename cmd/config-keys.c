/* SPDX-License-Identifier: MIT */
/*
 * The keys of sessions and entries. The parser of an option also parses the key of the same name, so that both accept the same
 * values and report the same errors.
 */
#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/budget.h"
#include "cmd/config.h"
#include "cmd/suggest.h"

enum key_kind {
	KEY_TEXT,
	KEY_LIST, /* a text or a list of texts */
	KEY_PAIR, /* a list of two texts */
	KEY_FLAG  /* true or false */
};

struct config_key {
	const char *name;
	unsigned where; /* CONFIG_IN_ */
	enum key_kind kind;
	/* Sets the value, if it is not an option of options_arming. NULL: it is one. Returns an error message or NULL. */
	char *(*set)(struct config_entry *entry, const char *text);
};

/* ---- keys that are not options of all commands that arm ---- */

static char *probes_set(struct config_entry *entry, const char *text)
{
	struct pp_request *request;
	char *error = NULL;

	options_append(&entry->arming.patterns, &entry->arming.npatterns, text);
	if (pp_request_new(&request))
		alloc_failed();
	if (pp_request_pattern(request, text))
		error = xstrdup(pp_error());
	pp_request_free(request);
	return error;
}

static char *file_set(struct config_entry *entry, const char *text)
{
	if (text[0] != '/')
		return xasprintf("'%s' is not an absolute path", text);
	options_append(&entry->options.files, &entry->options.nfiles, text);
	return NULL;
}

static char *process_set(struct config_entry *entry, const char *text)
{
	entry->process = text;
	return NULL;
}

static char *service_set(struct config_entry *entry, const char *text)
{
	if (strchr(text, '/') || text[0] == '.')
		return xasprintf("'%s' is not the name of a unit, such as nginx.service", text);
	entry->service = text;
	return NULL;
}

static char *build_id_set(struct config_entry *entry, const char *text)
{
	size_t digits = strspn(text, "0123456789abcdefABCDEF");

	if (text[digits] || digits < 8)
		return xasprintf("'%s' is not a build-id; give 8 or more of its hexadecimal digits", text);
	options_append(&entry->build_ids, &entry->nbuild_ids, text);
	return NULL;
}

static char *budget_set(struct config_entry *entry, const char *text)
{
	entry->arming.budget = budget_parse(text);
	if (entry->arming.budget >= 0)
		return NULL;
	return xasprintf("invalid budget '%s'; give a share of a CPU, as in 5%% or 0.5%%, or off", text);
}

static char *record_set(struct config_entry *entry, const char *text)
{
	(void)text;
	entry->arming.record = true;
	return NULL;
}

static char *overwrite_set(struct config_entry *entry, const char *text)
{
	(void)text;
	entry->arming.record = entry->arming.overwrite = true;
	return NULL;
}

static char *flight_set(struct config_entry *entry, const char *text)
{
	struct argp_state state = { .flags = ARGP_NO_ERRS };
	char *error = NULL;

	if (arming_parse_flight(&state, &entry->options, &entry->arming, text)) {
		error = entry->options.usage_error;
		entry->options.usage_error = NULL;
	}
	return error;
}

static char *calls_set(struct config_entry *entry, const char *text)
{
	(void)text;
	entry->arming.calls = true;
	return NULL;
}

/* In the order of the canonical text. */
static const struct config_key keys[] = {
	{ "probes", CONFIG_IN_ENTRY, KEY_LIST, probes_set },
	{ "file", CONFIG_IN_ENTRY, KEY_LIST, file_set },
	{ "build-id", CONFIG_IN_ENTRY, KEY_LIST, build_id_set },
	{ "process", CONFIG_IN_ENTRY, KEY_TEXT, process_set },
	{ "service", CONFIG_IN_ENTRY, KEY_TEXT, service_set },
	{ "cgroup", CONFIG_IN_ENTRY, KEY_TEXT, NULL },
	{ "children", CONFIG_IN_ENTRY, KEY_FLAG, NULL },
	{ "pgrp", CONFIG_IN_ENTRY, KEY_FLAG, NULL },
	{ "backend", CONFIG_IN_ENTRY | CONFIG_IN_SESSION, KEY_TEXT, NULL },
	{ "if", CONFIG_IN_ENTRY, KEY_TEXT, NULL },
	{ "min-duration", CONFIG_IN_ENTRY, KEY_TEXT, NULL },
	{ "latency", CONFIG_IN_ENTRY, KEY_PAIR, NULL },
	{ "on", CONFIG_IN_ENTRY, KEY_TEXT, NULL },
	{ "maxactive", CONFIG_IN_ENTRY, KEY_TEXT, NULL },
	{ "agg", CONFIG_IN_ENTRY, KEY_TEXT, NULL },
	{ "agg-size", CONFIG_IN_ENTRY, KEY_TEXT, NULL },
	{ "print", CONFIG_IN_ENTRY, KEY_LIST, NULL },
	{ "strlen", CONFIG_IN_ENTRY, KEY_TEXT, NULL },
	{ "string", CONFIG_IN_ENTRY, KEY_LIST, NULL },
	{ "no-string", CONFIG_IN_ENTRY, KEY_LIST, NULL },
	{ "uretprobe", CONFIG_IN_ENTRY, KEY_FLAG, NULL },
	{ "fast", CONFIG_IN_ENTRY, KEY_FLAG, NULL },
	{ "record", CONFIG_IN_ENTRY | CONFIG_IN_SESSION, KEY_FLAG, record_set },
	{ "overwrite", CONFIG_IN_ENTRY | CONFIG_IN_SESSION, KEY_FLAG, overwrite_set },
	{ "flight-recorder", CONFIG_IN_ENTRY | CONFIG_IN_SESSION, KEY_TEXT, flight_set },
	{ "system-calls", CONFIG_IN_ENTRY | CONFIG_IN_SESSION, KEY_FLAG, calls_set },
	{ "buffer", CONFIG_IN_ENTRY | CONFIG_IN_SESSION, KEY_TEXT, NULL },
	{ "budget", CONFIG_IN_ENTRY | CONFIG_IN_SESSION, KEY_TEXT, budget_set },
	{ "yes", CONFIG_IN_ENTRY | CONFIG_IN_SESSION, KEY_FLAG, NULL },
};
enum { NKEYS = sizeof(keys) / sizeof(*keys) };

/* Options that a file cannot have, and why. */
static const struct {
	const char *name, *instead;
} others[] = {
	{ "pid", "a file outlives processes; name them by process or service" },
	{ "for", "what a file describes stays armed; disarm it by removing it from the file" },
	{ "until-exit", "what a file describes stays armed; disarm it by removing it from the file" },
	{ "inject", "run probe-enable --inject -p PID, or preload the agent in the service's environment" },
};

/* ---- finding a key ---- */

static void key_report_unknown(struct config *config, const struct config_node *name, unsigned where)
{
	const char *words[NKEYS + 2], *similar;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (!strcmp(name->text, others[i].name)) {
			config_error(config, name->place, "'%s' cannot be given in a file: %s", name->text,
			             others[i].instead);
			return;
		}
	for (size_t i = 0; i < NKEYS; i++) {
		if (!strcmp(name->text, keys[i].name)) {
			config_error(config, name->place, "'%s' is a key of entries; move it into an entry of arm",
			             name->text);
			return;
		}
		if (keys[i].where & where)
			words[n++] = keys[i].name;
	}
	if (where == CONFIG_IN_SESSION) {
		words[n++] = "session";
		words[n++] = "arm";
	}
	similar = suggest_word(name->text, words, n);
	config_error(config, name->place, "unknown key '%s'%s%s%s", name->text, similar ? "; did you mean '" : "",
	             similar ? similar : "", similar ? "'?" : "");
}

const struct config_key *config_key_find(struct config *config, const struct config_node *name, unsigned where)
{
	for (size_t i = 0; i < NKEYS && name->type == CONFIG_SCALAR; i++)
		if ((keys[i].where & where) && !strcmp(name->text, keys[i].name))
			return &keys[i];
	if (name->type == CONFIG_SCALAR)
		key_report_unknown(config, name, where);
	else
		config_error(config, name->place, "a key must be a word");
	return NULL;
}

/* ---- options ---- */

static error_t option_parse(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key != ARGP_KEY_INIT)
		return ARGP_ERR_UNKNOWN;
	options_children(state, options_arming, state->input);
	return 0;
}

/* ---- values ---- */

static const char *config_keep(struct config *config, char *string)
{
	config->strings = xreallocarray(config->strings, config->nstrings + 1, sizeof(*config->strings));
	return config->strings[config->nstrings++] = string;
}

/*
 * Lets the parser of the command line parse an option. second: the word after its argument; NULL: none. The words live as long as the
 * configuration, because options point into them. Returns an error message or NULL.
 */
static char *option_set(struct config *config, struct options *options, const char *name, const char *text,
                        const char *second)
{
	static const struct argp argp = { .parser = option_parse, .children = options_arming };
	char *word = text ? xasprintf("--%s=%s", name, text) : xasprintf("--%s", name);
	char program[] = "config", *argv[] = { program, word, NULL, NULL }, *error = NULL;
	error_t err;

	config_keep(config, word);
	if (second)
		config_keep(config, argv[2] = xstrdup(second));
	err = argp_parse(&argp, second ? 3 : 2, argv, ARGP_IN_ORDER | ARGP_NO_ERRS | ARGP_NO_EXIT | ARGP_NO_HELP, NULL,
	                 options);
	if (!err)
		return NULL;
	error = options->usage_error ? options->usage_error : xstrdup("invalid value");
	options->usage_error = NULL;
	return error;
}

/* Reports the message without the "--NAME: " of the command line. */
static void key_report(struct config *config, const struct config_key *key, struct config_place place, char *error)
{
	size_t length = strlen(key->name);
	const char *text = error;

	if (!strncmp(text, "--", 2) && !strncmp(text + 2, key->name, length) && !strncmp(text + 2 + length, ": ", 2))
		text += length + 4;
	config_error(config, place, "%s: %s", key->name, text);
	free(error);
}

static void text_apply(struct config *config, struct config_entry *entry, const struct config_key *key,
                       const struct config_node *value)
{
	char *error;

	if (value->type != CONFIG_SCALAR || !value->text[0]) {
		config_error(config, value->place, "%s: give a text%s", key->name,
		             key->kind == KEY_LIST ? " or a list of texts" : "");
		return;
	}
	error = key->set ? key->set(entry, config_keep(config, xstrdup(value->text)))
	                 : option_set(config, &entry->options, key->name, value->text, NULL);
	if (error)
		key_report(config, key, value->place, error);
}

static bool flag_value(const struct config_node *value, bool *on)
{
	static const char *const words[] = { "false", "true", "no", "yes" };

	for (size_t i = 0; value->type == CONFIG_SCALAR && i < 4; i++)
		if (!strcmp(value->text, words[i])) {
			*on = i % 2;
			return true;
		}
	return false;
}

static void flag_apply(struct config *config, struct config_entry *entry, const struct config_key *key,
                       const struct config_node *value)
{
	char *error;
	bool on;

	if (!flag_value(value, &on)) {
		config_error(config, value->place, "%s: give true or false", key->name);
		return;
	}
	if (!on)
		return;
	error = key->set ? key->set(entry, "") : option_set(config, &entry->options, key->name, NULL, NULL);
	if (error)
		key_report(config, key, value->place, error);
}

static void pair_apply(struct config *config, struct config_entry *entry, const struct config_key *key,
                       const struct config_node *value)
{
	char *error;

	if (value->type != CONFIG_LIST || value->n != 2 || value->children[0]->type != CONFIG_SCALAR ||
	    value->children[1]->type != CONFIG_SCALAR) {
		config_error(config, value->place, "%s: give a list of two probes, as in [BEGIN, END]", key->name);
		return;
	}
	error = option_set(config, &entry->options, key->name, value->children[0]->text, value->children[1]->text);
	if (error)
		key_report(config, key, value->place, error);
}

void config_key_apply(struct config *config, struct config_entry *entry, const struct config_key *key,
                      const struct config_node *value)
{
	switch (key->kind) {
	case KEY_FLAG: flag_apply(config, entry, key, value); break;
	case KEY_PAIR: pair_apply(config, entry, key, value); break;
	case KEY_TEXT: text_apply(config, entry, key, value); break;
	case KEY_LIST:
		if (value->type != CONFIG_LIST || !value->n)
			text_apply(config, entry, key, value);
		else
			for (size_t i = 0; i < value->n; i++)
				text_apply(config, entry, key, value->children[i]);
	}
}

static void value_print(FILE *out, const struct config_key *key, const char *text)
{
	fprintf(out, "%s=", key->name);
	for (; *text; text++)
		putc(*text == '\n' ? '\r' : *text, out);
	putc('\n', out);
}

void config_key_print(FILE *out, const struct config_key *key, const struct config_node *value)
{
	bool on = false;

	if (key->kind == KEY_FLAG && flag_value(value, &on))
		value_print(out, key, on ? "true" : "false");
	else if (value->type == CONFIG_SCALAR)
		value_print(out, key, value->text);
	for (size_t i = 0; i < value->n; i++)
		if (value->children[i]->type == CONFIG_SCALAR)
			value_print(out, key, value->children[i]->text);
}
