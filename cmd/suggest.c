/* SPDX-License-Identifier: MIT */
/*
 * What did they mean? A name resembles a pattern's when it holds the pattern's text, or when few letters have
 * to be changed, put in or left out to make one of the other (Levenshtein's distance). Names decide, and providers
 * only between names that resemble the pattern's alike, because people know the name that they want and mistake the
 * provider. Glob characters are left out of the pattern first: luaH_gte* is looked for as luaH_gte, and a probe's
 * letters after it cost nothing. func:SYMBOL is compared with the functions of the symbol tables.
 */
#include "cmd/suggest.h"

#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/images.h"
#include "cmd/ui.h"

enum { SHOWN = 5, TEXT_MAX = 128 };

/* tail: letters of b behind the last of a cost nothing. */
static unsigned distance(const char *a, const char *b, bool tail)
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
	for (size_t j = 0; tail && j <= nb; j++)
		if (row[j] < best)
			best = row[j];
	return best;
}

struct wanted {
	char provider[TEXT_MAX + 1]; /* "": any */
	char name[TEXT_MAX + 1];
	bool tail; /* the name may go on */
	bool function;
};

static void copy_letters(char *to, const char *from, size_t n)
{
	size_t length = 0;

	for (size_t i = 0; i < n && length < TEXT_MAX; i++)
		if (!strchr("*?[]", from[i]))
			to[length++] = from[i];
	to[length] = 0;
}

static void wanted_init(struct wanted *w, const char *pattern)
{
	const char *colon = strchr(pattern, ':'), *name = colon ? colon + 1 : pattern;
	size_t length = strlen(name);

	*w = (struct wanted){ .function = !strncmp(pattern, "func:", 5) };
	if (w->function)
		length = strcspn(name, "%+");
	copy_letters(w->provider, pattern, colon ? (size_t)(colon - pattern) : 0);
	copy_letters(w->name, name, length);
	w->tail = length && name[length - 1] == '*';
}

/* How far a text is from the one that is wanted; UINT_MAX: too far. */
static unsigned text_score(const char *wanted, bool tail, const char *text)
{
	size_t length = strlen(wanted);
	unsigned d, most = length < 6 ? 2 : length / 3;
	char cut[TEXT_MAX + 1];

	if (!strcasecmp(wanted, text) || !length)
		return 0;
	if (length >= 2 && strcasestr(text, wanted))
		return 1;
	snprintf(cut, sizeof(cut), "%s", text);
	d = distance(wanted, cut, tail);
	/* luaH_get for luaH_get__entry: the ending is often left out */
	if (d > most)
		d = distance(wanted, cut, true) + 1;
	return d <= most && d < length ? d + 1 : UINT_MAX;
}

#define PROVIDER_FAR 63u

static unsigned score(const struct wanted *w, const struct pp_probe *probe)
{
	unsigned name = text_score(w->name, w->tail, pp_probe_name(probe));
	unsigned provider = text_score(w->provider, false, pp_probe_provider(probe));

	if (name == UINT_MAX || (!*w->name && provider == UINT_MAX))
		return UINT_MAX;
	return name * (PROVIDER_FAR + 1) + (provider < PROVIDER_FAR ? provider : PROVIDER_FAR);
}

struct best {
	unsigned score[SHOWN];
	const char *provider[SHOWN], *name[SHOWN];
	size_t n;
};

static void best_offer(struct best *best, unsigned score, const char *provider, const char *name)
{
	size_t at = best->n;

	if (score == UINT_MAX)
		return;
	for (size_t i = 0; i < best->n; i++)
		if (!strcmp(best->name[i], name) && !strcmp(best->provider[i], provider))
			return;
	while (at && best->score[at - 1] > score)
		at--;
	if (at == SHOWN)
		return;
	if (best->n < SHOWN)
		best->n++;
	for (size_t i = best->n - 1; i > at; i--) {
		best->score[i] = best->score[i - 1];
		best->provider[i] = best->provider[i - 1];
		best->name[i] = best->name[i - 1];
	}
	best->score[at] = score;
	best->provider[at] = provider;
	best->name[at] = name;
}

/* Returns how many probes, or functions, there are. */
static size_t offer_all(struct best *best, const struct wanted *wanted, const struct pp_image *image)
{
	size_t n = wanted->function ? pp_image_functions(image) : pp_image_probes(image);

	for (size_t i = 0; i < n; i++) {
		const struct pp_probe *probe = wanted->function ? NULL : pp_image_probe(image, i);
		const char *name = probe ? pp_probe_name(probe) : pp_image_function(image, i);

		if (name)
			best_offer(best, probe ? score(wanted, probe) : text_score(wanted->name, wanted->tail, name),
			           probe ? pp_probe_provider(probe) : "func", name);
	}
	return n;
}

char *resemble(const struct images *images, const char *pattern)
{
	size_t there = 0, size;
	struct best best = { .n = 0 };
	struct wanted wanted;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		no_memory();
	wanted_init(&wanted, pattern);
	for (size_t i = 0; i < images->n; i++)
		there += offer_all(&best, &wanted, images->entry[i].image);
	if (best.n) {
		fputs("there is", out);
		for (size_t i = 0; i < best.n; i++)
			fprintf(out, "%s %s:%s", i ? "," : "", best.provider[i], best.name[i]);
	} else if (wanted.function && (!strncmp(wanted.name, "0x", 2) || !strncmp(wanted.name, "0X", 2))) {
		fputs("no function begins at that address; -f FILE tells what is there", out);
	} else if (there && wanted.function) {
		fprintf(out, "none of the %zu functions in the symbol tables has a similar name", there);
	} else if (there) {
		fprintf(out, "none of the %zu probes there is like it; probe-list shows them", there);
	} else if (images->n == 1) {
		fprintf(out,
		        wanted.function ? "'%s' has no symbols; name the function by its address, as in func:0x1130"
		                        : "'%s' has no probes at all",
		        images->entry[0].name);
	} else if (images->n) {
		fprintf(out, "none of the %zu files looked at has %s", images->n,
		        wanted.function ? "symbols" : "a probe");
	} else {
		fputs("no process named maps a file", out);
	}
	if (fclose(out))
		no_memory();
	return text;
}
