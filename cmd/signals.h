/* SPDX-License-Identifier: MIT */
#ifndef CMD_SIGNALS_H
#define CMD_SIGNALS_H

/* The number of SIGINT, SIGTERM and SIGHUP received since signals_catch(). */
extern volatile int interrupted;

/*
 * Counts SIGINT, SIGTERM and SIGHUP in `interrupted`, and ignores SIGPIPE and SIGXFSZ, because all writes are checked.
 */
void signals_catch(void);
/* Gives SIGINT, SIGTERM and SIGHUP their default action again. */
void signals_release(void);

#endif
