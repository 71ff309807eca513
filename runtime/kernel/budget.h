/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_KERNEL_BUDGET_H
#define RUNTIME_KERNEL_BUDGET_H

#include "runtime/kernel/overhead.h"

struct brake;

#define BRAKE_CREDIT 4.0

/*
 * mine: the attachments that the budget is for. limit: a share of one CPU. credit: the seconds of budget that can be saved
 * up for a burst.
 */
int brake_new(struct brake **brake, cost_choice *mine, double limit, double credit);
void brake_free(struct brake *brake);
void brake_limit(struct brake *brake, double limit);

/*
 * Looks what was hit since the last look, and disarms points if the budget was exceeded. lock and unlock are called
 * around that; NULL: the attachments are the caller's. Returns in how many ns to look again.
 */
uint64_t brake_look(struct brake *brake, struct pp_session *session, int (*lock)(struct pp_session *session),
                    void (*unlock)(struct pp_session *session));

#endif
