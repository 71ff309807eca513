/* SPDX-License-Identifier: MIT */
/* Prints hits that a session records: trace SESSION HITS. probe-enable -s SESSION arms the session before. */
#include <inttypes.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>

static void print_event(const struct pp_event *event)
{
	printf("%s", pp_event_probe(event));
	for (size_t i = 0; i < pp_event_args(event); i++)
		switch (pp_event_arg_kind(event, i)) {
		case PP_STRING: printf(" \"%s\"", pp_event_arg_string(event, i, NULL, NULL)); break;
		case PP_FLOAT: printf(" %g", pp_event_arg_float(event, i)); break;
		case PP_FAULT:
		case PP_MISSING: printf(" ?"); break;
		default: printf(" %" PRId64, pp_event_arg_int(event, i));
		}
	puts("");
}

int main(int argc, char **argv)
{
	struct pp_session *session = NULL;
	struct pp_reader *reader = NULL;
	const struct pp_event *event;
	int failed = argc != 3 || pp_session_open(argv[1], false, &session) || pp_reader_open(session, &reader);

	for (int hits = 0; !failed && hits < atoi(argv[2]); hits++) {
		failed = pp_reader_next(reader, -1, &event) != 1;
		if (!failed)
			print_event(event);
	}
	if (failed)
		fprintf(stderr, "trace: %s\n", argc == 3 ? pp_error() : "usage: trace SESSION HITS");
	pp_reader_free(reader);
	pp_session_close(session); /* the session stays armed */
	return failed;
}
