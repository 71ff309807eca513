/* SPDX-License-Identifier: MIT */
#include "cmd/stat-live.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/aggregates-table.h"
#include "cmd/alloc.h"
#include "cmd/escape.h"
#include "cmd/screen.h"
#include "cmd/signals.h"
#include "cmd/stat-table.h"
#include "cmd/ui.h"

enum { HEAD_LINES = 3, MESSAGES_MOST = 6, LIVE_KEYS = 10 };

static const char help[] =
	"q quit  h hits  r rate  l lost  n name  p p99  a all  space pause  arrows, page keys scroll";

/* ---- drawing ---- */

static const char *order_name(enum stat_order order)
{
	static const char *const names[] = { "hits", "rate", "lost", "name", "p50", "p99" };

	return names[order];
}

static void live_put_head(const struct live *live, FILE *out, const struct reading *all, const struct reading *shown)
{
	const struct stat_command *c = live->c;
	uint64_t lost = 0;
	double rate = 0;
	struct tm tm;
	time_t now = time(NULL);

	for (size_t i = 0; i < all->n; i++) {
		rate += isnan(all->rows[i].rate) ? 0 : all->rows[i].rate;
		lost += all->rows[i].counts.lost;
	}
	localtime_r(&now, &tm);
	if (live->paused)
		fputs("\033[7m paused \033[0m", out);
	else
		fprintf(out, "%02d:%02d:%02d", tm.tm_hour, tm.tm_min, tm.tm_sec);
	fprintf(out, "  %.0f hits/s  %s%" PRIu64 " lost%s  %zu of %zu rows by %s  every %g s  session '", rate,
	        lost ? "\033[31m" : "", lost, lost ? "\033[0m" : "", shown->n, all->n, order_name(c->order),
	        c->interval);
	escape_put(out, options_session_name(&c->options));
	fputs("'\n", out);
	fprintf(out, "\033[2m%s\033[0m\n", live->helped ? help : "? help   q quit");
}

/* Prints the rows from the first one of the page, and how many are below. */
static void live_put_rows(struct live *live, FILE *out, const struct reading *shown, size_t columns)
{
	struct table_view view = { .rates = true,
		                   .percentiles = live->c->percentiles,
		                   .columns = columns,
		                   .first = live->first,
		                   .n = live->page };
	size_t below;

	if (!live->c->options.quiet)
		fputs("\033[7m", out);
	reading_print_table(out, &live->c->options, shown, &view);
	below = shown->n > view.first + view.n ? shown->n - view.first - view.n : 0;
	if (view.first || below)
		fprintf(out, "\033[2m%zu rows above, %zu below\033[0m\n", view.first, below);
}

static size_t lines_count(const char *text, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < size; i++)
		n += text[i] == '\n';
	return n;
}

/* Stores how many rows fit, and moves the first row so that the page is full. */
static void live_set_page(struct live *live, size_t rows, size_t lines, size_t messages)
{
	size_t used = HEAD_LINES + (messages < MESSAGES_MOST ? messages : MESSAGES_MOST);

	live->page = lines > used + 1 ? lines - used : 1;
	if (rows > live->page && live->page > 1)
		live->page--; /* the line that says how many more there are */
	if (live->first + live->page > rows)
		live->first = rows > live->page ? rows - live->page : 0;
}

int live_take(struct live *live, struct reading *reading)
{
	FILE *out;
	int err;

	free(live->notices);
	out = xmemstream(&live->notices, &live->notices_size);
	ui_messages_to(out);
	err = reading_take(reading, live->c);
	ui_messages_to(NULL);
	xmemstream_close(out);
	return err;
}

/* Collects the messages of the selection and of the reading. */
static enum status live_report(struct live *live, const struct reading *all, struct reading *shown)
{
	struct stat_command *c = live->c;
	bool *matched = xcalloc(c->npatterns, sizeof(*matched));
	FILE *out = xmemstream(&live->messages, &live->messages_size);
	enum status status;

	ui_messages_to(out);
	reading_select(c, all, shown, matched);
	status = reading_report_missing(c, shown, matched);
	reading_report(c, all, shown);
	ui_messages_to(NULL);
	xmemstream_close(out);
	free(matched);
	return status;
}

int live_draw(struct live *live, struct reading *reading, enum status *status)
{
	const struct stat_command *c = live->c;
	struct reading shown;
	size_t columns, lines, height, size = 0;
	char *text = NULL;
	FILE *out;
	int err;

	screen_size(&columns, &height);
	lines = height;
	*status = live_report(live, reading, &shown);
	/* Aggregates get what the counts leave, and two thirds of the lines at least. */
	if (reading->aggregates && pp_aggregates_tables(reading->aggregates))
		lines = lines / 3 > HEAD_LINES ? lines / 3 + 1 : HEAD_LINES + 1;
	live_set_page(live, shown.n, lines,
	              lines_count(live->notices, live->notices_size) +
	                      lines_count(live->messages, live->messages_size));
	out = xmemstream(&text, &size);
	live_put_head(live, out, reading, &shown);
	live_put_rows(live, out, &shown, columns);
	fwrite(live->notices, 1, live->notices_size, out);
	fwrite(live->messages, 1, live->messages_size, out);
	if (reading->aggregates && pp_aggregates_tables(reading->aggregates))
		aggregates_print(out, reading->aggregates, c->top ? c->top : LIVE_KEYS, columns);
	xmemstream_close(out);
	err = screen_show(text, size, columns, height);
	free(text);
	free(shown.rows);
	free(live->messages);
	live->messages = NULL;
	return err;
}

/* ---- keys ---- */

static void live_scroll(struct live *live, bool down, size_t rows)
{
	if (down)
		live->first += rows; /* live_set_page() limits it */
	else
		live->first = live->first > rows ? live->first - rows : 0;
}

static void live_sort(struct live *live, enum stat_order order)
{
	live->c->order = order;
	live->first = 0;
}

/* Handles a key. Returns false if the user quits. */
static bool live_handle(struct live *live, int key)
{
	switch (key) {
	case 'q':
	case 'Q': return false;
	case 'h': live_sort(live, STAT_BY_HITS); break;
	case 'r': live_sort(live, STAT_BY_RATE); break;
	case 'l': live_sort(live, STAT_BY_LOST); break;
	case 'n': live_sort(live, STAT_BY_NAME); break;
	case 'p':
		if (live->c->percentiles)
			live_sort(live, STAT_BY_P99);
		break;
	case 'a': live->c->zeros = !live->c->zeros; break;
	case ' ': live->paused = !live->paused; break;
	case '?': live->helped = !live->helped; break;
	case 'k':
	case SCREEN_UP: live_scroll(live, false, 1); break;
	case 'j':
	case SCREEN_DOWN: live_scroll(live, true, 1); break;
	case SCREEN_PAGE_UP: live_scroll(live, false, live->page); break;
	case SCREEN_PAGE_DOWN: live_scroll(live, true, live->page); break;
	default: break;
	}
	return true;
}

bool live_wait(struct live *live, struct reading *reading, const struct timespec *until)
{
	enum status status;

	for (;;) {
		int key = screen_wait(until);

		if (key == SCREEN_INTERRUPTED || !live_handle(live, key))
			return false;
		if (key == SCREEN_TIMEOUT)
			return true;
		if (reading->stat && live_draw(live, reading, &status))
			return false;
	}
}

/* ---- begin and end ---- */

void live_open(struct live *live, struct stat_command *c)
{
	*live = (struct live){ .c = c };
	screen_open();
}

void live_close(struct live *live)
{
	screen_close();
	free(live->notices);
	live->notices = NULL;
}
