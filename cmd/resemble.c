/* SPDX-License-Identifier: MIT */
/*
 * What did they mean? A probe resembles a pattern when it holds the pattern's text, or when few letters have
 * to be changed, put in or left out to make one of the other (Levenshtein's distance). A pattern without a
 * colon names a probe of any provider, so it is held against the name alone. Glob characters are left out of
 * the pattern first: luaH_gte* is looked for as luaH_gte, and a probe's letters behind it cost nothing.
 */
#include "cmd/resemble.h"

#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/images.h"
#include "cmd/output.h"

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
	char text[TEXT_MAX + 1];
	bool tail, name_only;
};

static void wanted_init(struct wanted *w, const char *pattern)
{
	size_t n = 0;

	for (const char *c = pattern; *c && n < TEXT_MAX; c++)
		if (!strchr("*?[]", *c))
			w->text[n++] = *c;
	w->text[n] = 0;
	w->tail = *pattern && pattern[strlen(pattern) - 1] == '*';
	w->name_only = !strchr(pattern, ':');
}

/* How far the probe is from what is wanted; UINT_MAX: too far. */
static unsigned score(const struct wanted *w, const struct pp_probe *probe)
{
	const char *colon = strchr(w->text, ':');
	char full[TEXT_MAX + 1];
	size_t length = strlen(w->text);
	unsigned d, most = length < 6 ? 2 : length / 3;

	if (w->name_only)
		snprintf(full, sizeof(full), "%s", pp_probe_name(probe));
	else
		snprintf(full, sizeof(full), "%s:%s", pp_probe_provider(probe), pp_probe_name(probe));
	if (length >= 2 && strcasestr(full, w->text))
		return 0;
	if (colon && !strcasecmp(colon + 1, pp_probe_name(probe)))
		return 1;
	d = distance(w->text, full, w->tail);
	/* lua:luaH_get for lua:luaH_get__entry: the ending is often left out */
	if (d > most)
		d = distance(w->text, full, true) + 1;
	return d <= most && d < length ? d : UINT_MAX;
}

struct best {
	unsigned score[SHOWN];
	const struct pp_probe *probe[SHOWN];
	size_t n;
};

static void best_offer(struct best *best, unsigned score, const struct pp_probe *probe)
{
	size_t at = best->n;

	for (size_t i = 0; i < best->n; i++)
		if (!strcmp(pp_probe_name(best->probe[i]), pp_probe_name(probe)) &&
		    !strcmp(pp_probe_provider(best->probe[i]), pp_probe_provider(probe)))
			return;
	while (at && best->score[at - 1] > score)
		at--;
	if (at == SHOWN)
		return;
	if (best->n < SHOWN)
		best->n++;
	for (size_t i = best->n - 1; i > at; i--) {
		best->score[i] = best->score[i - 1];
		best->probe[i] = best->probe[i - 1];
	}
	best->score[at] = score;
	best->probe[at] = probe;
}

char *resemble(const struct images *images, const char *pattern)
{
	size_t probes = 0, size;
	struct best best = { .n = 0 };
	struct wanted wanted;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		no_memory();
	wanted_init(&wanted, pattern);
	for (size_t i = 0; i < images->n; i++) {
		const struct pp_image *image = images->entry[i].image;
		size_t n = pp_image_probes(image);

		probes += n;
		for (size_t p = 0; p < n; p++) {
			unsigned s = score(&wanted, pp_image_probe(image, p));

			if (s != UINT_MAX)
				best_offer(&best, s, pp_image_probe(image, p));
		}
	}
	if (best.n) {
		fputs("there is", out);
		for (size_t i = 0; i < best.n; i++)
			fprintf(out, "%s %s:%s", i ? "," : "", pp_probe_provider(best.probe[i]),
			        pp_probe_name(best.probe[i]));
	} else if (probes) {
		fprintf(out, "none of the %zu probes there is like it; probe-list shows them", probes);
	} else if (images->n == 1) {
		fprintf(out, "'%s' has no probes at all", images->entry[0].name);
	} else if (images->n) {
		fprintf(out, "none of the %zu files looked at has a probe", images->n);
	} else {
		fputs("no process named maps a file", out);
	}
	if (fclose(out))
		no_memory();
	return text;
}
