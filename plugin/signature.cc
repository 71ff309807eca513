// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The arguments of a function, and its signature note.
 *
 * A parameter that no operand can hold is taken apart into several arguments:
 * members of small structures, halves of 128 bits, parts of complex numbers.
 * doc/note-format.md describes the signature.
 */
#include "parts.h"

#define FLAT_BYTES 16 /* larger structures are handed over by address; the ABIs pass these in registers */

/* ---- arguments ------------------------------------------------------------ */

static void argument_add_part(const argument &whole, char cls, enum argument_part part, const char *name,
                              const std::string &type, std::vector<argument> *arguments)
{
	argument arg = whole;

	arg.cls = cls;
	arg.part = part;
	arg.name += name;
	arg.type = type;
	arguments->push_back(arg);
}

static void arguments_add_members(tree type, const argument &whole, std::vector<argument> *arguments)
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

static void arguments_add_elements(tree type, const argument &whole, std::vector<argument> *arguments)
{
	HOST_WIDE_INT size = int_size_in_bytes(TREE_TYPE(type)), n = size > 0 ? int_size_in_bytes(type) / size : 0;

	for (HOST_WIDE_INT i = 0; i < n; i++) {
		argument element = whole;

		element.name += "[" + std::to_string(i) + "]";
		element.steps.push_back(build_int_cst(sizetype, i));
		arguments_add(TREE_TYPE(type), element, arguments);
	}
}

/* Integers, pointers and floating numbers. Adds nothing if no operand can hold one. */
static void arguments_add_scalar(tree type, const argument &arg, uint64_t type_key, std::vector<argument> *arguments)
{
	HOST_WIDE_INT size = int_size_in_bytes(type);
	bool is_real = TREE_CODE(type) == REAL_TYPE, is_signed = !is_real && !TYPE_UNSIGNED(type);

	if (is_bfloat16(type)) {
		argument_add_part(arg, PPN_CLASS_FLOAT, PART_FLOAT, "", value_type_text(type), arguments);
	} else if (TREE_CODE(type) == BITINT_TYPE && type_class(type) == PPN_CLASS_NONE) {
		return;
	} else if (is_operand_size(size) && !DECIMAL_FLOAT_TYPE_P(type)) {
		argument_add_part(arg, type_class(type), PART_WHOLE, "", value_type_text(type), arguments);
		arguments->back().type_key = type_key;
	} else if (is_real && TYPE_PRECISION(type) == 80 && size == 16) {
		argument_add_part(arg, PPN_CLASS_UNSIGNED, PART_MANTISSA, ".mantissa", "unsigned long", arguments);
		argument_add_part(arg, PPN_CLASS_UNSIGNED, PART_EXPONENT, ".exponent", "unsigned short", arguments);
	} else if (size == 16 && UNITS_PER_WORD == 8) {
		argument_add_part(arg, PPN_CLASS_UNSIGNED, PART_LOW, ".low", "unsigned long", arguments);
		argument_add_part(arg, is_signed ? PPN_CLASS_SIGNED : PPN_CLASS_UNSIGNED, PART_HIGH, ".high",
		                  is_signed ? "long" : "unsigned long", arguments);
	}
}

static void arguments_add_complex(tree type, const argument &arg, std::vector<argument> *arguments)
{
	tree component = TREE_TYPE(type);

	if (!is_operand_size(int_size_in_bytes(component)) || type_class(component) == PPN_CLASS_NONE)
		return;
	argument_add_part(arg, type_class(component), PART_REAL, ".real", value_type_text(component), arguments);
	argument_add_part(arg, type_class(component), PART_IMAGINARY, ".imag", value_type_text(component), arguments);
}

void arguments_add(tree type, const argument &arg, std::vector<argument> *arguments)
{
	HOST_WIDE_INT size = int_size_in_bytes(type);
	bool flat = size > 0 && size <= FLAT_BYTES;
	size_t before = arguments->size();
	uint64_t type_key = type_note_key(type);

	switch (TREE_CODE(type)) {
	case INTEGER_TYPE:
	case ENUMERAL_TYPE:
	case BOOLEAN_TYPE:
	case POINTER_TYPE:
	case REFERENCE_TYPE:
	case BITINT_TYPE:
	case REAL_TYPE: arguments_add_scalar(type, arg, type_key, arguments); break;
	case COMPLEX_TYPE: arguments_add_complex(type, arg, arguments); break;
	case RECORD_TYPE:
		if (size > FLAT_BYTES && arg.steps.empty()) {
			argument_add_part(arg, PPN_CLASS_POINTER, PART_ADDRESS, "", value_type_text(type) + " *",
			                  arguments);
			arguments->back().type_key = type_key;
		} else if (flat && !TYPE_REVERSE_STORAGE_ORDER(type)) {
			arguments_add_members(type, arg, arguments);
		}
		break;
	case ARRAY_TYPE:
		if (flat && !TYPE_REVERSE_STORAGE_ORDER(type))
			arguments_add_elements(type, arg, arguments);
		break;
	default: break;
	}
	if (before == arguments->size())
		argument_add_part(arg, PPN_CLASS_NONE, PART_NONE, "", value_type_text(type), arguments);
}

/* A result is a single argument. It has no operand if none can hold it. */
static argument result_argument(tree decl)
{
	tree result = DECL_RESULT(decl), type = TREE_TYPE(TREE_TYPE(decl));
	argument arg = {};

	arg.cls = type_class(type);
	arg.type = value_type_text(type);
	arg.type_key = type_note_key(type);
	if (arg.cls == PPN_CLASS_VOID)
		return arg;
	if (is_bfloat16(type)) {
		arg.cls = PPN_CLASS_FLOAT;
		arg.part = PART_FLOAT;
		return arg;
	}
	if ((result && DECL_BY_REFERENCE(result)) || !is_operand_size(int_size_in_bytes(type)) ||
	    DECIMAL_FLOAT_TYPE_P(type) || arg.cls == PPN_CLASS_NONE) {
		arg.cls = PPN_CLASS_NONE;
		arg.part = PART_NONE;
	}
	return arg;
}

/* ---- the signature -------------------------------------------------------- */

static std::string argument_text(const argument &arg)
{
	return arg.cls + arg.name + ":" + arg.type;
}

/* Appends the list of arguments whose types have notes. */
static void signature_add_types(std::string *bytes, const struct probed *probed)
{
	std::string list;
	unsigned n = 0;

	for (unsigned i = 0; i < probed->arguments.size() && i < 255; i++)
		if (probed->arguments[i].type_key && ++n) {
			note_add_number(&list, i, 1);
			note_add_number(&list, probed->arguments[i].type_key, 8);
		}
	if (!probed->declared && probed->result.type_key && ++n) {
		note_add_number(&list, PPN_RESULT, 1);
		note_add_number(&list, probed->result.type_key, 8);
	}
	if (!n && !probed->strings.size())
		return;
	note_add_number(bytes, n, 1);
	*bytes += list;
}

/* Returns the index of the whole parameter among the arguments, -1 if it was split or has no operand. */
static int argument_of_parameter(const struct probed *probed, unsigned parm)
{
	for (size_t i = 0; i < probed->arguments.size() && i < 255; i++)
		if (probed->arguments[i].parm == parm && probed->arguments[i].part == PART_WHOLE)
			return i;
	return -1;
}

/* Appends the list of strings whose length is another argument. It follows that of the types. */
static void signature_add_strings(std::string *bytes, const struct probed *probed)
{
	std::string list;
	unsigned n = 0;

	for (const std::pair<unsigned, unsigned> &string : probed->strings) {
		int pointer = argument_of_parameter(probed, string.first),
		    length = argument_of_parameter(probed, string.second);

		if (pointer < 0 || length < 0 || n == 255)
			continue;
		n++;
		note_add_number(&list, pointer, 1);
		note_add_number(&list, length, 1);
	}
	if (probed->strings.size())
		note_add_number(bytes, n, 1);
	*bytes += list;
}

void signature_write(tree decl, const std::string &function, struct probed *probed)
{
	expanded_location where = expand_location(DECL_SOURCE_LOCATION(decl));
	std::string &bytes = probed->signature;

	if (probed->arguments.size() > 255)
		probed->arguments.resize(255);
	probed->line = where.line;
	note_add_number(&bytes, ppn_key(probed->provider.c_str(), probed->name.c_str()), 8);
	note_add_number(&bytes, where.line, 4);
	note_add_number(&bytes, probed->declared ? PPN_KIND_PROBE : PPN_KIND_FUNCTION, 1);
	note_add_number(&bytes, probed->arguments.size(), 1);
	note_add_number(&bytes, !probed->declared && TREE_THIS_VOLATILE(decl) ? PPN_FLAG_NORETURN : 0, 2);
	note_add_string(&bytes, where.file ? remap_debug_filename(where.file) : "");
	note_add_string(&bytes, function);
	if (!probed->declared)
		note_add_string(&bytes, argument_text(probed->result));
	for (const argument &arg : probed->arguments)
		note_add_string(&bytes, argument_text(arg));
	signature_add_types(&bytes, probed);
	signature_add_strings(&bytes, probed);
}

void signature_make(tree decl, struct probed *probed)
{
	std::string function = function_text(decl);
	unsigned nth = 0;

	for (tree parm = DECL_ARGUMENTS(decl); parm; parm = DECL_CHAIN(parm), nth++) {
		argument arg = {};

		/* Variants of one constructor differ in the parameters that the compiler adds. */
		if (DECL_ARTIFICIAL(parm) && (!DECL_NAME(parm) || !id_equal(DECL_NAME(parm), "this")))
			continue;
		arg.name = DECL_NAME(parm) ? IDENTIFIER_POINTER(DECL_NAME(parm)) : "arg" + std::to_string(nth);
		arg.parm = nth;
		arguments_add(TREE_TYPE(parm), arg, &probed->arguments);
	}
	probed->result = result_argument(decl);
	probed->strings = attribute_strings(decl);
	signature_write(decl, function == probed->name ? "" : function, probed);
}
