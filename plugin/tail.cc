// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tail calls stay tail calls.
 *
 * A statement between a call and its return prevents GCC from making the call a jump.
 * A list that is walked by tail recursion would then overflow the stack.
 *
 *   1. The pass runs right before GCC looks for tail calls. It looks for the calls that
 *      GCC would find if there were no sites.
 *   2. The sites of the return move before such a call. They lose their operand,
 *      because the value does not exist there, and get the flag PPN_FLAG_TAIL.
 *   3. One return statement can serve many paths. Then the sites move up along every
 *      way into the return, to the calls or onto the edges:
 *
 *     r = g (x);   \                       site'; r = g (x);  \
 *                   R: p = PHI; site (p); return p   =>        R: p = PHI; return p
 *     q = 3;       /                       q = 3; site (q);   /
 *
 * GCC looks for self recursion, which becomes a loop, earlier than for other tail
 * calls, and allows a sum or product around the call. So the pass runs several times.
 *
 * If the pass takes a call for a tail call and GCC does not, a site loses its value. The
 * opposite mistake overflows a stack. So the pass decides doubtful cases for the tail
 * call.
 */
#include "parts.h"

namespace {

typedef std::vector<gimple *> statements; /* sites and the statements that feed them, in the order of the code */
typedef std::map<tree, tree> values;      /* of SSA names of the blocks that the walk has left */

enum search_result {
	FOUND_CALL,
	FOUND_START, /* of the block */
	FOUND_OTHER, /* a statement that prevents a tail call */
};

/* The value of the return, at the place that the backward walk has reached. */
struct tail_path {
	tree value;  /* NULL_TREE: the function returns nothing */
	tree other;  /* the other operand of a sum or product: either may be the value of the call */
	bool summed; /* only self recursion can be a tail call here */
	bool marked; /* only a call that the source marks as a tail call can be one here */
};

struct searcher {
	function *fn;
	bool self_only;
	bool must_only; /* consider only calls that the source marks as tail calls */
	bool changed;   /* edges were removed */
	bool has_live;  /* vars and live are valid */
	live_vars_map *vars;
	vec<bitmap_head> live;
};

/* True for a statement that GCC ignores when it looks for tail calls. */
static bool stmt_is_ignored(gimple *stmt)
{
	return gimple_code(stmt) == GIMPLE_LABEL || gimple_code(stmt) == GIMPLE_NOP ||
	       gimple_code(stmt) == GIMPLE_PREDICT || gimple_code(stmt) == GIMPLE_RETURN || is_gimple_debug(stmt) ||
	       gimple_clobber_p(stmt);
}

/* Follows the value backwards through an assignment. Returns false if no tail call can precede it. */
static bool path_step_back(gassign *assign, struct tail_path *path)
{
	tree lhs = gimple_assign_lhs(assign), rhs = gimple_assign_rhs1(assign);
	enum tree_code code = gimple_assign_rhs_code(assign);

	if (lhs != path->value && lhs != path->other)
		return TREE_CODE(lhs) == SSA_NAME && !gimple_references_memory_p(assign) &&
		       !gimple_has_side_effects(assign);
	if (TREE_CODE(lhs) != SSA_NAME) {
		path->value = rhs;
		return auto_var_in_fn_p(lhs, cfun->decl) && DECL_P(rhs) && auto_var_in_fn_p(rhs, cfun->decl);
	}
	switch (code) {
	case SSA_NAME:
	CASE_CONVERT:
	case VIEW_CONVERT_EXPR:
		if (code == VIEW_CONVERT_EXPR)
			rhs = TREE_OPERAND(rhs, 0);
		if (lhs == path->value)
			path->value = rhs;
		else
			path->other = rhs;
		return true;
	case PLUS_EXPR:
	case MINUS_EXPR:
	case MULT_EXPR:
	case NEGATE_EXPR:
	case POINTER_PLUS_EXPR:
		if (FLOAT_TYPE_P(TREE_TYPE(lhs)) && !flag_associative_math)
			return false;
		path->summed = true;
		path->value = rhs;
		path->other = gimple_assign_rhs2(assign);
		return true;
	default: return false;
	}
}

/* Walks from the end of a block backwards, over sites and statements that allow a tail call. */
static enum search_result block_search(basic_block bb, struct tail_path *path, statements *sites, gcall **call)
{
	for (gimple_stmt_iterator at = gsi_last_bb(bb); !gsi_end_p(at); gsi_prev(&at)) {
		gimple *stmt = gsi_stmt(at);

		if (stmt_is_ignored(stmt))
			continue;
		if (site_stmt_is(stmt, SITE_RETURN) || site_stmt_feeds(stmt, *sites)) {
			sites->insert(sites->begin(), stmt);
			continue;
		}
		if (sanitizer_exit(stmt)) {
			path->marked = true;
			continue;
		}
		if (is_gimple_call(stmt)) {
			*call = as_a<gcall *>(stmt);
			return FOUND_CALL;
		}
		if (!is_gimple_assign(stmt) || !path_step_back(as_a<gassign *>(stmt), path))
			return FOUND_OTHER;
	}
	return FOUND_START;
}

/* True if the call may access a local variable that is live after it. */
static bool call_reaches_locals(struct searcher *s, gcall *call)
{
	bitmap alive = NULL;
	unsigned i;
	tree var;

	FOR_EACH_LOCAL_DECL(s->fn, i, var) {
		if (TREE_CODE(var) == PARM_DECL || !auto_var_in_fn_p(var, s->fn->decl) || !may_be_aliased(var))
			continue;
		if (!ref_maybe_used_by_stmt_p(call, var, false) && !call_may_clobber_ref_p(call, var, false))
			continue;
		if (!VAR_P(var))
			return true;
		if (!s->has_live) {
			unsigned n = 0;
			unsigned k;
			tree v;

			s->vars = new live_vars_map;
			FOR_EACH_LOCAL_DECL(s->fn, k, v)
				if (VAR_P(v) && auto_var_in_fn_p(v, s->fn->decl) && may_be_aliased(v))
					s->vars->put(DECL_UID(v), n++);
			s->live = compute_live_vars(s->fn, s->vars);
			s->has_live = true;
		}
		if (!alive)
			alive = live_vars_at_stmt(s->live, s->vars, call);
		unsigned *nth = s->vars->get(DECL_UID(var));
		if (!nth || bitmap_bit_p(alive, *nth)) {
			BITMAP_FREE(alive);
			return true;
		}
	}
	BITMAP_FREE(alive);
	return false;
}

/* True if a block has one successor, not counting exceptions that leave the function. */
static bool block_goes_one_way(basic_block bb)
{
	int ways = 0;
	edge e;
	edge_iterator ei;

	FOR_EACH_EDGE(e, ei, bb->succs)
		ways += !unwind_only(e);
	return ways == 1;
}

/* True if GCC would make the call a tail call if there were no sites. */
static bool call_is_tail(struct searcher *s, gcall *call, const struct tail_path &path)
{
	tree decl = gimple_call_fndecl(call), lhs = gimple_call_lhs(call);
	bool self = decl == s->fn->decl;

	if (gimple_call_internal_p(call) || !block_goes_one_way(gimple_bb(call)))
		return false;
	if (gimple_call_must_tail_p(call) && !s->self_only)
		return true;
	if (s->must_only || path.marked)
		return false;
	if ((s->self_only || path.summed) && !self)
		return false;
	if (path.value && (!lhs || (lhs != path.value && lhs != path.other)) &&
	    !(!lhs && decl && always_returns(decl, path.value)))
		return false;
	/* The compiler expands these in place, or they call nothing of the program. */
	if (decl && fndecl_built_in_p(decl) && gimple_call_flags(call) & (ECF_CONST | ECF_PURE))
		return false;
	if (decl && fndecl_built_in_p(decl, BUILT_IN_TSAN_FUNC_EXIT))
		return false;
	if (stmt_could_throw_p(s->fn, call) && !stmt_can_throw_external(s->fn, call) && single_succ_p(gimple_bb(call)))
		return false;
	return !call_reaches_locals(s, call);
}

/* Returns what value is on the edge, if a PHI of the edge's destination defines it. */
static tree value_on_edge(const struct tail_path &path, edge e, tree value)
{
	if (path.value && value && TREE_CODE(value) == SSA_NAME) {
		gimple *def = SSA_NAME_DEF_STMT(value);

		if (gimple_code(def) == GIMPLE_PHI && gimple_bb(def) == e->dest)
			return PHI_ARG_DEF_FROM_EDGE(def, e);
	}
	return value;
}

static struct tail_path path_on_edge(const struct tail_path &path, edge e)
{
	return { value_on_edge(path, e, path.value), value_on_edge(path, e, path.other), path.summed, path.marked };
}

#define DEPTH_MAX 32 /* blocks between a call and its return */

/* True if some way to the end of bb starts with a call that GCC would make a tail call. */
static bool has_tail_call(struct searcher *s, basic_block bb, struct tail_path path, int depth)
{
	statements sites;
	gcall *call;
	edge e;
	edge_iterator ei;

	if (bb == ENTRY_BLOCK_PTR_FOR_FN(s->fn) || !block_goes_one_way(bb) || depth == DEPTH_MAX)
		return false;
	switch (block_search(bb, &path, &sites, &call)) {
	case FOUND_CALL: return call_is_tail(s, call, path);
	case FOUND_START:
		FOR_EACH_EDGE(e, ei, bb->preds)
			if (has_tail_call(s, e->src, path_on_edge(path, e), depth + 1))
				return true;
		return false;
	default: return false;
	}
}

/* Returns the definition of a name that a statement uses; known: values of names, as the walk has them. */
static gimple *name_definition(tree use, const values &known)
{
	auto found = known.find(use);

	if (found != known.end())
		use = found->second;
	return TREE_CODE(use) == SSA_NAME ? SSA_NAME_DEF_STMT(use) : NULL;
}

static bool stmts_use(const statements &list, gimple *def, const values &known)
{
	ssa_op_iter iter;
	tree use;

	for (gimple *stmt : list)
		FOR_EACH_SSA_TREE_OPERAND(use, stmt, iter, SSA_OP_USE)
			if (name_definition(use, known) == def)
				return true;
	return false;
}

/* Adds statements of bb that the list needs and others use as well. They are copied, and stay. */
static void stmts_add_needed(basic_block bb, statements *list, const values &known)
{
	for (gimple_stmt_iterator at = gsi_last_bb(bb); !gsi_end_p(at); gsi_prev(&at)) {
		gimple *stmt = gsi_stmt(at);

		if (is_gimple_assign(stmt) && !gimple_references_memory_p(stmt) && !gimple_has_side_effects(stmt) &&
		    std::find(list->begin(), list->end(), stmt) == list->end() && stmts_use(*list, stmt, known))
			list->insert(list->begin(), stmt);
	}
}

/* True if the statements can move to the ends of bb's predecessors. */
static bool stmts_can_leave(basic_block bb, const statements &list, const values &known)
{
	edge e;
	edge_iterator ei;
	ssa_op_iter iter;
	tree use;

	FOR_EACH_EDGE(e, ei, bb->preds)
		if (e->flags & EDGE_COMPLEX || e->src == ENTRY_BLOCK_PTR_FOR_FN(cfun))
			return false;
	for (gimple *stmt : list)
		FOR_EACH_SSA_TREE_OPERAND(use, stmt, iter, SSA_OP_USE) {
			gimple *def = name_definition(use, known);

			if (def && gimple_bb(def) == bb && gimple_code(def) != GIMPLE_PHI &&
			    std::find(list.begin(), list.end(), def) == list.end())
				return false;
		}
	return true;
}

static void sites_move_before_call(gcall *call, const statements &list)
{
	gimple_stmt_iterator at = gsi_for_stmt(call);

	for (gimple *stmt : list) {
		const site_record *site = site_stmt_record(stmt);

		if (!site)
			continue;
		gasm *moved = site_stmt_new(site_flagged(*site, gimple_lineno(call), PPN_FLAG_TAIL));
		gimple_set_location(moved, gimple_location(call));
		gsi_insert_before(&at, moved, GSI_SAME_STMT);
	}
}

/*
 * Lets the ways into bb that do not start with a tail call meet in one block before it, so that they share one copy of
 * the sites. Returns the rest of bb.
 */
static basic_block ways_separate(struct searcher *s, basic_block bb, const struct tail_path &path, int depth)
{
	std::vector<edge> joining;
	edge e;
	edge_iterator ei;

	FOR_EACH_EDGE(e, ei, bb->preds)
		if (!has_tail_call(s, e->src, path_on_edge(path, e), depth + 1))
			joining.push_back(e);
	return joining.size() < 2 ? bb : edges_join(bb, joining)->dest;
}

/*
 * Moves the sites of bb, and those of the blocks below it, to the calls at the starts of the ways into bb, or onto
 * edges. The caller must remove the statements in *gone from their old places. Returns false if nothing was moved.
 */
static bool sites_move_up(struct searcher *s, basic_block bb, struct tail_path path, const statements &below,
                          values known, int depth, statements *gone)
{
	statements own, all;
	std::vector<edge> edges;
	gcall *call;
	edge e;
	edge_iterator ei;

	if (!has_tail_call(s, bb, path, depth))
		return false;
	enum search_result what = block_search(bb, &path, &own, &call);
	all = own;
	all.insert(all.end(), below.begin(), below.end());
	if (what == FOUND_CALL) {
		sites_move_before_call(call, all);
		s->changed |= unwind_edge_remove(call);
		gone->insert(gone->end(), own.begin(), own.end());
		return true;
	}
	stmts_add_needed(bb, &all, known);
	if (!stmts_can_leave(bb, all, known))
		return false;
	bb = ways_separate(s, bb, path, depth);
	FOR_EACH_EDGE(e, ei, bb->preds)
		edges.push_back(e);
	for (edge way : edges) {
		values there = known;

		for (gphi_iterator at = gsi_start_phis(bb); !gsi_end_p(at); gsi_next(&at)) {
			tree arg = PHI_ARG_DEF_FROM_EDGE(at.phi(), way);

			there[gimple_phi_result(at.phi())] = arg;
			for (auto &pair : there)
				if (pair.second == gimple_phi_result(at.phi()))
					pair.second = arg;
		}
		if (!sites_move_up(s, way->src, path_on_edge(path, way), all, there, depth + 1, gone) && !all.empty())
			site_stmts_copy_to_edge(way, all, there);
	}
	gone->insert(gone->end(), own.begin(), own.end());
	return true;
}

/* ---- variables whose address only sites take ------------------------------ */

/* For walk_stmt_load_store_addr_ops(): adds the variable of an address to a set. */
static bool base_add(gimple *, tree op, tree, void *data)
{
	tree base = get_base_address(op);

	if (base && DECL_P(base))
		((hash_set<tree> *)data)->add(base);
	return false;
}

/*
 * While it exists, variables whose address only sites take do not count as addressable.
 *
 * The site of an entry hands over a large structure by its address. GCC makes no tail call in a function that takes a
 * parameter's address, or if the callee may reach a local variable through a pointer. But a site keeps no pointer.
 */
struct only_sites_address {
	std::vector<tree> hidden;

	only_sites_address(function *fn)
	{
		hash_set<tree> by_sites, by_others;
		basic_block bb;

		FOR_EACH_BB_FN(bb, fn) {
			for (gphi_iterator at = gsi_start_phis(bb); !gsi_end_p(at); gsi_next(&at))
				walk_stmt_load_store_addr_ops(at.phi(), &by_others, NULL, NULL, base_add);
			for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at))
				if (!is_gimple_debug(gsi_stmt(at)))
					walk_stmt_load_store_addr_ops(
						gsi_stmt(at), site_stmt_record(gsi_stmt(at)) ? &by_sites : &by_others,
						NULL, NULL, base_add);
		}
		for (tree var : by_sites)
			if (!by_others.contains(var) && TREE_ADDRESSABLE(var) && auto_var_in_fn_p(var, fn->decl) &&
			    TREE_CODE(var) != RESULT_DECL) {
				TREE_ADDRESSABLE(var) = 0;
				hidden.push_back(var);
			}
	}

	~only_sites_address()
	{
		for (tree var : hidden)
			TREE_ADDRESSABLE(var) = 1;
	}
};

/* Runs GCC's own pass, which decides which calls become tail calls. */
struct hiding_pass : gimple_opt_pass {
	opt_pass *own;

	hiding_pass(gcc::context *context, opt_pass *own) : gimple_opt_pass(*own, context), own(own) {}

	opt_pass *clone() override
	{
		return new hiding_pass(m_ctxt, own);
	}

	bool gate(function *fn) override
	{
		return own->gate(fn);
	}

	unsigned execute(function *fn) override
	{
		only_sites_address hide(fn);

		return own->execute(fn);
	}
};

/* ---- passes --------------------------------------------------------------- */

/* If the function takes a parameter's address, GCC makes tail calls only of the calls that the source marks. */
static bool parm_is_addressed(function *fn)
{
	for (tree parm = DECL_ARGUMENTS(fn->decl); parm; parm = DECL_CHAIN(parm))
		if (TREE_ADDRESSABLE(parm))
			return true;
	return false;
}

/* True if GCC looks for tail calls in this function at all. */
static bool function_is_suitable(function *fn)
{
	if (fn->calls_alloca || fn->calls_setjmp)
		return false;
	return has_must_tail(fn) || !parm_is_addressed(fn);
}

static bool body_has_return_site(function *fn)
{
	basic_block bb;

	FOR_EACH_BB_FN(bb, fn)
		for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at))
			if (site_stmt_is(gsi_stmt(at), SITE_RETURN))
				return true;
	return false;
}

static bool body_calls_itself(function *fn)
{
	basic_block bb;

	FOR_EACH_BB_FN(bb, fn)
		for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at))
			if (is_gimple_call(gsi_stmt(at)) && gimple_call_fndecl(gsi_stmt(at)) == fn->decl)
				return true;
	return false;
}

/* Adds the names that the statements use and do not define. */
static void names_add_used(const statements &list, bitmap names)
{
	ssa_op_iter iter;
	tree use;

	for (gimple *stmt : list)
		FOR_EACH_SSA_TREE_OPERAND(use, stmt, iter, SSA_OP_USE)
			if (std::find(list.begin(), list.end(), SSA_NAME_DEF_STMT(use)) == list.end())
				bitmap_set_bit(names, SSA_NAME_VERSION(use));
}

/* Returns true if blocks may have become unreachable. */
static bool tail_calls_keep(function *fn, bool self_only, bool must_only)
{
	auto_bitmap perhaps_dead;
	struct searcher s = {};
	std::vector<basic_block> returns;
	edge e;
	edge_iterator ei;

	only_sites_address hide(fn);
	if (!function_is_suitable(fn) || !body_has_return_site(fn) || (self_only && !body_calls_itself(fn)))
		return false;
	s.fn = fn;
	s.self_only = self_only;
	s.must_only = must_only || parm_is_addressed(fn);
	FOR_EACH_EDGE(e, ei, EXIT_BLOCK_PTR_FOR_FN(fn)->preds)
		returns.push_back(e->src);
	for (basic_block bb : returns) {
		gimple_stmt_iterator at = gsi_last_bb(bb);
		statements gone;

		if (gsi_end_p(at) || gimple_code(gsi_stmt(at)) != GIMPLE_RETURN)
			continue;
		struct tail_path path = {};
		path.value = gimple_return_retval(as_a<greturn *>(gsi_stmt(at)));
		sites_move_up(&s, bb, path, statements(), values(), 0, &gone);
		names_add_used(gone, perhaps_dead);
		site_stmts_remove(gone);
	}
	if (s.has_live) {
		destroy_live_vars(s.live);
		delete s.vars;
	}
	/* Removes PHIs that only sites used. GCC would take their arguments for values of the calls. */
	simple_dce_from_worklist(perhaps_dead);
	return s.changed;
}

/* By enum tail_when. TAIL_LTO is for code that may be linked without the plugin: GCC looks for its tail calls then. */
const pass_data tail_data[] = {
	{ GIMPLE_PASS, PLUGIN_NAME "_tailr", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0,
	  TODO_update_ssa },
	{ GIMPLE_PASS, PLUGIN_NAME "_tailc", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0,
	  TODO_update_ssa },
	{ GIMPLE_PASS, PLUGIN_NAME "_tailo", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0,
	  TODO_update_ssa },
	{ GIMPLE_PASS, PLUGIN_NAME "_musttail", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0,
	  TODO_update_ssa },
};

struct tail_pass : gimple_opt_pass {
	enum tail_when when;

	tail_pass(gcc::context *context, enum tail_when when) : gimple_opt_pass(tail_data[when], context), when(when) {}

	opt_pass *clone() override
	{
		return new tail_pass(m_ctxt, when);
	}

	unsigned execute(function *fn) override
	{
		if (when == TAIL_MUST && (flag_optimize_sibling_calls || !has_must_tail(fn)))
			return 0; /* with -foptimize-sibling-calls, TAIL_CALL finds these too */
		if (when != TAIL_MUST && !flag_optimize_sibling_calls)
			return 0;
		if (when == TAIL_LTO && !flag_generate_lto)
			return 0;
		return tail_calls_keep(fn, when == TAIL_RECURSION, when == TAIL_MUST) ? TODO_cleanup_cfg : 0;
	}
};

} // namespace

opt_pass *pass_tail_hiding(gcc::context *context)
{
	opt_pass *own = context->get_passes()->get_pass_by_name("tree-tailc");

	return own ? new hiding_pass(context, own) : NULL;
}

opt_pass *pass_tail(gcc::context *context, enum tail_when when)
{
	return new tail_pass(context, when);
}
