/* SPDX-License-Identifier: MIT */
#include "cmd/format.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/escape.h"
#include "cmd/event-format.h"

enum { WIDTH_MOST = 1000 };

enum field_kind {
	FIELD_TIME,
	FIELD_DATE,
	FIELD_NS,
	FIELD_PID,
	FIELD_TID,
	FIELD_COMM,
	FIELD_PROBE,
	FIELD_ARGS,
	FIELD_ARGUMENT, /* name */
	FIELD_TEXT      /* name: the text itself */
};

static const char *const field_names[] = { "time", "date", "ns", "pid", "tid", "comm", "probe", "args" };
#define NNAMES (sizeof(field_names) / sizeof(*field_names))

struct format {
	struct format_field {
		enum field_kind kind;
		char *name;
		unsigned width; /* columns; 0: as it is */
		bool right;     /* filled on the left */
	} * fields;
	size_t n;
};

const char *format_known(void)
{
	return "time, date, ns, pid, tid, comm, probe and args";
}

/* ---- parsing ---- */

static struct format_field *format_add(struct format *format, enum field_kind kind, char *name)
{
	format->fields = xreallocarray(format->fields, format->n + 1, sizeof(*format->fields));
	format->fields[format->n] = (struct format_field){ .kind = kind, .name = name };
	return &format->fields[format->n++];
}

/* Parses the width after the name, ":N" or ":>N". Returns false if it is invalid. */
static bool width_parse(struct format_field *field, const char *text)
{
	unsigned long n;
	char *end;

	field->right = text[0] == '>';
	text += field->right;
	if (!isdigit((unsigned char)*text))
		return false;
	n = strtoul(text, &end, 10);
	if (*end || n < 1 || n > WIDTH_MOST)
		return false;
	field->width = (unsigned)n;
	return true;
}

/* Parses what stands between braces. Returns false and sets *error if it is invalid. */
static bool field_parse(struct format *format, const char *text, size_t length, char **error)
{
	char *name = xcalloc(1, length + 1), *colon;
	enum field_kind kind = FIELD_TIME;
	struct format_field *field;

	memcpy(name, text, length);
	colon = strrchr(name, ':');
	if (colon && colon > name && colon[-1] == ':')
		colon = NULL; /* a name of C++ */
	if (colon)
		*colon = 0;
	while (kind < NNAMES && strcmp(name, field_names[kind]))
		kind++;
	field = format_add(format, kind == NNAMES ? FIELD_ARGUMENT : kind, name);
	if (kind == NNAMES && !strncmp(name, "arg.", 4))
		memmove(name, name + 4, strlen(name + 4) + 1);
	if (!*name)
		*error = xstrdup("--format: '{}' without a name");
	else if (colon && !width_parse(field, colon + 1))
		*error = xasprintf("--format: '{%.*s}': invalid width '%s'; give a number of columns, 1 to %d, as in "
		                   "{comm:15} or {pid:>7}",
		                   (int)length, text, colon + 1, WIDTH_MOST);
	return !*error;
}

/* Returns the text before the next field, unescaped, and moves *at to its end. */
static char *text_parse(const char **at)
{
	const char *from = *at;
	char *text = xcalloc(1, strlen(from) + 1);
	size_t n = 0;

	while (*from) {
		bool doubled = (*from == '{' || *from == '}') && from[1] == *from;

		if (!doubled && (*from == '{' || *from == '}'))
			break;
		if (*from == '\\' && (from[1] == 't' || from[1] == '\\')) {
			text[n++] = from[1] == 't' ? '\t' : '\\';
			from += 2;
			continue;
		}
		text[n++] = *from;
		from += 1 + doubled;
	}
	*at = from;
	return text;
}

static bool format_parse_all(struct format *format, const char *at, char **error)
{
	while (*at) {
		char *text = text_parse(&at);
		const char *end;

		format_add(format, FIELD_TEXT, text);
		if (!*at)
			break;
		end = *at == '{' ? strpbrk(at + 1, "{}") : NULL;
		if (!end || *end != '}') {
			*error = xasprintf("--format: '%s': a brace without its counterpart; {{ and }} are braces", at);
			return false;
		}
		if (!field_parse(format, at + 1, (size_t)(end - at - 1), error))
			return false;
		at = end + 1;
	}
	return true;
}

struct format *format_parse(const char *text, char **error)
{
	struct format *format = xcalloc(1, sizeof(*format));

	*error = NULL;
	if (!*text)
		*error = xstrdup("--format: empty format");
	else if (strchr(text, '\n'))
		*error = xstrdup("--format: a format is one line; each record ends with a newline");
	if (!*error && format_parse_all(format, text, error))
		return format;
	format_free(format);
	return NULL;
}

void format_free(struct format *format)
{
	for (size_t i = 0; format && i < format->n; i++)
		free(format->fields[i].name);
	if (format)
		free(format->fields);
	free(format);
}

const char *format_argument(const struct format *format, size_t i)
{
	for (size_t k = 0; k < format->n; k++)
		if (format->fields[k].kind == FIELD_ARGUMENT && !i--)
			return format->fields[k].name;
	return NULL;
}

/* ---- printing ---- */

static void format_put_argument(FILE *out, const struct pp_event *event, const char *name)
{
	for (size_t i = 0; i < pp_event_args(event); i++) {
		if (strcmp(pp_event_arg_name(event, i), name))
			continue;
		event_put_arg(out, event, i, false);
		return;
	}
	putc('-', out);
}

static void format_put_field(FILE *out, const struct format_field *field, const struct pp_event *event)
{
	switch (field->kind) {
	case FIELD_TIME: event_put_time(out, event); break;
	case FIELD_DATE: event_put_date(out, event); break;
	case FIELD_NS: fprintf(out, "%" PRIu64, pp_event_time(event)); break;
	case FIELD_PID: fprintf(out, "%d", pp_event_pid(event)); break;
	case FIELD_TID: fprintf(out, "%d", pp_event_tid(event)); break;
	case FIELD_COMM: escape_put(out, pp_event_comm(event)); break;
	case FIELD_PROBE: escape_put(out, pp_event_probe(event)); break;
	case FIELD_ARGS: event_put_args(out, event); break;
	case FIELD_ARGUMENT: format_put_argument(out, event, field->name); break;
	case FIELD_TEXT: fputs(field->name, out); break;
	}
}

static void field_put_padded(FILE *out, const struct format_field *field, const struct pp_event *event)
{
	size_t size = 0, used;
	char *text = NULL;
	FILE *memory = xmemstream(&text, &size);
	int blanks;

	format_put_field(memory, field, event);
	xmemstream_close(memory);
	used = escape_printed_columns(text, size);
	blanks = used < field->width ? (int)(field->width - used) : 0;
	fprintf(out, "%*s%s%*s", field->right ? blanks : 0, "", text, field->right ? 0 : blanks, "");
	free(text);
}

void format_put(FILE *out, const struct format *format, const struct pp_event *event)
{
	for (size_t i = 0; i < format->n; i++) {
		if (format->fields[i].width)
			field_put_padded(out, &format->fields[i], event);
		else
			format_put_field(out, &format->fields[i], event);
	}
}
