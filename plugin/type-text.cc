// SPDX-License-Identifier: GPL-3.0-or-later
/* Functions and types as the source writes them. */
#include "parts.h"

bool is_cxx(void)
{
	return !strncmp(lang_hooks.name, "GNU C++", 7);
}

/* GCC prints "@MODULE" after what is imported from a C++ module, but not where the module itself is compiled. */
static std::string without_modules(const std::string &text)
{
	std::string result;

	for (size_t i = 0; i < text.size(); i++) {
		if (text[i] != '@') {
			result += text[i];
			continue;
		}
		/* A module's name may have dots, and its partition follows a single colon. */
		while (i + 1 < text.size() && (ISALNUM(text[i + 1]) || strchr("_.", text[i + 1]) ||
		                               (text[i + 1] == ':' && text.compare(i + 1, 2, "::"))))
			i++;
	}
	return result;
}

/* Returns a declaration's qualified name, or "". */
static std::string cxx_text(tree decl)
{
	const char *text = lang_hooks.decl_printable_name(decl, 1);

	return text ? without_modules(text) : "";
}

std::string function_text(tree decl)
{
	return is_cxx() ? cxx_text(decl) : IDENTIFIER_POINTER(DECL_NAME(decl));
}

static std::string type_text(tree type);

static std::string type_qualifiers(tree type)
{
	std::string text;

	if (TYPE_READONLY(type))
		text += "const ";
	if (TYPE_VOLATILE(type))
		text += "volatile ";
	return text;
}

/* GCC has other names for some integer types than sources usually have. */
static std::string type_plain_name(const char *name)
{
	static const char *const names[][2] = {
		{ "long int", "long" },
		{ "short int", "short" },
		{ "unsigned int", "unsigned" },
		{ "long unsigned int", "unsigned long" },
		{ "short unsigned int", "unsigned short" },
		{ "long long int", "long long" },
		{ "long long unsigned int", "unsigned long long" },
	};

	for (const auto &pair : names)
		if (!strcmp(name, pair[0]))
			return pair[1];
	return name;
}

static std::string type_tag(tree type)
{
	tree name = TYPE_NAME(type);
	std::string tag;

	if (!is_cxx())
		tag = TREE_CODE(type) == ENUMERAL_TYPE ? "enum" : TREE_CODE(type) == UNION_TYPE ? "union" : "struct";
	if (name && TREE_CODE(name) == TYPE_DECL) {
		/* In C the name of a tag is an identifier, and that of a typedef is a declaration. */
		std::string text = is_cxx()          ? cxx_text(name)
		                   : DECL_NAME(name) ? IDENTIFIER_POINTER(DECL_NAME(name))
		                                     : "";

		return text.empty() ? "struct" : text;
	}
	if (name && TREE_CODE(name) == IDENTIFIER_NODE)
		return tag.empty() ? IDENTIFIER_POINTER(name) : tag + " " + IDENTIFIER_POINTER(name);
	return tag.empty() ? "struct" : tag;
}

static std::string type_parameters(tree type)
{
	std::string text;

	for (tree p = TYPE_ARG_TYPES(type); p; p = TREE_CHAIN(p)) {
		if (p == void_list_node)
			return text.empty() ? "void" : text;
		text += (text.empty() ? "" : ", ") + type_text(TREE_VALUE(p));
	}
	return text + (text.empty() ? "" : ", ...");
}

/* A pointer or reference; mark: "*", "&" or "&&", in parentheses if the target is a function or an array. */
static std::string type_pointer(tree type, const std::string &mark)
{
	tree to = TREE_TYPE(type);

	if (TREE_CODE(to) == FUNCTION_TYPE || TREE_CODE(to) == METHOD_TYPE)
		return type_text(TREE_TYPE(to)) + " (" + mark + ")(" + type_parameters(to) + ")";
	std::string text = type_text(to);
	if (TREE_CODE(to) == ARRAY_TYPE && text.find('[') != std::string::npos)
		return text.insert(text.find('['), "(" + mark + ")");
	return text + (text.back() == '*' || text.back() == '&' ? "" : " ") + mark;
}

static std::string type_text(tree type)
{
	tree name = TYPE_NAME(type);

	switch (TREE_CODE(type)) {
	case RECORD_TYPE:
	case UNION_TYPE:
	case QUAL_UNION_TYPE:
	case ENUMERAL_TYPE: return type_qualifiers(type) + type_tag(type);
	default: break;
	}
	if (name && TREE_CODE(name) == TYPE_DECL && DECL_NAME(name))
		return type_qualifiers(type) + type_plain_name(IDENTIFIER_POINTER(DECL_NAME(name)));

	switch (TREE_CODE(type)) {
	case POINTER_TYPE: return type_pointer(type, std::string("*") + (TYPE_READONLY(type) ? "const" : ""));
	case REFERENCE_TYPE: return type_pointer(type, TYPE_REF_IS_RVALUE(type) ? "&&" : "&");
	case ARRAY_TYPE: {
		tree domain = TYPE_DOMAIN(type);
		std::string size;

		if (domain && TYPE_MAX_VALUE(domain) && tree_fits_uhwi_p(TYPE_MAX_VALUE(domain)))
			size = std::to_string(tree_to_uhwi(TYPE_MAX_VALUE(domain)) + 1);
		return type_text(TREE_TYPE(type)) + " [" + size + "]";
	}
	case COMPLEX_TYPE: return "_Complex " + type_text(TREE_TYPE(type));
	case VECTOR_TYPE:
		return type_text(TREE_TYPE(type)) + " __attribute__((vector_size(" +
		       std::to_string(int_size_in_bytes(type)) + ")))";
	case VOID_TYPE: return "void";
	case BITINT_TYPE:
		return type_qualifiers(type) + (TYPE_UNSIGNED(type) ? "unsigned _BitInt(" : "_BitInt(") +
		       std::to_string(TYPE_PRECISION(type)) + ")";
	default:
		/* A variant without a name of its own, or a type that C has no syntax for. */
		if (TYPE_MAIN_VARIANT(type) != type)
			return type_qualifiers(type) + type_text(TYPE_MAIN_VARIANT(type));
		return "?";
	}
}

std::string parameters_text(tree decl)
{
	std::string text;

	for (tree parm = DECL_ARGUMENTS(decl); parm; parm = DECL_CHAIN(parm))
		if (!DECL_ARTIFICIAL(parm))
			text += (text.empty() ? "" : ", ") + type_text(TREE_TYPE(parm));
	return text;
}

std::string value_type_text(tree type)
{
	if (TYPE_READONLY(type) || TYPE_VOLATILE(type))
		type = build_qualified_type(type, TYPE_QUALS(type) & ~(TYPE_QUAL_CONST | TYPE_QUAL_VOLATILE));
	return type_text(type);
}

/* ---- classes -------------------------------------------------------------- */

bool is_bfloat16(tree type)
{
	return TREE_CODE(type) == REAL_TYPE && TYPE_PRECISION(type) == 16 && REAL_MODE_FORMAT(TYPE_MODE(type))->p == 8;
}

char type_class(tree type)
{
	tree to;

	switch (TREE_CODE(type)) {
	case VOID_TYPE: return PPN_CLASS_VOID;
	case BOOLEAN_TYPE: return PPN_CLASS_BOOL;
	case INTEGER_TYPE:
	case ENUMERAL_TYPE:
		if (TYPE_MAIN_VARIANT(type) == char_type_node)
			return PPN_CLASS_CHAR;
		return TYPE_UNSIGNED(type) ? PPN_CLASS_UNSIGNED : PPN_CLASS_SIGNED;
	case POINTER_TYPE:
		to = TREE_TYPE(type);
		if (TYPE_MAIN_VARIANT(to) == char_type_node && TYPE_READONLY(to))
			return PPN_CLASS_STRING;
		return PPN_CLASS_POINTER;
	case REFERENCE_TYPE: return PPN_CLASS_POINTER;
	case REAL_TYPE: return is_bfloat16(type) ? PPN_CLASS_NONE : PPN_CLASS_FLOAT;
	case BITINT_TYPE:
		if (TYPE_PRECISION(type) > 64)
			return PPN_CLASS_NONE;
		return TYPE_UNSIGNED(type) ? PPN_CLASS_UNSIGNED : PPN_CLASS_SIGNED;
	default: return PPN_CLASS_NONE;
	}
}

bool is_operand_size(HOST_WIDE_INT size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}
