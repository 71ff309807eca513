// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Where the sites of a return stand: once before it, or on each way into it.
 *
 * Once is how a function without the plugin looks to most passes: the blocks that
 * lead to the return stay as they are, empty ones stay empty, and GCC makes of
 *
 *     if (g (x)) return 1; return 0;
 *
 * a tail call. But GCC parts the quick way of a function from the rest (fnsplit)
 * only at a return that does nothing. Without that, sqlite3 loses a twentieth of
 * what is inlined. So
 *
 *     part   before fnsplit, copies the sites of a return to the ways into it
 *     join   after fnsplit, makes one of equal sites at the ends of all ways into a
 *            block, if what they hand over is equal or meets in a PHI there
 *
 * Sites whose value needs statements of its own (floating values, structures) stay
 * on the ways, because passes after this one would see those statements.
 */
#include "parts.h"

namespace {

#define WAYS 4

/* The return's value is made a constant here: its way is as good as none. */
static bool is_constant(gimple *stmt, tree value)
{
	return gimple_assign_single_p(stmt) && value && gimple_assign_lhs(stmt) == value &&
	       TREE_CODE(value) == SSA_NAME && is_gimple_min_invariant(gimple_assign_rhs1(stmt));
}

static bool is_label_of_others(gimple *stmt)
{
	tree label = gimple_label_label(as_a<glabel *>(stmt));

	return FORCED_LABEL(label) || DECL_NONLOCAL(label);
}

/* Finds the sites of a block that does nothing but return, and where ways meet. */
static bool is_meeting(basic_block bb, tree value, std::vector<gimple *> *sites)
{
	edge e;
	edge_iterator ei;

	if (EDGE_COUNT(bb->preds) < 2)
		return false;
	FOR_EACH_EDGE(e, ei, bb->preds)
		if (e->flags & EDGE_COMPLEX)
			return false;
	for (gimple_stmt_iterator at = gsi_last_bb(bb); !gsi_end_p(at); gsi_prev(&at)) {
		gimple *stmt = gsi_stmt(at);

		if (gimple_code(stmt) == GIMPLE_LABEL && is_label_of_others(stmt))
			return false;
		if (site_stmt_is(stmt, SITE_RETURN) || site_stmt_feeds(stmt, *sites))
			sites->insert(sites->begin(), stmt);
		else if (gimple_code(stmt) != GIMPLE_LABEL && gimple_code(stmt) != GIMPLE_RETURN &&
			 !is_gimple_debug(stmt) && !is_constant(stmt, value))
			return false;
	}
	return !sites->empty();
}

/* The ways into bb, the first ones of the function by themselves, all others as one. */
static std::vector<edge> few_ways(basic_block *bb)
{
	std::vector<edge> ways;
	edge e;
	edge_iterator ei;

	FOR_EACH_EDGE(e, ei, (*bb)->preds)
		ways.push_back(e);
	std::sort(ways.begin(), ways.end(), [](edge a, edge b) { return a->src->index < b->src->index; });
	if (ways.size() <= WAYS)
		return ways;
	std::vector<edge> others(ways.begin() + WAYS - 1, ways.end());
	ways.resize(WAYS - 1);
	ways.push_back(edges_join(*bb, others));
	*bb = ways.back()->dest;
	return ways;
}

static bool return_part(greturn *ret)
{
	basic_block bb = gimple_bb(ret);
	tree value = gimple_return_retval(ret);
	std::vector<gimple *> sites;

	if (!is_meeting(bb, value, &sites))
		return false;
	std::vector<edge> ways = few_ways(&bb);
	for (edge way : ways) {
		std::map<tree, tree> known;

		for (gphi_iterator at = gsi_start_phis(bb); !gsi_end_p(at); gsi_next(&at))
			known[gimple_phi_result(at.phi())] = PHI_ARG_DEF_FROM_EDGE(at.phi(), way);
		if (value && TREE_CODE(value) == SSA_NAME && gimple_bb(SSA_NAME_DEF_STMT(value)) == bb &&
		    is_constant(SSA_NAME_DEF_STMT(value), value))
			known[value] = gimple_assign_rhs1(SSA_NAME_DEF_STMT(value));
		site_stmts_copy_to_edge(way, sites, known);
	}
	site_stmts_remove(sites);
	return true;
}

/* ---- and back ------------------------------------------------------------------------- */

/* The site at the end of a way; NULL: none is there. */
static gasm *last_site(edge way)
{
	gimple *last = way->flags & EDGE_COMPLEX || !single_succ_p(way->src) ? NULL : last_nondebug_stmt(way->src);

	return last && site_stmt_is(last, SITE_RETURN) ? as_a<gasm *>(last) : NULL;
}

static bool are_equal(tree a, tree b)
{
	return a == b || (types_compatible_p(TREE_TYPE(a), TREE_TYPE(b)) && operand_equal_p(a, b, 0));
}

/* What input number i of the sites at the ends of all ways into bb is in bb; NULL_TREE: has no name there. */
static tree input_in(basic_block bb, unsigned i)
{
	tree first = TREE_VALUE(gimple_asm_input_op(last_site(EDGE_PRED(bb, 0)), i));
	bool same = true;
	edge e;
	edge_iterator ei;

	FOR_EACH_EDGE(e, ei, bb->preds)
		same &= are_equal(first, TREE_VALUE(gimple_asm_input_op(last_site(e), i)));
	if (same)
		return first;
	for (gphi_iterator at = gsi_start_phis(bb); !gsi_end_p(at); gsi_next(&at)) {
		bool meets = !virtual_operand_p(gimple_phi_result(at.phi()));

		FOR_EACH_EDGE(e, ei, bb->preds)
			meets = meets && are_equal(PHI_ARG_DEF_FROM_EDGE(at.phi(), e),
						   TREE_VALUE(gimple_asm_input_op(last_site(e), i)));
		if (meets && !SSA_NAME_OCCURS_IN_ABNORMAL_PHI(gimple_phi_result(at.phi())))
			return gimple_phi_result(at.phi());
	}
	return NULL_TREE;
}

/* Makes one of the last sites of all ways into bb. False: they differ. */
static bool sites_join(basic_block bb)
{
	std::vector<tree> inputs;
	edge e;
	edge_iterator ei;

	if (EDGE_COUNT(bb->preds) < 2 || bb == EXIT_BLOCK_PTR_FOR_FN(cfun))
		return false;
	gasm *first = last_site(EDGE_PRED(bb, 0));
	if (!first)
		return false;
	FOR_EACH_EDGE(e, ei, bb->preds) {
		gasm *site = last_site(e);

		if (!site || site_stmt_record(site) != site_stmt_record(first) ||
		    gimple_asm_ninputs(site) != gimple_asm_ninputs(first))
			return false;
	}
	for (unsigned i = 0; i < gimple_asm_ninputs(first); i++) {
		inputs.push_back(input_in(bb, i));
		if (!inputs.back())
			return false;
	}
	gasm *one = as_a<gasm *>(gimple_copy(first));
	for (unsigned i = 0; i < inputs.size(); i++) {
		tree input = copy_node(gimple_asm_input_op(first, i));

		TREE_VALUE(input) = inputs[i];
		gimple_asm_set_input_op(one, i, input);
	}
	FOR_EACH_EDGE(e, ei, bb->preds) {
		gasm *site = last_site(e);

		if (gimple_location(site) != gimple_location(one))
			gimple_set_location(one, UNKNOWN_LOCATION);
		site_stmts_remove(std::vector<gimple *>(1, site));
	}
	gimple_stmt_iterator at = gsi_after_labels(bb);
	gsi_insert_before(&at, one, GSI_SAME_STMT);
	return true;
}

const pass_data part_data = {
	GIMPLE_PASS, PLUGIN_NAME "_part", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, TODO_update_ssa,
};
const pass_data join_data = {
	GIMPLE_PASS, PLUGIN_NAME "_join", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, TODO_update_ssa,
};

struct part_pass : gimple_opt_pass {
	part_pass(gcc::context *context) : gimple_opt_pass(part_data, context) {}

	bool gate(function *) override
	{
		return flag_partial_inlining;
	}

	unsigned execute(function *fn) override
	{
		for (greturn *ret : function_returns(fn))
			return_part(ret);
		return 0;
	}
};

struct join_pass : gimple_opt_pass {
	join_pass(gcc::context *context) : gimple_opt_pass(join_data, context) {}

	bool gate(function *) override
	{
		return flag_partial_inlining;
	}

	unsigned execute(function *fn) override
	{
		bool any = false, again = true;
		basic_block bb;

		while (again) {
			again = false;
			FOR_EACH_BB_FN(bb, fn)
				while (sites_join(bb))
					again = any = true;
		}
		return any ? TODO_cleanup_cfg : 0;
	}
};

} // namespace

opt_pass *pass_part(gcc::context *context)
{
	return new part_pass(context);
}

opt_pass *pass_join(gcc::context *context)
{
	return new join_pass(context);
}
