// SPDX-License-Identifier: GPL-3.0-or-later
#include "parts.h"

namespace {

const pass_data recursion_data = {
	GIMPLE_PASS, PLUGIN_NAME "_tailr", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, 0,
};

const pass_data call_data = {
	GIMPLE_PASS, PLUGIN_NAME "_tailc", OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, 0,
};

struct tail_pass : gimple_opt_pass {
	bool self_only;

	tail_pass(gcc::context *context, bool self_only) : gimple_opt_pass(self_only ? recursion_data : call_data, context), self_only(self_only)
	{
	}

	opt_pass *clone() override
	{
		return new tail_pass(m_ctxt, self_only);
	}

	unsigned execute(function *) override
	{
		return 0;
	}
};

} // namespace

opt_pass *pass_tail(gcc::context *context, bool self_only)
{
	return new tail_pass(context, self_only);
}
