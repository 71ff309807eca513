// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Which functions are probed, and the names of their probes.
 *
 * The first of these that applies to a function decides:
 *
 *   1. its attribute no_probe, then its attribute probe
 *   2. a rule of rules=FILE, in the order of the file
 *   3. the rule that the plugin's other arguments make up
 *
 * A rule applies if all its conditions hold. If nothing applies, the function is not
 * probed.
 *
 * Functions that would get the same name (overloads, instances of one template) are
 * numbered in the order of their declaration: area, area_2, area_3. Functions that are
 * not probed are numbered too, so that a narrower choice renames no probe.
 */
#include "parts.h"

#include <fnmatch.h>

struct choice choice;

static std::map<unsigned, probed> probed_functions; /* by DECL_UID */

/* Sets the default provider. Returns false after an error message. */
static bool provider_set(void)
{
	if (choice.provider.empty()) {
		std::string base = lbasename(main_input_filename ? main_input_filename : "");
		size_t dot = base.find('.', 1);

		choice.provider = identifier_of(base.substr(0, dot));
	}
	if (choice.provider != "func")
		return true;
	error(PLUGIN_NAME ": invalid provider %<func%>: the name is reserved for code without a note; "
	                  "choose another with %<-fplugin-arg-" PLUGIN_NAME "-provider=NAME%>");
	return false;
}

/* ---- rules ---------------------------------------------------------------- */

static bool globs_match(const std::vector<std::string> &globs, const std::string &text)
{
	for (const std::string &glob : globs)
		if (!fnmatch(glob.c_str(), text.c_str(), 0))
			return true;
	return false;
}

/*
 * A pattern matches the function's name, its qualified name with or without template arguments, or its qualified name
 * with parameters.
 */
static bool globs_match_function(const std::vector<std::string> &globs, tree decl)
{
	if (globs.empty())
		return false;
	std::string function = function_text(decl), bare = without_arguments(function);
	return globs_match(globs, DECL_NAME(decl) ? IDENTIFIER_POINTER(DECL_NAME(decl)) : "") ||
	       globs_match(globs, function) || globs_match(globs, bare) ||
	       globs_match(globs, bare + "(" + parameters_text(decl) + ")");
}

/* A pattern matches the name of the source file as given to the compiler, or its base name. */
static bool globs_match_file(const std::vector<std::string> &globs, tree decl)
{
	const char *file = LOCATION_FILE(DECL_SOURCE_LOCATION(decl));

	return globs.empty() || (file && (globs_match(globs, file) || globs_match(globs, lbasename(file))));
}

/* The size that min-size= compares. */
static unsigned function_size(tree decl)
{
	function *fn = DECL_STRUCT_FUNCTION(decl);
	unsigned n = 0;
	basic_block bb;

	if (!fn || !fn->cfg)
		return 0;
	FOR_EACH_BB_FN(bb, fn)
		for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at)) {
			gimple *stmt = gsi_stmt(at);

			n += !is_gimple_debug(stmt) && gimple_code(stmt) != GIMPLE_LABEL &&
			     gimple_code(stmt) != GIMPLE_NOP && gimple_code(stmt) != GIMPLE_PREDICT &&
			     !gimple_clobber_p(stmt);
		}
	return n;
}

/* Returns the rule by which a function is probed, or NULL if it is not. */
static const struct rule *function_rule(tree decl)
{
	static const struct rule marked = rule();

	if (lookup_attribute("no_probe", DECL_ATTRIBUTES(decl)))
		return NULL;
	if (lookup_attribute("probe", DECL_ATTRIBUTES(decl)))
		return &marked;
	if (in_system_header_at(DECL_SOURCE_LOCATION(decl)))
		return NULL;
	for (const struct rule &rule : choice.rules)
		if (globs_match_function(rule.functions, decl) && !globs_match_function(rule.exclude, decl) &&
		    globs_match_file(rule.files, decl) && (!rule.min_size || function_size(decl) >= rule.min_size))
			return rule.skip ? NULL : &rule;
	return NULL;
}

/* ---- the survey ----------------------------------------------------------- */

/* True for a function that the source defines. Others cannot be probed. */
static bool function_is_candidate(tree decl)
{
	cgraph_node *node = cgraph_node::get(decl);

	if (!DECL_NAME(decl) || node->thunk || !gimple_has_body_p(decl))
		return false;
	if (DECL_ARTIFICIAL(decl) && function_text(decl).find("<lambda") == std::string::npos)
		return false;
	if (lookup_attribute("no_instrument_function", DECL_ATTRIBUTES(decl)) ||
	    lookup_attribute("naked", DECL_ATTRIBUTES(decl)))
		return false;
	/* The deleting destructor calls the other one, which is probed. */
	return strcmp(IDENTIFIER_POINTER(DECL_NAME(decl)), "__dt_del ");
}

static bool decl_less(tree a, tree b)
{
	return DECL_UID(a) < DECL_UID(b);
}

static void function_choose(tree decl, const struct rule *rule, const std::string &name)
{
	struct probed &probed = probed_functions[DECL_UID(decl)];
	tree given = lookup_attribute("probe", DECL_ATTRIBUTES(decl));

	probed.name = name;
	probed.provider = rule->provider.empty() ? choice.provider : rule->provider;
	if (given && TREE_VALUE(given)) {
		probed.provider = TREE_STRING_POINTER(TREE_VALUE(TREE_VALUE(given)));
		probed.name = TREE_STRING_POINTER(TREE_VALUE(TREE_CHAIN(TREE_VALUE(given))));
	}
	probed.entry = rule->entry;
	probed.returns = rule->returns;
	if (!rule->inlined) {
		probed.home = IDENTIFIER_POINTER(DECL_ASSEMBLER_NAME(decl));
		if (probed.home[0] == '*') /* the source gives the name, with __asm__ */
			probed.home.erase(0, 1);
	}
	probed.shared = DECL_COMDAT(decl) || DECL_ONE_ONLY(decl) || DECL_DECLARED_INLINE_P(decl) ||
	                strcmp(LOCATION_FILE(DECL_SOURCE_LOCATION(decl)), main_input_filename);
	signature_make(decl, &probed);
}

void functions_survey(void)
{
	std::map<std::string, std::vector<tree>> named;
	std::vector<tree> decls, resolvers;
	cgraph_node *node;

	if (!provider_set())
		return;
	FOR_EACH_FUNCTION(node) {
		if (node->alias && node->ifunc_resolver && node->get_alias_target())
			resolvers.push_back(node->get_alias_target()->decl);
		else if (!node->alias && is_declared_probe(node->decl))
			declared_survey(node->decl);
		else if (!node->alias && function_is_candidate(node->decl))
			decls.push_back(node->decl);
	}
	std::sort(decls.begin(), decls.end(), decl_less);

	for (tree decl : decls) {
		const struct rule *rule = function_rule(decl);

		if (!rule && in_system_header_at(DECL_SOURCE_LOCATION(decl)))
			continue;
		std::string name = probe_name(function_text(decl));
		/* Variants of one constructor are one function in the source. */
		tree origin = DECL_ABSTRACT_ORIGIN(decl) ? DECL_ABSTRACT_ORIGIN(decl) : decl;
		std::vector<tree> &same = named[name];
		size_t nth = std::find(same.begin(), same.end(), origin) - same.begin();

		if (nth == same.size())
			same.push_back(origin);
		if (nth)
			name += "_" + std::to_string(nth + 1);
		if (rule && std::find(resolvers.begin(), resolvers.end(), decl) == resolvers.end())
			function_choose(decl, rule, name);
	}
	type_notes_write();
}

const struct probed *function_probed(tree decl)
{
	auto found = probed_functions.find(DECL_UID(decl));

	return found == probed_functions.end() ? NULL : &found->second;
}
