/* SPDX-License-Identifier: MIT */
/*
 * A terminal on which a command shows one page of text and replaces it in place.
 *
 * The page is on the terminal's alternate screen, so that the text before it comes back. The terminal is restored by
 * screen_close(), by exit(3), before the process stops (SIGTSTP), and before a signal ends it that the process can catch.
 */
#ifndef CMD_SCREEN_H
#define CMD_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/*
 * Returns whether standard output is a terminal that can show a page: TERM is neither unset nor "dumb", and the process is
 * in the foreground.
 */
bool screen_is_possible(void);

/* Shows an empty page. Keys are read from standard input if it is a terminal. */
void screen_open(void);
/* Restores the terminal. Does nothing if no page is shown. */
void screen_close(void);

/* Stores the size of the terminal in columns and lines; 80 and 24 if it is not known. */
void screen_size(size_t *columns, size_t *lines);

/*
 * Replaces the page, for a terminal of that size. Cuts lines that are too long, and lines that are too many. Text must
 * be escaped (cmd/escape.h), and may have sequences that set colors. Returns as ui_write().
 */
int screen_show(const char *text, size_t length, size_t columns, size_t lines);

/* Special keys of screen_wait(). Other keys are their characters. */
enum screen_key {
	SCREEN_TIMEOUT = 0,         /* the time has come */
	SCREEN_INTERRUPTED = 0x100, /* see cmd/signals.h */
	SCREEN_REDRAW,              /* the size changed, or the process was stopped and goes on */
	SCREEN_UP,
	SCREEN_DOWN,
	SCREEN_PAGE_UP,
	SCREEN_PAGE_DOWN,
};

/* Waits for a key until a time of CLOCK_MONOTONIC. Returns a key or one of enum screen_key. */
int screen_wait(const struct timespec *until);

#endif
