// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * GCC must assume that sites read memory.
 *
 * A tool reads what the arguments of a site point to, and what pointers there point to.
 * GCC would remove a store that nothing else reads:
 *
 *     int handle (const char *s) { site (s); return 1; }
 *     char b[16];  strcpy (b, "GET /");  handle (b);
 *
 * ipa-modref finds out which memory handle() reads, so the store disappears in callers
 * too. Other passes move stores beyond the site. So a site is a statement that may read
 * all memory:
 *
 *   - In GIMPLE, it has an input in memory since it was placed (site_stmt_new()). It
 *     does not write memory, so GCC keeps values that it has loaded.
 *   - In RTL, it clobbers memory. The input would need a register on some CPUs, and
 *     pass_rtl_dse knows that the input is not on the stack. This pass replaces it.
 *
 * This includes sites without a pointer: at a return, tools read what the arguments of
 * the entry point to, and an integer can be an address.
 *
 * In the link of LTO without the plugin the input stays. Stores to local variables can
 * then be missing at sites that are inlined into the function of these variables.
 */
#include "parts.h"

namespace {

/* Returns a statement that is the site in RTL. */
static gasm *site_exchange(gasm *site)
{
	vec<tree, va_gc> *inputs = NULL, *clobbers = NULL;

	for (unsigned i = 0; i < gimple_asm_ninputs(site); i++) {
		tree input = gimple_asm_input_op(site, i);

		if (strcmp(TREE_STRING_POINTER(TREE_VALUE(TREE_PURPOSE(input))), "m"))
			vec_safe_push(inputs, input);
	}
	vec_safe_push(clobbers, build_tree_list(NULL_TREE, build_string(sizeof("memory"), "memory")));
	gasm *stmt = gimple_build_asm_vec(gimple_asm_string(site), inputs, NULL, clobbers, NULL);
	gimple_asm_set_volatile(stmt, true);
	gimple_asm_set_inline(stmt, true);
	return stmt;
}

const pass_data memory_data = {
	GIMPLE_PASS, PLUGIN_NAME "_memory", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0,
	TODO_update_ssa_only_virtuals,
};

struct memory_pass : gimple_opt_pass {
	memory_pass(gcc::context *context) : gimple_opt_pass(memory_data, context) {}

	unsigned execute(function *fn) override
	{
		basic_block bb;

		FOR_EACH_BB_FN(bb, fn)
			for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at); gsi_next(&at))
				if (site_stmt_record(gsi_stmt(at)))
					gsi_replace(&at, site_exchange(as_a<gasm *>(gsi_stmt(at))), false);
		return 0;
	}
};

} // namespace

opt_pass *pass_memory(gcc::context *context)
{
	return new memory_pass(context);
}
