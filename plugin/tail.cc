// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tail calls stay tail calls.
 *
 * A statement between a call and its return keeps the call from becoming a jump:
 * a list walked by tail recursion then overflows the stack. So, right before GCC
 * looks for tail calls, we look as it will, at what it would find were our sites
 * not there. Where the call would be one, the return's sites move before it, and
 * say so: they have no value. Self recursion, which becomes a loop, is looked for
 * earlier than others and allows a sum or product around the call.
 *
 * One return statement serves many paths:
 *
 *     r = g (x);   \                       site'; r = g (x);  \
 *                   R: p = PHI; site (p); return p   =>        R: p = PHI; return p
 *     q = 3;       /                       q = 3; site (q);   /
 *
 * Then the sites move up along every way into R, to the calls or to the edges.
 * To take for a tail call what GCC then does not costs a value; the other way
 * round costs a stack. So doubts are decided for the tail call.
 */
#include "parts.h"

namespace {

typedef std::vector<gimple *> statements;      /* sites and what only they need, as they stand */
typedef std::map<tree, tree> values;           /* of SSA names of the blocks left behind */

enum search_result { FOUND_CALL, FOUND_START, FOUND_OTHER };

/* What the return gives back, seen from the place that the walk has come to. */
struct tail_path {
	tree value;  /* NULL_TREE: nothing */
	tree other;  /* a sum: either may be the call's value */
	bool summed; /* only self recursion can be made of it */
};

struct searcher {
	function *fn;
	bool self_only;
	bool must_only; /* calls of which the source says that they are tail calls */
	bool changed; /* the ways that blocks go */
	bool has_live;
	live_vars_map *vars;
	vec<bitmap_head> live;
};

static bool is_nothing(gimple *stmt)
{
	return gimple_code(stmt) == GIMPLE_LABEL || gimple_code(stmt) == GIMPLE_NOP ||
	       gimple_code(stmt) == GIMPLE_PREDICT || gimple_code(stmt) == GIMPLE_RETURN || is_gimple_debug(stmt) ||
	       gimple_clobber_p(stmt);
}

/* Goes through an assignment backwards; false: no tail call survives it. */
static bool step_back(gassign *assign, struct tail_path *path)
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
	default:
		return false;
	}
}

/* From the end of a block backwards, over sites and what GCC would not mind. */
static enum search_result search(basic_block bb, struct tail_path *path, statements *sites, gcall **call)
{
	for (gimple_stmt_iterator at = gsi_last_bb(bb); !gsi_end_p(at); gsi_prev(&at)) {
		gimple *stmt = gsi_stmt(at);

		if (is_nothing(stmt))
			continue;
		if (site_stmt_is(stmt, SITE_RETURN) || site_stmt_feeds(stmt, *sites)) {
			sites->insert(sites->begin(), stmt);
			continue;
		}
		if (is_gimple_call(stmt)) {
			*call = as_a<gcall *>(stmt);
			return FOUND_CALL;
		}
		if (!is_gimple_assign(stmt) || !step_back(as_a<gassign *>(stmt), path))
			return FOUND_OTHER;
	}
	return FOUND_START;
}

/* May the call be given a pointer to a variable of ours, or reach one, that is alive then? */
static bool reaches_locals(struct searcher *s, gcall *call)
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

/* Where a block goes to, besides exceptions that leave: to one other. */
static bool goes_one_way(basic_block bb)
{
	int ways = 0;
	edge e;
	edge_iterator ei;

	FOR_EACH_EDGE(e, ei, bb->succs)
		ways += !unwind_only(e);
	return ways == 1;
}

static bool is_tail_call(struct searcher *s, gcall *call, const struct tail_path &path)
{
	tree decl = gimple_call_fndecl(call), lhs = gimple_call_lhs(call);
	bool self = decl == s->fn->decl;

	if (gimple_call_internal_p(call) || !goes_one_way(gimple_bb(call)))
		return false;
	if (gimple_call_must_tail_p(call) && !s->self_only)
		return true;
	if (s->must_only)
		return false;
	if ((s->self_only || path.summed) && !self)
		return false;
	if (path.value && (!lhs || (lhs != path.value && lhs != path.other)) &&
	    !(!lhs && decl && always_returns(decl, path.value)))
		return false;
	/* What the compiler expands in place, or what calls nothing of the program's. */
	if (decl && fndecl_built_in_p(decl) && gimple_call_flags(call) & (ECF_CONST | ECF_PURE))
		return false;
	if (decl && fndecl_built_in_p(decl, BUILT_IN_TSAN_FUNC_EXIT))
		return false;
	if (stmt_could_throw_p(s->fn, call) && !stmt_can_throw_external(s->fn, call) && single_succ_p(gimple_bb(call)))
		return false;
	return !reaches_locals(s, call);
}

static tree value_on(const struct tail_path &path, edge e, tree value)
{
	if (path.value && value && TREE_CODE(value) == SSA_NAME) {
		gimple *def = SSA_NAME_DEF_STMT(value);

		if (gimple_code(def) == GIMPLE_PHI && gimple_bb(def) == e->dest)
			return PHI_ARG_DEF_FROM_EDGE(def, e);
	}
	return value;
}

static struct tail_path path_over(const struct tail_path &path, edge e)
{
	return { value_on(path, e, path.value), value_on(path, e, path.other), path.summed };
}

#define DEPTH 32

/* Is there, at the end of some way into the end of bb, what GCC would take for a tail call? */
static bool has_tail_call(struct searcher *s, basic_block bb, struct tail_path path, int depth)
{
	statements sites;
	gcall *call;
	edge e;
	edge_iterator ei;

	if (bb == ENTRY_BLOCK_PTR_FOR_FN(s->fn) || !goes_one_way(bb) || depth == DEPTH)
		return false;
	switch (search(bb, &path, &sites, &call)) {
	case FOUND_CALL:
		return is_tail_call(s, call, path);
	case FOUND_START:
		FOR_EACH_EDGE(e, ei, bb->preds)
			if (has_tail_call(s, e->src, path_over(path, e), depth + 1))
				return true;
		return false;
	default:
		return false;
	}
}

/* The definition of what a statement uses, seen from the blocks left behind. */
static gimple *definition(tree use, const values &known)
{
	auto found = known.find(use);

	if (found != known.end())
		use = found->second;
	return TREE_CODE(use) == SSA_NAME ? SSA_NAME_DEF_STMT(use) : NULL;
}

static bool uses(const statements &list, gimple *def, const values &known)
{
	ssa_op_iter iter;
	tree use;

	for (gimple *stmt : list)
		FOR_EACH_SSA_TREE_OPERAND(use, stmt, iter, SSA_OP_USE)
			if (definition(use, known) == def)
				return true;
	return false;
}

/* Adds what the statements need of bb and others use as well: it is copied with them, and stays. */
static void add_needed(basic_block bb, statements *list, const values &known)
{
	for (gimple_stmt_iterator at = gsi_last_bb(bb); !gsi_end_p(at); gsi_prev(&at)) {
		gimple *stmt = gsi_stmt(at);

		if (is_gimple_assign(stmt) && !gimple_references_memory_p(stmt) && !gimple_has_side_effects(stmt) &&
		    std::find(list->begin(), list->end(), stmt) == list->end() && uses(*list, stmt, known))
			list->insert(list->begin(), stmt);
	}
}

/* Can these statements go where bb's predecessors end? */
static bool can_leave(basic_block bb, const statements &list, const values &known)
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
			gimple *def = definition(use, known);

			if (def && gimple_bb(def) == bb && gimple_code(def) != GIMPLE_PHI &&
			    std::find(list.begin(), list.end(), def) == list.end())
				return false;
		}
	return true;
}

static void put_before_call(gcall *call, const statements &list)
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

/* Lets the ways into bb that end in no tail call meet before it: they share one copy. Returns what is left of bb. */
static basic_block part_ways(struct searcher *s, basic_block bb, const struct tail_path &path, int depth)
{
	std::vector<edge> joining;
	edge e;
	edge_iterator ei;

	FOR_EACH_EDGE(e, ei, bb->preds)
		if (!has_tail_call(s, e->src, path_over(path, e), depth + 1))
			joining.push_back(e);
	return joining.size() < 2 ? bb : edges_join(bb, joining)->dest;
}

/*
 * Moves the sites of bb, and those of the blocks below it, to the calls at the
 * ends of the ways into bb. False: they are still where they were.
 */
static bool move_up(struct searcher *s, basic_block bb, struct tail_path path, const statements &below, values known,
		    int depth, statements *gone)
{
	statements own, all;
	std::vector<edge> edges;
	gcall *call;
	edge e;
	edge_iterator ei;

	if (!has_tail_call(s, bb, path, depth))
		return false;
	enum search_result what = search(bb, &path, &own, &call);
	all = own;
	all.insert(all.end(), below.begin(), below.end());
	if (what == FOUND_CALL) {
		put_before_call(call, all);
		s->changed |= unwind_edge_remove(call);
		gone->insert(gone->end(), own.begin(), own.end());
		return true;
	}
	add_needed(bb, &all, known);
	if (!can_leave(bb, all, known))
		return false;
	bb = part_ways(s, bb, path, depth);
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
		if (!move_up(s, way->src, path_over(path, way), all, there, depth + 1, gone) && !all.empty())
			site_stmts_copy_to_edge(way, all, there);
	}
	gone->insert(gone->end(), own.begin(), own.end());
	return true;
}

/* ---- variables whose address only sites take ------------------------------------------------- */

static bool add_base(gimple *, tree op, tree, void *data)
{
	tree base = get_base_address(op);

	if (base && DECL_P(base))
		((hash_set<tree> *)data)->add(base);
	return false;
}

/*
 * The site of an entry hands over a large structure by its address. GCC makes no tail
 * call in a function whose parameter's address is taken, nor where a variable may be
 * reached through a pointer. A site keeps no pointer: while GCC looks for tail calls,
 * such variables do not count as addressable.
 */
struct only_sites_address {
	std::vector<tree> hidden;

	only_sites_address(function *fn)
	{
		hash_set<tree> by_sites, by_others;
		basic_block bb;

		FOR_EACH_BB_FN(bb, fn) {
			for (gphi_iterator at = gsi_start_phis(bb); !gsi_end_p(at); gsi_next(&at))
				walk_stmt_load_store_addr_ops(at.phi(), &by_others, NULL, NULL, add_base);
			for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at))
				if (!is_gimple_debug(gsi_stmt(at)))
					walk_stmt_load_store_addr_ops(gsi_stmt(at),
								      site_stmt_record(gsi_stmt(at)) ? &by_sites : &by_others,
								      NULL, NULL, add_base);
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

/* GCC's own pass, which decides what becomes a tail call. */
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

/* Functions in which GCC looks for tail calls at all. */
static bool is_suitable(function *fn)
{
	if (fn->calls_alloca || fn->calls_setjmp)
		return false;
	for (tree parm = DECL_ARGUMENTS(fn->decl); parm; parm = DECL_CHAIN(parm))
		if (TREE_ADDRESSABLE(parm))
			return false;
	return true;
}

static bool has_return_site(function *fn)
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

static void add_uses(const statements &list, bitmap names)
{
	ssa_op_iter iter;
	tree use;

	for (gimple *stmt : list)
		FOR_EACH_SSA_TREE_OPERAND(use, stmt, iter, SSA_OP_USE)
			if (std::find(list.begin(), list.end(), SSA_NAME_DEF_STMT(use)) == list.end())
				bitmap_set_bit(names, SSA_NAME_VERSION(use));
}

/* True: there may be blocks now that nothing goes to. */
static bool keep_tail_calls(function *fn, bool self_only, bool must_only)
{
	auto_bitmap perhaps_dead;
	struct searcher s = {};
	std::vector<basic_block> returns;
	edge e;
	edge_iterator ei;

	only_sites_address hide(fn);
	if (!is_suitable(fn) || !has_return_site(fn) || (self_only && !body_calls_itself(fn)))
		return false;
	s.fn = fn;
	s.self_only = self_only;
	s.must_only = must_only;
	FOR_EACH_EDGE(e, ei, EXIT_BLOCK_PTR_FOR_FN(fn)->preds)
		returns.push_back(e->src);
	for (basic_block bb : returns) {
		gimple_stmt_iterator at = gsi_last_bb(bb);
		statements gone;

		if (gsi_end_p(at) || gimple_code(gsi_stmt(at)) != GIMPLE_RETURN)
			continue;
		struct tail_path path = { gimple_return_retval(as_a<greturn *>(gsi_stmt(at))), NULL_TREE, false };
		move_up(&s, bb, path, statements(), values(), 0, &gone);
		add_uses(gone, perhaps_dead);
		site_stmts_remove(gone);
	}
	if (s.has_live) {
		destroy_live_vars(s.live);
		delete s.vars;
	}
	/* A value that only sites had to have met in PHIs. GCC would take its parts for the calls' values. */
	simple_dce_from_worklist(perhaps_dead);
	return s.changed;
}

/* What LTO links may be linked without the plugin, and GCC's look at it comes then. */
const pass_data tail_data[] = {
	{ GIMPLE_PASS, PLUGIN_NAME "_tailr", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, TODO_update_ssa },
	{ GIMPLE_PASS, PLUGIN_NAME "_tailc", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, TODO_update_ssa },
	{ GIMPLE_PASS, PLUGIN_NAME "_tailo", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, TODO_update_ssa },
	{ GIMPLE_PASS, PLUGIN_NAME "_musttail", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, TODO_update_ssa },
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
			return 0; /* with sibling calls TAIL_CALL finds these too */
		if (when != TAIL_MUST && !flag_optimize_sibling_calls)
			return 0;
		if (when == TAIL_LTO && !flag_generate_lto)
			return 0;
		return keep_tail_calls(fn, when == TAIL_RECURSION, when == TAIL_MUST) ? TODO_cleanup_cfg : 0;
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
