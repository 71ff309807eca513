// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Puts the sites in: at a function's entry with its parameters, before each of
 * its returns with the value. Runs on every function as soon as it is in SSA
 * form, before anything has been inlined anywhere: so a copy of the function,
 * inlined or cloned, carries copies of its sites.
 *
 * The statement clobbers nothing and reads nothing but its operands, which are
 * integers: floating values are handed over as the bits they are. The class of
 * an argument was found before LTO stripped the types; here it is only obeyed.
 */
#include "parts.h"

namespace {

#define OPERANDS_IN_NOTE 12

struct operands {
	gimple_seq before;              /* computes the values */
	vec<tree, va_gc> *inputs;
	std::string text;
	unsigned count;
};

static void operand_add(struct operands *ops, char cls, tree value)
{
	tree type = TREE_TYPE(value);
	HOST_WIDE_INT size = int_size_in_bytes(type);
	bool is_signed = cls == PPN_CLASS_SIGNED || (cls == PPN_CLASS_CHAR && !TYPE_UNSIGNED(type));

	if (cls == PPN_CLASS_NONE || cls == PPN_CLASS_VOID || ops->count == OPERANDS_IN_NOTE)
		return;
	if (cls == PPN_CLASS_FLOAT)
		value = gimple_build(&ops->before, VIEW_CONVERT_EXPR, build_nonstandard_integer_type(size * 8, 1), value);
	/* late.cc is stricter; but with LTO it may be missing. No reader knows pairs of registers. */
	tree constraint = size > UNITS_PER_WORD ? build_string(3, "no") : build_string(4, "nor");
	vec_safe_push(ops->inputs, build_tree_list(build_tree_list(NULL_TREE, constraint), value));
	ops->text += (ops->count ? " " : "") + std::string(is_signed ? "-" : "") + std::to_string(size) + "@%" +
		     std::to_string(ops->count);
	ops->count++;
}

static gasm *site_build(struct operands *ops, const struct probed *probed, enum site_kind kind)
{
	std::string text = site_text(probed, kind, ops->text);
	gasm *site = gimple_build_asm_vec(ggc_strdup(text.c_str()), ops->inputs, NULL, NULL, NULL);

	gimple_asm_set_volatile(site, true);
	gimple_asm_set_inline(site, true);
	return site;
}

/* A parameter's value at entry. */
static tree parameter_value(struct operands *ops, function *fn, tree parm)
{
	if (is_gimple_reg(parm))
		return get_or_create_ssa_default_def(fn, parm);
	tree value = make_ssa_name(TYPE_MAIN_VARIANT(TREE_TYPE(parm)));
	gimple_seq_add_stmt(&ops->before, gimple_build_assign(value, parm));
	return value;
}

static void place_entry(function *fn, const struct probed *probed)
{
	struct operands ops = {};
	size_t i = 0;

	for (tree parm = DECL_ARGUMENTS(fn->decl); parm; parm = DECL_CHAIN(parm), i++) {
		char cls = i < probed->arguments.size() ? probed->arguments[i].cls : (char)PPN_CLASS_NONE;

		if (cls != PPN_CLASS_NONE)
			operand_add(&ops, cls, parameter_value(&ops, fn, parm));
	}

	edge entry = single_succ_edge(ENTRY_BLOCK_PTR_FOR_FN(fn));
	if (!single_pred_p(entry->dest) || phi_nodes(entry->dest))
		split_edge(entry);
	basic_block first = single_succ(ENTRY_BLOCK_PTR_FOR_FN(fn));
	gimple_stmt_iterator at = gsi_after_labels(first);
	gimple_seq_add_stmt(&ops.before, site_build(&ops, probed, SITE_ENTRY));
	gsi_insert_seq_before(&at, ops.before, GSI_SAME_STMT);
}

static void place_return(greturn *ret, gimple_stmt_iterator *at, const struct probed *probed)
{
	struct operands ops = {};
	tree value = gimple_return_retval(ret);

	if (value && probed->result.cls != PPN_CLASS_NONE && probed->result.cls != PPN_CLASS_VOID) {
		if (!is_gimple_val(value)) {
			tree loaded = make_ssa_name(TYPE_MAIN_VARIANT(TREE_TYPE(value)));
			gimple_seq_add_stmt(&ops.before, gimple_build_assign(loaded, value));
			value = loaded;
		}
		operand_add(&ops, probed->result.cls, value);
	}
	gasm *site = site_build(&ops, probed, SITE_RETURN);
	gimple_set_location(site, gimple_location(ret));
	gimple_seq_add_stmt(&ops.before, site);
	gsi_insert_seq_before(at, ops.before, GSI_SAME_STMT);
}

const pass_data place_data = {
	GIMPLE_PASS, PLUGIN_NAME, OPTGROUP_NONE, TV_PLUGIN_RUN, PROP_cfg | PROP_ssa, 0, 0, 0, TODO_update_ssa,
};

struct place_pass : gimple_opt_pass {
	place_pass(gcc::context *context) : gimple_opt_pass(place_data, context) {}

	unsigned execute(function *fn) override
	{
		const struct probed *probed = function_probed(fn->decl);
		edge e;
		edge_iterator ei;

		if (!probed)
			return 0;
		place_entry(fn, probed);
		FOR_EACH_EDGE(e, ei, EXIT_BLOCK_PTR_FOR_FN(fn)->preds) {
			gimple_stmt_iterator at = gsi_last_bb(e->src);

			if (!gsi_end_p(at) && gimple_code(gsi_stmt(at)) == GIMPLE_RETURN)
				place_return(as_a<greturn *>(gsi_stmt(at)), &at, probed);
		}
		return 0;
	}
};

} // namespace

opt_pass *pass_place(gcc::context *context)
{
	return new place_pass(context);
}
