// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Arguments of declared probes cost nothing while nobody watches.
 *
 * A call of such a probe becomes, by inlining, the computation of its arguments, a
 * test of the semaphore, and a site:
 *
 *     mark;  a = dear (x) ? y : z;  if (semaphore) site (a);  ...
 *  => if (semaphore) { a = dear (x) ? y : z;  site (a); }  ...
 *
 * Where the arguments begin is known to the front end alone, so there a mark is
 * put before each call. Early, right after the first inlining, when the functions
 * called are known and nothing of the arguments has been shared with the rest yet,
 * the test moves up to the mark if all between them is without side effects and of
 * use to the site alone. If some is not, what is goes below the test, a statement
 * at a time.
 *
 * Side effects that the source shows (n++) are warned of when it is read; calls when
 * it is known what they call. A function that has none may yet not say so: then its
 * statements are looked at, so that the warning is the same at each -O.
 */
#include "parts.h"

namespace {

#define MARK "# arguments of "
#define WARNED " (warned)"

/* ---- when the source is read ------------------------------------------------------ */

/* "PROVIDER:NAME" */
static std::string probe_of(tree decl)
{
	tree args = TREE_VALUE(lookup_attribute("probe_declared", DECL_ATTRIBUTES(decl)));

	return std::string(TREE_STRING_POINTER(TREE_VALUE(args))) + ":" +
	       TREE_STRING_POINTER(TREE_VALUE(TREE_CHAIN(args)));
}

static tree find_effect(tree *tp, int *walk, void *)
{
	switch (TREE_CODE(*tp)) {
	case MODIFY_EXPR:
	case PREINCREMENT_EXPR:
	case PREDECREMENT_EXPR:
	case POSTINCREMENT_EXPR:
	case POSTDECREMENT_EXPR:
	case ASM_EXPR:
		return *tp;
	case STATEMENT_LIST: /* variables of its own */
	case BIND_EXPR:
		*walk = 0;
		return NULL_TREE;
	default:
		if (TYPE_P(*tp))
			*walk = 0;
		return (REFERENCE_CLASS_P(*tp) || VAR_P(*tp)) && TREE_THIS_VOLATILE(*tp) ? *tp : NULL_TREE;
	}
}

static tree mark_call(tree *tp, int *walk, void *data)
{
	tree decl = TREE_CODE(*tp) == CALL_EXPR ? get_callee_fndecl(*tp) : NULL_TREE;
	bool warned = false;

	if (TYPE_P(*tp))
		*walk = 0;
	if (!decl || !is_declared_probe(decl) || !call_expr_nargs(*tp))
		return NULL_TREE;
	*walk = 0;
	for (int i = 0; i < call_expr_nargs(*tp); i++) {
		tree effect = walk_tree_without_duplicates(&CALL_EXPR_ARG(*tp, i), find_effect, NULL);

		if (effect)
			warned = warning_at(EXPR_LOC_OR_LOC(effect, EXPR_LOC_OR_LOC(*tp, input_location)), 0,
					    "argument %d of probe %qs has a side effect: it is computed even if nobody watches",
					    i + 1, probe_of(decl).c_str());
		walk_tree(&CALL_EXPR_ARG(*tp, i), mark_call, data, (hash_set<tree> *)data);
	}
	std::string text = MARK + probe_of(decl) + (warned ? WARNED : "");
	tree mark = build5(ASM_EXPR, void_type_node, build_string(text.size() + 1, text.c_str()), NULL_TREE, NULL_TREE,
			   NULL_TREE, NULL_TREE);
	ASM_VOLATILE_P(mark) = 1;
	ASM_INLINE_P(mark) = 1;
	SET_EXPR_LOCATION(mark, EXPR_LOCATION(*tp));
	TREE_SIDE_EFFECTS(mark) = 1;
	*tp = build2_loc(EXPR_LOCATION(*tp), COMPOUND_EXPR, TREE_TYPE(*tp), mark, *tp);
	return NULL_TREE;
}

/* ---- side effects ------------------------------------------------------------------ */

static bool is_harmless(gimple *stmt, function *fn, int depth);

/* Without optimisation GCC may not have made the bodies of others' inline functions: of these is said nothing. */
static bool doubtful;

/* Does a function, for whoever calls it, nothing but compute its result? */
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
			if (gimple_code(gsi_stmt(at)) != GIMPLE_RETURN && !is_harmless(gsi_stmt(at), fn, depth + 1)) {
				known[DECL_UID(decl)] = std::make_pair(false, doubtful);
				return false;
			}
	return true;
}

/* A variable that is gone when fn, or what was inlined into it, has done its work. */
static bool is_own(tree ref, function *fn, int depth)
{
	tree base = get_base_address(ref);

	if (!base || !DECL_P(base) || !auto_var_in_fn_p(base, fn->decl))
		return false;
	return depth || DECL_ARTIFICIAL(base) || (DECL_ABSTRACT_ORIGIN(base) && DECL_ABSTRACT_ORIGIN(base) != base);
}

/* Sanitizers' checks: they do nothing to a program that is right. */
static bool is_check(gcall *call)
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
	case IFN_ASAN_CHECK:
		return true;
	default:
		return false;
	}
}

/* depth 0: in the arguments themselves. */
static bool is_harmless(gimple *stmt, function *fn, int depth)
{
	if (is_gimple_debug(stmt))
		return true;
	/* What is declared pure may be left out, though C++ holds that it may throw. */
	if (is_gimple_call(stmt) && gimple_call_flags(stmt) & (ECF_CONST | ECF_PURE))
		return !gimple_call_lhs(stmt) || TREE_CODE(gimple_call_lhs(stmt)) == SSA_NAME ||
		       is_own(gimple_call_lhs(stmt), fn, depth);
	if (is_gimple_call(stmt) && is_check(as_a<gcall *>(stmt)))
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
	case GIMPLE_GOTO:
		return true;
	case GIMPLE_ASSIGN:
		return !gimple_vdef(stmt) || is_own(gimple_assign_lhs(stmt), fn, depth);
	case GIMPLE_CALL:
		if (gimple_vdef(stmt) && gimple_call_lhs(stmt) && TREE_CODE(gimple_call_lhs(stmt)) != SSA_NAME &&
		    !is_own(gimple_call_lhs(stmt), fn, depth))
			return false;
		return gimple_call_fndecl(stmt) && function_is_harmless(gimple_call_fndecl(stmt), depth);
	default:
		return false;
	}
}

/* ---- from the mark to the test ------------------------------------------------------- */

struct region {
	basic_block first, last;       /* ... where it starts and where the test stands */
	gimple *mark, *test;           /* the test's first statement */
	std::vector<basic_block> blocks;
	std::vector<basic_block> site; /* behind the test, one behind the other */
	gimple *effect;                /* the first that must stay */
};

static bool has(const std::vector<basic_block> &blocks, basic_block bb)
{
	return std::find(blocks.begin(), blocks.end(), bb) != blocks.end();
}

static bool is_mark(gimple *stmt)
{
	return gimple_code(stmt) == GIMPLE_ASM &&
	       !strncmp(gimple_asm_string(as_a<gasm *>(stmt)), MARK, strlen(MARK));
}

static bool is_test(gimple *stmt, std::string probe)
{
	std::string text = ".ifndef " + probe.replace(probe.find(':'), 1, "_") + "_semaphore\n.pushsection .probes,";

	return gimple_code(stmt) == GIMPLE_ASM &&
	       !strncmp(gimple_asm_string(as_a<gasm *>(stmt)), text.c_str(), text.size());
}

/* False: the test is not to be found, or not for all that comes from the mark. */
static bool region_find(struct region *r, const std::string &probe)
{
	edge e, take, skip;
	edge_iterator ei;

	r->first = gimple_bb(r->mark);
	r->blocks.push_back(r->first);
	for (size_t i = 0; i < r->blocks.size(); i++) {
		basic_block bb = r->blocks[i];
		gimple_stmt_iterator at = i ? gsi_start_bb(bb) : gsi_for_stmt(r->mark);
		bool tested = false;

		if (!i)
			gsi_next(&at);
		for (; !gsi_end_p(at) && !tested; gsi_next(&at)) {
			gimple *stmt = gsi_stmt(at);

			if (is_test(stmt, probe)) {
				if (r->test)
					return false;
				r->test = stmt;
				r->last = bb;
				tested = true;
			} else if (!is_mark(stmt) && !is_harmless(stmt, cfun, 0) && !r->effect) {
				r->effect = stmt;
			}
		}
		if (tested)
			continue;
		if (!EDGE_COUNT(bb->succs) || (single_succ_p(bb) && single_succ_edge(bb)->flags & EDGE_EH))
			return false;
		FOR_EACH_EDGE(e, ei, bb->succs) {
			if (e->flags & EDGE_EH)
				continue; /* of what is harmless: it stays as it is */
			if (e->flags & EDGE_COMPLEX || e->dest == EXIT_BLOCK_PTR_FOR_FN(cfun) || e->dest == r->first)
				return false;
			if (!has(r->blocks, e->dest))
				r->blocks.push_back(e->dest);
		}
	}
	if (!r->test || gimple_code(last_nondebug_stmt(r->last)) != GIMPLE_COND)
		return false;
	for (size_t i = 1; i < r->blocks.size(); i++)
		FOR_EACH_EDGE(e, ei, r->blocks[i]->preds)
			if (!has(r->blocks, e->src) || (e->src == r->last))
				return false;
	extract_true_false_edges_from_block(r->last, &take, &skip);
	for (e = take; single_pred_p(e->dest); e = single_succ_edge(e->dest)) {
		r->site.push_back(e->dest);
		if (!single_succ_p(e->dest))
			break;
	}
	return !r->site.empty();
}

static bool uses_stay(struct region *r, tree name)
{
	imm_use_iterator iter;
	use_operand_p use;

	FOR_EACH_IMM_USE_FAST(use, iter, name) {
		basic_block bb = gimple_bb(USE_STMT(use));

		if (!is_gimple_debug(USE_STMT(use)) && !has(r->blocks, bb) && !has(r->site, bb))
			return false;
	}
	return true;
}

/* Statements from the mark to the test; the test's own are not among them. */
static std::vector<gimple *> region_statements(struct region *r)
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

static bool region_can_wait(struct region *r)
{
	ssa_op_iter iter;
	tree name;
	edge take, skip;

	if (r->effect)
		return false;
	std::vector<gimple *> statements = region_statements(r);
	for (gimple *stmt : statements)
		FOR_EACH_SSA_TREE_OPERAND(name, stmt, iter, SSA_OP_DEF)
			if (!uses_stay(r, name))
				return false;
	for (size_t i = 1; i < r->blocks.size(); i++)
		for (gphi_iterator at = gsi_start_phis(r->blocks[i]); !gsi_end_p(at); gsi_next(&at))
			if (!virtual_operand_p(gimple_phi_result(at.phi())) && !uses_stay(r, gimple_phi_result(at.phi())))
				return false;
	extract_true_false_edges_from_block(r->last, &take, &skip);
	for (gphi_iterator at = gsi_start_phis(skip->dest); !gsi_end_p(at); gsi_next(&at)) {
		tree arg = PHI_ARG_DEF_FROM_EDGE(at.phi(), skip);

		if (TREE_CODE(arg) != SSA_NAME || virtual_operand_p(arg))
			continue;
		gimple *def = SSA_NAME_DEF_STMT(arg);
		if (std::find(statements.begin(), statements.end(), def) != statements.end() ||
		    (gimple_code(def) == GIMPLE_PHI && gimple_bb(def) != r->first && has(r->blocks, gimple_bb(def))))
			return false;
	}
	return true;
}

/* Debugging sees nothing of what may not have been computed. */
static void forget_values(struct region *r, tree name)
{
	imm_use_iterator iter;
	gimple *stmt;

	FOR_EACH_IMM_USE_STMT(stmt, iter, name)
		if (gimple_debug_bind_p(stmt) && !has(r->blocks, gimple_bb(stmt)) &&
		    !has(r->site, gimple_bb(stmt))) {
			gimple_debug_bind_reset_value(stmt);
			update_stmt(stmt);
		}
}

/* The test moves up to the mark. */
static void test_first(struct region *r)
{
	edge take, skip, enter, leave;
	ssa_op_iter iter;
	tree name;

	for (gimple *stmt : region_statements(r))
		FOR_EACH_SSA_TREE_OPERAND(name, stmt, iter, SSA_OP_DEF)
			forget_values(r, name);
	for (size_t i = 1; i < r->blocks.size(); i++)
		for (gphi_iterator at = gsi_start_phis(r->blocks[i]); !gsi_end_p(at); gsi_next(&at))
			if (!virtual_operand_p(gimple_phi_result(at.phi())))
				forget_values(r, gimple_phi_result(at.phi()));

	enter = split_block(r->first, r->mark);
	basic_block last = gimple_bb(r->test);
	extract_true_false_edges_from_block(last, &take, &skip);
	gimple_stmt_iterator from = gsi_for_stmt(r->test), to = gsi_last_bb(r->first);
	while (!gsi_end_p(from)) {
		gsi_move_after(&from, &to); /* from: the next one */
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

/* What can, of the statements right before the test, moves behind it one by one. */
static void statements_behind(struct region *r)
{
	gimple_stmt_iterator at = gsi_for_stmt(r->test);
	bool stores = false;

	for (gsi_prev(&at); !gsi_end_p(at) && gsi_stmt(at) != r->mark;) {
		gimple *stmt = gsi_stmt(at);
		tree lhs = gimple_get_lhs(stmt);
		bool moves = lhs && TREE_CODE(lhs) == SSA_NAME && !gimple_vdef(stmt) && is_harmless(stmt, cfun, 0) &&
			     !(gimple_vuse(stmt) && stores);
		imm_use_iterator iter;
		use_operand_p use;

		gsi_prev(&at);
		stores |= gimple_vdef(stmt) != NULL_TREE;
		if (!moves)
			continue;
		FOR_EACH_IMM_USE_FAST(use, iter, lhs)
			moves &= is_gimple_debug(USE_STMT(use)) || has(r->site, gimple_bb(USE_STMT(use)));
		if (!moves)
			continue;
		gimple_stmt_iterator from = gsi_for_stmt(stmt), to = gsi_after_labels(r->site.front());
		struct region only_site = *r;
		only_site.blocks.clear();
		forget_values(&only_site, lhs);
		gsi_move_before(&from, &to);
	}
}

static void tell(const struct region &r, const std::string &probe, bool warned)
{
	if (warned || !r.effect ||
	    !warning_at(gimple_location(r.mark), 0,
			"an argument of probe %qs may have a side effect: it is computed even if nobody watches",
			probe.c_str()))
		return;
	if (is_gimple_call(r.effect) && gimple_call_fndecl(r.effect))
		inform(gimple_location(r.effect), "%qD is called, and what it does is not known to be nothing but its result",
		       gimple_call_fndecl(r.effect));
	else
		inform(gimple_location(r.effect), "the side effect is here");
}

const pass_data idle_data = {
	GIMPLE_PASS, PLUGIN_NAME "_idle", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, 0,
};

struct idle_pass : gimple_opt_pass {
	idle_pass(gcc::context *context) : gimple_opt_pass(idle_data, context) {}

	unsigned execute(function *fn) override
	{
		std::vector<gimple *> marks;
		basic_block bb;

		FOR_EACH_BB_FN(bb, fn)
			for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at))
				if (is_mark(gsi_stmt(at)))
					marks.push_back(gsi_stmt(at));
		/* Backwards: a probe in another's arguments is settled first. */
		for (auto mark = marks.rbegin(); mark != marks.rend(); ++mark) {
			std::string probe = gimple_asm_string(as_a<gasm *>(*mark)) + strlen(MARK);
			size_t end = probe.find(WARNED);
			bool warned = end != std::string::npos, found;
			struct region r = {};

			probe = probe.substr(0, end);
			r.mark = *mark;
			doubtful = false;
			found = region_find(&r, probe);
			tell(r, probe, warned || doubtful);
			if (found && region_can_wait(&r))
				test_first(&r);
			else if (found)
				statements_behind(&r);
			gimple_stmt_iterator at = gsi_for_stmt(*mark);
			unlink_stmt_vdef(*mark);
			gsi_remove(&at, true);
		}
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

		walk_tree(&DECL_SAVED_TREE(decl), mark_call, &seen, &seen);
		if (clear_fold_cache) /* it may have what is marked by now as it was */
			clear_fold_cache();
	}
}

opt_pass *pass_idle(gcc::context *context)
{
	return new idle_pass(context);
}
