// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The last look at the sites of a function, as machine instructions.
 *
 * Linking: the note of a site is tied to the section of its code by a label in
 * it, and gas takes quadratic time over sections so tied. When the instructions
 * stand in their final order, and it is known which lie in the .cold part, all
 * sites of one section of the object are tied to a label at the first of them.
 */
#include "parts.h"

namespace {

/* The asm statement of an instruction, where it is a site. */
static rtx site_asm(rtx_insn *insn)
{
	rtx op = NONDEBUG_INSN_P(insn) ? extract_asm_operands(PATTERN(insn)) : NULL_RTX;

	return op && site_is(ASM_OPERANDS_TEMPLATE(op)) ? op : NULL_RTX;
}

/* ---- linking -------------------------------------------------------------------- */

const pass_data link_data = {
	RTL_PASS, PLUGIN_NAME "_link", OPTGROUP_NONE, TV_PLUGIN_RUN, 0, 0, 0, 0, 0,
};

static std::map<section *, unsigned> labels;

static section *section_now(bool cold)
{
	bool saved = in_cold_section_p;

	in_cold_section_p = cold;
	section *now = current_function_section();
	in_cold_section_p = saved;
	return now;
}

struct link_pass : rtl_opt_pass {
	link_pass(gcc::context *context) : rtl_opt_pass(link_data, context) {}

	unsigned execute(function *fn) override
	{
		bool cold = crtl->has_bb_partition &&
			    BB_PARTITION(ENTRY_BLOCK_PTR_FOR_FN(fn)->next_bb) == BB_COLD_PARTITION;

		for (rtx_insn *insn = get_insns(); insn; insn = NEXT_INSN(insn)) {
			if (NOTE_P(insn) && NOTE_KIND(insn) == NOTE_INSN_SWITCH_TEXT_SECTIONS)
				cold = !cold;
			rtx op = site_asm(insn);
			if (!op)
				continue;
			auto label = labels.insert(std::make_pair(section_now(cold), labels.size()));
			std::string text =
				site_text_linked(ASM_OPERANDS_TEMPLATE(op), label.first->second, label.second);
			XSTR(op, 0) = ggc_strdup(text.c_str());
		}
		return 0;
	}
};

/* ---- operands ------------------------------------------------------------------- */

const pass_data operands_data = {
	RTL_PASS, PLUGIN_NAME "_operands", OPTGROUP_NONE, TV_PLUGIN_RUN, 0, 0, 0, 0, 0,
};

struct operands_pass : rtl_opt_pass {
	operands_pass(gcc::context *context) : rtl_opt_pass(operands_data, context) {}
	unsigned execute(function *) override
	{
		return 0;
	}
};

} // namespace

opt_pass *pass_link(gcc::context *context)
{
	return new link_pass(context);
}

opt_pass *pass_operands(gcc::context *context)
{
	return new operands_pass(context);
}
