// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The plugin's arguments, and the file of rules. A rule is a line:
 *
 *     probe|skip FUNCTION [file=GLOB] [min-size=N] [sites=entry|return|both] [inlined=yes|no] [provider=NAME]
 *
 * Words are separated by blanks; one with blanks in it stands in double quotes.
 * What follows a # is a comment.
 */
#include "parts.h"

#define ARGUMENT "-fplugin-arg-" PLUGIN_NAME "-"

static const char *const usage[] = {
	"%<" ARGUMENT "functions=GLOB[,GLOB]...%>: functions to probe",
	"%<" ARGUMENT "exclude=GLOB[,GLOB]...%>: but not these",
	"%<" ARGUMENT "files=GLOB[,GLOB]...%>: only functions of these files",
	"%<" ARGUMENT "min-size=N%>: only those of N statements or more",
	"%<" ARGUMENT "sites=entry|return|both%>: where (both)",
	"%<" ARGUMENT "inlined=yes|no%>: in inlined copies too (yes)",
	"%<" ARGUMENT "provider=NAME%>: instead of the source file%'s base name",
	"%<" ARGUMENT "rules=FILE%>: rules that come before these",
	"%<" ARGUMENT "marked%>: functions with %<__attribute__((probe))%>, which all the others do too",
};

static void tell_usage(void)
{
	for (const char *line : usage)
		inform(UNKNOWN_LOCATION, line);
}

/* At commas that stand in no brackets. */
static bool add_globs(const char *where, const char *key, const std::string &value, std::vector<std::string> *globs)
{
	std::string glob;
	int depth = 0;

	for (size_t i = 0; i <= value.size(); i++) {
		char c = value.c_str()[i];

		depth += (c == '(') - (c == ')');
		if (c && (c != ',' || depth > 0)) {
			glob += c;
			continue;
		}
		if (glob.empty()) {
			error("%s: argument %qs has an empty pattern: %qs", where, key, value.c_str());
			return false;
		}
		globs->push_back(glob);
		glob.clear();
	}
	return true;
}

static bool wrong_value(const char *where, const std::string &key, const std::string &value, const char *wanted)
{
	error("%s: argument %qs is %s, not %qs", where, key.c_str(), wanted, value.c_str());
	return false;
}

static bool read_provider(const char *where, const std::string &value, std::string *provider)
{
	if (!is_identifier(value)) {
		error("%s: provider %qs is no identifier", where, value.c_str());
		return false;
	}
	if (!provider->empty() && *provider != value) {
		error("%s: two providers, %qs and %qs", where, provider->c_str(), value.c_str());
		return false;
	}
	*provider = value;
	return true;
}

/* What stands in a rule and in the arguments alike. *known is false where key is something else. */
static bool read_setting(const char *where, const std::string &key, const std::string &value, struct rule *rule,
			 bool *known)
{
	*known = true;
	if (key == "min-size") {
		if (value.empty() || value.size() > 8 || value.find_first_not_of("0123456789") != std::string::npos)
			return wrong_value(where, key, value, "a number of statements");
		rule->min_size = atoi(value.c_str());
		return true;
	}
	if (key == "sites") {
		if (value != "entry" && value != "return" && value != "both")
			return wrong_value(where, key, value, "'entry', 'return' or 'both'");
		rule->entry = value != "return";
		rule->returns = value != "entry";
		return true;
	}
	if (key == "inlined") {
		if (value != "yes" && value != "no")
			return wrong_value(where, key, value, "'yes' or 'no'");
		rule->inlined = value == "yes";
		return true;
	}
	*known = false;
	return false;
}

/* ---- rules ------------------------------------------------------------------------- */

/* The words of a line, their quotes taken off. False: a quote does not end. */
static bool split(const char *line, std::vector<std::string> *words)
{
	while (true) {
		std::string word;
		bool quoted = false;

		line += strspn(line, " \t\r\n");
		if (!*line || *line == '#')
			return true;
		for (; *line && (quoted || !strchr(" \t\r\n", *line)); line++) {
			if (*line == '"')
				quoted = !quoted;
			else
				word += *line;
		}
		if (quoted)
			return false;
		words->push_back(word);
	}
}

static bool read_rule(const char *where, const char *line)
{
	std::vector<std::string> words;
	struct rule rule;

	if (!split(line, &words)) {
		error("%s: a quote is not closed", where);
		return false;
	}
	if (words.empty())
		return true;
	if (words[0] != "probe" && words[0] != "skip") {
		error("%s: a rule starts with %<probe%> or %<skip%>, not %qs", where, words[0].c_str());
		return false;
	}
	if (words.size() < 2 || words[1].empty()) {
		error("%s: %qs which functions? a pattern is missing", where, words[0].c_str());
		return false;
	}
	rule.skip = words[0] == "skip";
	rule.functions.push_back(words[1]);
	for (size_t i = 2; i < words.size(); i++) {
		size_t is = words[i].find('=');
		std::string key = words[i].substr(0, is), value = is == std::string::npos ? "" : words[i].substr(is + 1);
		bool known, right = read_setting(where, key, value, &rule, &known);

		if (known && !right)
			return false;
		if (known)
			continue;
		if (key == "file") {
			if (!add_globs(where, "file", value, &rule.files))
				return false;
		} else if (key == "provider") {
			if (!read_provider(where, value, &rule.provider))
				return false;
			if (value == "func") {
				error("%s: a provider cannot be called %<func%>, which stands for code without a note", where);
				return false;
			}
		} else {
			error("%s: %qs is nothing that a rule knows", where, words[i].c_str());
			return false;
		}
	}
	choice.rules.push_back(rule);
	return true;
}

static bool read_rules(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[4096];
	bool right = true;

	if (!file) {
		error(PLUGIN_NAME ": rules %qs cannot be read: %m", path);
		return false;
	}
	choice.files.push_back(path);
	for (unsigned n = 1; right && fgets(line, sizeof line, file); n++) {
		std::string where = std::string(path) + ":" + std::to_string(n);

		if (!strchr(line, '\n') && !feof(file)) {
			error("%s: line too long", where.c_str());
			right = false;
			break;
		}
		right = read_rule(where.c_str(), line);
	}
	if (right && ferror(file)) {
		error(PLUGIN_NAME ": rules %qs cannot be read: %m", path);
		right = false;
	}
	fclose(file);
	return right;
}

/* ---- arguments ---------------------------------------------------------------------- */

static bool read_argument(const struct plugin_argument *arg, struct rule *rule, bool *chosen)
{
	const char *value = arg->value ? arg->value : "";
	bool known;
	bool right = read_setting(PLUGIN_NAME, arg->key, value, rule, &known);

	if (known)
		return right;
	*chosen |= !strcmp(arg->key, "functions") || !strcmp(arg->key, "rules") || !strcmp(arg->key, "marked");
	if (!strcmp(arg->key, "functions"))
		return add_globs(PLUGIN_NAME, arg->key, value, &rule->functions);
	if (!strcmp(arg->key, "exclude"))
		return add_globs(PLUGIN_NAME, arg->key, value, &rule->exclude);
	if (!strcmp(arg->key, "files"))
		return add_globs(PLUGIN_NAME, arg->key, value, &rule->files);
	if (!strcmp(arg->key, "provider"))
		return read_provider(PLUGIN_NAME, value, &choice.provider);
	if (!strcmp(arg->key, "rules"))
		return read_rules(value);
	if (!strcmp(arg->key, "marked"))
		return true;
	error(PLUGIN_NAME ": unknown argument %qs", arg->key);
	tell_usage();
	return false;
}

bool arguments_read(const struct plugin_name_args *args)
{
	struct rule rule;
	bool chosen = false;

	for (int i = 0; i < args->argc; i++)
		if (!read_argument(&args->argv[i], &rule, &chosen))
			return false;
	/* At link time the sites are there already; what was asked for when compiling is of no matter. */
	if (!chosen && strcmp(lang_hooks.name, "GNU GIMPLE")) {
		error(PLUGIN_NAME ": no functions to probe were named");
		tell_usage();
		return false;
	}
	if (!rule.functions.empty())
		choice.rules.push_back(rule);
	return true;
}
