// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The sites of a return stand before it once, except while fnsplit runs.
 *
 * One site before the return disturbs most passes least: the blocks that lead to the
 * return stay as they are, empty ones stay empty, and GCC makes a tail call of
 *
 *     if (g (x)) return 1; return 0;
 *
 * But fnsplit, which separates the fast path of a function from the rest, needs a return
 * that does nothing. Without it, sqlite3 loses a twentieth of what is inlined. So two
 * passes enclose it:
 *
 *     part   before fnsplit, copies the sites of a return onto the ways into it
 *     join   after fnsplit, merges equal sites at the ends of all ways into a block, if
 *            the values that they hand over are equal or meet in a PHI there
 *
 * Sites whose value needs statements of its own (floating values, structures) stay on
 * the ways, because passes after this one would see those statements.
 */
#include "parts.h"

namespace {

#define WAYS_MAX 4 /* into a return, that get a copy of the sites each */

/* True if stmt sets the return's value to a constant, which the sites can use directly. */
static bool stmt_sets_constant(gimple *stmt, tree value)
{
	return gimple_assign_single_p(stmt) && value && gimple_assign_lhs(stmt) == value &&
	       TREE_CODE(value) == SSA_NAME && is_gimple_min_invariant(gimple_assign_rhs1(stmt));
}

/* True for a label that code elsewhere may refer to. */
static bool label_is_external(gimple *stmt)
{
	tree label = gimple_label_label(as_a<glabel *>(stmt));

	return FORCED_LABEL(label) || DECL_NONLOCAL(label);
}

/* Finds the sites of a block in which ways meet. Returns false if it does anything but return, or has no sites. */
static bool return_find_sites(basic_block bb, tree value, std::vector<gimple *> *sites)
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

		if (gimple_code(stmt) == GIMPLE_LABEL && label_is_external(stmt))
			return false;
		if (site_stmt_is(stmt, SITE_RETURN) || site_stmt_feeds(stmt, *sites))
			sites->insert(sites->begin(), stmt);
		else if (gimple_code(stmt) != GIMPLE_LABEL && gimple_code(stmt) != GIMPLE_RETURN &&
		         !is_gimple_debug(stmt) && !stmt_sets_constant(stmt, value))
			return false;
	}
	return !sites->empty();
}

/*
 * Returns at most WAYS_MAX edges into *bb. If there are more, it joins those from the last blocks of the function. Then
 * *bb becomes the block after the joint.
 */
static std::vector<edge> ways_limit(basic_block *bb)
{
	std::vector<edge> ways;
	edge e;
	edge_iterator ei;

	FOR_EACH_EDGE(e, ei, (*bb)->preds)
		ways.push_back(e);
	std::sort(ways.begin(), ways.end(), [](edge a, edge b) { return a->src->index < b->src->index; });
	if (ways.size() <= WAYS_MAX)
		return ways;
	std::vector<edge> others(ways.begin() + WAYS_MAX - 1, ways.end());
	ways.resize(WAYS_MAX - 1);
	ways.push_back(edges_join(*bb, others));
	*bb = ways.back()->dest;
	return ways;
}

/* Copies the sites of a return onto the ways into it. */
static void return_part(greturn *ret)
{
	basic_block bb = gimple_bb(ret);
	tree value = gimple_return_retval(ret);
	std::vector<gimple *> sites;

	if (!return_find_sites(bb, value, &sites))
		return;
	std::vector<edge> ways = ways_limit(&bb);
	for (edge way : ways) {
		std::map<tree, tree> known;

		for (gphi_iterator at = gsi_start_phis(bb); !gsi_end_p(at); gsi_next(&at))
			known[gimple_phi_result(at.phi())] = PHI_ARG_DEF_FROM_EDGE(at.phi(), way);
		if (value && TREE_CODE(value) == SSA_NAME && gimple_bb(SSA_NAME_DEF_STMT(value)) == bb &&
		    stmt_sets_constant(SSA_NAME_DEF_STMT(value), value))
			known[value] = gimple_assign_rhs1(SSA_NAME_DEF_STMT(value));
		site_stmts_copy_to_edge(way, sites, known);
	}
	site_stmts_remove(sites);
}

/* ---- joining -------------------------------------------------------------- */

/* Returns the site at the end of a way, or NULL. */
static gasm *way_last_site(edge way)
{
	gimple *last = way->flags & EDGE_COMPLEX || !single_succ_p(way->src) ? NULL : last_nondebug_stmt(way->src);

	return last && site_stmt_is(last, SITE_RETURN) ? as_a<gasm *>(last) : NULL;
}

static bool values_equal(tree a, tree b)
{
	return a == b || (types_compatible_p(TREE_TYPE(a), TREE_TYPE(b)) && operand_equal_p(a, b, 0));
}

/* Returns the name in bb of input i of the sites at the ends of all ways into it, or NULL_TREE if it has none. */
static tree input_in_block(basic_block bb, unsigned i)
{
	tree first = TREE_VALUE(gimple_asm_input_op(way_last_site(EDGE_PRED(bb, 0)), i));
	bool same = true;
	edge e;
	edge_iterator ei;

	FOR_EACH_EDGE(e, ei, bb->preds)
		same &= values_equal(first, TREE_VALUE(gimple_asm_input_op(way_last_site(e), i)));
	if (same)
		return first;
	for (gphi_iterator at = gsi_start_phis(bb); !gsi_end_p(at); gsi_next(&at)) {
		bool meets = !virtual_operand_p(gimple_phi_result(at.phi()));

		FOR_EACH_EDGE(e, ei, bb->preds)
			meets = meets && values_equal(PHI_ARG_DEF_FROM_EDGE(at.phi(), e),
			                              TREE_VALUE(gimple_asm_input_op(way_last_site(e), i)));
		if (meets && !SSA_NAME_OCCURS_IN_ABNORMAL_PHI(gimple_phi_result(at.phi())))
			return gimple_phi_result(at.phi());
	}
	return NULL_TREE;
}

/* Merges the last sites of all ways into bb. Returns false if they differ. */
static bool sites_join(basic_block bb)
{
	std::vector<tree> inputs;
	edge e;
	edge_iterator ei;

	if (EDGE_COUNT(bb->preds) < 2 || bb == EXIT_BLOCK_PTR_FOR_FN(cfun))
		return false;
	gasm *first = way_last_site(EDGE_PRED(bb, 0));
	if (!first)
		return false;
	FOR_EACH_EDGE(e, ei, bb->preds) {
		gasm *site = way_last_site(e);

		if (!site || site_stmt_record(site) != site_stmt_record(first) ||
		    gimple_asm_ninputs(site) != gimple_asm_ninputs(first))
			return false;
	}
	for (unsigned i = 0; i < gimple_asm_ninputs(first); i++) {
		inputs.push_back(input_in_block(bb, i));
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
		gasm *site = way_last_site(e);

		if (gimple_location(site) != gimple_location(one))
			gimple_set_location(one, UNKNOWN_LOCATION);
		site_stmts_remove(std::vector<gimple *>(1, site));
	}
	gimple_stmt_iterator at = gsi_after_labels(bb);
	gsi_insert_before(&at, one, GSI_SAME_STMT);
	site_stmt_moved(one);
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
