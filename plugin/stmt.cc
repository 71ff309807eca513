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
