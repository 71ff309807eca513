// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A site as a statement of GIMPLE.
 *
 * In the end it is a volatile `asm inline`. But even that counts as an
 * instruction where GCC weighs what to inline: sqlite3 lost a fifth of its
 * inlined calls to the sites of returns. What counts for nothing is an internal
 * function's call. So until functions have been inlined a return's site is a
 * marker: a call of .LAUNDER, which has no result, touches no memory, and has the
 * text for its first argument, the operands behind it. GCC makes no such calls of
 * its own (it launders pointers, into a result), keeps this one as it keeps all
 * that may do something, and would expand it to nothing.
 *
 * But GCC's modref takes a function that has only such calls for one without
 * effects, and drops calls of it. So the entry's site is asm from the start.
 *
 * What LTO writes out must be asm already: the link may lack the plugin, and the
 * sites would be lost without a word.
 */
#include "parts.h"

bool site_stmt_is_marker(gimple *stmt)
{
	if (!gimple_call_internal_p(stmt, IFN_LAUNDER) || gimple_call_lhs(stmt) || !gimple_call_num_args(stmt))
		return false;
	tree text = gimple_call_arg(stmt, 0);
	return TREE_CODE(text) == ADDR_EXPR && TREE_CODE(TREE_OPERAND(text, 0)) == STRING_CST &&
	       site_is(TREE_STRING_POINTER(TREE_OPERAND(text, 0)));
}

const char *site_stmt_text(gimple *stmt)
{
	if (gimple_code(stmt) == GIMPLE_ASM) {
		const char *text = gimple_asm_string(as_a<gasm *>(stmt));

		return site_is(text) ? text : NULL;
	}
	return site_stmt_is_marker(stmt) ? TREE_STRING_POINTER(TREE_OPERAND(gimple_call_arg(stmt, 0), 0)) : NULL;
}

bool site_stmt_is_return(gimple *stmt)
{
	const char *text = site_stmt_text(stmt);

	return text && site_is_return(text);
}

static gimple *marker_new(const std::string &text, const std::vector<tree> &inputs)
{
	auto_vec<tree> args;
	tree string = build_string(text.size() + 1, text.c_str());

	TREE_TYPE(string) = build_array_type_nelts(char_type_node, text.size() + 1);
	TREE_READONLY(string) = 1;
	TREE_STATIC(string) = 1;
	args.safe_push(build1(ADDR_EXPR, build_pointer_type(TREE_TYPE(string)), string));
	for (tree input : inputs)
		args.safe_push(input);
	return gimple_build_call_internal_vec(IFN_LAUNDER, args);
}

static void input_add(vec<tree, va_gc> **list, const char *constraint, tree value)
{
	tree text = build_string(strlen(constraint) + 1, constraint);

	vec_safe_push(*list, build_tree_list(build_tree_list(NULL_TREE, text), value));
}

static gimple *asm_new(const std::string &text, const std::vector<tree> &inputs, const std::vector<tree> &in_memory)
{
	vec<tree, va_gc> *list = NULL;

	/* late.cc is stricter; but with LTO it may be missing. No reader knows pairs of registers. */
	for (tree input : inputs)
		input_add(&list, int_size_in_bytes(TREE_TYPE(input)) > UNITS_PER_WORD ? "no" : "nor", input);
	for (tree place : in_memory)
		input_add(&list, "m", place);
	gasm *site = gimple_build_asm_vec(ggc_strdup(text.c_str()), list, NULL, NULL, NULL);
	gimple_asm_set_volatile(site, true);
	gimple_asm_set_inline(site, true);
	return site;
}

gimple *site_stmt_new(const std::string &text, const std::vector<tree> &inputs, const std::vector<tree> &in_memory,
		      bool as_marker)
{
	return as_marker && in_memory.empty() ? marker_new(text, inputs) : asm_new(text, inputs, in_memory);
}

/* ---- from marker to asm --------------------------------------------------------- */

namespace {

static void settle(gimple_stmt_iterator *at)
{
	gimple *marker = gsi_stmt(*at);
	std::vector<tree> inputs;

	for (unsigned i = 1; i < gimple_call_num_args(marker); i++)
		inputs.push_back(gimple_call_arg(marker, i));
	gimple *site = asm_new(site_stmt_text(marker), inputs, std::vector<tree>());
	gimple_set_location(site, gimple_location(marker));
	gsi_replace(at, site, false);
}

const pass_data settle_data[] = {
	{ GIMPLE_PASS, PLUGIN_NAME "_lto", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, TODO_update_ssa },
	{ GIMPLE_PASS, PLUGIN_NAME "_asm", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, TODO_update_ssa },
};

struct settle_pass : gimple_opt_pass {
	enum settle_when when;

	settle_pass(gcc::context *context, enum settle_when when)
		: gimple_opt_pass(settle_data[when], context), when(when)
	{
	}

	unsigned execute(function *fn) override
	{
		basic_block bb;

		if (when == SETTLE_LTO && !flag_generate_lto)
			return 0;
		FOR_EACH_BB_FN(bb, fn)
			for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at))
				if (site_stmt_is_marker(gsi_stmt(at)))
					settle(&at);
		return 0;
	}
};

} // namespace

opt_pass *pass_settle(gcc::context *context, enum settle_when when)
{
	return new settle_pass(context, when);
}
