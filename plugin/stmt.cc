// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A site as a statement of GIMPLE: a volatile `asm inline` that reads memory (memory.cc
 * explains why) and clobbers nothing. And functions about statements and control flow
 * that several passes share.
 */
#include "parts.h"

const site_record *site_stmt_record(gimple *stmt)
{
	return gimple_code(stmt) == GIMPLE_ASM ? site_of_template(gimple_asm_string(as_a<gasm *>(stmt))) : NULL;
}

bool site_stmt_is(gimple *stmt, enum site_kind kind)
{
	const site_record *site = site_stmt_record(stmt);

	return site && site->kind == kind;
}

static void input_add(vec<tree, va_gc> **list, const char *constraint, tree value)
{
	tree text = build_string(strlen(constraint) + 1, constraint);

	vec_safe_push(*list, build_tree_list(build_tree_list(NULL_TREE, text), value));
}

/*
 * Returns a place in memory that can alias any other one, so that a statement which reads it may read all memory. The
 * address is a number, because memory.cc may be missing in the process that links with LTO: an object without a
 * definition could not be linked then. GCC warns of numbers below a page size.
 */
static tree unknown_place(void)
{
	tree pointer = build_pointer_type_for_mode(char_type_node, ptr_mode, true);

	return build2(MEM_REF, char_type_node, build_int_cst(pointer, 1 << 16), build_int_cst(pointer, 0));
}

gasm *site_stmt_new(const site_record &site, const std::vector<tree> &inputs)
{
	vec<tree, va_gc> *list = NULL;

	/* late.cc restricts this constraint, but may be missing in the process that links with LTO. */
	for (tree input : inputs)
		input_add(&list, "nor", input);
	input_add(&list, "m", unknown_place());
	gasm *stmt = gimple_build_asm_vec(ggc_strdup(site_template(site).c_str()), list, NULL, NULL, NULL);
	gimple_asm_set_volatile(stmt, true);
	gimple_asm_set_inline(stmt, true);
	return stmt;
}

static bool stmts_contain(const std::vector<gimple *> &list, gimple *stmt)
{
	return std::find(list.begin(), list.end(), stmt) != list.end();
}

bool site_stmt_feeds(gimple *stmt, const std::vector<gimple *> &found)
{
	imm_use_iterator iter;
	use_operand_p use;
	bool any = false;
	tree lhs;

	if (!is_gimple_assign(stmt) || gimple_has_side_effects(stmt))
		return false;
	lhs = gimple_assign_lhs(stmt);
	if (TREE_CODE(lhs) != SSA_NAME)
		return false;
	FOR_EACH_IMM_USE_FAST(use, iter, lhs) {
		if (is_gimple_debug(USE_STMT(use)))
			continue;
		if (!stmts_contain(found, USE_STMT(use)))
			return false;
		any = true;
	}
	return any;
}

void site_stmt_moved(gimple *stmt)
{
	if (gimple_has_mem_ops(stmt))
		gimple_set_vuse(stmt, NULL_TREE);
	update_stmt(stmt); /* sets the vuse if one is needed, and marks it for the update of SSA form */
}

void site_stmts_copy_to_edge(edge e, const std::vector<gimple *> &list, std::map<tree, tree> known)
{
	gimple_seq seq = NULL;
	ssa_op_iter iter;
	use_operand_p use;

	for (gimple *stmt : list) {
		gimple *copy = gimple_copy(stmt);

		if (is_gimple_assign(copy)) {
			tree lhs = gimple_assign_lhs(copy), fresh = make_ssa_name(TREE_TYPE(lhs));

			gimple_assign_set_lhs(copy, fresh);
			for (auto &pair : known)
				if (pair.second == lhs)
					pair.second = fresh;
			known[lhs] = fresh;
		}
		gimple_seq_add_stmt(&seq, copy);
		site_stmt_moved(copy);
		FOR_EACH_SSA_USE_OPERAND(use, copy, iter, SSA_OP_ALL_USES) {
			auto found = known.find(USE_FROM_PTR(use));
			if (found != known.end())
				SET_USE(use, found->second);
		}
		update_stmt(copy);
	}
	gsi_insert_seq_on_edge_immediate(e, seq);
}

void site_stmts_remove(const std::vector<gimple *> &list)
{
	for (auto stmt = list.rbegin(); stmt != list.rend(); ++stmt) {
		gimple_stmt_iterator at = gsi_for_stmt(*stmt);

		if (is_gimple_assign(*stmt))
			insert_debug_temps_for_defs(&at);
		gsi_remove(&at, true);
		release_defs(*stmt);
	}
}

/* ---- control flow --------------------------------------------------------- */

std::vector<greturn *> function_returns(function *fn)
{
	std::vector<greturn *> returns;
	edge e;
	edge_iterator ei;

	FOR_EACH_EDGE(e, ei, EXIT_BLOCK_PTR_FOR_FN(fn)->preds) {
		gimple_stmt_iterator at = gsi_last_bb(e->src);

		if (!gsi_end_p(at) && gimple_code(gsi_stmt(at)) == GIMPLE_RETURN)
			returns.push_back(as_a<greturn *>(gsi_stmt(at)));
	}
	return returns;
}

/* make_forwarder_block() takes a function without data. */
static const std::vector<edge> *joining;

static bool edge_joins(edge e)
{
	return std::find(joining->begin(), joining->end(), e) != joining->end();
}

edge edges_join(basic_block bb, const std::vector<edge> &edges)
{
	joining = &edges;
	return make_forwarder_block(bb, edge_joins, NULL);
}
