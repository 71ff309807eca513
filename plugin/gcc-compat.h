/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * GCC's headers in an order in which they can be included, and the differences
 * between its versions. The other files of the plugin use the names of the newest
 * version.
 *
 * These versions build the plugin without a warning and pass its tests: 11.3 and 12.2
 * (Debian 12), 13.3 and 14.2 (Debian 13), 15.3 and 16.2 (Debian 14). doc/platforms.md
 * has the table.
 */
#ifndef GCC_COMPAT_H
#define GCC_COMPAT_H

#define INCLUDE_STRING
#define INCLUDE_VECTOR
#define INCLUDE_ALGORITHM
#define INCLUDE_MAP

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "gcc-plugin.h"
#include "bversion.h"

#include "backend.h"
#include "rtl.h"
#include "tree.h"
#include "gimple.h"
#include "memmodel.h"
#include "tm_p.h"
#include "ssa.h"
#include "cgraph.h"
#include "fold-const.h"
#include "gimple-iterator.h" /* before gimple-fold.h, because that uses it from GCC 13 on */
#include "gimple-fold.h"
#include "gimple-pretty-print.h"
#include "gimple-walk.h"
#include "tree-cfg.h"
#include "tree-dfa.h"
#include "tree-eh.h"
#include "tree-into-ssa.h"
#include "tree-pass.h"
#include "tree-ssa-alias.h"
#include "tree-ssa-dce.h"
#include "tree-ssa.h"
#include "cfghooks.h"
#include "cfgloop.h"
#include "calls.h"
#include "context.h"
#include "pass_manager.h"
#include "diagnostic-core.h"
#include "df.h"
#include "emit-rtl.h"
#include "except.h"
#include "explow.h"
#include "expr.h"
#include "file-prefix-map.h"
#include "function.h"
#include "langhooks.h"
#include "output.h"
#include "stringpool.h"
#include "attribs.h"
#include "varasm.h"
#pragma GCC diagnostic pop

#if BUILDING_GCC_MAJOR < 14
static inline gimple *last_nondebug_stmt(basic_block bb)
{
	return last_stmt(bb);
}

#define make_eh_edge make_eh_edges
#define BITINT_TYPE ((enum tree_code)MAX_TREE_CODES) /* no type is one */
#endif

/*
 * Since GCC 15, a function that returns a constant can tail call another one if GCC knows that its result is that
 * constant.
 */
#if BUILDING_GCC_MAJOR >= 15
#include "value-range.h"
extern bool ipa_return_value_range(value_range &, tree);

static inline bool always_returns(tree function, tree value)
{
	value_range range;
	tree only;

	return TREE_CONSTANT(value) && ipa_return_value_range(range, function) && range.singleton_p(&only) &&
	       operand_equal_p(value, only, 0);
}

static inline bool has_must_tail(function *fn)
{
	return fn->has_musttail;
}
#else
static inline bool has_must_tail(function *)
{
	return false;
}

static inline bool always_returns(tree, tree)
{
	return false;
}
#endif

/* tree-ssa-live.h cannot be included, because headers that it needs are not installed. */
typedef hash_map<int_hash<unsigned int, -1U>, unsigned int> live_vars_map;
extern vec<bitmap_head> compute_live_vars(struct function *, live_vars_map *);
extern bitmap live_vars_at_stmt(vec<bitmap_head> &, live_vars_map *, gimple *);
extern void destroy_live_vars(vec<bitmap_head> &);

/* ipa-fnsummary.h would need a dozen other headers. */
extern void compute_fn_summary(struct cgraph_node *, bool);

/* The dependencies that -MD writes. Only the front ends of C and C++ have them. mkdeps.h is not installed. */
extern struct cpp_reader *parse_in __attribute__((weak));
extern class mkdeps *cpp_get_deps(struct cpp_reader *) __attribute__((weak));
extern void deps_add_dep(class mkdeps *, const char *) __attribute__((weak));

/* Only the front end of C++ has this. */
extern void clear_fold_cache(void) __attribute__((weak));

#endif
