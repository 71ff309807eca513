/* SPDX-License-Identifier: MIT */
/* Keeps the CPU time of hits below a budget: see budget.c. */
#ifndef RUNTIME_KERNEL_BUDGET_H
#define RUNTIME_KERNEL_BUDGET_H

#include "runtime/kernel/overhead.h"

struct budget;

#define BUDGET_CREDIT 4.0 /* seconds */

/*
 * Creates a budget for the attachments for which mine() returns true. limit is a share of one CPU. credit is the number
 * of seconds of the budget that can be saved up for a burst. Returns 0 or -ENOMEM.
 */
int budget_new(struct budget **budget, attachment_choice *mine, double limit, double credit);
void budget_free(struct budget *budget);
void budget_set_limit(struct budget *budget, double limit);

/*
 * Measures the hits since the last check, and disarms points if they exceed the budget. Calls lock before it disarms
 * and unlock afterwards; both may be NULL if no other process changes the attachments. Returns the ns until the next
 * check.
 */
uint64_t budget_check(struct budget *budget, struct pp_session *session, int (*lock)(struct pp_session *session),
                      void (*unlock)(struct pp_session *session));

#endif
