/* SPDX-License-Identifier: MIT */
/* Bars and trends, in block characters if the locale is UTF-8, else in ASCII. */
#ifndef CMD_BARS_H
#define CMD_BARS_H

#include <stddef.h>
#include <stdio.h>

/* Prints n values, one in each column, relative to their largest. A negative value is unknown, and printed as a blank. */
void bars_put_trend(FILE *out, const float *values, size_t n);

/* Prints a horizontal bar whose length is value / most of the columns. A value that is not 0 is visible. */
void bars_put(FILE *out, double value, double most, size_t columns);

#endif
