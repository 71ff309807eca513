/* SPDX-License-Identifier: MIT */
/*
 * The data of the page is one JSON object. Times are ns since the first record, because a browser has only 53 bits for them.
 * "<" never occurs in it, so no name of the target can end the script element that holds it.
 */
#include "cmd/report/html.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/json.h"
#include "cmd/report/grow.h"
#include "cmd/report/json-text.h"
#include "cmd/report/page.h"
#include "cmd/report/report-json.h"

/* ---- reading ---- */

static void html_set_origin(struct html *html, int64_t time)
{
	if (!html->has_origin)
		html->origin = time;
	html->has_origin = true;
}

static void html_record(void *state, const struct report_record *record)
{
	struct html *html = state;
	uint32_t thread = record->thread->index;

	html_set_origin(html, record->time);
	if (thread >= HTML_THREADS)
		return;
	if (thread >= html->nthreads) {
		GROW(html->threads, thread + 1, html->threads_room);
		memset(html->threads + html->nthreads, 0, (thread + 1 - html->nthreads) * sizeof(*html->threads));
		html->nthreads = thread + 1;
	}
	series_add(&html->threads[thread], html->origin, record->time);
}

static void html_add_heat(struct html *html, const struct report_call *call)
{
	uint32_t function = call->function->index;

	if (call->status != CALL_ENDED || function >= HTML_HEATS)
		return;
	if (function >= html->nheats) {
		GROW(html->heats, function + 1, html->heats_room);
		memset(html->heats + html->nheats, 0, (function + 1 - html->nheats) * sizeof(*html->heats));
		html->nheats = function + 1;
	}
	heat_add(&html->heats[function], html->origin, call->end, (uint64_t)call->end - (uint64_t)call->begin);
}

static void html_enter(void *state, const struct report_call *call, const struct report_record *record)
{
	(void)record;
	html_set_origin(state, call->begin);
}

static void html_leave(void *state, const struct report_call *call, const struct report_record *record)
{
	struct html *html = state;

	(void)record;
	slices_add(&html->slices, call);
	html_add_heat(html, call);
}

/* Calls that their records have measured may overlap, so the time line leaves them out. */
static void html_measured(void *state, const struct report_call *call, const struct report_record *record)
{
	(void)record;
	html_set_origin(state, call->begin);
	html_add_heat(state, call);
}

static void html_lost(void *state, const struct report_loss *loss)
{
	struct html *html = state;

	if (html->nlosses < HTML_LOSSES)
		html->losses[html->nlosses] = *loss;
	html->nlosses++;
}

static void html_forget(struct html *html)
{
	for (size_t i = 0; i < html->nheats; i++)
		heat_release(&html->heats[i]);
	for (size_t i = 0; i < html->nthreads; i++)
		series_release(&html->threads[i]);
	free(html->heats);
	free(html->threads);
	slices_release(&html->slices);
	*html = (struct html){ .file = html->file };
}

void html_release(struct html *html)
{
	html_forget(html);
	if (html->file)
		fclose(html->file);
}

static void html_restart(void *state)
{
	html_forget(state);
}

struct report_consumer html_consumer(struct html *html)
{
	return (struct report_consumer){
		.state = html,
		.restart = html_restart,
		.record = html_record,
		.enter = html_enter,
		.leave = html_leave,
		.measured = html_measured,
		.lost = html_lost,
	};
}

/* ---- writing ---- */

/* Returns the ns since the first record: 0 before it, and of a trace's end if the time is not known. */
static uint64_t html_since(const struct html *html, int64_t time, int64_t end)
{
	if (time == INT64_MAX)
		time = end;
	return time > html->origin ? (uint64_t)time - (uint64_t)html->origin : 0;
}

/* Prints a value and frees it. Escapes "<", which occurs only in strings. */
static void html_put_value(FILE *out, json_object *value)
{
	const char *text = json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN);
	size_t n;

	for (; text && *text; text += n) {
		n = strcspn(text, "<");
		fwrite(text, 1, n, out);
		if (text[n]) {
			fputs("\\u003c", out);
			n++;
		}
	}
	json_object_put(value);
}

static void html_put_names(FILE *out, const struct report_names *names)
{
	fputs(",\n\"functions\":[", out);
	for (size_t i = 0; i < names_functions(names); i++) {
		const char *name = names_function_at(names, i)->name;

		fputs(i ? "," : "", out);
		json_text_put(out, name, strlen(name));
	}
	fputs("],\n\"threads\":[", out);
	for (size_t i = 0; i < names_threads(names); i++) {
		const struct report_thread *thread = names_thread_at(names, i);

		fprintf(out, "%s[%" PRIu32 ",%" PRId64 ",", i ? "," : "", thread->process->index, thread->tid);
		json_text_put(out, thread->comm, strlen(thread->comm));
		putc(']', out);
	}
	fputs("]", out);
}

/* Prints the longest calls, as a list for each member. */
static void html_put_slices(FILE *out, const struct html *html)
{
	const struct slices *slices = &html->slices;
	static const char *const columns[] = { "begin", "duration", "function", "thread", "depth", "status" };

	fprintf(out, ",\n\"slices\":{\"dropped\":%" PRIu64, slices->dropped);
	for (size_t column = 0; column < sizeof(columns) / sizeof(*columns); column++) {
		fprintf(out, ",\n\"%s\":[", columns[column]);
		for (size_t i = 0; i < slices->n; i++) {
			const struct call_slice *slice = &slices->slices[i];
			uint64_t values[] = { html_since(html, slice->begin, 0),
				              slice->duration,
				              slice->function,
				              slice->thread,
				              slice->depth,
				              slice->status };

			fprintf(out, "%s%" PRIu64, i ? "," : "", values[column]);
		}
		putc(']', out);
	}
	putc('}', out);
}

/* A list of column, row, count. */
static void html_put_heat(FILE *out, const struct heat *heat, size_t function)
{
	const char *comma = "";

	fprintf(out, "{\"function\":%zu,\"width\":%" PRIu64 ",\"cells\":[", function, heat->width);
	for (size_t column = 0; column < HEAT_COLUMNS; column++)
		for (size_t row = 0; row < HEAT_ROWS; row++)
			if (heat->counts[column][row]) {
				fprintf(out, "%s%zu,%zu,%" PRIu32, comma, column, row, heat->counts[column][row]);
				comma = ",";
			}
	fputs("]}", out);
}

static void html_put_heats(FILE *out, const struct html *html)
{
	const char *comma = "";

	fputs(",\n\"heat_rows\":[", out);
	for (size_t row = 0; row < HEAT_ROWS; row++)
		fprintf(out, "%s%" PRIu64, row ? "," : "", heat_row_begin(row));
	fputs("],\n\"heat\":[", out);
	for (size_t i = 0; i < html->nheats; i++) {
		if (!html->heats[i].width)
			continue;
		fputs(comma, out);
		html_put_heat(out, &html->heats[i], i);
		comma = ",\n";
	}
	putc(']', out);
}

static void html_put_series(FILE *out, const struct html *html)
{
	const char *comma = "";

	fputs(",\n\"rates\":[", out);
	for (size_t i = 0; i < html->nthreads; i++) {
		const struct series *series = &html->threads[i];

		if (!series->width)
			continue;
		fprintf(out, "%s[%zu,%" PRIu64, comma, i, series->width);
		for (size_t k = 0; k < series->n; k++)
			fprintf(out, ",%" PRIu32, series->counts[k]);
		putc(']', out);
		comma = ",\n";
	}
	putc(']', out);
}

static void html_put_losses(FILE *out, const struct html *html, int64_t end)
{
	fprintf(out, ",\n\"losses_all\":%zu,\"losses\":[", html->nlosses);
	for (size_t i = 0; i < html->nlosses && i < HTML_LOSSES; i++) {
		const struct report_loss *loss = &html->losses[i];

		fprintf(out, "%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%d]", i ? "," : "",
		        html_since(html, loss->begin, end), html_since(html, loss->end, end), loss->records,
		        loss->is_damage);
	}
	putc(']', out);
}

/* ---- the flame graph ---- */

/* The time in a node of the tree of stacks, in all processes. */
struct frame {
	double self, total;
};

static int double_compare_down(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x < y) - (x > y);
}

/* Returns the time below which frames are left out, so that at most HTML_FRAMES remain. */
static double frames_threshold(const struct frame *frames, size_t n)
{
	double *totals, threshold;

	if (n <= HTML_FRAMES)
		return 0;
	totals = xcalloc(n, sizeof(*totals));
	for (size_t i = 0; i < n; i++)
		totals[i] = frames[i].total;
	qsort(totals, n, sizeof(*totals), double_compare_down);
	threshold = totals[HTML_FRAMES];
	free(totals);
	return threshold;
}

/* A node's parent has a lower number. What is left out stays in the totals of the nodes above. */
static void html_put_frames(FILE *out, const struct folded *folded, const struct run *run)
{
	size_t n = paths_count(run->paths), left_out = 0;
	struct frame *frames = xcalloc(n + 1, sizeof(*frames));
	const char *comma = "";
	double threshold;

	for (size_t i = 0; i < folded->n; i++)
		frames[folded->stacks[i].path].self += (double)folded->stacks[i].ns;
	for (size_t i = n; i-- > 0;) {
		frames[i].total += frames[i].self;
		if (i)
			frames[paths_node(run->paths, (uint32_t)i)->parent].total += frames[i].total;
	}
	threshold = frames_threshold(frames, n);
	fputs(",\n\"frames\":[", out);
	for (size_t i = 0; i < n; i++) {
		const struct path_node *node = paths_node(run->paths, (uint32_t)i);

		if (i && (frames[i].total <= threshold || frames[i].total <= 0)) {
			left_out += frames[i].total > 0;
			continue;
		}
		fprintf(out, "%s%zu,%" PRIu32 ",%" PRId64 ",%.0f,%.0f", comma, i, i ? node->parent : 0,
		        i && node->function != REPORT_NONE ? (int64_t)node->function : -1, frames[i].total,
		        frames[i].self);
		comma = ",";
	}
	fprintf(out, "],\"frames_left_out\":%zu", left_out);
	free(frames);
}

int html_open(struct html *html, const char *path)
{
	*html = (struct html){ .file = fopen(path, "we") };
	return html->file ? 0 : -errno;
}

int html_close(struct html *html, const struct run *run, const struct stats *stats, const struct folded *folded)
{
	FILE *out = html->file;
	int err = 0;

	slices_finish(&html->slices);
	fwrite(page_head, 1, (size_t)(page_head_end - page_head), out);
	fputs("{\"report\":", out);
	putc('{', out);
	report_json_print_members(out, run, stats, html_put_value);
	fprintf(out, "},\n\"span\":%" PRIu64, html_since(html, run->end, run->end));
	html_put_names(out, run->names);
	html_put_slices(out, html);
	html_put_heats(out, html);
	html_put_series(out, html);
	html_put_losses(out, html, run->end);
	html_put_frames(out, folded, run);
	fputs("}\n", out);
	fwrite(page_tail, 1, (size_t)(page_tail_end - page_tail), out);
	if (fflush(out) || ferror(out))
		err = errno ? -errno : -EIO;
	if (fclose(out) && !err)
		err = -errno;
	html->file = NULL;
	return err;
}
