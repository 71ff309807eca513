// SPDX-License-Identifier: GPL-3.0-or-later
/* What the note says of a function: its name, its arguments' names, C types and classes. */
#include "parts.h"

bool is_cxx(void)
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

/* GCC's names of the integer types are not those that people write. */
static std::string plain_name(const char *name)
{
	static const char *const names[][2] = {
		{ "long int", "long" }, { "short int", "short" }, { "unsigned int", "unsigned" },
		{ "long unsigned int", "unsigned long" }, { "short unsigned int", "unsigned short" },
		{ "long long int", "long long" }, { "long long unsigned int", "unsigned long long" },
	};

	for (const auto &pair : names)
		if (!strcmp(name, pair[0]))
			return pair[1];
	return name;
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
		return qualifiers(type) + plain_name(IDENTIFIER_POINTER(DECL_NAME(name)));

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

std::string parameters_of(tree decl)
{
	std::string text;

	for (tree parm = DECL_ARGUMENTS(decl); parm; parm = DECL_CHAIN(parm))
		if (!DECL_ARTIFICIAL(parm))
			text += (text.empty() ? "" : ", ") + type_text(TREE_TYPE(parm));
	return text;
}

/* Types without the qualifiers of the object itself: a parameter's own const is of no matter. */
std::string value_type_text(tree type)
{
	if (TYPE_READONLY(type) || TYPE_VOLATILE(type))
		type = build_qualified_type(type, TYPE_QUALS(type) & ~(TYPE_QUAL_CONST | TYPE_QUAL_VOLATILE));
	return type_text(type);
}

/* ---- parameters, taken apart into arguments --------------------------------------- */

#define FLAT_BYTES 16 /* what the ABIs of our CPUs pass in registers */

char class_of(tree type)
{
	tree to;

	switch (TREE_CODE(type)) {
	case VOID_TYPE:
		return PPN_CLASS_VOID;
	case BOOLEAN_TYPE:
		return PPN_CLASS_BOOL;
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
	case REFERENCE_TYPE:
		return PPN_CLASS_POINTER;
	case REAL_TYPE:
		return PPN_CLASS_FLOAT;
	default:
		return PPN_CLASS_NONE;
	}
}

bool is_operand_size(HOST_WIDE_INT size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

static void add_part(const argument &whole, char cls, enum part part, const char *name, const std::string &type,
		     std::vector<argument> *arguments)
{
	argument arg = whole;

	arg.cls = cls;
	arg.part = part;
	arg.name += name;
	arg.type = type;
	arguments->push_back(arg);
}

static void add_members(tree type, const argument &whole, std::vector<argument> *arguments)
{
	for (tree field = TYPE_FIELDS(type); field; field = DECL_CHAIN(field)) {
		argument member = whole;

		if (TREE_CODE(field) != FIELD_DECL || (DECL_BIT_FIELD(field) && !DECL_NAME(field)) ||
		    !DECL_SIZE(field) || integer_zerop(DECL_SIZE(field)))
			continue;
		if (DECL_NAME(field) && !DECL_ARTIFICIAL(field))
			member.name += std::string(".") + IDENTIFIER_POINTER(DECL_NAME(field));
		member.steps.push_back(field);
		arguments_add(DECL_BIT_FIELD_TYPE(field) ? DECL_BIT_FIELD_TYPE(field) : TREE_TYPE(field), member,
			      arguments);
	}
}

static void add_elements(tree type, const argument &whole, std::vector<argument> *arguments)
{
	HOST_WIDE_INT size = int_size_in_bytes(TREE_TYPE(type)), n = size > 0 ? int_size_in_bytes(type) / size : 0;

	for (HOST_WIDE_INT i = 0; i < n; i++) {
		argument element = whole;

		element.name += "[" + std::to_string(i) + "]";
		element.steps.push_back(build_int_cst(sizetype, i));
		arguments_add(TREE_TYPE(type), element, arguments);
	}
}

void arguments_add(tree type, const argument &arg, std::vector<argument> *arguments)
{
	HOST_WIDE_INT size = int_size_in_bytes(type);
	size_t before = arguments->size();
	std::string text = value_type_text(type);
	uint64_t described = type_key(type);

	switch (TREE_CODE(type)) {
	case INTEGER_TYPE:
	case ENUMERAL_TYPE:
	case BOOLEAN_TYPE:
	case POINTER_TYPE:
	case REFERENCE_TYPE:
	case REAL_TYPE:
		if (is_operand_size(size) && !DECIMAL_FLOAT_TYPE_P(type)) {
			add_part(arg, class_of(type), PART_WHOLE, "", text, arguments);
			arguments->back().described = described;
		} else if (TREE_CODE(type) == REAL_TYPE && TYPE_PRECISION(type) == 80 && size == 16) {
			add_part(arg, PPN_CLASS_UNSIGNED, PART_MANTISSA, ".mantissa", "unsigned long", arguments);
			add_part(arg, PPN_CLASS_UNSIGNED, PART_EXPONENT, ".exponent", "unsigned short", arguments);
		} else if (size == 16 && UNITS_PER_WORD == 8) {
			bool is_signed = TREE_CODE(type) != REAL_TYPE && !TYPE_UNSIGNED(type);

			add_part(arg, PPN_CLASS_UNSIGNED, PART_LOW, ".low", "unsigned long", arguments);
			add_part(arg, is_signed ? PPN_CLASS_SIGNED : PPN_CLASS_UNSIGNED, PART_HIGH, ".high",
				 is_signed ? "long" : "unsigned long", arguments);
		}
		break;
	case COMPLEX_TYPE:
		if (is_operand_size(int_size_in_bytes(TREE_TYPE(type)))) {
			char cls = class_of(TREE_TYPE(type));

			add_part(arg, cls, PART_REAL, ".real", type_text(TREE_TYPE(type)), arguments);
			add_part(arg, cls, PART_IMAGINARY, ".imag", type_text(TREE_TYPE(type)), arguments);
		}
		break;
	case RECORD_TYPE:
		if (size > FLAT_BYTES && arg.steps.empty())
			add_part(arg, PPN_CLASS_POINTER, PART_ADDRESS, "", text + " *", arguments),
				arguments->back().described = described;
		else if (size > 0 && size <= FLAT_BYTES && !TYPE_REVERSE_STORAGE_ORDER(type))
			add_members(type, arg, arguments);
		break;
	case ARRAY_TYPE:
		if (size > 0 && size <= FLAT_BYTES && !TYPE_REVERSE_STORAGE_ORDER(type))
			add_elements(type, arg, arguments);
		break;
	default:
		break;
	}
	if (before == arguments->size())
		add_part(arg, PPN_CLASS_NONE, PART_NONE, "", text, arguments);
}

/* A result is one argument, or none that an operand can hold. */
static argument result_argument(tree decl)
{
	tree result = DECL_RESULT(decl), type = TREE_TYPE(TREE_TYPE(decl));
	argument arg = {};

	arg.cls = class_of(type);
	arg.type = value_type_text(type);
	arg.described = type_key(type);
	if (arg.cls == PPN_CLASS_VOID)
		return arg;
	if ((result && DECL_BY_REFERENCE(result)) || !is_operand_size(int_size_in_bytes(type)) ||
	    DECIMAL_FLOAT_TYPE_P(type) || arg.cls == PPN_CLASS_NONE) {
		arg.cls = PPN_CLASS_NONE;
		arg.part = PART_NONE;
	}
	return arg;
}

/* ---- the note's bytes --------------------------------------------------------- */

void add_number(std::string *bytes, uint64_t value, int size)
{
	for (int i = 0; i < size; i++)
		bytes->push_back((char)(value >> (8 * (BYTES_BIG_ENDIAN ? size - 1 - i : i))));
}

void add_string(std::string *bytes, const std::string &text)
{
	bytes->append(text.c_str(), strlen(text.c_str()) + 1);
}

static std::string argument_text(const argument &arg)
{
	return arg.cls + arg.name + ":" + arg.type;
}

/* Which arguments' types have notes; 255 is the result. */
static void add_types(std::string *bytes, const struct probed *probed)
{
	std::string list;
	unsigned n = 0;

	for (unsigned i = 0; i < probed->arguments.size() && i < 255; i++)
		if (probed->arguments[i].described && ++n) {
			add_number(&list, i, 1);
			add_number(&list, probed->arguments[i].described, 8);
		}
	if (!probed->declared && probed->result.described && ++n) {
		add_number(&list, PPN_RESULT, 1);
		add_number(&list, probed->result.described, 8);
	}
	if (!n)
		return;
	add_number(bytes, n, 1);
	*bytes += list;
}

void signature_write(tree decl, const std::string &function, struct probed *probed)
{
	expanded_location where = expand_location(DECL_SOURCE_LOCATION(decl));
	std::string &bytes = probed->signature;

	if (probed->arguments.size() > 255)
		probed->arguments.resize(255);
	probed->line = where.line;
	add_number(&bytes, ppn_key(probed->provider.c_str(), probed->name.c_str()), 8);
	add_number(&bytes, where.line, 4);
	add_number(&bytes, probed->declared ? PPN_KIND_PROBE : PPN_KIND_FUNCTION, 1);
	add_number(&bytes, probed->arguments.size(), 1);
	add_number(&bytes, !probed->declared && TREE_THIS_VOLATILE(decl) ? PPN_FLAG_NORETURN : 0, 2);
	add_string(&bytes, where.file ? remap_debug_filename(where.file) : "");
	add_string(&bytes, function);
	if (!probed->declared)
		add_string(&bytes, argument_text(probed->result));
	for (const argument &arg : probed->arguments)
		add_string(&bytes, argument_text(arg));
	add_types(&bytes, probed);
}

void signature_make(tree decl, struct probed *probed)
{
	std::string function = function_text(decl);
	unsigned nth = 0;

	for (tree parm = DECL_ARGUMENTS(decl); parm; parm = DECL_CHAIN(parm), nth++) {
		argument arg = {};

		/* What the compiler adds for itself differs between the variants of a constructor. */
		if (DECL_ARTIFICIAL(parm) && (!DECL_NAME(parm) || !id_equal(DECL_NAME(parm), "this")))
			continue;
		arg.name = DECL_NAME(parm) ? IDENTIFIER_POINTER(DECL_NAME(parm)) : "arg" + std::to_string(nth);
		arg.parm = nth;
		arguments_add(TREE_TYPE(parm), arg, &probed->arguments);
	}
	probed->result = result_argument(decl);
	signature_write(decl, function == probed->name ? "" : function, probed);
}
