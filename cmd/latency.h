/* SPDX-License-Identifier: MIT */
#ifndef CMD_LATENCY_H
#define CMD_LATENCY_H

/*
 * Asks the scheduler to let this thread run soon after it wakes, in short slices, at its usual share of the CPU (Linux 6.12;
 * earlier kernels ignore it). A reader that waits for the CPU loses records, and needs little of it.
 */
void latency_request_low(void);

#endif
