/* SPDX-License-Identifier: MIT */
#include "cmd/ui.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <probepoint.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/alloc.h"
#include "cmd/escape.h"
#include "cmd/options.h"
#include "cmd/signals.h"

/* ---- messages ---- */

static FILE *messages; /* NULL: standard error */

void ui_messages_to(FILE *stream)
{
	messages = stream;
}

static void message_print(const char *format, va_list args)
{
	char *message = xvasprintf(format, args);
	FILE *out = messages ? messages : stderr;

	if (!messages) {
		fflush(stdout);
		fprintf(stderr, "%s: ", program_invocation_short_name);
	}
	escape_put_message(out, message);
	putc('\n', out);
	free(message);
}

static void error_keep(struct options *options, const char *format, va_list args)
{
	char *message = xvasprintf(format, args), *earlier = options->errors;

	if (earlier) {
		options->errors = xasprintf("%s; %s", earlier, message);
		free(message);
		free(earlier);
	} else {
		options->errors = message;
	}
}

void ui_error(struct options *options, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (options->json)
		error_keep(options, format, args);
	else
		message_print(format, args);
	va_end(args);
}

void ui_info(const struct options *options, const char *format, ...)
{
	va_list args;

	if (options->quiet)
		return;
	va_start(args, format);
	message_print(format, args);
	va_end(args);
}

void ui_verbose(const struct options *options, const char *format, ...)
{
	va_list args;

	if (!options->verbose)
		return;
	va_start(args, format);
	message_print(format, args);
	va_end(args);
}

void ui_notices(const struct options *options)
{
	const char *text;

	while ((text = pp_notice()))
		ui_info(options, "%s", text);
}

/* Returns the errors that were kept as a JSON string, and forgets them. */
static json_object *errors_take(struct options *options)
{
	json_object *text = json_text(options->errors);

	free(options->errors);
	options->errors = NULL;
	return text;
}

void ui_print_document(struct options *options, FILE *out, json_object *document)
{
	if (options->errors)
		json_add(document, "error", errors_take(options));
	json_print(out, document);
	putc('\n', out);
}

void ui_print_error_key(struct options *options, FILE *out)
{
	if (!options->errors)
		return;
	fputs(",\"error\":", out);
	json_print(out, errors_take(options));
}

/* ---- standard output ---- */

enum { READER_WAIT_MS = 1000 };

static int output_error; /* the first error of standard output */

int ui_write(const char *bytes, size_t n, size_t *done)
{
	struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };

	*done = 0;
	if (ui_flush())
		return output_error;
	while (*done < n && !output_error) {
		size_t left = n - *done;
		ssize_t written;

		/* A pipe that polls as writable takes PIPE_BUF bytes without blocking. */
		if (interrupted && left > PIPE_BUF)
			left = PIPE_BUF;
		if (interrupted && !poll(&out, 1, READER_WAIT_MS)) {
			output_error = -EINTR;
			break;
		}
		written = write(STDOUT_FILENO, bytes + *done, left);
		if (written > 0)
			*done += (size_t)written;
		else if (!written)
			output_error = -ENOSPC;
		else if (errno == EAGAIN)
			poll(&out, 1, READER_WAIT_MS);
		else if (errno != EINTR || interrupted > 1)
			output_error = -errno;
	}
	return output_error;
}

int ui_flush(void)
{
	bool failed_before = ferror(stdout);

	if (output_error)
		return output_error;
	if (failed_before) {
		/* The errno of the failure is lost. Writing another byte fails for the same reason. */
		clearerr(stdout);
		putchar('\n');
	}
	errno = 0;
	if (fflush(stdout))
		output_error = errno ? -errno : -EIO;
	else if (failed_before)
		output_error = -EIO;
	return output_error;
}

static void kept_errors_print(struct options *options)
{
	json_object *document = json_new_object();

	json_add(document, "error", errors_take(options));
	if (options->has_counts) {
		json_add_uint(document, "recorded", options->recorded);
		json_add_uint(document, "lost", options->lost);
		json_add_uint(document, "missed", options->missed);
	}
	json_print(stdout, document);
	putchar('\n');
}

int ui_finish(struct options *options, int status)
{
	int err, fd;

	if (options->errors)
		kept_errors_print(options);
	err = ui_flush();
	/* Some file systems report a failed write only when the file is closed. */
	fd = err ? -1 : dup(STDOUT_FILENO);
	if (fd >= 0 && close(fd) && errno != EINTR)
		err = -errno;
	if (!err || err == -EPIPE || err == -EINTR)
		return status;
	fprintf(stderr, "%s: cannot write the results: %s\n", program_invocation_short_name, strerror(-err));
	return status == STATUS_DONE ? STATUS_FAILED : status;
}

/* ---- color ---- */

bool ui_is_colored(FILE *out)
{
	static int known[2] = { -1, -1 };
	int *k = &known[out == stderr];
	const char *term, *no;

	if (out != stdout && out != stderr)
		return false;
	if (*k < 0) {
		term = getenv("TERM");
		no = getenv("NO_COLOR");
		*k = isatty(fileno(out)) && term && strcmp(term, "dumb") && (!no || !*no);
	}
	return *k;
}

void ui_put_color(FILE *out, enum ui_color color, const char *word)
{
	static const char *const codes[] = { [UI_GREEN] = "32", [UI_YELLOW] = "33", [UI_RED] = "31" };

	if (ui_is_colored(out))
		fprintf(out, "\033[%sm%s\033[0m", codes[color], word);
	else
		fputs(word, out);
}
