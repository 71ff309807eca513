/* SPDX-License-Identifier: MIT */
/* The exit statuses of the commands. */
#ifndef CMD_STATUS_H
#define CMD_STATUS_H

enum status {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2, /* the command line is invalid */
	STATUS_PART = 3,  /* some of the work was done */
	/* With -- COMMAND, the statuses of env(1). */
	STATUS_NOT_STARTED = 125,
	STATUS_NOT_EXECUTABLE = 126,
	STATUS_NOT_FOUND = 127,
};

#endif
