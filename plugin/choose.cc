// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Which functions are probed, and what their probes are called.
 *
 * A probe's name is an identifier: ns::shape::area is ns__shape__area, and
 * operators and destructors are spelt out (operator_plus, _dtor). Functions that
 * come out alike (overloads, instances of one template) are told apart in the
 * order of their declaration: area, area_2, area_3. The count takes in functions
 * that are not probed, so that narrowing functions= renames nothing.
 */
#include "parts.h"

#include <fnmatch.h>

struct choice choice;

static std::map<unsigned, probed> survey; /* by DECL_UID */

static bool provider_settle(void)
{
	if (choice.provider.empty()) {
		std::string base = lbasename(main_input_filename ? main_input_filename : "");
		size_t dot = base.find('.', 1);

		choice.provider = identifier_of(base.substr(0, dot));
	}
	if (choice.provider != "func")
		return true;
	error(PLUGIN_NAME ": a provider cannot be called %<func%>, which stands for code without a note; "
			  "name another with %<-fplugin-arg-" PLUGIN_NAME "-provider=NAME%>");
	return false;
}

/* ---- names -------------------------------------------------------------------- */

static const struct {
	const char *sign, *word;
} operators[] = {
	{ "new[]", "new_array" }, { "delete[]", "delete_array" }, { "->*", "member_of" }, { "<=>", "compare" },
	{ "<<=", "shift_left_assign" }, { ">>=", "shift_right_assign" }, { "->", "arrow" }, { "()", "call" },
	{ "[]", "index" }, { "==", "equal" }, { "!=", "unequal" }, { "<=", "at_most" }, { ">=", "at_least" },
	{ "<<", "shift_left" }, { ">>", "shift_right" }, { "&&", "and" }, { "||", "or" }, { "++", "increment" },
	{ "--", "decrement" }, { "+=", "plus_assign" }, { "-=", "minus_assign" }, { "*=", "times_assign" },
	{ "/=", "divide_assign" }, { "%=", "modulo_assign" }, { "&=", "bit_and_assign" }, { "|=", "bit_or_assign" },
	{ "^=", "bit_xor_assign" }, { "=", "assign" }, { "<", "less" }, { ">", "greater" }, { "+", "plus" },
	{ "-", "minus" }, { "*", "times" }, { "/", "divide" }, { "%", "modulo" }, { "&", "bit_and" },
	{ "|", "bit_or" }, { "^", "bit_xor" }, { "!", "not" }, { "~", "bit_not" }, { ",", "comma" },
	{ "\"\"", "literal" },
};

static void replace_all(std::string *text, const std::string &from, const std::string &to)
{
	for (size_t at = text->find(from); at != std::string::npos; at = text->find(from, at + to.size()))
		text->replace(at, from.size(), to);
}

/* "a<b<c>>::d(e)::f" -> "a::d::f"; the signs of operators are words by now. */
static std::string without_arguments(const std::string &text)
{
	std::string plain;
	int depth = 0;

	for (char c : text) {
		if (c == '<' || c == '(')
			depth++;
		else if ((c == '>' || c == ')') && depth)
			depth--;
		else if (!depth)
			plain += c;
	}
	return plain;
}

static std::string probe_name(const std::string &function)
{
	std::string text = function, id;
	size_t at = text.rfind("operator");

	if (at != std::string::npos && (!at || text[at - 1] == ':') && text[at + 8] && !ISALNUM(text[at + 8]) &&
	    text[at + 8] != '_') {
		std::string rest = text.substr(at + 8 + (text[at + 8] == ' '));

		for (const auto &op : operators) {
			if (rest.compare(0, strlen(op.sign), op.sign))
				continue;
			text = text.substr(0, at) + "operator_" + op.word + rest.substr(strlen(op.sign));
			break;
		}
	}
	replace_all(&text, "{anonymous}", "anonymous");
	replace_all(&text, "<lambda", "lambda<");
	text = without_arguments(text);
	for (size_t i = 0; i < text.size(); i++) {
		if (!text.compare(i, 2, "::")) {
			id += "__";
			i++;
		} else if (text[i] == '~') {
			/* ns::shape::~shape: the class stands before it already */
			id = id.substr(0, id.size() - (id.size() >= 2 ? 2 : 0)) + "_dtor";
			break;
		} else {
			id += text[i];
		}
	}
	return identifier_of(id);
}

/* ---- the choice --------------------------------------------------------------- */

static bool matches(const std::vector<std::string> &globs, const std::string &function, tree decl)
{
	const char *plain = DECL_NAME(decl) ? IDENTIFIER_POINTER(DECL_NAME(decl)) : "";
	std::string bare = without_arguments(function);

	for (const std::string &glob : globs)
		if (!fnmatch(glob.c_str(), plain, 0) || !fnmatch(glob.c_str(), function.c_str(), 0) ||
		    !fnmatch(glob.c_str(), bare.c_str(), 0))
			return true;
	return false;
}

/* Functions that people wrote, and here. */
static bool is_candidate(tree decl)
{
	cgraph_node *node = cgraph_node::get(decl);

	if (!DECL_NAME(decl) || node->thunk || !gimple_has_body_p(decl))
		return false;
	if (DECL_ARTIFICIAL(decl) && function_text(decl).find("<lambda") == std::string::npos)
		return false;
	if (lookup_attribute("no_instrument_function", DECL_ATTRIBUTES(decl)) ||
	    lookup_attribute("naked", DECL_ATTRIBUTES(decl)))
		return false;
	if (in_system_header_at(DECL_SOURCE_LOCATION(decl)))
		return false;
	/* The destructor that also frees calls the one that does not. */
	return strcmp(IDENTIFIER_POINTER(DECL_NAME(decl)), "__dt_del ");
}

static bool by_uid(tree a, tree b)
{
	return DECL_UID(a) < DECL_UID(b);
}

void functions_survey(void)
{
	std::map<std::string, std::vector<tree>> named;
	std::vector<tree> decls, resolvers;
	cgraph_node *node;

	if (!provider_settle())
		return;
	FOR_EACH_FUNCTION(node) {
		if (node->alias && node->ifunc_resolver && node->get_alias_target())
			resolvers.push_back(node->get_alias_target()->decl);
		else if (!node->alias && is_candidate(node->decl))
			decls.push_back(node->decl);
	}
	std::sort(decls.begin(), decls.end(), by_uid);

	for (tree decl : decls) {
		std::string function = function_text(decl), name = probe_name(function);
		/* The variants of one constructor are one function to whoever wrote it. */
		tree origin = DECL_ABSTRACT_ORIGIN(decl) ? DECL_ABSTRACT_ORIGIN(decl) : decl;
		std::vector<tree> &same = named[name];
		size_t nth = std::find(same.begin(), same.end(), origin) - same.begin();

		if (nth == same.size())
			same.push_back(origin);
		if (nth)
			name += "_" + std::to_string(nth + 1);
		if (!matches(choice.functions, function, decl) || matches(choice.exclude, function, decl))
			continue;
		if (std::find(resolvers.begin(), resolvers.end(), decl) != resolvers.end())
			continue;
		probed &probed = survey[DECL_UID(decl)];
		probed.name = name;
		probed.shared = DECL_COMDAT(decl) || DECL_ONE_ONLY(decl) || DECL_DECLARED_INLINE_P(decl) ||
				strcmp(LOCATION_FILE(DECL_SOURCE_LOCATION(decl)), main_input_filename);
		signature_make(decl, &probed);
	}
}

const struct probed *function_probed(tree decl)
{
	auto found = survey.find(DECL_UID(decl));

	return found == survey.end() ? NULL : &found->second;
}
