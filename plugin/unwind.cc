// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Sites where a function is left without a return.
 *
 * 1. Exceptions. A call that may throw, and whose exception the function does not
 *    catch, gets a landing pad. The pad has the site NAME__unwind and throws on. Its
 *    region encloses all others of the function, so that a pad which throws on goes
 *    there too:
 *
 *        r = g (x);   =>   r = g (x);  [EH: pad]     pad:  site;  resx
 *
 *    Such a call cannot be a tail call any more. tail.cc removes the pad from calls
 *    that would be one.
 *
 * 2. Calls that do not return and do not throw (exit, abort, longjmp), or must be tail
 *    calls. Before the call stands a site of NAME__return, without a value, with the flag
 *    PPN_FLAG_NORETURN.
 */
#include "parts.h"

namespace {

/* True for a call that does not return and must be a tail call: its exception does not pass through the function. */
static bool leaves_by_jump(gimple *stmt)
{
	return is_gimple_call(stmt) && gimple_call_noreturn_p(stmt) && gimple_call_must_tail_p(as_a<gcall *>(stmt));
}

/* Calls, and statements that throw on. Other statements that throw (-fnon-call-exceptions) are left alone. */
static std::vector<gimple *> throwing_statements(function *fn)
{
	std::vector<gimple *> all;
	basic_block bb;

	FOR_EACH_BB_FN(bb, fn)
		for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at)) {
			gimple *stmt = gsi_stmt(at);

			if ((is_gimple_call(stmt) || gimple_code(stmt) == GIMPLE_RESX) &&
			    stmt_can_throw_external(fn, stmt) && !leaves_by_jump(stmt))
				all.push_back(stmt);
		}
	return all;
}

/* Makes a region that encloses all others. */
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
	gsi_insert_after(&at, site_stmt_new(site_record_new(probed, SITE_UNWIND)), GSI_NEW_STMT);
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
	const site_record plain = site_record_new(probed, SITE_RETURN);
	basic_block bb;

	FOR_EACH_BB_FN(bb, fn) {
		gimple_stmt_iterator at = gsi_last_nondebug_bb(bb);
		gimple *stmt = gsi_end_p(at) ? NULL : gsi_stmt(at);

		if (!stmt || !is_gimple_call(stmt) || !gimple_call_noreturn_p(stmt) || EDGE_COUNT(bb->succs) ||
		    gimple_call_internal_p(stmt) || (stmt_could_throw_p(fn, stmt) && !leaves_by_jump(stmt)) ||
		    gimple_call_builtin_p(stmt, BUILT_IN_UNREACHABLE) || gimple_call_builtin_p(stmt, BUILT_IN_TRAP))
			continue;
		gasm *site = site_stmt_new(site_flagged(plain, gimple_lineno(stmt), PPN_FLAG_NORETURN));

		gimple_set_location(site, gimple_location(stmt));
		gsi_insert_before(&at, site, GSI_SAME_STMT);
	}
}

bool sanitizer_exit(gimple *stmt)
{
	return has_must_tail(cfun) &&
	       (gimple_call_internal_p(stmt, IFN_ASAN_MARK) || gimple_call_internal_p(stmt, IFN_TSAN_FUNC_EXIT) ||
	        gimple_call_builtin_p(stmt, BUILT_IN_TSAN_FUNC_EXIT));
}

/* True if an exception that lands in bb only passes unwinding sites, and leaves the function. */
static bool is_unwind_pad(basic_block bb, int depth)
{
	for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at)) {
		gimple *stmt = gsi_stmt(at);

		if (gimple_code(stmt) == GIMPLE_LABEL || is_gimple_debug(stmt) || gimple_clobber_p(stmt) ||
		    gimple_code(stmt) == GIMPLE_RESX || gimple_code(stmt) == GIMPLE_PREDICT || sanitizer_exit(stmt))
			continue;
		if (!site_stmt_is(stmt, SITE_UNWIND))
			return false;
	}
	if (!EDGE_COUNT(bb->succs))
		return last_nondebug_stmt(bb) && gimple_code(last_nondebug_stmt(bb)) == GIMPLE_RESX;
	return single_succ_p(bb) && depth < 100 && is_unwind_pad(single_succ(bb), depth + 1);
}

bool unwind_only(edge e)
{
	return e->flags & EDGE_EH && is_unwind_pad(e->dest, 0);
}

bool unwind_edge_remove(gimple *call)
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
