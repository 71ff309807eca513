/* SPDX-License-Identifier: MIT */
#ifndef CMD_BUDGET_H
#define CMD_BUDGET_H

struct options;

/* Returns the share of a budget: 0.05 for "5%", 0 for "off", below 0 if it is invalid. */
double budget_parse(const char *text);
/* Returns the budget without --budget: PROBEPOINT_BUDGET, or 25 % of a CPU. Exits if PROBEPOINT_BUDGET is invalid. */
double budget_default(struct options *options);

#endif
