// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The plugin's arguments, and the file of rules. A rule is a line:
 *
 *     probe|skip FUNCTION [file=GLOB] [min-size=N] [sites=entry|return|both] [inlined=yes|no] [provider=NAME]
 *
 * Blanks separate words. Double quotes enclose a word that contains blanks. A comment
 * starts with #.
 */
#include "parts.h"

#define ARGUMENT "-fplugin-arg-" PLUGIN_NAME "-"

static void usage_print(void)
{
	inform(UNKNOWN_LOCATION, "%<" ARGUMENT "functions=GLOB[,GLOB]...%>: probe functions of these names");
	inform(UNKNOWN_LOCATION, "%<" ARGUMENT "exclude=GLOB[,GLOB]...%>: except functions of these names");
	inform(UNKNOWN_LOCATION, "%<" ARGUMENT "files=GLOB[,GLOB]...%>: probe only functions that these files define");
	inform(UNKNOWN_LOCATION, "%<" ARGUMENT "min-size=N%>: probe only functions of N GIMPLE statements or more");
	inform(UNKNOWN_LOCATION, "%<" ARGUMENT "sites=entry|return|both%>: place these sites (default: both)");
	inform(UNKNOWN_LOCATION, "%<" ARGUMENT "inlined=yes|no%>: place sites in inlined copies too (default: yes)");
	inform(UNKNOWN_LOCATION, "%<" ARGUMENT "provider=NAME%>: name the provider (default: the source file%'s base name)");
	inform(UNKNOWN_LOCATION, "%<" ARGUMENT "rules=FILE%>: read rules, which come before the other arguments");
	inform(UNKNOWN_LOCATION, "%<" ARGUMENT "marked%>: probe functions with %<__attribute__((probe))%>, as the other arguments do too");
}

/* ---- settings, which arguments and rules share ---------------------------- */

/* Splits value at commas outside of parentheses. Returns false after an error message. */
static bool globs_read(const char *where, const char *key, const std::string &value, std::vector<std::string> *globs)
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
			error("%s: argument %qs: empty pattern in %qs", where, key, value.c_str());
			return false;
		}
		globs->push_back(glob);
		glob.clear();
	}
	return true;
}

/* Always returns false. */
static bool value_error(const char *where, const std::string &key, const std::string &value, const char *expected)
{
	error("%s: argument %qs: invalid value %qs: expected %s", where, key.c_str(), value.c_str(), expected);
	return false;
}

static bool provider_read(const char *where, const std::string &value, std::string *provider)
{
	if (!is_identifier(value)) {
		error("%s: invalid provider %qs: not an identifier", where, value.c_str());
		return false;
	}
	if (!provider->empty() && *provider != value) {
		error("%s: conflicting providers %qs and %qs", where, provider->c_str(), value.c_str());
		return false;
	}
	*provider = value;
	return true;
}

/* Reads a setting into *rule. Returns false after an error message, or with *known false if key is not a setting. */
static bool setting_read(const char *where, const std::string &key, const std::string &value, struct rule *rule,
                         bool *known)
{
	*known = true;
	if (key == "min-size") {
		if (value.empty() || value.size() > 8 || value.find_first_not_of("0123456789") != std::string::npos)
			return value_error(where, key, value, "a number of statements");
		rule->min_size = atoi(value.c_str());
		return true;
	}
	if (key == "sites") {
		if (value != "entry" && value != "return" && value != "both")
			return value_error(where, key, value, "'entry', 'return' or 'both'");
		rule->entry = value != "return";
		rule->returns = value != "entry";
		return true;
	}
	if (key == "inlined") {
		if (value != "yes" && value != "no")
			return value_error(where, key, value, "'yes' or 'no'");
		rule->inlined = value == "yes";
		return true;
	}
	*known = false;
	return false;
}

/* ---- rules ---------------------------------------------------------------- */

/* Splits a line into words, without their quotes. Returns false if a quote is not terminated. */
static bool line_split(const char *line, std::vector<std::string> *words)
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

/* A word of a rule after its pattern. */
static bool rule_word_read(const char *where, const std::string &word, struct rule *rule)
{
	size_t is = word.find('=');
	std::string key = word.substr(0, is), value = is == std::string::npos ? "" : word.substr(is + 1);
	bool known, right = setting_read(where, key, value, rule, &known);

	if (known)
		return right;
	if (key == "file")
		return globs_read(where, "file", value, &rule->files);
	if (key != "provider") {
		error("%s: unknown setting %qs", where, word.c_str());
		return false;
	}
	if (value == "func") {
		error("%s: invalid provider %<func%>: the name is reserved for code without a note", where);
		return false;
	}
	return provider_read(where, value, &rule->provider);
}

static bool rule_read(const char *where, const char *line)
{
	std::vector<std::string> words;
	struct rule rule;

	if (!line_split(line, &words)) {
		error("%s: unterminated quote", where);
		return false;
	}
	if (words.empty())
		return true;
	if (words[0] != "probe" && words[0] != "skip") {
		error("%s: invalid rule %qs: expected %<probe%> or %<skip%>", where, words[0].c_str());
		return false;
	}
	if (words.size() < 2 || words[1].empty()) {
		error("%s: rule %qs: missing function pattern", where, words[0].c_str());
		return false;
	}
	rule.skip = words[0] == "skip";
	rule.functions.push_back(words[1]);
	for (size_t i = 2; i < words.size(); i++)
		if (!rule_word_read(where, words[i], &rule))
			return false;
	choice.rules.push_back(rule);
	return true;
}

static bool rules_read(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[4096];
	bool right = true;

	if (!file) {
		error(PLUGIN_NAME ": cannot read rules %qs: %m", path);
		return false;
	}
	choice.files.push_back(path);
	for (unsigned n = 1; right && fgets(line, sizeof line, file); n++) {
		std::string where = std::string(path) + ":" + std::to_string(n);

		if (!strchr(line, '\n') && !feof(file)) {
			error("%s: line too long (maximum %d bytes)", where.c_str(), (int)sizeof line - 2);
			right = false;
			break;
		}
		right = rule_read(where.c_str(), line);
	}
	if (right && ferror(file)) {
		error(PLUGIN_NAME ": cannot read rules %qs: %m", path);
		right = false;
	}
	fclose(file);
	return right;
}

/* ---- arguments ------------------------------------------------------------ */

/* Sets *chosen if the argument names functions to probe. */
static bool argument_read(const struct plugin_argument *arg, struct rule *rule, bool *chosen)
{
	const char *value = arg->value ? arg->value : "";
	bool known;
	bool right = setting_read(PLUGIN_NAME, arg->key, value, rule, &known);

	if (known)
		return right;
	*chosen |= !strcmp(arg->key, "functions") || !strcmp(arg->key, "rules") || !strcmp(arg->key, "marked");
	if (!strcmp(arg->key, "functions"))
		return globs_read(PLUGIN_NAME, arg->key, value, &rule->functions);
	if (!strcmp(arg->key, "exclude"))
		return globs_read(PLUGIN_NAME, arg->key, value, &rule->exclude);
	if (!strcmp(arg->key, "files"))
		return globs_read(PLUGIN_NAME, arg->key, value, &rule->files);
	if (!strcmp(arg->key, "provider"))
		return provider_read(PLUGIN_NAME, value, &choice.provider);
	if (!strcmp(arg->key, "rules"))
		return rules_read(value);
	if (!strcmp(arg->key, "marked"))
		return true;
	error(PLUGIN_NAME ": unknown argument %qs", arg->key);
	usage_print();
	return false;
}

bool arguments_read(const struct plugin_name_args *args)
{
	struct rule rule;
	bool chosen = false;

	for (int i = 0; i < args->argc; i++)
		if (!argument_read(&args->argv[i], &rule, &chosen))
			return false;
	/* The link of LTO needs no choice, because the compilation has placed the sites. */
	if (!chosen && strcmp(lang_hooks.name, "GNU GIMPLE")) {
		error(PLUGIN_NAME ": no functions to probe given");
		usage_print();
		return false;
	}
	if (!rule.functions.empty())
		choice.rules.push_back(rule);
	return true;
}
