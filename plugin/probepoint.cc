// SPDX-License-Identifier: GPL-3.0-or-later
/* Loads the plugin: checks GCC's version, and registers the passes and callbacks. */
#include "parts.h"
#include "plugin-version.h"

int __attribute__((visibility("default"))) plugin_is_GPL_compatible;

static struct plugin_info info = {
	PP_VERSION,
	"Places probe points in functions; see probepoint-plugin(1).",
};

static void unit_survey(void *, void *)
{
	if (!in_lto_p)
		functions_survey();
}

static void unit_finish(void *, void *)
{
	std::string text = output_notes();

	if (!text.empty())
		fputs(text.c_str(), asm_out_file);
}

static void unit_attributes(void *, void *)
{
	attributes_register();
}

static void function_parsed(void *decl, void *)
{
	idle_mark((tree)decl);
}

/* Sets the properties of the target, and makes the object depend on the files of rules as it does on headers. */
static void unit_start(void *, void *)
{
	note_target.address_size = POINTER_SIZE / BITS_PER_UNIT;
	note_target.big_endian = BYTES_BIG_ENDIAN;

	class mkdeps *deps = &parse_in && parse_in ? cpp_get_deps(parse_in) : NULL;

	if (deps) /* preprocessed sources have none */
		for (const std::string &file : choice.files)
			deps_add_dep(deps, file.c_str());
}

static const char *loaded_as;

static void insert_pass(opt_pass *pass, const char *reference, int instance, enum pass_positioning_ops where)
{
	struct register_pass_info pass_info = { pass, reference, instance, where };

	register_callback(loaded_as, PLUGIN_PASS_MANAGER_SETUP, NULL, &pass_info);
}

/* Returns the value of a GCC's configure option, which may be in quotes, or "". */
static std::string configured(const struct plugin_gcc_version *gcc, const char *option)
{
	const char *value = strstr(gcc->configuration_arguments, option);

	if (!value)
		return "";
	value += strlen(option);
	if (*value == '\'')
		return std::string(value + 1, strcspn(value + 1, "'"));
	return std::string(value, strcspn(value, " "));
}

/* Reports which GCC the plugin is for, and which one has loaded it. */
static void version_refuse(const struct plugin_gcc_version *loader)
{
	std::string own = configured(&gcc_version, "--target="), other = configured(loader, "--target=");
	std::string major(loader->basever, strcspn(loader->basever, "."));

	if (strcmp(gcc_version.basever, loader->basever)) {
		error(PLUGIN_NAME ": built for GCC %s, loaded by GCC %s; build it with "
		                  "%<PLUGIN_CC=gcc-%s PLUGIN_CXX=g++-%s%>",
		      gcc_version.basever, loader->basever, major.c_str(), major.c_str());
		return;
	}
	if (own != other) {
		error(PLUGIN_NAME ": built for GCC %s for %s, loaded by GCC %s for %s; build it with "
		                  "%<PLUGIN_CC=%s-gcc-%s%>",
		      gcc_version.basever, own.c_str(), loader->basever, other.c_str(), other.c_str(), major.c_str());
		return;
	}
	own = configured(&gcc_version, "--with-pkgversion=");
	other = configured(loader, "--with-pkgversion=");
	error(PLUGIN_NAME
	      ": built for GCC %s (%s, %s), loaded by another build of it (%s, %s); build it again for this one",
	      gcc_version.basever, own.c_str(), gcc_version.datestamp, other.c_str(), loader->datestamp);
}

int __attribute__((visibility("default")))
plugin_init(struct plugin_name_args *args, struct plugin_gcc_version *version)
{
	if (!plugin_default_version_check(version, &gcc_version)) {
		version_refuse(version);
		return 1;
	}
	if (g->get_passes()->get_pass_by_name("tree-" PLUGIN_NAME)) {
		error(PLUGIN_NAME ": loaded twice, the second time as %qs", args->full_name);
		return 1;
	}
	if (!arguments_read(args))
		return 1;
	loaded_as = args->base_name;

	register_callback(loaded_as, PLUGIN_INFO, NULL, &info);
	register_callback(loaded_as, PLUGIN_START_UNIT, unit_start, NULL);
	register_callback(loaded_as, PLUGIN_ALL_IPA_PASSES_START, unit_survey, NULL);
	register_callback(loaded_as, PLUGIN_ATTRIBUTES, unit_attributes, NULL);
	register_callback(loaded_as, PLUGIN_PRE_GENERICIZE, function_parsed, NULL);
	register_callback(loaded_as, PLUGIN_FINISH_UNIT, unit_finish, NULL);
	insert_pass(pass_place(g), "nothrow", 1, PASS_POS_INSERT_AFTER);
	insert_pass(pass_size(g), "local-fnsummary", 0, PASS_POS_REPLACE);
	size_hook_unit();
	insert_pass(pass_idle(g), "einline", 1, PASS_POS_INSERT_AFTER);
	insert_pass(pass_tail(g, TAIL_RECURSION), "tailr", 0, PASS_POS_INSERT_BEFORE);
	for (const char *split : { "fnsplit", "feedback_fnsplit" }) {
		insert_pass(pass_part(g), split, 1, PASS_POS_INSERT_BEFORE);
		insert_pass(pass_join(g), split, 1, PASS_POS_INSERT_AFTER);
	}
	insert_pass(pass_tail(g, TAIL_LTO), "release_ssa", 1, PASS_POS_INSERT_BEFORE);
	insert_pass(pass_inlined(g), "ehdisp", 1, PASS_POS_INSERT_BEFORE);
	insert_pass(pass_tail(g, TAIL_CALL), "tailc", 1, PASS_POS_INSERT_BEFORE);
#if BUILDING_GCC_MAJOR >= 15
	insert_pass(pass_tail(g, TAIL_MUST), "musttail", 0, PASS_POS_INSERT_BEFORE);
#endif
	if (opt_pass *hiding = pass_tail_hiding(g))
		insert_pass(hiding, "tailc", 1, PASS_POS_REPLACE);
	insert_pass(pass_memory(g), "optimized", 1, PASS_POS_INSERT_AFTER);
	insert_pass(pass_operands(g), "ira", 1, PASS_POS_INSERT_BEFORE);
	insert_pass(pass_text(g), "shorten", 1, PASS_POS_INSERT_BEFORE);
	return 0;
}
