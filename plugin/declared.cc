// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The sites of declared probes.
 *
 * <sys/probe.h> makes an inline function of each declared probe:
 *
 *     if (semaphore) { asm (note);  asm (site); }
 *
 * The note is the signature without types. The plugin knows the types, and replaces
 * both statements with a site like all others. The values of the arguments are the
 * inputs of the header's own statements. So the classes and values are the same with
 * the plugin and without it.
 */
#include "parts.h"

static const char *attribute_text(tree decl, int nth)
{
	tree arg = TREE_VALUE(lookup_attribute("probe_declared", DECL_ATTRIBUTES(decl)));

	while (nth--)
		arg = TREE_CHAIN(arg);
	return TREE_STRING_POINTER(TREE_VALUE(arg));
}

bool is_declared_probe(tree decl)
{
	return lookup_attribute("probe_declared", DECL_ATTRIBUTES(decl)) != NULL_TREE;
}

std::string declared_provider(tree decl)
{
	return attribute_text(decl, 0);
}

std::string declared_name(tree decl)
{
	return attribute_text(decl, 1);
}

namespace {

/* "(a, f(b, c))" -> "a", "f(b, c)" */
static std::vector<std::string> parameters_split(const std::string &list)
{
	std::vector<std::string> parts;
	std::string part;
	int depth = 0;

	for (char c : list) {
		bool inside = depth > 0;

		depth += (c == '(') - (c == ')');
		if (!inside || !depth || (c == ',' && depth == 1)) {
			if (inside && (!part.empty() || c == ','))
				parts.push_back(part);
			part.clear();
		} else if (c != ' ' || !part.empty()) {
			part += c;
		}
	}
	return parts;
}

static tree parameter_find(tree decl, const std::string &name)
{
	for (tree parm = DECL_ARGUMENTS(decl); parm; parm = DECL_CHAIN(parm))
		if (DECL_NAME(parm) && name == IDENTIFIER_POINTER(DECL_NAME(parm)))
			return parm;
	return NULL_TREE;
}

static gasm *declared_stmt_find(function *fn, enum declared_stmt kind, const struct probed &probed)
{
	basic_block bb;

	FOR_EACH_BB_FN(bb, fn)
		for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at)) {
			gasm *stmt = dyn_cast<gasm *>(gsi_stmt(at));

			if (stmt && declared_stmt_of(gimple_asm_string(stmt), probed.provider, probed.name) == kind)
				return stmt;
		}
	return NULL;
}

/* Returns the value of input nth, or NULL_TREE if there is none. */
static tree asm_input(gasm *stmt, unsigned nth)
{
	return nth < gimple_asm_ninputs(stmt) ? TREE_VALUE(gimple_asm_input_op(stmt, nth)) : NULL_TREE;
}

static void stmt_remove(gimple *stmt)
{
	gimple_stmt_iterator at = gsi_for_stmt(stmt);

	unlink_stmt_vdef(stmt);
	gsi_remove(&at, true);
}

/* A parameter or expression that the declaration lists, as it is before LTO strips types. */
struct listed {
	std::string text, type;
	uint64_t type_key;
	tree parm;                       /* NULL_TREE: an expression, or a reference */
	std::vector<argument> arguments; /* of parm, if it does not fit into one operand */
};

static std::map<unsigned, std::vector<listed>> declared_lists; /* by DECL_UID */

} // namespace

void declared_survey(tree decl)
{
	std::vector<listed> &all = declared_lists[DECL_UID(decl)];

	for (const std::string &text : parameters_split(attribute_text(decl, 2))) {
		struct listed listed = {};
		tree parm = parameter_find(decl, text), type = parm ? TREE_TYPE(parm) : NULL_TREE;

		/* A colon ends the name in a note. */
		listed.text = text.find(':') == std::string::npos ? text : identifier_of(text);
		if (type && TREE_CODE(type) == REFERENCE_TYPE) {
			listed.type = value_type_text(TREE_TYPE(type));
			listed.type_key = type_note_key(TREE_TYPE(type));
		} else if (type) {
			argument arg = {};

			arg.name = listed.text;
			listed.type = value_type_text(type);
			listed.type_key = type_note_key(type);
			listed.parm = parm;
			arguments_add(type, arg, &listed.arguments);
		}
		all.push_back(listed);
	}
}

/* Adds the arguments and operands of one listed value, of which the header's statements have this value and class. */
static void declared_add(function *fn, const listed &listed, tree value, tree cls, struct probed *probed,
                         struct operands *ops)
{
	tree parm = listed.parm;

	if (is_operand_size(int_size_in_bytes(TREE_TYPE(value)))) {
		argument arg = {};

		arg.cls = tree_to_shwi(cls);
		arg.name = listed.text;
		arg.type = listed.type;
		arg.type_key = listed.type_key;
		operand_add(ops, arg, value);
		probed->arguments.push_back(arg);
		return;
	}
	if (parm && is_gimple_reg(parm))
		parm = get_or_create_ssa_default_def(fn, parm);
	for (const argument &part : listed.arguments) {
		operand_add(ops, part, parm);
		probed->arguments.push_back(part);
	}
}

void declared_place(function *fn)
{
	struct probed probed = {};
	struct operands ops = {};

	probed.declared = true;
	probed.provider = declared_provider(fn->decl);
	probed.name = declared_name(fn->decl);
	gasm *note = declared_stmt_find(fn, DECLARED_NOTE, probed);
	gasm *place = declared_stmt_find(fn, DECLARED_SITE, probed);
	if (!note || !place)
		return;
	const std::vector<listed> &all = declared_lists[DECL_UID(fn->decl)];
	for (unsigned i = 0; i < all.size(); i++) {
		tree value = asm_input(place, 2 * i + 1), cls = asm_input(note, i);

		if (!value || !cls || TREE_CODE(cls) != INTEGER_CST)
			return;
		declared_add(fn, all[i], value, cls, &probed, &ops);
	}
	signature_write(fn->decl, "", &probed);
	gasm *site = site_build(ops, &probed, SITE_DECLARED);
	gimple_set_location(site, gimple_location(place));
	gimple_seq_add_stmt(&ops.before, site);
	gimple_stmt_iterator at = gsi_for_stmt(place);
	gsi_insert_seq_before(&at, ops.before, GSI_SAME_STMT);
	stmt_remove(note);
	stmt_remove(place);
}
