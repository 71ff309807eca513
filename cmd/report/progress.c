/* SPDX-License-Identifier: MIT */
#include "cmd/report/progress.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_MS = 1000, EACH_MS = 200 };

static bool is_shown;

static int64_t progress_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void progress_show(double share, uint64_t records)
{
	static int terminal = -1;
	static int64_t next;

	if (terminal < 0) {
		terminal = isatty(STDERR_FILENO);
		next = progress_ms() + FIRST_MS;
	}
	if (!terminal || progress_ms() < next)
		return;
	next = progress_ms() + EACH_MS;
	if (share >= 0)
		fprintf(stderr, "\r%3.0f %%, %.1f million records; Ctrl-C ends\033[K", 100 * share,
		        (double)records / 1e6);
	else
		fprintf(stderr, "\r%.1f million records; Ctrl-C ends\033[K", (double)records / 1e6);
	fflush(stderr);
	is_shown = true;
}

void progress_end(void)
{
	if (is_shown)
		fputs("\r\033[K", stderr);
	is_shown = false;
}
