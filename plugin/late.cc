// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The sites of a function as machine instructions.
 *
 * Operands: a pass before register allocation. The constraint "nor" allows GCC to name
 * a value by any memory that holds it, such as a constant pool, a thread-local variable
 * or an entry of the GOT. Readers cannot resolve these. So the pass restricts each
 * operand to a constant, an integer register or a stack slot. The number of registers
 * is limited, because some CPUs have few.
 *
 * Text: a pass when the instructions have their final order. It writes out the operands
 * (operand-text-CPU.cc). A note is linked to the section of its site's code by a label in
 * that section. Only now it is known which sites are in the .cold part. So all sites of
 * one section are linked to a label at the first of them, and their notes go to the end
 * of the unit (output.cc).
 */
#include "parts.h"

namespace {

/* Returns the asm statement of an instruction that is a site, else NULL_RTX. */
static rtx site_asm(rtx_insn *insn)
{
	rtx op = NONDEBUG_INSN_P(insn) ? extract_asm_operands(PATTERN(insn)) : NULL_RTX;

	return op && site_of_template(ASM_OPERANDS_TEMPLATE(op)) ? op : NULL_RTX;
}

/* ---- operands ------------------------------------------------------------- */

static bool is_stack_slot(rtx x)
{
	if (!MEM_P(x))
		return false;
	x = XEXP(x, 0);
	if (GET_CODE(x) == PLUS && CONST_INT_P(XEXP(x, 1)))
		x = XEXP(x, 0);
	return x == frame_pointer_rtx || x == hard_frame_pointer_rtx || x == arg_pointer_rtx || x == stack_pointer_rtx;
}

/* True if x is a register that is equivalent to a stack slot: a parameter that was passed there. */
static bool is_stack_equal(rtx x)
{
	if (!REG_P(x) || HARD_REGISTER_P(x) || DF_REG_DEF_COUNT(REGNO(x)) != 1)
		return false;
	df_ref def = DF_REG_DEF_CHAIN(REGNO(x));
	rtx note = DF_REF_IS_ARTIFICIAL(def) ? NULL_RTX : find_reg_note(DF_REF_INSN(def), REG_EQUIV, NULL_RTX);
	return note && is_stack_slot(XEXP(note, 0));
}

/* The constraint of an integer register. Readers do not know those that APX adds. */
#ifdef TARGET_APX_EGPR
#define REGISTER (TARGET_APX_EGPR ? "jr" : "r")
#define REGISTER_OR_SLOT (TARGET_APX_EGPR ? "jro" : "ro")
#else
#define REGISTER "r"
#define REGISTER_OR_SLOT "ro"
#endif

/* Moves *x to a place that readers can resolve. Returns the constraint that keeps it there. */
static const char *operand_place(rtx_insn *insn, rtx *x, machine_mode mode, int *registers)
{
	bool fits = known_le(GET_MODE_SIZE(mode), UNITS_PER_WORD);

	if (CONST_INT_P(*x) && operand_number_is_readable(INTVAL(*x)))
		return "n";
	if (is_stack_slot(*x))
		return "o";
	if (fits && *registers <= 0 && is_stack_equal(*x))
		return REGISTER_OR_SLOT;
	start_sequence();
	rtx place = *x;
	const char *constraint = REGISTER;
	if (fits && *registers > 0) {
		--*registers;
		if (!REG_P(place))
			place = force_reg(mode, place);
	} else {
		place = assign_stack_local(mode, GET_MODE_SIZE(mode), 0);
		emit_move_insn(place, *x);
		constraint = "o";
	}
	rtx_insn *before = get_insns();
	end_sequence();
	if (before)
		emit_insn_before(before, insn);
	*x = copy_rtx(place); /* two instructions must not share it */
	return constraint;
}

static void operands_place(rtx_insn *insn, rtx op)
{
	int n = ASM_OPERANDS_INPUT_LENGTH(op), registers = operand_registers();

	if (!n)
		return;
	rtvec inputs = shallow_copy_rtvec(ASM_OPERANDS_INPUT_VEC(op));
	rtvec constraints = shallow_copy_rtvec(ASM_OPERANDS_INPUT_CONSTRAINT_VEC(op));
	for (int i = 0; i < n; i++) {
		rtx x = ASM_OPERANDS_INPUT(op, i);
		const char *constraint = operand_place(insn, &x, ASM_OPERANDS_INPUT_MODE(op, i), &registers);
		RTVEC_ELT(inputs, i) = x;
		RTVEC_ELT(constraints, i) = gen_rtx_ASM_INPUT_loc(
			ASM_OPERANDS_INPUT_MODE(op, i), ggc_strdup(constraint), ASM_OPERANDS_SOURCE_LOCATION(op));
	}
	ASM_OPERANDS_INPUT_VEC(op) = inputs;
	ASM_OPERANDS_INPUT_CONSTRAINT_VEC(op) = constraints;
	INSN_CODE(insn) = -1;
	df_insn_rescan(insn);
}

const pass_data operands_data = {
	RTL_PASS, PLUGIN_NAME "_operands", OPTGROUP_NONE, TV_PLUGIN_RUN, 0, 0, 0, 0, TODO_df_finish,
};

struct operands_pass : rtl_opt_pass {
	operands_pass(gcc::context *context) : rtl_opt_pass(operands_data, context) {}

	unsigned execute(function *) override
	{
		for (rtx_insn *insn = get_insns(); insn; insn = NEXT_INSN(insn))
			if (rtx op = site_asm(insn))
				operands_place(insn, op);
		return 0;
	}
};

/* ---- text ----------------------------------------------------------------- */

static std::string address_text(rtx x)
{
	HOST_WIDE_INT offset = 0;

	if (GET_CODE(x) == PLUS && CONST_INT_P(XEXP(x, 1))) {
		offset = INTVAL(XEXP(x, 1));
		x = XEXP(x, 0);
	}
	std::string base = operand_register_text(x, GET_MODE_SIZE(Pmode));
	return base.empty() ? "" : operand_memory_text(base, offset);
}

/* size: of the operand, negative if it is signed. Returns "" if readers cannot resolve the place. */
static std::string operand_text(rtx x, int size)
{
	unsigned bytes = size < 0 ? -size : size;
	std::string place;

	if (CONST_INT_P(x) && size > 0 && size < 8)
		place = operand_number_text(UINTVAL(x) & ((HOST_WIDE_INT_1U << (8 * bytes)) - 1));
	else if (CONST_INT_P(x))
		place = operand_number_text(INTVAL(x));
	else
		place = MEM_P(x) ? address_text(XEXP(x, 0)) : operand_register_text(x, bytes);
	return place.empty() ? "" : std::to_string(size) + "@" + place;
}

/* Returns nothing if one of the operands has no form that readers know. */
static std::vector<std::string> operands_text(rtx op, const site_record &site)
{
	std::vector<std::string> operands;

	for (size_t i = 0; i < site.operands.size(); i++) {
		std::string operand = operand_text(ASM_OPERANDS_INPUT(op, i), site.operands[i]);

		if (operand.empty())
			return {};
		operands.push_back(operand);
	}
	return operands;
}

/* Returns the section of the function's code that is being written. */
static section *section_now(bool cold)
{
	bool saved = in_cold_section_p;

	in_cold_section_p = cold;
	section *now = current_function_section();
	in_cold_section_p = saved;
	return now;
}

const pass_data text_data = {
	RTL_PASS, PLUGIN_NAME "_text", OPTGROUP_NONE, TV_PLUGIN_RUN, 0, 0, 0, 0, 0,
};

/* Returns the COMDAT group of a section, or "". */
static std::string section_group(section *where)
{
	if (SECTION_STYLE(where) != SECTION_NAMED || !(where->common.flags & SECTION_LINKONCE))
		return "";
	tree decl = where->named.decl;
	return IDENTIFIER_POINTER(TREE_CODE(decl) == IDENTIFIER_NODE ? decl : DECL_COMDAT_GROUP(decl));
}

struct text_pass : rtl_opt_pass {
	std::map<section *, unsigned> numbers;

	text_pass(gcc::context *context) : rtl_opt_pass(text_data, context) {}

	unsigned execute(function *fn) override
	{
		bool cold = crtl->has_bb_partition &&
		            BB_PARTITION(ENTRY_BLOCK_PTR_FOR_FN(fn)->next_bb) == BB_COLD_PARTITION;

		for (rtx_insn *insn = get_insns(); insn; insn = NEXT_INSN(insn)) {
			if (NOTE_P(insn) && NOTE_KIND(insn) == NOTE_INSN_SWITCH_TEXT_SECTIONS)
				cold = !cold;
			if (rtx op = site_asm(insn))
				write(op, section_now(cold));
		}
		return 0;
	}

	void write(rtx op, section *where)
	{
		const site_record &site = *site_of_template(ASM_OPERANDS_TEMPLATE(op));
		auto number = numbers.insert(std::make_pair(where, 0));

		if (number.second)
			number.first->second = output_section_new(section_group(where));
		std::string code = output_site(site, operands_text(op, site), number.first->second, number.second);
		XSTR(op, 0) = ggc_strdup(code.c_str());
		/* Otherwise GCC writes two lines of comment about the place in the source. */
		ASM_OPERANDS_SOURCE_LOCATION(op) = UNKNOWN_LOCATION;
	}
};

} // namespace

opt_pass *pass_operands(gcc::context *context)
{
	return new operands_pass(context);
}

opt_pass *pass_text(gcc::context *context)
{
	return new text_pass(context);
}
