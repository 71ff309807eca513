/* SPDX-License-Identifier: MIT */
#include "cmd/options.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <probepoint.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/alloc.h"
#include "cmd/find-file.h"
#include "cmd/ui.h"

enum {
	KEY_JSON = 0x100,
	KEY_IF,
	KEY_PRINT,
	KEY_STRLEN,
	KEY_AGG,
	KEY_AGG_SIZE,
	KEY_STACK,
	KEY_STRING,
	KEY_NO_STRING,
	KEY_CHILDREN,
	KEY_PGRP,
	KEY_CGROUP,
	KEY_MIN_DURATION,
	KEY_LATENCY,
	KEY_ON,
	KEY_URETPROBE,
	KEY_MAXACTIVE,
	KEY_EVERY,
	KEY_RATE,
	KEY_YES,
	KEY_BUFFER,
	KEY_FAST
};

enum { WARNINGS_SHOWN = 3, OPTIONS_SAMPLE_MAX = 1000000000 };

/* ---- errors ---- */

error_t options_usage_error(struct argp_state *state, struct options *options, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	free(options->usage_error);
	options->usage_error = xvasprintf(format, args);
	va_end(args);
	if (!(state->flags & ARGP_NO_ERRS))
		options_usage_exit(options, "%s", options->usage_error);
	return EINVAL;
}

void options_usage_exit(struct options *options, const char *format, ...)
{
	char *message;
	va_list args;

	va_start(args, format);
	message = xvasprintf(format, args);
	va_end(args);
	ui_error(options, "%s", message);
	free(message);
	if (!options->json)
		fprintf(stderr, "Try '%s --help' for more information.\n", program_invocation_short_name);
	exit(ui_finish(options, STATUS_USAGE));
}

/* ---- arguments of options ---- */

void options_append(const char ***list, size_t *n, const char *argument)
{
	*list = xreallocarray(*list, *n + 1, sizeof(**list));
	(*list)[(*n)++] = argument;
}

/* Returns whether the text is a number from 1 to max. */
static bool number_parse(const char *text, uint64_t max, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 10);
	return !errno && end != text && !*end && !strchr(text, '-') && *number >= 1 && *number <= max;
}

error_t options_parse_number(struct argp_state *state, struct options *options, const char *option, const char *text,
                             uint64_t max, uint64_t *number)
{
	if (number_parse(text, max, number))
		return 0;
	if (max < INT_MAX)
		return options_usage_error(state, options, "%s: invalid number '%s'; give 1 to %u", option, text,
		                           (unsigned)max);
	return options_usage_error(state, options, "%s: invalid number '%s'", option, text);
}

error_t options_parse_time(struct argp_state *state, struct options *options, const char *option, const char *text,
                           double *seconds)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = {
		{ "", 1 }, { "s", 1 }, { "ms", 1e-3 }, { "m", 60 }, { "min", 60 }, { "h", 3600 }, { "d", 86400 },
	};
	char *end;
	double n = strtod(text, &end);

	for (size_t i = 0; end != text && i < sizeof(units) / sizeof(*units); i++)
		if (!strcmp(end, units[i].unit) && n * units[i].seconds >= 0.001 && n * units[i].seconds <= 1e9) {
			*seconds = n * units[i].seconds;
			return 0;
		}
	return options_usage_error(state, options, "%s: invalid time '%s'; give 500ms, 30s, 5m or 1h", option, text);
}

error_t options_parse_pid(struct argp_state *state, struct options *options, const char *text, pid_t *pid)
{
	uint64_t number;

	if (!number_parse(text, INT_MAX, &number))
		return options_usage_error(state, options, "invalid pid '%s'", text);
	*pid = (pid_t)number;
	return 0;
}

/* Parses a pid, or several with commas or blanks between them, as pgrep -d, and pidof print them. */
static error_t pids_append(struct argp_state *state, struct options *o, const char *text)
{
	char *list = xstrdup(text), *rest = list, *word;
	size_t before = o->npids;
	error_t err = 0;

	while ((word = strsep(&rest, ", \t\n"))) {
		pid_t pid = 0;

		if (!*word)
			continue;
		err = options_parse_pid(state, o, word, &pid);
		if (err)
			break;
		o->pids = xreallocarray(o->pids, o->npids + 1, sizeof(*o->pids));
		o->pids[o->npids++] = pid;
	}
	free(list);
	if (err || o->npids > before)
		return err;
	return options_usage_error(state, o, "invalid pid '%s'", text);
}

/* Appends the argument of an option. thing: what it is. */
static error_t nonempty_append(struct argp_state *state, struct options *o, const char *option, const char *thing,
                               const char ***list, size_t *n, const char *argument)
{
	if (!*argument)
		return options_usage_error(state, o, "%s: empty %s", option, thing);
	options_append(list, n, argument);
	return 0;
}

/* Reports an error if the library does not accept the value in a request. */
static error_t request_accepts(struct argp_state *state, struct options *o,
                               int (*set)(struct pp_request *request, const char *value), const char *value)
{
	struct pp_request *request;
	int err;

	if (pp_request_new(&request))
		alloc_failed();
	err = set(request, value);
	pp_request_free(request);
	if (err == -ENOMEM)
		alloc_failed();
	return err ? options_usage_error(state, o, "%s", pp_error()) : 0;
}

bool options_is_stray_pid(const struct options *options, const char *argument)
{
	return options->npids && *argument && !argument[strspn(argument, "0123456789")];
}

error_t options_stray_pid_error(struct argp_state *state, struct options *options, const char *argument,
                                const char *expected)
{
	return options_usage_error(
		state, options,
		"'%s' is a pid, not a %s; separate pids by commas, as in -p %d,%s or -p $(pgrep -d, NAME)", argument,
		expected, options->pids[options->npids - 1], argument);
}

error_t options_add_pattern(struct argp_state *state, struct options *options, const char ***list, size_t *n,
                            const char *pattern)
{
	if (options_is_stray_pid(options, pattern))
		return options_stray_pid_error(state, options, pattern, "PATTERN");
	options_append(list, n, pattern);
	return request_accepts(state, options, pp_request_pattern, pattern);
}

static error_t maxactive_parse(struct argp_state *state, struct options *o, const char *text)
{
	uint64_t number;
	error_t err = options_parse_number(state, o, "--maxactive", text, PP_MAXACTIVE_MAX, &number);

	if (!err)
		o->maxactive = (unsigned)number;
	return err;
}

/* Sets --min-duration: a number with a unit, in ns. */
static error_t duration_parse(struct argp_state *state, struct options *o, const char *text)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = { { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 }, { "m", 60e9 } };
	char *end;
	double n = strtod(text, &end);

	for (size_t i = 0; end != text && i < sizeof(units) / sizeof(*units); i++)
		if (!strcmp(end, units[i].unit) && n * units[i].ns >= 1 && n * units[i].ns < 9e18) {
			o->min_duration = (uint64_t)(n * units[i].ns + 0.5);
			return 0;
		}
	return options_usage_error(state, o, "--min-duration: invalid time '%s'; give 500ns, 20us, 5ms or 1s", text);
}

/* Sets an expression. The second one would replace the first in silence. */
static error_t once_parse(struct argp_state *state, struct options *o, const char **to, const char *option,
                          const char *remedy, const char *expression)
{
	if (*to)
		return options_usage_error(state, o, "%s is given twice; %s", option, remedy);
	*to = expression;
	return 0;
}

/* Sets --latency, whose second argument is the next word. */
static error_t latency_parse(struct argp_state *state, struct options *o, const char *begin)
{
	error_t err;

	if (o->latency[0])
		return options_usage_error(state, o, "--latency is given twice; use one command for each");
	if (state->next >= state->argc || state->argv[state->next][0] == '-')
		return options_usage_error(state, o, "--latency needs two probes: --latency BEGIN END");
	o->latency[0] = begin;
	o->latency[1] = state->argv[state->next++];
	err = request_accepts(state, o, pp_request_pattern, o->latency[0]);
	return err ? err : request_accepts(state, o, pp_request_pattern, o->latency[1]);
}

/* Parses a size such as 512K, 16M or 1G. Returns 0 if it is invalid or overflows. */
static uint64_t size_parse(const char *text)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	unsigned long long n;
	unsigned shift = 0;

	errno = 0;
	n = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
	}
	if (errno || end == text || *end || strchr(text, '-') || n > UINT64_MAX >> shift)
		return 0;
	return (uint64_t)n << shift;
}

error_t options_parse_size(struct argp_state *state, struct options *o, const char *option, const char *text,
                           uint64_t min, uint64_t *size)
{
	*size = size_parse(text);
	if (*size < min)
		return options_usage_error(state, o, "%s: invalid size '%s'; give at least %" PRIu64 "M, as in 16M",
		                           option, text, min >> 20);
	return 0;
}

static error_t buffer_parse(struct argp_state *state, struct options *o, const char *text)
{
	uint64_t n = size_parse(text);

	if (n < PP_BUFFER_MIN || n > PP_BUFFER_MAX)
		return options_usage_error(state, o, "--buffer: invalid size '%s'; give 64K to 1G, as in 16M", text);
	o->buffer = (size_t)n;
	return 0;
}

static error_t every_parse(struct argp_state *state, struct options *o, const char *text)
{
	uint64_t number;
	error_t err = options_parse_number(state, o, "--every", text, OPTIONS_SAMPLE_MAX, &number);

	if (!err)
		o->every = (unsigned)number;
	return err;
}

/* Parses a rate such as 100/s. */
static error_t rate_parse(struct argp_state *state, struct options *o, const char *text)
{
	size_t length = strlen(text);
	char *number = xstrdup(text);
	uint64_t n;
	bool ok;

	if (length > 2 && !strcmp(text + length - 2, "/s"))
		number[length - 2] = 0;
	ok = number_parse(number, OPTIONS_SAMPLE_MAX, &n);
	free(number);
	if (!ok)
		return options_usage_error(state, o, "--rate: invalid rate '%s'; give 1/s to %d/s", text,
		                           OPTIONS_SAMPLE_MAX);
	o->rate = (unsigned)n;
	return 0;
}

static error_t cells_parse(struct argp_state *state, struct options *o, const char *text)
{
	uint64_t number;
	error_t err = options_parse_number(state, o, "--agg-size", text, 1000000, &number);

	if (!err)
		o->cells = (unsigned)number;
	return err;
}

static void print_add(struct options *o, const char *list)
{
	char *joined = o->print ? xasprintf("%s, %s", o->print, list) : xstrdup(list);

	free(o->print);
	o->print = joined;
}

static error_t strlen_parse(struct argp_state *state, struct options *o, const char *text)
{
	uint64_t number;
	error_t err = options_parse_number(state, o, "--strlen", text, PP_STRING_MAX, &number);

	if (!err)
		o->string_max = (unsigned)number;
	return err;
}

/* ---- options ---- */

static error_t options_parse_key(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'p': return pids_append(state, o, arg);
	case 'f': return nonempty_append(state, o, "-f", "file name", &o->files, &o->nfiles, arg);
	case 's': o->session = arg; break;
	case 'b': o->backend = arg; return request_accepts(state, o, pp_request_backend, arg);
	case KEY_IF: return once_parse(state, o, &o->filter, "--if", "join the expressions by &&", arg);
	case KEY_AGG: return once_parse(state, o, &o->aggregate, "--agg", "give one list of calls", arg);
	case KEY_STACK: o->stack = true; break;
	case KEY_PRINT: print_add(o, arg); break;
	case KEY_STRLEN: return strlen_parse(state, o, arg);
	case KEY_AGG_SIZE: return cells_parse(state, o, arg);
	case KEY_STRING: return nonempty_append(state, o, "--string", "argument name", &o->strings, &o->nstrings, arg);
	case KEY_NO_STRING:
		return nonempty_append(state, o, "--no-string", "argument name", &o->addresses, &o->naddresses, arg);
	case KEY_CHILDREN: o->children = true; break;
	case KEY_PGRP: o->pgrp = true; break;
	case KEY_CGROUP: o->cgroup = arg; break;
	case KEY_MIN_DURATION: return duration_parse(state, o, arg);
	case KEY_LATENCY: return latency_parse(state, o, arg);
	case KEY_ON: return once_parse(state, o, &o->key, "--on", "give one expression", arg);
	case KEY_URETPROBE: o->uretprobe = true; break;
	case KEY_MAXACTIVE: return maxactive_parse(state, o, arg);
	case KEY_EVERY: return every_parse(state, o, arg);
	case KEY_RATE: return rate_parse(state, o, arg);
	case KEY_FAST: o->fast = true; break;
	case KEY_BUFFER: return buffer_parse(state, o, arg);
	case KEY_YES: o->yes = true; break;
	case KEY_JSON: o->json = true; break;
	case 'q': o->quiet = true; break;
	case 'v': o->verbose = true; break;
	case ARGP_KEY_ERROR:
		if (!o->usage_error)
			o->usage_error = xasprintf("invalid argument '%s'; see --help",
			                           state->argv[state->next > 1 ? state->next - 1 : 0]);
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

const char *options_first_arming(const struct options *o)
{
	return o->filter         ? "--if"
	       : o->min_duration ? "--min-duration"
	       : o->print        ? "--print"
	       : o->string_max   ? "--strlen"
	       : o->aggregate    ? "--agg"
	       : o->stack        ? "--stack"
	       : o->cells        ? "--agg-size"
	       : o->key          ? "--on"
	       : o->nstrings     ? "--string"
	       : o->naddresses   ? "--no-string"
	       : o->children     ? "--children"
	       : o->pgrp         ? "--pgrp"
	       : o->cgroup       ? "--cgroup"
	       : o->maxactive    ? "--maxactive"
	       : o->every        ? "--every"
	       : o->rate         ? "--rate"
	       : o->uretprobe    ? "--uretprobe"
	       : o->fast         ? "--fast"
	       : o->buffer       ? "--buffer"
	       : o->yes          ? "--yes"
	                         : NULL;
}

static const struct argp_option pid[] = {
	{ "pid", 'p', "PID", 0, "select this process, or several as in 1,2,3; can be repeated", 1 },
	{ 0 },
};
static const struct argp_option file[] = {
	{ "file", 'f', "FILE", 0,
	  "select this executable or shared library, by its path or name as in libc.so.6; can be repeated", 1 },
	{ 0 },
};
static const struct argp_option filter[] = {
	{ "if", KEY_IF, "EXPR", 0, "select hits for which EXPR is true, as in 'len > 4096 && path =~ \"/api/*\"'", 1 },
	{ "agg", KEY_AGG, "EXPR", 0,
	  "compute EXPR at the hits, as in 'count(), pct(size) by path'; probe-stat shows the results", 1 },
	{ "stack", KEY_STACK, 0, 0, "count the hits by their stack of calls; the same as --agg 'count() by stack'", 1 },
	{ "agg-size", KEY_AGG_SIZE, "N", 0, "keep at most N keys and buckets of --agg (default 10000)", 1 },
	{ "print", KEY_PRINT, "EXPR,...", 0,
	  "record these values instead of the arguments, as in 'c->id, key->ptr, argv[1]'; can be repeated", 1 },
	{ "strlen", KEY_STRLEN, "N", 0, "record at most N bytes of each string, up to 4096 (default 127)", 1 },
	{ "string", KEY_STRING, "ARG[:LEN]", 0,
	  "read argument ARG (such as arg0) as a pointer to a string, of LEN bytes if LEN names an argument; can be "
	  "repeated",
	  1 },
	{ "no-string", KEY_NO_STRING, "ARG", 0,
	  "show the address in argument ARG, although its type is char *; can be repeated", 1 },
	{ "children", KEY_CHILDREN, 0, 0, "include all processes that the processes of -p fork from now on", 1 },
	{ "pgrp", KEY_PGRP, 0, 0, "include all processes in the process groups of the processes of -p", 1 },
	{ "cgroup", KEY_CGROUP, "DIR", 0, "select all processes in this control group and its descendants", 1 },
	{ "min-duration", KEY_MIN_DURATION, "TIME", 0,
	  "select returns of calls that took TIME or more, such as 20us or 5ms", 1 },
	{ "latency", KEY_LATENCY, "BEGIN END", 0,
	  "measure the time from probe BEGIN to the next END in the same thread, as END's duration", 1 },
	{ "on", KEY_ON, "EXPR", 0,
	  "with --latency: match BEGIN and END by the value of EXPR, an integer or string, in any thread of a process",
	  1 },
	{ "every", KEY_EVERY, "N", 0, "record and aggregate only each Nth hit of a site on each CPU or in each thread",
	  1 },
	{ "rate", KEY_RATE, "N/s", 0, "record and aggregate at most N hits of each probe per second", 1 },
	{ "maxactive", KEY_MAXACTIVE, "N", 0,
	  "track at most N calls of func:SYMBOL%return in flight per process (default 256) and per thread (default 100, at "
	  "most 800)",
	  1 },
	{ "uretprobe", KEY_URETPROBE, 0, 0,
	  "see the returns of func:SYMBOL%return by uretprobes, in processes that have no unwinder", 1 },
	{ "buffer", KEY_BUFFER, "SIZE", 0,
	  "use buffers of SIZE for records, from 64K to 1G, as in 16M (default: kernel 4M, agent 4M for 4 threads and 256K for others)",
	  1 },
	{ "fast", KEY_FAST, 0, 0,
	  "arm by calls instead of traps where the kernel can (Linux 7.2) and the process allows it; unwinders stop there",
	  1 },
	{ 0 },
};
static const struct argp_option session[] = {
	{ "session", 's', "SESSION", 0, "use the session of this name (default \"default\")", 1 },
	{ 0 },
};
static const struct argp_option backend[] = {
	{ "backend", 'b', "BACKEND", 0, "arm through kernel, agent or auto (default auto)", 1 },
	{ 0 },
};
static const struct argp_option yes[] = {
	{ "yes", KEY_YES, 0, 0, "arm more than 500 sites in running processes through the kernel without confirmation",
	  1 },
	{ 0 },
};
static const struct argp_option output[] = {
	{ "json", KEY_JSON, 0, 0, "print results as JSON; an error is {\"error\":...}", 2 },
	{ "quiet", 'q', 0, 0, "print only results and errors", 2 },
	{ "verbose", 'v', 0, 0, "print more details", 2 },
	{ 0 },
};

const struct argp options_pid = { .options = pid, .parser = options_parse_key };
const struct argp options_file = { .options = file, .parser = options_parse_key };
const struct argp options_filter = { .options = filter, .parser = options_parse_key };
const struct argp options_session = { .options = session, .parser = options_parse_key };
const struct argp options_backend = { .options = backend, .parser = options_parse_key };
const struct argp options_yes = { .options = yes, .parser = options_parse_key };
const struct argp options_output = { .options = output, .parser = options_parse_key };
const struct argp_child options_arming[] = {
	{ &options_pid, 0, NULL, 0 },     { &options_file, 0, NULL, 0 },
	{ &options_filter, 0, NULL, 0 },  { &options_session, 0, NULL, 0 },
	{ &options_backend, 0, NULL, 0 }, { &options_yes, 0, NULL, 0 },
	{ &options_output, 0, NULL, 0 },  { 0 },
};

void options_children(struct argp_state *state, const struct argp_child *children, struct options *options)
{
	for (size_t i = 0; children[i].argp; i++)
		state->child_inputs[i] = options;
}

/* ---- parsing ---- */

static void version_print(FILE *out, struct argp_state *state)
{
	(void)state;
	fprintf(out, "%s (probepoint) %s\n", program_invocation_short_name, pp_version());
}

/*
 * Returns whether errors must be printed as JSON. argp reports an error when it finds it, which may be before --json.
 */
static bool json_requested(int argc, char **argv)
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

/*
 * Opens /dev/null for each standard stream that is closed, so that no file opened later becomes a standard stream. It
 * is opened so that using the stream still fails: standard input for writing, the others for reading.
 */
static void standard_streams_fill(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
			exit(STATUS_FAILED);
}

/* Replaces names of files by paths. -p can follow -f, so all options have been parsed. */
static void options_find_files(struct options *o)
{
	for (size_t i = 0; i < o->nfiles; i++) {
		char *error = find_file(o->files[i], o->pids, o->npids, &o->files[i]);

		if (error)
			options_usage_exit(o, "-f: %s", error);
	}
}

void options_parse(const struct argp *argp, int argc, char **argv, struct options *options, void *input)
{
	unsigned flags = ARGP_IN_ORDER;

	standard_streams_fill();
	setvbuf(stderr, NULL, _IOLBF, 0); /* a command writes to it, too: write whole lines */
	setlocale(LC_CTYPE, "");
	argp_err_exit_status = STATUS_USAGE;
	argp_program_version_hook = version_print;
	if (json_requested(argc, argv)) {
		options->json = true;
		flags |= ARGP_NO_ERRS;
	}
	if (argp_parse(argp, argc, argv, flags, NULL, input))
		options_usage_exit(options, "%s", options->usage_error);
	options_find_files(options);
}

const char *options_session_name(const struct options *options)
{
	return options->session ? options->session : "default";
}

size_t options_warnings_shown(const struct options *options, size_t n)
{
	return options->verbose || n <= WARNINGS_SHOWN + 1 ? n : WARNINGS_SHOWN;
}
