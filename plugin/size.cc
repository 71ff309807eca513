// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Sites have no size when GCC decides what to inline.
 *
 * GCC counts each asm statement as an instruction, `asm inline` too. A small function
 * has few instructions; with two or three sites it is not small any more, and a quarter
 * of what is inlined in sqlite3 would not be. So while GCC measures a function, its sites
 * and the statements that only they need are not in it. GCC analyses parameters and
 * memory with the sites in place. LTO carries the measured sizes to processes in which
 * the plugin may be missing.
 */
#include "parts.h"

namespace {

struct hidden_block {
	basic_block bb;
	std::vector<gimple *> all; /* its statements, in their order */
};

/* True if stmt computes something that only hidden statements use. */
static bool is_for_hidden(gimple *stmt)
{
	imm_use_iterator iter;
	use_operand_p use;
	tree lhs;

	if (!is_gimple_assign(stmt) || gimple_vdef(stmt) || gimple_has_side_effects(stmt))
		return false;
	lhs = gimple_assign_lhs(stmt);
	if (TREE_CODE(lhs) != SSA_NAME || has_zero_uses(lhs))
		return false;
	FOR_EACH_IMM_USE_FAST(use, iter, lhs)
		if (!is_gimple_debug(USE_STMT(use)) && gimple_bb(USE_STMT(use)))
			return false;
	return true;
}

/* Links the statements that are not hidden. GCC's own functions would need the function to be the current one. */
static void block_fill(const hidden_block &block)
{
	gimple *first = NULL, *last = NULL;

	for (gimple *stmt : block.all) {
		if (!gimple_bb(stmt))
			continue;
		if (first)
			last->next = stmt;
		else
			first = stmt;
		stmt->prev = last;
		last = stmt;
	}
	if (first) {
		first->prev = last;
		last->next = NULL;
	}
	set_bb_seq(block.bb, first);
}

/* Takes sites out of fn, and appends the blocks that have some. Hidden statements have no block. */
static void sites_hide(function *fn, std::vector<hidden_block> *blocks)
{
	basic_block bb;

	FOR_EACH_BB_FN(bb, fn) {
		bool any = false;

		for (gimple_stmt_iterator at = gsi_last_bb(bb); !gsi_end_p(at); gsi_prev(&at))
			if (site_stmt_record(gsi_stmt(at)) || (any && is_for_hidden(gsi_stmt(at)))) {
				if (!any)
					blocks->push_back({ bb, {} });
				any = true;
				gimple_set_bb(gsi_stmt(at), NULL);
			}
		if (!any)
			continue;
		for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at))
			blocks->back().all.push_back(gsi_stmt(at));
		block_fill(blocks->back());
	}
}

static void sites_show(const std::vector<hidden_block> &blocks)
{
	for (const hidden_block &block : blocks) {
		for (gimple *stmt : block.all)
			if (!gimple_bb(stmt))
				gimple_set_bb(stmt, block.bb);
		block_fill(block);
	}
}

/* Replaces GCC's own pass, which measures one function for the first inlining. */
const pass_data size_data = {
	GIMPLE_PASS, PLUGIN_NAME "_size", OPTGROUP_INLINE, TV_INLINE_PARAMETERS, 0, 0, 0, 0, 0,
};

struct size_pass : gimple_opt_pass {
	size_pass(gcc::context *context) : gimple_opt_pass(size_data, context) {}

	opt_pass *clone() override
	{
		return new size_pass(m_ctxt);
	}

	unsigned execute(function *fn) override
	{
		std::vector<hidden_block> blocks;

		sites_hide(fn, &blocks);
		compute_fn_summary(cgraph_node::get(fn->decl), true);
		sites_show(blocks);
		return 0;
	}
};

/* GCC's own function, which measures all functions for the inlining of the whole unit. */
static void (*generate_summary)(void);

static void generate_summary_without_sites(void)
{
	std::vector<hidden_block> blocks;
	cgraph_node *node;

	FOR_EACH_FUNCTION_WITH_GIMPLE_BODY(node) {
		function *fn = DECL_STRUCT_FUNCTION(node->decl);

		if (fn && fn->cfg)
			sites_hide(fn, &blocks);
	}
	generate_summary();
	sites_show(blocks);
}

} // namespace

opt_pass *pass_size(gcc::context *context)
{
	return new size_pass(context);
}

void size_hook_unit(void)
{
	opt_pass *pass = g->get_passes()->get_pass_by_name("ipa-fnsummary");

	if (!pass || pass->type != IPA_PASS)
		return;
	generate_summary = ((ipa_opt_pass_d *)pass)->generate_summary;
	((ipa_opt_pass_d *)pass)->generate_summary = generate_summary_without_sites;
}
