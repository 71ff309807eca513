/* SPDX-License-Identifier: MIT */
#ifndef CMD_REPORT_PROGRESS_H
#define CMD_REPORT_PROGRESS_H

#include <stdint.h>

/*
 * Shows on standard error, if it is a terminal, how much of a trace is read, 5 times a second after the first. A share below 0 is
 * unknown.
 */
void progress_show(double share, uint64_t records);
/* Clears the line. */
void progress_end(void);

#endif
