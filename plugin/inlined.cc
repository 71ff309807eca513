// SPDX-License-Identifier: GPL-3.0-or-later
/* Removes sites that rules with inlined=no do not want in functions into which their own function was inlined. */
#include "parts.h"

namespace {

const pass_data inlined_data = {
	GIMPLE_PASS, PLUGIN_NAME "_inlined", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, 0,
};

struct inlined_pass : gimple_opt_pass {
	inlined_pass(gcc::context *context) : gimple_opt_pass(inlined_data, context) {}

	unsigned execute(function *fn) override
	{
		const char *name = IDENTIFIER_POINTER(DECL_ASSEMBLER_NAME(fn->decl));
		basic_block bb;

		FOR_EACH_BB_FN(bb, fn)
			for (gimple_stmt_iterator at = gsi_start_bb(bb); !gsi_end_p(at);) {
				const site_record *site = site_stmt_record(gsi_stmt(at));

				if (!site || site_stays_in(*site, name)) {
					gsi_next(&at);
					continue;
				}
				unlink_stmt_vdef(gsi_stmt(at));
				gsi_remove(&at, true);
			}
		return 0;
	}
};

} // namespace

opt_pass *pass_inlined(gcc::context *context)
{
	return new inlined_pass(context);
}
