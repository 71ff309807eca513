// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Notes about types: the names of an enumeration, the fields of a structure that an
 * argument points to. There is one PPN_TYPE note for each type, in a COMDAT group that
 * is named after its content. Signatures refer to it by its key. The notes are an asm
 * statement at file scope, which LTO carries too: the text of a site is long enough.
 */
#include "parts.h"

namespace {

#define FIELDS_MAX 4096 /* of one note */

static void field_add(std::vector<std::string> *fields, uint64_t offset, tree field, const std::string &name)
{
	tree type = DECL_BIT_FIELD_TYPE(field) ? DECL_BIT_FIELD_TYPE(field) : TREE_TYPE(field);
	uint64_t bit = tree_to_uhwi(bit_position(field)), bits = tree_to_uhwi(DECL_SIZE(field));
	std::string where;
	char cls = type_class(type);

	if (DECL_BIT_FIELD(field))
		where = std::to_string(offset + bit / 8) + "." + std::to_string(bit % 8) + "/" + std::to_string(bits);
	else
		where = std::to_string(offset + bit / 8) + "/" + std::to_string(bits / 8);
	if (!is_operand_size(int_size_in_bytes(type)) || DECIMAL_FLOAT_TYPE_P(type))
		cls = PPN_CLASS_NONE;
	fields->push_back(where + cls + name + ":" + value_type_text(type));
}

/* The place of a virtual base differs between the classes that derive from this one. */
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

/* The fields of bases, and of members without a name, count as fields of the structure. */
static void fields_add(std::vector<std::string> *fields, tree type, uint64_t offset, int depth)
{
	for (tree field = TYPE_FIELDS(type); field && fields->size() < FIELDS_MAX; field = DECL_CHAIN(field)) {
		tree of = TREE_TYPE(field);

		if (TREE_CODE(field) != FIELD_DECL || !DECL_SIZE(field) || !tree_fits_uhwi_p(DECL_SIZE(field)) ||
		    !DECL_FIELD_OFFSET(field) || !tree_fits_uhwi_p(DECL_FIELD_OFFSET(field)))
			continue;
		if (DECL_NAME(field) && !DECL_ARTIFICIAL(field))
			field_add(fields, offset, field, IDENTIFIER_POINTER(DECL_NAME(field)));
		else if (RECORD_OR_UNION_TYPE_P(of) && COMPLETE_TYPE_P(of) && !DECL_NAME(field) && depth < 16 &&
		         !is_virtual_base(type, of))
			fields_add(fields, of, offset + int_byte_position(field), depth + 1);
	}
}

static void names_add(std::vector<std::string> *names, tree type)
{
	for (tree value = TYPE_VALUES(type); value && names->size() < FIELDS_MAX; value = TREE_CHAIN(value)) {
		tree number = TREE_CODE(TREE_VALUE(value)) == CONST_DECL ? DECL_INITIAL(TREE_VALUE(value))
		                                                         : TREE_VALUE(value);

		if (TREE_CODE(number) != INTEGER_CST || int_size_in_bytes(type) > 8)
			continue;
		names->push_back(IDENTIFIER_POINTER(TREE_PURPOSE(value)) + std::string("=") +
		                 (TYPE_UNSIGNED(type) ? std::to_string(TREE_INT_CST_LOW(number))
		                                      : std::to_string((HOST_WIDE_INT)TREE_INT_CST_LOW(number))));
	}
}

/* Returns the type that a note can describe, the type itself or what it points to, or NULL_TREE. */
static tree described_type(tree type)
{
	if (POINTER_TYPE_P(type))
		type = TREE_TYPE(type);
	else if (TREE_CODE(type) != ENUMERAL_TYPE && !RECORD_OR_UNION_TYPE_P(type))
		return NULL_TREE;
	if ((TREE_CODE(type) != ENUMERAL_TYPE && !RECORD_OR_UNION_TYPE_P(type)) || !COMPLETE_TYPE_P(type) ||
	    !tree_fits_uhwi_p(TYPE_SIZE_UNIT(type)))
		return NULL_TREE;
	/* The types of C++'s own library are of no use to readers. */
	type = TYPE_MAIN_VARIANT(type);
	if (is_cxx() && TYPE_NAME(type) && TREE_CODE(TYPE_NAME(type)) == TYPE_DECL) {
		std::string name = value_type_text(type);

		if (in_system_header_at(DECL_SOURCE_LOCATION(TYPE_NAME(type))) || !name.compare(0, 5, "std::") ||
		    !name.compare(0, 11, "__gnu_cxx::"))
			return NULL_TREE;
	}
	return type;
}

static std::string notes; /* of this unit, as assembler text */

} // namespace

uint64_t type_note_key(tree of)
{
	static std::map<tree, uint64_t> known;
	tree type = described_type(of);

	if (!type)
		return 0;
	auto found = known.insert(std::make_pair(type, 0));
	if (!found.second)
		return found.first->second;

	std::vector<std::string> parts;
	std::string content, note;
	bool is_enum = TREE_CODE(type) == ENUMERAL_TYPE;
	if (is_enum)
		names_add(&parts, type);
	else
		fields_add(&parts, type, 0, 0);
	if (parts.empty())
		return 0;
	note_add_number(&content, tree_to_uhwi(TYPE_SIZE_UNIT(type)), 4);
	note_add_number(&content, is_enum ? PPN_TYPE_ENUM : PPN_TYPE_STRUCT, 2);
	note_add_number(&content, parts.size(), 2);
	note_add_string(&content, value_type_text(type));
	for (const std::string &part : parts)
		note_add_string(&content, part);
	uint64_t key = note_hash(content);
	note_add_number(&note, key, 8);
	note += content;
	notes += "\t.pushsection " + note_section("type." + note_id(key)) +
	         note_text(PPN_OWNER, PPN_TYPE, asm_bytes(note)) + "\t.popsection\n";
	return known[type] = key;
}

void type_notes_write(void)
{
	if (!notes.empty())
		symtab->finalize_toplevel_asm(build_string(notes.size(), notes.c_str()));
	notes.clear();
}
