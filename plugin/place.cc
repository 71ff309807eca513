// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Puts the sites in: at a function's entry with its parameters, before each of
 * its returns with the value; the other ways out are in unwind.cc. Runs on every function as soon as it is in SSA
 * form, before anything has been inlined anywhere: so a copy of the function,
 * inlined or cloned, carries copies of its sites.
 *
 * The statement clobbers nothing and reads nothing but its operands, which are
 * integers: floating values are handed over as the bits they are. The class of
 * an argument was found before LTO stripped the types; here it is only obeyed.
 */
#include "parts.h"

namespace {

#define INPUTS 28 /* GCC knows no asm statement with more than 30 */

static tree load(struct operands *ops, tree place)
{
	tree value = make_ssa_name(TYPE_MAIN_VARIANT(TREE_TYPE(place)));

	gimple_seq_add_stmt(&ops->before, gimple_build_assign(value, place));
	return value;
}

static tree bits(struct operands *ops, tree value)
{
	tree type = build_nonstandard_integer_type(tree_to_uhwi(TYPE_SIZE(TREE_TYPE(value))), 1);

	return gimple_build(&ops->before, VIEW_CONVERT_EXPR, type, value);
}

/* One of the two halves of 128 bits, as a number of the argument's size. */
static tree half(struct operands *ops, tree value, bool high, tree type)
{
	tree whole = bits(ops, value);

	if (high)
		whole = gimple_build(&ops->before, RSHIFT_EXPR, TREE_TYPE(whole), whole,
				     build_int_cst(unsigned_type_node, 64));
	return gimple_convert(&ops->before, type, whole);
}

/* The integer that an argument hands over, of a place (a parameter, a result) that holds it. */
static tree part_value(struct operands *ops, const argument &arg, tree place)
{
	tree value = place;

	for (tree step : arg.steps) {
		if (TREE_CODE(step) == FIELD_DECL)
			value = build3(COMPONENT_REF, TREE_TYPE(step), value, step, NULL_TREE);
		else
			value = build4(ARRAY_REF, TREE_TYPE(TREE_TYPE(value)), value, step, NULL_TREE, NULL_TREE);
	}
	if (!is_gimple_val(value))
		value = load(ops, value);
	switch (arg.part) {
	case PART_LOW:
	case PART_MANTISSA:
		return half(ops, value, false, long_long_unsigned_type_node);
	case PART_HIGH:
		return half(ops, value, true, long_long_unsigned_type_node);
	case PART_EXPONENT:
		return half(ops, value, true, short_unsigned_type_node);
	case PART_REAL:
		value = gimple_build(&ops->before, REALPART_EXPR, TREE_TYPE(TREE_TYPE(value)), value);
		break;
	case PART_IMAGINARY:
		value = gimple_build(&ops->before, IMAGPART_EXPR, TREE_TYPE(TREE_TYPE(value)), value);
		break;
	default:
		break;
	}
	if (SCALAR_FLOAT_TYPE_P(TREE_TYPE(value)))
		return bits(ops, value);
	/* Bit-fields, and what else is narrower than its place. */
	if (INTEGRAL_TYPE_P(TREE_TYPE(value)) && TREE_CODE(TREE_TYPE(value)) != BOOLEAN_TYPE) {
		tree last = arg.steps.empty() ? NULL_TREE : arg.steps.back();

		if (last && TREE_CODE(last) == FIELD_DECL && DECL_BIT_FIELD_TYPE(last))
			return gimple_convert(&ops->before, DECL_BIT_FIELD_TYPE(last), value);
	}
	return value;
}

} // namespace

void operand_add(struct operands *ops, const argument &arg, tree place)
{
	if (arg.part == PART_NONE || arg.cls == PPN_CLASS_VOID || ops->values.size() + ops->in_memory.size() >= INPUTS)
		return;
	tree value = arg.part == PART_ADDRESS ? build_fold_addr_expr(place) : part_value(ops, arg, place);
	HOST_WIDE_INT size = int_size_in_bytes(TREE_TYPE(value));
	bool is_signed = arg.cls == PPN_CLASS_SIGNED ||
			 (arg.cls == PPN_CLASS_CHAR && !TYPE_UNSIGNED(TREE_TYPE(value)));

	ops->text += (ops->values.empty() ? "" : " ") + std::string(is_signed ? "-" : "") + std::to_string(size) + "@%" +
		     std::to_string(ops->values.size());
	ops->values.push_back(value);
}

gasm *site_build(struct operands *ops, const struct probed *probed, enum site_kind kind)
{
	return site_stmt_new(site_text(probed, kind, ops->text), ops->values, ops->in_memory);
}

namespace {

static bool calls_itself(tree decl)
{
	cgraph_node *node = cgraph_node::get(decl);

	for (cgraph_edge *e = node->callees; e; e = e->next_callee)
		if (e->callee == node)
			return true;
	return false;
}

static void place_entry(function *fn, const struct probed *probed)
{
	struct operands ops = {};
	std::vector<tree> parms;

	for (tree parm = DECL_ARGUMENTS(fn->decl); parm; parm = DECL_CHAIN(parm))
		parms.push_back(parm);
	for (const argument &arg : probed->arguments) {
		tree parm = parms[arg.parm];

		/* GCC makes no tail call where a parameter's address is taken. */
		if (arg.part == PART_ADDRESS && (!TREE_ADDRESSABLE(parm) && calls_itself(fn->decl)))
			break;
		/* What is handed over by its address must be there when the site is passed. */
		if (arg.part == PART_ADDRESS) {
			mark_addressable(parm);
			ops.in_memory.push_back(parm);
		}
		operand_add(&ops, arg, is_gimple_reg(parm) ? get_or_create_ssa_default_def(fn, parm) : parm);
	}

	edge entry = single_succ_edge(ENTRY_BLOCK_PTR_FOR_FN(fn));
	if (!single_pred_p(entry->dest) || phi_nodes(entry->dest))
		split_edge(entry);
	basic_block first = single_succ(ENTRY_BLOCK_PTR_FOR_FN(fn));
	gimple_stmt_iterator at = gsi_after_labels(first);
	gimple_seq_add_stmt(&ops.before, site_build(&ops, probed, SITE_ENTRY));
	gsi_insert_seq_before(&at, ops.before, GSI_SAME_STMT);
}

static gimple_seq return_site(tree value, location_t where, const struct probed *probed)
{
	struct operands ops = {};

	if (value)
		operand_add(&ops, probed->result, value);
	gasm *site = site_build(&ops, probed, SITE_RETURN);
	gimple_set_location(site, where);
	gimple_seq_add_stmt(&ops.before, site);
	return ops.before;
}

static void place_return(greturn *ret, const struct probed *probed)
{
	gimple_stmt_iterator at = gsi_for_stmt(ret);
	gimple_seq site = return_site(gimple_return_retval(ret), gimple_location(ret), probed);

	gsi_insert_seq_before(&at, site, GSI_SAME_STMT);
}

const pass_data place_data = {
	GIMPLE_PASS, PLUGIN_NAME, OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, TODO_update_ssa,
};

struct place_pass : gimple_opt_pass {
	place_pass(gcc::context *context) : gimple_opt_pass(place_data, context) {}

	unsigned execute(function *fn) override
	{
		const struct probed *probed = function_probed(fn->decl);
		std::vector<greturn *> returns;
		edge e;
		edge_iterator ei;

		if (is_declared_probe(fn->decl))
			declared_place(fn);
		if (!probed)
			return 0;
		if (probed->entry)
			place_entry(fn, probed);
		FOR_EACH_EDGE(e, ei, EXIT_BLOCK_PTR_FOR_FN(fn)->preds) {
			gimple_stmt_iterator at = gsi_last_bb(e->src);

			if (probed->returns && !gsi_end_p(at) && gimple_code(gsi_stmt(at)) == GIMPLE_RETURN)
				returns.push_back(as_a<greturn *>(gsi_stmt(at)));
		}
		for (greturn *ret : returns)
			place_return(ret, probed);
		if (probed->returns)
			noreturn_place(fn, probed);
		if (probed->returns && flag_exceptions)
			unwind_place(fn, probed);
		return 0;
	}
};

} // namespace

opt_pass *pass_place(gcc::context *context)
{
	return new place_pass(context);
}
