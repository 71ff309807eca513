// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Declared probes. <sys/probe.h> makes of each an inline function: a test of the
 * semaphore, and behind it an asm statement that writes the signature, without
 * types, and one that is the site. Here, where the types are known, both become a
 * site like all others of the plugin. What is shown is what the second asm has as
 * inputs: so the classes and values are the same with the plugin and without.
 */
#include "parts.h"

bool is_declared_probe(tree decl)
{
	return lookup_attribute("probe_declared", DECL_ATTRIBUTES(decl)) != NULL_TREE;
}

namespace {

static const char *attribute_text(tree attribute, int nth)
{
	tree arg = TREE_VALUE(attribute);

	while (nth--)
		arg = TREE_CHAIN(arg);
	return TREE_STRING_POINTER(TREE_VALUE(arg));
}

/* "(a, f(b, c))" -> "a", "f(b, c)" */
static std::vector<std::string> split(const std::string &list)
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

static tree parameter(tree decl, const std::string &name)
{
	for (tree parm = DECL_ARGUMENTS(decl); parm; parm = DECL_CHAIN(parm))
		if (DECL_NAME(parm) && name == IDENTIFIER_POINTER(DECL_NAME(parm)))
			return parm;
	return NULL_TREE;
}

static gasm *find(function *fn, const std::string &text)
{
	basic_block bb;

	FOR_EACH_BB_FN(bb, fn)
		for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at)) {
			gasm *stmt = dyn_cast<gasm *>(gsi_stmt(at));

			if (stmt && !strncmp(gimple_asm_string(stmt), text.c_str(), text.size()))
				return stmt;
		}
	return NULL;
}

/* The value of an asm's input of this number. */
static tree input(gasm *stmt, unsigned nth)
{
	return nth < gimple_asm_ninputs(stmt) ? TREE_VALUE(gimple_asm_input_op(stmt, nth)) : NULL_TREE;
}

static void take_out(gimple *stmt)
{
	gimple_stmt_iterator at = gsi_for_stmt(stmt);

	unlink_stmt_vdef(stmt);
	gsi_remove(&at, true);
}

/* What is shown, each a parameter or an expression; arguments of parameters are known before LTO strips their types. */
struct shown {
	std::string text, type;
	uint64_t described;
	tree parm;
	std::vector<argument> arguments; /* where it is no operand as it is */
};

static std::map<unsigned, std::vector<shown>> survey; /* by DECL_UID */

} // namespace

void declared_survey(tree decl)
{
	std::vector<shown> &all = survey[DECL_UID(decl)];

	for (const std::string &text : split(attribute_text(lookup_attribute("probe_declared", DECL_ATTRIBUTES(decl)), 2))) {
		struct shown shown = {};
		tree parm = parameter(decl, text), type = parm ? TREE_TYPE(parm) : NULL_TREE;

		/* In a note a colon ends the name. */
		shown.text = text.find(':') == std::string::npos ? text : identifier_of(text);
		if (type && TREE_CODE(type) == REFERENCE_TYPE) {
			shown.type = value_type_text(TREE_TYPE(type));
			shown.described = type_key(TREE_TYPE(type));
		} else if (type) {
			argument arg = {};

			arg.name = shown.text;
			shown.type = value_type_text(type);
			shown.described = type_key(type);
			shown.parm = parm;
			arguments_add(type, arg, &shown.arguments);
		}
		all.push_back(shown);
	}
}

void declared_place(function *fn)
{
	tree attribute = lookup_attribute("probe_declared", DECL_ATTRIBUTES(fn->decl));
	struct probed probed = {};
	struct operands ops = {};

	probed.declared = true;
	probed.provider = attribute_text(attribute, 0);
	probed.name = attribute_text(attribute, 1);
	gasm *note = find(fn, ".ifndef .Lppn_" + probed.provider + "." + probed.name + "\n");
	gasm *place = find(fn, ".ifc " + probed.provider + ",func\n");
	if (!note || !place)
		return;
	const std::vector<shown> &all = survey[DECL_UID(fn->decl)];
	for (unsigned i = 0; i < all.size(); i++) {
		tree value = input(place, 2 * i + 1), cls = input(note, i);
		argument arg = {};

		if (!value || !cls || TREE_CODE(cls) != INTEGER_CST)
			return;
		HOST_WIDE_INT size = int_size_in_bytes(TREE_TYPE(value));
		if (size == 1 || size == 2 || size == 4 || size == 8) {
			arg.cls = tree_to_shwi(cls);
			arg.name = all[i].text;
			arg.type = all[i].type;
			arg.described = all[i].described;
			operand_add(&ops, arg, value);
			probed.arguments.push_back(arg);
			continue;
		}
		tree parm = all[i].parm;
		if (parm && is_gimple_reg(parm))
			parm = get_or_create_ssa_default_def(fn, parm);
		for (const argument &part : all[i].arguments) {
			operand_add(&ops, part, parm);
			probed.arguments.push_back(part);
		}
	}
	signature_write(fn->decl, "", &probed);
	gasm *site = site_build(&ops, &probed, SITE_DECLARED);
	gimple_set_location(site, gimple_location(place));
	gimple_seq_add_stmt(&ops.before, site);
	gimple_stmt_iterator at = gsi_for_stmt(place);
	gsi_insert_seq_before(&at, ops.before, GSI_SAME_STMT);
	take_out(note);
	take_out(place);
}
