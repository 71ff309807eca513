// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Which functions are probed.
 *
 * The attributes of a function come first: no_probe, then probe. Then the rules
 * of rules=FILE, then the one rule that the other arguments make up; the first
 * whose conditions all hold decides, and where none does, the function is not
 * probed.
 *
 * Functions whose names come out alike (overloads, instances of one template) are
 * told apart in the order of their declaration: area, area_2, area_3. The count
 * takes in functions that are not probed, so that narrowing the choice renames
 * nothing.
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

/* ---- rules ---------------------------------------------------------------------- */

static bool matches_any(const std::vector<std::string> &globs, const std::string &text)
{
	for (const std::string &glob : globs)
		if (!fnmatch(glob.c_str(), text.c_str(), 0))
			return true;
	return false;
}

/* By its name, its qualified name, that without template arguments, or that with its parameters. */
static bool matches_function(const std::vector<std::string> &globs, tree decl)
{
	if (globs.empty())
		return false;
	std::string function = function_text(decl), bare = without_arguments(function);
	return matches_any(globs, DECL_NAME(decl) ? IDENTIFIER_POINTER(DECL_NAME(decl)) : "") ||
	       matches_any(globs, function) || matches_any(globs, bare) ||
	       matches_any(globs, bare + "(" + parameters_text(decl) + ")");
}

/* As the compiler was given it, or its base name. */
static bool matches_file(const std::vector<std::string> &globs, tree decl)
{
	const char *file = LOCATION_FILE(DECL_SOURCE_LOCATION(decl));

	return globs.empty() || (file && (matches_any(globs, file) || matches_any(globs, lbasename(file))));
}

static unsigned statements_of(tree decl)
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

static const struct rule *rule_of(tree decl)
{
	static const struct rule marked = rule();

	if (lookup_attribute("no_probe", DECL_ATTRIBUTES(decl)))
		return NULL;
	if (lookup_attribute("probe", DECL_ATTRIBUTES(decl)))
		return &marked;
	if (in_system_header_at(DECL_SOURCE_LOCATION(decl)))
		return NULL;
	for (const struct rule &rule : choice.rules)
		if (matches_function(rule.functions, decl) && !matches_function(rule.exclude, decl) &&
		    matches_file(rule.files, decl) && (!rule.min_size || statements_of(decl) >= rule.min_size))
			return rule.skip ? NULL : &rule;
	return NULL;
}

/* ---- the survey ------------------------------------------------------------------- */

/* What can be probed: functions that people wrote. */
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
	/* The destructor that also frees calls the one that does not. */
	return strcmp(IDENTIFIER_POINTER(DECL_NAME(decl)), "__dt_del ");
}

static bool by_uid(tree a, tree b)
{
	return DECL_UID(a) < DECL_UID(b);
}

static void probe(tree decl, const struct rule *rule, const std::string &name)
{
	struct probed &probed = survey[DECL_UID(decl)];
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

	if (!provider_settle())
		return;
	FOR_EACH_FUNCTION(node) {
		if (node->alias && node->ifunc_resolver && node->get_alias_target())
			resolvers.push_back(node->get_alias_target()->decl);
		else if (!node->alias && is_declared_probe(node->decl))
			declared_survey(node->decl);
		else if (!node->alias && is_candidate(node->decl))
			decls.push_back(node->decl);
	}
	std::sort(decls.begin(), decls.end(), by_uid);

	for (tree decl : decls) {
		const struct rule *rule = rule_of(decl);

		if (!rule && in_system_header_at(DECL_SOURCE_LOCATION(decl)))
			continue;
		std::string name = probe_name(function_text(decl));
		/* The variants of one constructor are one function to whoever wrote it. */
		tree origin = DECL_ABSTRACT_ORIGIN(decl) ? DECL_ABSTRACT_ORIGIN(decl) : decl;
		std::vector<tree> &same = named[name];
		size_t nth = std::find(same.begin(), same.end(), origin) - same.begin();

		if (nth == same.size())
			same.push_back(origin);
		if (nth)
			name += "_" + std::to_string(nth + 1);
		if (rule && std::find(resolvers.begin(), resolvers.end(), decl) == resolvers.end())
			probe(decl, rule, name);
	}
	type_notes_write();
}

const struct probed *function_probed(tree decl)
{
	auto found = survey.find(DECL_UID(decl));

	return found == survey.end() ? NULL : &found->second;
}
