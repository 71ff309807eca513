// SPDX-License-Identifier: GPL-3.0-or-later
/* A site as a statement of GIMPLE: a volatile `asm inline` that clobbers nothing. */
#include "parts.h"

const char *site_stmt_text(gimple *stmt)
{
	return gimple_code(stmt) == GIMPLE_ASM ? site_text_of(gimple_asm_string(as_a<gasm *>(stmt))) : NULL;
}

bool site_stmt_is_return(gimple *stmt)
{
	const char *text = site_stmt_text(stmt);

	return text && site_is_return(text);
}

bool site_stmt_is_unwind(gimple *stmt)
{
	const char *text = site_stmt_text(stmt);

	return text && site_is_unwind(text);
}

static void input_add(vec<tree, va_gc> **list, const char *constraint, tree value)
{
	tree text = build_string(strlen(constraint) + 1, constraint);

	vec_safe_push(*list, build_tree_list(build_tree_list(NULL_TREE, text), value));
}

gasm *site_stmt_new(const std::string &text, const std::vector<tree> &inputs, const std::vector<tree> &in_memory)
{
	vec<tree, va_gc> *list = NULL;

	/* late.cc is stricter; but with LTO it may be missing. No reader knows pairs of registers. */
	for (tree input : inputs)
		input_add(&list, int_size_in_bytes(TREE_TYPE(input)) > UNITS_PER_WORD ? "no" : "nor", input);
	for (tree place : in_memory)
		input_add(&list, "m", place);
	gasm *site = gimple_build_asm_vec(ggc_strdup(site_template(text).c_str()), list, NULL, NULL, NULL);
	gimple_asm_set_volatile(site, true);
	gimple_asm_set_inline(site, true);
	return site;
}

static bool holds(const std::vector<gimple *> &list, gimple *stmt)
{
	return std::find(list.begin(), list.end(), stmt) != list.end();
}

/* Computes something that only the sites found so far use. */
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
		if (!holds(found, USE_STMT(use)))
			return false;
		any = true;
	}
	return any;
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
		update_stmt(copy);
		FOR_EACH_SSA_USE_OPERAND(use, copy, iter, SSA_OP_ALL_USES) {
			auto found = known.find(USE_FROM_PTR(use));
			if (found != known.end())
				SET_USE(use, found->second);
		}
		update_stmt(copy);
	}
	gsi_insert_seq_on_edge_immediate(e, seq);
}

void site_stmts_take_out(const std::vector<gimple *> &list)
{
	for (auto stmt = list.rbegin(); stmt != list.rend(); ++stmt) {
		gimple_stmt_iterator at = gsi_for_stmt(*stmt);

		if (is_gimple_assign(*stmt))
			insert_debug_temps_for_defs(&at);
		gsi_remove(&at, true);
		release_defs(*stmt);
	}
}
