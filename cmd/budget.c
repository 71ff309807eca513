/* SPDX-License-Identifier: MIT */
#include "cmd/budget.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/options.h"

double budget_parse(const char *text)
{
	char *end;
	double n;

	if (!strcmp(text, "off"))
		return 0;
	n = strtod(text, &end) / 100;
	return end != text && !strcmp(end, "%") && n >= 0.0001 && n <= 1000 ? n : -1;
}

double budget_default(struct options *o)
{
	const char *text = getenv("PROBEPOINT_BUDGET");
	double budget = text && *text ? budget_parse(text) : 0.25;

	if (budget < 0)
		options_usage_exit(
			o, "PROBEPOINT_BUDGET: invalid budget '%s'; give a share of a CPU, as in 5%%, or off", text);
	return budget;
}
