// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The values that a site hands over, and the site with them.
 *
 * All values are integers: floating values are handed over as the bits they are. The
 * class of an argument was determined before LTO stripped the types; here it is only
 * obeyed.
 */
#include "parts.h"

#define INPUTS_MAX 28 /* GCC allows an asm statement 30 operands; one is that of site_stmt_new() */

static tree value_load(struct operands *ops, tree place)
{
	tree value = make_ssa_name(TYPE_MAIN_VARIANT(TREE_TYPE(place)));

	gimple_seq_add_stmt(&ops->before, gimple_build_assign(value, place));
	return value;
}

static tree value_bits(struct operands *ops, tree value)
{
	tree type = build_nonstandard_integer_type(tree_to_uhwi(TYPE_SIZE(TREE_TYPE(value))), 1);

	return gimple_build(&ops->before, VIEW_CONVERT_EXPR, type, value);
}

/* Returns one half of 128 bits, converted to the argument's type. */
static tree value_half(struct operands *ops, tree value, bool high, tree type)
{
	tree whole = value_bits(ops, value);

	if (high)
		whole = gimple_build(&ops->before, RSHIFT_EXPR, TREE_TYPE(whole), whole,
		                     build_int_cst(unsigned_type_node, 64));
	return gimple_convert(&ops->before, type, whole);
}

/* Returns the integer that an argument hands over; place: the parameter or result that holds it. */
static tree argument_value(struct operands *ops, const argument &arg, tree place)
{
	tree value = place;

	for (tree step : arg.steps) {
		if (TREE_CODE(step) == FIELD_DECL)
			value = build3(COMPONENT_REF, TREE_TYPE(step), value, step, NULL_TREE);
		else
			value = build4(ARRAY_REF, TREE_TYPE(TREE_TYPE(value)), value, step, NULL_TREE, NULL_TREE);
	}
	if (!is_gimple_val(value))
		value = value_load(ops, value);
	switch (arg.part) {
	case PART_FLOAT:
		value = gimple_convert(&ops->before, unsigned_type_node, value_bits(ops, value));
		return gimple_build(&ops->before, LSHIFT_EXPR, unsigned_type_node, value,
		                    build_int_cst(unsigned_type_node, 16));
	case PART_LOW:
	case PART_MANTISSA: return value_half(ops, value, false, long_long_unsigned_type_node);
	case PART_HIGH: return value_half(ops, value, true, long_long_unsigned_type_node);
	case PART_EXPONENT: return value_half(ops, value, true, short_unsigned_type_node);
	case PART_REAL: value = gimple_build(&ops->before, REALPART_EXPR, TREE_TYPE(TREE_TYPE(value)), value); break;
	case PART_IMAGINARY:
		value = gimple_build(&ops->before, IMAGPART_EXPR, TREE_TYPE(TREE_TYPE(value)), value);
		break;
	default: break;
	}
	if (SCALAR_FLOAT_TYPE_P(TREE_TYPE(value)))
		return value_bits(ops, value);
	/* GCC does not keep the bits of a register that are beyond those of a _BitInt. */
	if (TREE_CODE(TREE_TYPE(value)) == BITINT_TYPE) {
		unsigned bits = tree_to_uhwi(TYPE_SIZE(TREE_TYPE(value)));

		return gimple_convert(&ops->before,
		                      build_nonstandard_integer_type(bits, TYPE_UNSIGNED(TREE_TYPE(value))), value);
	}
	/* Bit-fields have types that are narrower than their place. */
	if (INTEGRAL_TYPE_P(TREE_TYPE(value)) && TREE_CODE(TREE_TYPE(value)) != BOOLEAN_TYPE) {
		tree last = arg.steps.empty() ? NULL_TREE : arg.steps.back();

		if (last && TREE_CODE(last) == FIELD_DECL && DECL_BIT_FIELD_TYPE(last))
			return gimple_convert(&ops->before, DECL_BIT_FIELD_TYPE(last), value);
	}
	return value;
}

void operand_add(struct operands *ops, const argument &arg, tree place)
{
	if (arg.part == PART_NONE || arg.cls == PPN_CLASS_VOID || ops->full ||
	    ops->values.size() >= INPUTS_MAX)
		return;
	tree value = arg.part == PART_ADDRESS ? build_fold_addr_expr(place) : argument_value(ops, arg, place);
	HOST_WIDE_INT size = int_size_in_bytes(TREE_TYPE(value));
	/*
	 * late.cc puts values of two words into memory, because readers do not know pairs of registers. But it may be
	 * missing in the process that links with LTO.
	 */
	ops->full = size > UNITS_PER_WORD && (flag_generate_lto || flag_generate_offload);
	if (ops->full)
		return;
	bool is_signed = arg.cls == PPN_CLASS_SIGNED || (arg.cls == PPN_CLASS_CHAR && !TYPE_UNSIGNED(TREE_TYPE(value)));

	ops->sizes.push_back(is_signed ? -size : size);
	ops->values.push_back(value);
}

site_record site_record_new(const struct probed *probed, enum site_kind kind, const std::vector<int> &operands)
{
	site_record site;

	site.kind = kind;
	site.provider = probed->provider;
	site.name = probed->name;
	site.operands = operands;
	site.signature = probed->signature;
	site.shared = probed->shared;
	site.home = probed->home;
	if (site_has_note(site))
		site.line = probed->line;
	return site;
}

gasm *site_build(const struct operands &ops, const struct probed *probed, enum site_kind kind)
{
	return site_stmt_new(site_record_new(probed, kind, ops.sizes), ops.values);
}
