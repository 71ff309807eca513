/* SPDX-License-Identifier: MIT */
#ifndef CMD_STATUS_H
#define CMD_STATUS_H

enum status {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_PART = 3,
	/* with -- COMMAND, as env(1) */
	STATUS_NOT_STARTED = 125,
	STATUS_NOT_EXECUTABLE = 126,
	STATUS_NOT_FOUND = 127,
};

#endif
