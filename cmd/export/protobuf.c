/* SPDX-License-Identifier: MIT */
/*
 * Native histograms. Index i of schema s counts values up to 2^(i / 2^s), which are above the bound of index i - 1.
 *
 * - hist() has schema 0. Its range from 2^n to 2^(n+1) - 1 becomes index n + 1, so the value 2^n itself is counted one bucket
 *   higher than the schema says.
 * - pct() has schema 4: 16 buckets for each power of two. A range goes to the bucket of its middle, so a value is counted at
 *   most 1/32 of its size from where it belongs.
 * - Linear histograms, and those with negative values, whose range has no lower end, have classic buckets only.
 */
#include "cmd/export/protobuf.h"

#include "cmd/export/export.h"

#ifndef HAVE_PROTOBUF_C

bool protobuf_is_supported(void)
{
	return false;
}

void metrics_put_protobuf(FILE *out, const struct metrics *m)
{
	(void)out;
	(void)m;
}

#else

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "metrics.pb-c.h"

#define FINE_SCHEMA 4
#define ZERO_THRESHOLD 0x1p-128 /* only 0 is below it */

/* Memory of one message. */
struct pool {
	void **list;
	size_t n, room;
};

bool protobuf_is_supported(void)
{
	return true;
}

static void *pool_calloc(struct pool *p, size_t n, size_t size)
{
	if (p->n == p->room) {
		p->room = 2 * p->room + 64;
		p->list = xreallocarray(p->list, p->room, sizeof(*p->list));
	}
	return p->list[p->n++] = xcalloc(n, size);
}

static void pool_free(struct pool *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->list[i]);
	free(p->list);
}

/* ---- labels ---- */

/* Undoes the escapes of a value up to its quote. Returns what follows the quote. */
static char *value_unescape(char *at)
{
	char *to = at;

	while (*at && *at != '"') {
		if (*at == '\\' && at[1]) {
			at++;
			*to++ = *at == 'n' ? '\n' : *at;
			at++;
		} else {
			*to++ = *at++;
		}
	}
	at += *at == '"';
	*to = '\0';
	return at;
}

/* Makes pairs of labels that metrics_label() has written. */
static void metric_add_labels(struct pool *p, Prom__Metric *metric, const char *labels)
{
	size_t n = strlen(labels), most = 0;
	char *at = pool_calloc(p, n + 1, 1);

	memcpy(at, labels, n);
	for (size_t i = 0; i < n; i++)
		most += at[i] == '=';
	metric->label = pool_calloc(p, most, sizeof(*metric->label));
	while (*at && metric->n_label < most) {
		Prom__LabelPair *pair = pool_calloc(p, 1, sizeof(*pair));
		char *equals = strchr(at, '=');

		prom__label_pair__init(pair);
		*equals = '\0';
		pair->name = at;
		pair->value = equals + 2;
		at = value_unescape(equals + 2);
		at += *at == ',';
		metric->label[metric->n_label++] = pair;
	}
}

/* ---- histograms ---- */

static void histogram_add_classic(struct pool *p, Prom__Histogram *to, const struct metric_histogram *h)
{
	uint64_t count = 0;

	to->bucket = pool_calloc(p, h->nbounds, sizeof(*to->bucket));
	for (size_t i = 0, k = 0; i < h->nbounds; i++) {
		Prom__Bucket *bucket = pool_calloc(p, 1, sizeof(*bucket));

		while (k < h->nbuckets && h->buckets[k].high <= h->bounds[i])
			count += h->buckets[k++].count;
		prom__bucket__init(bucket);
		bucket->has_cumulative_count = bucket->has_upper_bound = true;
		bucket->cumulative_count = count;
		bucket->upper_bound = h->bounds[i];
		to->bucket[to->n_bucket++] = bucket;
	}
}

static int bucket_index(const struct metric_bucket *b, enum metric_scale scale)
{
	double high = isinf(b->high) ? 2 * b->low : b->high;

	if (scale == METRIC_POWERS)
		return ilogb(b->low) + 1;
	return (int)ceil(log2((b->low + high) / 2) * (1 << FINE_SCHEMA));
}

/* Native buckets that are being made. */
struct native {
	struct pool *pool;
	Prom__Histogram *to;
	int index;             /* of the last bucket */
	int64_t count, before; /* of the last bucket, and of the one before it */
};

/* Adds a bucket above the last one. */
static void native_begin(struct native *n, int index)
{
	Prom__Histogram *to = n->to;

	if (!to->n_positive_span || index != n->index + 1) {
		Prom__BucketSpan *span = pool_calloc(n->pool, 1, sizeof(*span));

		prom__bucket_span__init(span);
		span->has_offset = span->has_length = true;
		span->offset = to->n_positive_span ? index - n->index - 1 : index;
		to->positive_span[to->n_positive_span++] = span;
	}
	to->positive_span[to->n_positive_span - 1]->length++;
	to->n_positive_delta++;
	n->before = n->count;
	n->count = 0;
	n->index = index;
}

static void native_add(struct native *n, int index, uint64_t count)
{
	if (!n->to->n_positive_span || index > n->index)
		native_begin(n, index);
	n->count += (int64_t)count;
	n->to->positive_delta[n->to->n_positive_delta - 1] = n->count - n->before;
}

static void histogram_add_native(struct pool *p, Prom__Histogram *to, const struct metric_histogram *h)
{
	struct native native = { .pool = p, .to = to };

	to->has_schema = to->has_zero_threshold = to->has_zero_count = true;
	to->schema = h->scale == METRIC_POWERS ? 0 : FINE_SCHEMA;
	to->zero_threshold = ZERO_THRESHOLD;
	to->positive_span = pool_calloc(p, h->nbuckets, sizeof(*to->positive_span));
	to->positive_delta = pool_calloc(p, h->nbuckets, sizeof(*to->positive_delta));
	for (size_t i = 0; i < h->nbuckets; i++) {
		const struct metric_bucket *b = &h->buckets[i];

		if (b->low <= 0)
			to->zero_count += b->count;
		else
			native_add(&native, bucket_index(b, h->scale), b->count);
	}
}

static Prom__Histogram *histogram_make(struct pool *p, const struct metric_histogram *h)
{
	Prom__Histogram *to = pool_calloc(p, 1, sizeof(*to));

	prom__histogram__init(to);
	to->has_sample_count = true;
	to->sample_count = h->count;
	/* A histogram without a sum must have NaN here, because a missing one is taken for 0. */
	to->has_sample_sum = true;
	to->sample_sum = h->has_sum ? h->sum : NAN;
	histogram_add_classic(p, to, h);
	if (h->scale != METRIC_NO_SCALE)
		histogram_add_native(p, to, h);
	return to;
}

/* ---- families ---- */

static Prom__Metric *metric_make(struct pool *p, const struct metric_family *f, const struct metric_sample *s)
{
	Prom__Metric *metric = pool_calloc(p, 1, sizeof(*metric));
	double value = s->kind == METRIC_DOUBLE ? s->d : s->kind == METRIC_INT ? (double)s->i : (double)s->u;

	prom__metric__init(metric);
	metric_add_labels(p, metric, s->labels);
	if (s->histogram) {
		metric->histogram = histogram_make(p, s->histogram);
	} else if (f->about->type == METRIC_COUNTER) {
		metric->counter = pool_calloc(p, 1, sizeof(*metric->counter));
		prom__counter__init(metric->counter);
		metric->counter->has_value = true;
		metric->counter->value = value;
	} else {
		metric->gauge = pool_calloc(p, 1, sizeof(*metric->gauge));
		prom__gauge__init(metric->gauge);
		metric->gauge->has_value = true;
		metric->gauge->value = value;
	}
	return metric;
}

/* Writes the length of a message as a varint. */
static void length_put(FILE *out, size_t n)
{
	for (; n >= 0x80; n >>= 7)
		putc((int)(n & 0x7f) | 0x80, out);
	putc((int)n, out);
}

static void family_pack(FILE *out, const struct metric_family *f)
{
	static const Prom__MetricType types[] = { PROM__METRIC_TYPE__COUNTER, PROM__METRIC_TYPE__GAUGE,
		                                  PROM__METRIC_TYPE__HISTOGRAM };
	Prom__MetricFamily family = PROM__METRIC_FAMILY__INIT;
	struct pool pool = { 0 };
	uint8_t *bytes;
	char name[80];
	size_t size;

	snprintf(name, sizeof(name), "%s%s", f->about->name, f->about->type == METRIC_COUNTER ? "_total" : "");
	family.name = name;
	family.help = (char *)f->about->help;
	family.has_type = true;
	family.type = types[f->about->type];
	family.metric = pool_calloc(&pool, f->n, sizeof(*family.metric));
	for (size_t i = 0; i < f->n; i++)
		family.metric[family.n_metric++] = metric_make(&pool, f, &f->samples[i]);
	size = prom__metric_family__get_packed_size(&family);
	bytes = pool_calloc(&pool, size, 1);
	prom__metric_family__pack(&family, bytes);
	length_put(out, size);
	fwrite(bytes, 1, size, out);
	pool_free(&pool);
}

void metrics_put_protobuf(FILE *out, const struct metrics *m)
{
	for (size_t i = 0; i < METRIC_FAMILIES; i++)
		if (metrics_family(m, i)->n)
			family_pack(out, metrics_family(m, i));
}

#endif
