/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cmd/alloc.h"
#include "cmd/escape.h"
#include "cmd/images.h"
#include "cmd/list-check.h"
#include "cmd/options.h"
#include "cmd/suggest.h"
#include "cmd/ui.h"

struct probe_list {
	struct options options;
	const char **patterns;
	size_t npatterns;
	bool sites, sessions, all_processes, check;
	struct pp_armed *armed; /* NULL: unknown */
	bool *matched;          /* for each pattern */
	size_t listed;          /* probes */
};

/* ---- the command line ---- */

enum { KEY_SITES = 0x200, KEY_SESSIONS, KEY_ALL_PROCESSES, KEY_CHECK };

static const struct argp_option list_options[] = {
	{ "match", 'm', "PATTERN", 0,
	  "list only probes that match PROVIDER:NAME, where both are globs; can be repeated", 1 },
	{ "sites", KEY_SITES, 0, 0, "list each site: address, operands, function and source line", 1 },
	{ "all-processes", KEY_ALL_PROCESSES, 0, 0, "list the files that any process maps, each once", 1 },
	{ "check", KEY_CHECK, 0, 0, "print the faults of the probes that keep tools from using them", 1 },
	{ "sessions", KEY_SESSIONS, 0, 0, "list sessions instead of probes", 1 },
	{ 0 },
};

static const struct argp_child list_children[] = {
	{ &options_pid, 0, NULL, 0 },
	{ &options_file, 0, NULL, 0 },
	{ &options_output, 0, NULL, 0 },
	{ 0 },
};

static error_t list_add_file(struct argp_state *state, struct options *o, const char *argument)
{
	if (!*argument)
		return options_usage_error(state, o, "empty file name");
	if (options_is_stray_pid(o, argument) && access(argument, F_OK))
		return options_stray_pid_error(state, o, argument, "FILE");
	options_append(&o->files, &o->nfiles, argument);
	return 0;
}

static error_t list_check_options(struct argp_state *state, struct probe_list *l)
{
	struct options *o = &l->options;

	if (l->sessions && (o->npids || o->nfiles || l->npatterns || l->sites || l->all_processes || l->check))
		return options_usage_error(
			state, o,
			"--sessions cannot be combined with FILE, -f, -p, -m, --sites, --check or --all-processes");
	if (!l->sessions && !o->npids && !o->nfiles && !l->all_processes)
		return options_usage_error(state, o,
		                           "no file or process given; use FILE, -p PID, --all-processes or --sessions");
	return 0;
}

static error_t list_parse_key(int key, char *arg, struct argp_state *state)
{
	struct probe_list *l = state->input;

	switch (key) {
	case ARGP_KEY_INIT: options_children(state, list_children, &l->options); break;
	case 'm': return options_add_pattern(state, &l->options, &l->patterns, &l->npatterns, arg);
	case KEY_SITES: l->sites = true; break;
	case KEY_SESSIONS: l->sessions = true; break;
	case KEY_CHECK: l->check = true; break;
	case KEY_ALL_PROCESSES: l->all_processes = true; break;
	case ARGP_KEY_ARG: return list_add_file(state, &l->options, arg);
	case ARGP_KEY_END: return list_check_options(state, l);
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp list_argp = {
	.options = list_options,
	.parser = list_parse_key,
	.args_doc = "[FILE...]\n--sessions",
	.doc = "List the probes of files, or of all files that processes map, and the sessions that arm them.",
	.children = list_children,
};

/* ---- what is armed ---- */

/* The sessions that arm sites of one probe, with the number of these sites. */
struct armed_in {
	const char **names;
	size_t *sites;
	size_t n;
};

static void armed_in_add(struct armed_in *in, const char *session)
{
	for (size_t i = 0; i < in->n; i++)
		if (!strcmp(in->names[i], session)) {
			in->sites[i]++;
			return;
		}
	in->sites = xreallocarray(in->sites, in->n + 1, sizeof(*in->sites));
	in->sites[in->n] = 1;
	options_append(&in->names, &in->n, session);
}

static const char *armed_session(const struct probe_list *l, const struct pp_image *image, const struct pp_site *site,
                                 size_t i)
{
	return l->armed ? pp_armed_session(l->armed, image, site, i) : NULL;
}

/*
 * Returns the sessions that arm the probe: "default" if all of its sites are armed, "default:3" if 3 of them are, "-"
 * if none is. The caller frees the text.
 */
static char *armed_text(const struct probe_list *l, const struct pp_image *image, const struct pp_probe *probe)
{
	struct armed_in in = { 0 };
	const char *name;
	char *text = NULL;
	size_t size;
	FILE *out = xmemstream(&text, &size);

	for (size_t s = 0; pp_probe_site(probe, s); s++)
		for (size_t i = 0; (name = armed_session(l, image, pp_probe_site(probe, s), i)); i++)
			armed_in_add(&in, name);
	for (size_t i = 0; i < in.n; i++) {
		fprintf(out, "%s%s", i ? "," : "", in.names[i]);
		if (in.sites[i] < pp_probe_sites(probe))
			fprintf(out, ":%zu", in.sites[i]);
	}
	if (!in.n)
		putc('-', out);
	free(in.names);
	free(in.sites);
	xmemstream_close(out);
	return text;
}

/* Returns whether the probe matches a pattern, and marks all patterns that match. */
static bool list_matches(struct probe_list *l, const struct pp_probe *probe)
{
	bool any = !l->npatterns;

	for (size_t i = 0; i < l->npatterns; i++)
		if (pp_probe_matches(probe, l->patterns[i]))
			any = l->matched[i] = true;
	return any;
}

/* ---- JSON ---- */

static json_object *site_json(const struct probe_list *l, const struct pp_image *image, const struct pp_site *site)
{
	json_object *object = json_new_object(), *armed = json_new_array();
	const char *session;
	uint64_t semaphore;

	for (size_t i = 0; (session = armed_session(l, image, site, i)); i++)
		json_append(armed, json_text(session));
	json_add_uint(object, "address", pp_site_address(site));
	json_add_uint(object, "offset", pp_site_offset(site));
	json_add_text(object, "operands", pp_site_operands(site));
	if (pp_site_semaphore(site, &semaphore))
		json_add_uint(object, "semaphore_offset", semaphore);
	else
		json_add(object, "semaphore_offset", NULL);
	json_add_text(object, "function", pp_site_function(site));
	json_add_text(object, "source", pp_site_source(site));
	json_add(object, "armed", armed);
	return object;
}

static json_object *field_json(const struct pp_field *field)
{
	json_object *object = json_new_object();
	unsigned offset, size, bit, bits;

	pp_field_place(field, &offset, &size, &bit, &bits);
	json_add_text(object, "name", pp_field_name(field));
	json_add_text(object, "type", pp_field_type(field));
	json_add_int(object, "offset", offset);
	json_add_int(object, "size", size);
	json_add_int(object, "bit", bit);
	json_add_int(object, "bits", bits);
	return object;
}

static json_object *value_json(const struct pp_arg *arg, size_t i)
{
	json_object *object = json_new_object();
	int64_t value;

	json_add_text(object, "name", pp_arg_value(arg, i, &value));
	json_add_int(object, "value", value);
	return object;
}

static json_object *arg_json(const struct probe_list *l, const struct pp_arg *arg)
{
	json_object *object = json_new_object();
	json_object *fields = json_new_array(), *values = json_new_array();
	bool all = l->options.verbose; /* a file can have very many fields and values */

	for (size_t i = 0; all && i < pp_arg_fields(arg); i++)
		json_append(fields, field_json(pp_arg_field(arg, i)));
	for (size_t i = 0; all && i < pp_arg_values(arg); i++)
		json_append(values, value_json(arg, i));
	json_add_text(object, "name", pp_arg_name(arg));
	json_add_text(object, "type", pp_arg_type(arg));
	json_add(object, "fields", fields);
	json_add(object, "values", values);
	return object;
}

/*
 * Returns the file's path. A file without a path was opened through /proc/PID/map_files, whose name is useless after
 * the process has ended. Its former path is returned instead.
 */
static json_object *file_json(const struct images_entry *entry)
{
	if (!strstr(pp_image_path(entry->image), "/map_files/"))
		return json_text(pp_image_path(entry->image));
	return json_text_n(entry->name, text_path_length(entry->name));
}

/* Prints a probe. Its sites are printed one by one, because it can have very many. */
static void put_probe_json(const struct probe_list *l, const struct images_entry *entry, const struct pp_probe *probe)
{
	const struct pp_image *image = entry->image;
	json_object *object = json_new_object(), *args = json_new_array();

	for (size_t i = 0; i < pp_probe_args(probe); i++)
		json_append(args, arg_json(l, pp_probe_arg(probe, i)));
	json_add_text(object, "provider", pp_probe_provider(probe));
	json_add_text(object, "name", pp_probe_name(probe));
	json_add(object, "file", file_json(entry));
	json_add_text(object, "build_id", pp_image_build_id(image));
	json_add_text(object, "signature", pp_probe_signature(probe));
	json_add(object, "args", args);
	putchar('{');
	json_print_members(stdout, object);
	fputs(",\"sites\":[", stdout);
	for (size_t i = 0; i < pp_probe_sites(probe); i++) {
		if (i)
			putchar(',');
		json_print(stdout, site_json(l, image, pp_probe_site(probe, i)));
	}
	fputs("]}", stdout);
}

static void list_json(struct probe_list *l, const struct images_entry *entry)
{
	for (size_t i = 0; i < pp_image_probes(entry->image); i++) {
		const struct pp_probe *probe = pp_image_probe(entry->image, i);

		if (!list_matches(l, probe))
			continue;
		if (l->listed++)
			putchar(',');
		put_probe_json(l, entry, probe);
	}
}

/* ---- text ---- */

static void put_site(const struct probe_list *l, const struct pp_image *image, const struct pp_site *site)
{
	const char *function = pp_site_function(site), *source = pp_site_source(site), *session;
	uint64_t semaphore;

	printf("      0x%08" PRIx64, pp_site_address(site));
	if (l->options.verbose)
		printf("  offset 0x%" PRIx64, pp_site_offset(site));
	if (l->options.verbose && pp_site_semaphore(site, &semaphore))
		printf("  semaphore 0x%" PRIx64, semaphore);
	fputs("  ", stdout);
	escape_put(stdout, *pp_site_operands(site) ? pp_site_operands(site) : "(no operands)");
	if (function) {
		fputs("  in ", stdout);
		escape_put(stdout, function);
	}
	if (source) {
		fputs("  ", stdout);
		escape_put(stdout, source);
	}
	for (size_t s = 0; (session = armed_session(l, image, site, s)); s++)
		printf("%s%s", s ? "," : "  armed ", session);
	putchar('\n');
}

static void put_arg_field(const struct pp_field *field)
{
	unsigned offset, size, bit, bits;

	pp_field_place(field, &offset, &size, &bit, &bits);
	escape_put(stdout, pp_field_name(field));
	fputs(" (", stdout);
	escape_put(stdout, pp_field_type(field));
	printf(" at %u", offset);
	if (bits)
		printf(", %u bit%s from %u", bits, ui_plural(bits), bit);
	putchar(')');
}

/* Prints a line with the fields or the enumeration values of each argument that has some. */
static void put_arg_types(const struct pp_probe *probe)
{
	int64_t value;

	for (size_t a = 0; a < pp_probe_args(probe); a++) {
		const struct pp_arg *arg = pp_probe_arg(probe, a);

		if (!pp_arg_fields(arg) && !pp_arg_values(arg))
			continue;
		fputs("      ", stdout);
		escape_put(stdout, pp_arg_name(arg));
		putchar(':');
		for (size_t i = 0; i < pp_arg_fields(arg); i++) {
			fputs(i ? ", " : " ->", stdout);
			put_arg_field(pp_arg_field(arg, i));
		}
		for (size_t i = 0; i < pp_arg_values(arg); i++) {
			const char *name = pp_arg_value(arg, i, &value);

			fputs(i ? ", " : " ", stdout);
			escape_put(stdout, name);
			printf(" = %" PRId64, value);
		}
		putchar('\n');
	}
}

/* A line of the table. */
struct probe_line {
	const struct pp_probe *probe;
	char *name, *armed;
};

static void put_heading(const struct probe_list *l, const struct images_entry *entry, const struct probe_line *lines,
                        size_t n, int name_width, int armed_width)
{
	size_t sites = 0;

	for (size_t i = 0; i < n; i++)
		sites += pp_probe_sites(lines[i].probe);
	if (l->listed)
		putchar('\n');
	escape_put(stdout, entry->name);
	printf("  %zu probe%s, %zu site%s", n, ui_plural(n), sites, ui_plural(sites));
	if (l->all_processes)
		printf("  in %zu process%s", entry->processes, entry->processes == 1 ? "" : "es");
	if (l->options.verbose && *pp_image_build_id(entry->image))
		printf("  build-id %s", pp_image_build_id(entry->image));
	printf("\n  %-*s  %5s  %-*s  %s\n", name_width, "PROBE", "SITES", armed_width, "ARMED", "SIGNATURE");
}

static void put_table(const struct probe_list *l, const struct images_entry *entry, const struct probe_line *lines,
                      size_t n)
{
	size_t name_width = strlen("PROBE"), armed_width = strlen("ARMED");

	for (size_t i = 0; i < n; i++) {
		size_t name = escape_columns(lines[i].name), armed = strlen(lines[i].armed);

		name_width = name > name_width ? name : name_width;
		armed_width = armed > armed_width ? armed : armed_width;
	}
	if (!l->options.quiet)
		put_heading(l, entry, lines, n, (int)name_width, (int)armed_width);
	for (size_t i = 0; i < n; i++) {
		const struct pp_probe *probe = lines[i].probe;
		const char *signature = pp_probe_signature(probe);

		fputs("  ", stdout);
		escape_put_padded(stdout, lines[i].name, name_width);
		printf("  %5zu  ", pp_probe_sites(probe));
		if (strcmp(lines[i].armed, "-"))
			ui_put_color(stdout, UI_GREEN, lines[i].armed);
		else
			putchar('-');
		printf("%*s  ", (int)(armed_width - strlen(lines[i].armed)), "");
		escape_put(stdout, signature ? signature : "-");
		putchar('\n');
		if (l->options.verbose)
			put_arg_types(probe);
		for (size_t s = 0; l->sites && s < pp_probe_sites(probe); s++)
			put_site(l, entry->image, pp_probe_site(probe, s));
	}
}

/* Returns true if the file has probes that the patterns do not match. */
static bool entry_has_other_probes(const struct probe_list *l, const struct images_entry *entry)
{
	struct pp_image *image;
	bool any;

	if (!l->npatterns || pp_image_open_matching(pp_image_path(entry->image), NULL, 0, PP_IMAGE_COUNTS, &image))
		return false;
	any = pp_image_probes(image);
	pp_image_free(image);
	return any;
}

/* Tells that a file has no probes, which is of interest if the file was named. */
static void list_report_none(const struct probe_list *l, const struct images_entry *entry)
{
	bool named = l->options.nfiles && !l->options.npids;

	if ((!named && !l->options.verbose) || pp_image_probes(entry->image) || entry_has_other_probes(l, entry))
		return;
	if (named)
		ui_info(&l->options, "'%s' has no probes", entry->name);
	else
		ui_verbose(&l->options, "'%s' has no probes", entry->name);
}

static void list_text(struct probe_list *l, const struct images_entry *entry)
{
	size_t all = pp_image_probes(entry->image), n = 0;
	struct probe_line *lines = xcalloc(all, sizeof(*lines));

	for (size_t i = 0; i < all; i++) {
		const struct pp_probe *probe = pp_image_probe(entry->image, i);

		if (!list_matches(l, probe))
			continue;
		lines[n].probe = probe;
		lines[n].armed = armed_text(l, entry->image, probe);
		lines[n].name = xasprintf("%s:%s", pp_probe_provider(probe), pp_probe_name(probe));
		n++;
	}
	if (n)
		put_table(l, entry, lines, n);
	else
		list_report_none(l, entry);
	l->listed += n;
	for (size_t i = 0; i < n; i++) {
		free(lines[i].name);
		free(lines[i].armed);
	}
	free(lines);
}

/* ---- probes ---- */

static void list_open(struct probe_list *l, struct images *images)
{
	const struct options *o = &l->options;

	for (size_t i = 0; i < o->nfiles; i++)
		images_add_file(images, o->files[i]);
	for (size_t i = 0; i < o->npids; i++)
		images_add_process(images, o->pids[i]);
	if (l->all_processes)
		images_add_all_processes(images);
}

/* Reports the patterns that match nothing, with similar names of all probes. Returns how many there are. */
static size_t list_report_unmatched(struct probe_list *l, const struct images *images)
{
	struct images all = { .counts = true };
	size_t unmatched = 0;

	for (size_t i = 0; images->n && i < l->npatterns; i++) {
		if (l->matched[i])
			continue;
		if (!unmatched++)
			list_open(l, &all);
		/* Functions are not listed, although commands that arm probes find them. */
		if (!strncmp(l->patterns[i], "func:", 5))
			ui_error(&l->options, "no probe matches '%s': only probes are listed, not functions",
			         l->patterns[i]);
		else
			suggest_report(&l->options, &all, l->patterns[i]);
	}
	images_free(&all);
	return unmatched;
}

/* Prints the probes, and reports the patterns that match nothing. Returns how many of these there are. */
static size_t list_print(struct probe_list *l, const struct images *images)
{
	size_t unmatched;

	if (!images->n)
		return 0;
	if (!l->options.json) {
		for (size_t i = 0; i < images->n; i++)
			list_text(l, &images->entry[i]);
		unmatched = list_report_unmatched(l, images);
		if (l->options.npids && !l->listed && !l->npatterns)
			ui_info(&l->options, "none of the %zu files that the process maps has probes", images->n);
		return unmatched;
	}
	fputs("{\"probes\":[", stdout);
	for (size_t i = 0; i < images->n; i++)
		list_json(l, &images->entry[i]);
	unmatched = list_report_unmatched(l, images);
	putchar(']');
	ui_print_error_key(&l->options, stdout);
	puts("}");
	return unmatched;
}

static enum status list_check(struct probe_list *l)
{
	struct images images = { .counts = true, .checks = true, .report = &l->options };
	enum status status;

	list_open(l, &images);
	status = list_check_images(&l->options, &images, l->patterns, l->npatterns);
	images_free(&images);
	return status;
}

static enum status list_probes(struct probe_list *l)
{
	struct options *o = &l->options;
	struct images images = {
		.patterns = l->patterns,
		.npatterns = l->npatterns,
		.counts = !l->sites && !o->json,
		.report = o,
	};
	size_t unmatched;
	enum status status = STATUS_DONE;

	l->matched = xcalloc(l->npatterns, sizeof(*l->matched));
	if (pp_armed_read(&l->armed)) {
		l->armed = NULL;
		ui_error(o, "cannot read sessions, so all sites are shown as not armed: %s", pp_error());
	}
	images.armed = l->armed;
	list_open(l, &images);
	unmatched = list_print(l, &images);
	if (!images.n || (l->npatterns && unmatched == l->npatterns))
		status = STATUS_FAILED;
	else if (images.failed || unmatched || !l->armed)
		status = STATUS_PART;
	images_free(&images);
	pp_armed_free(l->armed);
	free(l->matched);
	return status;
}

/* ---- sessions ---- */

struct session_list {
	struct options *options;
	json_object *rows;
	size_t n, failed;
};

/* The sums of a session's rows. */
struct session_sum {
	size_t rows, sites;
	size_t stopped;        /* sites that were disarmed over the budget */
	size_t dead, replaced; /* rows of processes that have ended, of files that were replaced or deleted */
	uint64_t hits;
};

static void session_add_up(struct session_sum *sum, const struct pp_stat *stat)
{
	*sum = (struct session_sum){ .rows = pp_stat_rows(stat) };
	for (size_t i = 0; i < sum->rows; i++) {
		struct pp_counts counts;

		pp_stat_counts(stat, i, &counts, sizeof(counts));
		sum->hits += counts.hits;
		sum->sites += pp_stat_sites(stat, i);
		sum->stopped += pp_stat_over_budget(stat, i);
		sum->dead += pp_stat_life(stat, i) != PP_LIVES;
		sum->replaced += !pp_stat_pid(stat, i) && pp_stat_file_state(stat, i) != PP_FILE_PRESENT;
	}
}

static bool session_is_dead(const struct session_sum *sum)
{
	return sum->rows && sum->dead == sum->rows;
}

static void put_session_probes(const struct pp_stat *stat)
{
	for (size_t i = 0; i < pp_stat_rows(stat); i++) {
		struct pp_counts counts;
		char pid[16];

		pp_stat_counts(stat, i, &counts, sizeof(counts));
		snprintf(pid, sizeof(pid), "%d", pp_stat_pid(stat, i));
		printf("  %12" PRIu64 " hits  pid %-8s  ", counts.hits, pp_stat_pid(stat, i) ? pid : "any");
		escape_put(stdout, pp_stat_probe(stat, i));
		fputs("  ", stdout);
		escape_put(stdout, pp_stat_file(stat, i));
		puts(pp_stat_life(stat, i) != PP_LIVES ? "  process has ended" : "");
	}
}

static void put_session(const struct session_list *list, const char *name, const struct session_sum *sum,
                        const struct pp_stat *stat)
{
	if (!list->n && !list->options->quiet)
		printf("%-20s  %6s  %6s  %12s\n", "SESSION", "PROBES", "SITES", "HITS");
	printf("%-20s  %6zu  %6zu  %12" PRIu64, name, sum->rows, sum->sites, sum->hits);
	if (session_is_dead(sum))
		fputs("  dead: its processes have ended", stdout);
	else if (sum->dead)
		printf("  %zu for processes that have ended%s", sum->dead,
		       sum->replaced ? ", others for replaced or deleted files" : "");
	else if (sum->replaced)
		printf("  %zu for files that were replaced or deleted", sum->replaced);
	putchar('\n');
	if (list->options->verbose)
		put_session_probes(stat);
}

static json_object *session_json(const char *name, const struct session_sum *sum)
{
	json_object *object = json_new_object();

	json_add_text(object, "session", name);
	json_add_uint(object, "probes", sum->rows);
	json_add_uint(object, "sites", sum->sites);
	json_add_uint(object, "hits", sum->hits);
	json_add_uint(object, "stopped", sum->stopped);
	json_add_uint(object, "dead", sum->dead);
	json_add_uint(object, "replaced", sum->replaced);
	json_add_text(object, "state", session_is_dead(sum) ? "dead" : sum->dead || sum->replaced ? "part" : "live");
	return object;
}

/* Reads the counts of a session. Returns -ENOENT if it has ended meanwhile. */
static int session_read(const char *name, struct pp_stat **stat)
{
	struct pp_session *session;
	int err = pp_session_open(name, false, &session);

	if (err)
		return err;
	err = pp_session_stat(session, stat);
	pp_session_close(session);
	return err;
}

static int session_list_add(const char *name, void *arg)
{
	struct session_list *list = arg;
	struct options *o = list->options;
	struct pp_stat *stat = NULL;
	struct session_sum sum;
	int err = session_read(name, &stat);

	if (err == -ENOENT)
		return 0;
	if (err) {
		ui_error(o, "%s", pp_error());
		list->failed++;
		return 0;
	}
	session_add_up(&sum, stat);
	if (o->json)
		json_append(list->rows, session_json(name, &sum));
	else
		put_session(list, name, &sum, stat);
	pp_stat_free(stat);
	if (sum.stopped)
		ui_info(o, "%zu site%s of session '%s' %s disarmed over the budget; list them with probe-stat -s %s",
		        sum.stopped, ui_plural(sum.stopped), name, sum.stopped == 1 ? "was" : "were", name);
	list->n++;
	return 0;
}

static enum status list_sessions(struct options *o)
{
	struct session_list list = { .options = o, .rows = json_new_array() };

	if (pp_sessions(session_list_add, &list)) {
		ui_error(o, "%s", pp_error());
		return STATUS_FAILED;
	}
	if (o->json) {
		json_object *document = json_new_object();

		json_add(document, "sessions", json_object_get(list.rows));
		ui_print_document(o, stdout, document);
	} else if (!list.n && !list.failed) {
		ui_info(o, "no sessions");
	}
	json_object_put(list.rows);
	if (list.failed)
		return list.n ? STATUS_PART : STATUS_FAILED;
	return STATUS_DONE;
}

int main(int argc, char **argv)
{
	static struct probe_list l; /* not freed */

	options_parse(&list_argp, argc, argv, &l.options, &l);
	return ui_finish(&l.options, l.sessions ? list_sessions(&l.options)
	                             : l.check  ? list_check(&l)
	                                        : list_probes(&l));
}
