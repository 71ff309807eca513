/* SPDX-License-Identifier: MIT */
#include "cmd/metrics-text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ---- */

/*
 * The exponent is used where %g of 6 digits uses it, as in Go, with as many digits as the number needs: 65535.0 but
 * 1.048575e+06. So the labels are those that Prometheus makes from the numbers of its binary format.
 */
void metrics_format_number(char buffer[32], double number)
{
	int digits = 1, exponent;

	if (isinf(number) || isnan(number)) {
		strcpy(buffer, isnan(number) ? "NaN" : number > 0 ? "+Inf" : "-Inf");
		return;
	}
	do
		snprintf(buffer, 32, "%.*e", digits - 1, number);
	while (strtod(buffer, NULL) != number && ++digits <= 17);
	exponent = atoi(strchr(buffer, 'e') + 1);
	if (exponent < -4 || exponent >= 6)
		return;
	snprintf(buffer, 32, "%.*f", digits - 1 > exponent ? digits - 1 - exponent : 1, number);
}

static void sample_put_number(FILE *out, const struct metric_sample *s)
{
	char text[32];

	switch (s->kind) {
	case METRIC_UINT: fprintf(out, "%" PRIu64, s->u); return;
	case METRIC_INT: fprintf(out, "%" PRId64, s->i); return;
	case METRIC_DOUBLE: break;
	}
	metrics_format_number(text, s->d);
	fputs(text, out);
}

/* ---- samples ---- */

static void metric_sample_put(FILE *out, const char *name, const char *suffix, const struct metric_sample *s)
{
	fprintf(out, "%s%s%s%s%s ", name, suffix, *s->labels ? "{" : "", s->labels, *s->labels ? "}" : "");
	sample_put_number(out, s);
	putc('\n', out);
}

static void bucket_put(FILE *out, const char *name, const char *labels, double bound, uint64_t count)
{
	char text[32];

	metrics_format_number(text, bound);
	fprintf(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name, labels, *labels ? "," : "", text, count);
}

static void histogram_put(FILE *out, const char *name, const struct metric_sample *s)
{
	const struct metric_histogram *h = s->histogram;
	uint64_t count = 0;
	char text[32];

	for (size_t i = 0, k = 0; i < h->nbounds; i++) {
		while (k < h->nbuckets && h->buckets[k].high <= h->bounds[i])
			count += h->buckets[k++].count;
		bucket_put(out, name, s->labels, h->bounds[i], count);
	}
	bucket_put(out, name, s->labels, INFINITY, h->count);
	if (!h->has_sum) /* as the specification wants it with negative bounds */
		return;
	metrics_format_number(text, h->sum);
	fprintf(out, "%s_count{%s} %" PRIu64 "\n%s_sum{%s} %s\n", name, s->labels, h->count, name, s->labels, text);
}

/* ---- families ---- */

static void family_put(FILE *out, const struct metric_family *f, enum metrics_format format)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };
	const char *suffix = f->about->type == METRIC_COUNTER ? "_total" : "";
	const char *in_name = format == METRICS_PROMETHEUS ? suffix : "";

	fprintf(out, "# TYPE %s%s %s\n", f->about->name, in_name, types[f->about->type]);
	if (*f->about->unit && format == METRICS_OPENMETRICS)
		fprintf(out, "# UNIT %s %s\n", f->about->name, f->about->unit);
	fprintf(out, "# HELP %s%s %s\n", f->about->name, in_name, f->about->help);
	for (size_t i = 0; i < f->n; i++)
		if (f->samples[i].histogram)
			histogram_put(out, f->about->name, &f->samples[i]);
		else
			metric_sample_put(out, f->about->name, suffix, &f->samples[i]);
}

void metrics_print(FILE *out, const struct metrics *m, enum metrics_format format)
{
	for (size_t i = 0; i < METRIC_FAMILIES; i++)
		if (metrics_family(m, i)->n)
			family_put(out, metrics_family(m, i), format);
	if (format == METRICS_OPENMETRICS)
		fputs("# EOF\n", out);
}
