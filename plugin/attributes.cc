// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * __attribute__((probe)), __attribute__((probe("PROVIDER", "NAME"))) and
 * __attribute__((no_probe)), on functions.
 */
#include "parts.h"

static bool check_name(tree function, tree attribute, const char *what, const char *name)
{
	if (is_identifier(name))
		return true;
	error_at(DECL_SOURCE_LOCATION(function), "%qE attribute: %s %qs is no identifier; try %qs", attribute, what, name,
		 identifier_of(name).c_str());
	return false;
}

static bool check_arguments(tree function, tree attribute, tree args)
{
	location_t where = DECL_SOURCE_LOCATION(function);

	if (!args)
		return true;
	if (list_length(args) != 2) {
		error_at(where, "%qE attribute takes no argument, or a provider and a name", attribute);
		return false;
	}
	for (tree arg = args; arg; arg = TREE_CHAIN(arg)) {
		tree value = TREE_VALUE(arg);

		if (!value || TREE_CODE(value) != STRING_CST || TYPE_PRECISION(TREE_TYPE(TREE_TYPE(value))) != CHAR_BIT) {
			error_at(where, "%qE attribute: provider and name must be strings", attribute);
			return false;
		}
	}
	const char *provider = TREE_STRING_POINTER(TREE_VALUE(args));
	if (!strcmp(provider, "func")) {
		error_at(where, "%qE attribute: a provider cannot be called %<func%>, which stands for code without a note",
			 attribute);
		return false;
	}
	return check_name(function, attribute, "provider", provider) &&
	       check_name(function, attribute, "name", TREE_STRING_POINTER(TREE_VALUE(TREE_CHAIN(args))));
}

static tree handle_attribute(tree *node, tree attribute, tree args, int, bool *no_add)
{
	bool is_probe = id_equal(attribute, "probe");

	*no_add = true;
	if (TREE_CODE(*node) != FUNCTION_DECL) {
		error_at(DECL_SOURCE_LOCATION(*node), "%qE attribute applies to functions only, and %qD is none", attribute,
			 *node);
	} else if (lookup_attribute(is_probe ? "no_probe" : "probe", DECL_ATTRIBUTES(*node))) {
		error_at(DECL_SOURCE_LOCATION(*node), "%qD is to be probed and not to be probed", *node);
	} else if (check_arguments(*node, attribute, args)) {
		*no_add = false;
	}
	return NULL_TREE;
}

void attributes_register(void)
{
	static struct attribute_spec probe = { "probe", 0, 2, true, false, false, false, handle_attribute, NULL };
	static struct attribute_spec no_probe = { "no_probe", 0, 0, true, false, false, false, handle_attribute, NULL };

	register_attribute(&probe);
	register_attribute(&no_probe);
}
