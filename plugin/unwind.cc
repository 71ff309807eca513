// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The ways out of a function that are no returns.
 *
 * An exception that leaves: what may throw, and is caught nowhere in the function,
 * gets a landing pad that holds the site NAME__unwind and throws on. Its region is
 * around all others of the function, so that a pad which throws on goes there too.
 *
 *     r = g (x);   =>   r = g (x);  [EH: pad]     pad:  site;  resx
 *
 * Such a call can be no tail call any more; tail.cc takes the pad away again from
 * those that would be one.
 *
 * A call that does not return and does not throw (exit, abort, longjmp): before it
 * stands a site of NAME__return without a value that is flagged as such.
 */
#include "parts.h"

namespace {

/* Calls, and what throws on; with -fnon-call-exceptions more can, which is left alone. */
static std::vector<gimple *> throwing_statements(function *fn)
{
	std::vector<gimple *> all;
	basic_block bb;

	FOR_EACH_BB_FN(bb, fn)
		for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at)) {
			gimple *stmt = gsi_stmt(at);

			if ((is_gimple_call(stmt) || gimple_code(stmt) == GIMPLE_RESX) &&
			    stmt_can_throw_external(fn, stmt))
				all.push_back(stmt);
		}
	return all;
}

/* A region around all others. */
static eh_region outermost_region(function *fn)
{
	eh_region region = gen_eh_region_cleanup(NULL);

	gcc_assert(fn->eh->region_tree == region);
	region->inner = region->next_peer;
	region->next_peer = NULL;
	for (eh_region inner = region->inner; inner; inner = inner->next_peer)
		inner->outer = region;
	return region;
}

/*
 * Makes a statement the last one of its block, because GCC requires that of what can
 * throw. Debug statements alone do not make a block, so that the flow graph is the same
 * with and without -g: they move to the next block. If other ways lead to that block
 * too, the variables that they bind have no known value there.
 */
static void end_block_with(gimple *stmt)
{
	basic_block bb = gimple_bb(stmt), next = NULL;

	if (last_nondebug_stmt(bb) != stmt) {
		split_block(bb, stmt);
		return;
	}
	if (single_succ_p(bb) && single_succ(bb) != EXIT_BLOCK_PTR_FOR_FN(cfun))
		next = single_succ(bb);
	gimple_stmt_iterator at = gsi_for_stmt(stmt), to = next ? gsi_after_labels(next) : gsi_none();
	gsi_next(&at);
	while (!gsi_end_p(at)) {
		bool bind = gimple_debug_bind_p(gsi_stmt(at)), alone = next && single_pred_p(next);

		if (!next || (!alone && !bind)) {
			gsi_remove(&at, true);
			continue;
		}
		if (!alone) {
			gimple_debug_bind_reset_value(gsi_stmt(at));
			update_stmt(gsi_stmt(at));
		}
		gsi_move_before(&at, &to); /* at: the next one */
	}
}

} // namespace

void unwind_place(function *fn, const struct probed *probed)
{
	std::vector<gimple *> throwing = throwing_statements(fn);
	struct operands none = {};

	if (throwing.empty())
		return;
	eh_region region = outermost_region(fn);
	eh_landing_pad pad = gen_eh_landing_pad(region);
	tree label = create_artificial_label(UNKNOWN_LOCATION);
	basic_block bb = create_empty_bb(EXIT_BLOCK_PTR_FOR_FN(fn)->prev_bb);
	gimple_stmt_iterator at = gsi_start_bb(bb);

	pad->post_landing_pad = label;
	EH_LANDING_PAD_NR(label) = pad->index;
	if (current_loops)
		add_bb_to_loop(bb, current_loops->tree_root);
	gsi_insert_after(&at, gimple_build_label(label), GSI_NEW_STMT);
	gsi_insert_after(&at, site_build(&none, probed, SITE_UNWIND), GSI_NEW_STMT);
	gsi_insert_after(&at, gimple_build_resx(region->index), GSI_NEW_STMT);
	for (gimple *stmt : throwing) {
		end_block_with(stmt);
		add_stmt_to_eh_lp(stmt, pad->index);
		make_eh_edge(stmt);
	}
	free_dominance_info(CDI_DOMINATORS);
	free_dominance_info(CDI_POST_DOMINATORS);
	mark_virtual_operands_for_renaming(fn);
}

void noreturn_place(function *fn, const struct probed *probed)
{
	basic_block bb;

	FOR_EACH_BB_FN(bb, fn) {
		gimple_stmt_iterator at = gsi_last_nondebug_bb(bb);
		gimple *stmt = gsi_end_p(at) ? NULL : gsi_stmt(at);
		struct operands none = {};

		if (!stmt || !is_gimple_call(stmt) || !gimple_call_noreturn_p(stmt) || EDGE_COUNT(bb->succs) ||
		    gimple_call_internal_p(stmt) || stmt_could_throw_p(fn, stmt) ||
		    gimple_call_builtin_p(stmt, BUILT_IN_UNREACHABLE) || gimple_call_builtin_p(stmt, BUILT_IN_TRAP))
			continue;
		gasm *plain = site_build(&none, probed, SITE_RETURN);
		std::string text = site_text_flagged(site_stmt_text(plain), gimple_lineno(stmt), PPN_FLAG_NORETURN);
		gasm *site = site_stmt_new(text, std::vector<tree>(), std::vector<tree>());

		gimple_set_location(site, gimple_location(stmt));
		gsi_insert_before(&at, site, GSI_SAME_STMT);
	}
}

/* Does what is thrown there only pass unwinding sites, and leave the function? */
static bool is_pad(basic_block bb, int depth)
{
	for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at)) {
		gimple *stmt = gsi_stmt(at);

		if (gimple_code(stmt) == GIMPLE_LABEL || is_gimple_debug(stmt) || gimple_clobber_p(stmt) ||
		    gimple_code(stmt) == GIMPLE_RESX || gimple_code(stmt) == GIMPLE_PREDICT)
			continue;
		if (!site_stmt_is_unwind(stmt))
			return false;
	}
	if (!EDGE_COUNT(bb->succs))
		return last_nondebug_stmt(bb) && gimple_code(last_nondebug_stmt(bb)) == GIMPLE_RESX;
	return single_succ_p(bb) && depth < 100 && is_pad(single_succ(bb), depth + 1);
}

bool unwind_only(edge e)
{
	return e->flags & EDGE_EH && is_pad(e->dest, 0);
}

bool unwind_take_out(gimple *call)
{
	edge e;
	edge_iterator ei;
	bool any = false;

	FOR_EACH_EDGE(e, ei, gimple_bb(call)->succs)
		any |= unwind_only(e);
	if (any) {
		remove_stmt_from_eh_lp(call);
		gimple_purge_dead_eh_edges(gimple_bb(call));
	}
	return any;
}
