// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Places sites: at a function's entry with its parameters, and before each of its
 * returns with the value. unwind.cc places those of the other ways out.
 *
 * The pass runs on every function as soon as it is in SSA form, before anything has
 * been inlined anywhere. So copies of the function, inlined or cloned, have copies of
 * its sites. The statement reads memory and does not write it (memory.cc).
 */
#include "parts.h"

namespace {

static bool node_calls_itself(tree decl)
{
	cgraph_node *node = cgraph_node::get(decl);

	for (cgraph_edge *e = node->callees; e; e = e->next_callee)
		if (e->callee == node)
			return true;
	return false;
}

static void place_entry(function *fn, const struct probed *probed)
{
	struct operands ops = {};
	std::vector<tree> parms;

	for (tree parm = DECL_ARGUMENTS(fn->decl); parm; parm = DECL_CHAIN(parm))
		parms.push_back(parm);
	for (const argument &arg : probed->arguments) {
		tree parm = parms[arg.parm];

		/* GCC makes no tail call in a function that takes a parameter's address. */
		if (arg.part == PART_ADDRESS && !TREE_ADDRESSABLE(parm) && node_calls_itself(fn->decl))
			break;
		/* A structure that is handed over by address must be in memory at the site. */
		if (arg.part == PART_ADDRESS)
			mark_addressable(parm);
		operand_add(&ops, arg, is_gimple_reg(parm) ? get_or_create_ssa_default_def(fn, parm) : parm);
	}

	edge entry = single_succ_edge(ENTRY_BLOCK_PTR_FOR_FN(fn));
	if (!single_pred_p(entry->dest) || phi_nodes(entry->dest))
		split_edge(entry);
	basic_block first = single_succ(ENTRY_BLOCK_PTR_FOR_FN(fn));
	gimple_stmt_iterator at = gsi_after_labels(first);
	gimple_seq_add_stmt(&ops.before, site_build(ops, probed, SITE_ENTRY));
	gsi_insert_seq_before(&at, ops.before, GSI_SAME_STMT);
}

static void place_return(greturn *ret, const struct probed *probed)
{
	gimple_stmt_iterator at = gsi_for_stmt(ret);
	struct operands ops = {};

	if (gimple_return_retval(ret))
		operand_add(&ops, probed->result, gimple_return_retval(ret));
	gasm *site = site_build(ops, probed, SITE_RETURN);
	gimple_set_location(site, gimple_location(ret));
	gimple_seq_add_stmt(&ops.before, site);
	gsi_insert_seq_before(&at, ops.before, GSI_SAME_STMT);
}

/* Makes the program's own asm statements differ from sites. */
static void program_asm_rename(function *fn)
{
	basic_block bb;

	FOR_EACH_BB_FN(bb, fn)
		for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at)) {
			gasm *stmt = dyn_cast<gasm *>(gsi_stmt(at));

			if (!stmt)
				continue;
			std::string text = program_template(stmt->string);
			if (text != stmt->string)
				stmt->string = ggc_strdup(text.c_str());
		}
}

const pass_data place_data = {
	GIMPLE_PASS, PLUGIN_NAME, OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, TODO_update_ssa,
};

struct place_pass : gimple_opt_pass {
	place_pass(gcc::context *context) : gimple_opt_pass(place_data, context) {}

	unsigned execute(function *fn) override
	{
		const struct probed *probed = function_probed(fn->decl);

		program_asm_rename(fn);
		if (is_declared_probe(fn->decl))
			declared_place(fn);
		if (!probed)
			return 0;
		if (probed->entry)
			place_entry(fn, probed);
		if (!probed->returns)
			return 0;
		for (greturn *ret : function_returns(fn))
			place_return(ret, probed);
		noreturn_place(fn, probed);
		if (flag_exceptions)
			unwind_place(fn, probed);
		return 0;
	}
};

} // namespace

opt_pass *pass_place(gcc::context *context)
{
	return new place_pass(context);
}
