// SPDX-License-Identifier: GPL-3.0-or-later
/* What the note says of a function: its name, its arguments' names, C types and classes. */
#include "parts.h"

static bool is_cxx(void)
{
	return !strncmp(lang_hooks.name, "GNU C++", 7);
}

static bool is_word(char c)
{
	return ISALNUM(c) || c == '_';
}

bool is_identifier(const std::string &text)
{
	if (text.empty() || ISDIGIT(text[0]))
		return false;
	for (char c : text)
		if (!is_word(c))
			return false;
	return true;
}

/* What is no letter, digit or underscore becomes one underscore. */
std::string identifier_of(const std::string &text)
{
	std::string id;

	for (char c : text)
		if (is_word(c))
			id += c;
		else if (id.empty() || id.back() != '_')
			id += '_';
	if (id.empty() || ISDIGIT(id[0]))
		id = "_" + id;
	return id;
}

std::string function_text(tree decl)
{
	const char *name = is_cxx() ? lang_hooks.decl_printable_name(decl, 1) : IDENTIFIER_POINTER(DECL_NAME(decl));

	return name ? name : "";
}

/* ---- types ------------------------------------------------------------------ */

static std::string type_text(tree type);

static std::string qualifiers(tree type)
{
	std::string text;

	if (TYPE_READONLY(type))
		text += "const ";
	if (TYPE_VOLATILE(type))
		text += "volatile ";
	return text;
}

static std::string tag_text(tree type)
{
	tree name = TYPE_NAME(type);
	std::string tag;

	if (!is_cxx())
		tag = TREE_CODE(type) == ENUMERAL_TYPE ? "enum" : TREE_CODE(type) == UNION_TYPE ? "union" : "struct";
	if (name && TREE_CODE(name) == TYPE_DECL) {
		const char *text = is_cxx() ? lang_hooks.decl_printable_name(name, 1) :
					      DECL_NAME(name) ? IDENTIFIER_POINTER(DECL_NAME(name)) : NULL;

		/* C names a struct's tag by its identifier, a typedef by its declaration. */
		return text ? text : "struct";
	}
	if (name && TREE_CODE(name) == IDENTIFIER_NODE)
		return tag.empty() ? IDENTIFIER_POINTER(name) : tag + " " + IDENTIFIER_POINTER(name);
	return tag.empty() ? "struct" : tag;
}

static std::string parameters_text(tree type)
{
	std::string text;

	for (tree p = TYPE_ARG_TYPES(type); p; p = TREE_CHAIN(p)) {
		if (p == void_list_node)
			return text.empty() ? "void" : text;
		text += (text.empty() ? "" : ", ") + type_text(TREE_VALUE(p));
	}
	return text + (text.empty() ? "" : ", ...");
}

/* A pointer, "*", "&" or "&&", to what needs brackets around it or does not. */
static std::string pointer_text(tree type, const std::string &mark)
{
	tree to = TREE_TYPE(type);

	if (TREE_CODE(to) == FUNCTION_TYPE || TREE_CODE(to) == METHOD_TYPE)
		return type_text(TREE_TYPE(to)) + " (" + mark + ")(" + parameters_text(to) + ")";
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
	case ENUMERAL_TYPE:
		return qualifiers(type) + tag_text(type);
	default:
		break;
	}
	if (name && TREE_CODE(name) == TYPE_DECL && DECL_NAME(name))
		return qualifiers(type) + IDENTIFIER_POINTER(DECL_NAME(name));

	switch (TREE_CODE(type)) {
	case POINTER_TYPE:
		return pointer_text(type, std::string("*") + (TYPE_READONLY(type) ? "const" : ""));
	case REFERENCE_TYPE:
		return pointer_text(type, TYPE_REF_IS_RVALUE(type) ? "&&" : "&");
	case ARRAY_TYPE: {
		tree domain = TYPE_DOMAIN(type);
		std::string size;

		if (domain && TYPE_MAX_VALUE(domain) && tree_fits_uhwi_p(TYPE_MAX_VALUE(domain)))
			size = std::to_string(tree_to_uhwi(TYPE_MAX_VALUE(domain)) + 1);
		return type_text(TREE_TYPE(type)) + " [" + size + "]";
	}
	case COMPLEX_TYPE:
		return "_Complex " + type_text(TREE_TYPE(type));
	case VECTOR_TYPE:
		return type_text(TREE_TYPE(type)) + " __attribute__((vector_size(" +
		       std::to_string(int_size_in_bytes(type)) + ")))";
	case VOID_TYPE:
		return "void";
	default:
		/* A variant without a name of its own, or what C cannot say. */
		if (TYPE_MAIN_VARIANT(type) != type)
			return qualifiers(type) + type_text(TYPE_MAIN_VARIANT(type));
		return "?";
	}
}

/* Types without the qualifiers of the object itself: a parameter's own const is of no matter. */
static std::string value_type_text(tree type)
{
	if (TYPE_READONLY(type) || TYPE_VOLATILE(type))
		type = build_qualified_type(type, TYPE_QUALS(type) & ~(TYPE_QUAL_CONST | TYPE_QUAL_VOLATILE));
	return type_text(type);
}

static char class_of(tree type)
{
	HOST_WIDE_INT size = int_size_in_bytes(type);
	tree to;

	switch (TREE_CODE(type)) {
	case VOID_TYPE:
		return PPN_CLASS_VOID;
	case BOOLEAN_TYPE:
		return size <= 8 ? PPN_CLASS_BOOL : PPN_CLASS_NONE;
	case INTEGER_TYPE:
	case ENUMERAL_TYPE:
		if (size != 1 && size != 2 && size != 4 && size != 8)
			return PPN_CLASS_NONE;
		if (TYPE_MAIN_VARIANT(type) == char_type_node)
			return PPN_CLASS_CHAR;
		return TYPE_UNSIGNED(type) ? PPN_CLASS_UNSIGNED : PPN_CLASS_SIGNED;
	case POINTER_TYPE:
		to = TREE_TYPE(type);
		if (TYPE_MAIN_VARIANT(to) == char_type_node && TYPE_READONLY(to))
			return PPN_CLASS_STRING;
		return PPN_CLASS_POINTER;
	case REFERENCE_TYPE:
		return PPN_CLASS_POINTER;
	case REAL_TYPE:
		return size == 4 || size == 8 ? PPN_CLASS_FLOAT : PPN_CLASS_NONE;
	default:
		return PPN_CLASS_NONE;
	}
}

/* ---- the note's bytes --------------------------------------------------------- */

static void add_number(std::string *bytes, uint64_t value, int size)
{
	for (int i = 0; i < size; i++)
		bytes->push_back((char)(value >> (8 * (BYTES_BIG_ENDIAN ? size - 1 - i : i))));
}

static void add_string(std::string *bytes, const std::string &text)
{
	bytes->append(text.c_str(), strlen(text.c_str()) + 1);
}

static std::string argument_text(const argument &arg)
{
	return arg.cls + arg.name + ":" + arg.type;
}

void signature_make(tree decl, struct probed *probed)
{
	tree result = DECL_RESULT(decl);
	tree result_type = TREE_TYPE(TREE_TYPE(decl));
	expanded_location where = expand_location(DECL_SOURCE_LOCATION(decl));
	std::string function = function_text(decl);
	unsigned flags = TREE_THIS_VOLATILE(decl) ? PPN_FLAG_NORETURN : 0;
	unsigned unnamed = 0;

	probed->arguments.clear();
	for (tree parm = DECL_ARGUMENTS(decl); parm; parm = DECL_CHAIN(parm)) {
		argument arg;

		arg.cls = class_of(TREE_TYPE(parm));
		arg.type = value_type_text(TREE_TYPE(parm));
		arg.name = DECL_NAME(parm) ? IDENTIFIER_POINTER(DECL_NAME(parm)) : "arg" + std::to_string(unnamed);
		unnamed++;
		probed->arguments.push_back(arg);
	}
	probed->result.cls = result && DECL_BY_REFERENCE(result) ? (char)PPN_CLASS_NONE : class_of(result_type);
	probed->result.type = value_type_text(result_type);

	std::string &bytes = probed->signature;
	bytes.clear();
	add_number(&bytes, ppn_key(choice.provider.c_str(), probed->name.c_str()), 8);
	add_number(&bytes, where.line, 4);
	add_number(&bytes, PPN_KIND_FUNCTION, 1);
	add_number(&bytes, probed->arguments.size(), 1);
	add_number(&bytes, flags, 2);
	add_string(&bytes, where.file ? remap_debug_filename(where.file) : "");
	add_string(&bytes, function == probed->name ? "" : function);
	add_string(&bytes, argument_text(probed->result));
	for (const argument &arg : probed->arguments)
		add_string(&bytes, argument_text(arg));
}
