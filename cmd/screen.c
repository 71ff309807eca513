/* SPDX-License-Identifier: MIT */
#include "cmd/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "cmd/alloc.h"
#include "cmd/escape.h"
#include "cmd/signals.h"
#include "cmd/ui.h"

/* The alternate screen, an invisible cursor, and lines that do not wrap. */
#define ENTER "\033[?1049h\033[?25l\033[?7l\033[H\033[2J"
#define LEAVE "\033[0m\033[?7h\033[?25h\033[?1049l"

enum { RESTORE_WAIT_MS = 500 };

static struct {
	volatile sig_atomic_t open, redraw;
	bool keys; /* read from standard input */
	struct termios before;
	char pending[64]; /* bytes of keys */
	size_t npending;
} screen;

/* ---- entering and leaving; async-signal-safe ---- */

/* Writes to the terminal. Gives up if the terminal takes nothing, as after Ctrl-S. */
static void terminal_write(const char *text, size_t n)
{
	struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };

	while (n && poll(&out, 1, RESTORE_WAIT_MS) > 0) {
		ssize_t written = write(STDOUT_FILENO, text, n);

		if (written <= 0)
			return;
		text += written;
		n -= (size_t)written;
	}
}

static void terminal_enter(void)
{
	struct termios raw = screen.before;

	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	if (screen.keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	terminal_write(ENTER, strlen(ENTER));
}

static void terminal_leave(void)
{
	terminal_write(LEAVE, strlen(LEAVE));
	if (screen.keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &screen.before);
}

/* SIGTSTP: restores the terminal while the process is stopped. */
static void signal_stop(int number)
{
	int err = errno;

	(void)number;
	if (screen.open)
		terminal_leave();
	kill(getpid(), SIGSTOP);
	if (screen.open)
		terminal_enter();
	screen.redraw = 1;
	errno = err;
}

/* A signal that ends the process. Its action is the default one again. */
static void signal_end(int number)
{
	if (screen.open)
		terminal_leave();
	screen.open = 0;
	raise(number);
}

static void signal_redraw(int number)
{
	(void)number;
	screen.redraw = 1;
}

static void signals_handle(void)
{
	static const int ending[] = { SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	struct sigaction action = { .sa_handler = signal_redraw }, old;

	sigaction(SIGWINCH, &action, NULL);
	action.sa_handler = signal_stop;
	action.sa_flags = SA_RESTART;
	if (!sigaction(SIGTSTP, NULL, &old) && old.sa_handler != SIG_IGN)
		sigaction(SIGTSTP, &action, NULL);
	action.sa_handler = signal_end;
	action.sa_flags = (int)SA_RESETHAND | SA_NODEFER;
	for (size_t i = 0; i < sizeof(ending) / sizeof(*ending); i++)
		if (!sigaction(ending[i], NULL, &old) && old.sa_handler != SIG_IGN)
			sigaction(ending[i], &action, NULL);
}

/* Returns false if the terminal belongs to another process group. */
static bool is_in_foreground(int fd)
{
	pid_t group = tcgetpgrp(fd);

	return group < 0 || group == getpgrp();
}

bool screen_is_possible(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") && is_in_foreground(STDOUT_FILENO);
}

void screen_open(void)
{
	static bool registered;

	if (screen.open)
		return;
	screen.keys =
		isatty(STDIN_FILENO) && is_in_foreground(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &screen.before);
	if (!registered)
		atexit(screen_close);
	registered = true;
	signals_handle();
	ui_flush();
	screen.open = 1;
	terminal_enter();
}

void screen_close(void)
{
	if (!screen.open)
		return;
	terminal_leave();
	screen.open = 0;
}

/* ---- the page ---- */

void screen_size(size_t *columns, size_t *lines)
{
	struct winsize size = { 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
		size = (struct winsize){ 0 };
	*columns = size.ws_col ? size.ws_col : 80;
	*lines = size.ws_row ? size.ws_row : 24;
}

/* Returns the length of the sequence that sets a color at the start of text, 0 if it has none. */
static size_t color_length(const char *text, size_t length)
{
	size_t n = 2;

	if (length < 3 || text[0] != '\033' || text[1] != '[')
		return 0;
	while (n < length && (text[n] == ';' || (text[n] >= '0' && text[n] <= '9')))
		n++;
	return n < length && text[n] == 'm' ? n + 1 : 0;
}

/* Prints as much of a line as fits into the columns. */
static void line_put(FILE *out, const char *text, size_t length, size_t columns)
{
	size_t used = 0;

	for (size_t i = 0, n; i < length; i += n) {
		uint32_t code = 0;
		int width;

		n = color_length(text + i, length - i);
		if (n) {
			fwrite(text + i, 1, n, out);
			continue;
		}
		n = utf8_decode(text + i, length - i, &code);
		width = n ? wcwidth((wchar_t)code) : -1;
		n += !n;
		if (width < 0)
			continue;
		if (used + (size_t)width > columns)
			break;
		used += (size_t)width;
		fwrite(text + i, 1, n, out);
	}
	fputs("\033[0m\033[K", out);
}

int screen_show(const char *text, size_t length, size_t columns, size_t lines)
{
	size_t size = 0, done;
	char *page = NULL;
	FILE *out = xmemstream(&page, &size);
	int err;

	fputs("\033[H", out);
	for (size_t line = 0; line < lines && length; line++) {
		const char *end = memchr(text, '\n', length);
		size_t n = end ? (size_t)(end - text) : length;

		if (line)
			fputs("\r\n", out);
		line_put(out, text, n, columns);
		n += end != NULL;
		text += n;
		length -= n;
	}
	fputs("\033[J", out);
	xmemstream_close(out);
	err = ui_write(page, size, &done);
	free(page);
	return err;
}

/* ---- keys ---- */

/* Takes the first key out of the bytes that were read. Returns 0 if it has none. */
static int screen_take_key(void)
{
	static const struct {
		const char *bytes;
		int key;
	} special[] = {
		{ "\033[A", SCREEN_UP },   { "\033OA", SCREEN_UP },       { "\033[B", SCREEN_DOWN },
		{ "\033OB", SCREEN_DOWN }, { "\033[5~", SCREEN_PAGE_UP }, { "\033[6~", SCREEN_PAGE_DOWN },
	};
	size_t n = 1;
	int key;

	if (!screen.npending)
		return 0;
	key = (unsigned char)screen.pending[0];
	for (size_t i = 0; i < sizeof(special) / sizeof(*special); i++) {
		size_t length = strlen(special[i].bytes);

		if (length <= screen.npending && !memcmp(screen.pending, special[i].bytes, length)) {
			key = special[i].key;
			n = length;
		}
	}
	/* Other sequences are ignored as a whole. */
	if (key == '\033')
		n = screen.npending;
	screen.npending -= n;
	memmove(screen.pending, screen.pending + n, screen.npending);
	return key;
}

static void keys_read(void)
{
	ssize_t n = read(STDIN_FILENO, screen.pending, sizeof(screen.pending));

	screen.npending = n > 0 ? (size_t)n : 0;
	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
		screen.keys = false; /* the terminal has gone */
}

/* Waits for input or a signal; mask: the signals that are blocked meanwhile. */
static int input_wait(const struct timespec *until, const sigset_t *mask)
{
	struct pollfd in = { .fd = screen.keys ? STDIN_FILENO : -1, .events = POLLIN };
	struct timespec now, left = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &now);
	left.tv_sec = until->tv_sec - now.tv_sec;
	left.tv_nsec = until->tv_nsec - now.tv_nsec;
	if (left.tv_nsec < 0) {
		left.tv_nsec += 1000000000;
		left.tv_sec--;
	}
	if (left.tv_sec < 0)
		left = (struct timespec){ 0 };
	if (ppoll(&in, 1, &left, mask) > 0)
		keys_read();
	else
		return errno == EINTR ? -1 : 0;
	return 1;
}

int screen_wait(const struct timespec *until)
{
	sigset_t blocked, mask;
	int key;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGHUP);
	sigaddset(&blocked, SIGWINCH);
	sigaddset(&blocked, SIGTSTP);
	sigprocmask(SIG_BLOCK, &blocked, &mask);
	for (key = screen_take_key(); !key; key = screen_take_key()) {
		if (interrupted) {
			key = SCREEN_INTERRUPTED;
			break;
		}
		if (screen.redraw) {
			screen.redraw = 0;
			key = SCREEN_REDRAW;
			break;
		}
		errno = 0;
		if (!input_wait(until, &mask))
			break;
	}
	sigprocmask(SIG_SETMASK, &mask, NULL);
	return key;
}
