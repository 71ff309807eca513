/* SPDX-License-Identifier: MIT */
#ifndef CMD_SIGNALS_H
#define CMD_SIGNALS_H

/* How many SIGINT, SIGTERM and SIGHUP there were since interrupt_catch() was called. */
extern volatile int interrupted;

/* Signals that were ignored stay so; SIGPIPE is ignored from here on: writers look at their errors. */
void interrupt_catch(void);
/* From here on they end the process again. */
void interrupt_release(void);

#endif
