/* SPDX-License-Identifier: MIT */
/* The counts as a table that is redrawn in place on a terminal, with keys. */
#ifndef CMD_STAT_LIVE_H
#define CMD_STAT_LIVE_H

#include <time.h>

#include "cmd/stat-reading.h"

struct live {
	struct stat_command *c;
	size_t first;        /* the row at the top */
	size_t page;         /* rows that fit */
	bool paused, helped; /* by a key */
	char *notices;       /* messages of the reading */
	char *messages;      /* of the table */
	size_t notices_size, messages_size;
};

void live_open(struct live *live, struct stat_command *c);
/* Restores the terminal. Does nothing if it is restored. */
void live_close(struct live *live);

/* Does the same as reading_take(), and keeps the messages for live_draw(). */
int live_take(struct live *live, struct reading *reading);

/* Draws a reading. Returns as ui_write(); *status is what the rows say about the command line. */
int live_draw(struct live *live, struct reading *reading, enum status *status);

/* Handles keys until a time. Returns false if the user quits, the command is interrupted or output fails. */
bool live_wait(struct live *live, struct reading *reading, const struct timespec *until);

#endif
