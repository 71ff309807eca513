// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Arguments of declared probes cost nothing while the probe is not enabled.
 *
 * By inlining, a call of such a probe becomes the computation of its arguments, a test
 * of the semaphore, and a site. This pass moves the test before the computation:
 *
 *     mark;  a = expensive (x) ? y : z;  if (semaphore) site (a);  ...
 *  => if (semaphore) { a = expensive (x) ? y : z;  site (a); }  ...
 *
 *   1. Only the front end knows where the arguments begin. idle_mark() puts a mark
 *      before each call.
 *   2. The pass runs right after the first inlining. By then the called functions are
 *      known, and nothing that the arguments compute has been shared with other code.
 *   3. The test moves up to the mark if everything between them has no side effects and
 *      only the site uses the results.
 *   4. Otherwise the statements that satisfy this move below the test, one at a time.
 *
 * The plugin warns about side effects. Those that the source shows (n++) it reports
 * when it reads the source, and calls when it knows what they call. GCC may not have
 * found out yet that a function has no side effects. Then the plugin examines the
 * statements of the function, so that the warning is the same at each -O.
 */
#include "parts.h"

namespace {

/* ---- while the source is read --------------------------------------------- */

/* For messages: "PROVIDER:NAME". */
static std::string mark_probe(const struct call_mark &mark)
{
	return mark.provider + ":" + mark.name;
}

/* For walk_tree(): stops at an expression that has a side effect. */
static tree effect_find(tree *tp, int *walk, void *)
{
	switch (TREE_CODE(*tp)) {
	case MODIFY_EXPR:
	case PREINCREMENT_EXPR:
	case PREDECREMENT_EXPR:
	case POSTINCREMENT_EXPR:
	case POSTDECREMENT_EXPR:
	case ASM_EXPR: return *tp;
	case STATEMENT_LIST: /* these have variables of their own */
	case BIND_EXPR: *walk = 0; return NULL_TREE;
	default:
		if (TYPE_P(*tp))
			*walk = 0;
		return (REFERENCE_CLASS_P(*tp) || VAR_P(*tp)) && TREE_THIS_VOLATILE(*tp) ? *tp : NULL_TREE;
	}
}

/* Returns the statement of a mark. */
static tree mark_build(const struct call_mark &mark, location_t where)
{
	std::string text = call_mark_encode(mark);
	tree stmt = build5(ASM_EXPR, void_type_node, build_string(text.size() + 1, text.c_str()), NULL_TREE, NULL_TREE,
	                   NULL_TREE, NULL_TREE);

	ASM_VOLATILE_P(stmt) = 1;
	ASM_INLINE_P(stmt) = 1;
	SET_EXPR_LOCATION(stmt, where);
	TREE_SIDE_EFFECTS(stmt) = 1;
	return stmt;
}

/* For walk_tree(): puts a mark before a call of a declared probe. data: the set of trees that have been visited. */
static tree call_add_mark(tree *tp, int *walk, void *data)
{
	tree decl = TREE_CODE(*tp) == CALL_EXPR ? get_callee_fndecl(*tp) : NULL_TREE;
	struct call_mark mark;

	if (TYPE_P(*tp))
		*walk = 0;
	if (!decl || !is_declared_probe(decl) || !call_expr_nargs(*tp))
		return NULL_TREE;
	*walk = 0;
	mark.provider = declared_provider(decl);
	mark.name = declared_name(decl);
	for (int i = 0; i < call_expr_nargs(*tp); i++) {
		tree effect = walk_tree_without_duplicates(&CALL_EXPR_ARG(*tp, i), effect_find, NULL);

		if (effect)
			mark.warned = warning_at(
				EXPR_LOC_OR_LOC(effect, EXPR_LOC_OR_LOC(*tp, input_location)), 0,
				"argument %d of probe %qs has a side effect, so it is computed even if the probe is not enabled",
				i + 1, mark_probe(mark).c_str());
		walk_tree(&CALL_EXPR_ARG(*tp, i), call_add_mark, data, (hash_set<tree> *)data);
	}
	*tp = build2_loc(EXPR_LOCATION(*tp), COMPOUND_EXPR, TREE_TYPE(*tp), mark_build(mark, EXPR_LOCATION(*tp)), *tp);
	return NULL_TREE;
}

/* ---- side effects --------------------------------------------------------- */

static bool stmt_is_harmless(gimple *stmt, function *fn, int depth);

/* Set if a call may be harmless: without optimisation GCC does not always have the body of an inline function. */
static bool doubtful;

/* True if a function does nothing but compute its result, as its callers see it. */
static bool function_is_harmless(tree decl, int depth)
{
	static std::map<unsigned, std::pair<bool, bool>> known; /* harmless, doubtful */
	cgraph_node *node = cgraph_node::get(decl);
	function *fn = DECL_STRUCT_FUNCTION(decl);
	basic_block bb;

	if (flags_from_decl_or_type(decl) & (ECF_CONST | ECF_PURE))
		return true;
	if (!node || !fn || !fn->cfg || depth > 16 || node->get_availability() <= AVAIL_INTERPOSABLE) {
		doubtful |= !optimize && DECL_DECLARED_INLINE_P(decl);
		return false;
	}
	auto found = known.insert(std::make_pair(DECL_UID(decl), std::make_pair(true, false)));
	if (!found.second) {
		doubtful |= found.first->second.second;
		return found.first->second.first;
	}
	FOR_EACH_BB_FN(bb, fn)
		for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at))
			if (gimple_code(gsi_stmt(at)) != GIMPLE_RETURN &&
			    !stmt_is_harmless(gsi_stmt(at), fn, depth + 1)) {
				known[DECL_UID(decl)] = std::make_pair(false, doubtful);
				return false;
			}
	return true;
}

/* True if ref is a variable that ceases to exist when fn, or the function inlined into it, returns. */
static bool ref_is_own(tree ref, function *fn, int depth)
{
	tree base = get_base_address(ref);

	if (!base || !DECL_P(base) || !auto_var_in_fn_p(base, fn->decl))
		return false;
	return depth || DECL_ARTIFICIAL(base) || (DECL_ABSTRACT_ORIGIN(base) && DECL_ABSTRACT_ORIGIN(base) != base);
}

/* True for a check of a sanitizer, which has no effect on a correct program. */
static bool call_is_check(gcall *call)
{
	tree decl = gimple_call_fndecl(call);

	if (!gimple_call_internal_p(call))
		return decl && DECL_NAME(decl) && fndecl_built_in_p(decl) &&
		       strstr(IDENTIFIER_POINTER(DECL_NAME(decl)), "__ubsan_handle_");
	switch (gimple_call_internal_fn(call)) {
	case IFN_UBSAN_NULL:
	case IFN_UBSAN_BOUNDS:
	case IFN_UBSAN_VPTR:
	case IFN_UBSAN_PTR:
	case IFN_UBSAN_OBJECT_SIZE:
	case IFN_ASAN_CHECK: return true;
	default: return false;
	}
}

/* True if stmt has no side effect. depth: of calls; 0 for statements of the arguments themselves. */
static bool stmt_is_harmless(gimple *stmt, function *fn, int depth)
{
	if (is_gimple_debug(stmt))
		return true;
	/* Calls of pure functions may be left out, although they may throw in C++. */
	if (is_gimple_call(stmt) && gimple_call_flags(stmt) & (ECF_CONST | ECF_PURE))
		return !gimple_call_lhs(stmt) || TREE_CODE(gimple_call_lhs(stmt)) == SSA_NAME ||
		       ref_is_own(gimple_call_lhs(stmt), fn, depth);
	if (is_gimple_call(stmt) && call_is_check(as_a<gcall *>(stmt)))
		return true;
	if (gimple_has_volatile_ops(stmt) || (!is_gimple_call(stmt) && stmt_can_throw_external(fn, stmt)))
		return false;
	switch (gimple_code(stmt)) {
	case GIMPLE_LABEL:
		return !FORCED_LABEL(gimple_label_label(as_a<glabel *>(stmt))) &&
		       !DECL_NONLOCAL(gimple_label_label(as_a<glabel *>(stmt)));
	case GIMPLE_NOP:
	case GIMPLE_PREDICT:
	case GIMPLE_COND:
	case GIMPLE_SWITCH:
	case GIMPLE_GOTO: return true;
	case GIMPLE_ASSIGN: return !gimple_vdef(stmt) || ref_is_own(gimple_assign_lhs(stmt), fn, depth);
	case GIMPLE_CALL:
		if (gimple_vdef(stmt) && gimple_call_lhs(stmt) && TREE_CODE(gimple_call_lhs(stmt)) != SSA_NAME &&
		    !ref_is_own(gimple_call_lhs(stmt), fn, depth))
			return false;
		return gimple_call_fndecl(stmt) && function_is_harmless(gimple_call_fndecl(stmt), depth);
	default: return false;
	}
}

/* ---- from the mark to the test -------------------------------------------- */

struct idle_region {
	basic_block first, last;         /* have the mark and the test */
	gimple *mark, *test;             /* the statement of the mark, the first statement of the test */
	std::vector<basic_block> blocks; /* all blocks between them, first to last */
	std::vector<basic_block> site; /* the blocks after a test that succeeds, each the successor of the one before */
	gimple *effect;                /* the first statement that must stay, or NULL */
};

static bool blocks_contain(const std::vector<basic_block> &blocks, basic_block bb)
{
	return std::find(blocks.begin(), blocks.end(), bb) != blocks.end();
}

/* Reads a mark into *mark, if stmt is one. */
static bool stmt_is_mark(gimple *stmt, struct call_mark *mark)
{
	return gimple_code(stmt) == GIMPLE_ASM && call_mark_decode(gimple_asm_string(as_a<gasm *>(stmt)), mark);
}

static bool stmt_is_test(gimple *stmt, const struct call_mark &mark)
{
	return gimple_code(stmt) == GIMPLE_ASM &&
	       declared_stmt_of(gimple_asm_string(as_a<gasm *>(stmt)), mark.provider, mark.name) == DECLARED_TEST;
}

/* Looks at the statements of block nth. Returns false if the region has a second test. */
static bool region_scan_block(struct idle_region *r, size_t nth, const struct call_mark &mark)
{
	basic_block bb = r->blocks[nth];
	gimple_stmt_iterator at = nth ? gsi_start_bb(bb) : gsi_for_stmt(r->mark);
	struct call_mark other;

	if (!nth)
		gsi_next(&at);
	for (; !gsi_end_p(at); gsi_next(&at)) {
		gimple *stmt = gsi_stmt(at);

		if (stmt_is_test(stmt, mark)) {
			if (r->test)
				return false;
			r->test = stmt;
			r->last = bb;
			return true;
		}
		/* Tests r->effect last, because stmt_is_harmless() may set doubtful. */
		if (!stmt_is_mark(stmt, &other) && !stmt_is_harmless(stmt, cfun, 0) && !r->effect)
			r->effect = stmt;
	}
	return true;
}

/* Appends the successors of a block. Returns false if one of them leaves the region. */
static bool region_add_successors(struct idle_region *r, basic_block bb)
{
	edge e;
	edge_iterator ei;

	if (!EDGE_COUNT(bb->succs) || (single_succ_p(bb) && single_succ_edge(bb)->flags & EDGE_EH))
		return false;
	FOR_EACH_EDGE(e, ei, bb->succs) {
		if (e->flags & EDGE_EH)
			continue; /* from a harmless statement: it stays as it is */
		if (e->flags & EDGE_COMPLEX || e->dest == EXIT_BLOCK_PTR_FOR_FN(cfun) || e->dest == r->first)
			return false;
		if (!blocks_contain(r->blocks, e->dest))
			r->blocks.push_back(e->dest);
	}
	return true;
}

/* True if the region is entered at its first block only, and left at its last. */
static bool region_is_closed(struct idle_region *r)
{
	edge e;
	edge_iterator ei;

	for (size_t i = 1; i < r->blocks.size(); i++)
		FOR_EACH_EDGE(e, ei, r->blocks[i]->preds)
			if (!blocks_contain(r->blocks, e->src) || e->src == r->last)
				return false;
	return true;
}

/* Finds what lies between r->mark and the test. Returns false if not every way from the mark leads to one test. */
static bool region_find(struct idle_region *r, const struct call_mark &mark)
{
	edge take, skip;

	r->first = gimple_bb(r->mark);
	r->blocks.push_back(r->first);
	for (size_t i = 0; i < r->blocks.size(); i++) {
		if (!region_scan_block(r, i, mark))
			return false;
		if (r->blocks[i] != r->last && !region_add_successors(r, r->blocks[i]))
			return false;
	}
	if (!r->test || gimple_code(last_nondebug_stmt(r->last)) != GIMPLE_COND || !region_is_closed(r))
		return false;
	extract_true_false_edges_from_block(r->last, &take, &skip);
	for (edge e = take; single_pred_p(e->dest); e = single_succ_edge(e->dest)) {
		r->site.push_back(e->dest);
		if (!single_succ_p(e->dest))
			break;
	}
	return !r->site.empty();
}

/* True if only the region and the site use an SSA name. */
static bool name_stays(struct idle_region *r, tree name)
{
	imm_use_iterator iter;
	use_operand_p use;

	FOR_EACH_IMM_USE_FAST(use, iter, name) {
		basic_block bb = gimple_bb(USE_STMT(use));

		if (!is_gimple_debug(USE_STMT(use)) && !blocks_contain(r->blocks, bb) && !blocks_contain(r->site, bb))
			return false;
	}
	return true;
}

/* Returns the statements between the mark and the test, without those of the test. */
static std::vector<gimple *> region_statements(struct idle_region *r)
{
	std::vector<gimple *> all;

	for (basic_block bb : r->blocks) {
		gimple_stmt_iterator at = gsi_start_bb(bb);

		if (bb == r->first) {
			at = gsi_for_stmt(r->mark);
			gsi_next(&at);
		}
		for (; !gsi_end_p(at) && gsi_stmt(at) != r->test; gsi_next(&at))
			all.push_back(gsi_stmt(at));
	}
	return all;
}

/* True if nothing outside of the region and the site needs what the region does. */
static bool region_can_wait(struct idle_region *r)
{
	ssa_op_iter iter;
	tree name;
	edge take, skip;

	if (r->effect)
		return false;
	std::vector<gimple *> statements = region_statements(r);
	for (gimple *stmt : statements)
		FOR_EACH_SSA_TREE_OPERAND(name, stmt, iter, SSA_OP_DEF)
			if (!name_stays(r, name))
				return false;
	for (size_t i = 1; i < r->blocks.size(); i++)
		for (gphi_iterator at = gsi_start_phis(r->blocks[i]); !gsi_end_p(at); gsi_next(&at))
			if (!virtual_operand_p(gimple_phi_result(at.phi())) &&
			    !name_stays(r, gimple_phi_result(at.phi())))
				return false;
	extract_true_false_edges_from_block(r->last, &take, &skip);
	for (gphi_iterator at = gsi_start_phis(skip->dest); !gsi_end_p(at); gsi_next(&at)) {
		tree arg = PHI_ARG_DEF_FROM_EDGE(at.phi(), skip);

		if (TREE_CODE(arg) != SSA_NAME || virtual_operand_p(arg))
			continue;
		gimple *def = SSA_NAME_DEF_STMT(arg);
		if (std::find(statements.begin(), statements.end(), def) != statements.end() ||
		    (gimple_code(def) == GIMPLE_PHI && gimple_bb(def) != r->first &&
		     blocks_contain(r->blocks, gimple_bb(def))))
			return false;
	}
	return true;
}

/* Resets debug statements outside that use a name, because its value may not be computed. */
static void name_forget(struct idle_region *r, tree name)
{
	imm_use_iterator iter;
	gimple *stmt;

	FOR_EACH_IMM_USE_STMT(stmt, iter, name)
		if (gimple_debug_bind_p(stmt) && !blocks_contain(r->blocks, gimple_bb(stmt)) &&
		    !blocks_contain(r->site, gimple_bb(stmt))) {
			gimple_debug_bind_reset_value(stmt);
			update_stmt(stmt);
		}
}

/* Moves the test up to the mark. */
static void test_move_up(struct idle_region *r)
{
	edge take, skip, enter, leave;
	ssa_op_iter iter;
	tree name;

	for (gimple *stmt : region_statements(r))
		FOR_EACH_SSA_TREE_OPERAND(name, stmt, iter, SSA_OP_DEF)
			name_forget(r, name);
	for (size_t i = 1; i < r->blocks.size(); i++)
		for (gphi_iterator at = gsi_start_phis(r->blocks[i]); !gsi_end_p(at); gsi_next(&at))
			if (!virtual_operand_p(gimple_phi_result(at.phi())))
				name_forget(r, gimple_phi_result(at.phi()));

	enter = split_block(r->first, r->mark);
	basic_block last = gimple_bb(r->test);
	extract_true_false_edges_from_block(last, &take, &skip);
	gimple_stmt_iterator from = gsi_for_stmt(r->test), to = gsi_last_bb(r->first);
	while (!gsi_end_p(from)) {
		gsi_move_after(&from, &to); /* advances from */
		to = gsi_last_bb(r->first);
	}
	enter->flags = (enter->flags & ~EDGE_FALLTHRU) | (take->flags & (EDGE_TRUE_VALUE | EDGE_FALSE_VALUE));
	enter->probability = take->probability;
	leave = make_edge(r->first, skip->dest, skip->flags & (EDGE_TRUE_VALUE | EDGE_FALSE_VALUE));
	leave->probability = skip->probability;
	for (gphi_iterator at = gsi_start_phis(skip->dest); !gsi_end_p(at); gsi_next(&at))
		add_phi_arg(at.phi(), PHI_ARG_DEF_FROM_EDGE(at.phi(), skip), leave,
		            gimple_phi_arg_location_from_edge(at.phi(), skip));
	remove_edge(skip);
	take->flags = (take->flags & ~(EDGE_TRUE_VALUE | EDGE_FALSE_VALUE)) | EDGE_FALLTHRU;
	take->probability = profile_probability::always();
}

/* Moves those statements right before the test below it that only the site needs. */
static void statements_move_down(struct idle_region *r)
{
	gimple_stmt_iterator at = gsi_for_stmt(r->test);
	bool stores = false;

	for (gsi_prev(&at); !gsi_end_p(at) && gsi_stmt(at) != r->mark;) {
		gimple *stmt = gsi_stmt(at);
		tree lhs = gimple_get_lhs(stmt);
		bool moves = lhs && TREE_CODE(lhs) == SSA_NAME && !gimple_vdef(stmt) &&
		             stmt_is_harmless(stmt, cfun, 0) && !(gimple_vuse(stmt) && stores);
		imm_use_iterator iter;
		use_operand_p use;

		gsi_prev(&at);
		stores |= gimple_vdef(stmt) != NULL_TREE;
		if (!moves)
			continue;
		FOR_EACH_IMM_USE_FAST(use, iter, lhs)
			moves &= is_gimple_debug(USE_STMT(use)) || blocks_contain(r->site, gimple_bb(USE_STMT(use)));
		if (!moves)
			continue;
		gimple_stmt_iterator from = gsi_for_stmt(stmt), to = gsi_after_labels(r->site.front());
		struct idle_region only_site = *r;
		only_site.blocks.clear();
		name_forget(&only_site, lhs);
		gsi_move_before(&from, &to);
	}
}

static void effect_warn(const struct idle_region &r, const struct call_mark &mark)
{
	if (mark.warned || doubtful || !r.effect ||
	    !warning_at(
		    gimple_location(r.mark), 0,
		    "an argument of probe %qs may have a side effect, so it is computed even if the probe is not enabled",
		    mark_probe(mark).c_str()))
		return;
	if (is_gimple_call(r.effect) && gimple_call_fndecl(r.effect))
		inform(gimple_location(r.effect), "%qD is called, and GCC does not know that it has no side effects",
		       gimple_call_fndecl(r.effect));
	else
		inform(gimple_location(r.effect), "the side effect is here");
}

/* Handles one call of a declared probe, and removes its mark. */
static void call_make_idle(gimple *stmt, const struct call_mark &mark)
{
	struct idle_region r = {};

	r.mark = stmt;
	doubtful = false;
	bool found = region_find(&r, mark);
	effect_warn(r, mark);
	if (found && region_can_wait(&r))
		test_move_up(&r);
	else if (found)
		statements_move_down(&r);
	gimple_stmt_iterator at = gsi_for_stmt(stmt);
	unlink_stmt_vdef(stmt);
	gsi_remove(&at, true);
}

const pass_data idle_data = {
	GIMPLE_PASS, PLUGIN_NAME "_idle", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, 0,
};

struct idle_pass : gimple_opt_pass {
	idle_pass(gcc::context *context) : gimple_opt_pass(idle_data, context) {}

	unsigned execute(function *fn) override
	{
		std::vector<std::pair<gimple *, call_mark>> marks;
		struct call_mark mark;
		basic_block bb;

		FOR_EACH_BB_FN(bb, fn)
			for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at))
				if (stmt_is_mark(gsi_stmt(at), &mark))
					marks.push_back(std::make_pair(gsi_stmt(at), mark));
		/* Backwards, because a probe in the arguments of another one comes first. */
		for (auto call = marks.rbegin(); call != marks.rend(); ++call)
			call_make_idle(call->first, call->second);
		if (marks.empty())
			return 0;
		free_dominance_info(CDI_DOMINATORS);
		free_dominance_info(CDI_POST_DOMINATORS);
		if (current_loops)
			loops_state_set(LOOPS_NEED_FIXUP);
		mark_virtual_operands_for_renaming(fn);
		return TODO_update_ssa | TODO_cleanup_cfg;
	}
};

} // namespace

void idle_mark(tree decl)
{
	if (DECL_SAVED_TREE(decl) && !is_declared_probe(decl)) {
		hash_set<tree> seen;

		walk_tree(&DECL_SAVED_TREE(decl), call_add_mark, &seen, &seen);
		if (clear_fold_cache) /* it may hold calls as they were without their marks */
			clear_fold_cache();
	}
}

opt_pass *pass_idle(gcc::context *context)
{
	return new idle_pass(context);
}
