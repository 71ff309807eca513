/* SPDX-License-Identifier: MIT */
#include "cmd/format-check.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/ui.h"

/* The arguments that the session's records have. */
struct known_arguments {
	const struct format *format;
	uint64_t found;     /* bit i: the format's argument i is known */
	const char **names; /* sorted as they come, each once */
	size_t n;
};

static int argument_note(const char *probe, const char *argument, void *arg)
{
	struct known_arguments *known = arg;
	const char *wanted;

	(void)probe;
	for (size_t i = 0; i < 64 && (wanted = format_argument(known->format, i)); i++)
		if (!strcmp(wanted, argument))
			known->found |= 1ull << i;
	for (size_t i = 0; i < known->n; i++)
		if (!strcmp(known->names[i], argument))
			return 0;
	options_append(&known->names, &known->n, argument);
	return 0;
}

enum status format_check(struct options *options, struct pp_session *session, const struct format *format)
{
	struct known_arguments known = { .format = format };
	enum { SHOWN = 20 };
	const char *name;
	char *text = NULL;
	size_t size = 0;
	FILE *list;
	enum status status = STATUS_DONE;

	if (!format)
		return status;
	pp_session_arguments(session, argument_note, &known);
	list = xmemstream(&text, &size);
	for (size_t i = 0; i < known.n && i < SHOWN; i++)
		fprintf(list, "%s%s", i ? ", " : "", known.names[i]);
	fprintf(list, "%s", known.n > SHOWN ? ", ..." : known.n ? "" : "none");
	xmemstream_close(list);
	for (size_t i = 0; i < 64 && (name = format_argument(known.format, i)); i++) {
		if (known.found >> i & 1)
			continue;
		ui_error(options,
		         "--format: unknown field '%s'; the fields are %s, and the arguments of the probes: %s", name,
		         format_known(), text);
		status = STATUS_USAGE;
	}
	free(text);
	free(known.names);
	return status;
}
