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

#include "cmd/signals.h"
#include "cmd/options.h"
#include "cmd/escape.h"

enum { PATIENCE_MS = 1000 };

void no_memory(void)
{
	fprintf(stderr, "%s: out of memory\n", program_invocation_short_name);
	exit(STATUS_FAILED);
}

static void say(const char *format, va_list args)
{
	char *message;

	if (vasprintf(&message, format, args) < 0)
		no_memory();
	fflush(stdout);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	text_sentence(stderr, message);
	putc('\n', stderr);
	free(message);
}

void complain(struct options *options, const char *format, ...)
{
	char *message, *both;
	va_list args;

	va_start(args, format);
	if (!options->json) {
		say(format, args);
	} else if (vasprintf(&message, format, args) < 0) {
		no_memory();
	} else if (!options->complaint) {
		options->complaint = message;
	} else {
		if (asprintf(&both, "%s; %s", options->complaint, message) < 0)
			no_memory();
		free(message);
		free(options->complaint);
		options->complaint = both;
	}
	va_end(args);
}

json_object *complaint_take(struct options *options)
{
	json_object *text = text_json(options->complaint);

	free(options->complaint);
	options->complaint = NULL;
	return text;
}

void remark(const struct options *options, const char *format, ...)
{
	va_list args;

	if (options->quiet)
		return;
	va_start(args, format);
	say(format, args);
	va_end(args);
}

void remark_notices(const struct options *options)
{
	const char *text;

	while ((text = pp_notice()))
		remark(options, "%s", text);
}

void remark_verbose(const struct options *options, const char *format, ...)
{
	va_list args;

	if (!options->verbose)
		return;
	va_start(args, format);
	say(format, args);
	va_end(args);
}

static int failed; /* the first error of standard output */

int write_results(const char *bytes, size_t n, size_t *done)
{
	struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };

	*done = 0;
	if (flush_results())
		return failed;
	while (*done < n && !failed) {
		size_t left = n - *done;
		ssize_t some;

		/* poll() says that this much fits into a pipe */
		if (interrupted && left > PIPE_BUF)
			left = PIPE_BUF;
		if (interrupted && !poll(&out, 1, PATIENCE_MS)) {
			failed = -EINTR;
			break;
		}
		some = write(STDOUT_FILENO, bytes + *done, left);
		if (some > 0)
			*done += (size_t)some;
		else if (!some)
			failed = -ENOSPC;
		else if (errno == EAGAIN)
			poll(&out, 1, PATIENCE_MS);
		else if (errno != EINTR || interrupted > 1)
			failed = -errno;
	}
	return failed;
}

int flush_results(void)
{
	bool already = ferror(stdout);

	if (failed)
		return failed;
	if (already) {
		/* errno is long gone: the next byte tells the reason again */
		clearerr(stdout);
		putchar('\n');
	}
	errno = 0;
	if (fflush(stdout))
		failed = errno ? -errno : -EIO;
	else if (already)
		failed = -EIO;
	return failed;
}

int finish(struct options *options, int status)
{
	json_object *document;
	int err, fd;

	if (options->complaint) {
		document = json_of("error", complaint_take(options), NULL);
		if (options->has_counts) {
			json_object_object_add(document, "recorded", json_object_new_uint64(options->recorded));
			json_object_object_add(document, "lost", json_object_new_uint64(options->lost));
		}
		text_put_json(stdout, document);
		putchar('\n');
	}
	err = flush_results();
	/* Some file systems say only when a file is closed that it could not be written. */
	fd = err ? -1 : dup(STDOUT_FILENO);
	if (fd >= 0 && close(fd) && errno != EINTR)
		err = -errno;
	if (err && err != -EPIPE && err != -EINTR) {
		fprintf(stderr, "%s: cannot write the results: %s\n", program_invocation_short_name, strerror(-err));
		if (status == STATUS_DONE)
			status = STATUS_FAILED;
	}
	return status;
}

static bool wants_colour(FILE *out)
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

void put_painted(FILE *out, enum paint paint, const char *word)
{
	static const char *const codes[] = { "1", "32", "33", "31" };

	if (wants_colour(out))
		fprintf(out, "\033[%sm%s\033[0m", codes[paint], word);
	else
		fputs(word, out);
}

json_object *json_of(const char *key, ...)
{
	json_object *object = json_object_new_object();
	va_list args;

	if (!object)
		no_memory();
	va_start(args, key);
	for (; key; key = va_arg(args, const char *))
		json_object_object_add_ex(object, key, va_arg(args, json_object *), JSON_C_OBJECT_KEY_IS_CONSTANT);
	va_end(args);
	return object;
}
