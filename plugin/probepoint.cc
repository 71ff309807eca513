// SPDX-License-Identifier: GPL-3.0-or-later
/* The plugin's front door: its arguments, and where its passes stand. */
#include "parts.h"
#include "plugin-version.h"

int __attribute__((visibility("default"))) plugin_is_GPL_compatible;

static struct plugin_info info = {
	PP_VERSION,
	"Places probe points in functions.\n"
	"  -fplugin-arg-probepoint-functions=GLOB[,GLOB]...  functions to probe\n"
	"  -fplugin-arg-probepoint-exclude=GLOB[,GLOB]...    ... but not these\n"
	"  -fplugin-arg-probepoint-provider=NAME             instead of the source file's base name\n",
};

static const char usage[] = "use %<-fplugin-arg-" PLUGIN_NAME "-functions=GLOB[,GLOB]...%>, "
			    "%<-fplugin-arg-" PLUGIN_NAME "-exclude=GLOB[,GLOB]...%>, "
			    "%<-fplugin-arg-" PLUGIN_NAME "-provider=NAME%>";

static bool add_globs(const char *key, const char *value, std::vector<std::string> *globs)
{
	const char *start = value;

	for (const char *c = value;; c++) {
		if (*c && *c != ',')
			continue;
		if (c == start) {
			error(PLUGIN_NAME ": argument %qs has an empty pattern: %qs", key, value);
			return false;
		}
		globs->push_back(std::string(start, c));
		if (!*c)
			return true;
		start = c + 1;
	}
}

static bool read_argument(const struct plugin_argument *arg)
{
	const char *value = arg->value ? arg->value : "";

	if (!strcmp(arg->key, "functions"))
		return add_globs(arg->key, value, &choice.functions);
	if (!strcmp(arg->key, "exclude"))
		return add_globs(arg->key, value, &choice.exclude);
	if (!strcmp(arg->key, "provider")) {
		if (!choice.provider.empty() && choice.provider != value) {
			error(PLUGIN_NAME ": two providers, %qs and %qs", choice.provider.c_str(), value);
			return false;
		}
		choice.provider = value;
		if (!is_identifier(choice.provider)) {
			error(PLUGIN_NAME ": provider %qs is no identifier", value);
			return false;
		}
		return true;
	}
	error(PLUGIN_NAME ": unknown argument %qs", arg->key);
	inform(UNKNOWN_LOCATION, usage);
	return false;
}

static void survey(void *, void *)
{
	if (!in_lto_p)
		functions_survey();
}

static void finish(void *, void *)
{
	std::string text = signatures_text();

	if (!text.empty())
		fputs(text.c_str(), asm_out_file);
}

static void insert_pass(opt_pass *pass, const char *reference, int instance, enum pass_positioning_ops where)
{
	struct register_pass_info pass_info = { pass, reference, instance, where };

	register_callback(PLUGIN_NAME, PLUGIN_PASS_MANAGER_SETUP, NULL, &pass_info);
}

int __attribute__((visibility("default"))) plugin_init(struct plugin_name_args *args,
						       struct plugin_gcc_version *version)
{
	if (!plugin_default_version_check(version, &gcc_version)) {
		error(PLUGIN_NAME ": built for GCC %s, loaded by GCC %s: build it with "
				  "%<PLUGIN_CC=gcc-%s PLUGIN_CXX=g++-%s%>",
		      gcc_version.basever, version->basever, version->basever, version->basever);
		return 1;
	}
	if (g->get_passes()->get_pass_by_name("tree-" PLUGIN_NAME)) {
		error(PLUGIN_NAME ": loaded twice, the second time as %qs", args->full_name);
		return 1;
	}
	for (int i = 0; i < args->argc; i++)
		if (!read_argument(&args->argv[i]))
			return 1;
	/* At link time the sites are there already; what was asked for when compiling is of no matter. */
	if (choice.functions.empty() && strcmp(lang_hooks.name, "GNU GIMPLE")) {
		error(PLUGIN_NAME ": no functions to probe were named");
		inform(UNKNOWN_LOCATION, usage);
		return 1;
	}

	register_callback(PLUGIN_NAME, PLUGIN_INFO, NULL, &info);
	register_callback(PLUGIN_NAME, PLUGIN_ALL_IPA_PASSES_START, survey, NULL);
	register_callback(PLUGIN_NAME, PLUGIN_FINISH_UNIT, finish, NULL);
	insert_pass(pass_place(g), "nothrow", 1, PASS_POS_INSERT_AFTER);
	insert_pass(pass_tail(g, TAIL_RECURSION), "tailr", 0, PASS_POS_INSERT_BEFORE);
	insert_pass(pass_tail(g, TAIL_LTO), "release_ssa", 1, PASS_POS_INSERT_BEFORE);
	insert_pass(pass_tail(g, TAIL_CALL), "tailc", 1, PASS_POS_INSERT_BEFORE);
	insert_pass(pass_operands(g), "ira", 1, PASS_POS_INSERT_BEFORE);
	insert_pass(pass_text(g), "shorten", 1, PASS_POS_INSERT_BEFORE);
	return 0;
}
