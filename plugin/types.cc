// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What the notes say of the types of arguments: an enumeration's names, the fields
 * of a structure that an argument points to. One note a type, named by its content,
 * which signatures refer to. They are written as a unit's own asm statement: a site
 * has enough to carry, and this LTO takes along too.
 */
#include "parts.h"

namespace {

#define FIELDS 4096

static void add_field(std::vector<std::string> *fields, uint64_t offset, tree field, const std::string &name)
{
	tree type = DECL_BIT_FIELD_TYPE(field) ? DECL_BIT_FIELD_TYPE(field) : TREE_TYPE(field);
	uint64_t bit = tree_to_uhwi(bit_position(field)), bits = tree_to_uhwi(DECL_SIZE(field));
	std::string where;
	char cls = class_of(type);

	if (DECL_BIT_FIELD(field))
		where = std::to_string(offset + bit / 8) + "." + std::to_string(bit % 8) + "/" + std::to_string(bits);
	else
		where = std::to_string(offset + bit / 8) + "/" + std::to_string(bits / 8);
	if (!is_operand_size(int_size_in_bytes(type)) || DECIMAL_FLOAT_TYPE_P(type))
		cls = PPN_CLASS_NONE;
	fields->push_back(where + cls + name + ":" + value_type_text(type));
}

/* A virtual base is elsewhere in each class derived from here. */
static bool is_virtual_base(tree type, tree of)
{
	tree binfo = TYPE_BINFO(type) ? TYPE_BINFO(type) : NULL_TREE, base;
	tree context = TYPE_CONTEXT(of) && TYPE_P(TYPE_CONTEXT(of)) ? TYPE_MAIN_VARIANT(TYPE_CONTEXT(of)) : NULL_TREE;

	if (!is_cxx() || !binfo)
		return false;
	for (unsigned i = 0; BINFO_BASE_ITERATE(binfo, i, base); i++)
		if (BINFO_VIRTUAL_P(base) && (TYPE_MAIN_VARIANT(BINFO_TYPE(base)) == TYPE_MAIN_VARIANT(of) ||
					      TYPE_MAIN_VARIANT(BINFO_TYPE(base)) == context))
			return true;
	return false;
}

/* Bases and members without a name hand on their own fields. */
static void add_fields(std::vector<std::string> *fields, tree type, uint64_t offset, int depth)
{
	for (tree field = TYPE_FIELDS(type); field && fields->size() < FIELDS; field = DECL_CHAIN(field)) {
		tree of = TREE_TYPE(field);

		if (TREE_CODE(field) != FIELD_DECL || !DECL_SIZE(field) || !tree_fits_uhwi_p(DECL_SIZE(field)) ||
		    !DECL_FIELD_OFFSET(field) || !tree_fits_uhwi_p(DECL_FIELD_OFFSET(field)))
			continue;
		if (DECL_NAME(field) && !DECL_ARTIFICIAL(field))
			add_field(fields, offset, field, IDENTIFIER_POINTER(DECL_NAME(field)));
		else if (RECORD_OR_UNION_TYPE_P(of) && COMPLETE_TYPE_P(of) && !DECL_NAME(field) && depth < 16 &&
			 !is_virtual_base(type, of))
			add_fields(fields, of, offset + int_byte_position(field), depth + 1);
	}
}

static void add_names(std::vector<std::string> *names, tree type)
{
	for (tree value = TYPE_VALUES(type); value && names->size() < FIELDS; value = TREE_CHAIN(value)) {
		tree number = TREE_CODE(TREE_VALUE(value)) == CONST_DECL ? DECL_INITIAL(TREE_VALUE(value)) : TREE_VALUE(value);

		if (TREE_CODE(number) != INTEGER_CST || int_size_in_bytes(type) > 8)
			continue;
		names->push_back(IDENTIFIER_POINTER(TREE_PURPOSE(value)) + std::string("=") +
				 (TYPE_UNSIGNED(type) ? std::to_string(TREE_INT_CST_LOW(number)) :
							std::to_string((HOST_WIDE_INT)TREE_INT_CST_LOW(number))));
	}
}

/* What a note can say something of: the type itself or what it points to. */
static tree described_type(tree type)
{
	if (POINTER_TYPE_P(type))
		type = TREE_TYPE(type);
	else if (TREE_CODE(type) != ENUMERAL_TYPE && !RECORD_OR_UNION_TYPE_P(type))
		return NULL_TREE;
	if ((TREE_CODE(type) != ENUMERAL_TYPE && !RECORD_OR_UNION_TYPE_P(type)) || !COMPLETE_TYPE_P(type) ||
	    !tree_fits_uhwi_p(TYPE_SIZE_UNIT(type)))
		return NULL_TREE;
	/* C++'s own library says nothing to anybody. */
	type = TYPE_MAIN_VARIANT(type);
	if (is_cxx() && TYPE_NAME(type) && TREE_CODE(TYPE_NAME(type)) == TYPE_DECL) {
		std::string name = value_type_text(type);

		if (in_system_header_at(DECL_SOURCE_LOCATION(TYPE_NAME(type))) || !name.compare(0, 5, "std::") ||
		    !name.compare(0, 11, "__gnu_cxx::"))
			return NULL_TREE;
	}
	return type;
}

static std::string notes; /* of this unit, as assembler */

} // namespace

uint64_t type_key(tree of)
{
	static std::map<tree, uint64_t> known;
	tree type = described_type(of);

	if (!type)
		return 0;
	auto found = known.insert(std::make_pair(type, 0));
	if (!found.second)
		return found.first->second;

	std::vector<std::string> parts;
	std::string bytes;
	bool is_enum = TREE_CODE(type) == ENUMERAL_TYPE;
	if (is_enum)
		add_names(&parts, type);
	else
		add_fields(&parts, type, 0, 0);
	if (parts.empty())
		return 0;
	add_number(&bytes, tree_to_uhwi(TYPE_SIZE_UNIT(type)), 4);
	add_number(&bytes, is_enum ? PPN_TYPE_ENUM : PPN_TYPE_STRUCT, 2);
	add_number(&bytes, parts.size(), 2);
	add_string(&bytes, value_type_text(type));
	for (const std::string &part : parts)
		add_string(&bytes, part);
	uint64_t key = type_note(bytes, &notes);
	return known[type] = key;
}

void types_write(void)
{
	if (!notes.empty())
		symtab->finalize_toplevel_asm(build_string(notes.size(), notes.c_str()));
	notes.clear();
}
