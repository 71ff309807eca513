/* SPDX-License-Identifier: MIT */
#include "cmd/bars.h"

#include <langinfo.h>
#include <stdbool.h>
#include <string.h>

enum { STEPS = 8 }; /* of a block character */

static bool bars_are_blocks(void)
{
	static int known = -1;

	if (known < 0)
		known = !strcmp(nl_langinfo(CODESET), "UTF-8");
	return known;
}

void bars_put_trend(FILE *out, const float *values, size_t n)
{
	static const char *const blocks[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	static const char *const letters[] = { "_", ".", ",", "-", "=", "+", "*", "#" };
	const char *const *steps = bars_are_blocks() ? blocks : letters;
	float most = 0;

	for (size_t i = 0; i < n; i++)
		most = values[i] > most ? values[i] : most;
	for (size_t i = 0; i < n; i++) {
		size_t step = most > 0 ? (size_t)(values[i] / most * (STEPS - 1) + 0.5f) : 0;

		fputs(values[i] < 0 ? " " : steps[step], out);
	}
}

void bars_put(FILE *out, double value, double most, size_t columns)
{
	static const char *const parts[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
	size_t eighths = most > 0 && value > 0 ? (size_t)(value / most * (double)columns * STEPS + 0.5) : 0;

	if (value > 0 && !eighths)
		eighths = 1;
	if (eighths > columns * STEPS)
		eighths = columns * STEPS;
	for (size_t i = 0; i < eighths / STEPS; i++)
		fputs(bars_are_blocks() ? "█" : "#", out);
	if (bars_are_blocks())
		fputs(parts[eighths % STEPS], out);
	else if (eighths && eighths < STEPS)
		putc('#', out);
}
