/* SPDX-License-Identifier: MIT */
#include "cmd/options.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <probepoint.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/ui.h"

enum {
	KEY_JSON = 0x100,
	KEY_IF,
	KEY_STRING,
	KEY_NO_STRING,
	KEY_CHILDREN,
	KEY_PGRP,
	KEY_CGROUP,
	KEY_MAXACTIVE,
	KEY_YES
};

void options_append(const char ***list, size_t *n, const char *argument)
{
	const char **more = reallocarray(*list, *n + 1, sizeof(**list));

	if (!more)
		no_memory();
	*list = more;
	more[(*n)++] = argument;
}

error_t options_take_pid(struct argp_state *state, struct options *o, const char *text, pid_t *pid)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < 1 || n > 0x7fffffff)
		return options_wrong(state, o, "'%s' is no process id", text);
	*pid = (pid_t)n;
	return 0;
}

/* One process id, or several with commas or blanks between them, as pgrep -d, and pidof print them. */
static error_t append_pids(struct argp_state *state, struct options *o, const char *text)
{
	char *list = strdup(text), *rest = list, *word;
	error_t err = 0;
	size_t before = o->npids;

	if (!list)
		no_memory();
	while (!err && (word = strsep(&rest, ", \t\n"))) {
		pid_t pid, *more;

		if (!*word)
			continue;
		err = options_take_pid(state, o, word, &pid);
		if (err)
			break;
		more = reallocarray(o->pids, o->npids + 1, sizeof(*more));
		if (!more)
			no_memory();
		o->pids = more;
		more[o->npids++] = pid;
	}
	free(list);
	return err || o->npids > before ? err : options_take_pid(state, o, text, &(pid_t){ 0 });
}

bool options_stray_pid(const struct options *options, const char *argument)
{
	return options->npids && *argument && !argument[strspn(argument, "0123456789")];
}

static error_t check_request(struct argp_state *state, struct options *o,
                             int (*set)(struct pp_request *request, const char *value), const char *value)
{
	struct pp_request *request;
	int err;

	if (pp_request_new(&request))
		no_memory();
	err = set(request, value);
	pp_request_free(request);
	return err ? options_wrong(state, o, "%s", pp_error()) : 0;
}

static error_t parse_maxactive(struct argp_state *state, struct options *o, const char *text)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < 1 || n > PP_MAXACTIVE_MAX)
		return options_wrong(state, o, "'%s' is no number of calls under way: 1 to %d", text, PP_MAXACTIVE_MAX);
	o->maxactive = (unsigned)n;
	return 0;
}

error_t options_pattern(struct argp_state *state, struct options *options, const char ***list, size_t *n,
                        const char *pattern)
{
	if (options_stray_pid(options, pattern))
		return options_wrong(state, options, "'%s' is a pid where a PATTERN is expected: " OPTIONS_PIDS_HINT,
		                     pattern, options->pids[options->npids - 1], pattern);
	options_append(list, n, pattern);
	return check_request(state, options, pp_request_pattern, pattern);
}

error_t options_pattern_or_command(struct argp_state *state, struct options *options, const char ***list, size_t *n,
                                   char ***command)
{
	if (!state->quoted)
		return options_pattern(state, options, list, n, state->argv[state->next - 1]);
	*command = state->argv + state->next - 1;
	state->next = state->argc;
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'p': return append_pids(state, o, arg);
	case 'f':
		if (!*arg)
			return options_wrong(state, o, "-f needs a file; the name is empty");
		options_append(&o->files, &o->nfiles, arg);
		break;
	case 's': o->session = arg; break;
	case 'b': o->backend = arg; return check_request(state, o, pp_request_backend, arg);
	case KEY_IF: o->filter = arg; break;
	case KEY_STRING:
		if (!*arg)
			return options_wrong(state, o, "--string needs the name of an argument");
		options_append(&o->strings, &o->nstrings, arg);
		break;
	case KEY_NO_STRING:
		if (!*arg)
			return options_wrong(state, o, "--no-string needs the name of an argument");
		options_append(&o->addresses, &o->naddresses, arg);
		break;
	case KEY_CHILDREN: o->children = true; break;
	case KEY_PGRP: o->pgrp = true; break;
	case KEY_CGROUP: o->cgroup = arg; break;
	case KEY_MAXACTIVE: return parse_maxactive(state, o, arg);
	case KEY_YES: o->yes = true; break;
	case KEY_JSON: o->json = true; break;
	case 'q': o->quiet = true; break;
	case 'v': o->verbose = true; break;
	case ARGP_KEY_ERROR:
		if (!o->usage && asprintf(&o->usage, "cannot make sense of '%s'; see --help",
		                          state->argv[state->next > 1 ? state->next - 1 : 0]) < 0)
			no_memory();
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* An option that takes part in arming, where nothing is to be armed; NULL: none was given. */
static const char *arming_option(const struct options *o)
{
	return o->filter       ? "--if"
	       : o->nstrings   ? "--string"
	       : o->naddresses ? "--no-string"
	       : o->children   ? "--children"
	       : o->pgrp       ? "--pgrp"
	       : o->cgroup     ? "--cgroup"
	       : o->maxactive  ? "--maxactive"
	       : o->yes        ? "--yes"
	                       : NULL;
}

error_t options_check_arming(struct argp_state *state, struct options *o, const char *const *patterns, size_t npatterns,
                             bool command)
{
	bool returns = false;

	if (!npatterns && arming_option(o))
		return options_wrong(state, o, "%s is for PATTERNs: an existing session stays as it was armed",
		                     arming_option(o));
	if (!npatterns)
		return 0;
	for (size_t i = 0; i < npatterns; i++)
		returns |= !strncmp(patterns[i], "func:", 5) && strstr(patterns[i], "%return");
	if (o->maxactive && !returns)
		return options_wrong(state, o, "--maxactive is for patterns func:SYMBOL%%return");
	if ((o->children || o->pgrp) && !o->npids && !command)
		return options_wrong(state, o, "%s needs -p PID", o->children ? "--children" : "--pgrp");
	if (o->children + o->pgrp + (o->cgroup != NULL) > 1)
		return options_wrong(state, o, "only one of --children, --pgrp and --cgroup can be given");
	return 0;
}

static const struct argp_option pid[] = {
	{ "pid", 'p', "PID", 0, "this process, or several: 1,2,3; can be repeated", 1 },
	{ 0 },
};
static const struct argp_option file[] = {
	{ "file", 'f', "FILE", 0, "this executable or library; can be repeated", 1 },
	{ 0 },
};
static const struct argp_option filter[] = {
	{ "if", KEY_IF, "EXPR", 0, "only hits for which EXPR is true, as in 'len > 4096 && path =~ \"/api/*\"'", 1 },
	{ "string", KEY_STRING, "ARG", 0, "argument ARG (as arg0) points to a string; can be repeated", 1 },
	{ "no-string", KEY_NO_STRING, "ARG", 0, "show the address in ARG, although its type is char *; can be repeated",
	  1 },
	{ "children", KEY_CHILDREN, 0, 0, "the processes of -p and all that they fork from now on", 1 },
	{ "pgrp", KEY_PGRP, 0, 0, "all processes in the process groups of those of -p", 1 },
	{ "cgroup", KEY_CGROUP, "DIR", 0, "all processes in this control group and those below it", 1 },
	{ "maxactive", KEY_MAXACTIVE, "N", 0, "of func:SYMBOL%return: at most N calls under way at a time (256)", 1 },
	{ 0 },
};
static const struct argp_option session[] = {
	{ "session", 's', "SESSION", 0, "the session's name (\"default\" where none is given)", 1 },
	{ 0 },
};
static const struct argp_option backend[] = {
	{ "backend", 'b', "BACKEND", 0, "what arms: kernel, agent or auto (the start)", 1 },
	{ 0 },
};
static const struct argp_option yes[] = {
	{ "yes", KEY_YES, 0, 0, "arm more than 500 sites in running processes by the kernel without asking", 1 },
	{ 0 },
};
static const struct argp_option output[] = {
	{ "json", KEY_JSON, 0, 0, "results as JSON; an error is {\"error\":...}", 2 },
	{ "quiet", 'q', 0, 0, "nothing but results and errors", 2 },
	{ "verbose", 'v', 0, 0, "more of how and why", 2 },
	{ 0 },
};

const struct argp options_pid = { .options = pid, .parser = parse };
const struct argp options_file = { .options = file, .parser = parse };
const struct argp options_filter = { .options = filter, .parser = parse };
const struct argp options_session = { .options = session, .parser = parse };
const struct argp options_backend = { .options = backend, .parser = parse };
const struct argp options_yes = { .options = yes, .parser = parse };
const struct argp options_output = { .options = output, .parser = parse };
const struct argp_child options_arming[] = {
	{ &options_pid, 0, NULL, 0 },     { &options_file, 0, NULL, 0 },
	{ &options_filter, 0, NULL, 0 },  { &options_session, 0, NULL, 0 },
	{ &options_backend, 0, NULL, 0 }, { &options_yes, 0, NULL, 0 },
	{ &options_output, 0, NULL, 0 },  { 0 },
};

static void print_version(FILE *out, struct argp_state *state)
{
	(void)state;
	fprintf(out, "%s (probepoint) %s\n", program_invocation_short_name, pp_version());
}

/* argp tells of mistakes as it meets them, which may be before --json. */
static bool wants_json(int argc, char **argv)
{
	bool json = false;

	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		json |= !strcmp(argv[i], "--json");
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-?") || !strcmp(argv[i], "--usage") ||
		    !strcmp(argv[i], "--version") || !strcmp(argv[i], "-V"))
			return false;
	}
	return json;
}

void options_children(struct argp_state *state, const struct argp_child *children, struct options *options)
{
	for (size_t i = 0; children[i].argp; i++)
		state->child_inputs[i] = options;
}

error_t options_wrong(struct argp_state *state, struct options *options, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	free(options->usage);
	if (vasprintf(&options->usage, format, args) < 0)
		no_memory();
	va_end(args);
	if (!(state->flags & ARGP_NO_ERRS))
		options_reject(options, "%s", options->usage);
	return EINVAL;
}

void options_reject(struct options *options, const char *format, ...)
{
	char *message;
	va_list args;

	va_start(args, format);
	if (vasprintf(&message, format, args) < 0)
		no_memory();
	va_end(args);
	complain(options, "%s", message);
	free(message);
	if (!options->json)
		fprintf(stderr, "Try '%s --help' for more.\n", program_invocation_short_name);
	exit(finish(options, STATUS_USAGE));
}

/* What is opened later must not become a standard stream; to use one that was closed stays an error. */
static void fill_standard_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
			exit(STATUS_FAILED);
}

void options_parse(const struct argp *argp, int argc, char **argv, struct options *options, void *input)
{
	unsigned flags = ARGP_IN_ORDER;

	fill_standard_streams();
	setvbuf(stderr, NULL, _IOLBF, 0); /* whole lines, beside those of a command */
	setlocale(LC_CTYPE, "");
	argp_err_exit_status = STATUS_USAGE;
	argp_program_version_hook = print_version;
	if (wants_json(argc, argv)) {
		options->json = true;
		flags |= ARGP_NO_ERRS;
	}
	if (argp_parse(argp, argc, argv, flags, NULL, input))
		options_reject(options, "%s", options->usage);
}

const char *options_session_name(const struct options *options)
{
	return options->session ? options->session : "default";
}
