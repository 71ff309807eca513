/* SPDX-License-Identifier: MIT */
/*
 * Finds names that are similar to a pattern that matches nothing.
 *
 * 1. Glob characters are removed from the pattern. If it ends with '*', the rest of a name costs nothing.
 * 2. A name is similar if it contains the pattern's text, or if its edit distance to it (Levenshtein) is small.
 * 3. Names decide. Providers decide only between names of the same distance, because users mistake the provider more
 *    often than the name.
 * 4. func:SYMBOL is compared with the functions in the symbol tables.
 */
#include "cmd/suggest.h"

#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/images.h"
#include "cmd/ui.h"

enum { SUGGESTIONS = 5, TEXT_MAX = 128 };

/* ---- the distance of two names ---- */

/* Returns the edit distance, ignoring case. If prefix is set, letters of b after the last one of a cost nothing. */
static unsigned edit_distance(const char *a, const char *b, bool prefix)
{
	size_t na = strlen(a), nb = strlen(b);
	unsigned row[TEXT_MAX + 1], best;

	for (size_t j = 0; j <= nb; j++)
		row[j] = j;
	for (size_t i = 1; i <= na; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
			unsigned change = diagonal + !same;

			diagonal = row[j];
			row[j] = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
			if (change < row[j])
				row[j] = change;
		}
	}
	best = row[nb];
	for (size_t j = 0; prefix && j <= nb; j++)
		if (row[j] < best)
			best = row[j];
	return best;
}

/* A pattern without its glob characters. */
struct pattern {
	char provider[TEXT_MAX + 1]; /* "": any */
	char name[TEXT_MAX + 1];
	bool prefix; /* it ends with '*' */
	bool function;
};

/* Copies a pattern without its wildcards. is_probe: writes :: as __, because names of C++ probes do. */
static void pattern_copy(char *to, const char *from, size_t n, bool is_probe)
{
	size_t length = 0;

	for (size_t i = 0; i < n && length < TEXT_MAX; i++)
		if (!strchr("*?[]", from[i]))
			to[length++] = is_probe && from[i] == ':' ? '_' : from[i];
	to[length] = 0;
}

static void pattern_init(struct pattern *p, const char *text)
{
	const char *colon = strchr(text, ':'), *name;
	size_t length;

	if (colon && colon[1] == ':') /* no provider, as in shop::Cart::add */
		colon = NULL;
	name = colon ? colon + 1 : text;
	length = strlen(name);
	*p = (struct pattern){ .function = !strncmp(text, "func:", 5) };
	if (p->function)
		length = strcspn(name, "%+");
	else if (strstr(name, "::"))
		length = strcspn(name, "("); /* names of probes have no parameters */
	pattern_copy(p->provider, text, colon ? (size_t)(colon - text) : 0, false);
	pattern_copy(p->name, name, length, !p->function);
	p->prefix = length && name[length - 1] == '*';
}

/* Returns the distance of a text from the wanted one, UINT_MAX if they are not similar. */
static unsigned text_score(const char *wanted, bool prefix, const char *text)
{
	size_t length = strlen(wanted);
	unsigned d, most = length < 6 ? 2 : length / 3;
	char cut[TEXT_MAX + 1];

	if (!strcasecmp(wanted, text) || !length)
		return 0;
	if (length >= 2 && strcasestr(text, wanted))
		return 1;
	snprintf(cut, sizeof(cut), "%s", text);
	d = edit_distance(wanted, cut, prefix);
	/* Users often leave out the end of a name, as in luaH_get for luaH_get__entry. */
	if (d > most)
		d = edit_distance(wanted, cut, true) + 1;
	return d <= most && d < length ? d + 1 : UINT_MAX;
}

#define PROVIDER_FAR 63u

static unsigned probe_score(const struct pattern *p, const struct pp_probe *probe)
{
	unsigned name = text_score(p->name, p->prefix, pp_probe_name(probe));
	unsigned provider = text_score(p->provider, false, pp_probe_provider(probe));

	if (name == UINT_MAX || (!*p->name && provider == UINT_MAX))
		return UINT_MAX;
	return name * (PROVIDER_FAR + 1) + (provider < PROVIDER_FAR ? provider : PROVIDER_FAR);
}

/* ---- the most similar names ---- */

/* The names with the lowest scores, in order. */
struct suggestions {
	unsigned score[SUGGESTIONS];
	const char *provider[SUGGESTIONS], *name[SUGGESTIONS];
	size_t n;
};

static void suggestions_add(struct suggestions *s, unsigned score, const char *provider, const char *name)
{
	size_t at = s->n;

	if (score == UINT_MAX)
		return;
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->name[i], name) && !strcmp(s->provider[i], provider))
			return;
	while (at && s->score[at - 1] > score)
		at--;
	if (at == SUGGESTIONS)
		return;
	if (s->n < SUGGESTIONS)
		s->n++;
	for (size_t i = s->n - 1; i > at; i--) {
		s->score[i] = s->score[i - 1];
		s->provider[i] = s->provider[i - 1];
		s->name[i] = s->name[i - 1];
	}
	s->score[at] = score;
	s->provider[at] = provider;
	s->name[at] = name;
}

/* Adds similar probes, or functions, of an image. Returns how many probes, or functions, the image has. */
static size_t suggestions_add_image(struct suggestions *s, const struct pattern *p, const struct pp_image *image)
{
	size_t n = p->function ? pp_image_functions(image) : pp_image_probes(image);

	for (size_t i = 0; i < n; i++) {
		const struct pp_probe *probe = p->function ? NULL : pp_image_probe(image, i);
		const char *name = probe ? pp_probe_name(probe) : pp_image_function(image, i);

		if (name)
			suggestions_add(s, probe ? probe_score(p, probe) : text_score(p->name, p->prefix, name),
			                probe ? pp_probe_provider(probe) : "func", name);
	}
	return n;
}

/* ---- the message ---- */

static void put_suggestions(FILE *out, const struct suggestions *s)
{
	fputs("; similar: ", out);
	for (size_t i = 0; i < s->n; i++)
		fprintf(out, "%s%s:%s", i ? ", " : "", s->provider[i], s->name[i]);
}

/* Prints why there is no suggestion. found: how many probes, or functions, the images have. */
static void put_no_suggestion(FILE *out, const struct images *images, const struct pattern *p, size_t found)
{
	fputs(": ", out);
	if (p->function && (!strncmp(p->name, "0x", 2) || !strncmp(p->name, "0X", 2)))
		fputs("no function begins at this address; give -f FILE to see what is there", out);
	else if (found && p->function)
		fprintf(out, "no similar name among %zu function%s in the symbol tables", found, ui_plural(found));
	else if (found)
		fprintf(out, "no similar name among %zu probe%s; list them with probe-list", found, ui_plural(found));
	else if (images->n == 1 && p->function)
		fprintf(out, "'%s' has no symbols; name the function by its address, as in func:0x1130",
		        images->entry[0].name);
	else if (images->n == 1)
		fprintf(out, "'%s' has no probes", images->entry[0].name);
	else if (images->n)
		fprintf(out, "none of the %zu files has %s", images->n, p->function ? "symbols" : "probes");
	else
		fputs("the process maps no files", out);
}

/* Prints the pattern in its other form, of a function or of a probe, if that matches in an image. Returns false if not. */
static bool put_other_form(FILE *out, const struct images *images, const struct pattern *p, const char *pattern)
{
	char *function = xasprintf("func:%s", pattern), *entry = xasprintf("%s__entry", p->name);
	bool found = false;

	for (size_t i = 0; i < images->n && !found; i++) {
		const struct pp_image *image = images->entry[i].image;

		if (!p->function && pp_image_has_function(image, function)) {
			fprintf(out, "; %s: %s",
			        strpbrk(pattern, "*?[") ? "functions match" : "a function has this name", function);
			found = true;
		}
		for (size_t k = 0; p->function && k < pp_image_probes(image) && !found; k++) {
			const struct pp_probe *probe = pp_image_probe(image, k);

			if (strcmp(pp_probe_name(probe), entry) && strcmp(pp_probe_name(probe), p->name))
				continue;
			fprintf(out, "; a probe has this name: %s:%s", pp_probe_provider(probe), pp_probe_name(probe));
			found = true;
		}
	}
	free(function);
	free(entry);
	return found;
}

char *suggest_text(const struct images *images, const char *pattern)
{
	struct suggestions s = { .n = 0 };
	size_t found = 0, size;
	struct pattern p;
	char *text = NULL, *message;
	FILE *out = xmemstream(&text, &size);

	pattern_init(&p, pattern);
	for (size_t i = 0; i < images->n; i++)
		found += suggestions_add_image(&s, &p, images->entry[i].image);
	if (s.n)
		put_suggestions(out, &s);
	else if (!put_other_form(out, images, &p, pattern))
		put_no_suggestion(out, images, &p, found);
	xmemstream_close(out);
	message = xasprintf("no %s matches '%s'%s", p.function ? "function" : "probe", pattern, text);
	free(text);
	return message;
}

void suggest_report(struct options *options, const struct images *images, const char *pattern)
{
	char *text = suggest_text(images, pattern);

	ui_error(options, "%s", text);
	free(text);
}

const char *suggest_word(const char *wanted, const char *const *words, size_t n)
{
	unsigned best = UINT_MAX;
	const char *word = NULL;

	for (size_t i = 0; i < n && strlen(wanted) <= TEXT_MAX; i++) {
		unsigned score = text_score(wanted, false, words[i]);

		if (score < best) {
			best = score;
			word = words[i];
		}
	}
	return word;
}
