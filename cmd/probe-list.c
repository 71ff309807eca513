/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/images.h"
#include "cmd/options.h"
#include "cmd/ui.h"
#include "cmd/suggest.h"
#include "cmd/escape.h"

struct list {
	struct options options;
	const char **patterns;
	size_t npatterns;
	bool sites, sessions;
	struct pp_armed *armed; /* NULL: not known */
	bool *matched;          /* per pattern */
	size_t listed;          /* probes */
};

enum { KEY_SITES = 0x200, KEY_SESSIONS };

static const struct argp_option own[] = {
	{ "match", 'm', "PATTERN", 0, "only probes that match PROVIDER:NAME, both globs; can be repeated", 1 },
	{ "sites", KEY_SITES, 0, 0, "each site too: address, operands, function, source", 1 },
	{ "sessions", KEY_SESSIONS, 0, 0, "the sessions there are, instead of probes", 1 },
	{ 0 },
};

static const struct argp_child children[] = {
	{ &options_pid, 0, NULL, 0 },
	{ &options_file, 0, NULL, 0 },
	{ &options_output, 0, NULL, 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct list *l = state->input;

	switch (key) {
	case ARGP_KEY_INIT: options_children(state, children, &l->options); break;
	case 'm': return options_pattern(state, &l->options, &l->patterns, &l->npatterns, arg);
	case KEY_SITES: l->sites = true; break;
	case KEY_SESSIONS: l->sessions = true; break;
	case ARGP_KEY_ARG:
		if (!*arg)
			return options_wrong(state, &l->options, "a file's name is empty");
		if (options_stray_pid(&l->options, arg) && access(arg, F_OK))
			return options_wrong(state, &l->options,
			                     "'%s' is a pid where a FILE is expected: " OPTIONS_PIDS_HINT, arg,
			                     l->options.pids[l->options.npids - 1], arg);
		options_append(&l->options.files, &l->options.nfiles, arg);
		break;
	case ARGP_KEY_END:
		if (l->sessions && (l->options.npids || l->options.nfiles || l->npatterns || l->sites))
			return options_wrong(state, &l->options, "--sessions goes with no file, process or pattern");
		if (!l->sessions && !l->options.npids && !l->options.nfiles)
			return options_wrong(state, &l->options, "whose probes? give a FILE or -p PID, or --sessions");
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp argp = {
	.options = own,
	.parser = parse,
	.args_doc = "[FILE...]\n--sessions",
	.doc = "List the probes of files, or of all that processes map, and where they are armed.",
	.children = children,
};

/* ---- what is armed ---- */

/* Calls fn for each session in which a site of the probe is armed, with the number of these sites. */
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
	in->sites = reallocarray(in->sites, in->n + 1, sizeof(*in->sites));
	if (!in->sites)
		no_memory();
	in->sites[in->n] = 1;
	options_append(&in->names, &in->n, session);
}

static const char *armed_session(const struct list *l, const struct pp_image *image, const struct pp_site *site,
                                 size_t i)
{
	return l->armed ? pp_armed_session(l->armed, image, site, i) : NULL;
}

/* "default", or "default:3" where 3 of the probe's sites are armed; "-": none. Freed by free(). */
static char *armed_text(const struct list *l, const struct pp_image *image, const struct pp_probe *probe)
{
	struct armed_in in = { 0 };
	const char *name;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		no_memory();
	for (size_t s = 0; s < pp_probe_sites(probe); s++)
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
	if (fclose(out))
		no_memory();
	return text;
}

/* ---- which probes ---- */

static bool wanted(struct list *l, const struct pp_probe *probe)
{
	bool any = !l->npatterns;

	for (size_t i = 0; i < l->npatterns; i++)
		if (pp_probe_matches(probe, l->patterns[i]))
			any = l->matched[i] = true;
	return any;
}

/* ---- JSON ---- */

static json_object *json_site(const struct list *l, const struct pp_image *image, const struct pp_site *site)
{
	json_object *armed = json_object_new_array();
	const char *session;
	uint64_t semaphore;
	bool has = pp_site_semaphore(site, &semaphore);

	for (size_t i = 0; (session = armed_session(l, image, site, i)); i++)
		json_object_array_add(armed, text_json(session));
	return json_of("address", json_object_new_uint64(pp_site_address(site)), "offset",
	               json_object_new_uint64(pp_site_offset(site)), "operands", text_json(pp_site_operands(site)),
	               "semaphore_offset", has ? json_object_new_uint64(semaphore) : NULL, "function",
	               text_json(pp_site_function(site)), "source", text_json(pp_site_source(site)), "armed", armed,
	               NULL);
}

static json_object *json_arg(const struct list *l, const struct pp_arg *arg)
{
	json_object *fields = json_object_new_array(), *values = json_object_new_array();
	bool all = l->options.verbose; /* or a file's would be very many */
	unsigned offset, size, bit, bits;
	int64_t value;

	for (size_t i = 0; all && i < pp_arg_fields(arg); i++) {
		const struct pp_field *field = pp_arg_field(arg, i);

		pp_field_place(field, &offset, &size, &bit, &bits);
		json_object_array_add(fields,
		                      json_of("name", text_json(pp_field_name(field)), "type",
		                              text_json(pp_field_type(field)), "offset", json_object_new_int64(offset),
		                              "size", json_object_new_int64(size), "bit", json_object_new_int64(bit),
		                              "bits", json_object_new_int64(bits), NULL));
	}
	for (size_t i = 0; all && i < pp_arg_values(arg); i++) {
		const char *name = pp_arg_value(arg, i, &value);

		json_object_array_add(values,
		                      json_of("name", text_json(name), "value", json_object_new_int64(value), NULL));
	}
	return json_of("name", text_json(pp_arg_name(arg)), "type", text_json(pp_arg_type(arg)), "fields", fields,
	               "values", values, NULL);
}

/* A file without a path was opened by one of /proc, which names nothing once the process has ended. */
static json_object *json_file(const struct images_entry *entry)
{
	static const char deleted[] = " (deleted)";
	size_t length = strlen(entry->name), end = sizeof(deleted) - 1;

	if (!strstr(pp_image_path(entry->image), "/map_files/"))
		return text_json(pp_image_path(entry->image));
	if (length > end && !strcmp(entry->name + length - end, deleted))
		length -= end;
	return text_json_bytes(entry->name, length);
}

static json_object *json_probe(const struct list *l, const struct images_entry *entry, const struct pp_probe *probe)
{
	const struct pp_image *image = entry->image;
	json_object *sites = json_object_new_array(), *args = json_object_new_array();

	for (size_t i = 0; i < pp_probe_args(probe); i++)
		json_object_array_add(args, json_arg(l, pp_probe_arg(probe, i)));
	for (size_t i = 0; i < pp_probe_sites(probe); i++)
		json_object_array_add(sites, json_site(l, image, pp_probe_site(probe, i)));
	return json_of("provider", text_json(pp_probe_provider(probe)), "name", text_json(pp_probe_name(probe)), "file",
	               json_file(entry), "build_id", text_json(pp_image_build_id(image)), "signature",
	               text_json(pp_probe_signature(probe)), "args", args, "sites", sites, NULL);
}

/* Written as it is made, a probe at a time: a file may have very many. */
static void list_json(struct list *l, const struct images_entry *entry)
{
	for (size_t i = 0; i < pp_image_probes(entry->image); i++) {
		const struct pp_probe *probe = pp_image_probe(entry->image, i);

		if (!wanted(l, probe))
			continue;
		if (l->listed++)
			putchar(',');
		text_put_json(stdout, json_probe(l, entry, probe));
	}
}

/* ---- text ---- */

static void put_sites(const struct list *l, const struct pp_image *image, const struct pp_probe *probe)
{
	for (size_t i = 0; i < pp_probe_sites(probe); i++) {
		const struct pp_site *site = pp_probe_site(probe, i);
		const char *function = pp_site_function(site), *source = pp_site_source(site), *session;
		uint64_t semaphore;

		printf("      0x%08" PRIx64, pp_site_address(site));
		if (l->options.verbose)
			printf("  offset 0x%" PRIx64, pp_site_offset(site));
		if (l->options.verbose && pp_site_semaphore(site, &semaphore))
			printf("  semaphore 0x%" PRIx64, semaphore);
		fputs("  ", stdout);
		text_puts(stdout, *pp_site_operands(site) ? pp_site_operands(site) : "(no operands)");
		if (function)
			fputs("  in ", stdout), text_puts(stdout, function);
		if (source)
			fputs("  ", stdout), text_puts(stdout, source);
		for (size_t s = 0; (session = armed_session(l, image, site, s)); s++)
			printf("%s%s", s ? "," : "  armed ", session);
		putchar('\n');
	}
}

/* What the arguments' types hold: a line each. */
static void put_types(const struct pp_probe *probe)
{
	unsigned offset, size, bit, bits;
	int64_t value;

	for (size_t a = 0; a < pp_probe_args(probe); a++) {
		const struct pp_arg *arg = pp_probe_arg(probe, a);

		if (pp_arg_fields(arg) || pp_arg_values(arg))
			fputs("      ", stdout), text_puts(stdout, pp_arg_name(arg)), putchar(':');
		for (size_t i = 0; i < pp_arg_fields(arg); i++) {
			const struct pp_field *field = pp_arg_field(arg, i);

			pp_field_place(field, &offset, &size, &bit, &bits);
			fputs(i ? ", " : " ->", stdout), text_puts(stdout, pp_field_name(field));
			fputs(" (", stdout), text_puts(stdout, pp_field_type(field)), printf(" at %u", offset);
			if (bits)
				printf(", %u bit%s from %u", bits, plural(bits), bit);
			putchar(')');
		}
		for (size_t i = 0; i < pp_arg_values(arg); i++) {
			const char *name = pp_arg_value(arg, i, &value);

			fputs(i ? ", " : " ", stdout), text_puts(stdout, name), printf(" = %" PRId64, value);
		}
		if (pp_arg_fields(arg) || pp_arg_values(arg))
			putchar('\n');
	}
}

struct line {
	const struct pp_probe *probe;
	char *name, *armed;
};

static void put_lines(const struct list *l, const struct images_entry *entry, const struct line *lines, size_t n)
{
	size_t name_width = strlen("PROBE"), armed_width = strlen("ARMED"), sites = 0;

	for (size_t i = 0; i < n; i++) {
		size_t name = text_columns(lines[i].name), armed = strlen(lines[i].armed);

		name_width = name > name_width ? name : name_width;
		armed_width = armed > armed_width ? armed : armed_width;
		sites += pp_probe_sites(lines[i].probe);
	}
	if (!l->options.quiet) {
		if (l->listed)
			putchar('\n');
		text_puts(stdout, entry->name);
		printf("  %zu probe%s, %zu site%s", n, plural(n), sites, plural(sites));
		if (l->options.verbose && *pp_image_build_id(entry->image))
			printf("  build-id %s", pp_image_build_id(entry->image));
		printf("\n  %-*s  %5s  %-*s  %s\n", (int)name_width, "PROBE", "SITES", (int)armed_width, "ARMED",
		       "SIGNATURE");
	}
	for (size_t i = 0; i < n; i++) {
		const char *signature = pp_probe_signature(lines[i].probe);

		fputs("  ", stdout);
		text_pad(stdout, lines[i].name, name_width);
		printf("  %5zu  ", pp_probe_sites(lines[i].probe));
		if (strcmp(lines[i].armed, "-"))
			put_painted(stdout, PAINT_GOOD, lines[i].armed);
		else
			putchar('-');
		printf("%*s  ", (int)(armed_width - strlen(lines[i].armed)), "");
		text_puts(stdout, signature ? signature : "-");
		putchar('\n');
		if (l->options.verbose)
			put_types(lines[i].probe);
		if (l->sites)
			put_sites(l, entry->image, lines[i].probe);
	}
}

static void list_text(struct list *l, const struct images_entry *entry)
{
	size_t all = pp_image_probes(entry->image), n = 0;
	struct line *lines = calloc(all + 1, sizeof(*lines));

	if (!lines)
		no_memory();
	for (size_t i = 0; i < all; i++) {
		const struct pp_probe *probe = pp_image_probe(entry->image, i);

		if (!wanted(l, probe))
			continue;
		lines[n].probe = probe;
		lines[n].armed = armed_text(l, entry->image, probe);
		if (asprintf(&lines[n].name, "%s:%s", pp_probe_provider(probe), pp_probe_name(probe)) < 0)
			no_memory();
		n++;
	}
	if (n)
		put_lines(l, entry, lines, n);
	else if (!all && l->options.nfiles && !l->options.npids)
		remark(&l->options, "'%s' has no probes", entry->name);
	else if (!all)
		remark_verbose(&l->options, "'%s' has no probes", entry->name);
	l->listed += n;
	for (size_t i = 0; i < n; i++) {
		free(lines[i].name);
		free(lines[i].armed);
	}
	free(lines);
}

static enum status list_probes(struct list *l)
{
	struct options *o = &l->options;
	struct images images = { .tell = o };
	size_t unmatched = 0;
	enum status status;

	l->matched = calloc(l->npatterns + 1, sizeof(*l->matched));
	if (!l->matched)
		no_memory();
	if (pp_armed_read(&l->armed)) {
		l->armed = NULL;
		complain(o, "sites are shown as not armed, because sessions cannot be read: %s", pp_error());
	}
	for (size_t i = 0; i < o->nfiles; i++)
		images_add_file(&images, o->files[i]);
	for (size_t i = 0; i < o->npids; i++)
		images_add_process(&images, o->pids[i]);
	if (images.n && o->json)
		fputs("{\"probes\":[", stdout);
	for (size_t i = 0; i < images.n; i++)
		(o->json ? list_json : list_text)(l, &images.entry[i]);
	for (size_t i = 0; images.n && i < l->npatterns; i++) {
		char *like;

		if (l->matched[i])
			continue;
		like = resemble(&images, l->patterns[i]);
		complain(o, "nothing matches '%s': %s", l->patterns[i], like);
		free(like);
		unmatched++;
	}
	if (images.n && o->json) {
		putchar(']');
		if (o->complaint) {
			fputs(",\"error\":", stdout);
			text_put_json(stdout, complaint_take(o));
		}
		puts("}");
	}
	if (o->npids && !l->listed && !l->npatterns && images.n && !o->json)
		remark(o, "none of the %zu files that it maps has a probe", images.n);
	status = !images.n || (l->npatterns && unmatched == l->npatterns) ? STATUS_FAILED
	         : images.failed || unmatched || !l->armed                ? STATUS_PART
	                                                                  : STATUS_DONE;
	images_free(&images);
	pp_armed_free(l->armed);
	free(l->matched);
	return status;
}

/* ---- --sessions ---- */

struct sessions {
	struct list *list;
	json_object *rows;
	size_t n, failed;
};

static void put_session_probes(const struct pp_stat *stat)
{
	struct pp_counts counts;
	char pid[16];

	for (size_t i = 0; i < pp_stat_rows(stat); i++) {
		pp_stat_counts(stat, i, &counts, sizeof(counts));
		snprintf(pid, sizeof(pid), "%d", pp_stat_pid(stat, i));
		printf("  %12" PRIu64 " hits  pid %-8s  ", counts.hits, pp_stat_pid(stat, i) ? pid : "any");
		text_puts(stdout, pp_stat_probe(stat, i));
		fputs("  ", stdout);
		text_puts(stdout, pp_stat_file(stat, i));
		puts(pp_stat_life(stat, i) != PP_LIVES ? "  process has ended" : "");
	}
}

static int one_session(const char *name, void *arg)
{
	struct sessions *all = arg;
	struct options *o = &all->list->options;
	struct pp_session *session;
	struct pp_stat *stat = NULL;
	struct pp_counts counts;
	size_t rows, sites = 0, stopped = 0, dead = 0, replaced = 0;
	uint64_t hits = 0;
	char dead_text[96] = "";
	int err = pp_session_open(name, false, &session);

	if (err == -ENOENT) /* ended meanwhile */
		return 0;
	if (!err) {
		err = pp_session_stat(session, &stat);
		pp_session_close(session);
	}
	if (err) {
		complain(o, "%s", pp_error());
		all->failed++;
		return 0;
	}
	rows = pp_stat_rows(stat);
	for (size_t i = 0; i < rows; i++) {
		pp_stat_counts(stat, i, &counts, sizeof(counts));
		sites += pp_stat_sites(stat, i);
		stopped += pp_stat_over_budget(stat, i);
		hits += counts.hits;
		dead += pp_stat_life(stat, i) != PP_LIVES;
		replaced += !pp_stat_pid(stat, i) && pp_stat_file_state(stat, i) != PP_FILE_PRESENT;
	}
	if (rows && dead == rows)
		snprintf(dead_text, sizeof(dead_text), "  dead: its processes have ended");
	else if (dead || replaced)
		snprintf(dead_text, sizeof(dead_text), "  %zu for %s%s", dead ? dead : replaced,
		         dead ? "processes that have ended" : "files that were replaced or deleted",
		         dead && replaced ? ", others for replaced or deleted files" : "");
	if (o->json)
		json_object_array_add(all->rows,
		                      json_of("session", text_json(name), "probes", json_object_new_uint64(rows),
		                              "sites", json_object_new_uint64(sites), "hits",
		                              json_object_new_uint64(hits), "stopped", json_object_new_uint64(stopped),
		                              "dead", json_object_new_uint64(dead), "replaced",
		                              json_object_new_uint64(replaced), "state",
		                              text_json(rows && dead == rows ? "dead"
		                                        : dead || replaced   ? "part"
		                                                             : "live"),
		                              NULL));
	else if (!all->n && !o->quiet)
		printf("%-20s  %6s  %6s  %12s\n", "SESSION", "PROBES", "SITES", "HITS");
	if (!o->json)
		printf("%-20s  %6zu  %6zu  %12" PRIu64 "%s\n", name, rows, sites, hits, dead_text);
	if (!o->json && o->verbose)
		put_session_probes(stat);
	pp_stat_free(stat);
	if (stopped)
		remark(o, "%zu site%s of session '%s' %s disarmed over the budget: probe-stat -s %s says which",
		       stopped, plural(stopped), name, stopped == 1 ? "was" : "were", name);
	all->n++;
	return 0;
}

static enum status list_sessions(struct list *l)
{
	struct sessions all = { .list = l, .rows = json_object_new_array() };
	struct options *o = &l->options;
	json_object *document;

	if (pp_sessions(one_session, &all)) {
		complain(o, "%s", pp_error());
		json_object_put(all.rows);
		return STATUS_FAILED;
	}
	if (o->json) {
		document = json_of("sessions", all.rows, NULL);
		if (o->complaint)
			json_object_object_add(document, "error", complaint_take(o));
		text_put_json(stdout, document);
		putchar('\n');
	} else {
		json_object_put(all.rows);
		if (!all.n && !all.failed)
			remark(o, "there is no session");
	}
	return !all.failed ? STATUS_DONE : all.n ? STATUS_PART : STATUS_FAILED;
}

int main(int argc, char **argv)
{
	static struct list l; /* lasts as long as the program */

	options_parse(&argp, argc, argv, &l.options, &l);
	return finish(&l.options, l.sessions ? list_sessions(&l) : list_probes(&l));
}
