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

/* Returns a positive number as a constant, NULL_TREE if the value is not one. C++ leaves its location around it. */
static tree attribute_number(tree value)
{
	value = value ? tree_strip_any_location_wrapper(value) : NULL_TREE;
	return value && TREE_CODE(value) == INTEGER_CST && tree_fits_uhwi_p(value) && !integer_zerop(value) ? value
	                                                                                                    : NULL_TREE;
}

/* Returns the type of parameter n of a function, 1 for the first; NULL_TREE if there is none. `this` counts, as in `format`. */
static tree parameter_type(tree function, unsigned HOST_WIDE_INT n)
{
	tree list = TYPE_ARG_TYPES(TREE_TYPE(function));

	while (list && list != void_list_node && --n)
		list = TREE_CHAIN(list);
	return list && list != void_list_node ? TREE_VALUE(list) : NULL_TREE;
}

/* Returns whether a type depends on parameters of a template. Its tree code, or that of its target, is then one of C++ only. */
static bool type_is_dependent(tree type)
{
	while (POINTER_TYPE_P(type))
		type = TREE_TYPE(type);
	return TREE_CODE(type) >= LAST_AND_UNUSED_TREE_CODE;
}

/* Checks the types of the parameters that an attribute names. */
static bool string_check_types(location_t where, tree attribute, tree pointer, tree length)
{
	bool is_string = POINTER_TYPE_P(pointer) && int_size_in_bytes(TREE_TYPE(pointer)) <= 1;

	if (!is_string && !type_is_dependent(pointer))
		error_at(where, "%qE attribute: a parameter of type %qT cannot be a string", attribute, pointer);
	else if (!INTEGRAL_TYPE_P(length) && !type_is_dependent(length))
		error_at(where, "%qE attribute: a parameter of type %qT cannot be a length", attribute, length);
	else
		return true;
	return false;
}

/* probe_string(POINTER, LENGTH): parameter number POINTER is a string of as many bytes as parameter number LENGTH says. */
static tree attribute_handle_string(tree *node, tree attribute, tree args, int, bool *no_add)
{
	location_t where = DECL_SOURCE_LOCATION(*node);
	tree types[2] = {};
	unsigned i = 0;

	*no_add = true;
	if (TREE_CODE(*node) != FUNCTION_DECL) {
		error_at(where, "%qE attribute applies to functions only, not to %qD", attribute, *node);
		return NULL_TREE;
	}
	for (tree arg = args; arg; arg = TREE_CHAIN(arg), i++) {
		tree value = attribute_number(TREE_VALUE(arg));

		types[i] = value ? parameter_type(*node, tree_to_uhwi(value)) : NULL_TREE;
		if (!types[i]) {
			error_at(where, "%qE attribute: argument %u is not the number of a parameter of %qD", attribute,
			         i + 1, *node);
			return NULL_TREE;
		}
		TREE_VALUE(arg) = value;
	}
	*no_add = !string_check_types(where, attribute, types[0], types[1]);
	return NULL_TREE;
}

/* The types of a template's instance are checked here, because the compiler handles only the attributes of the template. */
std::vector<std::pair<unsigned, unsigned>> attribute_strings(tree decl)
{
	std::vector<std::pair<unsigned, unsigned>> strings;

	for (tree found = lookup_attribute("probe_string", DECL_ATTRIBUTES(decl)); found;
	     found = lookup_attribute("probe_string", TREE_CHAIN(found))) {
		tree args = TREE_VALUE(found);
		unsigned pointer = tree_to_uhwi(TREE_VALUE(args)), length = tree_to_uhwi(TREE_VALUE(TREE_CHAIN(args)));
		tree types[] = { parameter_type(decl, pointer), parameter_type(decl, length) };

		if (types[0] && types[1] &&
		    string_check_types(DECL_SOURCE_LOCATION(decl), get_attribute_name(found), types[0], types[1]))
			strings.emplace_back(pointer - 1, length - 1);
	}
	return strings;
}

void attributes_register(void)
{
	static struct attribute_spec string = { "probe_string",          2,   2, true, false, false, false,
		                                attribute_handle_string, NULL };
	static struct attribute_spec probe = { "probe", 0, 2, true, false, false, false, attribute_handle, NULL };
	static struct attribute_spec no_probe = { "no_probe", 0, 0, true, false, false, false, attribute_handle, NULL };
	static struct attribute_spec declared = { "probe_declared",          3,   3, true, false, false, false,
		                                  attribute_handle_declared, NULL };

	register_attribute(&declared);
	register_attribute(&probe);
	register_attribute(&no_probe);
	register_attribute(&string);
}
