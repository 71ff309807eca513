// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Attributes of functions:
 *
 *   probe, probe("PROVIDER", "NAME")    the function is probed
 *   no_probe                            the function is not probed
 *   __probe_declared__("PROVIDER", "NAME", "(PARAMETERS)")
 *       <sys/probe.h> describes its probes to the plugin with this attribute, and
 *       detects the plugin by it.
 */
#include "parts.h"

/* what: "provider" or "name" */
static bool attribute_check_name(tree function, tree attribute, const char *what, const char *name)
{
	if (is_identifier(name))
		return true;
	error_at(DECL_SOURCE_LOCATION(function), "%qE attribute: invalid %s %qs: not an identifier; try %qs", attribute,
	         what, name, identifier_of(name).c_str());
	return false;
}

static bool attribute_check_arguments(tree function, tree attribute, tree args)
{
	location_t where = DECL_SOURCE_LOCATION(function);

	if (!args)
		return true;
	if (list_length(args) != 2) {
		error_at(where, "%qE attribute takes either no arguments or a provider and a name", attribute);
		return false;
	}
	for (tree arg = args; arg; arg = TREE_CHAIN(arg)) {
		tree value = TREE_VALUE(arg);

		if (!value || TREE_CODE(value) != STRING_CST ||
		    TYPE_PRECISION(TREE_TYPE(TREE_TYPE(value))) != CHAR_BIT) {
			error_at(where, "%qE attribute: provider and name must be strings", attribute);
			return false;
		}
	}
	const char *provider = TREE_STRING_POINTER(TREE_VALUE(args));
	if (!strcmp(provider, "func")) {
		error_at(where,
		         "%qE attribute: invalid provider %<func%>: the name is reserved for code without a note",
		         attribute);
		return false;
	}
	return attribute_check_name(function, attribute, "provider", provider) &&
	       attribute_check_name(function, attribute, "name", TREE_STRING_POINTER(TREE_VALUE(TREE_CHAIN(args))));
}

static tree attribute_handle(tree *node, tree attribute, tree args, int, bool *no_add)
{
	bool is_probe = id_equal(attribute, "probe");

	*no_add = true;
	if (TREE_CODE(*node) != FUNCTION_DECL) {
		error_at(DECL_SOURCE_LOCATION(*node), "%qE attribute applies to functions only, not to %qD", attribute,
		         *node);
	} else if (lookup_attribute(is_probe ? "no_probe" : "probe", DECL_ATTRIBUTES(*node))) {
		error_at(DECL_SOURCE_LOCATION(*node), "%qD has both attributes %<probe%> and %<no_probe%>", *node);
	} else if (attribute_check_arguments(*node, attribute, args)) {
		*no_add = false;
	}
	return NULL_TREE;
}

static tree attribute_handle_declared(tree *node, tree attribute, tree args, int, bool *no_add)
{
	location_t where = DECL_P(*node) ? DECL_SOURCE_LOCATION(*node) : input_location;

	*no_add = true;
	for (tree arg = args; arg; arg = TREE_CHAIN(arg))
		if (TREE_CODE(TREE_VALUE(arg)) != STRING_CST || TREE_CODE(*node) != FUNCTION_DECL) {
			error_at(where, "%qE attribute is reserved for %<PROBE_DECLARE%> of %<sys/probe.h%>",
			         attribute);
			return NULL_TREE;
		}
	if (!strcmp(TREE_STRING_POINTER(TREE_VALUE(args)), "func"))
		error_at(where,
		         "%<PROBE_DECLARE%>: invalid provider %<func%>: the name is reserved for code without a note");
	else
		*no_add = false;
	return NULL_TREE;
}

void attributes_register(void)
{
	static struct attribute_spec probe = { "probe", 0, 2, true, false, false, false, attribute_handle, NULL };
	static struct attribute_spec no_probe = { "no_probe", 0, 0, true, false, false, false, attribute_handle, NULL };
	static struct attribute_spec declared = { "probe_declared",          3,   3, true, false, false, false,
		                                  attribute_handle_declared, NULL };

	register_attribute(&declared);
	register_attribute(&probe);
	register_attribute(&no_probe);
}
