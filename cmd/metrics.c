/* SPDX-License-Identifier: MIT */
#include "cmd/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "cmd/alloc.h"
#include "cmd/escape.h"
#include "cmd/metrics-internal.h"

#define LABEL_MAX 1024 /* bytes of a value; longer ones are cut */

/*
 * The names follow OpenMetrics 1.0: a counter's family has no _total, a unit is the last word of the name, and no name ends
 * with a suffix that another type reserves.
 */
static const struct metric_about families[METRIC_FAMILIES] = {
	[METRIC_BUILD] = { "probepoint_build_info", "", "1, with the version of probepoint.", METRIC_GAUGE,
	                   METRIC_GREATEST },
	[METRIC_SESSIONS] = { "probepoint_sessions", "sessions", "Sessions that were read.", METRIC_GAUGE, METRIC_ADD },
	[METRIC_UNREAD_SESSIONS] = { "probepoint_unread_sessions", "sessions",
	                             "Sessions that exist and could not be read, so that their series are missing.",
	                             METRIC_GAUGE, METRIC_ADD },
	[METRIC_READ_SECONDS] = { "probepoint_read_seconds", "seconds", "How long the sessions took to read.",
	                          METRIC_GAUGE, METRIC_ADD },
	[METRIC_HITS] = { "probepoint_hits", "hits",
	                  "Hits of the probe. hits = filtered + idle + recorded + lost if no hit is in flight.",
	                  METRIC_COUNTER, METRIC_ADD },
	[METRIC_FILTERED] = { "probepoint_filtered_hits", "hits", "Hits that a filter rejected.", METRIC_COUNTER,
	                      METRIC_ADD },
	[METRIC_IDLE] = { "probepoint_idle_hits", "hits", "Hits while the session was not recording.", METRIC_COUNTER,
	                  METRIC_ADD },
	[METRIC_RECORDED] = { "probepoint_recorded_hits", "hits", "Hits that have a record.", METRIC_COUNTER,
	                      METRIC_ADD },
	[METRIC_LOST] = { "probepoint_lost_hits", "hits", "Hits whose record found no room or was overwritten.",
	                  METRIC_COUNTER, METRIC_ADD },
	[METRIC_CALLS] = { "probepoint_calls", "calls", "For returns: calls that began.", METRIC_COUNTER, METRIC_ADD },
	[METRIC_MISSED] = { "probepoint_missed_calls", "calls",
	                    "Calls that were not tracked, because too many were in flight.", METRIC_COUNTER,
	                    METRIC_ADD },
	[METRIC_ABANDONED] = { "probepoint_abandoned_calls", "calls",
	                       "Calls that ended by a longjmp, an exception or the end of their thread.",
	                       METRIC_COUNTER, METRIC_ADD },
	[METRIC_IN_FLIGHT] = { "probepoint_in_flight_calls", "calls", "Calls that have not returned.", METRIC_GAUGE,
	                       METRIC_ADD },
	[METRIC_UNMATCHED] = { "probepoint_unmatched_ends", "ends", "Ends of calls whose begin was not seen.",
	                       METRIC_COUNTER, METRIC_ADD },
	[METRIC_OVERWRITTEN] = { "probepoint_overwritten_hits", "hits",
	                         "Recorded hits whose record is not in the memory of the flight recorder any more.",
	                         METRIC_GAUGE, METRIC_ADD },
	[METRIC_SITES] = { "probepoint_sites", "sites", "Sites that are armed.", METRIC_GAUGE, METRIC_ADD },
	[METRIC_STOPPED_SITES] = { "probepoint_stopped_sites", "sites",
	                           "Sites that were disarmed because of the budget.", METRIC_GAUGE, METRIC_ADD },
	[METRIC_PROCESS_HITS] = { "probepoint_process_hits", "hits",
	                          "Hits by process, of probes that are armed for all processes.", METRIC_COUNTER,
	                          METRIC_ADD },
	[METRIC_VALUES] = { "probepoint_values", "values", "Values of count(), sum() and avg().", METRIC_COUNTER,
	                    METRIC_ADD },
	[METRIC_AMOUNT] = { "probepoint_amount", "", "Sums of sum() and avg() without negative values.", METRIC_COUNTER,
	                    METRIC_ADD },
	[METRIC_SIGNED_AMOUNT] = { "probepoint_signed_amount", "",
	                           "Sums of sum() and avg() with negative values. They wrap at 64 bits.", METRIC_GAUGE,
	                           METRIC_ADD },
	[METRIC_MINIMUM] = { "probepoint_minimum", "", "Least value of min() since the session began.", METRIC_GAUGE,
	                     METRIC_LEAST },
	[METRIC_MAXIMUM] = { "probepoint_maximum", "", "Greatest value of max() since the session began.", METRIC_GAUGE,
	                     METRIC_GREATEST },
	[METRIC_AVERAGE] = { "probepoint_average", "", "Average of avg() since the session began.", METRIC_GAUGE,
	                     METRIC_GREATEST },
	/* Prometheus takes all histograms of a family for native ones if the first one is, so others have their own. */
	[METRIC_DISTRIBUTION] = { "probepoint_distribution", "", "Values of hist() and pct() without negative values.",
	                          METRIC_HISTOGRAM, METRIC_ADD },
	[METRIC_SIGNED_DISTRIBUTION] = { "probepoint_signed_distribution", "",
	                                 "Values of hist() and pct() with negative values.", METRIC_HISTOGRAM,
	                                 METRIC_ADD },
	[METRIC_LINEAR_DISTRIBUTION] = { "probepoint_linear_distribution", "", "Values of lhist().", METRIC_HISTOGRAM,
	                                 METRIC_ADD },
	[METRIC_PERCENTILE] = { "probepoint_percentile", "",
	                        "Percentiles of pct() since the session began, within 1/32 of the value.", METRIC_GAUGE,
	                        METRIC_GREATEST },
	[METRIC_UNPLACED_VALUES] = { "probepoint_unplaced_values", "values",
	                             "Values in no key: no room in the table, or memory that could not be read.",
	                             METRIC_COUNTER, METRIC_ADD },
	[METRIC_UNPLACED_AMOUNT] = { "probepoint_unplaced_amount", "", "Sum of the values that found no room.",
	                             METRIC_GAUGE, METRIC_ADD },
	[METRIC_OTHER_MEMBERS] = { "probepoint_other_members", "members",
	                           "Probes, processes, keys or tables without series of their own (--max-series).",
	                           METRIC_GAUGE, METRIC_ADD },
	[METRIC_UNCOUNTED] = { "probepoint_uncounted_processes", "processes",
	                       "Processes whose counts were lost when they ended.", METRIC_COUNTER, METRIC_ADD },
	[METRIC_BUDGET] = { "probepoint_budget_ratio", "ratio", "Budget of the session's hits, as a share of one CPU.",
	                    METRIC_GAUGE, METRIC_ADD },
	[METRIC_WATCHED] = { "probepoint_budget_watched", "", "1 if a process enforces the budget, else 0.",
	                     METRIC_GAUGE, METRIC_GREATEST },
	[METRIC_COST] = { "probepoint_cost_ratio", "ratio", "CPU time of the session's hits, as a share of one CPU.",
	                  METRIC_GAUGE, METRIC_ADD },
	[METRIC_COST_TRAP] = { "probepoint_cost_trap_seconds", "seconds", "CPU time of the trap of one hit.",
	                       METRIC_GAUGE, METRIC_GREATEST },
	[METRIC_COST_PROGRAM] = { "probepoint_cost_program_seconds", "seconds",
	                          "CPU time of the program that runs at one hit.", METRIC_GAUGE, METRIC_GREATEST },
	[METRIC_COST_CALL] = { "probepoint_cost_call_seconds", "seconds",
	                       "Most that is subtracted from the duration of a call for its traps.", METRIC_GAUGE,
	                       METRIC_GREATEST },
};

struct metrics *metrics_new(size_t series, const struct metrics *before)
{
	struct metrics *m = xcalloc(1, sizeof(*m));

	for (size_t i = 0; i < METRIC_FAMILIES; i++)
		m->families[i].about = &families[i];
	m->series = series;
	m->before = before;
	return m;
}

static void histogram_free(struct metric_histogram *histogram)
{
	if (histogram)
		free(histogram->buckets);
	free(histogram);
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < METRIC_FAMILIES; i++) {
		for (size_t k = 0; k < m->families[i].n; k++)
			histogram_free(m->families[i].samples[k].histogram);
		free(m->families[i].samples);
	}
	for (size_t i = 0; i < m->ntexts; i++)
		free(m->texts[i]);
	for (size_t i = 0; i < m->nbounds; i++)
		free(m->bounds[i]);
	free(m->texts);
	free(m->bounds);
	free(m->kept);
	free(m);
}

const struct metric_family *metrics_family(const struct metrics *m, enum metric_family_id id)
{
	return &m->families[id];
}

/* ---- labels ---- */

/* Prints one character of a label's value, which is text of the value and then text of the format. */
static void label_put(FILE *out, const char *text, size_t length, uint32_t code)
{
	if (code == '\\')
		fputs("\\\\\\\\", out);
	else if (code == '"')
		fputs("\\\"", out);
	else if (code == '\n')
		fputs("\\n", out);
	else
		fwrite(text, 1, length, out);
}

static void label_put_value(FILE *out, const char *value, size_t length)
{
	for (size_t i = 0; i < length;) {
		uint32_t code = 0;
		size_t n = utf8_decode(value + i, length - i, &code);

		if (!n || (code < ' ' && code != '\n') || (code >= 0x7f && code < 0xa0)) {
			fprintf(out, "\\\\x%02x", (unsigned char)value[i]);
			n = 1;
		} else {
			label_put(out, value + i, n, code);
		}
		i += n;
	}
}

/* The set owns the text. */
static const char *metrics_own(struct metrics *m, char *text)
{
	if (m->ntexts == m->texts_room) {
		m->texts_room = 2 * m->texts_room + 64;
		m->texts = xreallocarray(m->texts, m->texts_room, sizeof(*m->texts));
	}
	return m->texts[m->ntexts++] = text;
}

const char *metrics_label_n(struct metrics *m, const char *base, const char *name, const char *value, size_t length)
{
	char *text = NULL;
	size_t size;
	FILE *out;

	if (!length)
		return base;
	out = xmemstream(&text, &size);
	fprintf(out, "%s%s%s=\"", base ? base : "", base ? "," : "", name);
	label_put_value(out, value, length > LABEL_MAX ? LABEL_MAX : length);
	if (length > LABEL_MAX) /* values that are equal up to there stay different */
		fprintf(out, "...%016" PRIx64, hash_fnv1a(value, length));
	putc('"', out);
	xmemstream_close(out);
	return metrics_own(m, text);
}

const char *metrics_label(struct metrics *m, const char *base, const char *name, const char *value)
{
	return value ? metrics_label_n(m, base, name, value, strlen(value)) : base;
}

const char *metrics_label_int(struct metrics *m, const char *base, const char *name, int64_t value, bool is_unsigned)
{
	char text[24];

	snprintf(text, sizeof(text), is_unsigned ? "%" PRIu64 : "%" PRId64, value);
	return metrics_label(m, base, name, text);
}

/* ---- samples ---- */

static struct metric_sample *sample_new(struct metrics *m, enum metric_family_id id, const char *labels,
                                        enum metric_kind kind)
{
	struct metric_family *f = &m->families[id];

	if (f->n == f->room) {
		f->room = 2 * f->room + 16;
		f->samples = xreallocarray(f->samples, f->room, sizeof(*f->samples));
	}
	f->samples[f->n] = (struct metric_sample){ .labels = labels ? labels : "", .kind = kind };
	return &f->samples[f->n++];
}

void metrics_add_uint(struct metrics *m, enum metric_family_id id, const char *labels, uint64_t value)
{
	sample_new(m, id, labels, METRIC_UINT)->u = value;
}

void metrics_add_int(struct metrics *m, enum metric_family_id id, const char *labels, int64_t value, bool is_unsigned)
{
	sample_new(m, id, labels, is_unsigned ? METRIC_UINT : METRIC_INT)->i = value;
}

void metrics_add_double(struct metrics *m, enum metric_family_id id, const char *labels, double value)
{
	sample_new(m, id, labels, METRIC_DOUBLE)->d = value;
}

void metrics_add_histogram(struct metrics *m, enum metric_family_id id, const char *labels,
                           struct metric_histogram *histogram)
{
	sample_new(m, id, labels, METRIC_UINT)->histogram = histogram;
}

void metrics_add_build(struct metrics *m)
{
	metrics_add_uint(m, METRIC_BUILD, metrics_label(m, NULL, "version", PP_VERSION), 1);
}

void metrics_add_export(struct metrics *m, size_t sessions, size_t unread, double seconds)
{
	metrics_add_build(m);
	metrics_add_uint(m, METRIC_SESSIONS, NULL, sessions);
	metrics_add_uint(m, METRIC_UNREAD_SESSIONS, NULL, unread);
	metrics_add_double(m, METRIC_READ_SECONDS, NULL, seconds);
}

/* ---- samples with equal labels ---- */

static int sample_compare(const void *a, const void *b)
{
	const struct metric_sample *x = a, *y = b;

	return strcmp(x->labels, y->labels);
}

static double sample_number(const struct metric_sample *s)
{
	return s->kind == METRIC_DOUBLE ? s->d : s->kind == METRIC_INT ? (double)s->i : (double)s->u;
}

/* Adds the buckets of a histogram with the same bounds. They stay ordered. */
static void histogram_add(struct metric_histogram *to, const struct metric_histogram *from)
{
	struct metric_bucket *all = xcalloc(to->nbuckets + from->nbuckets, sizeof(*all));
	size_t n = 0, i = 0, k = 0;

	while (i < to->nbuckets || k < from->nbuckets) {
		const struct metric_bucket *next;

		if (k == from->nbuckets || (i < to->nbuckets && to->buckets[i].low <= from->buckets[k].low))
			next = &to->buckets[i++];
		else
			next = &from->buckets[k++];
		if (n && all[n - 1].low == next->low)
			all[n - 1].count += next->count;
		else
			all[n++] = *next;
	}
	free(to->buckets);
	to->buckets = all;
	to->nbuckets = n;
	to->count += from->count;
	to->sum += from->sum;
	to->has_sum &= from->has_sum;
}

static void sample_merge(const struct metric_family *f, struct metric_sample *to, struct metric_sample *from)
{
	if (to->histogram) {
		histogram_add(to->histogram, from->histogram);
		histogram_free(from->histogram);
		return;
	}
	if (f->about->merge == METRIC_ADD && to->kind != METRIC_DOUBLE && from->kind != METRIC_DOUBLE)
		to->u += from->u; /* wraps as the sums do */
	else if (f->about->merge == METRIC_ADD)
		*to = (struct metric_sample){ .labels = to->labels,
			                      .kind = METRIC_DOUBLE,
			                      .d = sample_number(to) + sample_number(from) };
	else if ((sample_number(from) < sample_number(to)) == (f->about->merge == METRIC_LEAST))
		*to = *from;
}

static int label_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void metrics_finish(struct metrics *m)
{
	for (size_t i = 0; i < METRIC_FAMILIES; i++) {
		struct metric_family *f = &m->families[i];
		size_t n = 0;

		if (f->n)
			qsort(f->samples, f->n, sizeof(*f->samples), sample_compare);
		for (size_t k = 0; k < f->n; k++) {
			if (n && !strcmp(f->samples[n - 1].labels, f->samples[k].labels))
				sample_merge(f, &f->samples[n - 1], &f->samples[k]);
			else
				f->samples[n++] = f->samples[k];
		}
		f->n = n;
	}
	if (m->nkept)
		qsort(m->kept, m->nkept, sizeof(*m->kept), label_compare);
	m->before = NULL;
}

/* ---- members ---- */

void members_add(struct metric_members *members, const struct metric_member *member)
{
	if (members->n == members->room) {
		members->room = 2 * members->room + 64;
		members->list = xreallocarray(members->list, members->room, sizeof(*members->list));
	}
	members->list[members->n++] = *member;
}

static bool member_was_kept(const struct metrics *before, const struct metric_member *member)
{
	return before && before->nkept &&
	       bsearch(&member->labels, before->kept, before->nkept, sizeof(*before->kept), label_compare);
}

/* Uses `own` of the members that were chosen before. */
static int member_compare(const void *a, const void *b)
{
	const struct metric_member *x = a, *y = b;

	if (x->own != y->own)
		return x->own ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static void member_keep(struct metrics *m, const struct metric_member *member)
{
	if (m->nkept == m->kept_room) {
		m->kept_room = 2 * m->kept_room + 64;
		m->kept = xreallocarray(m->kept, m->kept_room, sizeof(*m->kept));
	}
	m->kept[m->nkept++] = (char *)member->labels;
}

void members_choose(struct metrics *m, struct metric_members *members, size_t series)
{
	bool full = false;

	for (size_t i = 0; i < members->n; i++)
		members->list[i].own = member_was_kept(m->before, &members->list[i]);
	if (members->n)
		qsort(members->list, members->n, sizeof(*members->list), member_compare);
	for (size_t i = 0; i < members->n; i++) {
		struct metric_member *member = &members->list[i];

		/* After the first that finds no room none does, so that a cheaper one of lower rank does not come first. */
		full |= member->cost > series;
		member->own = !full;
		if (full)
			continue;
		series -= member->cost;
		member_keep(m, member);
	}
}
